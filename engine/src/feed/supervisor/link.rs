//! One connection as the core sees it: being made, open, on its way out, or being closed.

use std::collections::BTreeMap;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{BrokerToken, Mode};

use crate::feed::watchdog::Pace;
use crate::session::Generation;

/// A connection that takes up one of the broker's slots.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    /// Which lane's instruments it carries; `None` once that lane is gone and it only hands over.
    pub(super) lane: Option<usize>,
    /// The token it was opened under.
    pub(super) generation: Generation,
    pub(super) state: LinkState,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum LinkState {
    /// An attempt is under way.
    Connecting {
        since: Monotonic,
    },
    Open(Open),
    /// Closed by us; until the driver says so, or until then, the broker may still count it.
    Closing {
        until: Monotonic,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    pub(super) since: Monotonic,
    /// The last sign of life.
    pub(super) last_frame: Now,
    /// Since when there has been no tick, though there should have been.
    pub(super) quiet_since: Now,
    /// Whether the feed has delivered on this socket.
    pub(super) delivering: bool,
    pub(super) silent: bool,
    /// How steadily ticks have come on it.
    pub(super) pace: Pace,
    /// What the server was asked for on this socket.
    pub(super) actual: BTreeMap<BrokerToken, Mode>,
    /// Another socket takes its place.
    pub(super) retiring: Option<Retiring>,
}

/// A socket on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retiring {
    /// How many instruments still take their ticks from it.
    pub(super) left: usize,
    /// When it is closed whatever is left; `None` before its successor has delivered.
    pub(super) until: Option<Monotonic>,
    /// The successor showed that something was missed on it after this moment.
    pub(super) torn: Option<Timestamp>,
}

impl Link {
    pub(super) const fn connecting(lane: usize, generation: Generation, since: Monotonic) -> Self {
        Self { lane: Some(lane), generation, state: LinkState::Connecting { since } }
    }

    pub(super) const fn is_connecting(&self) -> bool {
        matches!(self.state, LinkState::Connecting { .. })
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.state, LinkState::Closing { .. })
    }

    pub(super) const fn open(&self) -> Option<&Open> {
        if let LinkState::Open(open) = &self.state { Some(open) } else { None }
    }

    pub(super) const fn open_mut(&mut self) -> Option<&mut Open> {
        if let LinkState::Open(open) = &mut self.state { Some(open) } else { None }
    }

    pub(super) fn retiring(&self) -> Option<Retiring> {
        self.open()?.retiring
    }

    /// Whether ticks come on it.
    pub(super) fn delivers(&self) -> bool {
        self.open().is_some_and(|open| open.delivering && !open.silent)
    }
}

impl Open {
    pub(super) fn new(now: Now) -> Self {
        Self {
            since: now.mono,
            last_frame: now,
            quiet_since: now,
            delivering: false,
            silent: false,
            pace: Pace::default(),
            actual: BTreeMap::new(),
            retiring: None,
        }
    }
}
