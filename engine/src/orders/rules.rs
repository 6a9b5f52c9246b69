//! Rules of the exchange that an order can be held against before it is written or sent: symbol, lot, tick, price, product
//! and validity.
//!
//! Promise: what is refused here the broker would refuse as well, and the words name the rule, what was given and what is
//! allowed. What needs the day's list is not judged without it.

use nirantar_brokers::{
    Exchange, InstrumentKey, InstrumentKind, MarketProtection, OrderRequest, OrderType, Price, Product, Quantity, Side,
    Validity,
};

use super::Terms;

/// A rule that an order breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleBroken {
    /// The day's list has no such name.
    #[error("symbol: the day's list of {} instruments has no `{}`", .0.exchange, .0.symbol)]
    UnknownSymbol(InstrumentKey),
    /// An index, or something else without a tick.
    #[error("symbol: {0} is an index, or has no tick: it has a price and cannot be traded")]
    NotTradable(InstrumentKey),
    /// A price of zero or less.
    #[error("{what}: {given} is not above zero")]
    NotPositive {
        /// Which price.
        what: &'static str,
        /// As given.
        given: Price,
    },
    /// A price between two ticks.
    #[error("{what}: {given} is not a multiple of the tick of {instrument}, {tick}")]
    OffTick {
        /// Which price.
        what: &'static str,
        /// As given.
        given: Price,
        /// Of what.
        instrument: InstrumentKey,
        /// Its tick.
        tick: Price,
    },
    /// A stop-limit order whose limit its trigger would jump over.
    #[error(
        "trigger: a {side} with the trigger {trigger} and the limit {limit} could never trade when it is triggered"
    )]
    TriggerBeyondLimit {
        /// Buy or sell.
        side: Side,
        /// Its trigger.
        trigger: Price,
        /// Its limit.
        limit: Price,
    },
    /// Not a whole number of lots.
    #[error("quantity: {given} is not a multiple of the lot of {instrument}, {lot}")]
    OffLot {
        /// As given.
        given: Quantity,
        /// Of what.
        instrument: InstrumentKey,
        /// Its lot.
        lot: Quantity,
    },
    /// More than the exchange takes in one order.
    #[error("quantity: {given} is above the freeze quantity of {instrument}, {most} in one order")]
    AboveFreeze {
        /// As given.
        given: Quantity,
        /// Of what.
        instrument: InstrumentKey,
        /// Most in one order.
        most: Quantity,
    },
    /// A product that the exchange does not have.
    #[error("product: {product:?} does not go with {exchange}: use {}", if exchange.is_cash() { "CNC or MIS" } else { "NRML or MIS" })]
    WrongProduct {
        /// As given.
        product: Product,
        /// Where.
        exchange: Exchange,
    },
    /// A stop cannot be immediate.
    #[error("validity: a stop order waits for its trigger and cannot be immediate-or-cancel")]
    ImmediateStop,
    /// Good for no minute.
    #[error("validity: 0 minutes; 1 or more are allowed")]
    NoMinutes,
    /// A protection out of range.
    #[error("market protection: {given} hundredths of a percent; 1 to 10000 are allowed")]
    BadProtection {
        /// As given.
        given: u16,
    },
}

/// Holds an order against every rule. `terms` is what the day's list says of its instrument, if that is known.
///
/// # Errors
/// The first rule it breaks.
pub(super) fn check(order: &OrderRequest, terms: Option<&Terms>) -> Result<(), RuleBroken> {
    let (instrument, exchange) = (&order.instrument, order.instrument.exchange);
    if terms.is_some_and(|terms| terms.kind == InstrumentKind::Index || terms.tick <= Price::ZERO) {
        return Err(RuleBroken::NotTradable(instrument.clone()));
    }
    let cash = exchange.is_cash();
    if matches!((order.product, cash), (Product::Cnc, false) | (Product::Nrml, true)) {
        return Err(RuleBroken::WrongProduct { product: order.product, exchange });
    }
    check_quantity(order, terms)?;
    check_validity(order)?;
    check_type(order, terms)
}

fn check_quantity(order: &OrderRequest, terms: Option<&Terms>) -> Result<(), RuleBroken> {
    let Some(Terms { lot, freeze, .. }) = terms else { return Ok(()) };
    let (given, instrument) = (order.quantity, || order.instrument.clone());
    if !given.get().is_multiple_of(lot.get().max(1)) {
        return Err(RuleBroken::OffLot { given, instrument: instrument(), lot: *lot });
    }
    match freeze {
        Some(most) if given > *most => Err(RuleBroken::AboveFreeze { given, instrument: instrument(), most: *most }),
        _ => Ok(()),
    }
}

fn check_validity(order: &OrderRequest) -> Result<(), RuleBroken> {
    match order.validity {
        Validity::Ioc if order.order_type.trigger().is_some() => Err(RuleBroken::ImmediateStop),
        Validity::Ttl { minutes: 0 } => Err(RuleBroken::NoMinutes),
        Validity::Day | Validity::Ioc | Validity::Ttl { .. } => Ok(()),
    }
}

fn check_type(order: &OrderRequest, terms: Option<&Terms>) -> Result<(), RuleBroken> {
    let prices = [("price", order.order_type.limit()), ("trigger", order.order_type.trigger())];
    for (what, given) in prices.into_iter().filter_map(|(what, price)| Some((what, price?))) {
        if given <= Price::ZERO {
            return Err(RuleBroken::NotPositive { what, given });
        }
        if let Some(Terms { tick, .. }) = terms.filter(|terms| !given.is_multiple_of(terms.tick)) {
            return Err(RuleBroken::OffTick { what, given, instrument: order.instrument.clone(), tick: *tick });
        }
    }
    match (order.order_type, order.side) {
        (
            OrderType::Market(MarketProtection::BasisPoints(given @ (0 | 10_001..)))
            | OrderType::StopMarket { protection: MarketProtection::BasisPoints(given @ (0 | 10_001..)), .. },
            _,
        ) => Err(RuleBroken::BadProtection { given }),
        (OrderType::StopLimit { trigger, limit }, Side::Buy) if trigger > limit => {
            Err(RuleBroken::TriggerBeyondLimit { side: Side::Buy, trigger, limit })
        }
        (OrderType::StopLimit { trigger, limit }, Side::Sell) if trigger < limit => {
            Err(RuleBroken::TriggerBeyondLimit { side: Side::Sell, trigger, limit })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::BrokerToken;

    use super::*;

    const TERMS: Terms = Terms {
        token: BrokerToken(1),
        kind: InstrumentKind::Future,
        lot: Quantity::new(65),
        tick: Price::from_paise(10),
        freeze: Some(Quantity::new(1_800)),
    };

    fn future() -> OrderRequest {
        let key = InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT");
        let limit = OrderType::Limit(Price::from_paise(2_500_000));
        OrderRequest { product: Product::Nrml, ..OrderRequest::new(key, Side::Buy, 65, limit) }
    }

    fn paise(paise: i64) -> Price {
        Price::from_paise(paise)
    }

    #[test]
    fn every_rule_names_itself_what_was_given_and_what_is_allowed() {
        let stop = |trigger, limit| OrderType::StopLimit { trigger: paise(trigger), limit: paise(limit) };
        let protected = |points| OrderType::Market(MarketProtection::BasisPoints(points));
        let with = |order_type| OrderRequest { order_type, ..future() };
        let selling = |order: OrderRequest| OrderRequest { side: Side::Sell, ..order };
        let valid = |validity, order: OrderRequest| OrderRequest { validity, ..order };
        let of = |quantity| OrderRequest { quantity: Quantity::new(quantity), ..future() };
        let cash = InstrumentKey::new(Exchange::Nse, "RELIANCE");
        for (order, words) in [
            (with(OrderType::Limit(paise(2_500_005))), "price: 25000.05 is not a multiple of the tick"),
            (with(OrderType::Limit(Price::ZERO)), "price: 0.00 is not above zero"),
            (with(OrderType::Limit(paise(-10))), "price: -0.10 is not above zero"),
            (with(stop(2_500_005, 2_500_010)), "trigger: 25000.05 is not a multiple of the tick"),
            (with(stop(2_500_020, 2_500_010)), "trigger: a buy with the trigger 25000.20 and the limit 25000.10"),
            (selling(with(stop(2_500_010, 2_500_020))), "trigger: a sell with the trigger"),
            (with(protected(0)), "market protection: 0"),
            (with(protected(10_001)), "market protection: 10001"),
            (of(64), "quantity: 64 is not a multiple of the lot of NFO:NIFTY26NOVFUT, 65"),
            (of(65 * 28), "quantity: 1820 is above the freeze quantity of NFO:NIFTY26NOVFUT, 1800"),
            (OrderRequest { product: Product::Cnc, ..future() }, "product: Cnc does not go with NFO: use NRML or MIS"),
            (OrderRequest { instrument: cash, ..future() }, "product: Nrml does not go with NSE: use CNC or MIS"),
            (valid(Validity::Ttl { minutes: 0 }, future()), "validity: 0 minutes; 1 or more"),
            (valid(Validity::Ioc, with(stop(2_500_010, 2_500_020))), "validity: a stop order waits"),
        ] {
            let said = check(&order, Some(&TERMS)).expect_err(words).to_string();
            assert!(said.starts_with(words), "{said}");
        }
        let index = Terms { kind: InstrumentKind::Index, tick: Price::ZERO, ..TERMS };
        assert!(matches!(check(&future(), Some(&index)), Err(RuleBroken::NotTradable(_))));
    }

    #[test]
    fn what_keeps_to_the_rules_passes_and_what_needs_the_list_is_not_judged_without_it() {
        let stop = OrderType::StopLimit { trigger: paise(2_500_010), limit: paise(2_500_010) };
        assert_eq!(check(&future(), Some(&TERMS)), Ok(()));
        assert_eq!(check(&OrderRequest { order_type: stop, ..future() }, Some(&TERMS)), Ok(()));
        let off = OrderRequest { quantity: Quantity::new(1), ..future() };
        assert_eq!(check(&off, None), Ok(()));
        let nothing = OrderRequest { order_type: OrderType::Limit(Price::ZERO), ..future() };
        assert!(check(&nothing, None).is_err(), "a price of nothing is one on every list");
    }
}
