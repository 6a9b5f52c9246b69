//! What each record of an order says to a trader, in words.
//!
//! Promise: whatever a broker wrote, a text of ours is one line without control characters: nothing in a message can move
//! the reader's cursor.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Book, Intent, MarketProtection, OrderChange, OrderRequest, OrderStatus, OrderType, Product, Validity,
};

use crate::orders::{CommandKind, What};

/// `buy 10 NSE:RELIANCE MIS, limit 1950.05, day`
pub(in crate::cli) fn request(request: &OrderRequest) -> String {
    let OrderRequest { instrument, side, quantity, order_type, validity, product, .. } = request;
    let (product, order_type, validity) = (product_word(*product), type_words(*order_type), validity_words(*validity));
    line(&format!("{side} {quantity} {instrument} {product}, {order_type}, {validity}"))
}

/// What happened. `book`: the order's.
pub(super) fn happened(what: &What, book: Book) -> String {
    let words = match what {
        What::Intent(request) => match request.intent {
            Intent::Open => "asked for, as a new position".to_owned(),
            Intent::Reduce(of) => format!("asked for, to reduce what the {of} book holds"),
        },
        What::External { broker_id, .. } => {
            format!("found in the broker's book as {broker_id}: somebody else placed it")
        }
        What::Sending { generation, command } => {
            let command = match command {
                CommandKind::Place => "the order leaves".to_owned(),
                CommandKind::Modify(change) => format!("a change leaves: {}", change_words(change)),
                CommandKind::Cancel => "a cancel leaves".to_owned(),
            };
            match book {
                Book::Live => format!("{command}, under token {}", generation.0),
                Book::Paper => format!("{command} for the paper exchange"),
            }
        }
        What::NotSent => "it did not leave, or was surely not acted on; it may leave again within its time".to_owned(),
        What::RefusedForToken { generation } => {
            format!("refused because of token {}, and surely not acted on", generation.0)
        }
        What::State { status, quantity, broker_id, filled, average_price, message } => {
            let mut words = status.to_string();
            if let Some(quantity) = quantity {
                words.push_str(&format!(", for {quantity}"));
            }
            if *status == OrderStatus::Unknown {
                words
                    .push_str(": the broker may or may not have it; it is looked for, and never sent again on a guess");
            }
            if !filled.is_zero() {
                words.push_str(&format!(", {filled} filled at {average_price}"));
            }
            if let Some(id) = broker_id {
                words.push_str(&format!(", the broker's number {id}"));
            }
            if let Some(message) = message {
                words.push_str(&format!(": {message}"));
            }
            words
        }
        What::Answer(words) => format!("answered: {words}"),
        What::CancelWanted => {
            "a cancel was asked for without a session; it leaves once live orders have been compared".to_owned()
        }
        What::Acknowledged => "an operator has looked at it".to_owned(),
        What::Holds { instrument, product, quantity } => {
            format!("the broker holds {quantity} {instrument} {}", product_word(*product))
        }
        What::Settled { instrument, product, price } => {
            format!("{instrument} {} has ended and was settled at {price} a unit", product_word(*product))
        }
    };
    line(&words)
}

fn change_words(change: &OrderChange) -> String {
    let parts = [
        change.quantity.map(|quantity| format!("quantity {quantity}")),
        change.order_type.map(type_words),
        change.validity.map(validity_words),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn type_words(order_type: OrderType) -> String {
    match order_type {
        OrderType::Market(protection) => format!("market{}", protection_words(protection)),
        OrderType::Limit(limit) => format!("limit {limit}"),
        OrderType::StopLimit { trigger, limit } => format!("stop {trigger} limit {limit}"),
        OrderType::StopMarket { trigger, protection } => {
            format!("stop {trigger} market{}", protection_words(protection))
        }
    }
}

fn protection_words(protection: MarketProtection) -> String {
    match protection {
        MarketProtection::Automatic => String::new(),
        MarketProtection::BasisPoints(points) => format!(" within {}.{:02}%", points / 100, points % 100),
    }
}

fn validity_words(validity: Validity) -> String {
    match validity {
        Validity::Day => "day".to_owned(),
        Validity::Ioc => "IOC".to_owned(),
        Validity::Ttl { minutes } => format!("{minutes} min"),
    }
}

/// `CNC`, `MIS` or `NRML`.
pub(in crate::cli) const fn product_word(product: Product) -> &'static str {
    match product {
        Product::Cnc => "CNC",
        Product::Mis => "MIS",
        Product::Nrml => "NRML",
    }
}

/// `market`, `limit`, `stop-limit` or `stop-market`.
pub(in crate::cli) const fn type_word(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Market(_) => "market",
        OrderType::Limit(_) => "limit",
        OrderType::StopLimit { .. } => "stop-limit",
        OrderType::StopMarket { .. } => "stop-market",
    }
}

/// `day`, `ioc` or `ttl`.
pub(super) fn validity_word(validity: Validity) -> String {
    match validity {
        Validity::Day => "day".to_owned(),
        Validity::Ioc => "ioc".to_owned(),
        Validity::Ttl { minutes } => format!("ttl-{minutes}"),
    }
}

/// `open`, `reduce-live` or `reduce-paper`.
pub(super) fn intent_word(intent: Intent) -> String {
    match intent {
        Intent::Open => "open".to_owned(),
        Intent::Reduce(book) => format!("reduce-{book}"),
    }
}

/// An instant for programs: RFC 3339 in IST, to the millisecond.
pub(in crate::cli) fn instant(at: Timestamp) -> String {
    format!("{}+05:30", at.to_ist().format("%Y-%m-%dT%H:%M:%S%.3f"))
}

/// One line of it.
pub(in crate::cli) fn line(text: &str) -> String {
    text.replace(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c), " ")
}
