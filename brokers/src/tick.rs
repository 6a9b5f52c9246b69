//! Market data as it arrives, in three depths.

use crate::time::Timestamp;
use crate::{BrokerToken, Ohlc, Price, Quantity};

/// How much of an instrument a feed sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Last price.
    Ltp,
    /// And the day's numbers.
    Quote,
    /// And five levels of the book, open interest and exchange time.
    Full,
}

impl Mode {
    /// The name in configuration and on Kite's wire: `ltp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ltp => "ltp",
            Self::Quote => "quote",
            Self::Full => "full",
        }
    }
}

/// One packet of market data. Plain data without a heap allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Of which instrument, in the broker's numbering of the day.
    pub token: BrokerToken,
    /// Last traded price, or the index' value.
    pub last_price: Price,
    /// As much more as the mode sends.
    pub detail: Detail,
}

/// Where in the day a packet belongs. No wire numbers its packets; this much of two of them tells which is the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of which instrument, in the broker's numbering of the day.
    pub token: BrokerToken,
    /// Last traded price, or the index' value.
    pub last_price: Price,
    /// Volume of the day; `None` where the mode or the instrument has none.
    pub volume: Option<Quantity>,
    /// The exchange's clock; `None` where the mode does not send it.
    pub exchange_time: Option<Timestamp>,
}

impl From<&Tick> for Stamp {
    fn from(tick: &Tick) -> Self {
        let (quote, full) = match &tick.detail {
            Detail::Ltp => (None, None),
            Detail::Quote(quote) => (Some(quote), None),
            Detail::Full(quote, full) => (Some(quote), Some(full)),
        };
        Self {
            token: tick.token,
            last_price: tick.last_price,
            volume: quote.and_then(|quote| quote.trades).map(|trades| trades.volume),
            exchange_time: full.and_then(|full| full.exchange_time),
        }
    }
}

/// What a packet says beyond the last price.
#[expect(clippy::large_enum_variant, reason = "a tick is copied once and never boxed")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    Ltp,
    /// The day's numbers.
    Quote(TickQuote),
    /// The day's numbers and the book.
    Full(TickQuote, Full),
}

/// The day's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickQuote {
    /// The day's open, high and low, and the previous close.
    pub ohlc: Ohlc,
    /// What was traded; absent for an index.
    pub trades: Option<TradeStats>,
}

/// What was traded today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeStats {
    /// Quantity of the last trade.
    pub last_quantity: Quantity,
    /// Volume-weighted average price of the day.
    pub average_price: Price,
    /// Volume of the day.
    pub volume: Quantity,
    /// All buy orders waiting.
    pub buy_quantity: Quantity,
    /// All sell orders waiting.
    pub sell_quantity: Quantity,
}

/// What only the full mode sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The exchange's clock, in whole seconds on most wires.
    pub exchange_time: Option<Timestamp>,
    /// When the last trade was; absent for an index.
    pub last_trade_time: Option<Timestamp>,
    /// Open interest; absent for an index.
    pub open_interest: Option<OpenInterest>,
    /// Five levels of the book; absent for an index.
    pub depth: Option<Depth>,
}

/// Open interest of a derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OpenInterest {
    /// Now.
    pub now: Quantity,
    /// The day's highest.
    pub day_high: Quantity,
    /// The day's lowest.
    pub day_low: Quantity,
}

/// Five levels of the book, best first. An empty level is all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Depth {
    /// Bids.
    pub buy: [Level; 5],
    /// Offers.
    pub sell: [Level; 5],
}

/// One level of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Level {
    /// At what price.
    pub price: Price,
    /// How many in all.
    pub quantity: Quantity,
    /// In how many orders.
    pub orders: u32,
}
