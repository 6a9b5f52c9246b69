//! One instrument's orders, in priority order, and the ways in which they are filled.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Price, Quantity, Side};

use super::ladder::{Ladder, Level, NONE};
use super::order::{Cause, Fill, Key, OrderNo, Record, SelfTrade, Sink, State, Waiting, Working};
use super::slab::{Link, Node, Slab, Status};

/// Most units in one order: quantities are 32 bits wide, as in the exchange's own protocol.
pub const MAX_QUANTITY: u64 = u32::MAX as u64;

/// The orders of one instrument.
#[derive(Clone, Debug)]
pub struct Book {
    tick: Price,
    nodes: Slab,
    limits: Sides<Ladder>,
    stops: Sides<Ladder>,
    /// Orders that have come so far: the last rank in time.
    arrivals: u64,
    /// Orders that no tick has passed over yet. Some may be gone.
    unrested: Vec<Key>,
    /// Stops that the last call of [`fire`](Self::fire) set off.
    fired: Vec<Key>,
    self_trade: SelfTrade,
    last_trade: Option<Price>,
}

#[derive(Clone, Debug)]
struct Sides<T> {
    buy: T,
    sell: T,
}

impl<T> Sides<T> {
    #[inline]
    fn of(&self, side: Side) -> &T {
        match side {
            Side::Buy => &self.buy,
            Side::Sell => &self.sell,
        }
    }

    #[inline]
    fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Buy => &mut self.buy,
            Side::Sell => &mut self.sell,
        }
    }
}

/// Best price first: the highest buy, the lowest sell. A limit is reached by a price of the same or a higher rank.
#[inline]
const fn limit_rank(side: Side, price: i64) -> i64 {
    match side {
        Side::Buy => price.saturating_neg(),
        Side::Sell => price,
    }
}

/// Nearest trigger first: the lowest buy, the highest sell. Reached by a price of the same or a higher rank.
#[inline]
const fn stop_rank(side: Side, price: i64) -> i64 {
    limit_rank(side.opposite(), price)
}

/// The limit of a protected market order: the last price moved by so many hundredths of a percent, on a tick that does
/// not go beyond it, but at least one tick past the last price, and never zero or less.
pub(crate) fn protected(tick: Price, side: Side, last: Price, basis_points: u16) -> Price {
    let reach = last.basis_points(i64::from(basis_points));
    match side {
        Side::Buy => (last + reach).floor_to(tick).max(last.floor_to(tick) + tick),
        Side::Sell => (last - reach).ceil_to(tick).min(last.ceil_to(tick) - tick).max(tick),
    }
}

/// Orders in and out.
impl Book {
    /// An empty book of an instrument with that tick. Prices on no tick are taken too, at the cost of a search.
    #[must_use]
    pub fn new(tick: Price) -> Self {
        let ladders = || Sides { buy: Ladder::new(tick.units()), sell: Ladder::new(tick.units()) };
        Self {
            tick,
            nodes: Slab::new(),
            limits: ladders(),
            stops: ladders(),
            arrivals: 0,
            unrested: Vec::new(),
            fired: Vec::new(),
            self_trade: SelfTrade::Trade,
            last_trade: None,
        }
    }

    /// Makes room for so many orders at once.
    pub fn reserve(&mut self, orders: usize) {
        self.nodes.reserve(orders);
    }

    /// States what happens when orders of one account meet.
    pub fn set_self_trade(&mut self, rule: SelfTrade) {
        self.self_trade = rule;
    }

    /// The rule for orders of one account.
    #[must_use]
    pub fn self_trade(&self) -> SelfTrade {
        self.self_trade
    }

    /// Adds a limit order, behind those at its price. `None` if it wants nothing.
    #[inline]
    pub fn insert(&mut self, working: &Working) -> Option<Key> {
        let open = narrow(working.open);
        let peak = narrow(working.disclosed);
        let node = self.arriving(working, Status::Rests, if peak == 0 { open } else { open.min(peak) })?;
        let rested = node.rested;
        let key = self.nodes.insert(node)?;
        self.link(key.slot);
        if !rested {
            self.unrested.push(key);
        }
        Some(key)
    }

    /// Adds a stop. `None` if it wants nothing.
    pub fn insert_stop(&mut self, stop: &Waiting) -> Option<Key> {
        let mut node = self.arriving(&stop.working, Status::Waits, narrow(stop.working.open))?;
        node.place = stop.trigger.units();
        node.protection = stop.protection;
        let key = self.nodes.insert(node)?;
        self.link(key.slot);
        Some(key)
    }

    /// Takes an order or a stop out. `None` if it is not there any more.
    pub fn remove(&mut self, key: Key) -> Option<Working> {
        let working = working(self.nodes.find(key)?);
        self.take_out(key.slot);
        Some(working)
    }

    /// Changes how many an order or a stop still wants; it keeps its place. With none left it is taken out.
    pub fn resize(&mut self, key: Key, open: Quantity) {
        if self.nodes.find(key).is_none() {
            return;
        }
        let open = narrow(open);
        if open == 0 {
            self.take_out(key.slot);
            return;
        }
        let Some(node) = self.nodes.get_mut(key.slot) else { return };
        let before = node.shown;
        node.open = open;
        node.shown = if node.peak == 0 { open } else { before.min(open) };
        let after = node.shown;
        if let Some(level) = level_of(&mut self.limits, &mut self.stops, node) {
            level.shown = level.shown.saturating_sub(u64::from(before)) + u64::from(after);
        }
    }

    /// From now on the market comes to every order that is here.
    pub fn all_rested(&mut self) {
        for key in std::mem::take(&mut self.unrested) {
            if self.nodes.find(key).is_some()
                && let Some(node) = self.nodes.get_mut(key.slot)
            {
                node.rested = true;
            }
        }
    }

    /// Says whether the rest of a stop is cancelled once it has fired and met the market.
    pub(crate) fn set_ioc(&mut self, key: Key, ioc: bool) {
        if self.nodes.find(key).is_some()
            && let Some(node) = self.nodes.get_mut(key.slot)
        {
            node.ioc = ioc;
        }
    }
}

/// Reading.
impl Book {
    /// The order a key names, while it is there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<Working> {
        self.nodes.find(key).map(working)
    }

    /// The stop a key names, while it waits.
    pub(super) fn waiting(&self, key: Key) -> Option<Waiting> {
        self.nodes.find(key).filter(|node| node.status == Status::Waits).map(waiting)
    }

    /// The instrument's tick.
    #[must_use]
    pub fn tick(&self) -> Price {
        self.tick
    }

    /// The limit orders of a side in priority order.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = (Key, Working)> {
        self.queue(self.limits.of(side)).map(|(key, node)| (key, working(node)))
    }

    /// The stops that wait: buys and then sells, nearest trigger first.
    pub fn stops(&self) -> impl Iterator<Item = (Key, Waiting)> {
        self.queue(&self.stops.buy).chain(self.queue(&self.stops.sell)).map(|(key, node)| (key, waiting(node)))
    }

    /// The prices of a side with the units shown at each, best first.
    pub fn depth(&self, side: Side) -> impl Iterator<Item = (Price, u64)> {
        self.limits.of(side).iter().map(move |(rank, level)| (Price::from_units(limit_rank(side, rank)), level.shown))
    }

    /// The best price of a side with the units shown at it.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<(Price, u64)> {
        self.depth(side).next()
    }

    /// The price of the last trade between two orders of this book, if there was one since this was last asked.
    pub(super) fn take_last_trade(&mut self) -> Option<Price> {
        self.last_trade.take()
    }

    fn queue<'a>(&'a self, ladder: &'a Ladder) -> impl Iterator<Item = (Key, &'a Node)> {
        let orders = &self.nodes;
        ladder.iter().flat_map(move |(_, level)| {
            let at = |slot: u32| orders.get(slot).map(|node| (slot, node));
            let nodes = std::iter::successors(at(level.head), move |(slot, _)| {
                let next = orders.link(*slot).next;
                orders.get(next).map(|node| (next, node))
            });
            nodes.map(|(slot, node)| (Key { slot, generation: node.generation }, node))
        })
    }
}

/// An order on its way against what rests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker {
    pub(super) order: OrderNo,
    pub(super) account: super::Account,
    pub(super) side: Side,
    pub(super) limit: Price,
    pub(super) open: Quantity,
    /// Set when the self-trade rule ended it.
    pub(super) barred: bool,
}

/// Filling.
impl Book {
    /// Trades an order that comes with the other side, best price first and then by time, at the prices that rest
    /// there, never beyond its limit. What is left of it is in `taker`.
    pub(super) fn sweep<S: Sink>(&mut self, taker: &mut Taker, sink: &mut S) {
        let side = taker.side.opposite();
        let reach = limit_rank(side, taker.limit.units());
        while taker.open.get() > 0 {
            let Some(rank) = self.limits.of(side).first().filter(|rank| *rank <= reach) else { return };
            let Some(level) = self.limits.of_mut(side).get_mut(rank) else { return };
            let slot = level.head;
            let Some(node) = self.nodes.get(slot) else { return };
            if self.self_trade != SelfTrade::Trade && node.account == taker.account {
                if self.self_trade == SelfTrade::CancelIncoming {
                    taker.barred = true;
                    return;
                }
                self.cancel_slot(slot, Cause::SelfTrade, sink);
                continue;
            }
            let (price, quantity) = (node.limit, u64::from(node.shown).min(taker.open.get()));
            let (price, quantity) = (Price::from_units(price), Quantity::new(quantity));
            self.hit(slot, narrow(quantity), price, sink);
            taker.open = taker.open.less(quantity);
            self.last_trade = Some(price);
            let Taker { order, account, side, limit, open, .. } = *taker;
            sink.fill(Fill { order, account, side, quantity, price, open });
            let state = if open.is_zero() { State::Filled } else { State::Open };
            sink.record(Record { order, account, side, state, limit, open });
        }
    }

    /// Matches resting orders that cross until none do, each pair at the price of the one that came first.
    pub fn uncross<S: Sink>(&mut self, sink: &mut S) {
        while let (Some(buy), Some(sell)) = (self.first(Side::Buy), self.first(Side::Sell)) {
            let (Some(bought), Some(sold)) = (self.nodes.get(buy), self.nodes.get(sell)) else { return };
            if bought.limit < sold.limit {
                return;
            }
            let buy_came_first = bought.place < sold.place;
            if bought.account == sold.account && self.self_trade != SelfTrade::Trade {
                let cancel_first = self.self_trade == SelfTrade::CancelResting;
                self.cancel_slot(if buy_came_first == cancel_first { buy } else { sell }, Cause::SelfTrade, sink);
                continue;
            }
            let price = Price::from_units(if buy_came_first { bought.limit } else { sold.limit });
            let quantity = bought.shown.min(sold.shown);
            self.last_trade = Some(price);
            self.hit(buy, quantity, price, sink);
            self.hit(sell, quantity, price, sink);
        }
    }

    /// Matches a tick at `ltp`, stamped `at`, with all it reaches, as far as `left` goes. An order that has rested is
    /// filled at its limit, since it is the one the market came to; any other at the price of the tick.
    pub fn take<S: Sink>(&mut self, ltp: Price, at: Timestamp, left: &mut Quantity, sink: &mut S) {
        for side in [Side::Buy, Side::Sell] {
            let reach = limit_rank(side, ltp.units());
            let mut next_rank = self.limits.of(side).first();
            while let Some(rank) = next_rank.filter(|rank| *rank <= reach && !left.is_zero()) {
                next_rank = self.limits.of(side).after(rank);
                let mut slot = self.limits.of_mut(side).get_mut(rank).map_or(NONE, |level| level.head);
                while let Some(node) = self.nodes.get(slot).filter(|_| !left.is_zero()) {
                    let next = self.nodes.link(slot).next;
                    if node.entered <= at {
                        self.fill_from(slot, ltp, left, sink);
                    }
                    slot = next;
                }
            }
        }
        self.pass_over(ltp, at);
    }

    /// Matches one order with what a tick at `ltp` left. Nothing if an order of ours is served before it: what is left
    /// belongs to that one.
    pub fn take_for<S: Sink>(&mut self, key: Key, ltp: Price, left: &mut Quantity, sink: &mut S) {
        let Some(node) = self.nodes.find(key).filter(|node| node.status == Status::Rests) else { return };
        let side = node.side;
        let reached = limit_rank(side, node.limit) <= limit_rank(side, ltp.units());
        if reached && !left.is_zero() && self.first(side) == Some(key.slot) {
            self.fill_from(key.slot, ltp, left, sink);
        }
    }

    /// Fills an order from outside the book with so many, which it has open, at that price.
    pub(super) fn fill_outside<S: Sink>(&mut self, key: Key, quantity: Quantity, price: Price, sink: &mut S) {
        if self.nodes.find(key).is_some() && !quantity.is_zero() {
            self.hit(key.slot, narrow(quantity), price, sink);
        }
    }

    /// Sets off the stops that a price at `last`, stamped `at`, reaches: nearest trigger first, then by time. They
    /// become limit orders behind those at their price, under the same keys, and may be filled by what set them off.
    pub fn fire<S: Sink>(&mut self, last: Price, at: Timestamp, sink: &mut S) {
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        for side in [Side::Buy, Side::Sell] {
            let reach = stop_rank(side, last.units());
            let stops = self.queue(self.stops.of(side));
            let reached = stops.take_while(|(_, node)| stop_rank(side, node.place) <= reach);
            fired.extend(reached.filter(|(_, node)| node.entered <= at).map(|(key, _)| key));
        }
        for key in &fired {
            self.fire_slot(key.slot, last, sink);
        }
        self.fired = fired;
    }

    /// Sets off the first stop that a price at `last` reaches, and no other: it comes to the market like any order, and
    /// what it leaves rests under its key. Whether there was one.
    pub(super) fn fire_first<S: Sink>(&mut self, last: Price, sink: &mut S) -> bool {
        let reached =
            |side: &Side| self.stops.of(*side).first().is_some_and(|rank| rank <= stop_rank(*side, last.units()));
        let Some(side) = [Side::Buy, Side::Sell].into_iter().find(reached) else { return false };
        let Some(slot) = self.stops.of(side).first_level().map(|level| level.head) else { return false };
        self.unlink(slot);
        self.trigger(slot, last, sink);
        let Some(node) = self.nodes.get(slot) else { return false };
        let Working { order, account, side, limit, open, .. } = working(node);
        let mut taker = Taker { order, account, side, limit, open, barred: false };
        // In no queue now, so nothing can meet it.
        self.sweep(&mut taker, sink);
        let Some(node) = self.nodes.get_mut(slot) else { return false };
        node.open = narrow(taker.open);
        let ended = match (taker.barred, node.ioc) {
            (true, _) => Some(Cause::SelfTrade),
            (false, true) => Some(Cause::Ioc),
            (false, false) => None,
        };
        if node.open == 0 {
            self.nodes.free(slot);
        } else if let Some(cause) = ended {
            sink.record(record(node, State::Cancelled(cause)));
            self.nodes.free(slot);
        } else {
            self.queue_up(slot);
        }
        true
    }

    /// Cancels an order or a stop. Whether it was there.
    pub(super) fn cancel<S: Sink>(&mut self, key: Key, cause: Cause, sink: &mut S) -> bool {
        let there = self.nodes.find(key).is_some();
        if there {
            self.cancel_slot(key.slot, cause, sink);
        }
        there
    }

    /// Cancels what is left of the IOC orders among the stops that the last call of [`fire`](Self::fire) set off.
    pub(super) fn cancel_fired_ioc<S: Sink>(&mut self, sink: &mut S) {
        let fired = std::mem::take(&mut self.fired);
        for key in &fired {
            if self.nodes.find(*key).is_some_and(|node| node.ioc) {
                self.cancel_slot(key.slot, Cause::Ioc, sink);
            }
        }
        self.fired = fired;
    }

    /// Whether the rest of an order is cancelled once it has met the market.
    pub(super) fn is_ioc(&self, key: Key) -> bool {
        self.nodes.find(key).is_some_and(|node| node.ioc)
    }
}

/// The steps.
impl Book {
    fn arriving(&mut self, working: &Working, status: Status, shown: u32) -> Option<Node> {
        let open = narrow(working.open);
        if open == 0 {
            return None;
        }
        self.arrivals += 1;
        Some(Node {
            limit: working.limit.units(),
            place: self.arrivals as i64,
            entered: working.entered,
            open,
            peak: narrow(working.disclosed),
            shown,
            order: u32::try_from(working.order).unwrap_or(u32::MAX),
            generation: 0,
            account: working.account,
            protection: 0,
            side: working.side,
            status,
            rested: working.rested,
            ioc: false,
        })
    }

    #[inline]
    fn first(&self, side: Side) -> Option<u32> {
        self.limits.of(side).first_level().map(|level| level.head)
    }

    /// Puts a node behind those at its price.
    #[inline]
    fn link(&mut self, slot: u32) {
        let Some(node) = self.nodes.get_mut(slot) else { return };
        let level = match node.status {
            Status::Waits => self.stops.of_mut(node.side).enter(stop_rank(node.side, node.place)),
            _ => self.limits.of_mut(node.side).enter(limit_rank(node.side, node.limit)),
        };
        level.shown += u64::from(node.shown);
        let last = std::mem::replace(&mut level.tail, slot);
        if let Some(link) = self.nodes.link_mut(slot) {
            *link = Link { next: NONE, prev: last };
        }
        match self.nodes.link_mut(last) {
            Some(last) => last.next = slot,
            None => level.head = slot,
        }
    }

    /// Takes a node out of the queue at its price, and the level with it if it was the last.
    #[inline]
    fn unlink(&mut self, slot: u32) {
        let Some(node) = self.nodes.get(slot) else { return };
        let (Link { next, prev }, side) = (self.nodes.link(slot), node.side);
        let (ladder, rank) = match node.status {
            Status::Waits => (self.stops.of_mut(side), stop_rank(side, node.place)),
            _ => (self.limits.of_mut(side), limit_rank(side, node.limit)),
        };
        if prev == NONE && next == NONE {
            ladder.leave(rank);
            return;
        }
        let shown = u64::from(node.shown);
        let Some(level) = ladder.get_mut(rank) else { return };
        level.shown = level.shown.saturating_sub(shown);
        match self.nodes.link_mut(prev) {
            Some(prev) => prev.next = next,
            None => level.head = next,
        }
        match self.nodes.link_mut(next) {
            Some(next) => next.prev = prev,
            None => level.tail = prev,
        }
    }

    fn take_out(&mut self, slot: u32) {
        self.unlink(slot);
        self.nodes.free(slot);
    }

    fn cancel_slot<S: Sink>(&mut self, slot: u32, cause: Cause, sink: &mut S) {
        if let Some(node) = self.nodes.get(slot) {
            sink.record(record(node, State::Cancelled(cause)));
            self.take_out(slot);
        }
    }

    /// Fills a resting order by so many. One that is done leaves; one whose disclosed part is done shows the next part,
    /// behind all others at its price.
    #[inline]
    fn hit<S: Sink>(&mut self, slot: u32, quantity: u32, price: Price, sink: &mut S) {
        let Some(node) = self.nodes.get_mut(slot) else { return };
        let quantity = quantity.min(node.open);
        let shown = quantity.min(node.shown);
        node.open -= quantity;
        node.shown -= shown;
        let (order, account, side) = (node.order as OrderNo, node.account, node.side);
        let open = Quantity::new(u64::from(node.open));
        let is_done = node.open == 0;
        let told = record(node, if is_done { State::Filled } else { State::Open });
        let is_spent = node.shown == 0;
        if let Some(level) = level_of(&mut self.limits, &mut self.stops, node) {
            level.shown = level.shown.saturating_sub(u64::from(shown));
        }
        if is_spent {
            self.unlink(slot);
            if is_done {
                self.nodes.free(slot);
            } else {
                self.queue_up(slot);
            }
        }
        sink.fill(Fill { order, account, side, quantity: Quantity::new(u64::from(quantity)), price, open });
        sink.record(told);
    }

    fn fill_from<S: Sink>(&mut self, slot: u32, ltp: Price, left: &mut Quantity, sink: &mut S) {
        let Some(node) = self.nodes.get(slot) else { return };
        let quantity = Quantity::new(u64::from(node.open)).min(*left);
        let price = if node.rested { Price::from_units(node.limit) } else { ltp };
        *left = left.less(quantity);
        self.hit(slot, narrow(quantity), price, sink);
    }

    fn fire_slot<S: Sink>(&mut self, slot: u32, last: Price, sink: &mut S) {
        self.unlink(slot);
        self.trigger(slot, last, sink);
        self.queue_up(slot);
        if let Some(node) = self.nodes.get(slot).filter(|node| !node.rested) {
            self.unrested.push(Key { slot, generation: node.generation });
        }
    }

    /// Makes a stop that is in no queue the limit order it becomes.
    fn trigger<S: Sink>(&mut self, slot: u32, last: Price, sink: &mut S) {
        let Some(node) = self.nodes.get_mut(slot) else { return };
        if node.protection != 0 {
            let limit = sink.protected_limit(node.order as OrderNo, last);
            node.limit = limit.unwrap_or_else(|| protected(self.tick, node.side, last, node.protection)).units();
        }
        node.status = Status::Rests;
        sink.record(record(node, State::Triggered { last }));
    }

    /// Puts a limit order that is in no queue behind all others at its price, showing as much as it discloses.
    fn queue_up(&mut self, slot: u32) {
        self.arrivals += 1;
        if let Some(node) = self.nodes.get_mut(slot) {
            node.place = self.arrivals as i64;
            node.shown = if node.peak == 0 { node.open } else { node.open.min(node.peak) };
        }
        self.link(slot);
    }

    /// Marks the orders that a tick did not reach: from now on the market comes to them.
    fn pass_over(&mut self, ltp: Price, at: Timestamp) {
        let mut unrested = std::mem::take(&mut self.unrested);
        unrested.retain(|key| {
            let Some(node) = self.nodes.find(*key) else { return false };
            let reached = limit_rank(node.side, node.limit) <= limit_rank(node.side, ltp.units());
            if reached || node.entered > at {
                return true;
            }
            if let Some(node) = self.nodes.get_mut(key.slot) {
                node.rested = true;
            }
            false
        });
        self.unrested = unrested;
    }
}

fn level_of<'a>(limits: &'a mut Sides<Ladder>, stops: &'a mut Sides<Ladder>, node: &Node) -> Option<&'a mut Level> {
    match node.status {
        Status::Waits => stops.of_mut(node.side).get_mut(stop_rank(node.side, node.place)),
        _ => limits.of_mut(node.side).get_mut(limit_rank(node.side, node.limit)),
    }
}

fn working(node: &Node) -> Working {
    Working {
        order: node.order as OrderNo,
        account: node.account,
        side: node.side,
        limit: Price::from_units(node.limit),
        open: Quantity::new(u64::from(node.open)),
        disclosed: Quantity::new(u64::from(node.peak)),
        priority: if node.status == Status::Waits { 0 } else { node.place as u64 },
        entered: node.entered,
        rested: node.rested,
    }
}

fn waiting(node: &Node) -> Waiting {
    Waiting { trigger: Price::from_units(node.place), working: working(node), protection: node.protection }
}

#[inline]
fn record(node: &Node, state: State) -> Record {
    Record {
        order: node.order as OrderNo,
        account: node.account,
        side: node.side,
        state,
        limit: Price::from_units(node.limit),
        open: Quantity::new(u64::from(node.open)),
    }
}

#[inline]
fn narrow(quantity: Quantity) -> u32 {
    u32::try_from(quantity.get()).unwrap_or(u32::MAX)
}
