//! Time: when the machine must be woken, and whether the wall clock stepped.

use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};

use super::memory::Session;
use super::{Notice, State};

/// Wall-clock deadlines are looked at again at least this often, since the wall clock may step.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Session {
    /// When the machine must be woken at the latest.
    pub(super) fn next_wake(&self, now: Now) -> Monotonic {
        // What was due when the machine was last called has been done; what has come due since has not, even if
        // somebody else was faster than its wake-up.
        let now = self.last.unwrap_or(now);
        let wall_look = now.mono + LOOK_AGAIN;
        let token_dies = self.token.filter(|_| self.has_living_token()).map(|held| now.mono_at(held.expires));
        let margin = self
            .token
            .filter(|held| self.state == State::Valid && held.renew_by_margin)
            .map(|held| now.mono_at(self.policy.needed_from(self.policy.renew_from(held.expires))));
        let retry = (self.usable_way().is_some() && self.attempt.is_none() && self.state != State::Valid)
            .then(|| self.attempt_from(now));
        let doubt_over = self.doubt.map(|doubt| doubt.waited_out_at(&self.policy));
        [
            self.proving.next_wake(self.incumbent_wish(now), &self.policy),
            self.attempt.map(|attempt| attempt.deadline),
            self.hold_until,
            self.comparison.map(|comparison| comparison.at),
            self.failback.next_wake(),
            self.ask_at.map(|at| now.mono_at(at)),
            self.policy.next_scheduled(now.wall).map(|at| now.mono_at(at)),
            self.grant_wake().map(|at| now.mono_at(at)),
            doubt_over,
            token_dies,
            margin,
            retry,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now.mono)
        .fold(wall_look, Ord::min)
    }

    pub(super) fn clock_stepped(&mut self, now: Now) -> Option<Notice> {
        let last = self.last.replace(now)?;
        let passed = i128::from(now.mono.as_nanos()) - i128::from(last.mono.as_nanos());
        let shown = i128::from(now.wall.as_nanos()) - i128::from(last.wall.as_nanos());
        let step = shown - passed;
        let seconds = i64::try_from(step / 1_000_000_000).unwrap_or(i64::MAX);
        (seconds.unsigned_abs() >= 2).then_some(Notice::ClockStepped { seconds })
    }
}
