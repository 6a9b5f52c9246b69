//! Market data that is asked for: quotes and candles.

use crate::time::Timestamp;
use crate::{BrokerToken, Depth, Detail, Full, OpenInterest, Price, Tick, TickQuote, TradeStats};

/// Open, high, low of the day and the close: the previous day's in market hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ohlc {
    /// First price of the day.
    pub open: Price,
    /// Highest.
    pub high: Price,
    /// Lowest.
    pub low: Price,
    /// Previous close.
    pub close: Price,
}

/// A snapshot of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Which, in the broker's numbering.
    pub token: BrokerToken,
    /// Last traded price.
    pub last_price: Price,
    /// The day's range; absent from an ltp call.
    pub ohlc: Option<Ohlc>,
    /// What was traded; only from a full quote.
    pub trades: Option<TradeStats>,
    /// Open interest; only from a full quote.
    pub open_interest: Option<OpenInterest>,
    /// The book; only from a full quote.
    pub depth: Option<Depth>,
    /// The exchange's clock; only from a full quote.
    pub exchange_time: Option<Timestamp>,
}

impl Quote {
    /// The same as a tick: as deep as the quote is.
    #[must_use]
    pub fn to_tick(&self) -> Tick {
        let detail = match self.ohlc {
            None => Detail::Ltp,
            Some(ohlc) => {
                let quote = TickQuote { ohlc, trades: self.trades };
                let full = Full {
                    exchange_time: self.exchange_time,
                    last_trade_time: None,
                    open_interest: self.open_interest,
                    depth: self.depth,
                };
                if self.exchange_time.is_some() { Detail::Full(quote, full) } else { Detail::Quote(quote) }
            }
        };
        Tick { token: self.token, last_price: self.last_price, detail }
    }
}

/// Length of a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// 1 minute.
    Minute,
    /// 3 minutes.
    Minute3,
    /// 5 minutes.
    Minute5,
    /// 10 minutes.
    Minute10,
    /// 15 minutes.
    Minute15,
    /// 30 minutes.
    Minute30,
    /// 60 minutes.
    Minute60,
    /// A trading day.
    Day,
}

/// One candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candle {
    /// When it starts.
    pub at: Timestamp,
    /// First price.
    pub open: Price,
    /// Highest.
    pub high: Price,
    /// Lowest.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Units traded.
    pub volume: u64,
    /// Open interest, where asked for.
    pub open_interest: Option<u64>,
}
