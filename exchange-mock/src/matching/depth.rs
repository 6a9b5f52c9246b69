//! Five levels of depth, and our place in the queue.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Depth, Level, Price, Quantity, Side};

use super::Book;
use super::liquidity::{Arrival, Liquidity, Manner, MarketTick};
use super::order::{Key, Sink, Working};

/// Replays full-mode market data: five levels a side, and trades. Knows the queue ahead of a resting order.
///
/// * An order that comes takes what the other side shows, best level first, as far as its limit reaches; what it took is
///   gone until the next depth. Our own crossing orders trade with each other first.
/// * What rests stands behind all that is shown at its price. The queue ahead shrinks by every unit that trades there,
///   and to what is shown when less is shown: whoever cancels stood behind us until there is nobody left behind.
/// * A trade at its price fills an order by what exceeds the queue ahead; a trade through its price has used that queue
///   up, and fills it as far as the volume goes; a depth whose other side shows our limit or better fills it by what is
///   shown there. Always at the limit: the market came to it.
///
/// **Assumes** that the five levels are all there is, that hidden and disclosed parts of others are none, that cancels
/// happen behind us, and that our orders move nobody.
///
/// **Gets wrong** what happens between two depths (a level that came and went), a price further away than the fifth
/// level (its queue is unknown: taken as endless until the price is shown), cancels ahead of us (real queues shorten
/// faster: fills come late), and impact (what we took is shown again with the next depth).
#[derive(Clone, Debug, Default)]
pub struct DepthQueue {
    /// The last depth, less what we took of it.
    shown: Depth,
    seen: Option<Timestamp>,
    /// Units ahead of the order in each slot, and whose slot it was then.
    ahead: Vec<(u32, u64)>,
    /// Used again and again.
    queue: Vec<(Key, Working)>,
}

/// Nobody has shown this price yet.
const UNKNOWN: u64 = u64::MAX;

fn levels(depth: &Depth, side: Side) -> &[Level; 5] {
    match side {
        Side::Buy => &depth.buy,
        Side::Sell => &depth.sell,
    }
}

fn is_at_or_better(side: Side, price: Price, limit: Price) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

impl DepthQueue {
    /// Units that stand ahead of an order; `None` where nobody knows.
    #[must_use]
    pub fn ahead(&self, key: Key) -> Option<u64> {
        let known = self.ahead.get(key.slot as usize).filter(|(generation, _)| *generation == key.generation.get());
        known.map(|(_, units)| *units).filter(|units| *units != UNKNOWN)
    }

    fn set_ahead(&mut self, key: Key, units: u64) {
        let slot = key.slot as usize;
        if slot >= self.ahead.len() {
            self.ahead.resize(slot + 1, (0, UNKNOWN));
        }
        if let Some(place) = self.ahead.get_mut(slot) {
            *place = (key.generation.get(), units);
        }
    }

    /// What the last depth shows at a price: nothing inside the five levels where there is none, unknown beyond them.
    fn shown_at(&self, side: Side, price: Price) -> u64 {
        let real = || levels(&self.shown, side).iter().filter(|level| level.price > Price::ZERO);
        if let Some(level) = real().find(|level| level.price == price) {
            return level.quantity.get();
        }
        let is_beyond = real().count() == 5 && real().all(|level| is_at_or_better(side, price, level.price));
        if self.seen.is_none() || is_beyond { UNKNOWN } else { 0 }
    }

    /// Takes what the other side shows, as far as the limit reaches. At the shown prices when an order comes; at its own
    /// limit when the market came to it.
    fn sweep<S: Sink>(&mut self, book: &mut Book, key: Key, comes: bool, sink: &mut S) {
        let Some(Working { side, limit, mut open, .. }) = book.get(key) else { return };
        let offers = match side {
            Side::Buy => &mut self.shown.sell,
            Side::Sell => &mut self.shown.buy,
        };
        for level in offers {
            if level.price <= Price::ZERO || !is_at_or_better(side, level.price, limit) || open.is_zero() {
                return;
            }
            let quantity = open.min(level.quantity);
            level.quantity = level.quantity.less(quantity);
            open = open.less(quantity);
            book.fill_outside(key, quantity, if comes { level.price } else { limit }, sink);
        }
    }

    /// The orders of a side into `queue`, in their order.
    fn line_up(&mut self, book: &Book, side: Side) {
        self.queue.clear();
        self.queue.extend(book.orders(side));
    }
}

impl Liquidity for DepthQueue {
    const OWN_TRADES_FIRE_STOPS: bool = false;

    fn arrive<S: Sink>(&mut self, book: &mut Book, order: &Working, manner: Manner, sink: &mut S) -> Arrival {
        let Some(key) = book.insert(&Working { rested: true, ..*order }) else { return Arrival::Done };
        let ahead = self.shown_at(order.side, order.limit);
        self.set_ahead(key, ahead);
        self.meet(book, key, manner, sink);
        if book.get(key).is_some() { Arrival::Rests(key) } else { Arrival::Done }
    }

    fn meet<S: Sink>(&mut self, book: &mut Book, key: Key, manner: Manner, sink: &mut S) {
        if manner.open {
            book.uncross(sink);
            self.sweep(book, key, true, sink);
        }
    }

    fn tick<S: Sink>(&mut self, book: &mut Book, tick: MarketTick, sink: &mut S) {
        if !tick.open {
            return;
        }
        book.uncross(sink);
        let mut left = tick.volume.get();
        for side in [Side::Buy, Side::Sell] {
            self.line_up(book, side);
            let mut queue = std::mem::take(&mut self.queue);
            // What our own orders at this price have taken of the units beyond the queue.
            let mut ours = 0;
            let reached = queue.drain(..).take_while(|(_, it)| is_at_or_better(side, tick.ltp, it.limit));
            for (key, working) in reached {
                if working.entered > tick.at || left == 0 {
                    continue;
                }
                let beyond = if working.limit == tick.ltp {
                    let ahead = self.ahead(key).unwrap_or(UNKNOWN);
                    if ahead != UNKNOWN {
                        self.set_ahead(key, ahead.saturating_sub(tick.volume.get()));
                    }
                    tick.volume.get().saturating_sub(ahead).saturating_sub(ours)
                } else {
                    self.set_ahead(key, 0);
                    left
                };
                let quantity = working.open.get().min(beyond).min(left);
                left -= quantity;
                ours += quantity;
                book.fill_outside(key, Quantity::new(quantity), working.limit, sink);
            }
            self.queue = queue;
        }
    }

    fn depth<S: Sink>(&mut self, book: &mut Book, depth: &Depth, at: Timestamp, open: bool, sink: &mut S) {
        if self.seen.is_some_and(|seen| seen > at) {
            return;
        }
        (self.shown, self.seen) = (*depth, Some(at));
        for side in [Side::Buy, Side::Sell] {
            self.line_up(book, side);
            let mut queue = std::mem::take(&mut self.queue);
            for (key, working) in queue.drain(..) {
                let shown = self.shown_at(side, working.limit);
                let ahead = self.ahead(key).unwrap_or(UNKNOWN);
                self.set_ahead(key, ahead.min(shown));
                if open && working.entered <= at {
                    self.sweep(book, key, false, sink);
                }
            }
            self.queue = queue;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Fill, Matcher, NewOrder, OrderNo, Record};
    use super::*;

    #[derive(Default)]
    struct Ear(Vec<(OrderNo, u64, i64)>);

    impl Sink for Ear {
        fn record(&mut self, _: Record) {}

        fn fill(&mut self, fill: Fill) {
            self.0.push((fill.order, fill.quantity.get(), fill.price.units() / 10_000));
        }
    }

    struct Day {
        matcher: Matcher<DepthQueue>,
        ear: Ear,
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_seconds(second)
    }

    fn rupees(rupees: i64) -> Price {
        Price::from_paise(rupees * 100)
    }

    /// Levels a rupee apart, from these best ones on.
    fn depth(bid: i64, ask: i64, quantities: [u64; 5]) -> Depth {
        let level = |price: i64, quantity| Level { price: rupees(price), quantity: Quantity::new(quantity), orders: 1 };
        let mut depth = Depth::default();
        for (step, quantity) in quantities.into_iter().enumerate() {
            depth.buy[step] = level(bid - step as i64, quantity);
            depth.sell[step] = level(ask + step as i64, quantity);
        }
        depth
    }

    impl Day {
        /// Bids from 100 down, offers from 102 up: 10, 20, 30, 40, 50 units.
        fn new() -> Self {
            let matcher = Matcher::new(Book::new(Price::from_paise(5)), DepthQueue::default());
            let mut day = Self { matcher, ear: Ear::default() };
            day.show(1, 100, 102, [10, 20, 30, 40, 50]);
            day
        }

        fn show(&mut self, second: i64, bid: i64, ask: i64, quantities: [u64; 5]) -> Vec<(OrderNo, u64, i64)> {
            self.matcher.depth(&depth(bid, ask, quantities), at(second), true, &mut self.ear);
            std::mem::take(&mut self.ear.0)
        }

        fn trade(&mut self, second: i64, ltp: i64, volume: u64) -> Vec<(OrderNo, u64, i64)> {
            let tick = MarketTick { ltp: rupees(ltp), volume: Quantity::new(volume), at: at(second), open: true };
            self.matcher.tick(tick, &mut self.ear);
            std::mem::take(&mut self.ear.0)
        }

        fn limit(&mut self, no: OrderNo, side: Side, limit: i64, quantity: u64) -> Option<Key> {
            let order = NewOrder::limit(no, 0, side, rupees(limit), Quantity::new(quantity));
            self.matcher.submit(&order, at(2), &mut self.ear).unwrap()
        }
    }

    #[test]
    fn an_order_takes_what_the_other_side_shows_and_it_is_gone_until_the_next_depth() {
        let mut day = Day::new();
        assert!(day.limit(0, Side::Buy, 103, 25).is_none());
        assert!(day.limit(1, Side::Buy, 103, 10).is_some());
        assert_eq!(day.ear.0, [(0, 10, 102), (0, 15, 103), (1, 5, 103)]);
        assert_eq!(day.matcher.book.best(Side::Buy), Some((rupees(103), 5)));
    }

    #[test]
    fn what_rests_waits_for_the_queue_ahead_of_it() {
        let mut day = Day::new();
        let key = day.limit(0, Side::Buy, 99, 10).unwrap();
        day.limit(1, Side::Buy, 99, 10);
        assert_eq!(day.matcher.liquidity.ahead(key), Some(20));
        assert_eq!(day.trade(3, 99, 15), []);
        assert_eq!(day.matcher.liquidity.ahead(key), Some(5));
        assert_eq!(day.trade(4, 99, 12), [(0, 7, 99)]);
        assert_eq!(day.trade(5, 99, 8), [(0, 3, 99), (1, 5, 99)]);
        // Through the price: whoever stood before us is done.
        assert_eq!(day.trade(6, 98, 100), [(1, 5, 99)]);
    }

    #[test]
    fn cancels_in_the_market_happen_behind_us_until_nobody_is_left_there() {
        let mut day = Day::new();
        let key = day.limit(0, Side::Buy, 99, 10).unwrap();
        day.show(3, 100, 102, [10, 90, 30, 40, 50]);
        assert_eq!(day.matcher.liquidity.ahead(key), Some(20));
        day.show(4, 100, 102, [10, 12, 30, 40, 50]);
        assert_eq!(day.matcher.liquidity.ahead(key), Some(12));
    }

    #[test]
    fn the_queue_at_a_price_beyond_the_levels_is_unknown_until_it_is_shown() {
        let mut day = Day::new();
        let key = day.limit(0, Side::Sell, 110, 10).unwrap();
        assert_eq!(day.matcher.liquidity.ahead(key), None);
        assert_eq!(day.trade(3, 110, 1_000), []);
        day.show(4, 106, 108, [10, 20, 30, 40, 50]);
        assert_eq!(day.matcher.liquidity.ahead(key), Some(30));
        let inside = day.limit(1, Side::Sell, 107, 10).unwrap();
        assert_eq!(day.matcher.liquidity.ahead(inside), Some(0));
    }

    #[test]
    fn the_market_that_comes_to_a_limit_pays_it() {
        let mut day = Day::new();
        day.limit(0, Side::Buy, 101, 15);
        assert_eq!(day.show(1, 99, 100, [10, 20, 30, 40, 50]), [], "shown before the order came");
        assert_eq!(day.show(3, 99, 100, [10, 20, 30, 40, 50]), [(0, 10, 101), (0, 5, 101)]);
        let key = day.limit(1, Side::Buy, 98, 5).unwrap();
        let less = Change { open: Some(Quantity::new(2)), limit: None };
        assert_eq!(day.matcher.modify(key, less, at(4), &mut day.ear), Ok(Some(key)));
        assert_eq!(day.trade(5, 97, 50), [(1, 2, 98)]);
    }
}
