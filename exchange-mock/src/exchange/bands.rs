//! How far prices may go: the day's band, the closing auction's, that of stock futures late in the day, and what stops
//! the whole market.
//!
//! A day's band is measured from the previous close. Where the market itself trades within a tenth of a percent of its
//! edge, the band is made wider by five points at once: the cooling-off time before that is not modelled. Without a
//! previous close there is no band.

use nirantar_brokers::{Instrument, InstrumentKind, OrderType, Price};

use super::types::Rejection;
use super::{Listing, MockExchange};
use crate::account::InstrumentNo;
use crate::calendar::{BandKind, Halt, MarketSegment, Step};

/// By how much a band is made wider, in hundredths of a percent.
const FLEX: i64 = 500;
/// How near to its edge the market comes before.
const NEAR: i64 = 10;
/// No band is wider.
const WIDEST: i64 = 10_000;

/// Indices whose moves stop the market (BSE `static/about/mwcb.htm`).
const BREAKER_INDICES: [&str; 2] = ["NIFTY 50", "SENSEX"];

impl MockExchange {
    /// Lowest and highest price an order may have now, on the instrument's tick; `None` where nothing bounds it.
    pub(super) fn price_range(&self, instrument: InstrumentNo) -> Option<(Price, Price)> {
        let listing = self.listings.get(instrument)?;
        let run = self.runs.get(listing.run)?;
        let (date, market) = (self.clock.ist_date(), run.market);
        let kind = match self.step_of(listing) {
            Step::ClosingReference | Step::ClosingEntry | Step::ClosingLimit | Step::ClosingMatch => BandKind::Closing,
            _ if self.is_late(listing) => BandKind::Late,
            _ => BandKind::Price,
        };
        let points = i64::from(self.calendar.band(market, kind, date)?.basis_points);
        let (middle, points) = match kind {
            BandKind::Price => (self.previous_close(listing)?, (points + listing.flex).min(WIDEST)),
            BandKind::Closing | BandKind::Late => (self.reference_price(instrument)?, points),
        };
        let (reach, tick) = (middle.basis_points(points), listing.instrument.tick);
        Some(((middle - reach).ceil_to(tick).max(tick), (middle + reach).floor_to(tick)))
    }

    /// Whether an instrument is a stock future in its late band.
    fn is_late(&self, listing: &Listing) -> bool {
        let Some(run) = self.runs.get(listing.run) else { return false };
        let futures = run.market.segment == MarketSegment::Futures && listing.instrument.kind == InstrumentKind::Future;
        let begun = run.window.is_some_and(|(_, end)| end <= self.clock);
        futures
            && begun
            && listing.of_stock
            && self.calendar.band(run.market, BandKind::Late, self.clock.ist_date()).is_some()
    }

    /// The market traded: a band that it has come to the edge of is made wider.
    pub(super) fn flex(&mut self, instrument: InstrumentNo, ltp: Price, new_day: bool) {
        let date = self.clock.ist_date();
        let Some(listing) = self.listings.get(instrument) else { return };
        let flex = if new_day { 0 } else { listing.flex };
        let band = self.runs.get(listing.run).and_then(|run| self.calendar.band(run.market, BandKind::Price, date));
        let wanted = match (band, self.previous_close(listing)) {
            (Some(band), Some(close)) => {
                let moved = moved(close, ltp);
                let mut wide = i64::from(band.basis_points) + flex;
                while moved >= wide - NEAR && wide < WIDEST {
                    wide += FLEX;
                }
                wide - i64::from(band.basis_points)
            }
            _ => flex,
        };
        if let Some(listing) = self.listings.get_mut(instrument) {
            listing.flex = wanted;
        }
    }

    /// Checks the prices of an order against the range.
    pub(super) fn check_range(&self, instrument: InstrumentNo, order_type: OrderType) -> Result<(), Rejection> {
        let Some((low, high)) = self.price_range(instrument) else { return Ok(()) };
        for (name, price) in [("price", order_type.limit()), ("trigger price", order_type.trigger())] {
            let Some(price) = price else { continue };
            let (beyond, which, edge) = match price {
                _ if price > high => ("higher", "upper", high),
                _ if price < low => ("lower", "lower", low),
                _ => continue,
            };
            return Err(Rejection::input(format!(
                "Your order {name} is {beyond} than the current {which} circuit limit of {edge}. You can place an order \
                 within the day's range of {low} to {high}."
            )));
        }
        Ok(())
    }

    /// An index moved: far enough, and the whole market stops.
    pub(super) fn look_at_breakers(&mut self, instrument: InstrumentNo, value: Price) {
        let Some(listing) = self.listings.get(instrument) else { return };
        if !BREAKER_INDICES.contains(&listing.instrument.key.symbol.as_str()) {
            return;
        }
        let Some(close) = self.previous_close(listing) else { return };
        let (exchange, date) = (listing.instrument.key.exchange, self.clock.ist_date());
        let points = u16::try_from(moved(close, value).min(WIDEST)).unwrap_or(u16::MAX);
        let Some(breaker) = self.calendar.breaker(exchange, points, self.clock).copied() else { return };
        let known = self.broken.filter(|(day, _)| *day == date).map_or(0, |(_, level)| level);
        if breaker.basis_points <= known {
            return;
        }
        self.broken = Some((date, breaker.basis_points));
        if breaker.halt == Halt::None {
            return;
        }
        for run in &mut self.runs {
            // Every exchange that keeps the same breakers stops, whichever index came first.
            let stops = self.calendar.breaker(run.market.exchange, points, self.clock).is_some();
            if stops && run.step() == Step::Continuous {
                run.halt(self.clock, breaker.halt);
            }
        }
    }
}

/// How far a price is from the one before, in hundredths of a percent, whichever way.
fn moved(close: Price, price: Price) -> i64 {
    if close <= Price::ZERO {
        return 0;
    }
    let (close, price) = (i128::from(close.units()), i128::from(price.units()));
    i64::try_from((price - close).abs() * 10_000 / close).unwrap_or(i64::MAX)
}

/// Whether an instrument is a derivative.
pub(super) fn is_derivative(instrument: &Instrument) -> bool {
    matches!(instrument.kind, InstrumentKind::Future | InstrumentKind::Call | InstrumentKind::Put)
}
