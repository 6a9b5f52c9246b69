//! What is traded: exchanges, symbols, lots and ticks.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use smol_str::SmolStr;

use crate::{Price, Quantity};

/// An exchange segment as brokers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exchange {
    /// National Stock Exchange, cash (and its indices).
    Nse,
    /// Bombay Stock Exchange, cash (and its indices).
    Bse,
    /// NSE futures and options.
    Nfo,
    /// BSE futures and options.
    Bfo,
    /// NSE currency derivatives.
    Cds,
    /// BSE currency derivatives.
    Bcd,
    /// Multi Commodity Exchange.
    Mcx,
    /// NSE commodities.
    Nco,
}

impl Exchange {
    /// Every exchange, in order.
    pub const ALL: [Self; 8] = [Self::Nse, Self::Bse, Self::Nfo, Self::Bfo, Self::Cds, Self::Bcd, Self::Mcx, Self::Nco];

    /// The name on the wire: `NSE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nse => "NSE",
            Self::Bse => "BSE",
            Self::Nfo => "NFO",
            Self::Bfo => "BFO",
            Self::Cds => "CDS",
            Self::Bcd => "BCD",
            Self::Mcx => "MCX",
            Self::Nco => "NCO",
        }
    }

    /// Whether it is a cash market, where shares are delivered.
    #[must_use]
    pub const fn is_cash(self) -> bool {
        matches!(self, Self::Nse | Self::Bse)
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Exchange {
    type Err = ParseInstrumentError;

    fn from_str(text: &str) -> Result<Self, ParseInstrumentError> {
        Self::ALL
            .into_iter()
            .find(|exchange| exchange.as_str() == text)
            .ok_or_else(|| ParseInstrumentError::Exchange(text.chars().take(40).collect()))
    }
}

/// The name of an instrument that stays the same from day to day: broker tokens are reused after expiry, this is not.
/// Written `NSE:RELIANCE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentKey {
    /// Where it trades.
    pub exchange: Exchange,
    /// The exchange's trading symbol: `RELIANCE`, `NIFTY 50`, `NIFTY26NOVFUT`. Names go wherever orders and ticks go, so
    /// they are short texts that are copied without asking for memory.
    pub symbol: SmolStr,
}

impl InstrumentKey {
    /// The instrument of that symbol on that exchange.
    #[must_use]
    pub fn new(exchange: Exchange, symbol: impl Into<SmolStr>) -> Self {
        Self { exchange, symbol: symbol.into() }
    }
}

impl fmt::Display for InstrumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.exchange, self.symbol)
    }
}

/// Why a text names no instrument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInstrumentError {
    /// The exchange is not one we know.
    #[error("`{0}` is not an exchange: expected one of NSE, BSE, NFO, BFO, CDS, BCD, MCX, NCO")]
    Exchange(String),
    /// There is no `EXCHANGE:SYMBOL`.
    #[error("`{0}` is not an instrument: expected EXCHANGE:SYMBOL, like NSE:RELIANCE")]
    Shape(String),
}

impl FromStr for InstrumentKey {
    type Err = ParseInstrumentError;

    fn from_str(text: &str) -> Result<Self, ParseInstrumentError> {
        match text.split_once(':') {
            Some((exchange, symbol)) if !symbol.is_empty() => Ok(Self::new(exchange.parse()?, symbol)),
            _ => Err(ParseInstrumentError::Shape(text.chars().take(40).collect())),
        }
    }
}

/// A broker's own number for an instrument in its feed. Valid for the day of the dump it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerToken(pub u32);

impl fmt::Display for BrokerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What kind of thing an instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstrumentKind {
    /// A share, ETF or bond.
    Equity,
    /// An index: has a price, cannot be traded.
    Index,
    /// A future.
    Future,
    /// A call option.
    Call,
    /// A put option.
    Put,
}

/// One row of a broker's daily instrument dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its lasting name.
    pub key: InstrumentKey,
    /// The broker's number for it today.
    pub token: BrokerToken,
    /// The exchange's own number.
    pub exchange_token: u32,
    /// The issuer's or index' name in words.
    pub name: String,
    /// What it is.
    pub kind: InstrumentKind,
    /// The broker's segment name: `NSE`, `INDICES`, `NFO-FUT`.
    pub segment: String,
    /// Quantity is a multiple of this.
    pub lot: Quantity,
    /// Prices are multiples of this. Zero for an index.
    pub tick: Price,
    /// Last trading day of a derivative.
    pub expiry: Option<NaiveDate>,
    /// Strike of an option, else zero.
    pub strike: Price,
}
