//! What the answers to sent orders mean, and what the market says of them; how an order's story is written down.

use std::time::Duration;

use nirantar_brokers::time::Now;
use nirantar_brokers::{
    Book, BrokerOrderId, Cause, ClientOrderId, Intent, OrderRequest, OrderRow, OrderStatus, Outcome, Refusal,
};

use super::sending::{OnItsWay, deadline};
use super::{Action, CommandKind, Desk, Facts, Record, Refused, SendId, Tracked, What};
use crate::session::Generation;

impl Desk {
    /// A message got its answer. The session machine has heard of it already (see [`facts`](Self::facts)), so that what
    /// is to be sent again waits for what it decides.
    pub fn reply(&mut self, send: SendId, outcome: Outcome<BrokerOrderId>, now: Now, out: &mut Vec<Action>) {
        let Some(arrived) = self.arrived(send, &outcome, now, out) else { return };
        let OnItsWay { id, generation, kind, .. } = arrived.clone();
        if kind == CommandKind::Place {
            self.placed(&id, generation, outcome, now, out);
        } else if let Some(Cause::Throttled { .. }) = outcome.as_ref().err().map(|failure| failure.cause) {
            self.not_acted_on(arrived, now.mono, now, out);
        } else {
            let words = match outcome {
                Ok(_) => "request received".to_owned(),
                Err(failure) => {
                    // The request may have lost a race, or may have been acted on: the broker's book knows.
                    self.reconciliation.look_soon(now.mono);
                    failure.to_string()
                }
            };
            self.answer(&id, words, now, out);
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
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let newest = self.route.generation;
        let Some(order) = self.orders.get_mut(id) else { return };
        order.in_flight = None;
        let book = order.book;
        let early = order.broker_id.is_some(); // an update overtook the reply: it knows more
        let next = match outcome {
            Ok(broker_id) => {
                self.by_broker_id.insert((book, broker_id.clone()), id.clone());
                order.broker_id = Some(broker_id);
                if book == Book::Live {
                    self.reconciliation.watch(now.mono);
                }
                OrderStatus::Accepted
            }
            Err(failure) => {
                order.message = Some(failure.message);
                match failure.cause {
                    Cause::Throttled { retry_after } if !early => {
                        let wait = retry_after.unwrap_or(self.policy.look_again);
                        // For live ones everything pauses.
                        let not_before = if book == Book::Live { now.mono } else { now.mono + wait };
                        order.sent_at = None;
                        self.record(id, What::NotSent, now, out);
                        self.hold_order(id, not_before);
                        return;
                    }
                    // Refused before acting, and by the token still in use: once more under the next one.
                    Cause::Refused(Refusal::Conclusive)
                        if book == Book::Live
                            && !early
                            && !order.refused_once
                            && generation == newest
                            && now.mono <= deadline(order) =>
                    {
                        order.sent_at = None;
                        order.refused_once = true;
                        self.record(id, What::RefusedForToken { generation }, now, out);
                        self.hold_order(id, now.mono);
                        return;
                    }
                    Cause::Rejected => OrderStatus::Rejected,
                    Cause::Unknown => {
                        order.absences = 0;
                        self.reconciliation.look_soon(now.mono);
                        OrderStatus::Unknown
                    }
                    Cause::Refused(_) | Cause::Misconfigured | Cause::NotSent | Cause::Throttled { .. } => {
                        OrderStatus::Refused
                    }
                }
            }
        };
        if early {
            return;
        }
        if matches!(next, OrderStatus::Refused | OrderStatus::Rejected) {
            order.sent_at = None;
        }
        self.step(id, next, now, out);
    }

    /// The broker or the paper exchange says something of an order.
    pub fn update(&mut self, book: Book, row: &OrderRow, now: Now, out: &mut Vec<Action>) {
        let known = self.by_broker_id.get(&(book, row.order_id.clone())).cloned();
        let ours = known.or_else(|| {
            let id = row.client_id.clone()?;
            self.orders.get(&id).filter(|order| order.book == book).map(|order| order.id.clone())
        });
        let id = match ours {
            Some(id) => id,
            None => self.adopt_external(book, row, now, out),
        };
        let Some(order) = self.orders.get_mut(&id) else { return };
        let before = order.clone();
        match order.apply(row) {
            Ok(new) => {
                let signed = order.request.side.signed(new);
                let (instrument, product) = (order.request.instrument.clone(), order.request.product);
                let overturned = before.status == OrderStatus::NotPlaced && order.status != before.status;
                let changed = *order != before;
                self.by_broker_id.insert((book, row.order_id.clone()), id.clone());
                self.exposure.fill(book, &instrument, product, signed);
                if overturned {
                    let words = format!("order {id} was believed never placed and is {} after all", row.status);
                    out.push(Action::Alarm(words));
                }
                if changed {
                    self.note_state(&id, now, out);
                }
            }
            Err(illegal) => out.push(Action::Alarm(format!("order {id}: {illegal}; kept as it was"))),
        }
    }

    fn adopt_external(&mut self, book: Book, row: &OrderRow, now: Now, out: &mut Vec<Action>) -> ClientOrderId {
        self.made += 1;
        let id = ClientOrderId::numbered(self.policy.run, self.made);
        let request = OrderRequest {
            instrument: row.instrument.clone(),
            side: row.side,
            quantity: row.quantity,
            order_type: row.order_type,
            validity: row.validity,
            product: row.product,
            intent: Intent::Open,
            valid_for: Duration::ZERO,
        };
        let mut order = Tracked::new(id.clone(), book, request.clone(), now);
        order.external = true;
        order.sent_at = Some(now);
        self.orders.insert(id.clone(), order);
        self.record(&id, What::External { request, broker_id: row.order_id.clone() }, now, out);
        id
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

    fn note_state(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        let what = What::State {
            status: order.status,
            broker_id: order.broker_id.clone(),
            filled: order.filled,
            average_price: order.average_price,
            message: order.message.clone(),
        };
        self.ledger.begin(now.wall.ist_date());
        self.ledger.count(order);
        self.record(id, what, now, out);
        self.changed(id, out);
        self.cancel_if_wanted(id, now, out);
        self.look_at_losses(now, out);
    }

    pub(super) fn answer(&mut self, id: &ClientOrderId, words: String, now: Now, out: &mut Vec<Action>) {
        self.record(id, What::Answer(words), now, out);
    }

    pub(super) fn record(&self, id: &ClientOrderId, what: What, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        out.push(Action::Journal(Record { at: now.wall, id: Some(id.clone()), book: order.book, what }));
    }

    pub(super) fn changed(&self, id: &ClientOrderId, out: &mut Vec<Action>) {
        if let Some(order) = self.orders.get(id) {
            out.push(Action::Changed(Box::new(order.clone())));
        }
    }
}
