//! What each part of the paper exchange costs, in nanoseconds.
//!
//! Where a part can be left out, it is the difference with and without it. Two exchanges take their requests in turn, a few
//! at a time, so that what the machine does else falls on both; the figure is the median of the differences.

use std::hint::black_box;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Exchange, InstrumentKey, MarketProtection, Money, OrderRequest, OrderType, Price, Quantity, Side,
};
use nirantar_exchange_mock::charges::Tariff;
use nirantar_exchange_mock::{Calendar, Config, MockExchange, universe};

use crate::{Line, Worked, median};

/// Requests between two looks at the clock.
const AT_ONCE: u32 = 100;
/// Turns of a round.
const TURNS: usize = 50;

fn per_request(start: &Worked) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(AT_ONCE)
}

/// A paper exchange in the middle of a trading day, with a share that trades as much as anybody wants.
fn paper(calendar: &Calendar, charges: Option<Tariff>) -> (MockExchange, InstrumentKey, Timestamp) {
    let key = InstrumentKey::new(Exchange::Nse, "RELIANCE");
    let ten = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
    let config = Config { cash: Money::from_rupees(1_000_000_000_000), charges, ..Config::default() };
    let mut exchange = MockExchange::new(config, universe::instruments(ten.ist_date()), calendar.clone());
    for day_volume in [1_000_000, 1_000_000_000] {
        exchange.price(&key, Price::from_paise(150_000), Quantity::new(day_volume), ten);
    }
    (exchange, key, ten)
}

/// Nanoseconds of a request, turn by turn: an order that rests, or its cancel.
fn resting(calendar: &Calendar) -> impl FnMut() -> f64 {
    let (mut exchange, key, ten) = paper(calendar, None);
    let order = OrderRequest::new(key, Side::Buy, 1, OrderType::Limit(Price::from_paise(149_000)));
    move || {
        let start = Worked::now();
        for _ in 0..AT_ONCE / 2 {
            let id = exchange.place(&order, None, ten).unwrap();
            exchange.cancel(&id, ten).unwrap();
            black_box(exchange.drain());
        }
        per_request(&start)
    }
}

/// Nanoseconds of a market order that is filled at once, turn by turn.
fn filled(calendar: &Calendar, charges: Option<Tariff>) -> impl FnMut() -> f64 {
    let (mut exchange, key, ten) = paper(calendar, charges);
    let order = OrderRequest::new(key, Side::Buy, 1, OrderType::Market(MarketProtection::default()));
    let mut orders = 0;
    move || {
        let start = Worked::now();
        for _ in 0..AT_ONCE {
            exchange.place(&order, None, ten).unwrap();
            black_box(exchange.drain());
        }
        let nanos = per_request(&start);
        orders += AT_ONCE as usize;
        assert_eq!(exchange.trades().len(), orders);
        nanos
    }
}

fn of_a_call<R>(rounds: usize, mut call: impl FnMut() -> R) -> f64 {
    let turns = 0..rounds * TURNS;
    let nanos = turns.map(|_| {
        let start = Worked::now();
        for _ in 0..AT_ONCE {
            black_box(call());
        }
        per_request(&start)
    });
    median(&nanos.collect::<Vec<f64>>())
}

/// What the second takes, and by how much that is more than the first: medians, new exchanges in every round.
fn compared<A: FnMut() -> f64, B: FnMut() -> f64>(
    rounds: usize,
    first: impl Fn() -> A,
    second: impl Fn() -> B,
) -> (f64, f64) {
    let (mut nanos, mut more) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mut first, mut second) = (first(), second());
        for turn in 0..=TURNS {
            // Each begins every other time.
            let (one, other) = if turn % 2 == 0 {
                let one = first();
                (one, second())
            } else {
                let other = second();
                (first(), other)
            };
            // The first turn is for the memory to be there.
            if turn > 0 {
                nanos.push(other);
                more.push(other - one);
            }
        }
    }
    (median(&nanos), median(&more))
}

pub(crate) fn print(rounds: usize, lines: &[Line; 6]) {
    let calendar = Calendar::nse();
    let rows =
        include_str!("../../../exchange-mock/src/calendar/nse.csv").lines().filter(|row| !row.contains(",price-band,"));
    let bandless = Calendar::parse("nse.csv", rows.collect::<Vec<_>>().join("\n").as_bytes()).unwrap();
    let (exchange, _, ten) = paper(&calendar, None);
    let phase = of_a_call(rounds, || calendar.phase(black_box(Exchange::Nse), black_box(ten)));
    let margin = of_a_call(rounds, || exchange.margins());
    let (rests, band) = compared(rounds, || resting(&bandless), || resting(&calendar));
    let (fills, charge) = compared(rounds, || filled(&calendar, None), || filled(&calendar, Some(Tariff::zerodha())));
    let nanos = |line: &Line| median(&line.nanos);
    println!("what costs what, ns:");
    println!("  matching alone, an event                        {:>8.1}", nanos(&lines[4]));
    println!("  + positions by account                          {:>8.1}", nanos(&lines[5]) - nanos(&lines[4]));
    println!("  + order records, events out                     {:>8.1}", nanos(&lines[0]) - nanos(&lines[5]));
    println!("  phases: the calendar asked for the phase        {phase:>8.1}");
    println!("  margins: one sum over the account               {margin:>8.1}");
    println!("  bands: a request checked against the day's      {band:>8.1}");
    println!("  charges: a fill charged item by item            {charge:>8.1}");
    println!("  the whole paper exchange, a limit order or its cancel (rows, checks, ids)  {rests:>8.1}");
    println!("  the whole paper exchange, a market order filled and charged                {fills:>8.1}");
}
