//! The broker's clock for intraday positions: at its time it cancels open MIS orders, closes what is left at the market,
//! and takes no new ones that day. Off unless asked for ([`Config::square_off`](super::Config::square_off)).
//!
//! A position that cannot be closed (no price, a halt, an empty side) stays. The broker's fee is not taken.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{MarketProtection, OrderRequest, OrderType, Product, Quantity, Side};

use super::MockExchange;

impl MockExchange {
    /// When intraday positions are closed next on the day the exchange stands at.
    pub(super) fn next_square_off(&self) -> Option<Timestamp> {
        let square_off = self.config.square_off?;
        let date = self.clock.ist_date();
        let times = [square_off.cash, square_off.derivatives].map(|time| Timestamp::from_ist_parts(date, time));
        times.into_iter().filter(|at| *at > self.squared).min()
    }

    /// It is time: `at` is what [`next_square_off`](Self::next_square_off) said.
    pub(super) fn square_off(&mut self, at: Timestamp) {
        self.squared = at;
        let Some(square_off) = self.config.square_off else { return };
        let due = |exchange| square_off.of(exchange) == at.ist_time();
        let open = |order: &super::Order| {
            order.row.product == Product::Mis && !order.is_final() && due(order.row.instrument.exchange)
        };
        let orders: Vec<_> = (0..self.orders.len()).filter(|no| self.orders.get(*no).is_some_and(open)).collect();
        for no in orders {
            self.cancel_rest(no, Some("Order cancelled: intraday orders end with the square-off.".to_owned()));
        }
        let positions = self.positions().into_iter().filter(|position| {
            position.product == Product::Mis && position.quantity != 0 && due(position.instrument.exchange)
        });
        let exits: Vec<OrderRequest> = positions
            .map(|position| {
                let side = if position.quantity > 0 { Side::Sell } else { Side::Buy };
                let market = OrderType::Market(MarketProtection::Automatic);
                let mut exit = OrderRequest::new(position.instrument, side, 1, market);
                exit.quantity = Quantity::new(position.quantity.unsigned_abs());
                exit.product = Product::Mis;
                exit
            })
            .collect();
        self.squaring = true;
        for exit in exits {
            // What the market does not take now stays: it becomes a delivery.
            let _ = self.place(&exit, None, self.clock);
        }
        self.squaring = false;
    }
}
