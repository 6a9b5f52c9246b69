//! An order that the broker cut into slices: each is an order of its own in the broker's book, under the number of the
//! whole, which is in no book.
//!
//! Rows of slices come in any order, repeat, and may come before the reply that names the whole. Together they tell the
//! order's fills (added up, the price weighted by units) and its state: open while a slice works, finished when all are
//! finished and they make up the whole. A slice that was refused at once is in no book: that is for reads to find out.

use std::collections::BTreeMap;

use nirantar_brokers::{BrokerOrderId, OrderRow, OrderStatus, Price, Quantity};

use super::tracked::Fills;

/// The slices of one order, as far as they were shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slices(BTreeMap<BrokerOrderId, Slice>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    quantity: Quantity,
    shown: Fills,
}

impl Slices {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, number: &BrokerOrderId) -> bool {
        self.0.contains_key(number)
    }

    /// The broker's numbers of all that were shown.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &BrokerOrderId> {
        self.0.keys()
    }

    /// Those that are not finished.
    pub(super) fn working(&self) -> impl Iterator<Item = &BrokerOrderId> {
        self.0.iter().filter(|(_, slice)| !slice.shown.status.is_final()).map(|(number, _)| number)
    }

    /// Takes what a row says of one, unless it is old news.
    pub(super) fn take(&mut self, row: &OrderRow) {
        let shown = Fills { status: row.status, filled: row.filled, average_price: row.average_price };
        let slice = self.0.entry(row.order_id.clone()).or_insert_with(|| Slice { quantity: row.quantity, shown });
        let before = slice.shown;
        if shown.filled >= before.filled && (!before.status.is_final() || shown.status.is_final()) {
            *slice = Slice { quantity: row.quantity, shown };
        }
    }

    /// Units shown in slices.
    pub(super) fn units(&self) -> Quantity {
        self.0.values().fold(Quantity::ZERO, |sum, slice| sum + slice.quantity)
    }

    /// Whether all that were shown are finished; false if there are none.
    pub(super) fn all_finished(&self) -> bool {
        !self.is_empty() && self.working().next().is_none()
    }

    /// Whether all that were shown were rejected.
    pub(super) fn all_rejected(&self) -> bool {
        self.0.values().all(|slice| slice.shown.status == OrderStatus::Rejected)
    }

    /// State and fills of the whole order of `quantity` units.
    pub(super) fn together(&self, quantity: Quantity) -> Fills {
        let filled = self.0.values().fold(Quantity::ZERO, |sum, slice| sum + slice.shown.filled);
        let status = if !self.all_finished() || self.units() < quantity && filled < quantity {
            OrderStatus::Open
        } else if filled >= quantity {
            OrderStatus::Filled
        } else if self.all_rejected() {
            OrderStatus::Rejected
        } else {
            OrderStatus::Cancelled
        };
        Fills { status, filled, average_price: self.average(filled) }
    }

    /// The average price of all fills, rounded half away from zero.
    fn average(&self, filled: Quantity) -> Price {
        let units = i128::from(filled.get());
        if units == 0 {
            return Price::ZERO;
        }
        let value = |slice: &Slice| {
            i128::from(slice.shown.average_price.units()).saturating_mul(i128::from(slice.shown.filled.get()))
        };
        let sum = self.0.values().map(value).fold(0, i128::saturating_add);
        let half = if sum < 0 { -(units / 2) } else { units / 2 };
        let rounded = sum.saturating_add(half) / units;
        Price::from_units(i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX }))
    }
}
