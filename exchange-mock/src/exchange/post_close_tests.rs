//! The post-close session, rule by rule.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, BrokerToken, Exchange, Holding, Instrument, InstrumentKey, InstrumentKind, MarketProtection,
    OrderChange, OrderRequest, OrderStatus, OrderType, Price, Product, Quantity, Side, Validity,
};

use crate::{Calendar, Config, MockExchange, universe};

const MARKET: OrderType = OrderType::Market(MarketProtection::Automatic);

/// On 2026-11-20 RELIANCE has a future, and so a closing auction; TCS has none. Both are held.
struct Day(MockExchange);

fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap()
}

fn share(symbol: &str) -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, symbol)
}

fn rupees(rupees: i64) -> Price {
    Price::from_paise(rupees * 100)
}

impl Day {
    fn new() -> Self {
        let mut instruments = universe::instruments("2026-11-20".parse().unwrap());
        instruments.push(Instrument {
            key: InstrumentKey::new(Exchange::Nfo, "RELIANCE26NOVFUT"),
            token: BrokerToken(12_345_602),
            exchange_token: 48_225,
            name: "RELIANCE".to_owned(),
            kind: InstrumentKind::Future,
            segment: "NFO-FUT".to_owned(),
            lot: Quantity::new(500),
            tick: Price::from_paise(10),
            expiry: "2026-11-24".parse().ok(),
            strike: Price::ZERO,
        });
        let held = |symbol| Holding {
            instrument: share(symbol),
            quantity: Quantity::new(100),
            t1_quantity: Quantity::ZERO,
            average_price: rupees(900),
            last_price: rupees(1_000),
        };
        let config = Config { holdings: vec![held("RELIANCE"), held("TCS")], ..Config::default() };
        Self(MockExchange::new(config, instruments, Calendar::nse()))
    }

    /// The day after a closing auction at 1,010, of which the market told at 15:31.
    fn closed() -> Self {
        let mut day = Self::new();
        day.tick("RELIANCE", "15:10:00", 1_000, 10_000);
        day.tick("RELIANCE", "15:31:00", 1_010, 12_000);
        day
    }

    fn tick(&mut self, symbol: &str, time: &str, price: i64, volume: u64) {
        self.0.price(&share(symbol), rupees(price), Quantity::new(volume), at(time));
    }

    fn order(symbol: &str, side: Side, quantity: u64) -> OrderRequest {
        OrderRequest { product: Product::Cnc, ..OrderRequest::new(share(symbol), side, quantity, MARKET) }
    }

    fn place(&mut self, symbol: &str, time: &str, side: Side, quantity: u64) -> BrokerOrderId {
        self.0.place(&Self::order(symbol, side, quantity), None, at(time)).unwrap()
    }

    fn refused(&mut self, time: &str, order: &OrderRequest) -> String {
        self.0.place(order, None, at(time)).unwrap_err().message
    }

    fn fills(&self, id: &BrokerOrderId) -> Vec<(u64, Price)> {
        self.0.trades_of(id).unwrap().iter().map(|trade| (trade.quantity.get(), trade.price)).collect()
    }
}

#[test]
fn an_order_trades_at_the_closing_price_as_far_as_the_market_does() {
    let mut day = Day::closed();
    let [first, second] = [30, 20].map(|quantity| day.place("RELIANCE", "15:50:00", Side::Buy, quantity));
    assert_eq!(day.0.order(&first).unwrap().status, OrderStatus::Open);
    day.tick("RELIANCE", "15:50:05", 1_010, 12_040);
    assert_eq!((day.fills(&first), day.fills(&second)), (vec![(30, rupees(1_010))], vec![(10, rupees(1_010))]));
    // No price but the closing price is a trade of this session.
    day.tick("RELIANCE", "15:51:00", 1_009, 12_500);
    assert_eq!(day.fills(&second), [(10, rupees(1_010))]);
    // The rest ends with the session.
    day.0.wake(at("16:00:00"));
    let row = day.0.order(&second).unwrap();
    assert_eq!((row.status, row.filled, row.order_type), (OrderStatus::Cancelled, Quantity::new(10), row.order_type));
    assert!(matches!(row.order_type, OrderType::Market(_)), "it shows as what it came as");
    assert_eq!(row.message.as_deref(), Some("Order cancelled at day end."));
}

#[test]
fn our_own_orders_on_both_sides_trade_with_each_other() {
    let mut day = Day::closed();
    let buy = day.place("RELIANCE", "15:52:00", Side::Buy, 30);
    let sell = day.place("RELIANCE", "15:53:00", Side::Sell, 20);
    assert_eq!((day.fills(&buy), day.fills(&sell)), (vec![(20, rupees(1_010))], vec![(20, rupees(1_010))]));
}

#[test]
fn its_time_is_ten_minutes_and_neither_before_nor_after_is_anything_taken() {
    let mut day = Day::closed();
    let order = Day::order("RELIANCE", Side::Buy, 1);
    assert!(day.refused("15:49:59", &order).starts_with("The market takes no orders at the moment"));
    day.place("RELIANCE", "15:50:00", Side::Buy, 1);
    day.place("RELIANCE", "15:59:59", Side::Buy, 1);
    assert!(day.refused("16:00:00", &order).starts_with("Markets are closed right now."));
}

#[test]
fn it_takes_market_orders_for_the_day_and_for_delivery_only() {
    let mut day = Day::closed();
    let usual = Day::order("RELIANCE", Side::Buy, 1);
    let of = |order_type| OrderRequest { order_type, ..usual.clone() };
    let stop = OrderType::StopLimit { trigger: rupees(1_010), limit: rupees(1_011) };
    for (order, words) in [
        (of(OrderType::Limit(rupees(1_010))), "Only market orders are allowed in the post-close session"),
        (of(stop), "Stop-loss orders are not allowed in the post-close session."),
        (
            OrderRequest { validity: Validity::Ioc, ..usual.clone() },
            "IOC orders are not allowed in the post-close session.",
        ),
        (OrderRequest { product: Product::Mis, ..usual.clone() }, "Only delivery (CNC) orders are allowed"),
    ] {
        let said = day.refused("15:51:00", &order);
        assert!(said.starts_with(words), "{said}");
    }
    // What is not held cannot be sold here either.
    let id = day.place("RELIANCE", "15:51:00", Side::Sell, 101);
    assert_eq!(day.0.order(&id).unwrap().status, OrderStatus::Rejected);
    assert!(day.0.order(&id).unwrap().message.as_ref().unwrap().starts_with("Insufficient stock holdings."));
}

#[test]
fn an_order_may_be_changed_and_cancelled_while_it_lasts() {
    let mut day = Day::closed();
    let id = day.place("RELIANCE", "15:50:00", Side::Buy, 30);
    let fewer = OrderChange { quantity: Some(Quantity::new(10)), ..OrderChange::default() };
    day.0.modify(&id, &fewer, at("15:50:10")).unwrap();
    let limit = OrderChange { order_type: Some(OrderType::Limit(rupees(1_000))), ..OrderChange::default() };
    let said = day.0.modify(&id, &limit, at("15:50:20")).unwrap_err().message;
    assert!(said.starts_with("Only market orders are allowed"), "{said}");
    day.0.cancel(&id, at("15:50:30")).unwrap();
    assert_eq!(day.0.order(&id).unwrap().status, OrderStatus::Cancelled);
    assert_eq!(day.0.margins().used, nirantar_brokers::Money::ZERO);
}

#[test]
fn without_a_closing_auction_the_close_is_the_average_of_the_last_half_hour() {
    let mut day = Day::new();
    day.tick("TCS", "14:59:00", 900, 10_000);
    day.tick("TCS", "15:00:00", 1_000, 10_100);
    day.tick("TCS", "15:20:00", 1_001, 10_400);
    // 100 at 1,000 and 300 at 1,001 are 1,000.75: on its tick 1,000.80.
    let id = day.place("TCS", "15:50:00", Side::Buy, 5);
    day.0.price(&share("TCS"), Price::from_paise(100_080), Quantity::new(10_450), at("15:51:00"));
    assert_eq!(day.fills(&id), [(5, Price::from_paise(100_080))]);
}

#[test]
fn where_the_closing_price_is_not_known_nothing_is_taken() {
    let mut day = Day::new();
    day.tick("TCS", "14:30:00", 1_000, 10_000);
    for symbol in ["TCS", "RELIANCE"] {
        let said = day.refused("15:55:00", &Day::order(symbol, Side::Buy, 1));
        assert!(said.starts_with(&format!("The closing price of NSE:{symbol} is not known")), "{said}");
    }
    let auctionless = |symbol: &str, price| {
        let mut day = Day::new();
        day.tick(symbol, "15:14:00", price, 10_000);
        let id = day.place(symbol, "15:55:00", Side::Buy, 1);
        day.0.order(&id).unwrap().status
    };
    assert_eq!(auctionless("RELIANCE", 1_000), OrderStatus::Open, "no auction print: the last price before it");
}

#[test]
fn the_session_of_before_the_closing_auction_began_at_1540() {
    let mut exchange =
        MockExchange::new(Config::default(), universe::instruments("2021-04-12".parse().unwrap()), Calendar::nse());
    let at = |time: &str| Timestamp::parse_ist(&format!("2021-04-12 {time}")).unwrap();
    exchange.price(&share("RELIANCE"), rupees(2_000), Quantity::new(1_000), at("15:29:00"));
    let order = Day::order("RELIANCE", Side::Buy, 1);
    assert!(exchange.place(&order, None, at("15:39:59")).is_err());
    let id = exchange.place(&order, None, at("15:40:00")).unwrap();
    exchange.price(&share("RELIANCE"), rupees(2_000), Quantity::new(1_010), at("15:40:01"));
    assert_eq!(exchange.order(&id).unwrap().status, OrderStatus::Filled);
}
