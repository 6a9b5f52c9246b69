//! The form bodies of placing and modifying an order, written (client) and read back (server).
//!
//! A price that is 0 is a price not given: SDKs send it for "unset".

use std::str::FromStr;
use std::time::Duration;

use super::words::{self, OrderKind};
use crate::{
    ClientOrderId, Exchange, Form, InstrumentKey, Intent, MarketProtection, OrderChange, OrderRequest, OrderType,
    Price, Quantity, Validity,
};

/// Why a form is no order. Its words are fit for an `InputException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// A field is missing.
    #[error("Missing or empty field `{0}`")]
    Missing(&'static str),
    /// A field cannot be read.
    #[error("Invalid `{field}`: `{found}`.")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// MARKET or SL-M without market protection: refused by the exchanges since 1 April 2026.
    #[error(
        "Market orders without market protection are not allowed via API. Please set market protection or use a Limit order."
    )]
    Unprotected,
}

/// An order as a server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The order. Intent and time to send do not travel: they read as `Open` and zero.
    pub order: OrderRequest,
    /// The tag, as sent.
    pub tag: Option<String>,
    /// How many to show; zero is all.
    pub disclosed: Quantity,
    /// Whether an order above the freeze quantity may be sliced.
    pub autoslice: bool,
}

/// A change as a server reads it: any field may be missing, and only the order in question can fill it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Modification {
    /// New total quantity.
    pub quantity: Option<Quantity>,
    /// New type.
    pub kind: Option<OrderKind>,
    /// New limit.
    pub price: Option<Price>,
    /// New trigger.
    pub trigger: Option<Price>,
    /// New protection. `Some(None)` is a protection given as none.
    pub protection: Option<Option<MarketProtection>>,
    /// New validity.
    pub validity: Option<Validity>,
}

/// The form that places `order`. `variety` is in the path.
#[must_use]
pub fn place(order: &OrderRequest, tag: &ClientOrderId) -> Form {
    let form = Form::new()
        .with("tradingsymbol", &order.instrument.symbol)
        .with("exchange", order.instrument.exchange)
        .with("transaction_type", words::side(order.side))
        .with("quantity", order.quantity)
        .with("product", words::product(order.product));
    with_validity(with_type(form, order.order_type), order.validity).with("tag", tag)
}

/// The form that makes `change`. What the change leaves as it is, is not sent.
#[must_use]
pub fn modify(change: &OrderChange) -> Form {
    let form = Form::new().with_some("quantity", change.quantity);
    let form = match change.order_type {
        Some(order_type) => with_type(form, order_type),
        None => form,
    };
    match change.validity {
        Some(validity) => with_validity(form, validity),
        None => form,
    }
}

impl Placement {
    /// Reads the form of a placement. Unknown fields are ignored: SDKs repeat path parameters in it.
    ///
    /// # Errors
    /// [`BadForm`] naming the field.
    pub fn read(form: &Form) -> Result<Self, BadForm> {
        let symbol = needed(form, "tradingsymbol")?;
        let exchange = parsed(form, "exchange", |word| Exchange::from_str(word).ok())?;
        let kind = parsed(form, "order_type", words::parse_order_kind)?;
        let order_type = build(kind, read_price(form, "price")?, read_price(form, "trigger_price")?, || {
            read_protection(form).map(Option::flatten)
        })?;
        Ok(Self {
            order: OrderRequest {
                instrument: InstrumentKey::new(exchange, symbol),
                side: parsed(form, "transaction_type", words::parse_side)?,
                quantity: parsed(form, "quantity", positive)?,
                order_type,
                validity: read_validity(form)?.unwrap_or(Validity::Day),
                product: parsed(form, "product", words::parse_product)?,
                intent: Intent::Open,
                valid_for: Duration::ZERO,
            },
            tag: given(form, "tag").map(str::to_owned),
            disclosed: read_quantity(form, "disclosed_quantity")?.unwrap_or_default(),
            autoslice: form.get("autoslice").is_some_and(|word| word.eq_ignore_ascii_case("true")),
        })
    }
}

impl Modification {
    /// Reads the form of a change.
    ///
    /// # Errors
    /// [`BadForm`] naming the field.
    pub fn read(form: &Form) -> Result<Self, BadForm> {
        Ok(Self {
            quantity: read_quantity(form, "quantity")?.filter(|quantity| !quantity.is_zero()),
            kind: given(form, "order_type").map(|_| parsed(form, "order_type", words::parse_order_kind)).transpose()?,
            price: read_price(form, "price")?,
            trigger: read_price(form, "trigger_price")?,
            protection: read_protection(form)?,
            validity: read_validity(form)?,
        })
    }

    /// The change this makes to an order that is of type `current`. A protection that is not given stays, or is
    /// automatic where there was none.
    ///
    /// # Errors
    /// [`BadForm`] if the new type needs a price that neither the form nor the order has.
    pub fn apply(&self, current: OrderType) -> Result<OrderChange, BadForm> {
        let changes_type =
            self.kind.is_some() || self.price.is_some() || self.trigger.is_some() || self.protection.is_some();
        let order_type = if changes_type {
            let kind = self.kind.unwrap_or_else(|| kind_of(current));
            let protection = self.protection.unwrap_or_else(|| Some(protection_of(current).unwrap_or_default()));
            let price = self.price.or(current.limit());
            Some(build(kind, price, self.trigger.or(current.trigger()), || Ok(protection))?)
        } else {
            None
        };
        Ok(OrderChange { quantity: self.quantity, order_type, validity: self.validity })
    }
}

/// The bare type of an order.
#[must_use]
pub const fn kind_of(order_type: OrderType) -> OrderKind {
    match order_type {
        OrderType::Market(_) => OrderKind::Market,
        OrderType::Limit(_) => OrderKind::Limit,
        OrderType::StopLimit { .. } => OrderKind::StopLimit,
        OrderType::StopMarket { .. } => OrderKind::StopMarket,
    }
}

/// The protection of an order that trades at the market.
#[must_use]
pub const fn protection_of(order_type: OrderType) -> Option<MarketProtection> {
    match order_type {
        OrderType::Market(protection) | OrderType::StopMarket { protection, .. } => Some(protection),
        OrderType::Limit(_) | OrderType::StopLimit { .. } => None,
    }
}

fn with_type(form: Form, order_type: OrderType) -> Form {
    form.with("order_type", words::order_kind(kind_of(order_type)))
        .with_some("price", order_type.limit())
        .with_some("trigger_price", order_type.trigger())
        .with_some("market_protection", protection_of(order_type).map(protection_text))
}

/// `-1`, or percent.
fn protection_text(protection: MarketProtection) -> String {
    match protection {
        MarketProtection::Automatic => "-1".to_owned(),
        MarketProtection::BasisPoints(_) => words::protection_percent(protection).to_string(),
    }
}

fn with_validity(form: Form, validity: Validity) -> Form {
    match validity {
        Validity::Day => form.with("validity", "DAY"),
        Validity::Ioc => form.with("validity", "IOC"),
        Validity::Ttl { minutes } => form.with("validity", "TTL").with("validity_ttl", minutes),
    }
}

fn build(
    kind: OrderKind,
    price: Option<Price>,
    trigger: Option<Price>,
    protection: impl FnOnce() -> Result<Option<MarketProtection>, BadForm>,
) -> Result<OrderType, BadForm> {
    let price = || price.ok_or(BadForm::Missing("price"));
    let trigger = || trigger.ok_or(BadForm::Missing("trigger_price"));
    let protection = || protection()?.ok_or(BadForm::Unprotected);
    Ok(match kind {
        OrderKind::Market => OrderType::Market(protection()?),
        OrderKind::Limit => OrderType::Limit(price()?),
        OrderKind::StopLimit => OrderType::StopLimit { trigger: trigger()?, limit: price()? },
        OrderKind::StopMarket => OrderType::StopMarket { trigger: trigger()?, protection: protection()? },
    })
}

/// A field with something in it.
fn given<'a>(form: &'a Form, field: &str) -> Option<&'a str> {
    form.get(field).filter(|value| !value.is_empty())
}

fn needed<'a>(form: &'a Form, field: &'static str) -> Result<&'a str, BadForm> {
    given(form, field).ok_or(BadForm::Missing(field))
}

fn parsed<T>(form: &Form, field: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, BadForm> {
    let text = needed(form, field)?;
    parse(text).ok_or_else(|| invalid(field, text))
}

fn invalid(field: &'static str, found: &str) -> BadForm {
    BadForm::Invalid { field, found: found.chars().take(40).collect() }
}

fn positive(text: &str) -> Option<Quantity> {
    text.parse().ok().filter(|quantity| *quantity > 0).map(Quantity::new)
}

fn read_quantity(form: &Form, field: &'static str) -> Result<Option<Quantity>, BadForm> {
    given(form, field).map(|text| text.parse().map(Quantity::new).map_err(|_| invalid(field, text))).transpose()
}

/// A price that is above zero; 0 is none. Exponents (`1e3`) are read, since some languages print them.
fn read_price(form: &Form, field: &'static str) -> Result<Option<Price>, BadForm> {
    let Some(text) = given(form, field) else { return Ok(None) };
    let price =
        text.parse().ok().or_else(|| Price::from_f64(text.parse().ok()?)).ok_or_else(|| invalid(field, text))?;
    match price {
        Price::ZERO => Ok(None),
        price if price > Price::ZERO => Ok(Some(price)),
        _ => Err(invalid(field, text)),
    }
}

/// `None` if not given, `Some(None)` if given as 0.
fn read_protection(form: &Form) -> Result<Option<Option<MarketProtection>>, BadForm> {
    const FIELD: &str = "market_protection";
    let Some(text) = given(form, FIELD) else { return Ok(None) };
    let percent: Price = text.parse().map_err(|_| invalid(FIELD, text))?;
    if percent == Price::ZERO {
        return Ok(Some(None));
    }
    words::parse_protection(percent).map(|protection| Some(Some(protection))).ok_or_else(|| invalid(FIELD, text))
}

fn read_validity(form: &Form) -> Result<Option<Validity>, BadForm> {
    match given(form, "validity") {
        None => Ok(None),
        Some("DAY") => Ok(Some(Validity::Day)),
        Some("IOC") => Ok(Some(Validity::Ioc)),
        Some("TTL") => {
            let minutes = parsed(form, "validity_ttl", |text| text.parse().ok().filter(|minutes| *minutes > 0))?;
            Ok(Some(Validity::Ttl { minutes }))
        }
        Some(other) => Err(invalid("validity", other)),
    }
}

#[cfg(test)]
mod tests;
