//! Records for the tests of this folder.

use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, Exchange, InstrumentKey, OrderRequest, OrderStatus, OrderType, Price, Quantity,
    Side,
};

use crate::orders::{CommandKind, Record, What};
use crate::session::Generation;

pub(super) fn id(number: u64) -> ClientOrderId {
    ClientOrderId::numbered(7, number)
}

/// A live record of order `number`, so many seconds after ten on 20 November 2026.
pub(super) fn record(number: u64, what: What) -> Record {
    let at = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap() + Duration::from_secs(number);
    Record { at, id: Some(id(number)), book: Book::Live, what }
}

fn request() -> OrderRequest {
    let key = InstrumentKey::new(Exchange::Nse, "RELIANCE");
    OrderRequest::new(key, Side::Buy, 10, OrderType::Limit(Price::from_paise(195_005)))
}

pub(super) fn asked() -> What {
    What::Intent(request())
}

pub(super) fn external() -> What {
    What::External { request: request(), broker_id: BrokerOrderId::new("25112000009") }
}

pub(super) fn sent() -> What {
    What::Sending { generation: Generation(3), command: CommandKind::Place }
}

pub(super) fn cancel() -> What {
    What::Sending { generation: Generation(3), command: CommandKind::Cancel }
}

pub(super) fn refused_for_token() -> What {
    What::RefusedForToken { generation: Generation(3) }
}

pub(super) fn state(status: OrderStatus, filled: u64) -> What {
    What::State {
        status,
        quantity: None,
        broker_id: (status != OrderStatus::Unknown && status != OrderStatus::Unresolved)
            .then(|| BrokerOrderId::new("25112000001")),
        filled: Quantity::new(filled),
        average_price: if filled == 0 { Price::ZERO } else { Price::from_paise(195_000) },
        message: None,
    }
}

pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}
