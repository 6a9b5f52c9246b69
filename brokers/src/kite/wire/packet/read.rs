//! One packet, decoded: its words in the processor's own order, and what they mean.

use std::fmt;

use super::frame::{ByPairs, Turn};
use super::layout::{Field, INDEX, Kind, LEVEL, LEVELS, LevelField, SHARE, Scale, WORDS, place, place_in_level};
use crate::time::Timestamp;
use crate::{
    BrokerToken, Depth, Detail, Full, Level, Ohlc, OpenInterest, Price, Quantity, Stamp, Tick, TickQuote, TradeStats,
};

/// A packet of the feed: plain data of 192 bytes, every number an integer. Prices are kept as the wire counts them
/// (paise for most segments) and become a [`Price`] when they are read.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Packet {
    /// Those of the kind; the rest are of packets before.
    words: [u32; WORDS],
    kind: Kind,
}

impl Packet {
    pub(super) const EMPTY: Self = Self { words: [0; WORDS], kind: Kind::Ltp };

    /// Reads the bytes of one packet. `None` for a length that is no kind.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut packet = Self::EMPTY;
        packet.fill::<ByPairs>(Kind::of_length(bytes.len())?, bytes);
        Some(packet)
    }

    /// Takes the words of another packet.
    #[inline(always)]
    pub(super) fn fill<T: Turn>(&mut self, kind: Kind, bytes: &[u8]) {
        self.kind = kind;
        // The lengths are spelled out for each kind so that the compiler knows them.
        match kind {
            Kind::Full => self.take::<{ Kind::Full.words() }, { Kind::Full.bytes() }, T>(bytes),
            Kind::Quote => self.take::<{ Kind::Quote.words() }, { Kind::Quote.bytes() }, T>(bytes),
            Kind::Ltp => self.take::<{ Kind::Ltp.words() }, { Kind::Ltp.bytes() }, T>(bytes),
            Kind::IndexQuote => self.take::<{ Kind::IndexQuote.words() }, { Kind::IndexQuote.bytes() }, T>(bytes),
            Kind::IndexFull => self.take::<{ Kind::IndexFull.words() }, { Kind::IndexFull.bytes() }, T>(bytes),
        }
    }

    #[inline(always)]
    fn take<const N: usize, const BYTES: usize, T: Turn>(&mut self, bytes: &[u8]) {
        if let (Some(from), Some(to)) = (bytes.first_chunk::<BYTES>(), self.words.first_chunk_mut::<N>()) {
            T::turn(from, to);
        }
    }

    /// Which kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Of which instrument.
    #[must_use]
    pub const fn token(&self) -> BrokerToken {
        BrokerToken(self.words[const { place(&SHARE, Field::Token) }])
    }

    /// Last traded price, or the index' value.
    #[must_use]
    pub const fn last_price(&self) -> Price {
        self.price(self.words[const { place(&SHARE, Field::LastPrice) }])
    }

    /// Volume of the day; `None` for an index and in ltp mode.
    #[must_use]
    pub const fn volume(&self) -> Option<Quantity> {
        match self.kind {
            Kind::Full | Kind::Quote => Some(quantity(self.words[const { place(&SHARE, Field::Volume) }])),
            _ => None,
        }
    }

    /// Where in the day it belongs: `Stamp::from(&self.tick())`, without making the tick.
    #[must_use]
    #[inline]
    pub fn stamp(&self) -> Stamp {
        let exchange_time = match self.kind {
            Kind::Full => time(self.words[const { place(&SHARE, Field::ExchangeTime) }]),
            Kind::IndexFull => time(self.words[const { place(&INDEX, Field::ExchangeTime) }]),
            Kind::Quote | Kind::Ltp | Kind::IndexQuote => None,
        };
        Stamp { token: self.token(), last_price: self.last_price(), volume: self.volume(), exchange_time }
    }

    /// Everything it says, in the engine's words.
    #[must_use]
    #[inline]
    pub fn tick(&self) -> Tick {
        // Asked once and not for each price.
        match Scale::of(self.token()) {
            Scale::Paise => self.say(|raw| Price::from_units(Scale::Paise.units(raw))),
            Scale::Units => self.say(|raw| Price::from_units(Scale::Units.units(raw))),
            Scale::Fine => self.say(|raw| Price::from_units(Scale::Fine.units(raw))),
        }
    }

    #[inline(always)]
    fn say(&self, price: impl Fn(u32) -> Price + Copy) -> Tick {
        let detail = match self.kind {
            Kind::Ltp => Detail::Ltp,
            Kind::Quote => Detail::Quote(self.share(price)),
            Kind::Full => Detail::Full(self.share(price), self.full(price)),
            Kind::IndexQuote => Detail::Quote(self.index(price)),
            Kind::IndexFull => match time(self.words[const { place(&INDEX, Field::ExchangeTime) }]) {
                // Without a time it says no more than a quote.
                None => Detail::Quote(self.index(price)),
                exchange_time => Detail::Full(
                    self.index(price),
                    Full { exchange_time, last_trade_time: None, open_interest: None, depth: None },
                ),
            },
        };
        let last_price = price(self.words[const { place(&SHARE, Field::LastPrice) }]);
        Tick { token: self.token(), last_price, detail }
    }

    #[inline(always)]
    fn share(&self, price: impl Fn(u32) -> Price) -> TickQuote {
        let ohlc = Ohlc {
            open: price(self.words[const { place(&SHARE, Field::Open) }]),
            high: price(self.words[const { place(&SHARE, Field::High) }]),
            low: price(self.words[const { place(&SHARE, Field::Low) }]),
            close: price(self.words[const { place(&SHARE, Field::Close) }]),
        };
        let trades = TradeStats {
            last_quantity: quantity(self.words[const { place(&SHARE, Field::LastQuantity) }]),
            average_price: price(self.words[const { place(&SHARE, Field::AveragePrice) }]),
            volume: quantity(self.words[const { place(&SHARE, Field::Volume) }]),
            buy_quantity: quantity(self.words[const { place(&SHARE, Field::BuyQuantity) }]),
            sell_quantity: quantity(self.words[const { place(&SHARE, Field::SellQuantity) }]),
        };
        TickQuote { ohlc, trades: Some(trades) }
    }

    #[inline(always)]
    fn index(&self, price: impl Fn(u32) -> Price) -> TickQuote {
        let ohlc = Ohlc {
            open: price(self.words[const { place(&INDEX, Field::Open) }]),
            high: price(self.words[const { place(&INDEX, Field::High) }]),
            low: price(self.words[const { place(&INDEX, Field::Low) }]),
            close: price(self.words[const { place(&INDEX, Field::Close) }]),
        };
        TickQuote { ohlc, trades: None }
    }

    #[inline(always)]
    fn full(&self, price: impl Fn(u32) -> Price) -> Full {
        let interest = OpenInterest {
            now: quantity(self.words[const { place(&SHARE, Field::OpenInterest) }]),
            day_high: quantity(self.words[const { place(&SHARE, Field::OpenInterestHigh) }]),
            day_low: quantity(self.words[const { place(&SHARE, Field::OpenInterestLow) }]),
        };
        let mut depth = Depth::default();
        let (levels, _) = self.words[SHARE.len()..].as_chunks::<{ LEVEL.len() }>();
        let (bids, offers) = levels.split_at(LEVELS);
        for (side, words) in [(&mut depth.buy, bids), (&mut depth.sell, offers)] {
            for (level, words) in side.iter_mut().zip(words) {
                *level = Level {
                    price: price(words[const { place_in_level(LevelField::Price) }]),
                    quantity: quantity(words[const { place_in_level(LevelField::Quantity) }]),
                    orders: words[const { place_in_level(LevelField::Orders) }] >> 16,
                };
            }
        }
        Full {
            exchange_time: time(self.words[const { place(&SHARE, Field::ExchangeTime) }]),
            last_trade_time: time(self.words[const { place(&SHARE, Field::LastTradeTime) }]),
            open_interest: Some(interest),
            depth: Some(depth),
        }
    }

    const fn price(&self, raw: u32) -> Price {
        Price::from_units(Scale::of(self.token()).units(raw))
    }
}

impl PartialEq for Packet {
    /// Whether both say the same, bit for bit.
    fn eq(&self, other: &Self) -> bool {
        let words = self.kind.words();
        self.kind == other.kind && self.words.iter().zip(&other.words).take(words).all(|(one, other)| one == other)
    }
}

impl Eq for Packet {}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet").field("kind", &self.kind).field("tick", &self.tick()).finish()
    }
}

#[inline(always)]
const fn quantity(raw: u32) -> Quantity {
    Quantity::new(raw as u64)
}

/// Unix seconds, 0 for "none".
#[inline(always)]
fn time(seconds: u32) -> Option<Timestamp> {
    (seconds != 0).then(|| Timestamp::from_unix_seconds(i64::from(seconds)))
}
