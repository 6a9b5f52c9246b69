//! The broker's answers: when it counts as out of reach, and comparisons of live orders and positions with its books.

use std::hash::{Hash as _, Hasher};

use nirantar_brokers::time::Monotonic;

use super::future::View;
use super::memory::{Ctx, Session};
use super::{Effect, Notice};
use crate::planted::{Bug, planted};

/// The broker does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outage {
    pub(super) probe_at: Monotonic,
    pub(super) probes: u32,
}

/// A comparison of live orders and positions with the broker's, wanted or under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Comparison {
    /// `None` while it waits for `at`.
    in_flight: Option<u64>,
    /// When it starts, or when it is given up.
    pub(super) at: Monotonic,
}

impl Comparison {
    /// What [`Session::hash_future`] hashes of it; the one in flight is the last one made.
    pub(super) fn hash_future(self, view: View, state: &mut impl Hasher) {
        let Self { in_flight, at } = self;
        (in_flight.is_some(), view.until(at)).hash(state);
    }
}

impl Session {
    /// A good answer under the token in use: an outage is over once live orders and positions are compared.
    pub(super) fn answered(&mut self, ctx: &mut Ctx<'_>) {
        self.unanswered = 0;
        if planted(Bug::OutageForEver) {
            return;
        }
        if self.outage.take().is_some() {
            ctx.notice(Notice::OutageOver);
            self.want_comparison(ctx.now.mono);
        }
    }

    pub(super) fn unanswered(&mut self, ctx: &mut Ctx<'_>) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= self.policy.outage_after && self.outage.is_none() {
            self.outage = Some(Outage { probe_at: ctx.now.mono + self.policy.probe_retry, probes: 0 });
            self.look_at = None;
            ctx.notice(Notice::Outage);
        }
    }

    pub(super) fn want_comparison(&mut self, now: Monotonic) {
        self.comparison.get_or_insert(Comparison { in_flight: None, at: now });
    }

    /// Starts a comparison that is wanted, and gives up one that hangs.
    pub(super) fn compare(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        if !self.started {
            return;
        }
        let Some(comparison) = self.comparison.as_mut().filter(|comparison| now >= comparison.at) else { return };
        if comparison.in_flight.take().is_some() {
            comparison.at = now + self.policy.reconcile_retry;
            return;
        }
        self.comparisons_made += 1;
        *comparison = Comparison { in_flight: Some(self.comparisons_made), at: now + self.policy.probe_timeout };
        ctx.out.push(Effect::Reconcile { number: self.comparisons_made });
    }

    /// True if that comparison was the one waited for and complete.
    pub(super) fn compared(&mut self, number: u64, complete: bool, now: Monotonic) -> bool {
        let Some(comparison) = self.comparison.as_mut().filter(|waiting| waiting.in_flight == Some(number)) else {
            return false;
        };
        if complete {
            self.comparison = None;
        } else {
            *comparison = Comparison { in_flight: None, at: now + self.policy.reconcile_retry };
        }
        complete
    }
}
