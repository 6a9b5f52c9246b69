//! Outages, comparisons with the broker's books, and the way back to live trading.

use nirantar_brokers::time::Monotonic;

use super::memory::{Ctx, Session};
use super::{Effect, Generation, Notice, Resume};

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

/// How far the way back to live trading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failback {
    /// Live orders and positions are being compared.
    Comparing,
    /// Exits and cancels of live exposure may go; entries wait for the feed, the hysteresis and the operator.
    ReduceOnly {
        /// Whether the operator said yes.
        confirmed: bool,
    },
}

impl Session {
    // --- the broker's answers ----------------------------------------------------------------------------------

    /// A good answer under the token in use: an outage is over once live orders and positions are compared.
    pub(super) fn answered(&mut self, ctx: &mut Ctx<'_>) {
        self.unanswered = 0;
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

    // --- comparison --------------------------------------------------------------------------------------------

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

    // --- failback ----------------------------------------------------------------------------------------------

    pub(super) fn begin_failback(&mut self, now: Monotonic) {
        self.failback = Some(Failback::Comparing);
        self.comparison = None;
        self.want_comparison(now);
    }

    /// The last steps of the way back: the feed delivers (if ticks are to be expected), has done so for a while, and
    /// the operator agrees where asked.
    pub(super) fn failback_complete(&self, now: Monotonic) -> bool {
        let Some(Failback::ReduceOnly { confirmed }) = self.failback else { return false };
        let agreed = confirmed || self.policy.resume == Resume::Auto;
        agreed && self.block(now).is_none() && self.feed_settled_at().is_some_and(|at| now >= at)
    }

    /// When the feed has delivered long enough; at once where no ticks are to be expected.
    pub(super) fn feed_settled_at(&self) -> Option<Monotonic> {
        if self.market_open {
            self.feed_since.map(|since| since + self.policy.hysteresis)
        } else {
            Some(Monotonic::default())
        }
    }

    pub(super) fn confirm(&mut self) {
        if let Some(Failback::ReduceOnly { confirmed }) = &mut self.failback {
            *confirmed = true;
        }
    }

    pub(super) fn feed(&mut self, generation: Generation, delivers: bool, now: Monotonic) {
        if generation == self.generation {
            self.look_at = self.look_at.filter(|_| !delivers);
            self.feed_since = delivers.then(|| self.feed_since.unwrap_or(now));
        }
    }

    pub(super) fn market(&mut self, open: bool) {
        self.market_open = open;
    }
}
