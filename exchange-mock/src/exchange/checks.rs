//! What a broker checks before it takes an order, and how the type of an order becomes a limit and a trigger.
//!
//! Market orders are not filled at any price: they become limit orders at the last price plus or minus a protection, as
//! exchanges have demanded of orders by API since 2026-04-01.

use nirantar_brokers::{
    Instrument, InstrumentKind, MarketProtection, OrderRequest, OrderType, Price, Product, Quantity, Side, Validity,
};

use super::types::Rejection;

/// Most units in one order, and the highest price: their product, and sums of many, fit in 64 bits of money.
const MAX_QUANTITY: u64 = 5_000_000;
pub(super) const MAX_PRICE: Price = Price::from_units(1_000_000_000_000);

/// A trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) trigger: Price,
    /// Of a stop-market order; `None` for a stop-limit.
    pub(super) protection: Option<MarketProtection>,
    /// Whether the trigger was reached.
    pub(super) fired: bool,
}

/// An order's type as the book needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) stop: Option<Stop>,
    /// The limit; of a stop-market order that waits, what it would be if the market stood at the trigger.
    pub(super) limit: Price,
    /// The protection in hundredths of a percent, if it was a market order.
    pub(super) was_market: Option<u16>,
    /// Whether it waits for an auction's price, whatever that is; the limit is the edge of the band then.
    pub(super) at_market: bool,
}

impl Plan {
    /// The type as the order's row shows it: a market order shows as the limit order it became.
    pub(super) fn shown(self) -> OrderType {
        match self.stop {
            None if self.at_market => {
                OrderType::Market(self.was_market.map_or(MarketProtection::Automatic, MarketProtection::BasisPoints))
            }
            None => OrderType::Limit(self.limit),
            Some(Stop { trigger, protection: Some(protection), fired: false }) => {
                OrderType::StopMarket { trigger, protection }
            }
            Some(Stop { trigger, .. }) => OrderType::StopLimit { trigger, limit: self.limit },
        }
    }

    /// Whether it waits for its trigger.
    pub(super) fn waits(self) -> bool {
        self.stop.is_some_and(|stop| !stop.fired)
    }

    /// Whether it should trade at once rather than wait for the next tick.
    pub(super) fn is_market(self) -> bool {
        self.was_market.is_some() && self.stop.is_none() && !self.at_market
    }

    /// The trigger is reached with the market at `last`.
    pub(super) fn fire(&mut self, instrument: &Instrument, side: Side, last: Price) {
        if let Some(stop) = &mut self.stop {
            stop.fired = true;
            if let Some(protection) = stop.protection {
                let (limit, basis_points) = protected(instrument, side, last, protection);
                self.limit = limit;
                self.was_market = Some(basis_points);
            }
        }
    }
}

/// Checks what does not depend on the account or the hour.
pub(super) fn check_request(instrument: &Instrument, order: &OrderRequest) -> Result<(), Rejection> {
    if instrument.kind == InstrumentKind::Index || instrument.tick <= Price::ZERO {
        return Err(Rejection::input("Instrument is not tradable."));
    }
    let cash = instrument.key.exchange.is_cash();
    match (order.product, cash) {
        (Product::Cnc, false) => return Err(Rejection::input("CNC is not allowed for derivatives. Use NRML or MIS.")),
        (Product::Nrml, true) => return Err(Rejection::input("NRML is not allowed for equity. Use CNC or MIS.")),
        _ => {}
    }
    check_validity(order.validity)?;
    check_quantity(instrument, order.quantity)
}

pub(super) fn check_validity(validity: Validity) -> Result<(), Rejection> {
    if validity == (Validity::Ttl { minutes: 0 }) {
        return Err(Rejection::input("Invalid `validity_ttl`. It should be 1 minute or more."));
    }
    Ok(())
}

pub(super) fn check_quantity(instrument: &Instrument, quantity: Quantity) -> Result<(), Rejection> {
    let lot = instrument.lot.get().max(1);
    if quantity.is_zero() {
        return Err(Rejection::input("Invalid `quantity`. It should be above zero."));
    }
    if !quantity.get().is_multiple_of(lot) {
        return Err(Rejection::input(format!("Quantity should be in multiples of {lot}.")));
    }
    if quantity.get() > MAX_QUANTITY {
        return Err(Rejection::input(format!("Quantity exceeds the {MAX_QUANTITY} allowed in one order.")));
    }
    Ok(())
}

/// How an order of that type will work, given the last price.
///
/// # Errors
/// A price is missing or off its tick, a stop's trigger lies beyond its limit, or there is no last price to protect a
/// market order with.
pub(super) fn plan(
    instrument: &Instrument,
    side: Side,
    order_type: OrderType,
    last: Option<Price>,
) -> Result<Plan, Rejection> {
    if let Some(limit) = order_type.limit() {
        check_price(instrument, "price", limit)?;
    }
    if let Some(trigger) = order_type.trigger() {
        check_price(instrument, "trigger_price", trigger)?;
    }
    match order_type {
        OrderType::Limit(limit) => Ok(Plan { stop: None, limit, was_market: None, at_market: false }),
        OrderType::Market(protection) => {
            check_protection(protection)?;
            let last = last.ok_or_else(|| {
                Rejection::order("Market orders need a last traded price and there is none yet. Use a limit order.")
            })?;
            let (limit, basis_points) = protected(instrument, side, last, protection);
            Ok(Plan { stop: None, limit, was_market: Some(basis_points), at_market: false })
        }
        OrderType::StopLimit { trigger, limit } => {
            let (beyond, words) = match side {
                Side::Buy => (trigger > limit, "buy orders cannot be above"),
                Side::Sell => (trigger < limit, "sell orders cannot be below"),
            };
            if beyond {
                return Err(Rejection::input(format!("Trigger price for stoploss {words} the limit price.")));
            }
            Ok(Plan {
                stop: Some(Stop { trigger, protection: None, fired: false }),
                limit,
                was_market: None,
                at_market: false,
            })
        }
        OrderType::StopMarket { trigger, protection } => {
            check_protection(protection)?;
            let (limit, basis_points) = protected(instrument, side, trigger, protection);
            let stop = Stop { trigger, protection: Some(protection), fired: false };
            Ok(Plan { stop: Some(stop), limit, was_market: Some(basis_points), at_market: false })
        }
    }
}

fn check_price(instrument: &Instrument, field: &str, price: Price) -> Result<(), Rejection> {
    if price <= Price::ZERO || price > MAX_PRICE {
        return Err(Rejection::input(format!("Invalid `{field}`.")));
    }
    if !price.is_multiple_of(instrument.tick) {
        return Err(Rejection::input(format!(
            "Tick size for this script is {}. Kindly enter price in the multiple of tick size for this script.",
            instrument.tick
        )));
    }
    Ok(())
}

fn check_protection(protection: MarketProtection) -> Result<(), Rejection> {
    match protection {
        MarketProtection::BasisPoints(0 | 10_001..) => {
            Err(Rejection::input("Invalid `market_protection`. It should be above 0 and at most 100 percent."))
        }
        _ => Ok(()),
    }
}

/// The limit of a market order and the protection in hundredths of a percent: the last price moved by the protection,
/// on a tick that does not go beyond it, but at least one tick past the last price, and never zero or less.
fn protected(instrument: &Instrument, side: Side, last: Price, protection: MarketProtection) -> (Price, u16) {
    let basis_points = match protection {
        MarketProtection::Automatic => automatic(instrument.kind, last),
        MarketProtection::BasisPoints(basis_points) => basis_points,
    };
    let limit = crate::matching::protected(instrument.tick, side, last, basis_points);
    (limit, basis_points)
}

/// The slabs brokers use, in hundredths of a percent (OpenAlgo's table for twelve brokers; no exchange rule).
fn automatic(kind: InstrumentKind, last: Price) -> u16 {
    let rupees = |rupees: i64| Price::from_paise(rupees * 100);
    match kind {
        InstrumentKind::Call | InstrumentKind::Put => match last {
            _ if last < rupees(10) => 500,
            _ if last < rupees(100) => 300,
            _ if last <= rupees(500) => 200,
            _ => 100,
        },
        InstrumentKind::Equity | InstrumentKind::Future | InstrumentKind::Index => match last {
            _ if last < rupees(100) => 200,
            _ if last <= rupees(500) => 100,
            _ => 50,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::universe;

    fn share() -> Instrument {
        universe::instruments("2021-04-12".parse().unwrap()).remove(0)
    }

    fn limit(side: Side, last_paise: i64, protection: MarketProtection) -> Price {
        protected(&share(), side, Price::from_paise(last_paise), protection).0
    }

    #[test]
    fn protection_stays_inside_its_percentage_and_leaves_at_least_a_tick() {
        let one_percent = MarketProtection::BasisPoints(100);
        assert_eq!(limit(Side::Buy, 10_003, one_percent), Price::from_paise(10_100));
        assert_eq!(limit(Side::Sell, 10_003, one_percent), Price::from_paise(9_905));
        let tiny = MarketProtection::BasisPoints(1);
        assert_eq!(limit(Side::Buy, 10_000, tiny), Price::from_paise(10_005));
        assert_eq!(limit(Side::Sell, 10_000, tiny), Price::from_paise(9_995));
        assert_eq!(limit(Side::Sell, 5, MarketProtection::BasisPoints(10_000)), Price::from_paise(5));
    }

    #[test]
    fn automatic_protection_follows_the_slabs() {
        use InstrumentKind::{Call, Equity};
        let basis_points = |kind, rupees: i64| automatic(kind, Price::from_paise(rupees * 100));
        assert_eq!([99, 100, 500, 501].map(|rupees| basis_points(Equity, rupees)), [200, 100, 100, 50]);
        assert_eq!([9, 10, 100, 500, 501].map(|rupees| basis_points(Call, rupees)), [500, 300, 200, 200, 100]);
    }
}
