//! The rules of the book and of an order's life, one behaviour a test.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Price, Quantity, Side};

use super::*;

fn rupees(rupees: i64) -> Price {
    Price::from_paise(rupees * 100)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

fn units(quantity: u64) -> Quantity {
    Quantity::new(quantity)
}

/// Everything that was told.
#[derive(Debug, Default)]
struct Ear {
    records: Vec<(OrderNo, State, u64)>,
    fills: Vec<(OrderNo, u64, Price)>,
}

impl Sink for Ear {
    fn record(&mut self, record: Record) {
        self.records.push((record.order, record.state, record.open.get()));
    }

    fn fill(&mut self, fill: Fill) {
        self.fills.push((fill.order, fill.quantity.get(), fill.price));
    }
}

impl Ear {
    fn fills(&mut self) -> Vec<(OrderNo, u64, Price)> {
        std::mem::take(&mut self.fills)
    }

    fn ends(&self) -> Vec<(OrderNo, State)> {
        self.records.iter().filter(|(_, state, _)| state.is_final()).map(|(order, state, _)| (*order, *state)).collect()
    }
}

fn working(order: OrderNo, side: Side, limit: i64, open: u64) -> Working {
    Working {
        order,
        account: 0,
        side,
        limit: rupees(limit),
        open: units(open),
        disclosed: Quantity::ZERO,
        priority: 0,
        entered: at(0),
        rested: false,
    }
}

fn stop(order: OrderNo, side: Side, trigger: i64) -> Waiting {
    Waiting { trigger: rupees(trigger), working: working(order, side, trigger, 1), protection: 0 }
}

fn book(orders: &[(Side, i64, u64)]) -> Book {
    let mut book = Book::new(Price::from_paise(5));
    for (order, (side, limit, open)) in orders.iter().enumerate() {
        book.insert(&working(order, *side, *limit, *open)).unwrap();
    }
    book
}

fn take(book: &mut Book, ltp: i64, second: i64, left: u64) -> Vec<(OrderNo, u64, Price)> {
    let mut ear = Ear::default();
    book.take(rupees(ltp), at(second), &mut units(left), &mut ear);
    ear.fills
}

/// An exchange by itself, where a thousand was the last price.
struct Pit {
    matcher: Matcher<OwnBook>,
    ear: Ear,
    orders: OrderNo,
}

impl Pit {
    fn new() -> Self {
        let mut pit =
            Self { matcher: Matcher::new(Book::new(Price::from_paise(5)), OwnBook), ear: Ear::default(), orders: 0 };
        let tick = MarketTick { ltp: rupees(1_000), volume: Quantity::ZERO, at: at(0), open: true };
        pit.matcher.tick(tick, &mut pit.ear);
        pit
    }

    fn order(&mut self, side: Side, kind: Kind, quantity: u64) -> NewOrder {
        self.orders += 1;
        NewOrder { kind, ..NewOrder::limit(self.orders - 1, 0, side, Price::ZERO, units(quantity)) }
    }

    fn send(&mut self, order: NewOrder) -> Option<Key> {
        self.matcher.submit(&order, at(1), &mut self.ear).unwrap()
    }

    fn limit(&mut self, side: Side, limit: i64, quantity: u64) -> Option<Key> {
        let order = self.order(side, Kind::Limit(rupees(limit)), quantity);
        self.send(order)
    }

    fn queue(&self, side: Side) -> Vec<(OrderNo, u64)> {
        self.matcher.book.orders(side).map(|(_, working)| (working.order, working.open.get())).collect()
    }
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
    let mut book = book(&[]);
    book.insert(&Working { entered: at(5), ..working(0, Side::Buy, 100, 1) }).unwrap();
    assert_eq!(take(&mut book, 99, 4, 50), []);
    assert_eq!(take(&mut book, 99, 5, 50), [(0, 1, rupees(99))]);
}

#[test]
fn crossing_orders_trade_at_the_price_of_the_earlier_one() {
    let mut book = book(&[(Side::Buy, 100, 10), (Side::Buy, 102, 5), (Side::Sell, 99, 12)]);
    let mut ear = Ear::default();
    book.uncross(&mut ear);
    assert_eq!(ear.fills(), [(1, 5, rupees(102)), (2, 5, rupees(102)), (0, 7, rupees(100)), (2, 7, rupees(100))]);
    assert!(book.best(Side::Sell).is_none());
    book.uncross(&mut ear);
    assert_eq!(ear.fills(), []);
}

#[test]
fn what_a_tick_left_belongs_to_the_order_served_first() {
    let mut book = book(&[(Side::Buy, 100, 10), (Side::Buy, 100, 10)]);
    let (mut left, mut ear) = (units(50), Ear::default());
    let keys: Vec<Key> = book.orders(Side::Buy).map(|(key, _)| key).collect();
    book.take_for(keys[1], rupees(99), &mut left, &mut ear);
    assert_eq!(ear.fills(), []);
    book.take_for(keys[0], rupees(99), &mut left, &mut ear);
    assert_eq!((ear.fills(), left), (vec![(0, 10, rupees(99))], units(40)));
}

#[test]
fn stops_fire_at_their_trigger_and_not_before() {
    let mut book = book(&[]);
    for (order, side, trigger) in [(0, Side::Buy, 105), (1, Side::Sell, 95), (2, Side::Sell, 96)] {
        book.insert_stop(&stop(order, side, trigger)).unwrap();
    }
    assert_eq!(book.stops().map(|(_, stop)| stop.working.order).collect::<Vec<_>>(), [0, 2, 1]);
    let mut fired = |ltp: i64| {
        let mut ear = Ear::default();
        book.fire(rupees(ltp), at(1), &mut ear);
        ear.records.iter().map(|(order, ..)| *order).collect::<Vec<_>>()
    };
    assert!(fired(100).is_empty());
    assert_eq!(fired(95), [2, 1]);
    assert_eq!(fired(105), [0]);
    assert!(fired(105).is_empty());
}

#[test]
fn a_key_names_its_own_order_and_never_the_next_in_its_slot() {
    let mut book = book(&[(Side::Buy, 100, 10)]);
    let (old, _) = book.orders(Side::Buy).next().unwrap();
    assert_eq!(book.remove(old).map(|working| working.order), Some(0));
    let new = book.insert(&working(1, Side::Buy, 100, 10)).unwrap();
    assert_eq!((new.slot, book.get(old), book.remove(old)), (old.slot, None, None));
    book.resize(old, units(3));
    assert_eq!(book.get(new).map(|working| working.open), Some(units(10)));
}

#[test]
fn an_incoming_order_trades_at_the_prices_that_rest_best_first_and_never_beyond_its_limit() {
    let mut pit = Pit::new();
    for limit in [1_002, 1_001, 1_001, 1_004] {
        pit.limit(Side::Sell, limit, 10);
    }
    assert!(pit.limit(Side::Buy, 1_003, 35).is_some());
    let fills: Vec<_> = pit.ear.fills().into_iter().filter(|fill| fill.0 != 4).collect();
    assert_eq!(fills, [(1, 10, rupees(1_001)), (2, 10, rupees(1_001)), (0, 10, rupees(1_002))]);
    assert_eq!((pit.queue(Side::Buy), pit.queue(Side::Sell)), (vec![(4, 5)], vec![(3, 10)]));
    assert_eq!(pit.matcher.book.best(Side::Buy), Some((rupees(1_003), 5)));
    assert_eq!(pit.matcher.last(), Some(rupees(1_002)));
}

#[test]
fn an_ioc_order_takes_what_is_there_and_the_rest_is_cancelled() {
    let mut pit = Pit::new();
    pit.limit(Side::Sell, 1_000, 10);
    let order = pit.order(Side::Buy, Kind::Limit(rupees(1_000)), 15);
    assert_eq!(pit.send(NewOrder { ioc: true, ..order }), None);
    assert_eq!(pit.ear.records.last(), Some(&(1, State::Cancelled(Cause::Ioc), 5)));
    assert!(pit.queue(Side::Buy).is_empty());
}

#[test]
fn a_market_order_goes_no_further_than_its_protection_and_rests_there() {
    let mut pit = Pit::new();
    pit.limit(Side::Sell, 1_009, 10);
    pit.limit(Side::Sell, 1_011, 10);
    let order = pit.order(Side::Buy, Kind::Market(100), 20);
    pit.send(order);
    assert_eq!(pit.ear.fills(), [(0, 10, rupees(1_009)), (2, 10, rupees(1_009))]);
    assert_eq!(pit.matcher.book.best(Side::Buy), Some((rupees(1_010), 10)));
    let nothing_yet = NewOrder { kind: Kind::Market(100), ..NewOrder::limit(9, 0, Side::Buy, Price::ZERO, units(1)) };
    let mut new = Matcher::new(Book::new(rupees(1)), OwnBook);
    assert_eq!(new.submit(&nothing_yet, at(0), &mut ()), Err(Refused::NoLastPrice { order: 9 }));
}

#[test]
fn fewer_units_keep_the_place_and_more_units_or_another_price_lose_it() {
    let mut pit = Pit::new();
    let keys: Vec<Key> = (0..3).filter_map(|_| pit.limit(Side::Buy, 990, 10)).collect();
    let change = |open, limit: Option<i64>| Change { open, limit: limit.map(rupees) };
    pit.matcher.modify(keys[0], change(Some(units(4)), None), at(2), &mut pit.ear).unwrap();
    assert_eq!(pit.queue(Side::Buy), [(0, 4), (1, 10), (2, 10)]);
    pit.matcher.modify(keys[1], change(Some(units(11)), None), at(2), &mut pit.ear).unwrap();
    assert_eq!(pit.queue(Side::Buy), [(0, 4), (2, 10), (1, 11)]);
    let key = pit.matcher.modify(keys[0], change(None, Some(989)), at(2), &mut pit.ear).unwrap().unwrap();
    assert_eq!(pit.queue(Side::Buy), [(2, 10), (1, 11), (0, 4)]);
    pit.matcher.modify(key, change(None, Some(990)), at(2), &mut pit.ear).unwrap();
    assert_eq!(pit.queue(Side::Buy), [(2, 10), (1, 11), (0, 4)]);
    assert_eq!(pit.matcher.modify(keys[0], Change::default(), at(3), &mut pit.ear), Err(Gone));
}

#[test]
fn the_next_part_of_a_disclosed_order_comes_behind_those_at_its_price() {
    let mut pit = Pit::new();
    let order = pit.order(Side::Sell, Kind::Limit(rupees(1_000)), 30);
    pit.send(NewOrder { disclosed: units(10), ..order });
    pit.limit(Side::Sell, 1_000, 10);
    assert_eq!(pit.matcher.book.best(Side::Sell), Some((rupees(1_000), 20)));
    pit.limit(Side::Buy, 1_000, 25);
    let fills: Vec<_> = pit.ear.fills().into_iter().filter(|fill| fill.0 != 2).map(|fill| (fill.0, fill.1)).collect();
    assert_eq!(fills, [(0, 10), (1, 10), (0, 5)]);
    assert_eq!(pit.matcher.book.best(Side::Sell), Some((rupees(1_000), 5)));
    assert_eq!(pit.queue(Side::Sell), [(0, 15)]);
}

#[test]
fn an_iceberg_shows_a_leg_at_a_time() {
    let order = NewOrder::limit(0, 0, Side::Sell, rupees(1_000), units(25)).iceberg(4);
    assert_eq!(order.disclosed, units(7));
    let mut pit = Pit::new();
    pit.orders = 1;
    pit.send(order);
    for shown in [7, 7, 7, 4] {
        assert_eq!(pit.matcher.book.best(Side::Sell), Some((rupees(1_000), shown)));
        pit.limit(Side::Buy, 1_000, shown);
    }
    assert_eq!(pit.matcher.book.best(Side::Sell), None);
}

#[test]
fn stops_fire_on_trades_one_after_the_other_and_what_they_trade_may_fire_more() {
    let mut pit = Pit::new();
    pit.limit(Side::Sell, 1_001, 5);
    pit.limit(Side::Sell, 1_002, 5);
    let one = pit.order(Side::Buy, Kind::StopMarket { trigger: rupees(1_001), protection: 100 }, 5);
    let two = pit.order(Side::Buy, Kind::StopLimit { trigger: rupees(1_002), limit: rupees(1_003) }, 5);
    assert!(pit.send(one).is_some() && pit.send(two).is_some());
    assert_eq!(pit.ear.fills(), []);
    pit.limit(Side::Buy, 1_001, 5);
    // The trade at 1,001 fires the first, its trade at 1,002 the second, which finds nothing and rests.
    assert_eq!(pit.ear.fills().iter().map(|fill| fill.0).collect::<Vec<_>>(), [0, 4, 1, 2]);
    assert_eq!(pit.queue(Side::Buy), [(3, 5)]);
    assert_eq!(pit.matcher.book.best(Side::Buy), Some((rupees(1_003), 5)));
    assert_eq!(pit.matcher.book.stops().count(), 0);
}

#[test]
fn orders_of_one_account_do_what_the_rule_says() {
    let ends = |rule: SelfTrade| {
        let mut pit = Pit::new();
        pit.matcher.book.set_self_trade(rule);
        pit.limit(Side::Sell, 1_000, 5);
        pit.limit(Side::Buy, 1_000, 5);
        pit.ear.ends()
    };
    let gone = State::Cancelled(Cause::SelfTrade);
    assert_eq!(ends(SelfTrade::Trade), [(0, State::Filled), (1, State::Filled)]);
    assert_eq!(ends(SelfTrade::CancelResting), [(0, gone)]);
    assert_eq!(ends(SelfTrade::CancelIncoming), [(1, gone)]);
}

#[test]
fn what_no_exchange_takes_is_refused_and_told_to_nobody() {
    let mut pit = Pit::new();
    let order = pit.order(Side::Buy, Kind::Limit(rupees(1_000)), 100);
    let refused = [
        NewOrder { quantity: Quantity::ZERO, ..order },
        NewOrder { quantity: units(MAX_QUANTITY + 1), ..order },
        NewOrder { disclosed: units(9), ..order },
        NewOrder { disclosed: units(101), ..order },
        NewOrder { kind: Kind::StopLimit { trigger: rupees(1_001), limit: rupees(1_000) }, ..order },
    ];
    for order in refused {
        assert!(pit.matcher.submit(&order, at(1), &mut pit.ear).is_err());
    }
    assert!(pit.ear.records.is_empty() && pit.queue(Side::Buy).is_empty());
}

#[test]
fn at_the_end_of_the_day_nothing_is_left() {
    let mut pit = Pit::new();
    pit.limit(Side::Buy, 990, 1);
    pit.limit(Side::Sell, 1_010, 1);
    let stop = pit.order(Side::Sell, Kind::StopMarket { trigger: rupees(900), protection: 100 }, 1);
    pit.send(stop);
    pit.matcher.end_day(&mut pit.ear);
    let ended = State::Cancelled(Cause::DayEnd);
    assert_eq!(pit.ear.ends(), [(0, ended), (1, ended), (2, ended)]);
    assert_eq!(pit.matcher.cancel(Key { slot: 0, generation: std::num::NonZeroU32::MIN }, &mut pit.ear), Err(Gone));
}
