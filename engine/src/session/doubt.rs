//! Doubt about the token in use, and the probes that end it.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use nirantar_brokers::Endpoint;
use nirantar_brokers::time::{Monotonic, Now};

use super::adopting::next_recheck;
use super::future::View;
use super::memory::{Ctx, Misconfiguration, Session};
use super::proving::IncumbentWish;
use super::{Generation, Notice, Policy};
use crate::waiting::doubled;

/// Longest wait between two probes of a broker that is out.
const OUTAGE_PROBE_CAP: Duration = Duration::from_secs(30);

/// The living token may be dead: no order leaves until a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Doubt {
    since: Monotonic,
    cause: DoubtCause,
    /// A candidate's probe came back without success: the incumbent is next.
    incumbent_first: bool,
    not_before: Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DoubtCause {
    /// A newer token exists, and a new login kills the old one.
    NewerToken,
    /// The broker refused in words that may mean a dead token.
    Refusal(Endpoint),
}

/// How long an outage waits after so many probes in vain.
pub(super) fn outage_wait(policy: &Policy, probes: u32) -> Duration {
    doubled(policy.probe_retry, probes.min(10), OUTAGE_PROBE_CAP)
}

impl Doubt {
    /// How long held orders wait for its end; after that the broker counts as out of reach.
    pub(super) fn waited_out_at(&self, policy: &Policy) -> Monotonic {
        self.since + policy.hold.max(policy.probe_spacing * 2)
    }

    /// What [`Session::hash_future`] hashes of it.
    pub(super) fn hash_future(self, policy: &Policy, view: View, state: &mut impl Hasher) {
        let Self { since: _, cause, incumbent_first, not_before } = self;
        (cause, incumbent_first, view.until(not_before), view.until(self.waited_out_at(policy))).hash(state);
    }
}

impl Session {
    /// The broker refused in words that may mean a dead token.
    pub(super) fn suspect(&mut self, endpoint: Endpoint, ctx: &mut Ctx<'_>) {
        // A refused handshake is the feed's own to tell of.
        if self.doubt.is_none() && endpoint != Endpoint::Feed {
            ctx.notice(Notice::Suspect { endpoint });
        }
        self.doubt(DoubtCause::Refusal(endpoint), ctx.now.mono);
    }

    pub(super) fn doubt(&mut self, cause: DoubtCause, now: Monotonic) {
        self.doubt.get_or_insert(Doubt { since: now, cause, incumbent_first: false, not_before: now });
    }

    pub(super) fn candidate_failed(&mut self, now: Monotonic) {
        if let Some(doubt) = &mut self.doubt {
            doubt.incumbent_first = true;
            doubt.not_before = doubt.not_before.max(now);
        }
    }

    /// The incumbent is alive and ours.
    pub(super) fn incumbent_accepted(&mut self, ctx: &mut Ctx<'_>) {
        match self.doubt.take().map(|doubt| doubt.cause) {
            // The feed's own business: it is refused although the token is good, and retries slowly.
            Some(DoubtCause::Refusal(Endpoint::Feed) | DoubtCause::NewerToken) | None => {}
            Some(DoubtCause::Refusal(endpoint)) => {
                self.misconfigured = Some(Misconfiguration::Inferred);
                ctx.notice(Notice::Misconfigured { endpoint });
            }
        }
        self.look_at = None;
        self.answered(ctx);
        if let Some(held) = &mut self.token {
            held.recheck_at = next_recheck(&self.policy, ctx.now.wall);
        }
    }

    /// The feed has trouble: an account that sends no orders would not notice that the broker is out. If the feed does
    /// not mend by itself, the broker is asked.
    pub(super) fn feed_failed(&mut self, generation: Generation, now: Monotonic) {
        if generation == self.generation && self.outage.is_none() {
            self.look_at.get_or_insert(now + self.policy.reconcile_retry);
        }
    }

    pub(super) fn incumbent_undecided(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        if self.look_at.is_some() {
            self.look_at = Some(now + self.policy.probe_retry);
            self.unanswered(ctx);
        }
        if let Some(doubt) = &mut self.doubt {
            doubt.not_before = now + self.policy.probe_retry;
            doubt.incumbent_first = false;
        }
        if let Some(outage) = &mut self.outage {
            outage.probes = outage.probes.saturating_add(1);
            outage.probe_at = now + outage_wait(&self.policy, outage.probes);
        }
        if let Some(held) = self.token.as_mut().filter(|held| held.recheck_at.is_some_and(|at| ctx.now.wall >= at)) {
            held.recheck_at = Some(ctx.now.wall + self.policy.probe_retry);
        }
        self.reprobe_at = self.reprobe_at.map(|_| now + self.policy.reprobe);
    }

    /// Whether, and from when, the broker should be asked about the token in use (or the last one that was).
    pub(super) fn incumbent_wish(&self, now: Now) -> Option<IncumbentWish> {
        let fingerprint = self.token?.fingerprint;
        let wish = |not_before, first| Some(IncumbentWish { fingerprint, not_before, first });
        if !self.has_living_token() {
            // One whose time is over is not taken up again, whatever the broker still says of it (rule 1).
            return self.reprobe_at.filter(|_| !self.expired(now.wall)).and_then(|at| wish(at, false));
        }
        if let Some(doubt) = self.doubt {
            // A newer token is asked about before the one it may have killed.
            let waits = doubt.cause == DoubtCause::NewerToken && !doubt.incumbent_first && self.proving.hopeful();
            return if waits { None } else { wish(doubt.not_before, true) };
        }
        if let Some(outage) = self.outage {
            return wish(outage.probe_at, false);
        }
        let recheck = self.token?.recheck_at.filter(|at| now.wall >= *at).map(|_| Monotonic::default());
        recheck.into_iter().chain(self.look_at).min().and_then(|at| wish(at, false))
    }

    /// Starts the next probe, if one is wanted.
    pub(super) fn probe_next(&mut self, ctx: &mut Ctx<'_>) {
        let wish = self.incumbent_wish(ctx.now);
        if let Some(probe) = self.proving.start(wish, &self.policy, ctx.now.mono) {
            ctx.out.push(probe);
        }
    }
}
