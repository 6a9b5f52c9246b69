//! The shapes that records have in JSON. Their names are the format: a change of any of them is a new
//! [`FORMAT`](super::FORMAT).

use std::time::Duration;

use nirantar_brokers::{
    Book, Exchange, InstrumentKey, Intent, MarketProtection, OrderChange, OrderRequest, OrderStatus, OrderType, Price,
    Product, Quantity, Side, Validity,
};
use serde::{Deserialize, Serialize};

use super::{CommandKind, short};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntentLine {
    pub(super) request: RequestLine,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalLine {
    pub(super) request: RequestLine,
    pub(super) broker_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendingLine {
    pub(super) generation: u64,
    pub(super) command: CommandLine,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusedLine {
    pub(super) generation: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateLine {
    pub(super) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quantity: Option<u64>,
    pub(super) broker_id: Option<String>,
    pub(super) filled: u64,
    pub(super) average_price: Decimal,
    pub(super) message: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerLine {
    pub(super) words: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldsLine {
    pub(super) instrument: Key,
    pub(super) product: ProductWord,
    pub(super) quantity: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettledLine {
    pub(super) instrument: Key,
    pub(super) product: ProductWord,
    pub(super) price: Decimal,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NothingLine {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestLine {
    pub(super) instrument: Key,
    pub(super) side: SideWord,
    pub(super) quantity: u64,
    pub(super) order_type: TypeLine,
    pub(super) validity: ValidityLine,
    pub(super) product: ProductWord,
    pub(super) intent: IntentWord,
    pub(super) valid_for: Duration,
}

impl From<&OrderRequest> for RequestLine {
    fn from(request: &OrderRequest) -> Self {
        let OrderRequest { instrument, side, quantity, order_type, validity, product, intent, valid_for } = request;
        Self {
            instrument: Key(instrument.clone()),
            side: (*side).into(),
            quantity: quantity.get(),
            order_type: (*order_type).into(),
            validity: (*validity).into(),
            product: (*product).into(),
            intent: (*intent).into(),
            valid_for: *valid_for,
        }
    }
}

impl From<RequestLine> for OrderRequest {
    fn from(line: RequestLine) -> Self {
        let RequestLine { instrument, side, quantity, order_type, validity, product, intent, valid_for } = line;
        Self {
            instrument: instrument.0,
            side: side.into(),
            quantity: Quantity::new(quantity),
            order_type: order_type.into(),
            validity: validity.into(),
            product: product.into(),
            intent: intent.into(),
            valid_for,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CommandLine {
    Place,
    Modify(ChangeLine),
    Cancel,
}

impl From<&CommandKind> for CommandLine {
    fn from(command: &CommandKind) -> Self {
        match command {
            CommandKind::Place => Self::Place,
            CommandKind::Modify(OrderChange { quantity, order_type, validity }) => Self::Modify(ChangeLine {
                quantity: quantity.map(Quantity::get),
                order_type: order_type.map(Into::into),
                validity: validity.map(Into::into),
            }),
            CommandKind::Cancel => Self::Cancel,
        }
    }
}

impl From<CommandLine> for CommandKind {
    fn from(line: CommandLine) -> Self {
        match line {
            CommandLine::Place => Self::Place,
            CommandLine::Modify(ChangeLine { quantity, order_type, validity }) => Self::Modify(OrderChange {
                quantity: quantity.map(Quantity::new),
                order_type: order_type.map(Into::into),
                validity: validity.map(Into::into),
            }),
            CommandLine::Cancel => Self::Cancel,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeLine {
    pub(super) quantity: Option<u64>,
    pub(super) order_type: Option<TypeLine>,
    pub(super) validity: Option<ValidityLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum TypeLine {
    Market { protection: ProtectionLine },
    Limit { limit: Decimal },
    StopLimit { trigger: Decimal, limit: Decimal },
    StopMarket { trigger: Decimal, protection: ProtectionLine },
}

impl From<OrderType> for TypeLine {
    fn from(order_type: OrderType) -> Self {
        match order_type {
            OrderType::Market(protection) => Self::Market { protection: protection.into() },
            OrderType::Limit(limit) => Self::Limit { limit: Decimal(limit) },
            OrderType::StopLimit { trigger, limit } => {
                Self::StopLimit { trigger: Decimal(trigger), limit: Decimal(limit) }
            }
            OrderType::StopMarket { trigger, protection } => {
                Self::StopMarket { trigger: Decimal(trigger), protection: protection.into() }
            }
        }
    }
}

impl From<TypeLine> for OrderType {
    fn from(line: TypeLine) -> Self {
        match line {
            TypeLine::Market { protection } => Self::Market(protection.into()),
            TypeLine::Limit { limit } => Self::Limit(limit.0),
            TypeLine::StopLimit { trigger, limit } => Self::StopLimit { trigger: trigger.0, limit: limit.0 },
            TypeLine::StopMarket { trigger, protection } => {
                Self::StopMarket { trigger: trigger.0, protection: protection.into() }
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProtectionLine {
    Automatic,
    BasisPoints(u16),
}

impl From<MarketProtection> for ProtectionLine {
    fn from(protection: MarketProtection) -> Self {
        match protection {
            MarketProtection::Automatic => Self::Automatic,
            MarketProtection::BasisPoints(points) => Self::BasisPoints(points),
        }
    }
}

impl From<ProtectionLine> for MarketProtection {
    fn from(line: ProtectionLine) -> Self {
        match line {
            ProtectionLine::Automatic => Self::Automatic,
            ProtectionLine::BasisPoints(points) => Self::BasisPoints(points),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ValidityLine {
    Day,
    Ioc,
    Minutes(u16),
}

impl From<Validity> for ValidityLine {
    fn from(validity: Validity) -> Self {
        match validity {
            Validity::Day => Self::Day,
            Validity::Ioc => Self::Ioc,
            Validity::Ttl { minutes } => Self::Minutes(minutes),
        }
    }
}

impl From<ValidityLine> for Validity {
    fn from(line: ValidityLine) -> Self {
        match line {
            ValidityLine::Day => Self::Day,
            ValidityLine::Ioc => Self::Ioc,
            ValidityLine::Minutes(minutes) => Self::Ttl { minutes },
        }
    }
}

/// A value of ours and its word in the journal, both ways.
macro_rules! words {
    ($word:ident for $ours:ident { $($name:ident = ($($value:tt)+)),* $(,)? }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $word { $($name),* }

        impl From<$ours> for $word {
            fn from(ours: $ours) -> Self {
                match ours { $($($value)+ => Self::$name),* }
            }
        }

        impl From<$word> for $ours {
            fn from(word: $word) -> Self {
                match word { $($word::$name => $($value)+),* }
            }
        }
    };
}

words!(SideWord for Side { Buy = (Side::Buy), Sell = (Side::Sell) });
words!(ProductWord for Product {
    Cnc = (Product::Cnc),
    Mis = (Product::Mis),
    Nrml = (Product::Nrml),
});
words!(IntentWord for Intent {
    Open = (Intent::Open),
    ReduceLive = (Intent::Reduce(Book::Live)),
    ReducePaper = (Intent::Reduce(Book::Paper)),
});
words!(Status for OrderStatus {
    Journalled = (OrderStatus::Journalled),
    Sent = (OrderStatus::Sent),
    Unknown = (OrderStatus::Unknown),
    Accepted = (OrderStatus::Accepted),
    TriggerPending = (OrderStatus::TriggerPending),
    Open = (OrderStatus::Open),
    Filled = (OrderStatus::Filled),
    Cancelled = (OrderStatus::Cancelled),
    Rejected = (OrderStatus::Rejected),
    Refused = (OrderStatus::Refused),
    NotPlaced = (OrderStatus::NotPlaced),
    Unresolved = (OrderStatus::Unresolved),
});

/// A price as its decimal text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Decimal(pub(super) Price);

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.0.to_string()
    }
}

impl TryFrom<String> for Decimal {
    type Error = nirantar_brokers::BadPrice;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// An instrument as `NSE:RELIANCE`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Key(pub(super) InstrumentKey);

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    /// Unlike the parser for what humans write it takes any symbol: what a strategy asked for reads back, however wrong.
    fn try_from(text: String) -> Result<Self, String> {
        let named = text
            .split_once(':')
            .and_then(|(exchange, symbol)| Some(InstrumentKey::new(exchange.parse::<Exchange>().ok()?, symbol)));
        named.map(Self).ok_or_else(|| format!("`{}` is no instrument", short(&text)))
    }
}
