//! Snapshots: full quote, ohlc, ltp (`kite.md` 2.12). An answer is a map from the asked `EXCHANGE:SYMBOL` to one of
//! these; instruments the broker does not know are absent from it.

use serde::{Deserialize, Serialize};

use super::super::json;
use crate::time::Timestamp;
use crate::{BrokerToken, Depth, Level, OpenInterest, Price, Quantity, Quote, TradeStats};

/// Last price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ltp {
    /// Of which instrument.
    #[serde(with = "json::token")]
    pub instrument_token: BrokerToken,
    /// Last price.
    #[serde(with = "json::price")]
    pub last_price: Price,
}

/// Last price and the day's range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OhlcQuote {
    /// Of which instrument.
    #[serde(with = "json::token")]
    pub instrument_token: BrokerToken,
    /// Last price.
    #[serde(with = "json::price")]
    pub last_price: Price,
    /// The day's range.
    pub ohlc: Ohlc,
}

/// Open, high, low and the previous close.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ohlc {
    #[serde(with = "json::price")]
    pub open: Price,
    #[serde(with = "json::price")]
    pub high: Price,
    #[serde(with = "json::price")]
    pub low: Price,
    #[serde(with = "json::price")]
    pub close: Price,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.12")]
pub struct FullQuote {
    #[serde(with = "json::token")]
    pub instrument_token: BrokerToken,
    /// The Rust SDK insists on it.
    #[serde(default, with = "json::time")]
    pub timestamp: Option<Timestamp>,
    #[serde(default, with = "json::time")]
    pub last_trade_time: Option<Timestamp>,
    #[serde(with = "json::price")]
    pub last_price: Price,
    #[serde(default, with = "json::quantity")]
    pub last_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub buy_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub sell_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub volume: Quantity,
    #[serde(default, with = "json::price")]
    pub average_price: Price,
    #[serde(default, with = "json::quantity")]
    pub oi: Quantity,
    #[serde(default, with = "json::quantity")]
    pub oi_day_high: Quantity,
    #[serde(default, with = "json::quantity")]
    pub oi_day_low: Quantity,
    #[serde(default, with = "json::price")]
    pub net_change: Price,
    #[serde(default, with = "json::price")]
    pub lower_circuit_limit: Price,
    #[serde(default, with = "json::price")]
    pub upper_circuit_limit: Price,
    pub ohlc: Ohlc,
    /// Five levels; absent for an index.
    #[serde(default)]
    pub depth: Option<QuoteDepth>,
}

/// Five levels of the book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteDepth {
    /// Bids, best first.
    #[serde(default)]
    pub buy: Vec<QuoteLevel>,
    /// Offers, best first.
    #[serde(default)]
    pub sell: Vec<QuoteLevel>,
}

/// One level of the book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteLevel {
    /// At what price.
    #[serde(with = "json::price")]
    pub price: Price,
    /// How many in all.
    #[serde(with = "json::quantity")]
    pub quantity: Quantity,
    /// In how many orders.
    #[serde(default)]
    pub orders: u32,
}

impl Ltp {
    /// The wire's form of a quote.
    #[must_use]
    pub const fn from_quote(quote: &Quote) -> Self {
        Self { instrument_token: quote.token, last_price: quote.last_price }
    }

    /// The quote in our words.
    #[must_use]
    pub const fn to_quote(&self) -> Quote {
        bare(self.instrument_token, self.last_price)
    }
}

impl OhlcQuote {
    /// The wire's form of a quote.
    #[must_use]
    pub fn from_quote(quote: &Quote) -> Self {
        Self {
            instrument_token: quote.token,
            last_price: quote.last_price,
            ohlc: quote.ohlc.unwrap_or_default().into(),
        }
    }

    /// The quote in our words.
    #[must_use]
    pub fn to_quote(&self) -> Quote {
        Quote { ohlc: Some((&self.ohlc).into()), ..bare(self.instrument_token, self.last_price) }
    }
}

impl FullQuote {
    /// The wire's form of a quote. The net change is last price less close, the circuit limits 10 percent around it.
    #[must_use]
    pub fn from_quote(quote: &Quote, last_trade_time: Option<Timestamp>) -> Self {
        let ohlc = quote.ohlc.unwrap_or_default();
        let interest = quote.open_interest.unwrap_or_default();
        let trades = quote.trades;
        let quantity = |of: fn(TradeStats) -> Quantity| trades.map(of).unwrap_or_default();
        let levels = |levels: [Level; 5]| levels.iter().map(QuoteLevel::from).collect();
        Self {
            instrument_token: quote.token,
            timestamp: quote.exchange_time,
            last_trade_time,
            last_price: quote.last_price,
            last_quantity: quantity(|trades| trades.last_quantity),
            buy_quantity: quantity(|trades| trades.buy_quantity),
            sell_quantity: quantity(|trades| trades.sell_quantity),
            volume: quantity(|trades| trades.volume),
            average_price: trades.map(|trades| trades.average_price).unwrap_or_default(),
            oi: interest.now,
            oi_day_high: interest.day_high,
            oi_day_low: interest.day_low,
            net_change: quote.last_price - ohlc.close,
            lower_circuit_limit: ohlc.close.basis_points(9_000),
            upper_circuit_limit: ohlc.close.basis_points(11_000),
            ohlc: ohlc.into(),
            depth: quote.depth.map(|depth| QuoteDepth { buy: levels(depth.buy), sell: levels(depth.sell) }),
        }
    }

    /// The quote in our words. Without a book there are no trades either: an index.
    #[must_use]
    pub fn to_quote(&self) -> Quote {
        let traded = self.depth.is_some();
        Quote {
            ohlc: Some((&self.ohlc).into()),
            trades: traded.then_some(TradeStats {
                last_quantity: self.last_quantity,
                average_price: self.average_price,
                volume: self.volume,
                buy_quantity: self.buy_quantity,
                sell_quantity: self.sell_quantity,
            }),
            open_interest: traded.then_some(OpenInterest {
                now: self.oi,
                day_high: self.oi_day_high,
                day_low: self.oi_day_low,
            }),
            depth: self.depth.as_ref().map(|depth| Depth { buy: five(&depth.buy), sell: five(&depth.sell) }),
            exchange_time: self.timestamp,
            ..bare(self.instrument_token, self.last_price)
        }
    }
}

impl From<crate::Ohlc> for Ohlc {
    fn from(ohlc: crate::Ohlc) -> Self {
        Self { open: ohlc.open, high: ohlc.high, low: ohlc.low, close: ohlc.close }
    }
}

impl From<&Ohlc> for crate::Ohlc {
    fn from(ohlc: &Ohlc) -> Self {
        Self { open: ohlc.open, high: ohlc.high, low: ohlc.low, close: ohlc.close }
    }
}

impl From<&Level> for QuoteLevel {
    fn from(level: &Level) -> Self {
        Self { price: level.price, quantity: level.quantity, orders: level.orders }
    }
}

const fn bare(token: BrokerToken, last_price: Price) -> Quote {
    Quote { token, last_price, ohlc: None, trades: None, open_interest: None, depth: None, exchange_time: None }
}

/// The best five; missing levels are zeros.
fn five(levels: &[QuoteLevel]) -> [Level; 5] {
    let mut five = [Level::default(); 5];
    for (to, from) in five.iter_mut().zip(levels) {
        *to = Level { price: from.price, quantity: from.quantity, orders: from.orders };
    }
    five
}
