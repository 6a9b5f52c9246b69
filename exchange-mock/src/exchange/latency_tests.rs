//! Orders that take time to the exchange: what happens on the way counts.

use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, Exchange, InstrumentKey, MarketProtection, OrderChange, OrderRequest, OrderStatus, OrderType, Price,
    Product, Quantity, Side, Validity,
};

use crate::matching::Latency;
use crate::{Calendar, Config, Latencies, MockExchange, SquareOff, Update, universe};

fn millis(least: u64, spread: u64) -> Latency {
    Latency { least: Duration::from_millis(least), spread: Duration::from_millis(spread) }
}

fn key() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "RELIANCE")
}

fn rupees(rupees: i64) -> Price {
    Price::from_paise(rupees * 100)
}

fn limit(side: Side, quantity: u64, price: i64) -> OrderRequest {
    OrderRequest { product: Product::Mis, ..OrderRequest::new(key(), side, quantity, OrderType::Limit(rupees(price))) }
}

fn market(side: Side, quantity: u64) -> OrderRequest {
    OrderRequest { order_type: OrderType::Market(MarketProtection::Automatic), ..limit(side, quantity, 1) }
}

/// An exchange 300 ms away, 200 there and 100 back, with a tick at 1,000 as the time begins, which is counted in
/// milliseconds.
struct Day {
    exchange: MockExchange,
    began: Timestamp,
    volume: u64,
}

impl Day {
    fn new() -> Self {
        Self::at("10:00:00", Config::default())
    }

    fn at(time: &str, config: Config) -> Self {
        let latency = Latencies { order_entry: millis(200, 0), market_data: millis(100, 0) };
        Self::with(time, Config { latency, ..config })
    }

    fn with(time: &str, config: Config) -> Self {
        let instruments = universe::instruments("2026-11-20".parse().unwrap());
        let began = Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap();
        let mut day =
            Self { exchange: MockExchange::new(config, instruments, Calendar::nse()), began, volume: 100_000 };
        day.tick(0, 1_000);
        day
    }

    fn ms(&self, ms: u64) -> Timestamp {
        self.began + Duration::from_millis(ms)
    }

    fn tick(&mut self, ms: u64, price: i64) {
        self.volume += 100;
        self.exchange.price(&key(), rupees(price), Quantity::new(self.volume), self.ms(ms));
    }

    fn place(&mut self, ms: u64, order: &OrderRequest) -> BrokerOrderId {
        let now = self.ms(ms);
        self.exchange.place(order, None, now).unwrap()
    }

    fn status(&self, id: &BrokerOrderId) -> OrderStatus {
        self.exchange.order(id).unwrap().status
    }

    fn message(&self, id: &BrokerOrderId) -> String {
        self.exchange.order(id).unwrap().message.clone().unwrap_or_default()
    }

    fn words(&self, id: &BrokerOrderId) -> Vec<&str> {
        self.exchange.history(id).unwrap().iter().map(|row| &*row.broker_status).collect()
    }

    fn fills(&self, id: &BrokerOrderId) -> Vec<(u64, Price)> {
        self.exchange.trades_of(id).unwrap().iter().map(|trade| (trade.quantity.get(), trade.price)).collect()
    }
}

#[test]
fn an_order_meets_the_market_as_it_is_when_it_gets_there() {
    let mut day = Day::new();
    let id = day.place(50, &market(Side::Buy, 10));
    assert_eq!(day.words(&id), ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING"]);
    let row = day.exchange.order(&id).unwrap();
    assert_eq!((row.status, row.exchange_at, row.exchange_order_id.as_ref()), (OrderStatus::Accepted, None, None));
    day.tick(200, 1_003);
    assert_eq!(day.fills(&id), [], "it is not there yet");
    assert_eq!(day.exchange.next_wake(day.ms(200)), Some(day.ms(350)));
    day.exchange.wake(day.ms(350));
    assert_eq!(day.fills(&id), [(10, rupees(1_003))], "not at 1,000, which it was sent at");
    assert_eq!(day.exchange.order(&id).unwrap().exchange_at, Some(day.ms(350)));
}

#[test]
fn a_limit_order_is_not_filled_by_a_tick_that_came_before_it() {
    let mut day = Day::new();
    let id = day.place(0, &limit(Side::Buy, 10, 999));
    day.tick(299, 998);
    day.tick(301, 1_000);
    assert_eq!((day.status(&id), day.fills(&id)), (OrderStatus::Open, vec![]));
    day.tick(400, 998);
    assert_eq!(day.fills(&id), [(10, rupees(999))]);
}

#[test]
fn a_cancel_on_its_way_loses_against_a_fill() {
    let mut day = Day::new();
    let [late, first] = [0, 0].map(|ms| day.place(ms, &limit(Side::Buy, 10, 999)));
    day.exchange.wake(day.ms(500));
    day.exchange.cancel(&first, day.ms(500)).unwrap();
    day.exchange.cancel(&late, day.ms(600)).unwrap();
    assert_eq!(day.words(&late).last(), Some(&"OPEN"), "nothing is told before it is there");
    day.exchange.wake(day.ms(800));
    assert_eq!((day.status(&first), day.status(&late)), (OrderStatus::Cancelled, OrderStatus::Open));
    day.tick(850, 998);
    day.exchange.wake(day.ms(2_000));
    assert_eq!((day.status(&late), day.fills(&late).len()), (OrderStatus::Filled, 1));
    assert_eq!(day.words(&late).last(), Some(&"COMPLETE"));
    assert!(day.exchange.cancel(&late, day.ms(2_001)).unwrap_err().message.contains("it is COMPLETE"));
}

#[test]
fn a_change_counts_from_when_it_is_there_and_is_judged_by_what_it_finds() {
    let mut day = Day::new();
    let id = day.place(0, &limit(Side::Buy, 100, 999));
    day.exchange.wake(day.ms(400));
    let dearer = OrderChange { order_type: Some(OrderType::Limit(rupees(1_001))), ..OrderChange::default() };
    day.exchange.modify(&id, &dearer, day.ms(400)).unwrap();
    day.tick(699, 1_000);
    assert_eq!(day.fills(&id), []);
    day.tick(701, 1_000);
    assert_eq!(day.fills(&id), [(100, rupees(1_000))]);

    let id = day.place(800, &limit(Side::Buy, 200, 999));
    day.exchange.wake(day.ms(1_200));
    let fewer = OrderChange { quantity: Some(Quantity::new(50)), ..OrderChange::default() };
    day.exchange.modify(&id, &fewer, day.ms(1_200)).unwrap();
    day.tick(1_300, 998);
    day.exchange.wake(day.ms(1_500));
    // 100 had been filled when it got there.
    assert_eq!((day.status(&id), day.fills(&id)), (OrderStatus::Open, vec![(100, rupees(998))]));
    assert_eq!(day.message(&id), "Quantity should be above what is already filled.");
    assert_eq!(day.words(&id).iter().rev().take(2).collect::<Vec<_>>(), [&"OPEN", &"MODIFY PENDING"]);
}

#[test]
fn an_order_on_its_way_is_followed_by_its_change_and_its_cancel() {
    let mut day = Day::new();
    let id = day.place(0, &limit(Side::Buy, 10, 999));
    let fewer = OrderChange { quantity: Some(Quantity::new(4)), ..OrderChange::default() };
    day.exchange.modify(&id, &fewer, day.ms(10)).unwrap();
    day.exchange.cancel(&id, day.ms(20)).unwrap();
    let used = day.exchange.margins().used;
    assert!(used > nirantar_brokers::Money::ZERO, "risk management has set its margin aside");
    day.exchange.wake(day.ms(310));
    assert_eq!((day.status(&id), day.exchange.order(&id).unwrap().quantity), (OrderStatus::Open, Quantity::new(4)));
    day.exchange.wake(day.ms(320));
    assert_eq!(day.status(&id), OrderStatus::Cancelled);
    assert_eq!(day.exchange.margins().used, nirantar_brokers::Money::ZERO);
    assert_eq!(day.exchange.next_wake(day.ms(320)), None, "nothing is left on the way");
}

#[test]
fn what_its_market_does_not_take_any_more_is_rejected_there() {
    // Continuous trading ends at 15:15 (closing auction).
    let mut day = Day::at("15:14:59", Config::default());
    let id = day.place(800, &limit(Side::Buy, 10, 999));
    day.exchange.wake(day.ms(2_000));
    assert_eq!(day.status(&id), OrderStatus::Rejected);
    assert!(day.message(&id).starts_with("The market takes no orders at the moment"), "{}", day.message(&id));
    assert_eq!(day.exchange.margins().used, nirantar_brokers::Money::ZERO);

    let mut halted = Day::new();
    let id = halted.place(0, &limit(Side::Buy, 10, 999));
    halted.exchange.halt(Some(&key()), true);
    halted.exchange.wake(halted.ms(300));
    assert_eq!(
        (halted.status(&id), halted.message(&id)),
        (OrderStatus::Rejected, "Trading in NSE:RELIANCE is halted.".into())
    );
}

#[test]
fn an_order_whose_time_ends_on_the_way_never_gets_there() {
    let latency = Latencies { order_entry: millis(90_000, 0), ..Latencies::default() };
    let mut day = Day::with("10:00:00", Config { latency, ..Config::default() });
    let short = OrderRequest { validity: Validity::Ttl { minutes: 1 }, ..limit(Side::Buy, 10, 999) };
    let id = day.place(0, &short);
    day.exchange.wake(day.ms(60_000));
    assert_eq!(day.status(&id), OrderStatus::Cancelled);
    day.exchange.wake(day.ms(100_000));
    assert_eq!(day.words(&id).last(), Some(&"CANCELLED"));
}

#[test]
fn the_square_off_takes_back_what_is_on_its_way() {
    let square_off = Some(SquareOff::default());
    let mut day = Day::at("15:09:59", Config { square_off, ..Config::default() });
    let id = day.place(900, &limit(Side::Buy, 10, 999));
    day.exchange.wake(day.ms(5_000));
    assert_eq!(day.status(&id), OrderStatus::Cancelled);
}

#[test]
fn an_ioc_order_that_finds_nothing_when_it_gets_there_is_cancelled() {
    let mut day = Day::new();
    let ioc = OrderRequest { validity: Validity::Ioc, ..limit(Side::Buy, 10, 1_001) };
    let id = day.place(0, &ioc);
    day.tick(100, 1_005);
    day.exchange.wake(day.ms(300));
    assert_eq!((day.status(&id), day.fills(&id)), (OrderStatus::Cancelled, vec![]));
}

#[test]
fn delays_follow_from_the_seed_and_no_order_overtakes_another() {
    let run = |seed| {
        let latency = Latencies { order_entry: millis(5, 200), market_data: millis(1, 50) };
        let mut day = Day::with("10:00:00", Config { latency, seed, ..Config::default() });
        let ids: Vec<_> = (0..40).map(|no| day.place(no * 10, &limit(Side::Buy, 1, 900))).collect();
        day.exchange.wake(day.ms(5_000));
        let rows: Vec<_> = ids.iter().map(|id| day.exchange.order(id).unwrap().exchange_at.unwrap()).collect();
        assert!(rows.is_sorted());
        for (no, at) in (0..).zip(&rows) {
            assert!(at.since(day.ms(no * 10)) >= Duration::from_millis(6));
        }
        let updates: Vec<Update> = day.exchange.drain();
        (rows, updates)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
