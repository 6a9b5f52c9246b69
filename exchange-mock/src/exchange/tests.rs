//! Order types and rules, one behaviour a test, on a day of real session times.

use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, ClientOrderId, Depth, Exchange, Holding, Instrument, InstrumentKey, InstrumentKind, Level,
    MarketProtection, Money, OrderChange, OrderRequest, OrderRow, OrderStatus, OrderType, Price, Product, Quantity,
    Side, Validity,
};

use crate::matching::FillsFrom;
use crate::{Calendar, Config, MockExchange, RejectionKind, Update, universe};

/// An exchange on 2026-11-20 with RELIANCE (tick 0.10) and a future of lot 65; seconds count from 10:00.
struct Day(MockExchange);

fn key() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "RELIANCE")
}

fn future() -> Instrument {
    Instrument {
        key: InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT"),
        token: nirantar_brokers::BrokerToken(12_345_602),
        exchange_token: 48_225,
        name: "NIFTY".to_owned(),
        kind: InstrumentKind::Future,
        segment: "NFO-FUT".to_owned(),
        lot: Quantity::new(65),
        tick: Price::from_paise(10),
        expiry: "2026-11-24".parse().ok(),
        strike: Price::ZERO,
    }
}

fn at(second: i64) -> Timestamp {
    let ten = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
    Timestamp::from_unix_seconds(ten.as_unix_seconds() + second)
}

fn rupees(rupees: i64) -> Price {
    Price::from_paise(rupees * 100)
}

fn order(side: Side, quantity: u64, order_type: OrderType) -> OrderRequest {
    OrderRequest::new(key(), side, quantity, order_type)
}

fn limit(side: Side, quantity: u64, price: i64) -> OrderRequest {
    order(side, quantity, OrderType::Limit(rupees(price)))
}

const MARKET: OrderType = OrderType::Market(MarketProtection::Automatic);

impl Day {
    fn new(config: Config) -> Self {
        let mut instruments = universe::instruments("2026-11-20".parse().unwrap());
        instruments.push(future());
        Self(MockExchange::new(config, instruments, Calendar::nse()))
    }

    /// The day after one tick at 1,000 that brought 100,000 of volume.
    fn begun() -> Self {
        let mut day = Self::new(Config::default());
        day.tick(0, 1_000, 100_000);
        day
    }

    fn tick(&mut self, second: i64, price: i64, volume: u64) {
        self.0.price(&key(), rupees(price), Quantity::new(volume), at(second));
    }

    fn place(&mut self, second: i64, order: &OrderRequest) -> BrokerOrderId {
        self.0.place(order, None, at(second)).unwrap()
    }

    fn refuse(&mut self, second: i64, order: &OrderRequest) -> (RejectionKind, String) {
        let orders = self.0.book().count();
        let rejection = self.0.place(order, None, at(second)).unwrap_err();
        assert_eq!(self.0.book().count(), orders, "a refused order does not exist");
        (rejection.kind, rejection.message)
    }

    fn row(&self, id: &BrokerOrderId) -> &OrderRow {
        self.0.order(id).unwrap()
    }

    fn words(&self, id: &BrokerOrderId) -> Vec<&str> {
        self.0.history(id).unwrap().iter().map(|row| &*row.broker_status).collect()
    }

    fn fills(&self, id: &BrokerOrderId) -> Vec<(u64, Price)> {
        self.0.trades_of(id).unwrap().iter().map(|trade| (trade.quantity.get(), trade.price)).collect()
    }
}

#[test]
fn a_limit_order_waits_for_a_tick_that_comes_after_it_and_tells_kites_words() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 1_001));
    assert_eq!(day.words(&id), ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN"]);
    day.tick(2, 1_000, 100_050);
    assert_eq!(day.words(&id).last(), Some(&"COMPLETE"));
    assert_eq!(day.fills(&id), [(10, rupees(1_000))]);
    assert_eq!((day.row(&id).average_price, day.row(&id).exchange_at), (rupees(1_000), Some(at(2))));
}

#[test]
fn every_step_is_told_once_and_the_trade_follows_its_row() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 1_001));
    day.tick(2, 1_000, 100_004);
    day.tick(3, 1_000, 100_100);
    let told: Vec<String> = day
        .0
        .drain()
        .into_iter()
        .map(|update| match update {
            Update::Order(row) => format!("{} {}", row.broker_status, row.filled),
            Update::Trade(trade) => format!("trade {} {}", trade.quantity, trade.trade_id),
            Update::Expired(expired) => format!("{expired:?}"),
        })
        .collect();
    let expected = [
        "PUT ORDER REQ RECEIVED 0",
        "VALIDATION PENDING 0",
        "OPEN PENDING 0",
        "OPEN 0",
        "OPEN 4",
        "trade 4 10000001",
        "COMPLETE 10",
        "trade 6 10000002",
    ];
    assert_eq!(told, expected);
    assert!(day.0.drain().is_empty());
    assert_eq!(day.row(&id).average_price, rupees(1_000));
}

#[test]
fn a_market_order_becomes_a_protected_limit_and_takes_the_tick_that_is_there() {
    let mut day = Day::begun();
    let id = day.place(5, &order(Side::Buy, 10, OrderType::Market(MarketProtection::BasisPoints(100))));
    assert_eq!(day.row(&id).order_type, OrderType::Limit(rupees(1_010)));
    assert_eq!(day.0.was_market(&id), Some(100));
    assert_eq!((day.row(&id).status, day.fills(&id)), (OrderStatus::Filled, vec![(10, rupees(1_000))]));
    let automatic = day.place(5, &order(Side::Sell, 10, MARKET));
    assert_eq!(day.row(&automatic).order_type, OrderType::Limit(rupees(995)));
    assert_eq!(day.0.was_market(&automatic), Some(50));
}

#[test]
fn a_market_order_on_a_stale_tick_waits_for_a_fresh_one() {
    let mut day = Day::begun();
    let id = day.place(6, &order(Side::Buy, 10, MARKET));
    assert_eq!((day.row(&id).status, day.fills(&id)), (OrderStatus::Open, vec![]));
    day.tick(7, 1_002, 100_050);
    assert_eq!(day.fills(&id), [(10, rupees(1_002))]);
}

#[test]
fn a_market_order_never_trades_beyond_its_protection() {
    let mut day = Day::begun();
    let id = day.place(6, &order(Side::Buy, 10, MARKET));
    day.tick(7, 1_006, 100_050);
    assert_eq!(day.row(&id).status, OrderStatus::Open, "protected at 1,005");
    day.tick(8, 1_004, 100_100);
    assert_eq!(day.fills(&id), [(10, rupees(1_005))], "the market came to a resting order");
}

#[test]
fn without_any_price_a_market_order_is_refused() {
    let mut day = Day::new(Config::default());
    let (kind, message) = day.refuse(0, &order(Side::Buy, 10, MARKET));
    assert_eq!(kind, RejectionKind::Order);
    assert!(message.contains("last traded price"), "{message}");
}

#[test]
fn a_tick_that_arrives_old_fills_nothing() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 1_001));
    day.0.wake(at(20));
    day.tick(14, 999, 100_050);
    assert_eq!(day.fills(&id), []);
    assert_eq!(day.0.market(&key()).unwrap().last_price, rupees(999), "but it is the last price known");
    day.tick(15, 999, 100_100);
    assert_eq!(day.fills(&id).len(), 1, "five seconds old is still fresh");
}

#[test]
fn an_ioc_order_takes_what_is_there_and_the_rest_is_cancelled_at_once() {
    let mut day = Day::begun();
    day.tick(1, 1_000, 100_004);
    let ioc = |price| OrderRequest { validity: Validity::Ioc, ..limit(Side::Buy, 10, price) };
    let part = day.place(1, &ioc(1_000));
    assert_eq!(day.fills(&part), [(4, rupees(1_000))]);
    assert_eq!((day.row(&part).status, day.row(&part).filled), (OrderStatus::Cancelled, Quantity::new(4)));
    let nothing_left = day.place(1, &ioc(1_000));
    assert_eq!((day.row(&nothing_left).status, day.fills(&nothing_left)), (OrderStatus::Cancelled, vec![]));
    day.tick(2, 1_000, 100_500);
    let away = day.place(2, &ioc(999));
    assert_eq!((day.row(&away).status, day.fills(&away)), (OrderStatus::Cancelled, vec![]));
}

#[test]
fn a_stop_limit_rests_at_its_trigger_and_then_at_its_limit() {
    let mut day = Day::begun();
    let stop = OrderType::StopLimit { trigger: rupees(1_005), limit: rupees(1_006) };
    let id = day.place(1, &order(Side::Buy, 10, stop));
    assert_eq!(day.words(&id).last(), Some(&"TRIGGER PENDING"));
    day.tick(2, 1_004, 100_100);
    assert_eq!(day.row(&id).status, OrderStatus::TriggerPending);
    day.tick(3, 1_007, 100_200);
    assert_eq!((day.row(&id).status, day.fills(&id)), (OrderStatus::Open, vec![]), "triggered, but beyond the limit");
    day.tick(4, 1_003, 100_300);
    assert_eq!(day.fills(&id), [(10, rupees(1_006))]);
    assert_eq!(day.row(&id).order_type, stop);
}

#[test]
fn a_stop_market_order_fills_with_the_tick_that_triggers_it() {
    let mut day = Day::begun();
    let protection = MarketProtection::Automatic;
    let id = day.place(1, &order(Side::Sell, 10, OrderType::StopMarket { trigger: rupees(995), protection }));
    day.tick(2, 996, 100_100);
    assert_eq!(day.row(&id).status, OrderStatus::TriggerPending);
    day.tick(3, 990, 100_200);
    assert_eq!(day.fills(&id), [(10, rupees(990))]);
    assert_eq!(day.0.was_market(&id), Some(50));
    let shown = OrderType::StopLimit { trigger: rupees(995), limit: Price::from_paise(98_510) };
    assert_eq!(day.row(&id).order_type, shown, "990 less 0.5 %, on a tick inside it");
}

#[test]
fn the_volume_of_a_tick_is_given_away_once_by_price_and_time() {
    let mut day = Day::begun();
    let [low, early, late] = [1_000, 1_001, 1_001].map(|price| day.place(1, &limit(Side::Buy, 10, price)));
    day.tick(2, 1_000, 100_015);
    let filled = |day: &Day| [&early, &late, &low].map(|id| day.row(id).filled.get());
    assert_eq!(filled(&day), [10, 5, 0]);
    day.tick(3, 1_000, 100_015);
    assert_eq!(filled(&day), [10, 5, 0], "a tick without volume fills nothing");
    day.tick(4, 1_000, 100_010);
    assert_eq!(filled(&day), [10, 5, 0], "nor does an older volume told late");
    day.tick(5, 1_000, 100_022);
    assert_eq!(filled(&day), [10, 10, 2]);
}

#[test]
fn without_volume_information_each_tick_offers_the_documented_default() {
    let mut day = Day::new(Config { default_liquidity: Quantity::new(7), ..Config::default() });
    day.tick(0, 1_000, 0);
    let id = day.place(1, &limit(Side::Buy, 10, 1_000));
    day.tick(2, 1_000, 0);
    day.tick(3, 1_000, 0);
    assert_eq!(day.fills(&id).iter().map(|fill| fill.0).collect::<Vec<_>>(), [7, 3]);
}

#[test]
fn own_crossing_orders_trade_with_each_other_at_the_earlier_price() {
    let mut day = Day::begun();
    let sell = day.place(1, &limit(Side::Sell, 10, 1_002));
    let buy = day.place(2, &limit(Side::Buy, 4, 1_003));
    assert_eq!((day.fills(&sell), day.fills(&buy)), (vec![(4, rupees(1_002))], vec![(4, rupees(1_002))]));
    let stale = day.place(20, &limit(Side::Buy, 4, 1_003));
    assert_eq!(day.fills(&stale), [], "no fill while no fresh price is known");
    day.tick(21, 1_002, 100_000);
    assert_eq!(day.fills(&stale), [(4, rupees(1_002))]);
}

#[test]
fn what_a_broker_sees_at_once_is_refused_and_no_order_exists() {
    use RejectionKind::{Input, Order};
    let mut day = Day::begun();
    let on = |key, order: OrderRequest| OrderRequest { instrument: key, ..order };
    let base = limit(Side::Buy, 10, 1_000);
    let protection = OrderType::Market(MarketProtection::BasisPoints(0));
    let crossed = OrderType::StopLimit { trigger: rupees(1_006), limit: rupees(1_005) };
    let cases = [
        (on(InstrumentKey::new(Exchange::Nse, "NOSUCH"), base.clone()), Input, "does not exist"),
        (on(InstrumentKey::new(Exchange::Nse, "NIFTY 50"), base.clone()), Input, "not tradable"),
        (
            OrderRequest { product: Product::Nrml, ..on(future().key, limit(Side::Buy, 64, 1_000)) },
            Input,
            "multiples of 65",
        ),
        (OrderRequest { product: Product::Cnc, ..on(future().key, limit(Side::Buy, 65, 1_000)) }, Input, "CNC"),
        (OrderRequest { product: Product::Nrml, ..base.clone() }, Input, "NRML"),
        (limit(Side::Buy, 0, 1_000), Input, "`quantity`"),
        (limit(Side::Buy, u64::MAX, 1_000), Input, "exceeds"),
        (limit(Side::Buy, 10, 0), Input, "`price`"),
        (order(Side::Buy, 10, OrderType::Limit(Price::from_units(i64::MAX))), Input, "`price`"),
        (order(Side::Buy, 10, OrderType::Limit(Price::from_paise(100_005))), Input, "Tick size"),
        (order(Side::Buy, 10, protection), Input, "market_protection"),
        (order(Side::Buy, 10, crossed), Input, "Trigger price"),
        (OrderRequest { validity: Validity::Ttl { minutes: 0 }, ..base.clone() }, Input, "validity_ttl"),
    ];
    for (order, kind, words) in cases {
        let (found, message) = day.refuse(1, &order);
        assert!(found == kind && message.contains(words), "{found:?}: {message}");
    }
    let closed = 5 * 3600 + 15 * 60;
    assert_eq!(day.refuse(closed, &base).0, Order, "15:15 since the closing auction");
}

#[test]
fn too_little_money_or_stock_is_a_rejected_row() {
    let mut day = Day::begun();
    let poor = day.place(1, &OrderRequest { product: Product::Cnc, ..limit(Side::Buy, 1_001, 1_000) });
    assert_eq!(day.words(&poor), ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "REJECTED"]);
    let message = "Insufficient funds. Required margin is 1001000.00 but available margin is 1000000.00.";
    assert_eq!(day.row(&poor).message.as_deref(), Some(message));
    assert_eq!(day.row(&poor).exchange_order_id, None);
    let bare = day.place(1, &OrderRequest { product: Product::Cnc, ..limit(Side::Sell, 1, 1_000) });
    assert_eq!(day.row(&bare).status, OrderStatus::Rejected);
    assert_eq!(day.0.margins().used, Money::ZERO);
}

#[test]
fn holdings_can_be_delivered_once() {
    let holding = Holding {
        instrument: key(),
        quantity: Quantity::new(10),
        t1_quantity: Quantity::ZERO,
        average_price: rupees(900),
        last_price: rupees(950),
    };
    let mut day = Day::new(Config { holdings: vec![holding], ..Config::default() });
    day.tick(0, 1_000, 0);
    let sell = |quantity| OrderRequest { product: Product::Cnc, ..limit(Side::Sell, quantity, 1_000) };
    let first = day.place(1, &sell(6));
    let second = day.place(1, &sell(5));
    assert_eq!(day.row(&second).status, OrderStatus::Rejected, "six of ten are offered already");
    day.tick(2, 1_000, 0);
    assert_eq!(day.row(&first).status, OrderStatus::Filled);
    assert_eq!((day.0.holdings()[0].quantity, day.0.holdings()[0].last_price), (Quantity::new(4), rupees(1_000)));
}

#[test]
fn a_change_of_price_goes_through_kites_words_and_loses_its_place() {
    let mut day = Day::begun();
    let [first, second] = [1_000, 999].map(|price| day.place(1, &limit(Side::Buy, 10, price)));
    let change = OrderChange { order_type: Some(OrderType::Limit(rupees(999))), ..OrderChange::default() };
    day.0.modify(&first, &change, at(2)).unwrap();
    assert_eq!(day.words(&first)[4..], ["MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED", "OPEN"]);
    day.tick(3, 998, 100_010);
    assert_eq!((day.row(&first).filled.get(), day.row(&second).filled.get()), (0, 10));
}

#[test]
fn a_smaller_quantity_keeps_its_place() {
    let mut day = Day::begun();
    let [first, second] = [1_000, 1_000].map(|price| day.place(1, &limit(Side::Buy, 10, price)));
    let change = OrderChange { quantity: Some(Quantity::new(6)), ..OrderChange::default() };
    day.0.modify(&first, &change, at(2)).unwrap();
    day.tick(3, 1_000, 100_010);
    assert_eq!((day.row(&first).status, day.row(&second).filled.get()), (OrderStatus::Filled, 4));
}

#[test]
fn a_change_that_breaks_a_rule_leaves_the_order_as_it_was() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 1_000));
    day.tick(2, 1_000, 100_004);
    let (before, used) = (day.row(&id).clone(), day.0.margins());
    let quantity = |quantity| OrderChange { quantity: Some(Quantity::new(quantity)), ..OrderChange::default() };
    let off_tick = OrderChange { order_type: Some(OrderType::Limit(Price::from_paise(5))), ..OrderChange::default() };
    for (change, kind) in [
        (quantity(4), RejectionKind::Input),
        (quantity(0), RejectionKind::Input),
        (quantity(1_000_000), RejectionKind::Margin),
        (off_tick, RejectionKind::Input),
    ] {
        assert_eq!(day.0.modify(&id, &change, at(3)).unwrap_err().kind, kind, "{change:?}");
    }
    assert_eq!((day.row(&id), day.0.margins()), (&before, used));
}

#[test]
fn a_limit_order_can_become_a_market_order_and_a_stop_another_stop() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 900));
    let to = |order_type| OrderChange { order_type: Some(order_type), ..OrderChange::default() };
    day.0.modify(&id, &to(MARKET), at(2)).unwrap();
    assert_eq!(day.row(&id).status, OrderStatus::Filled);
    let stop = |trigger, limit| OrderType::StopLimit { trigger: rupees(trigger), limit: rupees(limit) };
    let id = day.place(3, &order(Side::Buy, 10, stop(1_010, 1_011)));
    day.0.modify(&id, &to(stop(1_002, 1_003)), at(3)).unwrap();
    day.tick(4, 1_002, 100_500);
    assert_eq!(day.fills(&id), [(10, rupees(1_002))]);
}

#[test]
fn a_stop_that_has_fired_stays_in_the_market_when_its_limit_changes() {
    let mut day = Day::begun();
    let stop = |limit| OrderType::StopLimit { trigger: rupees(1_005), limit: rupees(limit) };
    let id = day.place(1, &order(Side::Buy, 10, stop(1_006)));
    day.tick(2, 1_008, 100_100);
    let change = OrderChange { order_type: Some(stop(1_007)), ..OrderChange::default() };
    day.0.modify(&id, &change, at(3)).unwrap();
    assert_eq!(day.words(&id).last(), Some(&"OPEN"));
    day.tick(4, 1_001, 100_200);
    assert_eq!(day.row(&id).status, OrderStatus::Filled, "1,001 is below the trigger, which counts no more");
}

#[test]
fn a_cancelled_order_frees_its_money_and_fills_no_more() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 1_000));
    assert_eq!(day.0.margins().used, Money::from_rupees(2_000));
    day.0.cancel(&id, at(2)).unwrap();
    assert_eq!(day.words(&id)[4..], ["CANCEL PENDING", "CANCELLED"]);
    assert_eq!((day.row(&id).message.as_deref(), day.0.margins().used), (None, Money::ZERO));
    day.tick(3, 990, 200_000);
    assert_eq!(day.fills(&id), []);
    for again in [day.0.cancel(&id, at(4)), day.0.modify(&id, &OrderChange::default(), at(4))] {
        assert_eq!(again.unwrap_err().kind, RejectionKind::Order);
    }
    assert!(day.0.cancel(&BrokerOrderId::new("1"), at(4)).is_err());
}

#[test]
fn a_day_order_expires_with_the_day_and_a_ttl_order_with_its_minutes() {
    let mut day = Day::begun();
    let whole_day = day.place(1, &limit(Side::Buy, 10, 900));
    let minutes = day.place(1, &OrderRequest { validity: Validity::Ttl { minutes: 2 }, ..limit(Side::Buy, 10, 900) });
    assert_eq!(day.0.next_wake(at(1)), Some(at(121)));
    day.tick(121, 900, 200_000);
    assert_eq!(day.row(&minutes).status, OrderStatus::Cancelled, "it ended before this tick");
    assert_eq!(day.row(&whole_day).status, OrderStatus::Filled);
    let rest = day.place(122, &limit(Side::Buy, 10, 890));
    let end = Timestamp::parse_ist("2026-11-20 15:35:00").unwrap();
    let closing = Timestamp::parse_ist("2026-11-20 15:15:00").unwrap();
    assert_eq!(day.0.next_wake(at(122)), Some(closing), "the continuous session ends");
    day.0.wake(end - Duration::from_nanos(1));
    assert_eq!(day.row(&rest).status, OrderStatus::Open);
    day.0.wake(end);
    let words = "Order cancelled: not executed in the closing auction.";
    assert_eq!(day.row(&rest).message.as_deref(), Some(words));
    assert_eq!((day.row(&rest).status, day.0.next_wake(end)), (OrderStatus::Cancelled, None));
}

#[test]
fn nothing_matches_outside_continuous_trading() {
    let mut day = Day::begun();
    let id = day.place(1, &limit(Side::Buy, 10, 1_000));
    let closing = Timestamp::parse_ist("2026-11-20 15:20:00").unwrap();
    day.0.price(&key(), rupees(990), Quantity::new(900_000), closing);
    assert_eq!((day.row(&id).status, day.fills(&id)), (OrderStatus::Open, vec![]));
    day.0.cancel(&id, closing).unwrap();
    assert_eq!(day.row(&id).status, OrderStatus::Cancelled);
}

#[test]
fn order_numbers_have_19_digits_rise_and_differ_between_seeds() {
    let numbers = |seed| {
        let mut day = Day::new(Config { seed, ..Config::default() });
        (0..50).map(|second| day.place(second, &limit(Side::Buy, 1, 100)).0).collect::<Vec<_>>()
    };
    let (one, two) = (numbers(1), numbers(2));
    assert!(one.iter().all(|id| id.len() == 19 && id.starts_with("261120") && id.parse::<i64>().is_ok()), "{one:?}");
    assert!(one.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(one.iter().all(|id| !two.contains(id)));
    assert_eq!(one, numbers(1));
}

#[test]
fn a_row_carries_our_own_number() {
    let mut day = Day::begun();
    let ours: ClientOrderId = "N1".parse().unwrap();
    let id = day.0.place(&limit(Side::Buy, 1, 900), Some(&ours), at(1)).unwrap();
    assert_eq!(day.row(&id).client_id, Some(ours));
}

#[test]
fn the_market_keeps_the_days_range_volume_and_average() {
    let mut day = Day::new(Config::default());
    day.0.set_previous_close(&key(), rupees(980));
    for (second, price, volume) in [(0, 1_000, 100), (1, 1_010, 200), (2, 990, 400), (3, 1_001, 350)] {
        day.tick(second, price, volume);
    }
    let market = day.0.market(&key()).unwrap();
    let ohlc = market.ohlc;
    let range = [ohlc.open, ohlc.high, ohlc.low, ohlc.close];
    assert_eq!(range, [1_000, 1_010, 990, 980].map(rupees));
    assert_eq!((market.last_price, market.volume.get(), market.last_quantity.get()), (rupees(1_001), 400, 200));
    assert_eq!(market.average_price(), Price::from_units((1_010 * 100 + 990 * 200) * 10_000 / 300 + 1));
    assert_eq!((market.at, market.traded_at), (at(3), Some(at(2))));
    day.tick(1, 5, 500);
    assert_eq!(day.0.market(&key()), Some(market), "an older tick is ignored");
}

#[test]
fn instruments_are_found_by_name_and_by_token() {
    let day = Day::begun();
    let by_name = day.0.instrument(&key()).unwrap();
    assert_eq!(by_name.token.0, 738_561);
    assert_eq!(day.0.instrument_by_token(by_name.token), Some(by_name));
    assert_eq!(day.0.instruments().count(), universe::instruments("2026-11-20".parse().unwrap()).len() + 1);
}

#[test]
fn what_is_listed_in_the_middle_of_the_day_trades_from_then_on_and_what_rests_stays() {
    let mut day = Day::new(Config { cash: Money::from_rupees(10_000_000), ..Config::default() });
    let late = Instrument { key: InstrumentKey::new(Exchange::Nfo, "NIFTY26DECFUT"), ..future() };
    let buy = |price| OrderRequest {
        product: Product::Nrml,
        ..OrderRequest::new(late.key.clone(), Side::Buy, 65, OrderType::Limit(rupees(price)))
    };
    let unknown = day.0.place(&buy(26_000), None, at(0)).unwrap_err();
    assert_eq!(unknown.kind, RejectionKind::Input, "{unknown:?}");
    day.0.list(vec![late.clone()]);
    let resting = day.0.place(&buy(26_000), None, at(1)).unwrap();
    // The next day's row: another number, another tick.
    let renumbered = Instrument { token: nirantar_brokers::BrokerToken(7), tick: Price::from_paise(5), ..late.clone() };
    day.0.list(vec![renumbered.clone()]);
    assert_eq!(day.0.instrument_by_token(nirantar_brokers::BrokerToken(7)), Some(&renumbered));
    day.0.price(&late.key, rupees(25_990), Quantity::new(65_000), at(2));
    assert_eq!(day.0.order(&resting).map(|row| row.status), Some(OrderStatus::Filled));
    let tick = day.0.place(
        &OrderRequest { order_type: OrderType::Limit(Price::from_paise(2_599_005)), ..buy(0) },
        None,
        at(3),
    );
    assert!(tick.is_ok(), "{tick:?}");
}

#[test]
fn with_depth_an_order_waits_behind_the_queue_and_a_market_order_pays_the_other_side() {
    let mut day = Day::new(Config { fills: FillsFrom::Depth, ..Config::default() });
    let level = |price, units| Level { price: rupees(price), quantity: Quantity::new(units), orders: 1 };
    let mut shown = Depth::default();
    (shown.buy[0], shown.sell[0], shown.sell[1]) = (level(1_449, 40), level(1_451, 5), level(1_452, 50));
    let tick = |day: &mut Day, ltp, volume, second| {
        day.0.tick(&key(), rupees(ltp), Quantity::new(volume), Some(&shown), at(second));
    };
    tick(&mut day, 1_450, 1_000, 0);
    let queued = day.0.place(&limit(Side::Buy, 10, 1_449), None, at(0)).unwrap();
    let market = day.0.place(&order(Side::Buy, 8, MARKET), None, at(0)).unwrap();
    let row = day.0.order(&market).unwrap();
    assert_eq!(
        (row.status, row.average_price),
        (OrderStatus::Filled, Price::from_units((5 * 1_451 + 3 * 1_452) * 10_000 / 8))
    );
    tick(&mut day, 1_449, 1_040, 1);
    assert_eq!(day.0.order(&queued).unwrap().filled, Quantity::ZERO, "forty stood ahead of us");
    tick(&mut day, 1_449, 1_044, 2);
    assert_eq!(day.0.order(&queued).unwrap().filled, Quantity::new(4));
    // From the last price alone both come out better than they would have.
    let mut naive = Day::new(Config::default());
    tick(&mut naive, 1_450, 1_000, 0);
    let queued = naive.0.place(&limit(Side::Buy, 10, 1_449), None, at(0)).unwrap();
    tick(&mut naive, 1_449, 1_040, 1);
    assert_eq!(naive.0.order(&queued).unwrap().filled, Quantity::new(10));
}

#[test]
fn of_two_rows_of_one_name_the_last_counts_wherever_they_stand() {
    let row = |lot| Instrument { lot: Quantity::new(lot), ..future() };
    let mut exchange = MockExchange::new(Config::default(), vec![row(50), row(65)], Calendar::nse());
    assert_eq!((exchange.instruments().count(), exchange.instrument(&row(0).key).unwrap().lot.get()), (1, 65));
    exchange.list(vec![row(75), row(20)]);
    assert_eq!((exchange.instruments().count(), exchange.instrument(&row(0).key).unwrap().lot.get()), (1, 20));
}
