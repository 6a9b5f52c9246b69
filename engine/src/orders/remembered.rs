//! What is asked for while there is no live session, and remembered until there is one.
//!
//! * A *cancel* is written down ([`What::CancelWanted`]), survives a restart, and is sent by itself once live orders have
//!   been compared with the broker's, if the order still works then.
//! * An *exit* of live exposure is never sent by itself: prices have moved. It comes back as an event on the same day, once,
//!   if there is still something to exit. It does not survive a restart.

use chrono::NaiveDate;
use nirantar_brokers::time::Now;
use nirantar_brokers::{Block, Book, ClientOrderId, Intent, OrderRequest, OrderStatus, Quantity, Venue};

use super::{Action, CommandKind, Desk, Refused, Tracked, What};
use crate::session::TradingMode;

/// Exits that are remembered at most; of more the oldest is forgotten.
const MOST_EXITS: usize = 64;

/// An exit that could not be sent, and its day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExitWanted {
    day: NaiveDate,
    request: OrderRequest,
}

impl Desk {
    // --- cancels -----------------------------------------------------------------------------------------------

    /// Whether a cancel of a live order may leave: orders go to the broker, or trading is halted under a token that
    /// lives and whose book has been compared.
    pub(super) fn cancels_pass(&self) -> bool {
        self.settled
            && match self.route.venue {
                Venue::Live => true,
                Venue::Blocked(Block::Halted) => self.token_lives && self.compared,
                Venue::Paper | Venue::Blocked(_) => false,
            }
    }

    /// Whether a cancel that was refused for `why` is to be remembered instead.
    pub(super) fn remembers(&self, id: &ClientOrderId, why: &Refused) -> bool {
        let Some(order) = self.orders.get(id).filter(|order| order.book == Book::Live) else { return false };
        match why {
            Refused::NoLiveSession | Refused::Blocked(_) => true,
            // Its number may never come; of one in flight it comes in a moment.
            Refused::NotConfirmed => order.status == OrderStatus::Unknown || !self.cancels_pass(),
            _ => false,
        }
    }

    /// Writes down that an order is to be cancelled, unless that is known or its cancel is on its way.
    pub(super) fn want_cancel(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) {
        let asked = self.cancel_is_under_way(id);
        let Some(order) = self.orders.get_mut(id).filter(|order| !asked && !order.cancel_wanted) else { return };
        order.cancel_wanted = true;
        self.record(id, What::CancelWanted, now, out);
        self.look_to_cancel(now);
    }

    pub(super) fn cancel_is_under_way(&self, id: &ClientOrderId) -> bool {
        let is_it = |of: &ClientOrderId, kind: &CommandKind| of == id && *kind == CommandKind::Cancel;
        self.queue.iter().any(|waiting| is_it(&waiting.id, &waiting.kind))
            || self.on_their_way.values().any(|message| is_it(&message.id, &message.kind))
    }

    /// Sends every remembered cancel that may leave now.
    pub(super) fn send_wanted(&mut self, now: Now, out: &mut Vec<Action>) {
        // Of what is finished nothing is to be cancelled.
        for id in self.orders.unfinished_ids(|order| order.cancel_wanted) {
            self.cancel_if_wanted(&id, now, out);
        }
    }

    pub(super) fn cancel_if_wanted(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        let possible = order.cancel_wanted && order.broker_id.is_some() && !order.status.is_final();
        let passes = if order.book == Book::Live { self.cancels_pass() } else { self.settled };
        if possible && passes && !self.waits_to_try_again(id, now) {
            self.insist(id);
            // It works, and its book can be reached: nothing is left that could refuse this.
            let _ = self.cancel(id, now, out);
        }
    }

    /// Whether the token lives under which messages would leave. Without one nothing is compared.
    pub fn token(&mut self, lives: bool, now: Now) {
        self.token_lives = lives;
        self.compared &= lives;
        self.look_to_cancel(now);
    }

    /// While trading is halted nobody goes the way back to live, which begins with a comparison; but before a remembered
    /// cancel leaves, the broker's book must have been seen under the token in use.
    pub(super) fn must_look_to_cancel(&self) -> bool {
        let waits = |order: &Tracked| order.book == Book::Live && order.cancel_wanted && !order.status.is_final();
        self.mode == TradingMode::Halted && self.token_lives && !self.compared && self.orders.unfinished().any(waits)
    }

    pub(super) fn look_to_cancel(&mut self, now: Now) {
        if self.must_look_to_cancel() {
            self.reconciliation.look_soon(now.mono);
        }
    }

    /// The broker's book was read whole.
    pub(super) fn seen_while_halted(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.mode == TradingMode::Halted {
            self.compared(now, out);
        }
    }

    /// Live orders and positions have been compared under the token in use: what was remembered may leave.
    pub fn compared(&mut self, now: Now, out: &mut Vec<Action>) {
        self.compared = self.token_lives;
        self.send_wanted(now, out);
    }

    // --- exits -------------------------------------------------------------------------------------------------

    /// Remembers an exit of live exposure that cannot be sent. A later one of the same holding takes its place.
    pub(super) fn remember_exit(&mut self, request: &OrderRequest, now: Now) {
        if request.intent != Intent::Reduce(Book::Live) {
            return;
        }
        let same = |exit: &ExitWanted| {
            let known = &exit.request;
            (&known.instrument, known.side, known.product) == (&request.instrument, request.side, request.product)
        };
        self.exits.retain(|exit| !same(exit));
        if self.exits.len() >= MOST_EXITS {
            self.exits.remove(0);
        }
        self.exits.push(ExitWanted { day: now.wall.ist_date(), request: request.clone() });
    }

    /// Live exits may go: gives back what was remembered today and still has something to exit.
    pub(super) fn offer_exits(&mut self, now: Now, out: &mut Vec<Action>) {
        let today = now.wall.ist_date();
        for ExitWanted { day, request } in std::mem::take(&mut self.exits) {
            let left = Quantity::new(self.left_to_reduce(Book::Live, &request));
            let quantity = request.quantity.min(left);
            if day == today && !quantity.is_zero() {
                out.push(Action::ExitWanted(Box::new(OrderRequest { quantity, ..request })));
            }
        }
    }
}

/// A live order that may be filled while nobody can reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Our number.
    pub id: ClientOrderId,
    /// What, in which direction and so on.
    pub request: OrderRequest,
    /// Units that may still be filled.
    pub left: Quantity,
}

impl OpenOrder {
    pub(super) fn of(order: &Tracked) -> Self {
        Self { id: order.id.clone(), request: order.request.clone(), left: order.left() }
    }
}

impl std::fmt::Display for OpenOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} ({})", self.request.side, self.left, self.request.instrument, self.id)
    }
}

impl Desk {
    /// Live orders that may be filled: those that rest, and those nobody knows about.
    #[must_use]
    pub fn open_live_orders(&self) -> (Vec<OpenOrder>, Vec<OpenOrder>) {
        let open = self.orders.values().filter(|order| order.book == Book::Live && order.may_be_working());
        let known = |order: &&Tracked| {
            matches!(order.status, OrderStatus::Accepted | OrderStatus::TriggerPending | OrderStatus::Open)
        };
        let (resting, unknown): (Vec<&Tracked>, Vec<&Tracked>) = open.partition(known);
        let named = |orders: Vec<&Tracked>| orders.into_iter().map(OpenOrder::of).collect();
        (named(resting), named(unknown))
    }
}
