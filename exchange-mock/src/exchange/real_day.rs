//! A whole real day of two symbols with ten thousand random orders: the same report every time, and quickly.
//!
//! The time counts in a build that is optimised: `NIRANTAR_FIXTURES=… cargo test --release -p nirantar-exchange-mock
//! real_day -- --nocapture`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{
    BrokerOrderId, Exchange, InstrumentKey, MarketProtection, Money, OrderChange, OrderRequest, OrderType, Price,
    Quantity, Side, Validity,
};

use crate::prices::{Merge, Replay};
use crate::{Calendar, Config, MockExchange, PriceSource, universe};

const ORDERS: usize = 10_000;
const SYMBOLS: [&str; 2] = ["RELIANCE", "TCS"];

fn prices(folder: &std::path::Path) -> Merge {
    let replay = |symbol: &str| -> Box<dyn PriceSource + Send> {
        let file = folder.join(format!("market/2021-04-12_{symbol}.csv"));
        Box::new(Replay::load(&file, InstrumentKey::new(Exchange::Nse, symbol)).unwrap())
    };
    Merge::new(SYMBOLS.map(replay).into()).unwrap()
}

/// An order near the last price, of any type.
fn random_order(rng: &mut Rng, exchange: &MockExchange, key: &InstrumentKey) -> Option<OrderRequest> {
    let (last, tick) = (exchange.market(key)?.last_price, exchange.instrument(key)?.tick);
    let near = |rng: &mut Rng| {
        let steps = rng.below(80) as i64 - 40;
        Price::from_units(last.units() + steps * tick.units()).floor_to(tick)
    };
    let side = if rng.below(2) == 0 { Side::Buy } else { Side::Sell };
    let protection = MarketProtection::Automatic;
    let order_type = match rng.below(10) {
        0 => OrderType::Market(protection),
        1 => OrderType::StopMarket { trigger: near(rng), protection },
        2 => {
            let (one, two) = (near(rng), near(rng));
            let (trigger, limit) = if (one > two) == (side == Side::Buy) { (two, one) } else { (one, two) };
            OrderType::StopLimit { trigger, limit }
        }
        _ => OrderType::Limit(near(rng)),
    };
    let validity = match rng.below(10) {
        0 => Validity::Ioc,
        1 => Validity::Ttl { minutes: 1 + rng.below(30) as u16 },
        _ => Validity::Day,
    };
    Some(OrderRequest { validity, ..OrderRequest::new(key.clone(), side, 1 + rng.below(200), order_type) })
}

/// The day's whole report, and how many orders were taken.
fn replay(folder: &std::path::Path) -> (String, usize) {
    let mut prices = prices(folder);
    let date = prices.date();
    let config = Config { cash: Money::from_rupees(1_000_000_000), ..Config::default() };
    let mut exchange = MockExchange::new(config, universe::instruments(date), Calendar::nse());
    let mut rng = Rng::from_seed(12);
    let mut ids: Vec<BrokerOrderId> = Vec::new();
    let keys = SYMBOLS.map(|symbol| InstrumentKey::new(Exchange::Nse, symbol));
    let mut report = String::new();
    while let Some(price) = prices.next() {
        exchange.price(&price.instrument, price.ltp, price.volume, price.at);
        // An order at every second price, which makes ten thousand before the day ends; some are changed or cancelled.
        if ids.len() < ORDERS && rng.below(4) < 2 {
            let key = &keys[rng.below(2) as usize];
            if let Some(order) = random_order(&mut rng, &exchange, key) {
                ids.extend(exchange.place(&order, None, price.at));
            }
        }
        if !ids.is_empty() && rng.below(10) == 0 {
            let id = &ids[rng.below(ids.len() as u64) as usize];
            let done = if rng.below(2) == 0 {
                exchange.cancel(id, price.at).is_ok()
            } else {
                let change =
                    OrderChange { quantity: Some(Quantity::new(1 + rng.below(200))), ..OrderChange::default() };
                exchange.modify(id, &change, price.at).is_ok()
            };
            let _ = write!(report, "{done} ");
        }
        for update in exchange.drain() {
            let _ = writeln!(report, "{update:?}");
        }
    }
    exchange.wake(Timestamp::parse_ist("2021-04-12 18:00:00").unwrap());
    let (positions, margins) = (exchange.positions(), exchange.margins());
    let trades = exchange.trades();
    let filled: u64 = trades.iter().map(|trade| trade.quantity.get()).sum();
    assert!(trades.len() > ORDERS / 4 && filled > 100_000, "{} trades of {filled} units", trades.len());
    assert!(exchange.book().all(|row| row.status.is_final()), "the day ended");
    let _ = writeln!(report, "{:?} {trades:?} {positions:?} {margins:?}", exchange.book().collect::<Vec<_>>());
    (report, ids.len())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
fn a_real_day_of_two_symbols_gives_the_same_report_every_time() {
    let Some(folder) = std::env::var_os("NIRANTAR_FIXTURES").map(PathBuf::from) else {
        assert_ne!(std::env::var("NIRANTAR_REQUIRE_FIXTURES").as_deref(), Ok("1"), "NIRANTAR_FIXTURES is not set");
        println!("skipped: NIRANTAR_FIXTURES is not set");
        return;
    };
    let start = Instant::now();
    let (report, orders) = replay(&folder);
    let took = start.elapsed();
    println!("{orders} orders, a report of {} bytes, in {took:?}", report.len());
    assert_eq!(orders, ORDERS);
    assert!(cfg!(debug_assertions) || took < Duration::from_secs(2), "{took:?}");
    assert!(replay(&folder).0 == report, "another report of the same day");
}
