//! Cancels that are the desk's own: the kill switch's, a day's loss's, and those that were remembered.
//!
//! Promise: such a cancel that failed is asked again, later and later, until the broker takes it or the order is over, and
//! the third failure is told by alarm. A cancel that somebody asked for just now is answered and left to them, unless
//! everything is being cancelled anyway. After a lost reply nothing is asked before the broker's book has shown that the
//! order still works.

use std::time::Duration;

use nirantar_brokers::ClientOrderId;
use nirantar_brokers::time::{Monotonic, Now};

use super::stopping::is_entry;
use super::{Action, Desk, Tracked};
use crate::session::TradingMode;
use crate::waiting::doubled;

/// After so many failures the operator is told.
const ALARMING: u32 = 3;
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A cancel that is asked until the order is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Insisted {
    /// Tries that failed.
    failures: u32,
    /// When to try again; `None` while a try is under way.
    again_at: Option<Monotonic>,
}

impl Desk {
    /// A cancel that the desk itself wants is asked for.
    pub(super) fn insist(&mut self, id: &ClientOrderId) {
        self.insisted.entry(id.clone()).or_default().again_at = None;
    }

    /// An order is over: its cancel is asked no more.
    pub(super) fn no_longer_insist(&mut self, id: &ClientOrderId) {
        self.insisted.remove(id);
    }

    /// Whether the next try of a cancel has to wait.
    pub(super) fn waits_to_try_again(&self, id: &ClientOrderId, now: Now) -> bool {
        self.insisted.get(id).and_then(|insisted| insisted.again_at).is_some_and(|at| now.mono < at)
    }

    /// A cancel surely did nothing, or the order was seen to work after it: asks again, if the desk itself wants it gone.
    pub(super) fn cancel_failed(&mut self, id: &ClientOrderId, why: &str, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id).filter(|order| self.is_to_go(order)) else { return };
        if self.cancel_is_under_way(id) {
            return;
        }
        let what = format!("{} {} {}", order.request.side, order.left(), order.request.instrument);
        let insisted = self.insisted.entry(id.clone()).or_default();
        insisted.failures = insisted.failures.saturating_add(1);
        let first = self.policy.look_again;
        let wait = doubled(first, (insisted.failures - 1).min(16), LONGEST_WAIT.max(first));
        insisted.again_at = Some(now.mono + wait);
        if insisted.failures == ALARMING {
            out.push(Action::Alarm(format!(
                "order {id} ({what}) is to be cancelled and still works after {ALARMING} tries: {why}. It is tried again; \
                 cancel it in the broker's own app if you can"
            )));
        }
        self.want_cancel(id, now, out);
    }

    /// Tries again what has waited long enough.
    pub(super) fn try_cancels_again(&mut self, now: Now, out: &mut Vec<Action>) {
        let due = |(_, insisted): &(&ClientOrderId, &Insisted)| insisted.again_at.is_some_and(|at| now.mono >= at);
        let due: Vec<ClientOrderId> = self.insisted.iter().filter(due).map(|(id, _)| id.clone()).collect();
        for id in due {
            // Where no cancel passes now, it is remembered and leaves once one does.
            self.insist(&id);
            self.cancel_if_wanted(&id, now, out);
        }
    }

    /// When a cancel is tried again.
    pub(super) fn next_try(&self) -> Option<Monotonic> {
        self.insisted.values().filter_map(|insisted| insisted.again_at).min()
    }

    /// Whether the desk itself wants the order gone, whoever asked last.
    fn is_to_go(&self, order: &Tracked) -> bool {
        let stopped = match self.mode {
            TradingMode::Halted => true,
            TradingMode::ReduceOnly => is_entry(order),
            TradingMode::Active => is_entry(order) && self.ledger.is_stopped(order.book),
        };
        !order.status.is_final() && (stopped || self.insisted.contains_key(&order.id))
    }
}
