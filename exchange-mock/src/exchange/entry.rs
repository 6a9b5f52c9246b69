//! Which orders a market takes now: by the step it is in, by product, by quantity; and what is made of a market order.

use nirantar_brokers::{Exchange, OrderType, Product, Quantity, Side, Validity};

use super::bands::is_derivative;
use super::checks::{self, Plan};
use super::order::Order;
use super::types::Rejection;
use super::{Listing, MockExchange};
use crate::account::InstrumentNo;
use crate::calendar::Step;

impl MockExchange {
    /// Whether the market takes an order of that type now.
    pub(super) fn check_entry(
        &self,
        listing: &Listing,
        order_type: OrderType,
        validity: Validity,
    ) -> Result<(), Rejection> {
        let step = self.step_of(listing);
        match step {
            Step::Continuous => return Ok(()),
            Step::PreOpenEntry | Step::PreOpenLimit | Step::ClosingEntry | Step::ClosingLimit => {}
            Step::Halted => {
                return Err(Rejection::order(format!("Trading in {} is halted.", listing.instrument.key)));
            }
            Step::PreOpenMatch | Step::Buffer | Step::ClosingReference | Step::ClosingMatch | Step::Transition => {
                let words = "The market takes no orders at the moment: it is between two sessions or finding a price.";
                return Err(Rejection::order(words));
            }
            Step::PostClose => return Self::check_post_close(order_type, validity),
            Step::Closed => {
                return Err(Rejection::order("Markets are closed right now. Try placing an order in market hours."));
            }
        }
        let session = if step.is_opening_entry() { "pre-open session" } else { "closing auction session" };
        let refused = |what: &str| Err(Rejection::order(format!("{what} orders are not allowed in the {session}.")));
        match (order_type, validity) {
            (OrderType::StopLimit { .. } | OrderType::StopMarket { .. }, _) => refused("Stop-loss"),
            (_, Validity::Ioc) => refused("IOC"),
            (OrderType::Market(_), _) if matches!(step, Step::PreOpenLimit | Step::ClosingLimit) => {
                Err(Rejection::order("Market orders are currently not allowed."))
            }
            _ => Ok(()),
        }
    }

    /// Whether a working order may be changed or cancelled now.
    pub(super) fn check_touch(&self, order: &Order) -> Result<(), Rejection> {
        let step = self.listings.get(order.instrument).map_or(Step::Closed, |listing| self.step_of(listing));
        match step {
            Step::PreOpenLimit | Step::ClosingLimit if order.plan.at_market => {
                Err(Rejection::order("Market orders can no longer be changed or cancelled in this auction."))
            }
            Step::PreOpenMatch | Step::Buffer | Step::ClosingReference | Step::ClosingMatch => {
                Err(Rejection::order("Orders cannot be changed or cancelled while the price of the auction is found."))
            }
            _ => Ok(()),
        }
    }

    /// Whether the product may be used now, and so many units be asked for in one order.
    pub(super) fn check_product(
        &self,
        listing: &Listing,
        product: Product,
        quantity: Quantity,
    ) -> Result<(), Rejection> {
        let key = &listing.instrument.key;
        if product == Product::Mis && !self.squaring && self.square_off_passed(key.exchange) {
            return Err(Rejection::order(
                "Intraday (MIS) orders are not allowed after the square-off time. Use CNC or NRML.",
            ));
        }
        self.check_post_close_product(listing, product)?;
        let most = is_derivative(&listing.instrument)
            .then(|| self.config.freeze.most(key.exchange, &listing.instrument.name, self.clock.ist_date()))
            .flatten();
        match most.filter(|most| quantity > *most) {
            Some(most) => Err(Rejection::input(format!(
                "Order quantity exceeds the freeze quantity of {most} for {}. Place it in slices.",
                listing.instrument.name
            ))),
            None => Ok(()),
        }
    }

    /// How an order will work: a market order as one at any price in an auction, and as a protected limit else, both
    /// inside the band.
    pub(super) fn plan(
        &self,
        instrument_no: InstrumentNo,
        side: Side,
        order_type: OrderType,
    ) -> Result<Plan, Rejection> {
        let listing = self.listings.get(instrument_no).ok_or_else(Rejection::no_such_instrument)?;
        if let (OrderType::Market(protection), Step::PostClose) = (order_type, self.step_of(listing)) {
            return self.plan_at_close(instrument_no, side, protection);
        }
        let (range, auction) = (self.price_range(instrument_no), self.step_of(listing).is_auction_entry());
        let last = listing.market.map(|market| market.last_price);
        let last = last.or_else(|| self.previous_close(listing).filter(|_| auction));
        let mut plan = checks::plan(&listing.instrument, side, order_type, last)?;
        if let (OrderType::Market(_), Some((low, high))) = (order_type, range) {
            let (edge, inside) = match side {
                Side::Buy => (high, plan.limit.min(high)),
                Side::Sell => (low, plan.limit.max(low)),
            };
            plan.limit = if auction { edge } else { inside };
        }
        plan.at_market = auction && matches!(order_type, OrderType::Market(_));
        Ok(plan)
    }

    /// Whether intraday positions of an exchange have been closed today.
    fn square_off_passed(&self, exchange: Exchange) -> bool {
        let Some(square_off) = self.config.square_off else { return false };
        let of_day = self.calendar.continuous_on(exchange, self.clock.ist_date()).is_some();
        of_day && self.clock.ist_time() >= square_off.of(exchange)
    }
}
