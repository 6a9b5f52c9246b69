//! What both benchmarks need: a frame as the exchange would send it, and what the machine was doing meanwhile.

use std::time::Duration;

use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerToken, Depth, Detail, Full, Level, Ohlc, OpenInterest, Price, Quantity, Tick, TickQuote, TradeStats,
};

/// Packets in a frame.
pub(crate) const PACKETS: usize = 100;

/// A frame of full packets of as many shares, no two numbers alike.
pub(crate) fn frame() -> Vec<u8> {
    let ticks: Vec<Tick> = (0..PACKETS as i64).map(tick).collect();
    let frame = packet::encode(&ticks);
    assert_eq!(frame.len(), 2 + PACKETS * 186, "full packets all through");
    frame
}

fn tick(number: i64) -> Tick {
    let price = |more: i64| Price::from_paise(100_000 + 731 * number + more);
    let quantity = |more: i64| Quantity::new((5_000 + 17 * number + more).unsigned_abs());
    let time = |more: i64| Some(Timestamp::from_unix_seconds(1_795_000_000 + number + more));
    let level = |at: i64| Level { price: price(at), quantity: quantity(at), orders: (7 + at).unsigned_abs() as u32 };
    let quote = TickQuote {
        ohlc: Ohlc { open: price(1), high: price(90), low: price(-90), close: price(-2) },
        trades: Some(TradeStats {
            last_quantity: quantity(1),
            average_price: price(3),
            volume: quantity(1_000_000),
            buy_quantity: quantity(2_000),
            sell_quantity: quantity(3_000),
        }),
    };
    let full = Full {
        exchange_time: time(1),
        last_trade_time: time(0),
        open_interest: Some(OpenInterest { now: quantity(11), day_high: quantity(12), day_low: quantity(10) }),
        depth: Some(Depth { buy: [1, 2, 3, 4, 5].map(|at| level(-at + 5)), sell: [6, 7, 8, 9, 10].map(level) }),
    };
    let token = BrokerToken((2_000 + number as u32) << 8 | 1);
    Tick { token, last_price: price(0), detail: Detail::Full(quote, full) }
}

/// Middle, least and most.
pub(crate) fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.first(), values.last()) {
        (Some(middle), Some(least), Some(most)) => (*middle, *least, *most),
        _ => (f64::NAN, f64::NAN, f64::NAN),
    }
}

/// How long this thread was on a processor.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How many wanted a processor lately: over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The machine and its load.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |name: &str| info.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(": ").nth(1));
    format!(
        "{} ({} cores), load {}",
        of("model name").unwrap_or("unknown processor"),
        std::thread::available_parallelism().map_or(0, usize::from),
        load()
    )
}
