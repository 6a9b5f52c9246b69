//! What the account risks at most. None of it is the broker's: these are the trader's own bounds.
//!
//! Promises: a bound that cannot be judged (no price to judge by) refuses; exits are never stopped by one; all sums are
//! fixed-point and saturate towards refusing.

use nirantar_brokers::{Money, OrderRequest, Price, Quantity};

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

/// A bound that an order would pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    /// It is worth too much.
    #[error("order value: {worth} rupees, and {most} are allowed")]
    Value {
        /// At its own price or the last one.
        worth: Money,
        /// Most.
        most: Money,
    },
    /// There is nothing to tell its worth by.
    #[error("order value: a market order needs a tick of today to be valued by, and there is none yet: use a limit")]
    NoPrice,
    /// Too many units.
    #[error("order quantity: {given} units, and {most} are allowed")]
    Quantity {
        /// As given.
        given: Quantity,
        /// Most.
        most: Quantity,
    },
    /// Too far from the last tick.
    #[error("price band: the {what} {given} is further than {}.{:02}% from the last tick, {last}", band / 100, band % 100)]
    Band {
        /// Which price.
        what: &'static str,
        /// As given.
        given: Price,
        /// The last tick.
        last: Price,
        /// How far it may be, in hundredths of a percent.
        band: u32,
    },
    /// There is no tick to be near to.
    #[error("price band: there is no tick of today yet to hold the price against")]
    NoTick,
    /// Too many orders at once.
    #[error("open orders: {working} are working in the {} book, and {most} are allowed", .book)]
    OpenOrders {
        /// In which book.
        book: nirantar_brokers::Book,
        /// Working, on their way, waiting or unknown.
        working: u32,
        /// Most.
        most: u32,
    },
    /// Too large a position.
    #[error("position: up to {would} units if all that works is filled, and {most} are allowed")]
    Position {
        /// In the worst case.
        would: u64,
        /// Most.
        most: Quantity,
    },
    /// Too much lost today.
    #[error(
        "daily loss: {most} rupees are lost today; only exits are taken until tomorrow, or until the operator lets trading go \
         on: POST /api/operator/ACCOUNT/resume, or nirantar halt --reduce-only and 15 seconds later nirantar resume"
    )]
    DailyLoss {
        /// The bound.
        most: Money,
    },
}

/// What else works in the order's book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Orders that are not finished.
    pub working: u32,
    /// Units of the instrument, long or short in the order's direction, if all that works on its side is filled.
    pub units: i128,
}

impl RiskLimits {
    /// Holds an entry against what it is by itself: quantity, value and band. `last` is the last tick of today.
    ///
    /// # Errors
    /// The first bound it would pass.
    pub fn check_order(&self, order: &OrderRequest, last: Option<Price>) -> Result<(), OverLimit> {
        let (given, order_type) = (order.quantity, order.order_type);
        if let Some(most) = self.order_quantity.filter(|most| given > *most) {
            return Err(OverLimit::Quantity { given, most });
        }
        if let Some(most) = self.order_value {
            let own = order_type.limit().or(order_type.trigger());
            let price = own.or(last).ok_or(OverLimit::NoPrice)?;
            let worth = price.times(given).unwrap_or(Money::from_units(i64::MAX));
            if worth > most {
                return Err(OverLimit::Value { worth, most });
            }
        }
        let Some(band) = self.price_band else { return Ok(()) };
        let prices = [("price", order_type.limit()), ("trigger", order_type.trigger())];
        for (what, given) in prices.into_iter().filter_map(|(what, price)| Some((what, price?))) {
            let last = last.ok_or(OverLimit::NoTick)?;
            let reach = last.basis_points(i64::from(band));
            if given > last + reach || given < last - reach {
                return Err(OverLimit::Band { what, given, last, band });
            }
        }
        Ok(())
    }

    /// Holds an entry against what works beside it.
    ///
    /// # Errors
    /// The first bound it would pass.
    pub fn check_beside(
        &self,
        book: nirantar_brokers::Book,
        order: &OrderRequest,
        beside: Beside,
    ) -> Result<(), OverLimit> {
        if let Some(most) = self.open_orders.filter(|most| beside.working >= *most) {
            return Err(OverLimit::OpenOrders { book, working: beside.working, most });
        }
        let would = beside.units.saturating_add(i128::from(order.quantity.get()));
        match self.position {
            Some(most) if would > i128::from(most.get()) => {
                Err(OverLimit::Position { would: u64::try_from(would).unwrap_or(u64::MAX), most })
            }
            _ => Ok(()),
        }
    }

    /// Whether any bound looks at other orders.
    #[must_use]
    pub const fn look_beside(&self) -> bool {
        self.open_orders.is_some() || self.position.is_some()
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::{Book, Exchange, InstrumentKey, MarketProtection, OrderType, Side};

    use super::*;

    fn paise(paise: i64) -> Price {
        Price::from_paise(paise)
    }

    fn order(quantity: u64, order_type: OrderType) -> OrderRequest {
        OrderRequest::new(InstrumentKey::new(Exchange::Nse, "INFY"), Side::Buy, quantity, order_type)
    }

    #[test]
    fn each_bound_takes_its_last_unit_and_refuses_the_next() {
        let none = RiskLimits::default;
        let value = RiskLimits { order_value: Some(Money::from_rupees(1_000)), ..none() };
        let units = RiskLimits { order_quantity: Some(Quantity::new(10)), ..none() };
        let band = RiskLimits { price_band: Some(250), ..none() };
        let (market, last) = (OrderType::Market(MarketProtection::Automatic), Some(paise(10_000)));
        let stop = |trigger| OrderType::StopMarket { trigger: paise(trigger), protection: MarketProtection::Automatic };
        let limit = |price| OrderType::Limit(paise(price));
        for (limits, good, bad, words) in [
            (&value, order(10, limit(10_000)), order(10, limit(10_001)), "order value: 1000.10 rupees"),
            (&value, order(10, market), order(11, market), "order value: 1100.00 rupees, and 1000.00"),
            (&value, order(10, stop(10_000)), order(10, stop(10_001)), "order value: 1000.10"),
            (&value, order(1, limit(1)), order(u64::MAX, limit(1)), "order value"),
            (&units, order(10, market), order(11, market), "order quantity: 11 units, and 10"),
            (
                &band,
                order(1, limit(10_250)),
                order(1, limit(10_251)),
                "price band: the price 102.51 is further than 2.50%",
            ),
            (&band, order(1, limit(9_750)), order(1, limit(9_749)), "price band: the price 97.49"),
            (&band, order(1, stop(10_250)), order(1, stop(10_251)), "price band: the trigger 102.51"),
        ] {
            assert_eq!(limits.check_order(&good, last), Ok(()), "{good:?}");
            let said = limits.check_order(&bad, last).expect_err(words).to_string();
            assert!(said.starts_with(words), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let value = RiskLimits { order_value: Some(Money::from_rupees(1)), ..RiskLimits::default() };
        let band = RiskLimits { price_band: Some(1), ..RiskLimits::default() };
        let market = order(1, OrderType::Market(MarketProtection::Automatic));
        assert_eq!(value.check_order(&market, None), Err(OverLimit::NoPrice));
        assert_eq!(band.check_order(&market, None), Ok(()), "it has no price of its own");
        assert_eq!(band.check_order(&order(1, OrderType::Limit(paise(1))), None), Err(OverLimit::NoTick));
    }

    #[test]
    fn what_works_beside_it_counts_as_if_it_were_filled() {
        let market = OrderType::Market(MarketProtection::Automatic);
        let limits = RiskLimits { open_orders: Some(2), position: Some(Quantity::new(100)), ..RiskLimits::default() };
        let check = |working, units, quantity| {
            limits.check_beside(Book::Live, &order(quantity, market), Beside { working, units })
        };
        assert_eq!(check(1, 60, 40), Ok(()));
        assert_eq!(check(1, -60, 160), Ok(()), "it turns the position round");
        assert_eq!(check(1, 60, 41), Err(OverLimit::Position { would: 101, most: Quantity::new(100) }));
        assert_eq!(check(2, 0, 1), Err(OverLimit::OpenOrders { book: Book::Live, working: 2, most: 2 }));
    }
}
