//! Records of every kind, for the tests of this folder.

use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, Exchange, InstrumentKey, Intent, MarketProtection, OrderChange, OrderRequest,
    OrderStatus, OrderType, Price, Product, Quantity, Side, Validity,
};
use proptest::option;
use proptest::prelude::*;

use super::{CommandKind, Record, What};
use crate::session::Generation;

pub(super) fn id(number: u64) -> ClientOrderId {
    ClientOrderId::numbered(7, number)
}

pub(super) fn request() -> OrderRequest {
    let key = InstrumentKey::new(Exchange::Nse, "RELIANCE");
    OrderRequest::new(key, Side::Buy, 5, OrderType::Limit(Price::from_paise(195_005)))
}

/// A record of order `number`.
pub(super) fn record(number: u64, what: What) -> Record {
    let at = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap() + Duration::from_nanos(number);
    Record { at, id: Some(id(number)), book: Book::Live, what }
}

/// One of each kind.
pub(super) fn every_kind() -> Vec<What> {
    let generation = Generation(3);
    let change = OrderChange {
        quantity: Some(Quantity::new(10)),
        order_type: Some(OrderType::StopMarket {
            trigger: Price::from_paise(5),
            protection: MarketProtection::BasisPoints(50),
        }),
        validity: Some(Validity::Ttl { minutes: 3 }),
    };
    vec![
        What::Intent(request()),
        What::External { request: request(), broker_id: BrokerOrderId::new("261120000000001") },
        What::Sending { generation, command: CommandKind::Place },
        What::Sending { generation, command: CommandKind::Modify(change) },
        What::Sending { generation, command: CommandKind::Cancel },
        What::NotSent,
        What::RefusedForToken { generation },
        What::State {
            status: OrderStatus::Open,
            quantity: Some(Quantity::new(7)),
            broker_id: Some(BrokerOrderId::new("261120000000001")),
            filled: Quantity::new(2),
            average_price: Price::from_paise(195_000),
            message: Some("partly filled".to_owned()),
        },
        What::Answer("request received".to_owned()),
        What::CancelWanted,
        What::Acknowledged,
        What::Holds { instrument: request().instrument, product: Product::Nrml, quantity: -75 },
        What::Settled { instrument: request().instrument, product: Product::Nrml, price: Price::from_paise(7_505) },
    ]
}

fn any_price() -> impl Strategy<Value = Price> {
    prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -1_000_000i64..1_000_000].prop_map(Price::from_units)
}

fn any_key() -> impl Strategy<Value = InstrumentKey> {
    (prop::sample::select(&Exchange::ALL[..]), any::<String>())
        .prop_map(|(exchange, symbol)| InstrumentKey::new(exchange, symbol))
}

fn any_protection() -> impl Strategy<Value = MarketProtection> {
    prop_oneof![Just(MarketProtection::Automatic), any::<u16>().prop_map(MarketProtection::BasisPoints)]
}

fn any_type() -> impl Strategy<Value = OrderType> {
    prop_oneof![
        any_protection().prop_map(OrderType::Market),
        any_price().prop_map(OrderType::Limit),
        (any_price(), any_price()).prop_map(|(trigger, limit)| OrderType::StopLimit { trigger, limit }),
        (any_price(), any_protection()).prop_map(|(trigger, protection)| OrderType::StopMarket { trigger, protection }),
    ]
}

fn any_validity() -> impl Strategy<Value = Validity> {
    prop_oneof![Just(Validity::Day), Just(Validity::Ioc), any::<u16>().prop_map(|minutes| Validity::Ttl { minutes })]
}

fn any_product() -> impl Strategy<Value = Product> {
    prop::sample::select(&[Product::Cnc, Product::Mis, Product::Nrml][..])
}

fn any_request() -> impl Strategy<Value = OrderRequest> {
    let intents = [Intent::Open, Intent::Reduce(Book::Live), Intent::Reduce(Book::Paper)];
    let words =
        (prop::sample::select(vec![Side::Buy, Side::Sell]), any_product(), prop::sample::select(intents.to_vec()));
    (any_key(), words, any::<u64>(), any_type(), any_validity(), any::<Duration>()).prop_map(
        |(instrument, (side, product, intent), quantity, order_type, validity, valid_for)| OrderRequest {
            instrument,
            side,
            quantity: Quantity::new(quantity),
            order_type,
            validity,
            product,
            intent,
            valid_for,
        },
    )
}

fn any_command() -> impl Strategy<Value = CommandKind> {
    let change = (option::of(any::<u64>()), option::of(any_type()), option::of(any_validity()));
    prop_oneof![
        Just(CommandKind::Place),
        Just(CommandKind::Cancel),
        change.prop_map(|(quantity, order_type, validity)| {
            CommandKind::Modify(OrderChange { quantity: quantity.map(Quantity::new), order_type, validity })
        }),
    ]
}

fn any_state() -> impl Strategy<Value = What> {
    let status = prop::sample::select(&OrderStatus::ALL[..]);
    let texts = (option::of(any::<String>()), option::of(any::<String>()));
    (status, option::of(any::<u64>()), any::<u64>(), any_price(), texts).prop_map(
        |(status, quantity, filled, average_price, (broker_id, message))| What::State {
            status,
            quantity: quantity.map(Quantity::new),
            broker_id: broker_id.map(BrokerOrderId::new),
            filled: Quantity::new(filled),
            average_price,
            message,
        },
    )
}

/// Anything that can be written.
pub(super) fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        any_request().prop_map(What::Intent),
        (any_request(), any::<String>())
            .prop_map(|(request, number)| What::External { request, broker_id: BrokerOrderId::new(number) }),
        (any::<u64>(), any_command())
            .prop_map(|(number, command)| What::Sending { generation: Generation(number), command }),
        Just(What::NotSent),
        any::<u64>().prop_map(|number| What::RefusedForToken { generation: Generation(number) }),
        any_state(),
        any::<String>().prop_map(What::Answer),
        Just(What::CancelWanted),
        Just(What::Acknowledged),
        (any_key(), any_product(), any::<i64>()).prop_map(|(instrument, product, quantity)| What::Holds {
            instrument,
            product,
            quantity
        }),
        (any_key(), any_product(), any_price()).prop_map(|(instrument, product, price)| What::Settled {
            instrument,
            product,
            price
        }),
    ]
}

/// Any record.
pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let book = prop::sample::select(vec![Book::Live, Book::Paper]);
    (any::<i64>(), option::of(any::<u64>().prop_map(id)), book, any_what()).prop_map(|(at, id, book, what)| Record {
        at: Timestamp::from_nanos(at),
        id,
        book,
        what,
    })
}
