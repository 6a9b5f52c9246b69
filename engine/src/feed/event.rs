//! What the feed's supervisor is told and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerToken, Failure, FeedEvent, Mode};

use crate::session::Generation;

/// The number of a socket, counted from 1. Never used twice, so a late word of an old socket is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}", self.0)
    }
}

/// Why the feed is closed from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The token is dead.
    TokenDead,
    /// The engine stops.
    Shutdown,
}

/// What a probe found out about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The broker accepts it.
    Alive,
    /// The broker refuses it.
    Dead,
    /// Nobody knows.
    Inconclusive,
}

/// What the supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The token of this generation is alive: the feed is wanted under it. An older one than before is ignored.
    Open {
        /// Of which token.
        generation: Generation,
    },
    /// The feed is not wanted.
    Close {
        /// Why.
        why: CloseReason,
    },
    /// These instruments are wanted in these modes, beside those wanted already.
    Subscribe(BTreeMap<BrokerToken, Mode>),
    /// These instruments are wanted no more.
    Unsubscribe(BTreeSet<BrokerToken>),
    /// The handshake succeeded.
    Connected {
        /// Whose.
        socket: SocketId,
    },
    /// The server answered the handshake with a refusal.
    Refused {
        /// Whose.
        socket: SocketId,
        /// What it means, by the broker's own table.
        failure: Failure,
    },
    /// No connection could be made, or it was cut.
    Lost {
        /// Whose.
        socket: SocketId,
        /// In words, without secrets.
        why: String,
    },
    /// A socket that was to be disconnected is closed: its slot at the broker is free again.
    Closed {
        /// Which.
        socket: SocketId,
    },
    /// Something arrived: ticks, words, or a mere sign of life.
    Frame {
        /// On which socket.
        socket: SocketId,
        /// How many ticks were in it; 0 for a heartbeat.
        ticks: usize,
    },
    /// What a probe found out.
    Probed {
        /// About which token.
        generation: Generation,
        /// What.
        verdict: Verdict,
    },
    /// Whether ticks should arrive in this phase of the market.
    Market {
        /// Are they expected?
        expected: bool,
    },
    /// Whether signs of life should arrive at all: outside, a quiet socket is no dead one.
    Life {
        /// Are they expected?
        expected: bool,
    },
    /// Time has passed: [`next_wake`](super::Supervisor::next_wake) is due.
    Wake,
}

/// What the supervisor wants done, or has to say. In order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a socket under the token of that generation, and answer `Connected`, `Refused` or `Lost`.
    Connect {
        /// Under which number.
        socket: SocketId,
        /// With which token.
        generation: Generation,
    },
    /// Close that socket, and answer `Closed`. Nothing else of it is listened to any more.
    Disconnect {
        /// Which.
        socket: SocketId,
    },
    /// Ask the server for these instruments.
    Subscribe {
        /// On which socket.
        socket: SocketId,
        /// Which, in order.
        instruments: Vec<BrokerToken>,
        /// How much of them.
        mode: Mode,
    },
    /// Ask the server for these instruments no more.
    Unsubscribe {
        /// On which socket.
        socket: SocketId,
        /// Which, in order.
        instruments: Vec<BrokerToken>,
    },
    /// These instruments fit on no connection, and no tick will come for them. Said when it changes.
    LeftOut {
        /// Which, in order.
        instruments: Vec<BrokerToken>,
    },
    /// Ask the session for one probe of that token.
    Probe {
        /// Of which token.
        generation: Generation,
    },
    /// A gap has begun (`to` is `None`) or ended. At most one is open at a time, and they never overlap.
    Gap(Gap),
    /// The feed's status has changed.
    Status(FeedStatus),
    /// A connection attempt failed or a socket was lost, for no reason of the token's.
    Failed {
        /// How many times in a row.
        failures: u32,
        /// When the next attempt follows.
        retry_in: Duration,
        /// In words.
        why: String,
    },
    /// For the operator, once: the token lives and the feed refuses it all the same. No renewal will help.
    FeedRefused(HandshakeRefusal),
}

/// A refused handshake under a living token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeRefusal {
    /// Of which token.
    pub generation: Generation,
    /// What the server said.
    pub failure: Failure,
}

/// What a tick is that arrived on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admission {
    /// News: to be handed on.
    Tick,
    /// A state that was known already, said again by a new socket: to be handed on as a snapshot, if at all.
    Snapshot,
    /// The instrument takes another socket, or this is older than what was handed on.
    Drop,
}

/// Why ticks may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// The socket was changed for one under a newer token.
    TokenSwap,
    /// The token died.
    TokenDead,
    /// The connection was cut.
    Network,
    /// The socket was open and not even heartbeats came.
    Mute,
    /// Heartbeats came, and no ticks when they should have.
    Silent,
    /// The engine stopped.
    Shutdown,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenSwap => "token swap",
            Self::TokenDead => "token dead",
            Self::Network => "connection lost",
            Self::Mute => "socket mute",
            Self::Silent => "no ticks",
            Self::Shutdown => "shut down",
        })
    }
}

/// A span in which ticks may have been missed, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last moment up to which everything is known to have arrived.
    pub from: Timestamp,
    /// The first moment of delivery after it; `None` while it is open. Never before `from`.
    pub to: Option<Timestamp>,
    /// What began it.
    pub why: GapReason,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => write!(f, "gap from {} to {} IST ({})", self.from, to, self.why),
            None => write!(f, "gap since {} IST ({})", self.from, self.why),
        }
    }
}

/// What the feed claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeedStatus {
    /// Not wanted, or the token is dead.
    Closed,
    /// On its way: connecting, waiting to connect, or connected and not yet delivering.
    Connecting,
    /// Delivering.
    Live {
        /// Under which token.
        generation: Generation,
    },
    /// The socket lives and ticks that should come do not.
    Silent,
    /// The handshake is refused though the token is not known to be dead. Tried again slowly.
    Refused,
}

impl fmt::Display for FeedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Connecting => f.write_str("connecting"),
            Self::Live { generation } => write!(f, "live under {generation}"),
            Self::Silent => f.write_str("silent"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

/// How many ticks a decoded frame holds, as [`Input::Frame`] asks.
#[must_use]
pub fn count_ticks(events: &[FeedEvent]) -> usize {
    events.iter().filter(|event| matches!(event, FeedEvent::Tick(_))).count()
}
