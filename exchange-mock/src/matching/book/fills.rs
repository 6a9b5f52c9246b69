//! How orders are filled: by each other, by ticks, from outside.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, Price, Quantity, Side};

use super::super::ladder::NONE;
use super::super::order::{Account, Cause, Fill, Key, OrderNo, Record, SelfTrade, Sink, State};
use super::super::queue::Queue;
use super::{Book, narrow};

/// An order on its way against what rests.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Taker {
    pub(in super::super) order: OrderNo,
    pub(in super::super) account: Account,
    pub(in super::super) side: Side,
    pub(in super::super) limit: Price,
    pub(in super::super) open: Quantity,
    /// Set when the self-trade rule ended it.
    pub(in super::super) barred: bool,
}

/// So many at that price.
#[derive(Clone, Copy)]
struct Trade {
    quantity: u32,
    price: Price,
    value: Money,
}

impl Trade {
    #[inline]
    fn new(quantity: u32, price: Price) -> Self {
        let value = price.times(Quantity::new(u64::from(quantity))).unwrap_or(Money::from_units(i64::MAX));
        Self { quantity, price, value }
    }

    /// What an order that has so many left is told of it.
    #[inline(always)]
    fn tell<S: Sink>(self, (order, account, side, limit): (OrderNo, Account, Side, Price), left: u32, sink: &mut S) {
        let Self { quantity, price, value } = self;
        let (quantity, open) = (Quantity::new(u64::from(quantity)), Quantity::new(u64::from(left)));
        let state = if left == 0 { State::Filled } else { State::Open };
        let record = Record { order, account, side, state, limit, open };
        sink.filled(Fill { order, account, side, quantity, price, value, open }, record);
    }
}

impl Book {
    /// Trades an order that comes with the other side, best price first and then by time, at the prices that rest
    /// there, never beyond its limit. What is left of it is in `taker`.
    #[inline(always)]
    pub(in super::super) fn sweep<S: Sink>(&mut self, taker: &mut Taker, sink: &mut S) {
        let Taker { order, account, side, limit, .. } = *taker;
        let queue = Queue::limits(side.opposite());
        let reach = queue.rank(limit);
        let mut left = narrow(taker.open);
        while left != 0 {
            let Some((rank, level)) = self.ladders.of(queue).best().filter(|(rank, _)| *rank <= reach) else { break };
            let (slot, price) = (level.head, queue.price(rank));
            let Some(node) = self.slab.get(slot) else { break };
            if self.self_trade != SelfTrade::Trade && node.account == account {
                if self.self_trade == SelfTrade::CancelIncoming {
                    taker.barred = true;
                    break;
                }
                self.cancel_slot(slot, Cause::SelfTrade, sink);
                continue;
            }
            let trade = Trade::new(node.shown.min(left), price);
            self.hit(slot, (queue, rank), trade, sink);
            self.last_trade = Some(price);
            left -= trade.quantity;
            trade.tell((order, account, side, limit), left, sink);
        }
        taker.open = Quantity::new(u64::from(left));
    }

    /// Matches resting orders that cross until none do, each pair at the price of the one that came first.
    pub fn uncross<S: Sink>(&mut self, sink: &mut S) {
        while let (Some(buy), Some(sell)) = (self.first(Side::Buy), self.first(Side::Sell)) {
            let (Some(bought), Some(sold)) = (self.slab.get(buy), self.slab.get(sell)) else { return };
            let (bid, ask) = (bought.queue.price(bought.rank), sold.queue.price(sold.rank));
            if bid < ask {
                return;
            }
            let arrival = |slot| self.slab.terms(slot).map(|terms| terms.arrival);
            let buy_came_first = arrival(buy) < arrival(sell);
            if bought.account == sold.account && self.self_trade != SelfTrade::Trade {
                let cancel_first = self.self_trade == SelfTrade::CancelResting;
                self.cancel_slot(if buy_came_first == cancel_first { buy } else { sell }, Cause::SelfTrade, sink);
                continue;
            }
            let price = if buy_came_first { bid } else { ask };
            let trade = Trade::new(bought.shown.min(sold.shown), price);
            self.last_trade = Some(price);
            let places = [(buy, bought.queue, bought.rank), (sell, sold.queue, sold.rank)];
            for (slot, queue, rank) in places {
                self.hit(slot, (queue, rank), trade, sink);
            }
        }
    }

    /// Matches a tick at `ltp`, stamped `at`, with all it reaches, as far as `left` goes. An order that has rested is
    /// filled at its limit, since it is the one the market came to; any other at the price of the tick.
    pub fn take<S: Sink>(&mut self, ltp: Price, at: Timestamp, left: &mut Quantity, sink: &mut S) {
        for queue in [Queue::Buys, Queue::Sells] {
            let reach = queue.rank(ltp);
            let mut next_rank = self.ladders.of(queue).first();
            while let Some(rank) = next_rank.filter(|rank| *rank <= reach && !left.is_zero()) {
                next_rank = self.ladders.of(queue).after(rank);
                let mut slot = self.ladders.of_mut(queue).get_mut(rank).map_or(NONE, |level| level.head);
                while slot != NONE
                    && !left.is_zero()
                    && let Some(terms) = self.slab.terms(slot)
                {
                    let (next, entered) = (self.slab.link(slot).next, terms.entered);
                    if entered <= at {
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
        let Some(node) = self.slab.find(key).filter(|node| !node.queue.waits()) else { return };
        let reached = node.rank <= node.queue.rank(ltp);
        if reached && !left.is_zero() && self.first(node.queue.side()) == Some(key.slot) {
            self.fill_from(key.slot, ltp, left, sink);
        }
    }

    /// Fills an order from outside the book with so many, which it has open, at that price.
    pub(in super::super) fn fill_outside<S: Sink>(&mut self, key: Key, quantity: Quantity, price: Price, sink: &mut S) {
        let Some(node) = self.slab.find(key).filter(|_| !quantity.is_zero()) else { return };
        let trade = Trade::new(narrow(quantity).min(node.open), price);
        self.hit(key.slot, (node.queue, node.rank), trade, sink);
    }

    /// Fills the order in a slot, which stands at that place, by as many as it has open or fewer. One that is done
    /// leaves; one whose disclosed part is done shows the next part, behind all others at its price.
    #[inline(always)]
    fn hit<S: Sink>(&mut self, slot: u32, (queue, rank): (Queue, i64), trade: Trade, sink: &mut S) {
        let Some(node) = self.slab.get_mut(slot) else { return };
        let shown = trade.quantity.min(node.shown);
        node.open = node.open.saturating_sub(trade.quantity);
        node.shown -= shown;
        let (order, account, left) = (node.order as OrderNo, node.account, node.open);
        if node.shown == 0 {
            self.leave(slot, queue, rank, shown);
            if left == 0 {
                self.slab.free(slot);
            } else {
                self.queue_up(slot);
            }
        } else if let Some(level) = self.ladders.of_mut(queue).get_mut(rank) {
            level.shown = level.shown.saturating_sub(u64::from(shown));
        }
        trade.tell((order, account, queue.side(), queue.price(rank)), left, sink);
    }

    fn fill_from<S: Sink>(&mut self, slot: u32, ltp: Price, left: &mut Quantity, sink: &mut S) {
        let Some(node) = self.slab.get(slot) else { return };
        let quantity = Quantity::new(u64::from(node.open)).min(*left);
        let price = if node.rested { node.queue.price(node.rank) } else { ltp };
        *left = left.less(quantity);
        self.hit(slot, (node.queue, node.rank), Trade::new(narrow(quantity), price), sink);
    }

    /// Marks the orders that a tick did not reach: from now on the market comes to them.
    fn pass_over(&mut self, ltp: Price, at: Timestamp) {
        let slab = &mut self.slab;
        self.unrested.retain(|key| {
            let entered = slab.terms(key.slot).map(|terms| terms.entered);
            let Some(node) = slab.find_mut(*key) else { return false };
            // Every order here is a limit order: stops come when they have fired.
            let reached = node.rank <= node.queue.rank(ltp);
            node.rested = !reached && entered.is_some_and(|entered| entered <= at);
            !node.rested
        });
    }
}
