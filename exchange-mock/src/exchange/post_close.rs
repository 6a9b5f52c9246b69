//! The day's closing price, and the session after it in which shares trade at that price and no other.
//!
//! The post-close session takes market orders for the day, for delivery, and fills them at the closing price (NSE/CMTR/74466
//! for its time; "only market orders" by Geojit and 5paisa, "CNC only" by 5paisa). Where nobody knows the closing price it
//! takes none. Our own orders trade with each other as they come; what is left meets the units that the market's ticks of
//! the session tell of, earlier orders first, and is cancelled with its end.
//!
//! What is taken for the closing price: of a share with a closing auction what the market traded at in it or after it; else
//! the average of what was traded in the time that the close is measured over (the quarter of an hour before the auction,
//! the last half hour without one), else the last price since then. A feed that tells only last prices and volumes gives
//! an average that may be some ticks off the exchange's own.

use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{MarketProtection, OrderType, Price, Product, Side, Validity};

use super::checks::{self, Plan};
use super::types::Rejection;
use super::{Listing, MockExchange};
use crate::account::InstrumentNo;
use crate::auction::{self, Priority};
use crate::calendar::{BandKind, Calendar, Market, Step};

/// Over how long the close is measured where there is no closing auction.
const LAST_HALF_HOUR: Duration = Duration::from_secs(30 * 60);

/// When the average is taken that a late or a closing band is measured from, and with it the close; without such a band the
/// last half hour of continuous trading, where something trades at the close.
pub(super) fn measured(calendar: &Calendar, market: Market, date: NaiveDate) -> Option<(Timestamp, Timestamp)> {
    let on = |time| Timestamp::from_ist_parts(date, time);
    let band = calendar.band(market, BandKind::Closing, date).or_else(|| calendar.band(market, BandKind::Late, date));
    if let Some((start, end)) = band.and_then(|band| band.window) {
        return Some((on(start), on(end)));
    }
    let session = calendar.session(market, date)?;
    session.row(Step::PostClose)?;
    let end = on(session.row(Step::Continuous)?.end);
    Some((end - LAST_HALF_HOUR, end))
}

impl MockExchange {
    /// Today's closing price of a share.
    pub(super) fn closing_price(&self, instrument: InstrumentNo) -> Option<Price> {
        self.closing_price_on(instrument, self.clock.ist_date())
    }

    /// A share's closing price on the day of its last tick, on its tick size; `None` where it is not known: trading goes on,
    /// or no price was told since the time that the close is measured over.
    pub(super) fn closing_price_on(&self, instrument: InstrumentNo, date: NaiveDate) -> Option<Price> {
        let listing = self.listings.get(instrument)?;
        let run = self.runs.get(listing.run)?;
        let tick = listing.instrument.tick;
        let session = self.calendar.session(run.market, date)?;
        let on = |time| Timestamp::from_ist_parts(date, time);
        let window = measured(&self.calendar, run.market, date);
        let (start, _) = window?;
        let ends = session.day_orders_end().map(on)?;
        let last = listing.market.filter(|market| market.at >= start && market.at.ist_date() == date)?;
        if self.clock < ends {
            return None;
        }
        if let Some(auction) = session.row(Step::ClosingEntry).map(|row| on(row.start)) {
            // The auction's own price comes first; a feed may tell it late.
            let print = listing.print.filter(|(at, _)| *at >= auction).map(|(_, price)| price);
            if let Some(price) = print.or((last.at >= auction).then_some(last.last_price)) {
                return Some(price);
            }
        }
        let price = listing.traded.average(window).unwrap_or(last.last_price);
        // The nearest tick.
        Some((price + Price::from_units(tick.units() / 2)).floor_to(tick))
    }

    /// Whether the post-close session takes an order of that kind.
    pub(super) fn check_post_close(order_type: OrderType, validity: Validity) -> Result<(), Rejection> {
        let refused =
            |what: &str| Err(Rejection::order(format!("{what} orders are not allowed in the post-close session.")));
        match (order_type, validity) {
            (OrderType::StopLimit { .. } | OrderType::StopMarket { .. }, _) => refused("Stop-loss"),
            (_, Validity::Ioc) => refused("IOC"),
            (OrderType::Limit(_), _) => {
                Err(Rejection::order("Only market orders are allowed in the post-close session: it has one price."))
            }
            (OrderType::Market(_), _) => Ok(()),
        }
    }

    /// Whether it takes an order of that product.
    pub(super) fn check_post_close_product(&self, listing: &Listing, product: Product) -> Result<(), Rejection> {
        if product != Product::Cnc && self.step_of(listing) == Step::PostClose {
            return Err(Rejection::order("Only delivery (CNC) orders are allowed in the post-close session."));
        }
        Ok(())
    }

    /// How an order of the post-close session works: at the closing price.
    pub(super) fn plan_at_close(
        &self,
        instrument: InstrumentNo,
        side: Side,
        protection: MarketProtection,
    ) -> Result<Plan, Rejection> {
        let listing = self.listings.get(instrument).ok_or_else(Rejection::no_such_instrument)?;
        let close = self.closing_price(instrument).ok_or_else(|| {
            let key = &listing.instrument.key;
            Rejection::order(format!(
                "The closing price of {key} is not known: the post-close session trades at no other."
            ))
        })?;
        let plan = checks::plan(&listing.instrument, side, OrderType::Market(protection), Some(close))?;
        Ok(Plan { limit: close, at_market: true, ..plan })
    }

    /// An order has come into the post-close session: it trades with our own on the other side, if any.
    pub(super) fn cross_at_close(&mut self, instrument: InstrumentNo) {
        let Some(run_no) = self.listings.get(instrument).map(|listing| listing.run) else { return };
        let Some(close) = self.closing_price(instrument) else { return };
        let orders = self.working_in(run_no);
        let [buys, sells] = self.bids(&orders, instrument);
        let fills = auction::hold(&buys, &sells, close, Priority::LimitFirst).fills;
        self.fill_in_auction(fills, close, false);
    }

    /// The market traded in the post-close session. What is not at the closing price is none of its trades.
    pub(super) fn trade_at_close(&mut self, instrument: InstrumentNo, price: Price) {
        if self.closing_price(instrument) == Some(price) {
            self.serve_at(instrument, price, Priority::LimitFirst, false);
        }
    }
}
