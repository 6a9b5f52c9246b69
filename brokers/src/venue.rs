//! Where orders go.

use std::fmt;

/// Where orders go at this moment. A value, not a mode: it is read together with the token it holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Venue {
    /// To the broker.
    Live,
    /// To the paper exchange, marked as paper.
    Paper,
    /// Nowhere, for that reason.
    Blocked(Block),
}

/// Why orders go nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Block {
    /// The journal has not been replayed yet.
    Starting,
    /// The session is in doubt or a renewal is in flight: orders wait, for a bounded time.
    Holding,
    /// Live orders and positions are being compared with the broker's.
    Reconciling,
    /// The broker refuses for a reason that a new token does not mend: a wrong IP, a missing plan.
    Misconfigured,
    /// The broker cannot be reached or answers nonsense.
    Outage,
    /// By the operator's word, or by the policy that refuses orders when there is no session.
    Halted,
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Paper => f.write_str("paper"),
            Self::Blocked(block) => write!(f, "blocked ({block})"),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Holding => "holding",
            Self::Reconciling => "reconciling",
            Self::Misconfigured => "misconfigured",
            Self::Outage => "outage",
            Self::Halted => "halted",
        })
    }
}

/// Which of the two books an order, a fill or a position belongs to. They never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Book {
    /// Real money at the broker.
    Live,
    /// The paper exchange.
    Paper,
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Paper => "paper",
        })
    }
}
