//! What a broker declares about itself. The engine reads these values and assumes nothing else about any broker.

use std::time::Duration;

use chrono::NaiveTime;

use crate::TagRule;

/// A way to get a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renewal {
    /// A refresh token buys a new access token without a human. One-use or rotating: a lost reply is unknown.
    RefreshGrant,
    /// A human opens a link and logs in; a one-use code comes back.
    Login,
    /// Asked for by API, granted on the phone, delivered by webhook.
    Approval,
    /// Another process writes the token into the store.
    External,
}

/// When a token dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// So long after it was issued.
    Ttl(Duration),
    /// Every day at a time, IST. A token is suspect from `suspect_from`, certainly dead at `dead_by`, and a new one
    /// should be made from `mint_after` on so that it survives the broker's own flush.
    Cutoff {
        /// From here on a refusal may already be the flush.
        suspect_from: NaiveTime,
        /// From here on a token issued before is dead.
        dead_by: NaiveTime,
        /// A login from here on lasts the day.
        mint_after: NaiveTime,
    },
}

/// What a new login does to the token before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sessions {
    /// Both live.
    Coexist,
    /// The new one kills the old one. Also to be declared where nobody knows.
    Replace,
}

/// At most `count` in any window of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl RateLimit {
    /// `count` in any window of so many seconds.
    #[must_use]
    pub const fn new(count: u32, seconds: u64) -> Self {
        Self { count, per: Duration::from_secs(seconds) }
    }
}

/// A time of day, of constants that are one.
pub(crate) const fn at(hour: u32, minute: u32) -> NaiveTime {
    match NaiveTime::from_hms_opt(hour, minute, 0) {
        Some(time) => time,
        None => NaiveTime::MIN,
    }
}

/// How much a broker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Place, modify and cancel together.
    pub orders: &'static [RateLimit],
    /// Whether reads count against `orders` too: one budget for all of an app's requests.
    pub reads_share: bool,
    /// Quote calls.
    pub quotes: RateLimit,
    /// Instruments in a call for full quotes.
    pub quote_instruments: u32,
    /// Historical calls.
    pub historical: RateLimit,
    /// Everything else.
    pub other: RateLimit,
    /// Modifications of one order.
    pub modifications_per_order: u32,
    /// The feed.
    pub feed: FeedLimits,
}

/// How much a broker's feed takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedLimits {
    /// Sockets at once.
    pub connections: u32,
    /// Instruments on a socket.
    pub instruments: u32,
    /// The longest an open socket is silent when all is well: the broker's own heartbeat, with room for jitter.
    pub heartbeat: Duration,
}

/// A broker's facts, as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerFacts {
    /// Its name in configuration and output: `kite`.
    pub name: &'static str,
    /// The ways to a new token, the most automatic first.
    pub renewal: &'static [Renewal],
    /// When a token dies.
    pub expiry: Expiry,
    /// What a second login does.
    pub sessions: Sessions,
    /// How much it takes.
    pub limits: Limits,
    /// What an order's tag may look like.
    pub tag: TagRule,
    /// How long an accepted order may be missing from the order book.
    pub propagation: Duration,
}
