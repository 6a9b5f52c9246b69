//! Acting on the answers to sent orders, changes and cancels; how an order's story is written down.
//!
//! What an answer means is decided in [`super::outcome`]; what rows of the market mean is acted on in [`super::rows`].

use nirantar_brokers::time::Now;
use nirantar_brokers::{Book, BrokerOrderId, Cause, ClientOrderId, OrderStatus, Outcome};

use super::outcome::{Circumstances, Then, on_answer};
use super::sending::OnItsWay;
use super::{Action, CommandKind, Desk, Facts, Record, Refused, SendId, What};
use crate::planted::{Bug, planted};
use crate::session::Generation;

impl Desk {
    /// A message got its answer. The session machine has heard of it already (see [`facts`](Self::facts)), so that what
    /// is to be sent again waits for what it decides.
    pub fn reply(&mut self, send: SendId, outcome: Outcome<BrokerOrderId>, now: Now, out: &mut Vec<Action>) {
        let Some(arrived) = self.arrived(send, &outcome, now, out) else { return };
        let OnItsWay { id, generation, kind, .. } = arrived.clone();
        let Some(order) = self.orders.get_mut(&id) else { return };
        let places = kind == CommandKind::Place;
        if places {
            order.in_flight = None;
        }
        let seen = Circumstances {
            live: order.book == Book::Live,
            overtaken: places && order.broker_id.is_some(),
            token_in_use: generation == self.route.generation,
            refused_before: if places { order.refused_once } else { order.cancel_refused_once },
            in_time: now.mono <= order.deadline(),
        };
        let answer = outcome.as_ref().map(|_| ()).map_err(|failure| failure.cause);
        let lost = places && answer == Err(Cause::Unknown);
        let then = match on_answer(&kind, answer, seen).then {
            _ if lost && planted(Bug::ResendsUnknown) => Then::AgainAfter(None),
            then => then,
        };
        if places {
            self.placed(&id, generation, outcome, then, now, out);
        } else {
            self.asked(arrived, outcome, then, now, out);
        }
    }

    /// What the session should hear of an answer, if it is a live broker's.
    #[must_use]
    pub fn facts(&self, send: SendId, outcome: &Outcome<BrokerOrderId>) -> Option<Facts> {
        let OnItsWay { id, generation, .. } = self.on_their_way.get(&send)?;
        let live = self.orders.get(id)?.book == Book::Live;
        live.then(|| Facts { generation: *generation, failure: outcome.as_ref().err().cloned() })
    }

    fn placed(
        &mut self,
        id: &ClientOrderId,
        generation: Generation,
        outcome: Outcome<BrokerOrderId>,
        then: Then,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let wait = self.policy.look_again;
        let Some(order) = self.orders.get_mut(id) else { return };
        match outcome {
            Ok(number) => self.learn_number(id, number, out),
            Err(_) if then == Then::Stand => {}
            Err(failure) => order.message = Some(failure.message),
        }
        let Some(order) = self.orders.get_mut(id) else { return };
        match then {
            Then::AgainUnderNewToken => {
                order.refused_once = true;
                order.sent_at = None;
                self.record(id, What::RefusedForToken { generation }, now, out);
                self.hold_order_again(id, now.mono, now, out);
            }
            Then::AgainAfter(told) => {
                order.sent_at = None;
                // For live ones everything pauses.
                let live = order.book == Book::Live;
                let not_before = if live { now.mono } else { now.mono + told.unwrap_or(wait) };
                self.record(id, What::NotSent, now, out);
                self.hold_order_again(id, not_before, now, out);
            }
            Then::Become(next) => {
                match next {
                    OrderStatus::Refused | OrderStatus::Rejected => order.sent_at = None,
                    OrderStatus::Unknown => self.doubt(id, now),
                    _ if order.book == Book::Live => self.reconciliation.watch(now.mono),
                    _ => {}
                }
                self.step(id, next, now, out);
            }
            _ => {}
        }
        self.look_at_early_slices(now, out);
    }

    /// The answer to a change or a cancel.
    fn asked(
        &mut self,
        arrived: OnItsWay,
        outcome: Outcome<BrokerOrderId>,
        then: Then,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let id = arrived.id.clone();
        let words = outcome.as_ref().map_or_else(ToString::to_string, |_| "request received".to_owned());
        match then {
            Then::AgainUnderNewToken => {
                if let Some(order) = self.orders.get_mut(&id) {
                    order.cancel_refused_once = true;
                }
                self.not_acted_on(arrived, now.mono, now, out);
            }
            // The pause after a message that was one too many is the limiter's.
            Then::AgainAfter(_) => self.not_acted_on(arrived, now.mono, now, out),
            Then::ReadUntilShown => {
                self.doubt(&id, now);
                self.answer(&id, words, now, out);
            }
            _ => {
                self.answer(&id, words, now, out);
                match (&arrived.kind, &outcome) {
                    (CommandKind::Cancel, Ok(number)) => self.cancel_next_slice(arrived.id, number, now, out),
                    (CommandKind::Cancel, Err(failure)) => self.cancel_failed(&id, &failure.message, now, out),
                    _ => {}
                }
            }
        }
    }

    /// An order in slices is cancelled slice by slice: `number` is as good as gone.
    fn cancel_next_slice(&mut self, id: ClientOrderId, number: &BrokerOrderId, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        order.cancelled_slices.insert(number.clone());
        if !order.slices.is_empty() && order.number_to_cancel().is_some() {
            self.hold(&id, CommandKind::Cancel, now.mono, now.mono);
            self.release(now, out);
        }
    }

    /// From now on it is in doubt what became of it: the book is read until it shows.
    fn doubt(&mut self, id: &ClientOrderId, now: Now) {
        let Some(order) = self.orders.get_mut(id) else { return };
        order.absences = 0;
        if order.book == Book::Live && !order.status.is_final() {
            order.doubted = Some(now.mono);
            self.reconciliation.begin_to_seek(now.mono);
        }
    }

    /// The broker names its number of an order of ours.
    fn learn_number(&mut self, id: &ClientOrderId, number: BrokerOrderId, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(id) else { return };
        match &order.broker_id {
            // Its row will come, carrying our tag, and is adopted then.
            Some(known) if *known != number => {
                let words = format!("order {id}: its tag was seen on {known}, and the broker's reply names {number}");
                out.push(Action::Alarm(words));
            }
            _ => {
                self.by_broker_id.insert(order.book, &number, id);
                order.broker_id = Some(number);
            }
        }
    }

    pub(super) fn step(&mut self, id: &ClientOrderId, next: OrderStatus, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(id) else { return };
        match order.become_(next) {
            Ok(()) => self.note_state(id, now, out),
            Err(illegal) => out.push(Action::Alarm(format!("order {id}: {illegal}; kept as it was"))),
        }
    }

    pub(super) fn refuse(&mut self, id: &ClientOrderId, why: &Refused, now: Now, out: &mut Vec<Action>) {
        if let Some(order) = self.orders.get_mut(id) {
            order.message = Some(why.to_string());
        }
        self.step(id, OrderStatus::Refused, now, out);
    }

    pub(super) fn note_state(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        let what = What::State {
            status: order.status,
            quantity: order.resized.then_some(order.request.quantity),
            broker_id: order.broker_id.clone(),
            filled: order.filled,
            average_price: order.average_price,
            message: order.message.clone(),
        };
        self.ledger.begin(now.wall.ist_date());
        self.ledger.count(order);
        if order.status.is_final() {
            self.no_longer_insist(id);
        }
        self.record(id, what, now, out);
        self.changed(id, out);
        self.cancel_if_wanted(id, now, out);
        self.look_at_losses(now, out);
    }

    /// A change or a cancel is answered: written down, and told to whoever asked.
    pub(super) fn answer(&mut self, id: &ClientOrderId, words: String, now: Now, out: &mut Vec<Action>) {
        self.record(id, What::Answer(words.clone()), now, out);
        out.push(Action::Answered { id: id.clone(), words });
    }

    pub(super) fn record(&self, id: &ClientOrderId, what: What, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        out.push(Action::Journal(Record { at: now.wall, id: Some(id.clone()), book: order.book, what }));
    }

    pub(super) fn changed(&self, id: &ClientOrderId, out: &mut Vec<Action>) {
        out.extend(self.orders.shared(id).map(Action::Changed));
    }
}
