//! Time: until when the machine has nothing to do, when it must be woken, and whether the wall clock stepped.

use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};

use super::memory::Session;
use super::{Notice, State};

/// Wall-clock deadlines are looked at again at least this often, since the wall clock may step.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The wall clock stepped if the two clocks differ by so many seconds more than when they were looked at last.
const STEP_S: u64 = 2;

/// What the machine waits for. Nearly every wake-up is for the clocks' sake alone, so what is due next is kept for each
/// clock: a machine that is woken before any of it need not look at anything else.
///
/// Promises: a wake-up at which it [goes on](Self::goes_on) would change nothing and bring no effect
/// (`rule_8_a_machine_that_rests_has_nothing_to_do` in `tests/tests/rules.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rest {
    /// When the machine was called last.
    last: Now,
    /// What is due next by each clock.
    mono: Monotonic,
    wall: Timestamp,
    /// Something is past and still waited for: no time says when it will be done, so that every wake-up looks.
    restless: bool,
    /// The earlier of both, as the clocks go now.
    due: Monotonic,
}

impl Rest {
    /// What a session waits for that was called at `now`: what was due then has been done.
    pub(super) fn after(session: &Session, now: Now) -> Self {
        let (mono, wall) = (Monotonic::from_nanos(u64::MAX), Timestamp::from_nanos(i64::MAX));
        let mut rest = Self { last: now, mono, wall, restless: false, due: mono };
        session.waits_for(&mut rest);
        rest.due = rest.mono.min(now.mono_at(rest.wall));
        rest
    }

    /// Whether the machine, woken at `now`, has nothing to do. Then it rests on.
    #[inline]
    pub(super) fn goes_on(&mut self, now: Now) -> bool {
        let ahead = |now: Now| now.wall.as_nanos().wrapping_sub(now.mono.as_nanos() as i64);
        let rests = if ahead(now) == ahead(self.last) {
            now.mono < self.due && !self.restless
        } else {
            self.rests_in_drift(now)
        };
        if rests {
            self.last = now;
        }
        rests
    }

    /// The same where the clocks have drifted apart: each has its own say. If the wall clock went back, what was over may be
    /// to come.
    fn rests_in_drift(&mut self, now: Now) -> bool {
        let due = now.mono >= self.mono || now.wall >= self.wall;
        let rests = !due && !self.restless && now.wall >= self.last.wall && self.stepped(now).is_none();
        if rests {
            self.due = self.mono.min(now.mono_at(self.wall));
        }
        rests
    }

    /// When the machine must be woken at the latest.
    #[inline]
    pub(super) fn next_wake(&self) -> Monotonic {
        (self.last.mono + LOOK_AGAIN).min(self.due)
    }

    /// That the wall clock stepped since the machine was called last, if it did.
    pub(super) fn stepped(&self, now: Now) -> Option<Notice> {
        let passed = i128::from(now.mono.as_nanos()) - i128::from(self.last.mono.as_nanos());
        let shown = i128::from(now.wall.as_nanos()) - i128::from(self.last.wall.as_nanos());
        let seconds = i64::try_from((shown - passed) / 1_000_000_000).unwrap_or(i64::MAX);
        (seconds.unsigned_abs() >= STEP_S).then_some(Notice::ClockStepped { seconds })
    }

    /// Something is due then.
    fn at(&mut self, at: impl Into<Option<Monotonic>>) {
        let Some(at) = at.into() else { return };
        if at > self.last.mono { self.mono = self.mono.min(at) } else { self.restless = true }
    }

    /// The same by the wall clock.
    fn at_wall(&mut self, at: impl Into<Option<Timestamp>>) {
        let Some(at) = at.into() else { return };
        if at > self.last.wall { self.wall = self.wall.min(at) } else { self.restless = true }
    }
}

impl Session {
    /// All that time alone may bring.
    fn waits_for(&self, rest: &mut Rest) {
        let (now, policy) = (rest.last, &self.policy);
        rest.at(self.proving.next_wake(self.incumbent_wish(now), policy));
        rest.at(self.attempt.map(|attempt| attempt.deadline));
        rest.at(self.hold_until);
        rest.at(self.comparison.map(|comparison| comparison.at));
        rest.at(self.failback.next_wake());
        rest.at(self.doubt.map(|doubt| doubt.waited_out_at(policy)));
        rest.at_wall(self.ask_at);
        rest.at_wall(policy.next_scheduled(now.wall));
        rest.at_wall(self.grant_wake());
        rest.at_wall(self.commands.forgotten_at());
        if let Some(held) = self.token.filter(|_| self.has_living_token()) {
            rest.at_wall(held.expires);
            rest.at_wall(held.recheck_at);
            if self.state == State::Valid && held.renew_by_margin {
                rest.at_wall(policy.needed_from(policy.renew_from(held.expires).max(now.wall)));
            }
        }
        if self.state == State::Valid {
            // A scheduled renewal that would gain nothing yet may gain something later.
            rest.restless |= self.scheduled(now.wall).is_some();
        } else if self.usable_way().is_some() && self.attempt.is_none() {
            match self.attempt_needed_from(now.wall) {
                // Both are waited for: the later one, as the clocks go now.
                Some(from) if now.mono_at(from) > self.retry_at => rest.at_wall(from),
                _ => rest.at(self.retry_at),
            }
        }
    }
}
