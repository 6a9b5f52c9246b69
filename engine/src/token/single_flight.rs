//! One renewal at a time (rule 2).
//!
//! Whatever asks for a renewal, in how many threads and processes: whoever holds the lock reads the store once more,
//! and if a token is there that nobody here has seen yet, takes it as a candidate instead of renewing. The lock is held
//! from before that read until the renewed token is in the store.
//!
//! Promise: of any number of callers that saw the same token, at most one is told to renew before the store changes.
//! `tests/tests/rule_2_loom.rs` compiles this very file and tries every interleaving.

use std::collections::BTreeSet;

use super::{Fingerprint, Stored};

/// A lock held through a renewal.
pub trait RenewalLock {
    /// Holds the lock until it is dropped.
    type Held;
    /// Why the lock cannot be taken at all.
    type Error;

    /// Takes the lock, or `None` if somebody else has it and this kind of lock does not wait.
    ///
    /// # Errors
    /// The lock does not work; a renewal without it would break rule 2.
    fn acquire(&self) -> Result<Option<Self::Held>, Self::Error>;
}

/// What to do about a token that should be renewed.
#[derive(Debug)]
#[must_use]
#[allow(clippy::large_enum_variant, reason = "one is made a renewal, and never kept")]
pub enum Flight<H> {
    /// Renew, write the new token to the store, and only then drop the lock.
    Renew(H),
    /// Somebody did it already: the store holds this token, which is a candidate.
    Take(Stored),
    /// Somebody is at it. Ask again in a while; their token, or the lock, will be there.
    Busy,
}

/// Decides who renews. `seen` are the tokens that are no news to the caller: the one to be renewed, and those a probe
/// refused.
///
/// # Errors
/// The lock cannot be taken, or the store cannot be read: then nothing may be renewed, since the result could not be
/// kept either.
pub fn single_flight<L, E>(
    lock: &L,
    read_store: impl FnOnce() -> Result<Stored, E>,
    seen: &BTreeSet<Fingerprint>,
) -> Result<Flight<L::Held>, E>
where
    L: RenewalLock,
    E: From<L::Error>,
{
    let Some(held) = lock.acquire()? else {
        return Ok(Flight::Busy);
    };
    let stored = read_store()?;
    match &stored.access_token {
        Some(token) if !seen.contains(&token.fingerprint()) => Ok(Flight::Take(stored)),
        _ => Ok(Flight::Renew(held)),
    }
}
