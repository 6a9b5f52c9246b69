//! The token in use, where it is kept, and the last step before the socket.
//!
//! * [`TokenCell`]: one atomic load yields token, state, venue and generation together.
//! * [`Gate`]: the last step before the socket; nothing passes under a token or a venue that has changed (rule 4).
//! * [`store`]: the files tokens are kept in, changed without a trace on what is not ours.
//! * [`Watcher`]: tells when somebody else changed a store.
//! * [`FileLock`] and [`single_flight`]: one renewal at a time on a machine (rule 2).

mod cell;
pub mod gate;
#[cfg(test)]
mod gate_tests;
mod lock;
mod single_flight;
pub mod store;
mod sync;
mod watcher;

use crate::session::Generation;
use nirantar_brokers::{Fingerprint, Venue};
use store::Stored;

pub use cell::{BadToken, Cached, LiveToken, Snapshot, TokenCell};
pub use gate::Stale;
pub use lock::{FileLock, Held};
pub use single_flight::{Flight, RenewalLock, single_flight};
pub use watcher::{Sighting, Watcher, WatcherHandle, Writer};

/// The gate over the account's [`TokenCell`].
pub type Gate = gate::Gate<TokenCell>;

/// Leave to send one order; see [`Gate`].
pub type Pass = gate::Pass<TokenCell>;
