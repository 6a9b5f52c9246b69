//! The end of derivatives: what is still held when a contract has expired is settled in cash, by the exchange itself.
//!
//! The final settlement price is the close of the underlying in the cash market on the contract's last day (NSE "Settlement
//! Price", `products/content/derivatives/equities/settlement_price.htm`): a future is worth that, an option what it is in
//! the money, and one that ends out of it nothing. Settled is when the day of the contract's market and of the underlying's is
//! over, post-close session included: feeds tell a close some time after it.
//! An option that is exercised is charged as such; what a broker takes for the end of a future is not known, and nothing
//! is taken.
//!
//! Where the price is not known (the underlying is not listed, or its close was not seen) nothing is guessed: the position
//! stays, [`Update::Expired`] says why, and [`MockExchange::settle`] settles it by hand.
//!
//! What this gets wrong: derivatives of shares are really settled by delivery, here in cash at the same price. An index'
//! close is made of its shares' closes, which no feed tells one by one: here it is the last value told at the market's
//! close or after it.

use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Exchange, Instrument, InstrumentKey, InstrumentKind, Price};

use super::{Listing, MockExchange, Update, bands};
use crate::account::InstrumentNo;
use crate::calendar::{DaySession, Market, Step};

/// What exchanges name the derivatives of an index after, and the index as it is listed.
const INDICES: [(&str, &str); 7] = [
    ("NIFTY", "NIFTY 50"),
    ("BANKNIFTY", "NIFTY BANK"),
    ("FINNIFTY", "NIFTY FIN SERVICE"),
    ("MIDCPNIFTY", "NIFTY MID SELECT"),
    ("NIFTYNXT50", "NIFTY NEXT 50"),
    ("SENSEX", "SENSEX"),
    ("BANKEX", "BANKEX"),
];

/// How long before continuous trading ends an index' value may have been told to count as its close, where no closing
/// auction follows. Indices are told every second.
const LAST_MINUTE: Duration = Duration::from_secs(60);

/// A contract has expired with a position in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub instrument: InstrumentKey,
    /// Its last day.
    pub on: NaiveDate,
    /// What it was settled at a unit; or why it could not be, and the position stays.
    pub settled: Result<Price, Unsettled>,
}

/// Why an expired contract is not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    /// What is known of the contract does not tell what it is worth: an option without a strike.
    #[error("the strike of {0} is not known")]
    Strike(InstrumentKey),
    /// Nothing is known of what it is derived from.
    #[error("what {0} is derived from is not known here")]
    Underlying(InstrumentKey),
    /// No price of the underlying was ever told.
    #[error("{0} is not listed, and so its close was never seen")]
    NotListed(InstrumentKey),
    /// None was told at its close.
    #[error("no price of {0} was told at its close on {1}")]
    NoClose(InstrumentKey, NaiveDate),
}

impl MockExchange {
    /// A derivative has ended, and its worth a unit is known from elsewhere: every position in it is closed at that, and an
    /// option charged as an exercise. Nothing happens to what is no derivative.
    pub fn settle(&mut self, key: &InstrumentKey, worth: Price, now: Timestamp) {
        self.wake(now);
        let Some(&no) = self.by_key.get(key) else { return };
        if worth >= Price::ZERO && self.listings.get(no).is_some_and(|it| bands::is_derivative(&it.instrument)) {
            self.account.settle(no, worth);
        }
    }

    /// When the next contract that is held, or was, is settled.
    pub(super) fn next_settlement(&self) -> Option<(Timestamp, InstrumentNo)> {
        self.settlements.first().copied()
    }

    /// Something is held of an instrument: if it ends, so does that.
    pub(super) fn watch_expiry(&mut self, no: InstrumentNo) {
        if let Some(due) = self.listings.get(no).and_then(|listing| self.settlement_due(listing)) {
            self.settlements.insert((due, no));
        }
    }

    /// The calendar has changed.
    pub(super) fn watch_expiries_again(&mut self) {
        for (_, no) in std::mem::take(&mut self.settlements) {
            self.watch_expiry(no);
        }
    }

    /// When its last day is over in the contract's market and in the underlying's; at midnight, if neither opens.
    fn settlement_due(&self, listing: &Listing) -> Option<Timestamp> {
        let expiry = listing.instrument.expiry.filter(|_| bands::is_derivative(&listing.instrument))?;
        let underlying = underlying(&listing.instrument).map(|key| Market::of(key.exchange));
        let markets = self.runs.get(listing.run).map(|run| run.market).into_iter().chain(underlying);
        let ends = |market| Some(self.calendar.session(market, expiry)?.steps().last()?.end);
        let over = markets.filter_map(ends).max().map(|time| Timestamp::from_ist_parts(expiry, time));
        let next_day = || Timestamp::from_ist_parts(expiry, NaiveTime::MIN) + Duration::from_secs(24 * 60 * 60);
        Some(over.unwrap_or_else(next_day))
    }

    /// It is time for one.
    pub(super) fn expire_contract(&mut self, due: Timestamp, no: InstrumentNo) {
        self.settlements.remove(&(due, no));
        // The day of the settlement is the one that is charged.
        self.open_day(self.clock);
        let Some(listing) = self.listings.get(no).filter(|_| self.account.holds(no)) else { return };
        let Some(on) = listing.instrument.expiry else { return };
        let settled = self.worth_at_expiry(&listing.instrument, on);
        let instrument = listing.instrument.key.clone();
        if let Ok(worth) = settled {
            self.account.settle(no, worth);
        }
        self.updates.push(Update::Expired(Expired { instrument, on, settled }));
    }

    fn worth_at_expiry(&self, instrument: &Instrument, on: NaiveDate) -> Result<Price, Unsettled> {
        let (key, strike) = (&instrument.key, instrument.strike);
        let underlying = underlying(instrument).ok_or_else(|| Unsettled::Underlying(key.clone()))?;
        let no = *self.by_key.get(&underlying).ok_or_else(|| Unsettled::NotListed(underlying.clone()))?;
        let close = self.close_of(no, on).ok_or(Unsettled::NoClose(underlying, on))?;
        match instrument.kind {
            InstrumentKind::Call | InstrumentKind::Put if strike <= Price::ZERO => Err(Unsettled::Strike(key.clone())),
            InstrumentKind::Call => Ok((close - strike).max(Price::ZERO)),
            InstrumentKind::Put => Ok((strike - close).max(Price::ZERO)),
            _ => Ok(close),
        }
    }

    fn close_of(&self, no: InstrumentNo, on: NaiveDate) -> Option<Price> {
        let listing = self.listings.get(no)?;
        if listing.instrument.kind != InstrumentKind::Index {
            return self.closing_price_on(no, on);
        }
        let market = self.runs.get(listing.run)?.market;
        let since = Timestamp::from_ist_parts(on, index_closes(self.calendar.session(market, on)?)?);
        let last = listing.market.filter(|market| market.at >= since && market.at.ist_date() == on)?;
        Some(last.last_price)
    }

    /// Whether an instrument's last day is over.
    pub(super) fn has_expired(&self, listing: &Listing) -> bool {
        listing.instrument.expiry.is_some_and(|expiry| expiry < self.clock.ist_date())
    }
}

/// From when on an index' value is its close: when its shares' auction may have come to its prices, or the last minute of
/// continuous trading.
fn index_closes(session: &DaySession) -> Option<NaiveTime> {
    let auction = session.row(Step::ClosingLimit).and_then(|row| row.random_from);
    let auction = auction.or_else(|| session.row(Step::ClosingMatch).map(|row| row.start));
    let minute = chrono::TimeDelta::from_std(LAST_MINUTE).ok()?;
    auction.or_else(|| session.row(Step::Continuous).map(|row| row.end.overflowing_sub_signed(minute).0))
}

/// What a derivative is derived from, as it is listed; `None` where that is not in the cash market.
fn underlying(instrument: &Instrument) -> Option<InstrumentKey> {
    let cash = match instrument.key.exchange {
        Exchange::Nfo => Exchange::Nse,
        Exchange::Bfo => Exchange::Bse,
        _ => return None,
    };
    let index = INDICES.iter().find(|(name, _)| *name == instrument.name).map(|(_, symbol)| *symbol);
    Some(InstrumentKey::new(cash, index.unwrap_or(&instrument.name)))
}
