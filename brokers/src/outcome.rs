//! What an answer means, said once for every broker.

use std::fmt;
use std::time::Duration;

/// What a call is for. An answer means different things at different endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// Exchange of a one-use code, renewal, logout.
    Session,
    /// The probe: whose token is this?
    Profile,
    /// Place an order.
    Place,
    /// Change an order.
    Modify,
    /// Cancel an order.
    Cancel,
    /// The day's orders.
    OrderBook,
    /// One order's states.
    OrderHistory,
    /// The day's trades.
    Trades,
    /// Positions.
    Positions,
    /// Holdings.
    Holdings,
    /// Funds.
    Margins,
    /// Quotes.
    Quote,
    /// The daily dump.
    Instruments,
    /// Candles.
    Historical,
    /// The feed's handshake.
    Feed,
}

impl Endpoint {
    /// Whether a request to it may change an order: its lost reply is an unknown, not a retry.
    #[must_use]
    pub const fn changes_orders(self) -> bool {
        matches!(self, Self::Place | Self::Modify | Self::Cancel)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "session",
            Self::Profile => "profile",
            Self::Place => "place order",
            Self::Modify => "modify order",
            Self::Cancel => "cancel order",
            Self::OrderBook => "order book",
            Self::OrderHistory => "order history",
            Self::Trades => "trades",
            Self::Positions => "positions",
            Self::Holdings => "holdings",
            Self::Margins => "margins",
            Self::Quote => "quote",
            Self::Instruments => "instruments",
            Self::Historical => "historical",
            Self::Feed => "feed",
        })
    }
}

/// How surely a refusal means that the token is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The broker says so in words that mean nothing else.
    Conclusive,
    /// It may mean that, or something else: ask with a probe.
    Suspect,
}

/// Why a call brought no answer of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Refused for the token's sake before the request was acted on. An order may be sent once more under a new token.
    Refused(Refusal),
    /// Too many requests; not acted on. May be sent again after the wait, if it is still wanted.
    Throttled {
        /// How long the broker asks to wait, where it says.
        retry_after: Option<Duration>,
    },
    /// A final no to this very request: a rule broken, no money. Sent unchanged it will be refused again.
    Rejected,
    /// Refused for a reason no token mends: a wrong IP, a missing plan. Not acted on.
    Misconfigured,
    /// No byte left this machine (no connection). Not acted on.
    NotSent,
    /// All else: a lost reply, a 5xx, an answer that makes no sense. A read may be repeated; an order may exist and is
    /// looked for by its tag, never sent again on a guess.
    Unknown,
}

impl Cause {
    /// Whether the broker surely did not act on the request.
    #[must_use]
    pub const fn surely_not_acted(self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

/// A call that brought no answer of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint}: {message}")]
pub struct Failure {
    /// What it means, and so what the caller may do.
    pub cause: Cause,
    /// What was asked.
    pub endpoint: Endpoint,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The broker's words, or ours where it had none. Free of secrets once it has left the driver.
    pub message: String,
}

impl Failure {
    /// A failure with no HTTP answer behind it.
    #[must_use]
    pub fn new(cause: Cause, endpoint: Endpoint, message: impl Into<String>) -> Self {
        Self { cause, endpoint, status: None, message: message.into() }
    }
}

/// An answer, or what the lack of one means.
pub type Outcome<T> = Result<T, Failure>;
