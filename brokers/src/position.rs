//! What an account has: trades, positions, holdings, money.

use crate::time::Timestamp;
use crate::{BrokerOrderId, InstrumentKey, Money, Price, Product, Quantity, Side};

/// One fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The exchange's number of the trade.
    pub trade_id: String,
    /// The order it fills.
    pub order_id: BrokerOrderId,
    /// What was traded.
    pub instrument: InstrumentKey,
    /// Bought or sold.
    pub side: Side,
    /// Which product.
    pub product: Product,
    /// How many.
    pub quantity: Quantity,
    /// At what price.
    pub price: Price,
    /// When the exchange filled it.
    pub at: Timestamp,
}

/// What is held of one instrument in one product. Flat rows (quantity 0) stay in a broker's list until the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Of what.
    pub instrument: InstrumentKey,
    /// In which product. An exit uses the same.
    pub product: Product,
    /// Above zero long, below zero short.
    pub quantity: i64,
    /// Average price of what is open; zero when flat.
    pub average_price: Price,
    /// Last traded price.
    pub last_price: Price,
    /// Units bought, all told.
    pub bought: Quantity,
    /// Spent on them.
    pub buy_value: Money,
    /// Units sold, all told.
    pub sold: Quantity,
    /// Received for them.
    pub sell_value: Money,
}

/// Shares in the demat account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Of what.
    pub instrument: InstrumentKey,
    /// Settled and free to sell.
    pub quantity: Quantity,
    /// Bought yesterday, not settled yet.
    pub t1_quantity: Quantity,
    /// Average cost.
    pub average_price: Price,
    /// Last traded price.
    pub last_price: Price,
}

/// Money to trade with, in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Margins {
    /// Cash in the account.
    pub cash: Money,
    /// What new orders may use.
    pub available: Money,
    /// What open orders and positions use.
    pub used: Money,
}
