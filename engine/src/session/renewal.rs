//! Renewal: when it is due, the one automatic attempt in flight, and when a human must be asked.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Fingerprint, Renewal};

use super::future::View;
use super::memory::{Ctx, Session};
use super::{AttemptEnd, Candidate, Effect, Notice, Why};
use crate::planted::{Bug, planted};

/// An automatic renewal in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    pub(super) number: u64,
    way: Renewal,
    pub(super) deadline: Monotonic,
    /// The token it brought, still to be proven.
    pub(super) brought: Option<Fingerprint>,
}

/// A refresh token that may still buy something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    /// Which refresh token.
    token: Fingerprint,
    /// When it dies, if it says so.
    pub(super) dies: Option<Timestamp>,
    /// How often its end was announced.
    told: usize,
    /// It bought a token that lives no longer than the one before: it buys nothing until the token in use is dead.
    useless: bool,
}

impl Attempt {
    /// What [`Session::hash_future`] hashes of it; it is the last one made.
    pub(super) fn hash_future(self, view: View, state: &mut impl Hasher) {
        let Self { number: _, way, deadline, brought } = self;
        (way, view.until(deadline), brought).hash(state);
    }
}

impl Commands {
    /// When they count no more: with their date.
    pub(super) fn forgotten_at(self) -> Option<Timestamp> {
        Some(Timestamp::from_ist_parts(self.on?.succ_opt()?, NaiveTime::MIN))
    }

    /// What [`Session::hash_future`] hashes of it: those of another day are forgotten at the next call.
    pub(super) fn hash_future(self, view: View, state: &mut impl Hasher) {
        let Self { on, failed } = self;
        (on == Some(view.now.wall.ist_date()), failed).hash(state);
    }
}

impl Grant {
    /// What [`Session::hash_future`] hashes of it.
    pub(super) fn hash_future(self, view: View, state: &mut impl Hasher) {
        let Self { token, dies, told, useless } = self;
        (token, dies.map(|dies| view.due(dies)), told, useless).hash(state);
    }

    pub(super) const fn token(self) -> Fingerprint {
        self.token
    }

    /// The token it could not better is dead.
    pub(super) const fn of_use_again(&mut self) {
        self.useless = false;
    }
}

/// Runs of the user's command that brought nothing, on one date in India.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Commands {
    on: Option<NaiveDate>,
    failed: u32,
}

/// So often a command is run in vain on one day: brokers lock an account after a few wrong passwords.
const MOST_COMMANDS: u32 = 6;
/// A human is asked before the token is dead once so many attempts have failed.
pub(super) const ASK_AFTER: u32 = 3;
/// The end of a refresh token is announced so long before.
const TOLD_BEFORE: [Duration; 2] = [Duration::from_secs(2 * 86_400), Duration::from_secs(86_400)];

impl Session {
    /// Why the living token should be renewed now, if it should.
    pub(super) fn renewal_reason(&mut self, now: Timestamp) -> Option<Why> {
        if let Some(due) = self.due {
            return Some(due);
        }
        self.due = if self.margin_reached(now) {
            Some(Why::Due)
        } else {
            let gains = self.token.is_none_or(|held| self.policy.outlives(now, held.first_seen, held.expires));
            self.scheduled(now).filter(|_| gains).map(|at| {
                self.schedule_done = at;
                Why::Scheduled
            })
        };
        self.due
    }

    /// The hour of the schedule that is not served yet. Where only a human brings a new token, an hour of the day is no
    /// reason to call one: the token in use is good.
    pub(super) fn scheduled(&self, now: Timestamp) -> Option<Timestamp> {
        let scheduled = self.policy.last_scheduled(now).filter(|_| self.usable_way().is_some());
        let first_seen = self.token.map_or(now, |held| held.first_seen);
        scheduled.filter(|at| *at > self.schedule_done && *at > first_seen)
    }

    /// The operator wants a new token now, whatever the hour: by itself, or with the link to log in at.
    pub(super) fn ask_for_renewal(&mut self, now: Timestamp) {
        self.due = Some(Why::OperatorAsked);
        self.commands = Commands::default();
        self.retry_at = Monotonic::default();
        if self.usable_way().is_none() {
            self.ask_at = Some(now);
        }
    }

    fn margin_reached(&self, now: Timestamp) -> bool {
        let due = |expires| now >= self.policy.renew_from(expires) && !self.policy.is_quiet(now);
        self.token.is_some_and(|held| held.renew_by_margin && due(held.expires))
    }

    /// The automatic way that may be tried, now or after a wait.
    pub(super) fn usable_way(&self) -> Option<Renewal> {
        self.policy.automatic.iter().copied().find(|way| match way {
            Renewal::RefreshGrant => self.grant.is_some_and(|grant| !grant.useless),
            Renewal::External => self.commands.failed < MOST_COMMANDS,
            Renewal::Login | Renewal::Approval => false,
        })
    }

    /// Whether an automatic attempt may start now.
    pub(super) fn may_attempt(&self, now: Now) -> bool {
        let free = self.attempt.is_none() || planted(Bug::TwoRenewals);
        let may = free && now.mono >= self.retry_at && self.usable_way().is_some();
        may && self.attempt_needed_from(now.wall).is_none()
    }

    /// From when on an attempt is of use, the wait after the last one apart. In the quiet hours none is, unless somebody
    /// asked for it.
    pub(super) fn attempt_needed_from(&self, now: Timestamp) -> Option<Timestamp> {
        match self.due {
            Some(Why::OperatorAsked | Why::Scheduled) => None,
            _ => Some(self.policy.needed_from(now)).filter(|from| *from > now),
        }
    }

    /// Takes up the refresh token that came with a new token, if one did.
    pub(super) fn new_grant(&mut self, candidate: Candidate, useless: bool) {
        let dies = candidate.refresh_dies;
        self.grant = candidate.refresh.map(|token| {
            // A renewal that brings no new refresh token hands the old one on, whose end may have been announced already.
            let told = self.grant.filter(|grant| grant.token == token).map_or(0, |grant| grant.told);
            Grant { token, dies, told, useless }
        });
    }

    /// Takes up a refresh token that somebody put beside a token known already. One that was spent buys nothing again.
    pub(super) fn refreshed(&mut self, candidate: Candidate) {
        let known = self
            .grant
            .map(|grant| grant.token)
            .into_iter()
            .chain(self.spent_grant)
            .any(|known| Some(known) == candidate.refresh);
        if candidate.refresh.is_some() && !known {
            self.new_grant(candidate, false);
        }
    }

    /// When the refresh token's end is announced next, and when it is there.
    pub(super) fn grant_wake(&self) -> Option<Timestamp> {
        let grant = self.grant?;
        let dies = grant.dies?;
        Some(TOLD_BEFORE.get(grant.told).map_or(dies, |before| dies - *before))
    }

    /// Commands that failed on another date do not count against today's.
    pub(super) fn forget_commands(&mut self, now: Timestamp) {
        if self.commands.on.is_some_and(|on| on != now.ist_date()) {
            self.commands = Commands::default();
        }
    }

    /// A refresh token that is about to die is announced, twice; a dead one buys nothing.
    pub(super) fn look_at_grant(&mut self, ctx: &mut Ctx<'_>) {
        let Some(grant) = self.grant.filter(|_| self.policy.automatic.contains(&Renewal::RefreshGrant)) else { return };
        let Grant { dies: Some(dies), told, .. } = grant else { return };
        if ctx.now.wall >= dies {
            self.grant = None;
            return;
        }
        // Whoever starts late in its life is told once.
        let reached = TOLD_BEFORE.iter().filter(|before| ctx.now.wall >= dies - **before).count();
        if reached > told {
            self.grant = Some(Grant { told: reached, ..grant });
            ctx.out.push(Effect::RefreshTokenDies { dies });
        }
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
        let way = self.usable_way().filter(|_| self.may_attempt(ctx.now))?;
        self.attempts_made += 1;
        // Whatever called for it: the hour of the schedule is served by it as well.
        self.schedule_done = self.policy.last_scheduled(ctx.now.wall).unwrap_or_default().max(self.schedule_done);
        if !self.state.is_live() {
            self.due = None; // the operator's word is good for one attempt at night
        }
        let (number, deadline) = (self.attempts_made, ctx.now.mono + self.policy.attempt_deadline(way));
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
                    self.attempt_failed(AttemptEnd::Failed, ctx);
                }
            }
            AttemptEnd::Failed | AttemptEnd::FailedForGood | AttemptEnd::Unknown if current => {
                ctx.notice(Notice::RenewalFailed { end });
                self.attempt_failed(end, ctx);
            }
            AttemptEnd::Failed | AttemptEnd::FailedForGood | AttemptEnd::Unknown => {}
        }
    }

    pub(super) fn attempt_failed(&mut self, end: AttemptEnd, ctx: &mut Ctx<'_>) {
        if let Some(attempt) = self.attempt.take() {
            let spent = matches!(end, AttemptEnd::FailedForGood | AttemptEnd::Unknown);
            if spent && attempt.way == Renewal::RefreshGrant {
                self.spent_grant = self.grant.take().map(|grant| grant.token);
            }
            if attempt.way == Renewal::External {
                let failed = self.commands.failed + 1;
                self.commands = Commands { on: Some(ctx.now.wall.ist_date()), failed };
                if failed == MOST_COMMANDS {
                    ctx.notice(Notice::CommandGivenUp { times: failed });
                }
            }
            self.retry_at = ctx.now.mono + self.policy.retry_after(self.failures);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Gives up an attempt whose time is up. Its grant may be spent.
    pub(super) fn check_attempt(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(attempt) = self.attempt.filter(|attempt| ctx.now.mono >= attempt.deadline) {
            ctx.out.push(Effect::Abandon { attempt: attempt.number });
            ctx.notice(Notice::AttemptTimedOut);
            self.attempt_failed(AttemptEnd::Unknown, ctx);
        }
    }

    /// Whether the next attempts may still make a human needless: the token lives, and not many have failed.
    pub(super) fn may_still_renew(&self) -> bool {
        self.usable_way().is_some() && self.failures < ASK_AFTER
    }

    /// A human is needed: says so now, or when the night is over.
    pub(super) fn need_login(&mut self, now: Timestamp) {
        let at = self.policy.needed_from(now);
        self.ask_at.get_or_insert(at);
    }

    /// As [`remind`](Self::remind), but for a renewal under way that may make it needless: once that has failed is early
    /// enough, and a scheduled renewal that succeeds must call nobody.
    pub(super) fn remind_unless_renewing(&mut self, ctx: &mut Ctx<'_>) {
        if self.attempt.is_none() {
            self.remind(ctx);
        }
    }

    pub(super) fn remind(&mut self, ctx: &mut Ctx<'_>) {
        if self.ask_at.is_some_and(|at| ctx.now.wall >= at) {
            self.ask_at = Some(self.policy.needed_from(ctx.now.wall + self.policy.remind));
            ctx.out.push(Effect::AskLogin);
        }
    }
}
