//! A second decoder, slow and obviously right: every number by its documented offset. What the real one says is held
//! against it, here and by the fuzzer, which includes this file (its names come from whoever includes it).

use super::{
    BrokerToken, Depth, Detail, FeedEvent, Full, Level, Ohlc, OpenInterest, Price, Quantity, Tick, TickQuote,
    Timestamp, TradeStats,
};

/// What a frame says.
pub(super) fn frame(bytes: &[u8]) -> Vec<FeedEvent> {
    if bytes.len() < 2 {
        return vec![FeedEvent::Heartbeat];
    }
    let mut events = Vec::new();
    let mut at = 2;
    for _ in 0..number(bytes, 0, 2) {
        if at + 2 > bytes.len() || at + 2 + number(bytes, at, 2) as usize > bytes.len() {
            events.push(FeedEvent::Garbage("a frame that ends inside a packet"));
            return events;
        }
        let end = at + 2 + number(bytes, at, 2) as usize;
        events.push(match packet(&bytes[at + 2..end]) {
            Some(tick) => FeedEvent::Tick(tick),
            None => FeedEvent::Garbage("a packet of unknown length, skipped"),
        });
        at = end;
    }
    if at < bytes.len() {
        events.push(FeedEvent::Garbage("bytes behind the last packet of a frame"));
    }
    events
}

/// What a packet says.
pub(super) fn packet(bytes: &[u8]) -> Option<Tick> {
    if ![8, 28, 32, 44, 184].contains(&bytes.len()) {
        return None;
    }
    let token = number(bytes, 0, 4) as u32;
    let price = |at| {
        let raw = number(bytes, at, 4) as i64;
        Price::from_units(match token % 256 {
            3 => (raw + 500) / 1_000, // ten-millionths, rounded half up
            6 | 12 => raw,            // ten-thousandths
            _ => raw * 100,           // paise
        })
    };
    let quantity = |at| Quantity::new(number(bytes, at, 4));
    let time = |at| match number(bytes, at, 4) {
        0 => None,
        seconds => Some(Timestamp::from_unix_seconds(seconds as i64)),
    };
    let level = |at| Level { quantity: quantity(at), price: price(at + 4), orders: number(bytes, at + 8, 2) as u32 };

    let index =
        || TickQuote { ohlc: Ohlc { high: price(8), low: price(12), open: price(16), close: price(20) }, trades: None };
    let share = || TickQuote {
        ohlc: Ohlc { open: price(28), high: price(32), low: price(36), close: price(40) },
        trades: Some(TradeStats {
            last_quantity: quantity(8),
            average_price: price(12),
            volume: quantity(16),
            buy_quantity: quantity(20),
            sell_quantity: quantity(24),
        }),
    };
    let detail = match bytes.len() {
        8 => Detail::Ltp,
        28 => Detail::Quote(index()),
        32 => match time(28) {
            None => Detail::Quote(index()),
            exchange_time => {
                Detail::Full(index(), Full { exchange_time, last_trade_time: None, open_interest: None, depth: None })
            }
        },
        44 => Detail::Quote(share()),
        _ => Detail::Full(
            share(),
            Full {
                last_trade_time: time(44),
                open_interest: Some(OpenInterest { now: quantity(48), day_high: quantity(52), day_low: quantity(56) }),
                exchange_time: time(60),
                depth: Some(Depth {
                    buy: [level(64), level(76), level(88), level(100), level(112)],
                    sell: [level(124), level(136), level(148), level(160), level(172)],
                }),
            },
        ),
    };
    Some(Tick { token: BrokerToken(token), last_price: price(4), detail })
}

/// The big-endian number of that many bytes. Whoever calls has looked at the length.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
