//! Binary ticker frames: written and read.
//!
//! A frame is a big-endian packet count and then, for each packet, its length and its bytes. The length decides the
//! kind: 8 ltp, 28 index quote, 32 index full, 44 quote, 184 full; other lengths are skipped. A message shorter than a
//! packet count is a heartbeat. Reading is total: of a frame that is cut short, every whole packet is delivered.
//!
//! Numbers are unsigned 32 bits (as the Python, Go and Rust SDKs read them; the docs say signed), prices are scaled by
//! the segment's divisor, times are Unix seconds with 0 for "none".

mod fields;

use fields::{Reader, Writer};

use crate::time::Timestamp;
use crate::{
    BrokerToken, Depth, Detail, FeedEvent, Full, Level, Ohlc, OpenInterest, Price, Quantity, Tick, TickQuote,
    TradeStats,
};

/// A heartbeat: one byte that is no packet count. Its value is undocumented.
pub const HEARTBEAT: [u8; 1] = [0];

/// Whether the token names an index (segment 9), which has no trades and no book.
#[must_use]
pub const fn is_index(token: BrokerToken) -> bool {
    segment(token) == 9
}

/// How many units of a [`Price`] (ten-thousandths of a rupee) and of the wire make a rupee in that token's segment:
/// 10 000 000 for CDS, 10 000 for BCD and NCO (Python and Rust SDKs; JS and Go divide NCO by 100), 100 for the rest.
#[must_use]
pub const fn divisor(token: BrokerToken) -> i64 {
    match segment(token) {
        3 => 10_000_000,
        6 | 12 => 10_000,
        _ => 100,
    }
}

/// A frame of these ticks, at most 65 535 of them.
///
/// A quote without trades goes as an index packet. What the wire cannot hold saturates: prices below zero, quantities above 2^32. Decimals beyond the divisor are
/// rounded half away from zero. An index' price change, which a [`Tick`] does not carry, is last price less close.
#[must_use]
pub fn encode(ticks: &[Tick]) -> Vec<u8> {
    let count = u16::try_from(ticks.len()).unwrap_or(u16::MAX);
    let mut out = Writer::default();
    out.u16(count);
    for tick in ticks.iter().take(usize::from(count)) {
        encode_packet(tick, &mut out);
    }
    out.into_bytes()
}

/// Reads one binary message and appends what it says.
pub fn decode(frame: &[u8], out: &mut Vec<FeedEvent>) {
    let mut frame = Reader::new(frame);
    let Some(count) = frame.u16() else {
        out.push(FeedEvent::Heartbeat);
        return;
    };
    for _ in 0..count {
        let Some(packet) = frame.u16().and_then(|length| frame.take(usize::from(length))) else {
            out.push(FeedEvent::Garbage("a frame that ends inside a packet"));
            return;
        };
        out.push(match decode_packet(packet) {
            Some(tick) => FeedEvent::Tick(tick),
            None => FeedEvent::Garbage("a packet of unknown length, skipped"),
        });
    }
    if !frame.is_empty() {
        out.push(FeedEvent::Garbage("bytes behind the last packet of a frame"));
    }
}

/// Reads one bare packet. `None` for a length that is no kind.
#[must_use]
pub fn decode_packet(packet: &[u8]) -> Option<Tick> {
    let length = packet.len();
    let mut fields = Reader::new(packet);
    let token = BrokerToken(fields.u32()?);
    let divisor = divisor(token);
    let last_price = fields.price(divisor)?;
    let detail = match length {
        8 => Detail::Ltp,
        28 | 32 => {
            let quote = TickQuote { ohlc: fields.index_ohlc(divisor)?, trades: None };
            fields.u32()?; // the price change: last price and close say it already
            match fields.time() {
                None => Detail::Quote(quote),
                Some(exchange_time) => {
                    Detail::Full(quote, Full { exchange_time, last_trade_time: None, open_interest: None, depth: None })
                }
            }
        }
        44 | 184 => {
            let trades = fields.trades(divisor)?;
            let quote = TickQuote { ohlc: fields.ohlc(divisor)?, trades: Some(trades) };
            if length == 44 { Detail::Quote(quote) } else { Detail::Full(quote, fields.full(divisor)?) }
        }
        _ => return None,
    };
    Some(Tick { token, last_price, detail })
}

const fn segment(token: BrokerToken) -> u32 {
    token.0 & 0xff
}

fn encode_packet(tick: &Tick, out: &mut Writer) {
    let divisor = divisor(tick.token);
    let (length, quote, full) = match &tick.detail {
        Detail::Ltp => (8, None, None),
        Detail::Quote(quote) => (if quote.trades.is_none() { 28 } else { 44 }, Some(quote), None),
        Detail::Full(quote, full) => (if quote.trades.is_none() { 32 } else { 184 }, Some(quote), Some(full)),
    };
    out.u16(length);
    out.u32(tick.token.0);
    out.price(tick.last_price, divisor);
    let Some(quote) = quote else { return };
    match &quote.trades {
        None => {
            let Ohlc { open, high, low, close } = quote.ohlc;
            for price in [high, low, open, close] {
                out.price(price, divisor);
            }
            out.price_change(tick.last_price - close, divisor);
            if let Some(full) = full {
                out.time(full.exchange_time);
            }
        }
        Some(trades) => {
            out.quantity(trades.last_quantity);
            out.price(trades.average_price, divisor);
            for quantity in [trades.volume, trades.buy_quantity, trades.sell_quantity] {
                out.quantity(quantity);
            }
            let Ohlc { open, high, low, close } = quote.ohlc;
            for price in [open, high, low, close] {
                out.price(price, divisor);
            }
            if let Some(full) = full {
                encode_full(full, divisor, out);
            }
        }
    }
}

fn encode_full(full: &Full, divisor: i64, out: &mut Writer) {
    let interest = full.open_interest.unwrap_or_default();
    let depth = full.depth.unwrap_or_default();
    out.time(full.last_trade_time);
    for quantity in [interest.now, interest.day_high, interest.day_low] {
        out.quantity(quantity);
    }
    out.time(full.exchange_time);
    for level in depth.buy.iter().chain(&depth.sell) {
        out.quantity(level.quantity);
        out.price(level.price, divisor);
        out.u16(u16::try_from(level.orders).unwrap_or(u16::MAX));
        out.u16(0);
    }
}

impl Reader<'_> {
    fn price(&mut self, divisor: i64) -> Option<Price> {
        let raw = i64::from(self.u32()?);
        // Ten-thousandths: 100 → ×100, 10 000 → ×1, 10 000 000 → ÷1000. All within 2^32 × 100.
        Some(Price::from_units(match divisor {
            10_000_000 => (raw + 500) / 1_000,
            10_000 => raw,
            _ => raw * 100,
        }))
    }

    fn quantity(&mut self) -> Option<Quantity> {
        self.u32().map(|raw| Quantity::new(u64::from(raw)))
    }

    fn time(&mut self) -> Option<Option<Timestamp>> {
        let seconds = self.u32()?;
        Some((seconds != 0).then(|| Timestamp::from_unix_seconds(i64::from(seconds))))
    }

    fn ohlc(&mut self, divisor: i64) -> Option<Ohlc> {
        let mut next = || self.price(divisor);
        Some(Ohlc { open: next()?, high: next()?, low: next()?, close: next()? })
    }

    /// The order differs from a share's.
    fn index_ohlc(&mut self, divisor: i64) -> Option<Ohlc> {
        let mut next = || self.price(divisor);
        let (high, low, open, close) = (next()?, next()?, next()?, next()?);
        Some(Ohlc { open, high, low, close })
    }

    fn trades(&mut self, divisor: i64) -> Option<TradeStats> {
        Some(TradeStats {
            last_quantity: self.quantity()?,
            average_price: self.price(divisor)?,
            volume: self.quantity()?,
            buy_quantity: self.quantity()?,
            sell_quantity: self.quantity()?,
        })
    }

    fn full(&mut self, divisor: i64) -> Option<Full> {
        let last_trade_time = self.time()?;
        let open_interest =
            OpenInterest { now: self.quantity()?, day_high: self.quantity()?, day_low: self.quantity()? };
        let exchange_time = self.time()?;
        let mut depth = Depth::default();
        for level in depth.buy.iter_mut().chain(&mut depth.sell) {
            *level = self.level(divisor)?;
        }
        Some(Full { exchange_time, last_trade_time, open_interest: Some(open_interest), depth: Some(depth) })
    }

    fn level(&mut self, divisor: i64) -> Option<Level> {
        let (quantity, price, orders) = (self.quantity()?, self.price(divisor)?, u32::from(self.u16()?));
        self.u16()?; // padding
        Some(Level { price, quantity, orders })
    }
}

impl Writer {
    fn price(&mut self, price: Price, divisor: i64) {
        self.u32(u32::try_from(scaled(price, divisor).max(0)).unwrap_or(u32::MAX));
    }

    /// The one signed number of the wire.
    fn price_change(&mut self, change: Price, divisor: i64) {
        let raw = scaled(change, divisor).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        self.i32(i32::try_from(raw).unwrap_or(0));
    }

    fn quantity(&mut self, quantity: Quantity) {
        self.u32(u32::try_from(quantity.get()).unwrap_or(u32::MAX));
    }

    fn time(&mut self, time: Option<Timestamp>) {
        self.u32(time.map_or(0, |time| u32::try_from(time.as_unix_seconds()).unwrap_or(0)));
    }
}

/// A price in the wire's units.
fn scaled(price: Price, divisor: i64) -> i64 {
    let units = price.units();
    match divisor {
        10_000_000 => units.saturating_mul(1_000),
        10_000 => units,
        _ => units.saturating_add(if units < 0 { -50 } else { 50 }) / 100,
    }
}

#[cfg(test)]
mod tests;
