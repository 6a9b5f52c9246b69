//! What a machine will do, told without what it has done: times as waits from now, numbers not at all.
//!
//! Promises: what is left out or cut short here makes no difference to what the machine does next. A model checker counts on
//! it, and compares what follows from states that it took for one (`tests/tests/model.rs`). Every field is named, so that a
//! new one has to be thought of.

use std::hash::{Hash, Hasher};

use chrono::NaiveTime;
use nirantar_brokers::Expiry;
use nirantar_brokers::time::{Monotonic, Now, Timestamp};

use super::Candidate;
use super::adopting::Held;
use super::answers::Outage;
use super::doubt::outage_wait;
use super::memory::Session;
use super::renewal::ASK_AFTER;

/// From where times are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) now: Now,
    /// Where wall-clock times are counted from: now, or midnight where the policy knows times of day.
    origin: Timestamp,
}

impl View {
    /// Nanoseconds until then; what has passed counts as now.
    pub(super) fn until(self, at: Monotonic) -> u64 {
        at.as_nanos().saturating_sub(self.now.mono.as_nanos())
    }

    /// The same for the wall clock.
    pub(super) fn due(self, at: Timestamp) -> i64 {
        self.at(at.max(self.now.wall))
    }

    /// A time of the wall clock, past ones too.
    fn at(self, at: Timestamp) -> i64 {
        at.as_nanos().saturating_sub(self.origin.as_nanos())
    }

    pub(super) fn candidate(self, candidate: Candidate, state: &mut impl Hasher) {
        let Candidate { fingerprint, source, issued_at, expires_at, refresh, refresh_dies } = candidate;
        (fingerprint, source, refresh).hash(state);
        (issued_at.map(|at| self.at(at)), expires_at.map(|at| self.due(at)), refresh_dies.map(|at| self.due(at)))
            .hash(state);
    }

    fn held(self, held: Held, state: &mut impl Hasher) {
        let Held { fingerprint, first_seen, expires, renew_by_margin, recheck_at } = held;
        // One whose time is over is not taken up again: since when it had lived tells nothing any more.
        let since = (expires > self.now.wall).then(|| self.at(first_seen));
        (fingerprint, since, self.due(expires), renew_by_margin, recheck_at.map(|at| self.due(at))).hash(state);
    }
}

impl Session {
    pub(super) fn hash_future(&self, now: Now, state: &mut impl Hasher) {
        // `why` lives for one call; of attempts and comparisons only the last can be in flight.
        let Self {
            policy,
            state: name,
            why: _,
            user_id,
            started,
            mode,
            generation,
            token,
            replaced,
            proving,
            attempt,
            attempts_made: _,
            spent_grant,
            commands,
            failures,
            retry_at,
            grant,
            doubt,
            misconfigured,
            outage,
            unanswered,
            look_at,
            comparison,
            comparisons_made: _,
            failback,
            hold_until,
            reprobe_at,
            ask_at,
            due,
            schedule_done,
            route,
        } = self;
        let knows_hours = policy.schedule.is_some() || matches!(policy.expiry, Expiry::Cutoff { .. });
        let midnight = Timestamp::from_ist_parts(now.wall.ist_date(), NaiveTime::MIN);
        let view = View { now, origin: if knows_hours { midnight } else { now.wall } };
        let until = |at: &Option<Monotonic>| at.map(|at| view.until(at));

        knows_hours.then(|| view.at(now.wall)).hash(state);
        (name, started, mode, route, misconfigured, due, spent_grant).hash(state);
        (user_id, replaced).hash(state);
        // None, the first, or one that has older ones.
        generation.0.min(2).hash(state);
        token.is_some().hash(state);
        if let Some(held) = token {
            view.held(*held, state);
        }
        proving.hash_future(policy, view, state);
        attempt.is_some().hash(state);
        if let Some(attempt) = attempt {
            attempt.hash_future(view, state);
        }
        commands.hash_future(view, state);
        // Without jitter the waits end at the longest, and more failures than that tell nothing.
        let same_waits = |failures: u32| policy.retry_after(failures) == policy.retry_after(failures.saturating_add(1));
        let failures = match policy.jitter_percent {
            0 => (ASK_AFTER..*failures).find(|fewer| same_waits(*fewer)).unwrap_or(*failures),
            _ => *failures,
        };
        (failures, view.until(*retry_at)).hash(state);
        grant.is_some().hash(state);
        if let Some(grant) = grant {
            grant.hash_future(view, state);
        }
        doubt.is_some().hash(state);
        if let Some(doubt) = doubt {
            doubt.hash_future(policy, view, state);
        }
        if let Some(Outage { probe_at, probes }) = outage {
            let same_waits = |probes: u32| outage_wait(policy, probes + 1) == outage_wait(policy, probes + 2);
            let probes = (0..*probes).find(|fewer| same_waits(*fewer)).unwrap_or(*probes);
            (view.until(*probe_at), probes).hash(state);
        }
        (unanswered.min(&policy.outage_after), until(look_at)).hash(state);
        comparison.is_some().hash(state);
        if let Some(comparison) = comparison {
            comparison.hash_future(view, state);
        }
        failback.hash_future(view, state);
        (until(hold_until), until(reprobe_at), ask_at.map(|at| view.due(at))).hash(state);
        policy.schedule.as_ref().map(|_| view.at(*schedule_done)).hash(state);
    }
}
