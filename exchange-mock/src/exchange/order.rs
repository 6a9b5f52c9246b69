//! One order inside the exchange, and the words its rows use.

use std::sync::Arc;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, OrderRow, OrderStatus, Price, Quantity, SmolStr, ToSmolStr};

use super::checks::Plan;
use crate::account::{Claim, InstrumentNo};
use crate::matching::{Key, OrderNo};

/// Kite's words for the steps of an order (kite.md 2.6).
pub(super) mod words {
    pub(in super::super) const RECEIVED: &str = "PUT ORDER REQ RECEIVED";
    pub(in super::super) const VALIDATING: &str = "VALIDATION PENDING";
    pub(in super::super) const OPENING: &str = "OPEN PENDING";
    pub(in super::super) const OPEN: &str = "OPEN";
    pub(in super::super) const TRIGGER: &str = "TRIGGER PENDING";
    pub(in super::super) const COMPLETE: &str = "COMPLETE";
    pub(in super::super) const CANCELLING: &str = "CANCEL PENDING";
    pub(in super::super) const CANCELLED: &str = "CANCELLED";
    pub(in super::super) const REJECTED: &str = "REJECTED";
    pub(in super::super) const MODIFY_VALIDATING: &str = "MODIFY VALIDATION PENDING";
    pub(in super::super) const MODIFYING: &str = "MODIFY PENDING";
    pub(in super::super) const MODIFIED: &str = "MODIFIED";
}

/// The exchange's own number of an order, by its place among the day's.
pub(super) fn number_at_exchange(no: OrderNo) -> SmolStr {
    (1_100_000_000_000_001 + no as u64).to_smolstr()
}

/// An order and all that became of it.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) instrument: InstrumentNo,
    /// The latest row: shared with those who were told of it, until it changes.
    pub(super) row: Arc<OrderRow>,
    /// Every row, oldest first.
    pub(super) rows: Vec<Arc<OrderRow>>,
    pub(super) plan: Plan,
    /// What the book knows it by, while it is there.
    pub(super) key: Option<Key>,
    /// Only ticks stamped then or later may fill it.
    pub(super) entered: Timestamp,
    /// Worth of what is filled.
    pub(super) value: Money,
    /// When the rest is cancelled.
    pub(super) deadline: Option<Timestamp>,
    /// Whether it traded in a closing auction.
    pub(super) auctioned: bool,
    /// Places of its trades in the exchange's list.
    pub(super) trades: Vec<usize>,
}

impl Order {
    /// How many are still wanted.
    pub(super) fn open(&self) -> Quantity {
        self.row.quantity.less(self.row.filled)
    }

    pub(super) fn is_final(&self) -> bool {
        self.row.status.is_final()
    }

    /// Whether it waits in a book.
    pub(super) fn is_working(&self) -> bool {
        matches!(self.row.status, OrderStatus::Open | OrderStatus::TriggerPending)
    }

    /// So many of it at that price, for the account.
    pub(super) fn claim(&self, quantity: Quantity, price: Price) -> Claim {
        Claim { instrument: self.instrument, product: self.row.product, side: self.row.side, quantity, price }
    }

    /// What it ties up while it rests.
    pub(super) fn resting_claim(&self) -> Claim {
        self.claim(self.open(), self.plan.limit)
    }
}
