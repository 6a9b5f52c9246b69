//! The day's sessions and the rules that go with them, on 2026-11-20: both auctions, bands, breakers, the square-off.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, BrokerToken, Exchange, Instrument, InstrumentKey, InstrumentKind, MarketProtection, OrderChange,
    OrderRequest, OrderStatus, OrderType, Price, Product, Quantity, Side, Validity,
};

use crate::{Calendar, Config, MockExchange, SquareOff, universe};

fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap()
}

fn rupees(rupees: i64) -> Price {
    Price::from_paise(rupees * 100)
}

fn share(symbol: &str) -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, symbol)
}

fn future(symbol: &str, name: &str, token: u32, lot: u64) -> Instrument {
    Instrument {
        key: InstrumentKey::new(Exchange::Nfo, symbol),
        token: BrokerToken(token),
        exchange_token: token / 256,
        name: name.to_owned(),
        kind: InstrumentKind::Future,
        segment: "NFO-FUT".to_owned(),
        lot: Quantity::new(lot),
        tick: Price::from_paise(10),
        expiry: "2026-11-24".parse().ok(),
        strike: Price::ZERO,
    }
}

const MARKET: OrderType = OrderType::Market(MarketProtection::Automatic);

/// RELIANCE has a future; TCS has none. Both closed at 1,000.
struct Day(MockExchange);

impl Day {
    fn with(config: Config) -> Self {
        let mut instruments = universe::instruments("2026-11-20".parse().unwrap());
        instruments.push(future("RELIANCE26NOVFUT", "RELIANCE", 12_345_602, 500));
        instruments.push(future("NIFTY26NOVFUT", "NIFTY", 12_345_858, 65));
        let mut exchange = MockExchange::new(config, instruments, Calendar::nse());
        for key in [share("RELIANCE"), share("TCS"), InstrumentKey::new(Exchange::Nfo, "RELIANCE26NOVFUT")] {
            exchange.set_previous_close(&key, rupees(1_000));
        }
        Self(exchange)
    }

    fn new() -> Self {
        Self::with(Config::default())
    }

    fn tick(&mut self, key: &InstrumentKey, time: &str, price: i64, volume: u64) {
        self.0.price(key, rupees(price), Quantity::new(volume), at(time));
    }

    fn order(side: Side, quantity: u64, order_type: OrderType) -> OrderRequest {
        OrderRequest { product: Product::Mis, ..OrderRequest::new(share("RELIANCE"), side, quantity, order_type) }
    }

    fn place(&mut self, time: &str, side: Side, quantity: u64, order_type: OrderType) -> BrokerOrderId {
        self.0.place(&Self::order(side, quantity, order_type), None, at(time)).unwrap()
    }

    fn limit(&mut self, time: &str, side: Side, quantity: u64, price: i64) -> BrokerOrderId {
        self.place(time, side, quantity, OrderType::Limit(rupees(price)))
    }

    /// The words a new order is refused with.
    fn refused(&mut self, time: &str, order: &OrderRequest) -> String {
        self.0.place(order, None, at(time)).unwrap_err().message
    }

    fn status(&self, id: &BrokerOrderId) -> OrderStatus {
        self.0.order(id).unwrap().status
    }

    fn filled(&self, id: &BrokerOrderId) -> (u64, Price) {
        let row = self.0.order(id).unwrap();
        (row.filled.get(), row.average_price)
    }

    fn message(&self, id: &BrokerOrderId) -> &str {
        self.0.order(id).unwrap().message.as_deref().unwrap_or_default()
    }
}

#[test]
fn the_opening_auction_trades_at_one_price_and_the_rest_goes_on_to_the_continuous_session() {
    let mut day = Day::new();
    let buy = day.limit("09:01:00", Side::Buy, 100, 1_010);
    let sell = day.limit("09:02:00", Side::Sell, 60, 990);
    let late = day.place("09:04:00", Side::Buy, 10, MARKET);
    day.0.wake(at("09:07:59"));
    assert_eq!(day.filled(&buy).0, 0, "nothing matches while orders gather");
    day.0.wake(at("09:11:00"));
    // 60 are offered; limit orders come first. 990 and 1,010 leave as much over: 1,000 lies between them.
    assert_eq!(day.filled(&sell), (60, rupees(1_000)));
    assert_eq!(day.filled(&buy), (60, rupees(1_000)));
    assert_eq!(day.filled(&late).0, 0);
    day.0.wake(at("09:15:00"));
    assert_eq!(day.0.order(&late).unwrap().order_type, OrderType::Limit(rupees(1_000)), "at the opening price");
    day.tick(&share("RELIANCE"), "09:15:01", 999, 1_000);
    assert_eq!((day.filled(&buy).0, day.filled(&late).0), (100, 10));
}

#[test]
fn the_markets_opening_price_fills_what_is_willing_at_that_price_and_no_other() {
    let mut day = Day::new();
    let willing = day.limit("09:01:00", Side::Buy, 10, 1_020);
    let market = day.place("09:01:00", Side::Buy, 5, MARKET);
    let below = day.limit("09:01:00", Side::Buy, 10, 1_000);
    day.tick(&share("RELIANCE"), "09:11:00", 1_010, 500);
    assert_eq!((day.filled(&willing), day.filled(&market)), ((10, rupees(1_010)), (5, rupees(1_010))));
    assert_eq!(day.filled(&below).0, 0);
}

#[test]
fn the_opening_auction_closes_at_random_in_its_last_two_minutes_and_the_seed_says_when() {
    let closes = |seed: u64| {
        let mut day = Day::with(Config { seed, ..Config::default() });
        let order = Day::order(Side::Buy, 1, OrderType::Limit(rupees(1_000)));
        let first = at("09:07:59");
        (0..130).find(|second| {
            let now = first + std::time::Duration::from_secs(*second);
            day.0.place(&order, None, now).is_err()
        })
    };
    let all: Vec<_> = (1..8).map(closes).collect();
    assert_eq!(closes(3), closes(3));
    assert!(all.iter().all(|second| second.is_some_and(|second| (1..=122).contains(&second))), "{all:?}");
    assert!(all.iter().any(|second| *second != all[0]), "{all:?}");
}

#[test]
fn each_step_of_the_opening_takes_its_order_types_only() {
    let mut day = Day::new();
    let limit = Day::order(Side::Buy, 1, OrderType::Limit(rupees(1_000)));
    let market = Day::order(Side::Buy, 1, MARKET);
    let stop = OrderType::StopLimit { trigger: rupees(1_005), limit: rupees(1_006) };
    let stop = Day::order(Side::Buy, 1, stop);
    let ioc = OrderRequest { validity: Validity::Ioc, ..limit.clone() };
    assert!(day.refused("08:59:59", &limit).contains("closed"));
    assert!(day.refused("09:01:00", &stop).contains("Stop-loss orders are not allowed in the pre-open session"));
    assert!(day.refused("09:01:00", &ioc).contains("IOC orders are not allowed"));
    let kept = day.0.place(&market, None, at("09:02:00")).unwrap();
    let resting = day.0.place(&limit, None, at("09:02:00")).unwrap();
    assert_eq!(day.refused("09:05:00", &market), "Market orders are currently not allowed.");
    assert!(day.0.cancel(&kept, at("09:06:00")).unwrap_err().message.contains("can no longer be"));
    day.0.cancel(&resting, at("09:06:00")).unwrap();
    day.0.place(&limit, None, at("09:06:00")).unwrap();
    assert!(day.refused("09:11:00", &limit).contains("takes no orders at the moment"));
    assert!(day.refused("09:13:00", &limit).contains("takes no orders at the moment"));
    day.0.place(&stop, None, at("09:15:00")).unwrap();
}

/// A day whose average from 15:00 to 15:15 is 1,000.
fn before_the_close() -> Day {
    let mut day = Day::new();
    let key = share("RELIANCE");
    day.tick(&key, "14:59:00", 1_050, 1_000);
    day.tick(&key, "15:01:00", 990, 2_000);
    day.tick(&key, "15:10:00", 1_010, 3_000);
    day
}

#[test]
fn the_closing_auction_takes_no_order_while_its_reference_price_is_found() {
    let mut day = before_the_close();
    let resting = day.limit("15:10:01", Side::Buy, 10, 1_000);
    let order = Day::order(Side::Buy, 1, OrderType::Limit(rupees(1_000)));
    assert!(day.refused("15:15:00", &order).contains("takes no orders at the moment"));
    assert!(day.0.cancel(&resting, at("15:16:00")).is_err());
    day.0.place(&order, None, at("15:20:00")).unwrap();
    day.0.cancel(&resting, at("15:21:00")).unwrap();
}

#[test]
fn the_closing_auctions_band_is_three_percent_of_the_average_before_it() {
    let mut day = before_the_close();
    let order = |price: i64| Day::order(Side::Buy, 1, OrderType::Limit(rupees(price)));
    for price in [970, 1_030] {
        day.0.place(&order(price), None, at("15:20:00")).unwrap();
    }
    assert!(day.refused("15:20:00", &order(969)).contains("lower circuit limit of 970.00"));
    assert!(day.refused("15:20:00", &order(1_031)).contains("upper circuit limit of 1030.00"));
}

#[test]
fn the_closing_auction_refuses_stops_and_ioc_and_late_market_orders() {
    let mut day = before_the_close();
    let stop = OrderType::StopLimit { trigger: rupees(1_005), limit: rupees(1_006) };
    assert!(day.refused("15:21:00", &Day::order(Side::Buy, 1, stop)).contains("closing auction session"));
    let limit = Day::order(Side::Buy, 1, OrderType::Limit(rupees(1_000)));
    let ioc = OrderRequest { validity: Validity::Ioc, ..limit };
    assert!(day.refused("15:21:00", &ioc).contains("IOC orders are not allowed"));
    let market = day.place("15:22:00", Side::Buy, 5, MARKET);
    assert_eq!(day.refused("15:25:00", &Day::order(Side::Buy, 1, MARKET)), "Market orders are currently not allowed.");
    assert!(day.0.cancel(&market, at("15:26:00")).is_err());
    let more = OrderChange { quantity: Some(Quantity::new(6)), ..OrderChange::default() };
    assert!(day.0.modify(&market, &more, at("15:26:00")).is_err(), "frozen");
}

#[test]
fn stops_end_with_continuous_trading_and_limits_inside_the_band_carry_over() {
    let mut day = before_the_close();
    let stop = OrderType::StopLimit { trigger: rupees(1_060), limit: rupees(1_061) };
    let stop = day.place("15:12:00", Side::Buy, 10, stop);
    let inside = day.limit("15:12:00", Side::Buy, 10, 975);
    let outside = day.limit("15:12:00", Side::Buy, 10, 950);
    day.0.wake(at("15:21:00"));
    assert_eq!(day.status(&stop), OrderStatus::Cancelled);
    assert!(day.message(&stop).contains("closing auction"));
    assert_eq!(day.status(&inside), OrderStatus::Open);
    assert!(day.message(&outside).contains("outside the band"));
}

#[test]
fn the_closing_auction_serves_market_orders_first_and_cancels_what_is_left() {
    let mut day = before_the_close();
    let limit = day.limit("15:12:00", Side::Buy, 70, 1_000);
    let sell = day.limit("15:21:00", Side::Sell, 100, 1_000);
    let market = day.place("15:22:00", Side::Buy, 80, MARKET);
    day.0.wake(at("15:31:00"));
    assert_eq!(day.filled(&sell), (100, rupees(1_000)));
    assert_eq!(day.filled(&market), (80, rupees(1_000)));
    assert_eq!(day.filled(&limit), (20, rupees(1_000)));
    day.0.wake(at("15:35:00"));
    assert_eq!(day.status(&limit), OrderStatus::Cancelled);
    assert_eq!(day.message(&limit), "Order cancelled: not executed in the closing auction.");
    let words = day.0.cancel(&sell, at("15:36:00")).unwrap_err().message;
    assert_eq!(words, "Trade executed during closing auction session is not allowed to cancel.");
}

#[test]
fn the_markets_closing_price_fills_the_rest_within_its_volume() {
    let mut day = before_the_close();
    let buy = day.limit("15:21:00", Side::Buy, 700, 1_010);
    day.tick(&share("RELIANCE"), "15:31:00", 1_005, 3_500);
    assert_eq!(day.filled(&buy), (500, rupees(1_005)));
    day.tick(&share("RELIANCE"), "15:32:00", 1_006, 9_000);
    assert_eq!(day.filled(&buy).0, 500, "an auction has one price");
    day.0.wake(at("15:35:00"));
    assert_eq!(day.status(&buy), OrderStatus::Cancelled);
}

#[test]
fn a_carried_order_that_is_changed_loses_its_place() {
    let mut day = before_the_close();
    let first = day.limit("15:12:00", Side::Buy, 10, 1_000);
    let second = day.limit("15:12:01", Side::Buy, 10, 1_000);
    let fewer = OrderChange { quantity: Some(Quantity::new(9)), ..OrderChange::default() };
    day.0.modify(&first, &fewer, at("15:21:00")).unwrap();
    day.limit("15:22:00", Side::Sell, 10, 1_000);
    day.0.wake(at("15:31:00"));
    assert_eq!((day.filled(&first).0, day.filled(&second).0), (0, 10));
}

#[test]
fn a_share_without_derivatives_trades_on_to_half_past_three() {
    let mut day = Day::new();
    let key = share("TCS");
    day.tick(&key, "15:20:00", 1_000, 1_000);
    let order = OrderRequest { product: Product::Mis, ..OrderRequest::new(key.clone(), Side::Buy, 10, MARKET) };
    let id = day.0.place(&order, None, at("15:20:01")).unwrap();
    assert_eq!(day.filled(&id).0, 10);
    assert!(day.refused("15:30:00", &order).contains("takes no orders at the moment"));
}

#[test]
fn prices_beyond_the_band_of_the_day_are_refused_and_the_band_follows_the_market() {
    let mut day = Day::new();
    let key = share("RELIANCE");
    day.tick(&key, "10:00:00", 1_010, 1_000);
    let order = |price: i64| Day::order(Side::Buy, 1, OrderType::Limit(rupees(price)));
    day.0.place(&order(1_100), None, at("10:00:01")).unwrap();
    assert!(day.refused("10:00:01", &order(1_101)).contains("higher than the current upper circuit limit of 1100.00"));
    assert!(day.refused("10:00:01", &order(899)).contains("lower than the current lower circuit limit of 900.00"));
    day.tick(&key, "10:01:00", 1_099, 2_000);
    day.0.place(&order(1_150), None, at("10:01:01")).unwrap();
}

#[test]
fn stock_futures_are_held_in_a_fixed_band_after_quarter_past_three_and_index_futures_are_not() {
    let mut day = Day::with(Config { cash: nirantar_brokers::Money::from_rupees(90_000_000), ..Config::default() });
    let stock = InstrumentKey::new(Exchange::Nfo, "RELIANCE26NOVFUT");
    let index = InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT");
    day.tick(&stock, "14:00:00", 1_000, 1_000);
    day.tick(&stock, "15:05:00", 1_000, 2_000);
    day.tick(&index, "15:05:00", 26_000, 2_000);
    let order = |key: &InstrumentKey, quantity, price: i64| OrderRequest {
        product: Product::Mis,
        ..OrderRequest::new(key.clone(), Side::Buy, quantity, OrderType::Limit(rupees(price)))
    };
    let near = day.0.place(&order(&stock, 500, 975), None, at("15:06:00")).unwrap();
    let far = day.0.place(&order(&stock, 500, 960), None, at("15:06:00")).unwrap();
    let wide = day.0.place(&order(&index, 65, 24_000), None, at("15:06:00")).unwrap();
    day.0.wake(at("15:15:00"));
    assert_eq!(day.status(&near), OrderStatus::Open);
    assert_eq!(day.message(&far), "Order cancelled by the exchange: its price is outside the operating range.");
    assert_eq!(day.status(&wide), OrderStatus::Open);
    assert!(day.refused("15:16:00", &order(&stock, 500, 1_031)).contains("upper circuit limit of 1030.00"));
}

#[test]
fn an_order_above_the_freeze_quantity_is_refused() {
    let mut day = Day::new();
    let key = InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT");
    let order = |quantity| OrderRequest {
        product: Product::Mis,
        ..OrderRequest::new(key.clone(), Side::Buy, quantity, OrderType::Limit(rupees(26_000)))
    };
    assert!(day.refused("10:00:00", &order(1_820)).contains("freeze quantity of 1800 for NIFTY"));
    day.0.place(&order(1_755), None, at("10:00:00")).unwrap();
}

#[test]
fn a_market_wide_breaker_stops_everything_then_orders_gather_for_an_auction() {
    let mut day = Day::new();
    let nifty = share("NIFTY 50");
    day.0.set_previous_close(&nifty, rupees(26_000));
    day.tick(&nifty, "10:59:00", 26_000, 0);
    let resting = day.limit("10:59:30", Side::Buy, 10, 1_000);
    day.tick(&nifty, "11:00:00", 23_400, 0);
    let order = Day::order(Side::Sell, 10, OrderType::Limit(rupees(1_000)));
    assert_eq!(day.refused("11:00:01", &order), "Trading in NSE:RELIANCE is halted.");
    assert!(day.refused("11:44:59", &order).contains("halted"));
    let sell = day.0.place(&order, None, at("11:45:00")).unwrap();
    day.0.wake(at("11:59:59"));
    assert_eq!(day.filled(&sell).0, 0);
    day.0.wake(at("12:00:00"));
    assert_eq!((day.filled(&sell), day.filled(&resting)), ((10, rupees(1_000)), (10, rupees(1_000))));
    day.limit("12:00:01", Side::Buy, 10, 1_000);
    // Fifteen percent after two o'clock: the day is over, and there is no closing auction.
    day.tick(&nifty, "14:01:00", 22_000, 0);
    assert!(day.refused("15:21:00", &order).contains("halted"));
}

#[test]
fn intraday_positions_are_closed_at_the_brokers_time_and_no_new_ones_taken() {
    let mut day = Day::with(Config { square_off: Some(SquareOff::default()), ..Config::default() });
    let key = share("RELIANCE");
    day.tick(&key, "15:00:00", 1_000, 1_000);
    let bought = day.place("15:00:01", Side::Buy, 10, MARKET);
    let resting = day.limit("15:00:01", Side::Buy, 10, 950);
    assert_eq!(day.filled(&bought).0, 10);
    day.tick(&key, "15:09:58", 1_000, 2_000);
    day.0.wake(at("15:10:00"));
    assert!(day.message(&resting).contains("square-off"));
    assert_eq!(day.0.positions()[0].quantity, 0);
    let order = Day::order(Side::Buy, 1, OrderType::Limit(rupees(1_000)));
    assert!(day.refused("15:10:01", &order).contains("not allowed after the square-off time"));
    let delivery = OrderRequest { product: Product::Cnc, ..order };
    day.0.place(&delivery, None, at("15:10:01")).unwrap();
}

#[test]
fn a_holiday_announced_while_the_exchange_runs_closes_it() {
    let mut day = Day::new();
    day.limit("10:00:00", Side::Buy, 1, 1_000);
    day.0.set_calendar(Calendar::nse().with_holiday("2026-11-20".parse().unwrap(), "late"));
    let order = Day::order(Side::Buy, 1, OrderType::Limit(rupees(1_000)));
    assert!(day.refused("10:00:01", &order).contains("closed"));
}
