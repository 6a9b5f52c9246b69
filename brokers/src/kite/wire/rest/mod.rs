//! The data inside REST envelopes, one struct for each wire shape, and the way between each and the vocabulary.
//!
//! A shape holds every field the official SDKs look for, so that the server can send it whole, and insists on reading
//! only those that mean something to us, since Kite leaves fields out of older rows.

mod account;
mod candle;
mod order;
mod placed;
mod portfolio;
mod quote;

pub use account::{Available, Margins, Meta, Profile, Renewed, Segment, Session, Utilised, checksum};
pub use candle::{Candles, print_candle_time};
pub use order::{Order, OrderExtras};
pub use placed::{Child, ChildError, Placed};
pub use portfolio::{Holding, Position, Positions, Trade};
pub use quote::{FullQuote, Ltp, Ohlc, OhlcQuote, QuoteDepth, QuoteLevel};

/// Why a row says nothing in our vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// It is of something this engine does not trade (a cover order, margin trading, an unknown exchange), so it cannot
    /// be an order of ours. Lists leave it out.
    #[error("{field} `{word}` is not traded here")]
    Foreign {
        /// Which field says so.
        field: &'static str,
        /// What it says, shortened.
        word: String,
    },
    /// A field that must be there says nothing.
    #[error("{field} cannot be read")]
    Unreadable {
        /// Which.
        field: &'static str,
    },
}

impl BadRow {
    fn foreign(field: &'static str, word: &str) -> Self {
        Self::Foreign { field, word: word.chars().take(40).collect() }
    }
}

/// The instrument a row names.
fn instrument(exchange: &str, symbol: &str) -> Result<crate::InstrumentKey, BadRow> {
    if symbol.is_empty() {
        return Err(BadRow::Unreadable { field: "tradingsymbol" });
    }
    let exchange = exchange.parse().map_err(|_| BadRow::foreign("exchange", exchange))?;
    Ok(crate::InstrumentKey::new(exchange, symbol))
}

fn product(word: &str) -> Result<crate::Product, BadRow> {
    super::words::parse_product(word).ok_or_else(|| BadRow::foreign("product", word))
}

fn side(word: &str) -> Result<crate::Side, BadRow> {
    super::words::parse_side(word).ok_or(BadRow::Unreadable { field: "transaction_type" })
}

#[cfg(test)]
mod tests;
