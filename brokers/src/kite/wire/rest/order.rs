//! An order's row: in the book, in its history, in the ticker's text frames and in postbacks (`kite.md` 2.4).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::words::{self, OrderKind};
use super::super::{json, status};
use super::{BadRow, instrument, product, side};
use crate::kite::wire::form::{kind_of, protection_of};
use crate::time::Timestamp;
use crate::{BrokerOrderId, BrokerToken, ClientOrderId, OrderRow, OrderType, Price, Quantity, Validity};

/// A row as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.4")]
pub struct Order {
    #[serde(default)]
    pub account_id: Option<String>,
    #[serde(default)]
    pub placed_by: String,
    #[serde(with = "json::id")]
    pub order_id: String,
    #[serde(default, deserialize_with = "json::id::optional")]
    pub exchange_order_id: Option<String>,
    #[serde(default, deserialize_with = "json::id::optional")]
    pub parent_order_id: Option<String>,
    pub status: String,
    #[serde(default)]
    pub status_message: Option<String>,
    #[serde(default)]
    pub status_message_raw: Option<String>,
    #[serde(default, with = "json::time")]
    pub order_timestamp: Option<Timestamp>,
    #[serde(default, with = "json::time")]
    pub exchange_update_timestamp: Option<Timestamp>,
    #[serde(default, with = "json::time")]
    pub exchange_timestamp: Option<Timestamp>,
    #[serde(default)]
    pub variety: String,
    #[serde(default)]
    pub modified: bool,
    pub exchange: String,
    pub tradingsymbol: String,
    #[serde(default = "json::token::none", with = "json::token")]
    pub instrument_token: BrokerToken,
    pub order_type: String,
    pub transaction_type: String,
    #[serde(default)]
    pub validity: Option<String>,
    #[serde(default, with = "json::signed")]
    pub validity_ttl: i64,
    pub product: String,
    #[serde(with = "json::quantity")]
    pub quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub disclosed_quantity: Quantity,
    #[serde(default, with = "json::price")]
    pub price: Price,
    #[serde(default, with = "json::price")]
    pub trigger_price: Price,
    #[serde(default, with = "json::price")]
    pub average_price: Price,
    #[serde(default, with = "json::quantity")]
    pub filled_quantity: Quantity,
    /// After a cancel Kite leaves the quantity here: never to be read as open size.
    #[serde(default, with = "json::quantity")]
    pub pending_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub cancelled_quantity: Quantity,
    #[serde(default, with = "json::price")]
    pub market_protection: Price,
    /// An object, whatever the docs allow: a string breaks the Go SDK.
    #[serde(default, deserialize_with = "object")]
    pub meta: Map<String, Value>,
    #[serde(default)]
    pub tag: Option<String>,
    #[serde(default, deserialize_with = "tags")]
    pub tags: Vec<String>,
    #[serde(default)]
    pub guid: Option<String>,
}

/// What a row says beyond an [`OrderRow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderExtras {
    /// The account, which also placed the order.
    pub account_id: String,
    /// The instrument's token of the day.
    pub instrument_token: BrokerToken,
    /// Whether the order was modified.
    pub modified: bool,
    /// How many were cancelled.
    pub cancelled: Quantity,
    /// How many are shown; zero is all.
    pub disclosed: Quantity,
    /// Tags of the system beside our own: `mktp`, `autoslice:…`.
    pub system_tags: Vec<String>,
}

impl OrderExtras {
    /// Those of an untouched order: change the fields that differ.
    #[must_use]
    pub fn new(account_id: impl Into<String>, instrument_token: BrokerToken) -> Self {
        Self {
            account_id: account_id.into(),
            instrument_token,
            modified: false,
            cancelled: Quantity::ZERO,
            disclosed: Quantity::ZERO,
            system_tags: Vec::new(),
        }
    }
}

impl Order {
    /// The row that shows `row`. The variety is `regular`; pending is what is neither filled nor cancelled.
    #[must_use]
    pub fn from_row(row: &OrderRow, extras: OrderExtras) -> Self {
        let tag = row.client_id.as_ref().map(ToString::to_string);
        let (validity, ttl) = match row.validity {
            Validity::Day => ("DAY", 0),
            Validity::Ioc => ("IOC", 0),
            Validity::Ttl { minutes } => ("TTL", i64::from(minutes)),
        };
        Self {
            account_id: Some(extras.account_id.clone()),
            placed_by: extras.account_id,
            order_id: row.order_id.to_string(),
            exchange_order_id: row.exchange_order_id.as_ref().map(ToString::to_string),
            parent_order_id: row.parent_id.as_ref().map(ToString::to_string),
            status: row.broker_status.clone().into_owned(),
            status_message: row.message.clone(),
            status_message_raw: row.message.clone(),
            order_timestamp: Some(row.placed_at),
            exchange_update_timestamp: row.exchange_at,
            exchange_timestamp: row.exchange_at,
            variety: "regular".to_owned(),
            modified: extras.modified,
            exchange: row.instrument.exchange.to_string(),
            tradingsymbol: row.instrument.symbol.to_string(),
            instrument_token: extras.instrument_token,
            order_type: words::order_kind(kind_of(row.order_type)).to_owned(),
            transaction_type: words::side(row.side).to_owned(),
            validity: Some(validity.to_owned()),
            validity_ttl: ttl,
            product: words::product(row.product).to_owned(),
            quantity: row.quantity,
            disclosed_quantity: extras.disclosed,
            price: row.order_type.limit().unwrap_or_default(),
            trigger_price: row.order_type.trigger().unwrap_or_default(),
            average_price: row.average_price,
            filled_quantity: row.filled,
            pending_quantity: row.quantity.less(row.filled + extras.cancelled),
            cancelled_quantity: extras.cancelled,
            market_protection: protection_of(row.order_type).map(words::protection_percent).unwrap_or_default(),
            meta: Map::new(),
            tags: tag.iter().cloned().chain(extras.system_tags).collect(),
            tag,
            guid: None,
        }
    }

    /// What the row says, in our words.
    ///
    /// # Errors
    /// [`BadRow::Foreign`] for what this engine does not trade, unless the row carries a tag that could be ours: an
    /// order of ours is never left out. [`BadRow::Unreadable`] for a row without its essentials.
    pub fn to_row(&self) -> Result<OrderRow, BadRow> {
        let client_id = self.client_id();
        self.row(client_id.clone()).map_err(|bad| match bad {
            BadRow::Foreign { field, .. } if client_id.is_some() => BadRow::Unreadable { field },
            bad => bad,
        })
    }

    /// Our number: the first of `tag` and `tags` that can be one and is no tag of the system.
    #[must_use]
    pub fn client_id(&self) -> Option<ClientOrderId> {
        self.tag
            .iter()
            .chain(&self.tags)
            .filter(|tag| !matches!(tag.as_str(), "mktp" | "autoslice"))
            .find_map(|tag| tag.parse().ok())
    }

    /// The number of the whole that it is a slice of: its rows name it in a tag only (`kite.md` 2.3).
    fn sliced_from(&self) -> Option<String> {
        let whole = self.tags.iter().find_map(|tag| tag.strip_prefix("autoslice:"))?;
        (!whole.is_empty()).then(|| whole.to_owned())
    }

    fn row(&self, client_id: Option<ClientOrderId>) -> Result<OrderRow, BadRow> {
        if self.order_id.is_empty() {
            return Err(BadRow::Unreadable { field: "order_id" });
        }
        let id = |id: &String| (!id.is_empty()).then(|| id.clone());
        Ok(OrderRow {
            order_id: BrokerOrderId::new(&self.order_id),
            parent_id: self
                .parent_order_id
                .as_ref()
                .and_then(id)
                .or_else(|| self.sliced_from())
                .map(BrokerOrderId::new),
            exchange_order_id: self.exchange_order_id.as_ref().and_then(id).map(Into::into),
            client_id,
            status: status::read(&self.status),
            broker_status: self.status.clone().into(),
            message: self.status_message.clone().or_else(|| self.status_message_raw.clone()),
            instrument: instrument(&self.exchange, &self.tradingsymbol)?,
            side: side(&self.transaction_type)?,
            order_type: self.order_type()?,
            product: product(&self.product)?,
            validity: self.validity()?,
            quantity: self.quantity,
            filled: self.filled_quantity,
            average_price: self.average_price,
            placed_at: self.order_timestamp.ok_or(BadRow::Unreadable { field: "order_timestamp" })?,
            exchange_at: self.exchange_update_timestamp.or(self.exchange_timestamp),
        })
    }

    fn order_type(&self) -> Result<OrderType, BadRow> {
        let kind = words::parse_order_kind(&self.order_type);
        let (trigger, limit) = (self.trigger_price, self.price);
        // Rows of orders from elsewhere may show 0: the type as shown is for the eye, nothing decides on it.
        let protection = words::parse_protection(self.market_protection).unwrap_or_default();
        Ok(match kind.ok_or_else(|| BadRow::foreign("order_type", &self.order_type))? {
            OrderKind::Market => OrderType::Market(protection),
            OrderKind::Limit => OrderType::Limit(limit),
            OrderKind::StopLimit => OrderType::StopLimit { trigger, limit },
            OrderKind::StopMarket => OrderType::StopMarket { trigger, protection },
        })
    }

    fn validity(&self) -> Result<Validity, BadRow> {
        match self.validity.as_deref() {
            None | Some("" | "DAY") => Ok(Validity::Day),
            Some("IOC") => Ok(Validity::Ioc),
            Some("TTL") => Ok(Validity::Ttl { minutes: u16::try_from(self.validity_ttl).unwrap_or(u16::MAX) }),
            Some(other) => Err(BadRow::foreign("validity", other)),
        }
    }
}

/// Meta, which may be null or, says the documentation, text: what is no object is none.
fn object<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(map) => map,
        _ => Map::new(),
    })
}

/// Tags, which may be null.
fn tags<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
