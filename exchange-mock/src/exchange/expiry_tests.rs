//! Contracts that end while they are held, on 2026-11-23 (the 24th is a holiday).

use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerToken, Exchange, Instrument, InstrumentKey, InstrumentKind, Money, OrderRequest, OrderType, Price, Product,
    Quantity, Side,
};

use proptest::prelude::*;

use crate::charges::{Item, Segment};
use crate::{Calendar, Config, Expired, MockExchange, Past, Settlement, Unsettled, Update, universe};

const DAY: &str = "2026-11-23";

fn on(date: &str, time: &str) -> Timestamp {
    Timestamp::parse_ist(&format!("{date} {time}")).unwrap()
}

fn at(time: &str) -> Timestamp {
    on(DAY, time)
}

fn rupees(rupees: i64) -> Price {
    Price::from_paise(rupees * 100)
}

fn nse(symbol: &str) -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, symbol)
}

fn nfo(symbol: &str) -> InstrumentKey {
    InstrumentKey::new(Exchange::Nfo, symbol)
}

fn contract(symbol: &str, name: &str, kind: InstrumentKind, strike: i64, expiry: &str) -> Instrument {
    let token = 1_000_000 + symbol.bytes().fold(0, |sum, byte| sum * 31 % 1_000_003 + u32::from(byte));
    Instrument {
        key: nfo(symbol),
        token: BrokerToken(token),
        exchange_token: token / 256,
        name: name.to_owned(),
        kind,
        segment: "NFO".to_owned(),
        lot: Quantity::new(65),
        tick: Price::from_paise(5),
        expiry: expiry.parse().ok(),
        strike: rupees(strike),
    }
}

fn contracts(expiry: &str) -> Vec<Instrument> {
    use InstrumentKind::{Call, Future, Put};
    vec![
        contract("NIFTY26NOVFUT", "NIFTY", Future, 0, expiry),
        contract("NIFTY26NOV26000CE", "NIFTY", Call, 26_000, expiry),
        contract("NIFTY26NOV26000PE", "NIFTY", Put, 26_000, expiry),
        contract("NIFTY26NOVXXCE", "NIFTY", Call, 0, expiry),
        contract("RELIANCE26NOV1000CE", "RELIANCE", Call, 1_000, expiry),
        contract("FINNIFTY26NOV26000CE", "FINNIFTY", Call, 26_000, expiry),
    ]
}

/// An exchange on its way to the expiry, with the built-in instruments and contracts.
struct Days {
    exchange: MockExchange,
    day: &'static str,
}

impl Days {
    fn new() -> Self {
        Self::on(DAY)
    }

    fn on(day: &'static str) -> Self {
        let mut instruments = universe::instruments(day.parse().unwrap());
        instruments.extend(contracts(day));
        let charges = if day == DAY { Config::default().charges } else { None };
        let config = Config { cash: Money::from_rupees(100_000_000), charges, ..Config::default() };
        Self { exchange: MockExchange::new(config, instruments, Calendar::nse()), day }
    }

    fn tick(&mut self, key: &InstrumentKey, time: &str, price: Price) {
        self.exchange.price(key, price, Quantity::ZERO, on(self.day, time));
    }

    /// 65 units at that price, at ten.
    fn trade(&mut self, symbol: &str, side: Side, price: i64) {
        let order = OrderRequest {
            product: Product::Nrml,
            ..OrderRequest::new(nfo(symbol), side, 65, OrderType::Limit(rupees(price)))
        };
        self.exchange.place(&order, None, on(self.day, "10:00:00")).unwrap();
        self.tick(&nfo(symbol), "10:00:00", rupees(price));
        assert_ne!(self.held(symbol), 0);
    }

    fn held(&self, symbol: &str) -> i64 {
        let positions = self.exchange.positions();
        positions.iter().find(|position| position.instrument == nfo(symbol)).map_or(0, |position| position.quantity)
    }

    /// Lets time pass, and tells what expired.
    fn wake(&mut self, time: &str) -> Vec<Expired> {
        self.exchange.wake(on(self.day, time));
        let expired = self.exchange.drain().into_iter().filter_map(|update| match update {
            Update::Expired(expired) => Some(expired),
            _ => None,
        });
        expired.collect()
    }
}

fn settled(symbol: &str, worth: Result<Price, Unsettled>) -> Expired {
    Expired { instrument: nfo(symbol), on: DAY.parse().unwrap(), settled: worth }
}

#[test]
fn contracts_of_an_index_are_settled_at_its_close_by_themselves() {
    let mut days = Days::new();
    days.trade("NIFTY26NOVFUT", Side::Buy, 26_050);
    days.trade("NIFTY26NOV26000CE", Side::Buy, 120);
    days.trade("NIFTY26NOV26000PE", Side::Sell, 80);
    days.tick(&nse("NIFTY 50"), "15:14:59", rupees(26_090));
    days.tick(&nse("NIFTY 50"), "15:31:00", "26100.50".parse().unwrap());
    assert_eq!(days.exchange.next_wake(at("15:36:00")), Some(at("16:00:00")));
    assert_eq!(days.wake("15:59:59"), []);
    let close: Price = "26100.50".parse().unwrap();
    let expected = [
        settled("NIFTY26NOVFUT", Ok(close)),
        settled("NIFTY26NOV26000CE", Ok("100.50".parse().unwrap())),
        settled("NIFTY26NOV26000PE", Ok(Price::ZERO)),
    ];
    assert_eq!(days.wake("16:00:00"), expected);
    let exchange = &days.exchange;
    assert!(exchange.positions().iter().all(|position| position.quantity == 0));
    // 50.50 and -19.50 a unit, and the whole premium of the put that was sold.
    let won = |symbol| exchange.realised(&nfo(symbol), Product::Nrml);
    let won = ["NIFTY26NOVFUT", "NIFTY26NOV26000CE", "NIFTY26NOV26000PE"].map(won);
    assert_eq!(won.map(|money| money.to_string()), ["3282.50", "-1267.50", "5200.00"]);
    assert_eq!(exchange.margins().used, Money::ZERO);
    // 0.15 % of 6,532.50 for the call that was exercised (FATAX73524), nothing for the others.
    let note = exchange.contract_note(DAY.parse().unwrap()).unwrap();
    let exercised = note.columns.iter().find(|column| column.segment == Segment::Exercise).unwrap();
    assert_eq!(exercised.charges.of(Item::Stt).to_string(), "9.80");
    assert_eq!(days.wake("23:00:00"), [], "once");
    assert_eq!(days.exchange.next_wake(at("23:00:00")), None);
}

#[test]
fn a_shares_option_is_settled_at_what_its_closing_auction_came_to() {
    let mut days = Days::new();
    days.trade("RELIANCE26NOV1000CE", Side::Buy, 20);
    days.tick(&nse("RELIANCE"), "15:10:00", rupees(1_030));
    days.tick(&nse("RELIANCE"), "15:31:00", rupees(1_040));
    assert_eq!(days.wake("16:00:00"), [settled("RELIANCE26NOV1000CE", Ok(rupees(40)))]);
    assert_eq!(days.held("RELIANCE26NOV1000CE"), 0);
}

#[test]
fn what_is_not_known_is_said_and_the_position_stays() {
    let mut days = Days::new();
    for symbol in ["NIFTY26NOV26000CE", "NIFTY26NOVXXCE", "RELIANCE26NOV1000CE", "FINNIFTY26NOV26000CE"] {
        days.trade(symbol, Side::Buy, 20);
    }
    // The feed ended before the auction.
    days.tick(&nse("NIFTY 50"), "15:14:00", rupees(26_090));
    let told = days.wake("16:00:00");
    let words: Vec<String> = told.iter().map(|expired| expired.settled.clone().unwrap_err().to_string()).collect();
    let expected = [
        "no price of NSE:NIFTY 50 was told at its close on 2026-11-23",
        "no price of NSE:NIFTY 50 was told at its close on 2026-11-23",
        "no price of NSE:RELIANCE was told at its close on 2026-11-23",
        "NSE:NIFTY FIN SERVICE is not listed, and so its close was never seen",
    ];
    assert_eq!(words, expected);
    assert_eq!(days.held("NIFTY26NOV26000CE"), 65);
    // By hand, as soon as somebody knows.
    days.exchange.settle(&nfo("NIFTY26NOV26000CE"), rupees(90), at("18:00:00"));
    assert_eq!(days.held("NIFTY26NOV26000CE"), 0);

    let mut days = Days::new();
    days.trade("NIFTY26NOVXXCE", Side::Buy, 20);
    days.tick(&nse("NIFTY 50"), "15:31:00", rupees(26_090));
    let unknown = Unsettled::Strike(nfo("NIFTY26NOVXXCE"));
    assert_eq!(days.wake("16:00:00"), [settled("NIFTY26NOVXXCE", Err(unknown))]);
}

#[test]
fn nothing_is_told_of_what_was_closed_before_and_an_expired_contract_is_not_traded() {
    let mut days = Days::new();
    days.trade("NIFTY26NOV26000CE", Side::Buy, 20);
    let exit = OrderRequest {
        product: Product::Nrml,
        ..OrderRequest::new(nfo("NIFTY26NOV26000CE"), Side::Sell, 65, OrderType::Limit(rupees(20)))
    };
    days.exchange.place(&exit, None, at("10:00:01")).unwrap();
    days.tick(&nfo("NIFTY26NOV26000CE"), "10:00:02", rupees(20));
    assert_eq!(days.held("NIFTY26NOV26000CE"), 0);
    assert_eq!(days.wake("16:00:00"), []);
    let refusal = days.exchange.place(&exit, None, on("2026-11-25", "10:00:00")).unwrap_err();
    assert!(refusal.message.ends_with("has either expired or does not exist."), "{refusal}");
}

#[test]
fn before_the_closing_auction_the_last_minute_was_the_close() {
    for (time, known) in [("15:28:59", false), ("15:29:00", true), ("15:30:05", true)] {
        let mut days = Days::on("2021-04-15");
        days.trade("NIFTY26NOVFUT", Side::Sell, 14_500);
        days.tick(&nse("NIFTY 50"), time, rupees(14_600));
        let told = days.wake("16:00:00");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].settled.is_ok(), known, "{time}");
        assert_eq!(days.held("NIFTY26NOVFUT"), if known { 0 } else { -65 });
    }
}

#[test]
fn a_contract_that_ended_while_the_exchange_was_away_is_told_as_not_settled() {
    let mut before = Days::new();
    before.trade("NIFTY26NOV26000CE", Side::Buy, 20);
    let trades = before.exchange.trades().iter().map(|trade| (**trade).clone()).collect();
    let charges = Config::default().charges;
    let config = Config { cash: Money::from_rupees(100_000_000), charges, ..Config::default() };
    let mut after = MockExchange::new(config, universe::instruments(DAY.parse().unwrap()), Calendar::nse());
    after.restore(&Past { trades, ..Past::default() }, on("2026-11-25", "09:00:00"));
    assert_eq!(after.drain(), [], "its name alone does not say when it ends");
    after.list(contracts(DAY));
    after.wake(on("2026-11-25", "09:00:01"));
    let unknown = Unsettled::NoClose(nse("NIFTY 50"), DAY.parse().unwrap());
    assert_eq!(after.drain(), [Update::Expired(settled("NIFTY26NOV26000CE", Err(unknown)))]);
    assert_eq!(after.positions()[0].quantity, 65);
}

#[test]
fn what_was_settled_before_a_restart_is_not_held_again_and_not_settled_twice() {
    let symbol = "NIFTY26NOV26000CE";
    for restart in ["18:00:00", "2026-11-25 09:00:00"] {
        let mut before = Days::new();
        before.trade(symbol, Side::Buy, 20);
        before.tick(&nse("NIFTY 50"), "15:31:00", rupees(26_100));
        assert_eq!(before.wake("16:00:00"), [settled(symbol, Ok(rupees(100)))]);
        let settlement =
            Settlement { instrument: nfo(symbol), product: Product::Nrml, price: rupees(100), at: at("16:00:00") };
        let trades = before.exchange.trades().iter().map(|trade| (**trade).clone()).collect();
        let past = Past { trades, settlements: vec![settlement], ..Past::default() };
        let charges = Config::default().charges;
        let config = Config { cash: Money::from_rupees(100_000_000), charges, ..Config::default() };
        let mut after = MockExchange::new(config, universe::instruments(DAY.parse().unwrap()), Calendar::nse());
        let now = if restart.len() > 8 { Timestamp::parse_ist(restart).unwrap() } else { at(restart) };
        after.restore(&past, now);
        after.list(contracts(DAY));
        after.wake(now + Duration::from_secs(1));
        assert_eq!(after.drain(), [], "settled once");
        before.exchange.wake(now + Duration::from_secs(1));
        assert_eq!(after.funds(), before.exchange.funds());
        assert_eq!(after.contract_note(DAY.parse().unwrap()), before.exchange.contract_note(DAY.parse().unwrap()));
        assert!(after.positions().iter().all(|position| position.quantity == 0));
    }
}

#[test]
fn a_holiday_told_late_moves_the_settlement() {
    let mut days = Days::new();
    days.trade("NIFTY26NOVFUT", Side::Buy, 26_050);
    assert_eq!(days.exchange.next_wake(at("10:00:00")), Some(at("16:00:00")));
    let holiday = "built-in\nholiday,*,*,2026-11-23,,,,,,C,told late\n";
    days.exchange.set_calendar(Calendar::parse("late.csv", holiday.as_bytes()).unwrap());
    assert_eq!(days.exchange.next_wake(at("10:00:00")), Some(on("2026-11-24", "00:00:00")));
}

proptest! {
    #[test]
    fn a_position_is_settled_to_the_paisa_or_stays_and_is_told_once(
        long in any::<bool>(),
        which in 0usize..3,
        premium in 1i64..500,
        ticks in proptest::collection::vec((0i64..58 * 60, 25_000i64..27_000), 0..8),
        steps in proptest::collection::vec(1u64..3_600, 0..8),
    ) {
        let symbol = ["NIFTY26NOVFUT", "NIFTY26NOV26000CE", "NIFTY26NOV26000PE"][which];
        let mut days = Days::new();
        days.trade(symbol, if long { Side::Buy } else { Side::Sell }, premium);
        let mut ticks = ticks;
        ticks.sort_unstable();
        let three = at("15:00:00").as_unix_seconds();
        for (second, price) in &ticks {
            let time = Timestamp::from_unix_seconds(three + second);
            days.exchange.price(&nse("NIFTY 50"), rupees(*price), Quantity::ZERO, time);
        }
        let mut now = at("15:58:00");
        let mut told = Vec::new();
        for seconds in steps.into_iter().chain([86_400]) {
            now = now + Duration::from_secs(seconds);
            days.exchange.wake(now);
            told.extend(days.exchange.drain().into_iter().filter(|update| matches!(update, Update::Expired(_))));
        }
        // The close is what was told last, if that was at 15:28 or later.
        let close = ticks.last().filter(|(second, _)| *second >= 28 * 60).map(|(_, price)| *price);
        let worth = close.map(|close| [close, (close - 26_000).max(0), (26_000 - close).max(0)][which]);
        let unknown = || Unsettled::NoClose(nse("NIFTY 50"), DAY.parse().unwrap());
        prop_assert_eq!(told, [Update::Expired(settled(symbol, worth.map(rupees).ok_or_else(unknown)))]);
        let units = if long { 65 } else { -65 };
        prop_assert_eq!(days.held(symbol), if worth.is_some() { 0 } else { units });
        let won = worth.map_or(0, |worth| (worth - premium) * units);
        let charges = days.exchange.contract_note(DAY.parse().unwrap()).unwrap().charges().total();
        prop_assert_eq!(days.exchange.margins().cash, Money::from_rupees(100_000_000 + won) - charges);
    }
}
