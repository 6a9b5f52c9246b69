//! Renewal: when it is due, the one automatic attempt in flight, and when a human must be asked.

use nirantar_brokers::time::{Monotonic, Timestamp};
use nirantar_brokers::{Fingerprint, Renewal};

use super::memory::{Ctx, Session};
use super::{AttemptEnd, Effect, Notice, Why};

/// An automatic renewal in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    pub(super) number: u64,
    way: Renewal,
    pub(super) deadline: Monotonic,
    /// The token it brought, still to be proven.
    pub(super) brought: Option<Fingerprint>,
}

impl Session {
    /// Why the living token should be renewed now, if it should.
    pub(super) fn renewal_reason(&mut self, now: Timestamp) -> Option<Why> {
        if let Some(due) = self.due {
            return Some(due);
        }
        self.due = if self.margin_reached(now) {
            Some(Why::Due)
        } else {
            let scheduled = self.policy.schedule.as_ref().and_then(|schedule| schedule.last_due(now));
            let first_seen = self.token.map_or(now, |held| held.first_seen);
            scheduled.filter(|at| *at > self.schedule_done && *at > first_seen).map(|at| {
                self.schedule_done = at;
                Why::Scheduled
            })
        };
        self.due
    }

    pub(super) fn ask_for_renewal(&mut self) {
        self.due = Some(Why::OperatorAsked);
        self.retry_at = Monotonic::default();
    }

    fn margin_reached(&self, now: Timestamp) -> bool {
        self.token.is_some_and(|held| held.renew_by_margin && now >= held.expires - self.policy.margin)
    }

    /// The automatic way that may be tried, now or after a wait.
    pub(super) fn usable_way(&self) -> Option<Renewal> {
        self.policy.automatic.iter().copied().find(|way| *way != Renewal::RefreshGrant || self.grant)
    }

    /// Whether an automatic attempt may start now.
    pub(super) fn may_attempt(&self, now: Monotonic) -> bool {
        self.attempt.is_none() && now >= self.retry_at && self.usable_way().is_some()
    }

    /// After a failed attempt: whether the session stays due (there is another try, or the token dies soon).
    pub(super) fn stays_due(&mut self, now: Timestamp) -> bool {
        let due = self.usable_way().is_some() || self.margin_reached(now);
        if !due {
            self.due = None;
        }
        due
    }

    /// Starts an automatic attempt; the way it takes.
    pub(super) fn begin_attempt(&mut self, ctx: &mut Ctx<'_>) -> Option<Renewal> {
        let way = self.usable_way().filter(|_| self.may_attempt(ctx.now.mono))?;
        self.attempts_made += 1;
        let (number, deadline) = (self.attempts_made, ctx.now.mono + self.policy.attempt_timeout);
        self.attempt = Some(Attempt { number, way, deadline, brought: None });
        ctx.out.push(Effect::Attempt { attempt: number, way });
        Some(way)
    }

    /// A renewal has ended. A token is a candidate even if nobody waits for that attempt any more.
    pub(super) fn attempt_ended(&mut self, number: u64, end: AttemptEnd, ctx: &mut Ctx<'_>) {
        let current = self.attempt.is_some_and(|attempt| attempt.number == number);
        match end {
            AttemptEnd::Token(candidate) => {
                if let Some(attempt) = self.attempt.as_mut().filter(|_| current) {
                    attempt.brought = Some(candidate.fingerprint);
                }
                self.consider(candidate, ctx);
                if current && !self.proving.knows(candidate.fingerprint) {
                    // A token that was refused before, or the very token in use: nothing new.
                    self.attempt_failed(AttemptEnd::Failed, ctx.now.mono);
                }
            }
            AttemptEnd::Failed | AttemptEnd::FailedForGood | AttemptEnd::Unknown if current => {
                ctx.notice(Notice::RenewalFailed { end });
                self.attempt_failed(end, ctx.now.mono);
            }
            AttemptEnd::Failed | AttemptEnd::FailedForGood | AttemptEnd::Unknown => {}
        }
    }

    pub(super) fn attempt_failed(&mut self, end: AttemptEnd, now: Monotonic) {
        if let Some(attempt) = self.attempt.take() {
            let spent = matches!(end, AttemptEnd::FailedForGood | AttemptEnd::Unknown);
            if spent && attempt.way == Renewal::RefreshGrant {
                self.grant = false;
            }
            self.retry_at = now + self.policy.retry_after(self.failures);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Gives up an attempt whose time is up. Its grant may be spent.
    pub(super) fn check_attempt(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(attempt) = self.attempt.filter(|attempt| ctx.now.mono >= attempt.deadline) {
            ctx.out.push(Effect::Abandon { attempt: attempt.number });
            ctx.notice(Notice::AttemptTimedOut);
            self.attempt_failed(AttemptEnd::Unknown, ctx.now.mono);
        }
    }

    /// A human is needed: says so now, or when the night is over.
    pub(super) fn need_login(&mut self, now: Timestamp) {
        let at = self.policy.may_ask_at(now);
        self.ask_at.get_or_insert(at);
    }

    pub(super) fn remind(&mut self, ctx: &mut Ctx<'_>) {
        if self.ask_at.is_some_and(|at| ctx.now.wall >= at) {
            self.ask_at = Some(self.policy.may_ask_at(ctx.now.wall + self.policy.remind));
            ctx.out.push(Effect::AskLogin);
        }
    }
}
