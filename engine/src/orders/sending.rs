//! From the desk to the socket: what is held, when it is sent, and what the gate turned back.

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Book, ClientOrderId, Intent, Venue};

use super::{Action, Command, CommandKind, Desk, Refused, SendId, Tracked, What};
use crate::session::Generation;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnItsWay {
    pub(super) id: ClientOrderId,
    pub(super) generation: Generation,
    pub(super) kind: CommandKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) id: ClientOrderId,
    pub(super) not_before: Monotonic,
}

impl Desk {
    /// The gate found the venue or the token changed: no byte of that message left.
    pub fn gate_shut(&mut self, send: SendId, now: Now, out: &mut Vec<Action>) {
        let Some(OnItsWay { id, kind, .. }) = self.on_their_way.remove(&send) else { return };
        self.record(&id, What::NotSent, now, out);
        if kind != CommandKind::Place {
            self.answer(&id, "not sent: orders go elsewhere now".to_owned(), now, out);
            return;
        }
        if let Some(order) = self.orders.get_mut(&id) {
            order.in_flight = None;
            if order.broker_id.is_some() {
                return; // another sending of it got there
            }
            order.sent_at = None;
        }
        self.held.push(Held { id, not_before: now.mono });
        if self.settled {
            self.release(now, out);
        }
    }

    /// Sends what may be sent now, and refuses what has waited too long.
    pub(super) fn release(&mut self, now: Now, out: &mut Vec<Action>) {
        self.refuse_held(|order| now.mono > deadline(order), &Refused::TooLate, now, out);
        let mut waiting = std::mem::take(&mut self.held);
        waiting.retain_mut(|held| !self.try_send(held, now, out));
        // What a refusal or a new order held in the meantime comes after.
        waiting.append(&mut self.held);
        self.held = waiting;
    }

    /// True once the order need not be held any more.
    fn try_send(&mut self, held: &mut Held, now: Now, out: &mut Vec<Action>) -> bool {
        let Some(order) = self.orders.get(&held.id) else { return true };
        if order.broker_id.is_some() || order.status.is_final() {
            return true; // it got there after all, whatever the answer was
        }
        if !self.settled || now.mono < held.not_before {
            return false;
        }
        let (book, request) = (order.book, order.request.clone());
        if book == Book::Paper && request.intent == Intent::Open && self.route.venue != Venue::Paper {
            self.refuse(&held.id, &Refused::PaperStopped, now, out);
            return true;
        }
        if request.intent == Intent::Open && self.route.venue == Venue::Paper && self.route.reduce_only {
            self.refuse(&held.id, &Refused::ReduceOnly, now, out);
            return true;
        }
        if book == Book::Live {
            if self.route.venue != Venue::Live {
                return false;
            }
            // A released order passes the checks of the venue it meets, not of the one it was submitted to.
            if let Err(why) = self.admit(&request) {
                self.refuse(&held.id, &why, now, out);
                return true;
            }
            let free = self.limiter.next_free(now.mono);
            if free > now.mono {
                held.not_before = free;
                return false;
            }
        }
        let command = Command::Place(Box::new(request));
        self.send(&held.id, book, command, CommandKind::Place, now, out);
        true
    }

    pub(super) fn refuse_held(
        &mut self,
        which: impl Fn(&Tracked) -> bool,
        why: &Refused,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let orders = &self.orders;
        let chosen = |held: &Held| orders.get(&held.id).is_some_and(&which);
        let (gone, kept): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held).into_iter().partition(chosen);
        self.held = kept;
        for held in gone {
            self.refuse(&held.id, why, now, out);
        }
    }

    pub(super) fn send(
        &mut self,
        id: &ClientOrderId,
        book: Book,
        command: Command,
        kind: CommandKind,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        self.sends += 1;
        let (send, route) = (SendId(self.sends), self.route);
        if book == Book::Live {
            self.limiter.count(now.mono);
        }
        self.record(id, What::Sending { generation: route.generation, command: kind.clone() }, now, out);
        if let Some(order) = self.orders.get_mut(id).filter(|_| kind == CommandKind::Place) {
            order.in_flight = Some(send.0);
            order.sent_at = Some(now);
            order.generation = route.generation;
        }
        self.on_their_way.insert(send, OnItsWay { id: id.clone(), generation: route.generation, kind });
        out.push(Action::Send { send, id: id.clone(), book, route, command });
    }
}

/// The last moment an order may be sent.
pub(super) fn deadline(order: &Tracked) -> Monotonic {
    order.submitted.mono + order.request.valid_for
}
