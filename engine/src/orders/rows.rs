//! Acting on rows: what the broker's book, its updates and the paper exchange show of orders.
//!
//! A row finds its order by the broker's number, by the number of the whole it is a slice of, or by our tag. Rows may
//! come before the reply, twice, and out of order. What a row means is decided in [`super::outcome`].

use std::time::Duration;

use nirantar_brokers::time::Now;
use nirantar_brokers::{Book, ClientOrderId, Intent, OrderRequest, OrderRow, OrderStatus, Price, Quantity};

use super::outcome::{Shown, Then, on_row};
use super::tracked::Taken;
use super::{Action, Desk, Tracked, What};

impl Desk {
    /// The broker or the paper exchange says something of an order.
    pub fn update(&mut self, book: Book, row: &OrderRow, now: Now, out: &mut Vec<Action>) {
        if self.is_early_slice(book, row) {
            let kept = self.early_slices.entry((book, row.order_id.clone())).or_insert_with(|| row.clone());
            if row.filled >= kept.filled && (row.status.is_final() || !kept.status.is_final()) {
                *kept = row.clone();
            }
            return;
        }
        let ours = self.by_broker_id.get(book, &row.order_id).and_then(|id| self.orders.get(id));
        if ours.is_some_and(|order| order.says_nothing_new(row)) {
            return; // most rows of most reads
        }
        let (found, shown) = self.whose(book, row);
        let (id, slice) = match (on_row(shown).then, found) {
            (Then::TakeSlice, Some(id)) => (id, true),
            (Then::Take, Some(id)) => (id, false),
            (_, found) => {
                if let Some(id) = found {
                    let (other, side, units) = (&row.order_id, row.side, row.quantity);
                    let words = format!(
                        "order {id} is at the broker twice: {other} ({side} {units} {}) carries its tag too; adopted as \
                         placed elsewhere",
                        row.instrument
                    );
                    out.push(Action::Alarm(words));
                }
                (self.adopt_external(book, row, now, out), false)
            }
        };
        self.take_row(&id, row, slice, now, out);
    }

    /// Whose the row is.
    fn whose(&self, book: Book, row: &OrderRow) -> (Option<ClientOrderId>, Shown) {
        let by_number = |number| self.by_broker_id.get(book, number).and_then(|id| self.orders.get(id));
        if let Some(order) = by_number(&row.order_id) {
            let slice = order.slices.contains(&row.order_id);
            let shown = if slice { Shown::Slice(order.status) } else { Shown::Order(order.status) };
            return (Some(order.id.clone()), shown);
        }
        let whole = row.parent_id.as_ref().and_then(by_number).filter(|order| could_be_slice(order, row));
        if let Some(order) = whole {
            return (Some(order.id.clone()), Shown::Slice(order.status));
        }
        let tagged = row.client_id.as_ref().and_then(|id| self.orders.get(id));
        let Some(order) = tagged.filter(|order| order.book == book && !order.external) else {
            return (None, Shown::Stranger);
        };
        let shown = match (&order.broker_id, &row.parent_id) {
            (None, Some(_)) if could_be_slice(order, row) => Shown::Slice(order.status),
            (None, _) => Shown::Order(order.status),
            (Some(_), _) => Shown::SecondNumber,
        };
        (Some(order.id.clone()), shown)
    }

    fn take_row(&mut self, id: &ClientOrderId, row: &OrderRow, slice: bool, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(id) else { return };
        let (was, told_before) = (order.status, Told::of(order));
        let words_before = row.message.is_some().then(|| order.message.clone());
        let Taken { new, illegal } = if slice { order.apply_slice(row) } else { order.apply(row) };
        let ahead = self.take_ahead(id, new);
        let Some(order) = self.orders.get_mut(id) else { return };
        let book = order.book;
        let signed = order.request.side.signed(new.less(ahead));
        self.exposure.fill(book, &order.request.instrument, order.request.product, signed);
        self.by_broker_id.insert(book, &row.order_id, id);
        if let Some(whole) = row.parent_id.as_ref().filter(|_| slice) {
            self.by_broker_id.insert(book, whole, id);
        }
        if let Some(illegal) = illegal
            && order.alarmed_at != Some(illegal.to)
        {
            order.alarmed_at = Some(illegal.to);
            let fills = if new.is_zero() { String::new() } else { format!("; {new} units are filled all the same") };
            out.push(Action::Alarm(format!("order {id}: {illegal}; kept as it was{fills}")));
        }
        if was != order.status
            && let Some(believed) = believed(was)
        {
            let (side, filled, of) = (order.request.side, order.filled, order.request.quantity);
            let words = format!(
                "order {id} ({side} {of} {}) was {believed} and is {} after all, {filled} of {of} filled; it counts again",
                order.request.instrument, order.status
            );
            out.push(Action::Alarm(words));
        }
        // Words change by those of a row only.
        let new_words = words_before.is_some_and(|before| before != order.message);
        if told_before != Told::of(order) || new_words {
            self.note_state(id, now, out);
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

    /// A slice without our tag, of a whole that nobody has named yet, while the reply that may name it is on its way.
    fn is_early_slice(&self, book: Book, row: &OrderRow) -> bool {
        let Some(whole) = &row.parent_id else { return false };
        let known = [whole, &row.order_id].into_iter().any(|number| self.by_broker_id.contains(book, number));
        let tagged = row.client_id.as_ref().is_some_and(|id| self.orders.contains_key(id));
        let awaited = |order: &Tracked| {
            order.book == book && order.in_flight.is_some() && order.broker_id.is_none() && could_be_slice(order, row)
        };
        !known && !tagged && self.orders.values().any(awaited)
    }

    /// A reply has come: slices that waited for it find their whole, wait for another, or are adopted.
    pub(super) fn look_at_early_slices(&mut self, now: Now, out: &mut Vec<Action>) {
        for ((book, _), row) in std::mem::take(&mut self.early_slices) {
            self.update(book, &row, now, out);
        }
    }
}

/// A leg of another kind of order has a parent too, but the other side.
fn could_be_slice(order: &Tracked, row: &OrderRow) -> bool {
    let OrderRequest { instrument, side, product, .. } = &order.request;
    !order.external && (instrument, *side, *product) == (&row.instrument, row.side, row.product)
}

/// What was believed of an order that nobody could see.
const fn believed(status: OrderStatus) -> Option<&'static str> {
    use OrderStatus::{NotPlaced, Unresolved};
    match status {
        NotPlaced => Some("believed never placed"),
        Unresolved => Some("unresolved when its day ended"),
        _ => None,
    }
}

/// What the journal and the listeners are told of an order, its words aside.
#[derive(PartialEq)]
struct Told {
    status: OrderStatus,
    /// Once it has one it is the same for ever.
    has_number: bool,
    quantity: Quantity,
    filled: Quantity,
    average_price: Price,
}

impl Told {
    fn of(order: &Tracked) -> Self {
        Self {
            status: order.status,
            has_number: order.broker_id.is_some(),
            quantity: order.request.quantity,
            filled: order.filled,
            average_price: order.average_price,
        }
    }
}
