//! The token in use, where it is kept, and the last step before the socket.
//!
//! * [`TokenCell`]: one atomic load yields token, state, venue and generation together.
//! * [`Gate`]: the last step before the socket; nothing passes under a token or a venue that has changed (rule 4).

mod cell;
mod gate;
#[cfg(test)]
mod gate_tests;
mod sync;

use crate::session::Generation;
use nirantar_brokers::Venue;

pub use cell::{BadToken, Cached, LiveToken, Snapshot, TokenCell};
pub use gate::{Published, Stale};

/// The gate over the account's [`TokenCell`].
pub type Gate = gate::Gate<TokenCell>;

/// Leave to send one order; see [`Gate`].
pub type Pass = gate::Pass<TokenCell>;
