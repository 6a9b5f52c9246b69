//! Orders over REST: placing, changing, cancelling, and what the book shows of them (kite.md 2.3 to 2.7).

use nirantar_brokers::kite::wire::form::{Modification, Placement};
use nirantar_brokers::kite::wire::rest::{self, Child, ChildError, OrderExtras, Placed};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, BrokerToken, Form, InstrumentKey, OrderRequest, OrderRow, OrderStatus, Quantity, Secret,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::Fault;
use super::api::Acted;
use super::core::KiteExchange;
use super::reply::{ApiError, Reply};
use crate::{Rejection, RejectionKind, Step};

/// Longest tag (kite.md 2.3).
const MAX_TAG: usize = 20;
/// Most slices of an auto-sliced order.
const MAX_SLICES: u64 = 10;

/// The words of an order that [`Fault::Reject`] hits.
const REJECTED: &str = "RMS: rejected on demand.";

/// What the server remembers of an order beside the exchange's rows.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// The tag as it was sent.
    tag: Option<String>,
    placed: Timestamp,
    disclosed: Quantity,
    modified: bool,
    /// The auto-sliced order it is a part of.
    parent: Option<String>,
    /// Whether an update said that it is open: the next one says `UPDATE`.
    told_open: bool,
}

impl KiteExchange {
    /// `POST /orders/{variety}`.
    pub(super) fn place(&mut self, variety: &str, form: &Form, acted: &mut Acted) -> Result<Value, ApiError> {
        check_variety(variety)?;
        let Placement { order, tag, disclosed, autoslice } =
            Placement::read(form).map_err(|error| ApiError::input(error.to_string()))?;
        if tag.as_ref().is_some_and(|tag| tag.chars().count() > MAX_TAG) {
            return Err(ApiError::input("Invalid `tag`. Maximum 20 characters are allowed."));
        }
        let closing = self.exchange.market_step(&order.instrument).is_some_and(Step::is_closing_entry);
        if closing && !disclosed.is_zero() {
            let words = "Orders with a disclosed quantity are not allowed in the closing auction session.";
            return Err(refused(Rejection::new(RejectionKind::Order, words)));
        }
        let note = Note { tag, placed: self.now, disclosed, modified: false, parent: None, told_open: false };
        let placed = if autoslice {
            self.place_slices(&order, &note)?
        } else {
            Placed::one(self.place_one(&order, note).map_err(refused)?)
        };
        acted.accepted = true;
        acted.order_id = Some(placed.order_id.clone());
        self.publish_orders();
        to_json(&placed)
    }

    /// `PUT /orders/{variety}/{id}`.
    pub(super) fn modify(
        &mut self,
        variety: &str,
        id: &str,
        form: &Form,
        acted: &mut Acted,
    ) -> Result<Value, ApiError> {
        check_variety(variety)?;
        let id = BrokerOrderId::new(id);
        let change = Modification::read(form).map_err(|error| ApiError::input(error.to_string()))?;
        let current = self.latest(&id).ok_or_else(no_such_order)?.order_type;
        let change = change.apply(current).map_err(|error| ApiError::input(error.to_string()))?;
        self.exchange.modify(&id, &change, self.now).map_err(refused)?;
        acted.accepted = true;
        if let Some(note) = self.notes.get_mut(&id) {
            note.modified = true;
        }
        self.publish_orders();
        to_json(&Placed::one(id.0))
    }

    /// `DELETE /orders/{variety}/{id}`.
    pub(super) fn cancel(&mut self, variety: &str, id: &str, acted: &mut Acted) -> Result<Value, ApiError> {
        check_variety(variety)?;
        let id = BrokerOrderId::new(id);
        self.latest(&id).ok_or_else(no_such_order)?;
        self.exchange.cancel(&id, self.now).map_err(refused)?;
        acted.accepted = true;
        self.publish_orders();
        to_json(&Placed::one(id.0))
    }

    /// `GET /orders`. It is the day's: overnight it empties (kite.md 2.5).
    pub(super) fn book(&mut self) -> Result<Reply, ApiError> {
        let (since, today) = (self.seen_until(), self.now.ist_date());
        let of_today = self.exchange.book().filter(|row| row.placed_at.ist_date() == today);
        let rows: Vec<rest::Order> =
            of_today.filter(|row| self.is_seen(&row.order_id, since)).map(|row| self.shown(row)).collect();
        Reply::of(&rows)
    }

    /// `GET /orders/{id}`.
    pub(super) fn history(&mut self, id: &str) -> Result<Value, ApiError> {
        let (since, id) = (self.seen_until(), BrokerOrderId::new(id));
        let rows = self.exchange.history(&id).filter(|_| self.is_seen(&id, since)).ok_or_else(no_such_order)?;
        to_json(&rows.iter().map(|row| self.shown(row)).collect::<Vec<_>>())
    }

    /// `GET /trades`.
    pub(super) fn trades(&mut self) -> Result<Reply, ApiError> {
        let since = self.seen_until();
        self.trades_where(|id| self.is_seen(id, since))
    }

    /// `GET /orders/{id}/trades`.
    pub(super) fn order_trades(&mut self, id: &str) -> Result<Reply, ApiError> {
        let (since, id) = (self.seen_until(), BrokerOrderId::new(id));
        if self.latest(&id).is_none() || !self.is_seen(&id, since) {
            return Err(no_such_order());
        }
        self.trades_where(|other| *other == id)
    }

    /// The text frame that tells of a row, shaped like a postback. Transitional states are not told: whether the
    /// broker does is not known, and a client must cope without. An open order that was open before is an `UPDATE`.
    pub(super) fn postback(&mut self, row: &OrderRow) -> Option<String> {
        if row.status == OrderStatus::Accepted {
            return None;
        }
        let mut order = self.shown(row);
        if row.status == OrderStatus::Open
            && let Some(note) = self.notes.get_mut(&row.order_id)
        {
            let again = std::mem::replace(&mut note.told_open, true);
            if again || !row.filled.is_zero() {
                order.status = "UPDATE".to_owned();
            }
        }
        let mut data = to_json(&order).ok()?;
        let fields = data.as_object_mut()?;
        let at = fields.get("order_timestamp").and_then(Value::as_str).unwrap_or_default();
        let checksum = rest::checksum(&order.order_id, &Secret::new(at), &self.settings.api_secret);
        fields.shift_remove("modified");
        fields.insert("user_id".to_owned(), json!(self.settings.user_id));
        fields.insert("app_id".to_owned(), json!(1));
        fields.insert("unfilled_quantity".to_owned(), json!(row.quantity.less(row.filled).get()));
        fields.insert("checksum".to_owned(), json!(checksum));
        Some(json!({ "type": "order", "data": data }).to_string())
    }

    fn place_one(&mut self, order: &OrderRequest, note: Note) -> Result<String, Rejection> {
        // A tag that could be no client order id is kept in the note only.
        let client_id = note.tag.as_ref().and_then(|tag| tag.parse().ok());
        if self.faults.hit(Fault::Reject) {
            self.exchange.reject_next(Some((REJECTED, Some(1))));
        }
        let placed = self.exchange.place(order, client_id.as_ref(), self.now);
        self.exchange.reject_next(None);
        let id = placed?;
        self.notes.insert(id.clone(), note);
        Ok(id.to_string())
    }

    /// Cuts an order into slices, each an order of its own. The parent's number is in no book.
    fn place_slices(&mut self, order: &OrderRequest, note: &Note) -> Result<Placed, ApiError> {
        let lot = self.exchange.instrument(&order.instrument).map_or(1, |known| known.lot.get().max(1));
        let largest = (self.settings.freeze_quantity.get() / lot).max(1).saturating_mul(lot);
        let whole = order.quantity.get();
        if whole.div_ceil(largest) > MAX_SLICES {
            return Err(ApiError::input(format!("Order exceeds the maximum of {MAX_SLICES} slices.")));
        }
        self.slices += 1;
        let parent = format!("9{:018}", self.slices);
        let (mut left, mut children, mut first) = (whole, Vec::new(), None);
        while left > 0 {
            let quantity = left.min(largest);
            left -= quantity;
            let slice = OrderRequest { quantity: Quantity::new(quantity), ..order.clone() };
            let child = Note { parent: Some(parent.clone()), ..note.clone() };
            children.push(match self.place_one(&slice, child) {
                Ok(order_id) => Child::Placed { order_id },
                Err(rejection) => {
                    let ApiError { status, error_type, message } = refused(rejection);
                    first.get_or_insert_with(|| ApiError::new(status, error_type, message.clone()));
                    let error_type = error_type.to_owned();
                    Child::Failed { error: ChildError { code: status, error_type, message, data: () } }
                }
            });
        }
        let placed = Placed { order_id: parent, children };
        match (placed.failed(), first) {
            (Some(_), Some(error)) => Err(error),
            _ => Ok(placed),
        }
    }

    /// The row as the wire shows it.
    fn shown(&self, row: &OrderRow) -> rest::Order {
        let note = self.notes.get(&row.order_id);
        let mut system_tags = Vec::new();
        if let Some(points) = self.exchange.was_market(&row.order_id) {
            system_tags.push("mktp".to_owned());
            system_tags.push(format!("mktp:{}", percent(u64::from(points))));
        }
        if let Some(parent) = note.and_then(|note| note.parent.as_ref()) {
            system_tags.push("autoslice".to_owned());
            system_tags.push(format!("autoslice:{parent}"));
        }
        let cancelled = match row.status {
            OrderStatus::Cancelled => row.quantity.less(row.filled),
            _ => Quantity::ZERO,
        };
        let extras = OrderExtras {
            account_id: self.settings.user_id.clone(),
            instrument_token: self.token_of(&row.instrument),
            modified: note.is_some_and(|note| note.modified),
            cancelled,
            disclosed: note.map(|note| note.disclosed).unwrap_or_default(),
            system_tags,
        };
        let mut order = rest::Order::from_row(row, extras);
        if let Some(tag) = note.and_then(|note| note.tag.clone()).filter(|_| order.tag.is_none()) {
            order.tags.insert(0, tag.clone());
            order.tag = Some(tag);
        }
        order
    }

    fn trades_where(&self, wanted: impl Fn(&BrokerOrderId) -> bool) -> Result<Reply, ApiError> {
        let today = self.now.ist_date();
        let rows: Vec<rest::Trade> = self
            .exchange
            .trades()
            .iter()
            .filter(|trade| trade.at.ist_date() == today && wanted(&trade.order_id))
            .map(|trade| {
                let order = self.latest(&trade.order_id);
                let token = self.token_of(&trade.instrument);
                let exchange_id = order.and_then(|row| row.exchange_order_id.as_ref()).map(ToString::to_string);
                rest::Trade::from_trade(trade, token, exchange_id, order.map_or(trade.at, |row| row.placed_at))
            })
            .collect();
        Reply::of(&rows)
    }

    fn latest(&self, id: &BrokerOrderId) -> Option<&OrderRow> {
        self.exchange.order(id)
    }

    /// The instrument's token; an order's instrument is always known.
    fn token_of(&self, key: &InstrumentKey) -> BrokerToken {
        self.exchange.instrument(key).map_or(BrokerToken(0), |known| known.token)
    }

    /// Orders placed after this moment cannot be seen yet: one request under [`Fault::BookDelay`].
    fn seen_until(&mut self) -> Timestamp {
        let delay = self.faults.take(|fault| if let Fault::BookDelay(span) = fault { Some(span) } else { None });
        delay.map_or(self.now, |delay| self.now - delay)
    }

    fn is_seen(&self, id: &BrokerOrderId, until: Timestamp) -> bool {
        self.notes.get(id).is_none_or(|note| note.placed <= until)
    }
}

/// A value as JSON.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(|_| ApiError::server(500))
}

/// A refusal by the exchange in the broker's words. The status of OrderException and HoldingException is not known;
/// 400 is what Go's SDK takes for granted.
fn refused(rejection: Rejection) -> ApiError {
    let error_type = match rejection.kind {
        RejectionKind::Input => "InputException",
        RejectionKind::Order => "OrderException",
        RejectionKind::Margin => "MarginException",
        RejectionKind::Holding => "HoldingException",
    };
    ApiError::new(400, error_type, rejection.message)
}

/// An order number that nobody knows. The words are ours: no sample of the real ones is known.
fn no_such_order() -> ApiError {
    ApiError::new(400, "OrderException", "Couldn't find that `order_id`.")
}

/// Only `regular` is simulated.
fn check_variety(variety: &str) -> Result<(), ApiError> {
    match variety {
        "regular" => Ok(()),
        "amo" | "co" | "iceberg" | "auction" => {
            Err(ApiError::input(format!("Orders of variety `{variety}` are not simulated here.")))
        }
        _ => Err(ApiError::input("Invalid `variety`.")),
    }
}

/// Hundredths of a percent as percent, without needless zeros: `3`, `0.5`.
fn percent(points: u64) -> String {
    let (whole, part) = (points / 100, points % 100);
    match (part, part % 10) {
        (0, _) => whole.to_string(),
        (_, 0) => format!("{whole}.{}", part / 10),
        _ => format!("{whole}.{part:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_read_as_the_broker_writes_them() {
        assert_eq!([300, 50, 125, 5].map(percent), ["3", "0.5", "1.25", "0.05"]);
    }
}
