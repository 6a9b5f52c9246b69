//! One instrument's orders, in priority order. How they are filled is in [`fills`], how stops fire in [`stops`].

mod fills;
mod stops;

use std::hint::select_unpredictable;

use nirantar_brokers::{Price, Quantity, Side};

pub(super) use self::fills::Taker;
use super::ladder::NONE;
use super::order::{Cause, Key, OrderNo, Record, SelfTrade, Sink, State, Waiting, Working};
use super::queue::{Ladders, Queue};
use super::slab::{Link, Node, Slab, Terms};

/// Most units in one order: quantities are 32 bits wide, as in the exchange's own protocol.
pub const MAX_QUANTITY: u64 = u32::MAX as u64;

/// The orders of one instrument.
#[derive(Clone, Debug)]
pub struct Book {
    tick: Price,
    slab: Slab,
    ladders: Ladders,
    /// Orders that have come so far: the last rank in time.
    arrivals: u64,
    /// Orders that no tick has passed over yet. Some may be gone.
    unrested: Vec<Key>,
    /// Stops that the last call of [`fire`](Self::fire) set off.
    fired: Vec<Key>,
    self_trade: SelfTrade,
    last_trade: Option<Price>,
}

/// The limit of a protected market order: the last price moved by so many hundredths of a percent, on a tick that does
/// not go beyond it, but at least one tick past the last price, and never zero or less.
#[inline]
pub(crate) fn protected(tick: Price, side: Side, last: Price, basis_points: u16) -> Price {
    let reach = last.basis_points(i64::from(basis_points));
    match side {
        Side::Buy if reach < tick => last.floor_to(tick) + tick,
        Side::Buy => (last + reach).floor_to(tick),
        Side::Sell if reach < tick => (last.ceil_to(tick) - tick).max(tick),
        Side::Sell => (last - reach).ceil_to(tick).max(tick),
    }
}

/// Orders in and out.
impl Book {
    /// An empty book of an instrument with that tick. Prices on no tick are taken too, at the cost of a search.
    #[must_use]
    pub fn new(tick: Price) -> Self {
        Self {
            tick,
            slab: Slab::new(),
            ladders: Ladders::new(tick.units()),
            arrivals: 0,
            unrested: Vec::new(),
            fired: Vec::new(),
            self_trade: SelfTrade::Trade,
            last_trade: None,
        }
    }

    /// Makes room for so many orders at once: as long as no more are in the book, none of them costs an allocation or
    /// the first touch of fresh memory.
    pub fn reserve(&mut self, orders: usize) {
        self.slab.reserve(orders);
        self.unrested.reserve(orders);
        self.fired.reserve(orders);
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
    #[inline(always)]
    pub fn insert(&mut self, working: &Working) -> Option<Key> {
        let queue = Queue::limits(working.side);
        let peak = narrow(working.disclosed);
        let open = narrow(working.open);
        let shown = if peak == 0 { open } else { open.min(peak) };
        let key = self.add(working, queue, working.limit, (open, shown), 0)?;
        if !working.rested {
            self.unrested.push(key);
        }
        Some(key)
    }

    /// Adds a stop. `None` if it wants nothing.
    pub fn insert_stop(&mut self, stop: &Waiting) -> Option<Key> {
        let Waiting { trigger, working, protection } = stop;
        let open = narrow(working.open);
        self.add(working, Queue::stops(working.side), *trigger, (open, open), *protection)
    }

    /// Takes an order or a stop out. `None` if it is not there any more.
    pub fn remove(&mut self, key: Key) -> Option<Working> {
        let working = self.get(key)?;
        self.take_out(key.slot);
        Some(working)
    }

    /// Changes how many an order or a stop still wants; it keeps its place. With none left it is taken out.
    pub fn resize(&mut self, key: Key, open: Quantity) {
        if self.slab.find(key).is_none() {
            return;
        }
        let open = narrow(open);
        if open == 0 {
            self.take_out(key.slot);
            return;
        }
        let discloses = self.slab.terms(key.slot).is_some_and(|terms| terms.peak != 0);
        let Some(node) = self.slab.get_mut(key.slot) else { return };
        let before = node.shown;
        node.open = open;
        node.shown = if discloses { before.min(open) } else { open };
        if let Some(level) = self.ladders.of_mut(node.queue).get_mut(node.rank) {
            level.shown = level.shown.saturating_sub(u64::from(before)) + u64::from(node.shown);
        }
    }

    /// From now on the market comes to every order that is here.
    pub fn all_rested(&mut self) {
        for key in self.unrested.drain(..) {
            if let Some(node) = self.slab.find_mut(key) {
                node.rested = true;
            }
        }
    }

    /// Says whether the rest of a stop is cancelled once it has fired and met the market.
    pub(crate) fn set_ioc(&mut self, key: Key, ioc: bool) {
        if let Some(node) = self.slab.find_mut(key) {
            node.ioc = ioc;
        }
    }

    /// Cancels an order or a stop. Whether it was there.
    #[inline]
    pub(super) fn cancel<S: Sink>(&mut self, key: Key, cause: Cause, sink: &mut S) -> bool {
        let there = self.slab.find(key).is_some();
        if there {
            self.cancel_slot(key.slot, cause, sink);
        }
        there
    }
}

/// Reading.
impl Book {
    /// The order a key names, while it is there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<Working> {
        self.slab.find(key)?;
        self.working(key.slot)
    }

    /// The stop a key names, while it waits.
    pub(super) fn waiting(&self, key: Key) -> Option<Waiting> {
        self.slab.find(key).filter(|node| node.queue.waits())?;
        self.waiting_at(key.slot)
    }

    /// Whether the rest of an order is cancelled once it has met the market.
    pub(super) fn is_ioc(&self, key: Key) -> bool {
        self.slab.find(key).is_some_and(|node| node.ioc)
    }

    /// The instrument's tick.
    #[must_use]
    pub fn tick(&self) -> Price {
        self.tick
    }

    /// The limit orders of a side in priority order.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = (Key, Working)> {
        self.queue(Queue::limits(side)).filter_map(|key| Some((key, self.working(key.slot)?)))
    }

    /// The stops that wait: buys and then sells, nearest trigger first.
    pub fn stops(&self) -> impl Iterator<Item = (Key, Waiting)> {
        let keys = self.queue(Queue::BuyStops).chain(self.queue(Queue::SellStops));
        keys.filter_map(|key| Some((key, self.waiting_at(key.slot)?)))
    }

    /// The prices of a side with the units shown at each, best first.
    pub fn depth(&self, side: Side) -> impl Iterator<Item = (Price, u64)> {
        let queue = Queue::limits(side);
        self.ladders.of(queue).iter().map(move |(rank, level)| (queue.price(rank), level.shown))
    }

    /// The best price of a side with the units shown at it.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<(Price, u64)> {
        self.depth(side).next()
    }

    /// Whether any stop waits.
    #[inline]
    pub(super) fn has_stops(&self) -> bool {
        !self.ladders.of(Queue::BuyStops).is_empty() || !self.ladders.of(Queue::SellStops).is_empty()
    }

    /// The price of the last trade between two orders of this book, if there was one since this was last asked.
    #[inline]
    pub(super) fn take_last_trade(&mut self) -> Option<Price> {
        self.last_trade.take()
    }

    /// The orders of a queue in priority order.
    fn queue(&self, queue: Queue) -> impl Iterator<Item = Key> {
        self.ladders.of(queue).iter().flat_map(move |(_, level)| {
            std::iter::successors(self.slab.key(level.head), |last| self.slab.key(self.slab.link(last.slot).next))
        })
    }

    fn working(&self, slot: u32) -> Option<Working> {
        let (node, terms) = (self.slab.get(slot)?, self.slab.terms(slot)?);
        Some(Working {
            order: node.order as OrderNo,
            account: node.account,
            side: node.queue.side(),
            limit: self.limit(node, slot),
            open: Quantity::new(u64::from(node.open)),
            disclosed: Quantity::new(u64::from(terms.peak)),
            priority: terms.arrival,
            entered: terms.entered,
            rested: node.rested,
        })
    }

    fn waiting_at(&self, slot: u32) -> Option<Waiting> {
        let (node, terms) = (self.slab.get(slot)?, self.slab.terms(slot)?);
        let (trigger, protection) = (node.queue.price(node.rank), terms.protection);
        Some(Waiting { trigger, working: self.working(slot)?, protection })
    }

    /// An order's limit is the price of its rank; a stop's is what it came with.
    #[inline]
    fn limit(&self, node: &Node, slot: u32) -> Price {
        if node.queue.waits()
            && let Some(terms) = self.slab.terms(slot)
        {
            return Price::from_units(terms.limit);
        }
        node.queue.price(node.rank)
    }
}

/// The steps.
impl Book {
    /// Puts an order that comes, with so many open and shown, at the end of the queue at that price.
    #[inline(always)]
    fn add(
        &mut self,
        order: &Working,
        queue: Queue,
        at: Price,
        (open, shown): (u32, u32),
        protection: u16,
    ) -> Option<Key> {
        if open == 0 {
            return None;
        }
        let arrival = if queue.waits() { 0 } else { self.next_arrival() };
        let node = Node {
            rank: queue.rank(at),
            open,
            shown,
            order: u32::try_from(order.order).unwrap_or(u32::MAX),
            generation: 0,
            account: order.account,
            queue,
            rested: order.rested,
            ioc: false,
        };
        let (entered, limit, peak) = (order.entered, order.limit.units(), narrow(order.disclosed));
        let rank = node.rank;
        let key = self.slab.insert(node, Terms { arrival, entered, limit, peak, protection })?;
        self.join(key.slot, queue, rank, shown);
        Some(key)
    }

    #[inline]
    fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    /// The first order of a side.
    #[inline]
    fn first(&self, side: Side) -> Option<u32> {
        self.ladders.of(Queue::limits(side)).best().map(|(_, level)| level.head)
    }

    /// Puts a slot behind those at its price.
    #[inline(always)]
    fn join(&mut self, slot: u32, queue: Queue, rank: i64, shown: u32) {
        let level = self.ladders.of_mut(queue).enter(rank);
        level.shown += u64::from(shown);
        let last = std::mem::replace(&mut level.tail, slot);
        level.head = select_unpredictable(last == NONE, slot, level.head);
        self.slab.set_link(slot, Link { next: NONE, prev: last });
        self.slab.set_next(last, slot);
    }

    /// Takes a slot, of which so many units are still counted as shown, out of the queue at its price, and the level
    /// with it if it was the last.
    #[inline(always)]
    fn leave(&mut self, slot: u32, queue: Queue, rank: i64, shown: u32) {
        let Link { next, prev } = self.slab.link(slot);
        self.ladders.of_mut(queue).leave(rank, |level| {
            level.shown = level.shown.saturating_sub(u64::from(shown));
            level.head = select_unpredictable(prev == NONE, next, level.head);
            level.tail = select_unpredictable(next == NONE, prev, level.tail);
        });
        self.slab.set_next(prev, next);
        self.slab.set_prev(next, prev);
    }

    #[inline(always)]
    fn take_out(&mut self, slot: u32) {
        let Some(node) = self.slab.get(slot) else { return };
        self.leave(slot, node.queue, node.rank, node.shown);
        self.slab.free(slot);
    }

    #[inline(always)]
    fn cancel_slot<S: Sink>(&mut self, slot: u32, cause: Cause, sink: &mut S) {
        if let Some(node) = self.slab.get(slot) {
            sink.record(record(node, self.limit(node, slot), State::Cancelled(cause)));
            self.take_out(slot);
        }
    }

    /// Puts a limit order that is in no queue behind all others at its price, showing as much as it discloses.
    #[cold]
    fn queue_up(&mut self, slot: u32) {
        let arrival = self.next_arrival();
        let Some(terms) = self.slab.terms_mut(slot) else { return };
        terms.arrival = arrival;
        let peak = terms.peak;
        let Some(node) = self.slab.get_mut(slot) else { return };
        node.shown = if peak == 0 { node.open } else { node.open.min(peak) };
        let (queue, rank, shown) = (node.queue, node.rank, node.shown);
        self.join(slot, queue, rank, shown);
    }
}

#[inline]
fn record(node: &Node, limit: Price, state: State) -> Record {
    Record {
        order: node.order as OrderNo,
        account: node.account,
        side: node.queue.side(),
        state,
        limit,
        open: Quantity::new(u64::from(node.open)),
    }
}

#[inline]
fn narrow(quantity: Quantity) -> u32 {
    u32::try_from(quantity.get()).unwrap_or(u32::MAX)
}
