//! The names of the session's states, and the number of a token.

use std::fmt;

/// What a session is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The token is alive.
    Valid,
    /// Alive, and due for renewal.
    Expiring,
    /// Alive, and an automatic renewal is in flight.
    Refreshing,
    /// Dead or none; a renewal in flight may still win.
    Expired,
    /// No live session: orders go to paper, until recovery is complete.
    Fallback,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Valid, Self::Expiring, Self::Refreshing, Self::Expired, Self::Fallback];

    /// Whether the token is alive and trusted.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Valid | Self::Expiring | Self::Refreshing)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "Valid",
            Self::Expiring => "Expiring",
            Self::Refreshing => "Refreshing",
            Self::Expired => "Expired",
            Self::Fallback => "Fallback",
        })
    }
}

/// The number of a token in use, counted from 1 as tokens replace each other. Every answer is stamped with the
/// generation its request went out under, so that an old token's refusal cannot kill a new one. 0: none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {}", self.0)
    }
}
