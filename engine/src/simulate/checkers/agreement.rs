//! When a day is over, each book of the desk is that of its exchange: the same orders in the same states, filled by as much,
//! and the same positions. Rules 5 and 6 say it of what is sent; this says it of what is known.

use std::collections::BTreeMap;

use nirantar_brokers::{Book, BrokerOrderId, InstrumentKey, OrderRow, OrderStatus, Position, Product};

use super::{Violation, broken};
use crate::orders::{Desk, Tracked};

/// Compares a book with all that its exchange has of today; `Ok` is how many orders were compared.
pub(in crate::simulate) fn agrees<'a>(
    desk: &Desk,
    book: Book,
    rows: impl Iterator<Item = &'a OrderRow>,
    positions: &[Position],
) -> Result<u64, Violation> {
    let numbered = desk.orders().filter(|order| order.book == book);
    let mut ours: BTreeMap<&BrokerOrderId, &Tracked> =
        numbered.filter_map(|order| Some((order.broker_id.as_ref()?, order))).collect();
    let mut compared = 0;
    for row in rows {
        compared += 1;
        let number = &row.order_id;
        let Some(order) = ours.remove(number) else {
            return broken(6, format!("the {book} exchange has order {number}, and nobody here knows it"));
        };
        if (order.status, order.filled) != (row.status, row.filled) {
            let (status, filled) = (order.status, order.filled);
            let words = format!(
                "{book} order {} is {} there with {} filled, and {status} with {filled} here",
                order.id, row.status, row.filled
            );
            return broken(6, words);
        }
    }
    if let Some((number, order)) = ours.into_iter().find(|(_, order)| works(order.status)) {
        return broken(
            6,
            format!("{book} order {} works here as {number}, which the exchange does not have", order.id),
        );
    }
    let mut held: BTreeMap<(&InstrumentKey, Product), [i64; 2]> = BTreeMap::new();
    for position in positions {
        held.entry((&position.instrument, position.product)).or_default()[0] += position.quantity;
    }
    for (instrument, product, quantity) in desk.exposure().open(book) {
        held.entry((instrument, product)).or_default()[1] += quantity;
    }
    match held.into_iter().find(|(_, [theirs, ours])| theirs != ours) {
        Some(((instrument, _), [theirs, ours])) => {
            broken(6, format!("{book}: {theirs} {instrument} are held there, and {ours} here"))
        }
        None => Ok(compared),
    }
}

const fn works(status: OrderStatus) -> bool {
    matches!(status, OrderStatus::Accepted | OrderStatus::TriggerPending | OrderStatus::Open)
}
