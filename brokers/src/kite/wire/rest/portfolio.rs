//! Trades, positions and holdings (`kite.md` 2.7 and 2.8).

use serde::{Deserialize, Serialize};

use super::super::{json, words};
use super::{BadRow, instrument, product, side};
use crate::time::Timestamp;
use crate::{BrokerOrderId, BrokerToken, Money, Price, Quantity};

/// One fill as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.7")]
pub struct Trade {
    #[serde(with = "json::id")]
    pub trade_id: String,
    #[serde(with = "json::id")]
    pub order_id: String,
    /// May be null for a reader; the Rust SDK insists on a text, so the server always writes one.
    #[serde(default, deserialize_with = "json::id::optional")]
    pub exchange_order_id: Option<String>,
    pub exchange: String,
    pub tradingsymbol: String,
    #[serde(default = "json::token::none", with = "json::token")]
    pub instrument_token: BrokerToken,
    pub product: String,
    #[serde(with = "json::price")]
    pub average_price: Price,
    /// The docs call it `filled`; the wire does not.
    #[serde(with = "json::quantity")]
    pub quantity: Quantity,
    pub transaction_type: String,
    #[serde(default, with = "json::time")]
    pub fill_timestamp: Option<Timestamp>,
    /// Time of day only: `09:16:39`.
    #[serde(default)]
    pub order_timestamp: Option<String>,
    #[serde(default, with = "json::time")]
    pub exchange_timestamp: Option<Timestamp>,
}

impl Trade {
    /// The row of a fill. `placed_at` is when its order was placed.
    #[must_use]
    pub fn from_trade(
        trade: &crate::Trade,
        token: BrokerToken,
        exchange_order_id: Option<String>,
        placed_at: Timestamp,
    ) -> Self {
        Self {
            trade_id: trade.trade_id.clone(),
            order_id: trade.order_id.to_string(),
            exchange_order_id: Some(exchange_order_id.unwrap_or_default()),
            exchange: trade.instrument.exchange.to_string(),
            tradingsymbol: trade.instrument.symbol.to_string(),
            instrument_token: token,
            product: words::product(trade.product).to_owned(),
            average_price: trade.price,
            quantity: trade.quantity,
            transaction_type: words::side(trade.side).to_owned(),
            fill_timestamp: Some(trade.at),
            order_timestamp: Some(placed_at.ist_time().format("%H:%M:%S").to_string()),
            exchange_timestamp: Some(trade.at),
        }
    }

    /// The fill in our words.
    ///
    /// # Errors
    /// [`BadRow`]: foreign, or without its essentials.
    pub fn to_trade(&self) -> Result<crate::Trade, BadRow> {
        Ok(crate::Trade {
            trade_id: self.trade_id.clone(),
            order_id: BrokerOrderId::new(&self.order_id),
            instrument: instrument(&self.exchange, &self.tradingsymbol)?,
            side: side(&self.transaction_type)?,
            product: product(&self.product)?,
            quantity: self.quantity,
            price: self.average_price,
            at: self
                .fill_timestamp
                .or(self.exchange_timestamp)
                .ok_or(BadRow::Unreadable { field: "fill_timestamp" })?,
        })
    }
}

/// Both lists of positions. `net` is the truth, `day` today's activity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// What is held.
    pub net: Vec<Position>,
    /// What was traded today.
    #[serde(default)]
    pub day: Vec<Position>,
}

/// One position as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.8")]
pub struct Position {
    pub tradingsymbol: String,
    pub exchange: String,
    #[serde(default = "json::token::none", with = "json::token")]
    pub instrument_token: BrokerToken,
    pub product: String,
    #[serde(with = "json::signed")]
    pub quantity: i64,
    #[serde(default, with = "json::signed")]
    pub overnight_quantity: i64,
    #[serde(default, with = "json::price")]
    pub multiplier: Price,
    #[serde(default, with = "json::price")]
    pub average_price: Price,
    #[serde(default, with = "json::price")]
    pub close_price: Price,
    #[serde(default, with = "json::price")]
    pub last_price: Price,
    #[serde(default, with = "json::money")]
    pub value: Money,
    #[serde(default, with = "json::money")]
    pub pnl: Money,
    #[serde(default, with = "json::money")]
    pub m2m: Money,
    #[serde(default, with = "json::money")]
    pub unrealised: Money,
    #[serde(default, with = "json::money")]
    pub realised: Money,
    #[serde(default, with = "json::quantity")]
    pub buy_quantity: Quantity,
    #[serde(default, with = "json::price")]
    pub buy_price: Price,
    #[serde(default, with = "json::money")]
    pub buy_value: Money,
    #[serde(default, with = "json::money")]
    pub buy_m2m: Money,
    #[serde(default, with = "json::quantity")]
    pub sell_quantity: Quantity,
    #[serde(default, with = "json::price")]
    pub sell_price: Price,
    #[serde(default, with = "json::money")]
    pub sell_value: Money,
    #[serde(default, with = "json::money")]
    pub sell_m2m: Money,
    #[serde(default, with = "json::quantity")]
    pub day_buy_quantity: Quantity,
    #[serde(default, with = "json::price")]
    pub day_buy_price: Price,
    #[serde(default, with = "json::money")]
    pub day_buy_value: Money,
    #[serde(default, with = "json::quantity")]
    pub day_sell_quantity: Quantity,
    #[serde(default, with = "json::price")]
    pub day_sell_price: Price,
    #[serde(default, with = "json::money")]
    pub day_sell_value: Money,
}

impl Position {
    /// The row of a position opened today, multiplier 1. As Kite does, all profit stands under `unrealised`.
    #[must_use]
    pub fn from_position(position: &crate::Position, token: BrokerToken) -> Self {
        let (bought, sold) = (position.bought, position.sold);
        let (buy_value, sell_value) = (position.buy_value, position.sell_value);
        let (buy_price, sell_price) = (buy_value.per_unit(bought), sell_value.per_unit(sold));
        let value = sell_value - buy_value;
        let open = position.quantity.saturating_mul(position.last_price.units());
        let pnl = value + Money::from_units(open);
        Self {
            tradingsymbol: position.instrument.symbol.to_string(),
            exchange: position.instrument.exchange.to_string(),
            instrument_token: token,
            product: words::product(position.product).to_owned(),
            quantity: position.quantity,
            overnight_quantity: 0,
            multiplier: Price::from_paise(100),
            average_price: position.average_price,
            close_price: Price::ZERO,
            last_price: position.last_price,
            value,
            pnl,
            m2m: pnl,
            unrealised: pnl,
            realised: Money::ZERO,
            buy_quantity: bought,
            buy_price,
            buy_value,
            buy_m2m: buy_value,
            sell_quantity: sold,
            sell_price,
            sell_value,
            sell_m2m: sell_value,
            day_buy_quantity: bought,
            day_buy_price: buy_price,
            day_buy_value: buy_value,
            day_sell_quantity: sold,
            day_sell_price: sell_price,
            day_sell_value: sell_value,
        }
    }

    /// The position in our words.
    ///
    /// # Errors
    /// [`BadRow`]: foreign, or without its essentials.
    pub fn to_position(&self) -> Result<crate::Position, BadRow> {
        Ok(crate::Position {
            instrument: instrument(&self.exchange, &self.tradingsymbol)?,
            product: product(&self.product)?,
            quantity: self.quantity,
            average_price: self.average_price,
            last_price: self.last_price,
            bought: self.buy_quantity,
            buy_value: self.buy_value,
            sold: self.sell_quantity,
            sell_value: self.sell_value,
        })
    }
}

/// Shares in the demat account as they are on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.8")]
pub struct Holding {
    pub tradingsymbol: String,
    pub exchange: String,
    #[serde(default = "json::token::none", with = "json::token")]
    pub instrument_token: BrokerToken,
    #[serde(default)]
    pub isin: String,
    #[serde(default)]
    pub product: String,
    #[serde(default, with = "json::price")]
    pub price: Price,
    #[serde(with = "json::quantity")]
    pub quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub used_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub t1_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub realised_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub authorised_quantity: Quantity,
    #[serde(default, with = "json::time")]
    pub authorised_date: Option<Timestamp>,
    #[serde(default, with = "json::quantity")]
    pub opening_quantity: Quantity,
    #[serde(default, with = "json::quantity")]
    pub collateral_quantity: Quantity,
    #[serde(default)]
    pub collateral_type: Option<String>,
    #[serde(default)]
    pub discrepancy: bool,
    #[serde(default, with = "json::price")]
    pub average_price: Price,
    #[serde(default, with = "json::price")]
    pub last_price: Price,
    #[serde(default, with = "json::price")]
    pub close_price: Price,
    #[serde(default, with = "json::money")]
    pub pnl: Money,
    #[serde(default, with = "json::price")]
    pub day_change: Price,
    /// Percent.
    #[serde(default, with = "json::price")]
    pub day_change_percentage: Price,
}

impl Holding {
    /// The row of a holding whose previous close is `close`.
    #[must_use]
    pub fn from_holding(holding: &crate::Holding, token: BrokerToken, close: Price) -> Self {
        let gain = holding.last_price - holding.average_price;
        Self {
            tradingsymbol: holding.instrument.symbol.to_string(),
            exchange: holding.instrument.exchange.to_string(),
            instrument_token: token,
            isin: String::new(),
            product: "CNC".to_owned(),
            price: Price::ZERO,
            quantity: holding.quantity,
            used_quantity: Quantity::ZERO,
            t1_quantity: holding.t1_quantity,
            realised_quantity: holding.quantity,
            authorised_quantity: Quantity::ZERO,
            authorised_date: None,
            opening_quantity: holding.quantity,
            collateral_quantity: Quantity::ZERO,
            collateral_type: Some(String::new()),
            discrepancy: false,
            average_price: holding.average_price,
            last_price: holding.last_price,
            close_price: close,
            pnl: gain.times(holding.quantity + holding.t1_quantity).unwrap_or_default(),
            day_change: holding.last_price - close,
            day_change_percentage: percent(holding.last_price - close, close),
        }
    }

    /// The holding in our words.
    ///
    /// # Errors
    /// [`BadRow`]: foreign, or without its essentials.
    pub fn to_holding(&self) -> Result<crate::Holding, BadRow> {
        Ok(crate::Holding {
            instrument: instrument(&self.exchange, &self.tradingsymbol)?,
            quantity: self.quantity,
            t1_quantity: self.t1_quantity,
            average_price: self.average_price,
            last_price: self.last_price,
        })
    }
}

/// `part` in percent of `whole`, cut to four decimals; zero of nothing.
fn percent(part: Price, whole: Price) -> Price {
    let wide = i128::from(part.units()) * 1_000_000;
    let ratio = wide.checked_div(i128::from(whole.units())).unwrap_or(0);
    Price::from_units(i64::try_from(ratio).unwrap_or(0))
}
