//! Changing and cancelling an order.
//!
//! The broker's desk looks first, and refuses at once what cannot be; then the exchange has its say, as the order stands
//! when the message gets there.

use std::sync::Arc;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerOrderId, OrderChange, OrderStatus, Quantity, Validity};

use super::checks::{self, Plan};
use super::lines::Message;
use super::order::{Order, words};
use super::types::{Rejection, RejectionKind};
use super::{MockExchange, words_of};
use crate::account::Shortage;
use crate::matching::OrderNo;

/// What an order is to be from now on.
#[derive(Clone, Copy, Debug)]
struct Terms {
    plan: Plan,
    quantity: Quantity,
    validity: Validity,
    deadline: Option<Timestamp>,
}

impl MockExchange {
    /// Changes a working order. A new price, or more units, costs it its place in the queue; fewer units do not. One that
    /// is on its way to the exchange may be changed too: the change follows it.
    ///
    /// Where the way takes time ([`Config::latency`](super::Config::latency)) nothing is told before the change is there.
    /// If the order has ended by then, nothing changes; if the exchange refuses, the order's row says so in words.
    ///
    /// # Errors
    /// [`Rejection`] when there is no such order, it works no more, or the change breaks a rule: it is as it was.
    pub fn modify(
        &mut self,
        id: &BrokerOrderId,
        change: &OrderChange,
        now: Timestamp,
    ) -> Result<BrokerOrderId, Rejection> {
        self.wake(now);
        let no = self.touchable(id)?;
        let terms = self.terms(no, change)?;
        if self.lines.are_instant() {
            self.change(no, terms);
        } else {
            self.lines.send(Message::Change(no, change.clone()), self.clock);
        }
        Ok(id.clone())
    }

    /// Cancels what is left of a working order, or of one on its way. Where the way takes time a fill may come first.
    ///
    /// # Errors
    /// [`Rejection`] when there is no such order or it works no more.
    pub fn cancel(&mut self, id: &BrokerOrderId, now: Timestamp) -> Result<BrokerOrderId, Rejection> {
        self.wake(now);
        let no = self.touchable(id)?;
        if self.lines.are_instant() {
            self.withdraw(no);
        } else {
            self.lines.send(Message::Cancel(no), self.clock);
        }
        Ok(id.clone())
    }

    /// A change has got there.
    pub(super) fn changed(&mut self, no: OrderNo, change: &OrderChange) {
        if self.orders.get(no).is_none_or(Order::is_final) {
            return;
        }
        match self.may_touch(no).and_then(|()| self.terms(no, change)) {
            Ok(terms) => self.change(no, terms),
            Err(rejection) => self.stays(no, words::MODIFYING, rejection),
        }
    }

    /// A cancel has got there.
    pub(super) fn cancelled(&mut self, no: OrderNo) {
        if self.orders.get(no).is_none_or(Order::is_final) {
            return;
        }
        match self.may_touch(no) {
            Ok(()) => self.withdraw(no),
            Err(rejection) => self.stays(no, words::CANCELLING, rejection),
        }
    }

    fn withdraw(&mut self, no: OrderNo) {
        self.step(no, OrderStatus::Accepted, words::CANCELLING, None);
        // No message: Kite leaves it empty when the user cancels.
        self.cancel_rest(no, None);
    }

    /// The exchange refused what was asked of an order: it is as it was.
    fn stays(&mut self, no: OrderNo, asked: &'static str, rejection: Rejection) {
        let Some(order) = self.orders.get(no) else { return };
        let (status, word) = (order.row.status, order.row.broker_status.clone());
        self.step(no, OrderStatus::Accepted, asked, None);
        self.step(no, status, word, Some(rejection.message));
    }

    /// The order of that number, if it may be changed or cancelled now.
    fn touchable(&self, id: &BrokerOrderId) -> Result<OrderNo, Rejection> {
        let no = *self.by_id.get(id).ok_or_else(Rejection::no_such_order)?;
        self.may_touch(no).map(|()| no)
    }

    fn may_touch(&self, no: OrderNo) -> Result<(), Rejection> {
        let order = self.orders.get(no).ok_or_else(Rejection::no_such_order)?;
        if order.auctioned && order.row.status == OrderStatus::Filled {
            return Err(Rejection::order("Trade executed during closing auction session is not allowed to cancel."));
        }
        if order.is_final() {
            return Err(Rejection::order(format!(
                "Order cannot be changed or cancelled: it is {}.",
                order.row.broker_status
            )));
        }
        self.check_touch(order)
    }

    /// What a change makes of an order.
    fn terms(&mut self, no: OrderNo, change: &OrderChange) -> Result<Terms, Rejection> {
        let order = self.orders.get(no).ok_or_else(Rejection::no_such_order)?;
        let listing = self.listings.get(order.instrument).ok_or_else(Rejection::no_such_order)?;
        let quantity = change.quantity.unwrap_or(order.row.quantity);
        checks::check_quantity(&listing.instrument, quantity)?;
        if quantity <= order.row.filled {
            return Err(Rejection::input("Quantity should be above what is already filled."));
        }
        let validity = change.validity.unwrap_or(order.row.validity);
        checks::check_validity(validity)?;
        // Closed is closed, whatever changes.
        self.check_entry(listing, change.order_type.unwrap_or(order.row.order_type), validity)?;
        self.check_product(listing, order.row.product, quantity)?;
        let mut plan = order.plan;
        if let Some(order_type) = change.order_type {
            let last = listing.market.map(|market| market.last_price);
            plan = self.plan(order.instrument, order.row.side, order_type)?;
            self.check_range(order.instrument, order_type)?;
            let fired = |plan: Plan| plan.stop.filter(|stop| stop.fired).map(|stop| stop.trigger);
            // A stop that has fired stays in the market, unless it is given another trigger.
            if let (Some(stop), Some(last)) = (plan.stop, last)
                && fired(order.plan) == Some(stop.trigger)
            {
                plan.fire(&listing.instrument, order.row.side, last);
            }
        }
        let deadline = match change.validity {
            Some(validity) => self.deadline(listing, validity),
            None => order.deadline,
        };
        let (old, new) = (order.resting_claim(), order.claim(quantity.less(order.row.filled), plan.limit));
        self.account.release(old);
        let checked = self.account.check(new);
        self.account.block(old);
        checked.map_err(|shortage| Rejection::new(kind_of(shortage), words_of(shortage)))?;
        Ok(Terms { plan, quantity, validity, deadline })
    }

    fn change(&mut self, no: OrderNo, terms: Terms) {
        let Terms { plan, quantity, validity, deadline } = terms;
        let Some(order) = self.orders.get(no) else { return };
        let open = quantity.less(order.row.filled);
        // A changed order is a new one in the closing auction.
        let anew = self.listings.get(order.instrument).is_some_and(|it| self.step_of(it).is_closing_entry());
        let keeps_place = plan == order.plan && open <= order.open() && !anew;
        self.account.release(order.resting_claim());
        self.account.block(order.claim(open, plan.limit));

        self.step(no, OrderStatus::Accepted, words::MODIFY_VALIDATING, None);
        self.step(no, OrderStatus::Accepted, words::MODIFYING, None);
        if !keeps_place {
            self.leave_book(no);
        }
        if let Some(order) = self.orders.get_mut(no) {
            order.plan = plan;
            let row = Arc::make_mut(&mut order.row);
            (row.quantity, row.validity, row.order_type) = (quantity, validity, plan.shown());
        }
        self.set_deadline(no, deadline);
        self.step(no, OrderStatus::Accepted, words::MODIFIED, None);
        if keeps_place {
            self.stay(no, open);
        } else {
            self.enter(no);
        }
    }
}

fn kind_of(shortage: Shortage) -> RejectionKind {
    match shortage {
        Shortage::Funds { .. } => RejectionKind::Margin,
        Shortage::Shares { .. } => RejectionKind::Holding,
        Shortage::Rates(_) => RejectionKind::Order,
    }
}
