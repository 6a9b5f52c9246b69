//! Looking for what a complete read of the broker does not show: unknown orders, and slices that nobody saw.
//!
//! An unknown order is believed never placed only when the read began after the broker's propagation time, counted from
//! when its reply was lost (its bytes had left by then); when the complete read before said the same; when every trade
//! of its instrument and side belongs to an order that somebody knows; and when the broker holds no units beyond our
//! count that the order could have brought. Else it stays unknown.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Book, BrokerOrderId, ClientOrderId, OrderRow, OrderStatus, Quantity};

use super::outcome::{Absence, DayEnd, Then, on_absence, on_day_end, on_missing_slices};
use super::{Action, Desk, Difference, LiveState, Tracked};

/// Complete reads in a row that must say the same before an absence is believed.
const AGREEING_READS: u32 = 2;

impl Desk {
    /// Judges what a complete read that began then does not show. Its rows have been taken already.
    pub(super) fn look_for_the_missing(
        &mut self,
        state: &LiveState,
        begun: Monotonic,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let sought = self.orders.unfinished_ids(is_sought);
        if sought.is_empty() {
            return;
        }
        let numbers: BTreeSet<&BrokerOrderId> = state.orders.iter().map(|row| &row.order_id).collect();
        let owner = |number: &BrokerOrderId| self.by_broker_id.get(Book::Live, number);
        let shown: BTreeSet<ClientOrderId> = numbers.iter().filter_map(|number| owner(number)).cloned().collect();
        let differences = self.exposure.differences(&state.positions);
        for id in sought {
            if shown.contains(&id) {
                self.shown_at_last(&id, begun, now, out);
            } else {
                self.not_shown(&id, state, &numbers, &differences, begun, now, out);
            }
        }
    }

    /// A read failed: those before and after it are not consecutive.
    pub(super) fn forget_absences(&mut self) {
        for id in self.orders.unfinished_ids(|order| order.absences > 0) {
            if let Some(order) = self.orders.get_mut(&id) {
                order.absences = 0;
            }
        }
    }

    fn shown_at_last(&mut self, id: &ClientOrderId, begun: Monotonic, now: Now, out: &mut Vec<Action>) {
        let propagation = self.policy.propagation;
        let Some(order) = self.orders.get_mut(id) else { return };
        if order.doubted.is_some_and(|since| begun >= since) && order.status != OrderStatus::Unknown {
            order.doubted = None;
            let words = format!("the broker's book shows it {}", order.status);
            self.answer(id, words.clone(), now, out);
            self.cancel_failed(id, &words, now, out);
        }
        let Some(order) = self.orders.get_mut(id) else { return };
        order.day_over = order.day_over.filter(|since| begun < *since);
        if !lacks_slices(order) {
            return;
        }
        let waited = order.sent_at.is_some_and(|sent| begun >= sent.mono + propagation);
        order.absences = if waited { order.absences.saturating_add(1) } else { 0 };
        let agrees = order.absences >= AGREEING_READS;
        if let Then::Become(next) = on_missing_slices(waited, agrees, order.slices.all_rejected()).then {
            let (units, of) = (order.slices.units(), order.request.quantity);
            order.message = Some(format!("the broker shows slices of {units} units of {of}: the rest was not placed"));
            self.step(id, next, now, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one read")]
    fn not_shown(
        &mut self,
        id: &ClientOrderId,
        state: &LiveState,
        numbers: &BTreeSet<&BrokerOrderId>,
        differences: &[Difference],
        begun: Monotonic,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let propagation = self.policy.propagation;
        let Some(order) = self.orders.get(id) else { return };
        if order.status != OrderStatus::Unknown {
            if order.day_over.is_some_and(|since| begun >= since) {
                self.end_of_day(id, DayEnd::NotShown, now, out);
            }
            return;
        }
        let request = &order.request;
        let trade = state.trades.iter().any(|trade| {
            let same = trade.instrument == request.instrument && trade.side == request.side;
            let number = &trade.order_id;
            same && !numbers.contains(number) && !self.by_broker_id.contains(Book::Live, number)
        });
        let position = !order.counted_ahead.is_zero() || differences.iter().any(|one| could_explain(order, one));
        let Some(order) = self.orders.get_mut(id) else { return };
        let since = *order.doubted.get_or_insert(begun);
        let mut absence = Absence { waited: begun >= since + propagation, agrees: false, trade, position };
        let counts = absence.waited && !trade && !position;
        order.absences = if counts { order.absences.saturating_add(1) } else { 0 };
        absence.agrees = order.absences >= AGREEING_READS;
        if let Then::Become(next) = on_absence(absence).then {
            let words = "no book, trade or position of the broker's shows it: believed never placed";
            order.message = Some(words.to_owned());
            self.step(id, next, now, out);
        }
    }

    /// The broker's word on a position is taken. Where working orders that this read's book did not show may be what it
    /// holds more, their units have been counted with it.
    pub(super) fn count_ahead(&mut self, difference: &Difference, rows: &[Arc<OrderRow>]) {
        let mut left = difference.brokers.abs_diff(difference.ours);
        let numbers: BTreeSet<&BrokerOrderId> = rows.iter().map(|row| &row.order_id).collect();
        let explains = self.orders.unfinished_ids(|order| {
            let may_fill = order.book == Book::Live && order.may_be_working() && !order.status.is_final();
            let shown = order.broker_id.iter().chain(order.slices.numbers()).any(|number| numbers.contains(number));
            may_fill && !shown && could_explain(order, difference)
        });
        for id in explains {
            let Some(order) = self.orders.get_mut(&id) else { continue };
            let open = order.request.quantity.less(order.filled + order.counted_ahead);
            let taken = open.get().min(left);
            order.counted_ahead = order.counted_ahead + Quantity::new(taken);
            left -= taken;
        }
    }

    /// Of `new` units that an order was filled with: how many a believed position had counted already, which are taken
    /// off.
    pub(super) fn take_ahead(&mut self, id: &ClientOrderId, new: Quantity) -> Quantity {
        let Some(order) = self.orders.get(id).filter(|_| !new.is_zero()) else { return Quantity::ZERO };
        let left = counted_ahead_of(order, self.orders.counted_ahead()).iter().fold(new, |left, holder| {
            match self.orders.get_mut(holder) {
                Some(order) => order.take_ahead(left),
                None => left,
            }
        });
        new.less(left)
    }

    /// Acts on the end of an order's day.
    pub(super) fn end_of_day(&mut self, id: &ClientOrderId, end: DayEnd, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(id) else { return };
        match on_day_end(order.status, end).then {
            Then::ReadUntilShown if order.day_over.is_none() => {
                order.day_over = Some(now.mono);
                self.reconciliation.begin_to_seek(now.mono);
            }
            Then::Become(next) => {
                let was = order.status;
                let words = match end {
                    DayEnd::Closed => "its day has ended",
                    DayEnd::NotShown => "its day has ended and the broker's book no longer shows it",
                    DayEnd::NextDay => "its day ended before anybody saw its end",
                };
                let (side, of) = (order.request.side, order.request.quantity);
                let what = format!("{side} {of} {}", order.request.instrument);
                let advice = format!("look at the broker's own app, then run: nirantar orders acknowledge {id}");
                order.message = Some(format!("it was {was}, and {words}: {advice}"));
                order.day_over = None;
                order.doubted = None;
                out.push(Action::Alarm(format!(
                    "order {id} ({what}) is unresolved: it was {was}, and {words}; {advice}"
                )));
                self.step(id, next, now, out);
                // Should there be a session, one more look may find it.
                self.reconciliation.look_soon(now.mono);
            }
            _ => {}
        }
    }
}

/// A live order of which a read is to find something out.
pub(super) fn is_sought(order: &Tracked) -> bool {
    let open_question = order.doubted.is_some() || order.day_over.is_some() || lacks_slices(order);
    order.book == Book::Live && (order.status == OrderStatus::Unknown || open_question && !order.status.is_final())
}

/// Whom a believed position may have counted an order's units for. Whose they were was a guess: the order itself comes
/// first, then the others that trade the same and have units counted ahead.
pub(super) fn counted_ahead_of<'a>(order: &Tracked, all: impl Iterator<Item = &'a Tracked>) -> Vec<ClientOrderId> {
    let others = all.filter(|other| !other.counted_ahead.is_zero() && other.trades_like(order));
    iter::once(order.id.clone()).chain(others.map(|other| other.id.clone())).collect()
}

/// Its slices are finished and are not all of it.
fn lacks_slices(order: &Tracked) -> bool {
    order.status == OrderStatus::Open && order.slices.all_finished()
}

/// Whether the broker holds units beyond our count that this order could have brought.
pub(super) fn could_explain(order: &Tracked, difference: &Difference) -> bool {
    let same = (&difference.instrument, difference.product) == (&order.request.instrument, order.request.product);
    let more = i128::from(difference.brokers) - i128::from(difference.ours);
    let towards = i128::from(order.request.side.signed(Quantity::new(1)));
    same && more.signum() == towards
}
