//! The server's side: ticks as frames, by the same table.

use super::layout::{Field, Kind, LEVEL, LevelField, Scale};
use crate::time::Timestamp;
use crate::{Detail, Full, Level, Price, Quantity, Tick, TickQuote};

/// A frame of these ticks, at most 65 535 of them.
///
/// A quote without trades goes as an index packet. What the wire cannot hold saturates: prices below zero, quantities
/// above 2^32. Decimals beyond the segment's are rounded half away from zero. An index' price change, which a [`Tick`]
/// does not carry, is last price less close.
#[must_use]
pub fn encode(ticks: &[Tick]) -> Vec<u8> {
    let count = u16::try_from(ticks.len()).unwrap_or(u16::MAX);
    let ticks = ticks.iter().take(usize::from(count));
    let mut out = Vec::with_capacity(2 + ticks.clone().map(|tick| 2 + kind(tick).bytes()).sum::<usize>());
    out.extend_from_slice(&count.to_be_bytes());
    for tick in ticks {
        encode_packet(tick, &mut out);
    }
    out
}

fn encode_packet(tick: &Tick, out: &mut Vec<u8>) {
    let kind = kind(tick);
    let scale = Scale::of(tick.token);
    let (quote, full) = match &tick.detail {
        Detail::Ltp => (None, None),
        Detail::Quote(quote) => (Some(quote), None),
        Detail::Full(quote, full) => (Some(quote), Some(full)),
    };
    out.extend_from_slice(&u16::try_from(kind.bytes()).unwrap_or(u16::MAX).to_be_bytes());
    for field in kind.fields() {
        out.extend_from_slice(&word(field, scale, tick, quote, full).to_be_bytes());
    }
    if kind.has_book() {
        let depth = full.and_then(|full| full.depth).unwrap_or_default();
        for level in depth.buy.iter().chain(&depth.sell) {
            for field in LEVEL {
                out.extend_from_slice(&level_word(field, scale, level).to_be_bytes());
            }
        }
    }
}

const fn kind(tick: &Tick) -> Kind {
    match &tick.detail {
        Detail::Ltp => Kind::Ltp,
        Detail::Quote(TickQuote { trades: None, .. }) => Kind::IndexQuote,
        Detail::Quote(_) => Kind::Quote,
        Detail::Full(TickQuote { trades: None, .. }, _) => Kind::IndexFull,
        Detail::Full(..) => Kind::Full,
    }
}

/// The word of a field; 0 for what the tick does not say.
fn word(field: Field, scale: Scale, tick: &Tick, quote: Option<&TickQuote>, full: Option<&Full>) -> u32 {
    let ohlc = quote.map(|quote| quote.ohlc).unwrap_or_default();
    let trades = quote.and_then(|quote| quote.trades);
    let interest = full.and_then(|full| full.open_interest).unwrap_or_default();
    match field {
        Field::Token => tick.token.0,
        Field::LastPrice => price(tick.last_price, scale),
        Field::LastQuantity => trades.map_or(0, |trades| quantity(trades.last_quantity)),
        Field::AveragePrice => trades.map_or(0, |trades| price(trades.average_price, scale)),
        Field::Volume => trades.map_or(0, |trades| quantity(trades.volume)),
        Field::BuyQuantity => trades.map_or(0, |trades| quantity(trades.buy_quantity)),
        Field::SellQuantity => trades.map_or(0, |trades| quantity(trades.sell_quantity)),
        Field::Open => price(ohlc.open, scale),
        Field::High => price(ohlc.high, scale),
        Field::Low => price(ohlc.low, scale),
        Field::Close => price(ohlc.close, scale),
        Field::PriceChange => price_change(tick.last_price - ohlc.close, scale),
        Field::LastTradeTime => time(full.and_then(|full| full.last_trade_time)),
        Field::OpenInterest => quantity(interest.now),
        Field::OpenInterestHigh => quantity(interest.day_high),
        Field::OpenInterestLow => quantity(interest.day_low),
        Field::ExchangeTime => time(full.and_then(|full| full.exchange_time)),
    }
}

fn level_word(field: LevelField, scale: Scale, level: &Level) -> u32 {
    match field {
        LevelField::Quantity => quantity(level.quantity),
        LevelField::Price => price(level.price, scale),
        LevelField::Orders => u32::from(u16::try_from(level.orders).unwrap_or(u16::MAX)) << 16,
    }
}

fn price(price: Price, scale: Scale) -> u32 {
    u32::try_from(scale.raw(price.units()).max(0)).unwrap_or(u32::MAX)
}

/// As two's complement.
fn price_change(change: Price, scale: Scale) -> u32 {
    let raw = scale.raw(change.units()).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    i32::try_from(raw).unwrap_or(0).cast_unsigned()
}

fn quantity(quantity: Quantity) -> u32 {
    u32::try_from(quantity.get()).unwrap_or(u32::MAX)
}

fn time(time: Option<Timestamp>) -> u32 {
    time.map_or(0, |time| u32::try_from(time.as_unix_seconds()).unwrap_or(0))
}
