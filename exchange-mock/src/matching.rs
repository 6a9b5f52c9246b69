//! One instrument's book of our own resting orders, matched by price and then by time.
//!
//! When an order is filled:
//! * against another order of ours that it crosses, at the price of the one that came first;
//! * against the replayed market, by a tick that came after the order and traded at its limit or through it, as far as
//!   the volume of that tick reaches. An order that has rested (some tick since it came did not reach it) is filled at
//!   its limit, since it is the one the market came to; any other at the price of the tick. Never through its limit.
//!
//! What this gets wrong: the real queue ahead of us is not known, so we are first in it; and our own orders do not move
//! the market.
//!
//! The work of a tick grows with the orders it fills or passes over, not with all that rest.

use std::collections::BTreeMap;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Price, Quantity, Side};

/// An order's place in the exchange's list.
pub(crate) type OrderNo = usize;

/// Lower is served first: the price's rank for its side, then the time rank.
type Key = (i64, u64);

/// A limit order in the book.
#[derive(Clone, Debug)]
pub(crate) struct Working {
    pub(crate) order: OrderNo,
    pub(crate) side: Side,
    pub(crate) limit: Price,
    pub(crate) open: Quantity,
    /// Rank in time; lower came first.
    pub(crate) priority: u64,
    /// Only ticks stamped then or later may fill it.
    pub(crate) entered: Timestamp,
}

/// One order filled by so many at that price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) order: OrderNo,
    pub(crate) quantity: Quantity,
    pub(crate) price: Price,
}

#[derive(Clone, Debug)]
struct Entry {
    working: Working,
    rested: bool,
}

/// The resting orders of one instrument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    buys: BTreeMap<Key, Entry>,
    sells: BTreeMap<Key, Entry>,
    buy_stops: BTreeMap<Key, (OrderNo, Timestamp)>,
    sell_stops: BTreeMap<Key, (OrderNo, Timestamp)>,
    /// Orders that no tick has passed over yet.
    unrested: Vec<(Side, Key)>,
}

impl Book {
    /// Adds a limit order.
    pub(crate) fn insert(&mut self, working: Working) {
        let (side, key) = (working.side, (limit_rank(working.side, working.limit), working.priority));
        self.unrested.push((side, key));
        self.side_mut(side).insert(key, Entry { working, rested: false });
    }

    /// Takes a limit order out.
    pub(crate) fn remove(&mut self, side: Side, limit: Price, priority: u64) {
        let key = (limit_rank(side, limit), priority);
        self.side_mut(side).remove(&key);
        self.unrested.retain(|other| *other != (side, key));
    }

    /// From now on the market comes to every order that is here.
    pub(crate) fn all_rested(&mut self) {
        for (side, key) in std::mem::take(&mut self.unrested) {
            if let Some(entry) = self.side_mut(side).get_mut(&key) {
                entry.rested = true;
            }
        }
    }

    /// Changes how many an order still wants, keeping its place.
    pub(crate) fn resize(&mut self, side: Side, limit: Price, priority: u64, open: Quantity) {
        if let Some(entry) = self.side_mut(side).get_mut(&(limit_rank(side, limit), priority)) {
            entry.working.open = open;
        }
    }

    /// Adds a stop.
    pub(crate) fn insert_stop(
        &mut self,
        order: OrderNo,
        side: Side,
        trigger: Price,
        priority: u64,
        entered: Timestamp,
    ) {
        self.stops_mut(side).insert((stop_rank(side, trigger), priority), (order, entered));
    }

    /// Takes a stop out.
    pub(crate) fn remove_stop(&mut self, side: Side, trigger: Price, priority: u64) {
        self.stops_mut(side).remove(&(stop_rank(side, trigger), priority));
    }

    /// Takes out the stops that a tick at `ltp`, stamped `at`, reaches: nearest trigger first, then by time.
    pub(crate) fn triggered(&mut self, ltp: Price, at: Timestamp) -> Vec<OrderNo> {
        let mut orders = Vec::new();
        for side in [Side::Buy, Side::Sell] {
            let stops = self.stops_mut(side);
            let reached: Vec<(Key, OrderNo)> = stops
                .range(..=(stop_rank(side, ltp), u64::MAX))
                .filter(|(_, (_, entered))| *entered <= at)
                .map(|(key, (order, _))| (*key, *order))
                .collect();
            for (key, order) in reached {
                stops.remove(&key);
                orders.push(order);
            }
        }
        orders
    }

    /// Matches our own crossing orders until none cross. Two fills per match: buyer, seller.
    pub(crate) fn uncross(&mut self) -> Vec<Fill> {
        let mut fills = Vec::new();
        while let (Some((_, buy)), Some((_, sell))) = (self.buys.first_key_value(), self.sells.first_key_value()) {
            let (buy, sell) = (&buy.working, &sell.working);
            if buy.limit < sell.limit {
                break;
            }
            let price = if buy.priority < sell.priority { buy.limit } else { sell.limit };
            let quantity = buy.open.min(sell.open);
            let orders = [buy.order, sell.order];
            fills.extend(orders.map(|order| Fill { order, quantity, price }));
            for side in [Side::Buy, Side::Sell] {
                if let Some(mut first) = self.side_mut(side).first_entry() {
                    first.get_mut().working.open = first.get().working.open.less(quantity);
                    if first.get().working.open.is_zero() {
                        first.remove();
                    }
                }
            }
        }
        fills
    }

    /// Matches a tick at `ltp`, stamped `at`, with all it reaches, as far as `left` goes.
    pub(crate) fn take(&mut self, ltp: Price, at: Timestamp, left: &mut Quantity) -> Vec<Fill> {
        let mut fills = Vec::new();
        for side in [Side::Buy, Side::Sell] {
            let reach = (limit_rank(side, ltp), u64::MAX);
            let entries = self.side_mut(side);
            let mut done = Vec::new();
            for (key, entry) in entries.range_mut(..=reach) {
                if left.is_zero() {
                    break;
                }
                if entry.working.entered <= at {
                    fills.push(entry.fill(ltp, left));
                    if entry.working.open.is_zero() {
                        done.push(*key);
                    }
                }
            }
            for key in done {
                entries.remove(&key);
            }
        }
        self.pass_over(ltp, at);
        fills
    }

    /// Matches one order, just added, with what a tick at `ltp` left. Nothing if an order of ours is served before it:
    /// what is left belongs to that one.
    pub(crate) fn take_for(
        &mut self,
        side: Side,
        limit: Price,
        priority: u64,
        ltp: Price,
        left: &mut Quantity,
    ) -> Option<Fill> {
        let key = (limit_rank(side, limit), priority);
        if left.is_zero() || key.0 > limit_rank(side, ltp) {
            return None;
        }
        let mut first = self.side_mut(side).first_entry()?;
        if *first.key() != key {
            return None;
        }
        let fill = first.get_mut().fill(ltp, left);
        if first.get().working.open.is_zero() {
            first.remove();
        }
        Some(fill)
    }

    /// Marks the orders that a tick did not reach: from now on the market comes to them.
    fn pass_over(&mut self, ltp: Price, at: Timestamp) {
        let mut unrested = std::mem::take(&mut self.unrested);
        unrested.retain(|(side, key)| {
            let reached = key.0 <= limit_rank(*side, ltp);
            match self.side_mut(*side).get_mut(key) {
                Some(entry) if reached || entry.working.entered > at => true,
                Some(entry) => {
                    entry.rested = true;
                    false
                }
                None => false,
            }
        });
        self.unrested = unrested;
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Key, Entry> {
        match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        }
    }

    fn stops_mut(&mut self, side: Side) -> &mut BTreeMap<Key, (OrderNo, Timestamp)> {
        match side {
            Side::Buy => &mut self.buy_stops,
            Side::Sell => &mut self.sell_stops,
        }
    }
}

impl Entry {
    fn fill(&mut self, ltp: Price, left: &mut Quantity) -> Fill {
        let quantity = self.working.open.min(*left);
        self.working.open = self.working.open.less(quantity);
        *left = left.less(quantity);
        let price = if self.rested { self.working.limit } else { ltp };
        Fill { order: self.working.order, quantity, price }
    }
}

/// Best price first: the highest buy, the lowest sell. A limit is reached by a price of the same or a higher rank.
fn limit_rank(side: Side, price: Price) -> i64 {
    match side {
        Side::Buy => price.units().saturating_neg(),
        Side::Sell => price.units(),
    }
}

/// Nearest trigger first: the lowest buy, the highest sell. Reached by a price of the same or a higher rank.
fn stop_rank(side: Side, price: Price) -> i64 {
    limit_rank(side.opposite(), price)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rupees(rupees: i64) -> Price {
        Price::from_paise(rupees * 100)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_seconds(second)
    }

    fn book(orders: &[(Side, i64, u64)]) -> Book {
        let mut book = Book::default();
        for (order, (side, limit, open)) in orders.iter().enumerate() {
            book.insert(Working {
                order,
                side: *side,
                limit: rupees(*limit),
                open: Quantity::new(*open),
                priority: order as u64,
                entered: at(0),
            });
        }
        book
    }

    fn take(book: &mut Book, ltp: i64, second: i64, left: u64) -> Vec<(OrderNo, u64, Price)> {
        let fills = book.take(rupees(ltp), at(second), &mut Quantity::new(left));
        fills.into_iter().map(|fill| (fill.order, fill.quantity.get(), fill.price)).collect()
    }

    #[test]
    fn a_tick_is_shared_by_price_and_then_by_time() {
        let mut book = book(&[(Side::Buy, 100, 10), (Side::Buy, 101, 10), (Side::Buy, 100, 10), (Side::Buy, 98, 10)]);
        assert_eq!(take(&mut book, 99, 1, 25), [(1, 10, rupees(99)), (0, 10, rupees(99)), (2, 5, rupees(99))]);
        assert_eq!(take(&mut book, 99, 2, 25), [(2, 5, rupees(99))]);
    }

    #[test]
    fn the_market_that_comes_to_a_resting_order_pays_its_limit() {
        let mut book = book(&[(Side::Buy, 100, 10), (Side::Sell, 110, 10)]);
        assert_eq!(take(&mut book, 105, 1, 50), []);
        assert_eq!(take(&mut book, 99, 2, 50), [(0, 10, rupees(100))]);
        assert_eq!(take(&mut book, 111, 3, 50), [(1, 10, rupees(110))]);
    }

    #[test]
    fn a_tick_from_before_the_order_does_not_fill_it() {
        let mut book = Book::default();
        let working = Working {
            order: 0,
            side: Side::Buy,
            limit: rupees(100),
            open: Quantity::new(1),
            priority: 0,
            entered: at(5),
        };
        book.insert(working);
        assert_eq!(take(&mut book, 99, 4, 50), []);
        assert_eq!(take(&mut book, 99, 5, 50), [(0, 1, rupees(99))]);
    }

    #[test]
    fn crossing_orders_trade_at_the_price_of_the_earlier_one() {
        let mut book = book(&[(Side::Buy, 100, 10), (Side::Buy, 102, 5), (Side::Sell, 99, 12)]);
        let fills: Vec<_> = book.uncross().iter().map(|fill| (fill.order, fill.quantity.get(), fill.price)).collect();
        assert_eq!(fills, [(1, 5, rupees(102)), (2, 5, rupees(102)), (0, 7, rupees(100)), (2, 7, rupees(100))]);
        assert!(book.sells.is_empty() && book.uncross().is_empty());
    }

    #[test]
    fn what_a_tick_left_belongs_to_the_order_served_first() {
        let mut book = book(&[(Side::Buy, 100, 10), (Side::Buy, 100, 10)]);
        let mut left = Quantity::new(50);
        assert_eq!(book.take_for(Side::Buy, rupees(100), 1, rupees(99), &mut left), None);
        assert!(book.take_for(Side::Buy, rupees(100), 0, rupees(99), &mut left).is_some());
        assert_eq!(left, Quantity::new(40));
    }

    #[test]
    fn stops_fire_at_their_trigger_and_not_before() {
        let mut book = Book::default();
        book.insert_stop(0, Side::Buy, rupees(105), 0, at(0));
        book.insert_stop(1, Side::Sell, rupees(95), 1, at(0));
        book.insert_stop(2, Side::Sell, rupees(96), 2, at(0));
        assert!(book.triggered(rupees(100), at(1)).is_empty());
        assert_eq!(book.triggered(rupees(95), at(2)), [2, 1]);
        assert_eq!(book.triggered(rupees(105), at(3)), [0]);
        assert!(book.triggered(rupees(105), at(4)).is_empty());
    }
}
