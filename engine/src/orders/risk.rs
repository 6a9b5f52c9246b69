//! What the account risks at most. None of it is the broker's: these are the trader's own bounds.

use nirantar_brokers::{Money, Quantity};

/// The trader's own bounds. `None` is no bound. They hold for both books, so that paper teaches what live would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RiskLimits {
    /// Most that one order may be worth, at its limit price or the last one, in rupees.
    pub order_value: Option<Money>,
    /// Most units of one order.
    pub order_quantity: Option<Quantity>,
    /// How far, in hundredths of a percent, an order's price may be from the last tick.
    pub price_band: Option<u32>,
    /// Most orders that may be working at once in a book.
    pub open_orders: Option<u32>,
    /// Most units, long or short, that a book may hold of one instrument, orders that may still fill included.
    pub position: Option<Quantity>,
    /// Loss of a day, in rupees, realised and not, from which on only exits are taken.
    pub daily_loss: Option<Money>,
}
