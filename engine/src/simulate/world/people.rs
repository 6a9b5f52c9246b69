//! The human who logs in, whoever else writes the store, and tokens coming into the world.

use std::time::Duration;

use nirantar_brokers::Fingerprint;

use super::super::broker::Owner;
use super::super::checkers::Violation;
use super::super::faults::FaultKind as F;
use super::super::time::Instant;
use super::{Happening, World};
use crate::core::Input;
use crate::session::Source;

/// The watcher compares the store's content this often.
const LOOKS_EVERY_MS: u64 = 2_000;

impl World<'_> {
    /// A token comes into the world.
    pub(super) fn issue(&mut self, owner: Owner, at: Instant) -> Option<Fingerprint> {
        let token = self.broker.issue(owner, at, self.clock)?;
        let issued = self.broker.token(token)?;
        self.checkers.learn_secret(issued.live.token().secret().clone());
        self.checkers.learn_owner(token, owner == Owner::Own);
        self.story.tell(self.clock.right(self.now), "broker", || format!("token {token} is made for {owner:?}"));
        // A process that is told of a token finds it in its vault.
        if let Some(process) = &self.process {
            process.vault.add(issued.live.token(), None);
        }
        if owner == Owner::Own && self.conditions.holds(F::TokenDiesTwice, self.now) {
            self.broker.end(token, self.now + Duration::from_secs(20));
        }
        Some(token)
    }

    /// Somebody shows the process a token.
    pub(super) fn offer(&mut self, token: Fingerprint, source: Source) -> Result<(), Violation> {
        let Some(process) = &self.process else { return Ok(()) };
        let Some(issued) = self.broker.token(token) else { return Ok(()) };
        process.vault.add(issued.live.token(), None);
        self.note_offer(token);
        let candidate = self.broker.candidate(token, source);
        self.tell(Input::Candidate(candidate))
    }

    pub(super) fn note_offer(&mut self, token: Fingerprint) {
        if self.broker.is_good(token, self.now) {
            self.offered = Some((self.now, token));
        }
    }

    /// A human is asked to log in, and will, in a while.
    pub(super) fn call_human(&mut self) {
        if !std::mem::replace(&mut self.login_awaited, true) {
            let takes = Duration::from_secs(20 + self.dice.people.below(900));
            self.queue.put(self.now + takes, Happening::Login);
        }
    }

    /// A human logs in: here, or on another machine, whose token then turns up in the store.
    pub(super) fn login(&mut self) -> Result<(), Violation> {
        self.login_awaited = false;
        self.counts.logins += 1;
        let Some(token) = self.issue(Owner::Own, self.now) else { return Ok(()) };
        if self.dice.people.below(2) == 0 && self.process.is_some() && self.asleep_until.is_none() {
            return self.offer(token, Source::Login);
        }
        self.write_theirs(token);
        Ok(())
    }

    // --- the store ---------------------------------------------------------------------------------------------

    /// Another process writes the store; ours notices when it looks.
    pub(super) fn write_theirs(&mut self, token: Fingerprint) {
        self.store.earlier = self.store.holds.replace(token);
        self.story.tell(self.clock.right(self.now), "store", || format!("somebody writes {token}"));
        let looks = Duration::from_millis(1 + self.dice.people.below(LOOKS_EVERY_MS));
        self.queue.put(self.now + looks, Happening::Looks(self.who));
    }

    /// We write the store, where it can be written. Our own write is no news.
    pub(super) fn write_ours(&mut self, token: Fingerprint) {
        if self.conditions.holds(F::StoreReadOnly, self.now) || self.store.holds == Some(token) {
            return;
        }
        self.store.earlier = self.store.holds.replace(token);
        if let Some(process) = &mut self.process {
            process.seen = Some(token);
        }
        self.story.tell(self.clock.right(self.now), "store", || format!("we write {token}"));
    }

    /// The watcher looks.
    pub(super) fn look_at_store(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        match self.store.holds {
            Some(token) if process.seen != Some(token) => {
                process.seen = Some(token);
                self.offer(token, Source::Store)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn look_at_store_at_start(&mut self) -> Result<(), Violation> {
        let Some(token) = self.store.holds else { return Ok(()) };
        if let Some(process) = &mut self.process {
            process.seen = Some(token);
        }
        self.offer(token, Source::Stored)
    }

    /// A token has come into use: it and the one before it stay in the vault, and it is kept over restarts.
    pub(super) fn keep(&mut self, token: Fingerprint) {
        if let Some(process) = &self.process {
            process.vault.in_use(token);
        }
        self.write_ours(token);
    }

    /// Somebody wrote an old token over the one in use: ours goes back into the store.
    pub(super) fn put_back(&mut self) {
        if let Some(token) = self.process.as_ref().and_then(|process| process.core.standing().token) {
            self.write_ours(token);
        }
    }
}
