//! When a market is open, and how far prices may go: dated timetables, holidays and special sessions, as one value.
//!
//! Session times changed several times within two years and holidays are announced days ahead, so nothing here is a
//! constant in code: a [`Calendar`] is data, read from a file ([`Calendar::load`]; the built-in one is
//! `calendar/nse.csv`), and a newer one can replace it while the program runs. A day is judged by the table that was in
//! force on that day, so a replay of 2021 has the sessions of 2021.
//!
//! Known limits: for years without a holiday list only weekends are closed; Muhurat sessions have no published time and
//! stay closed until one is added, by a `special` row or [`Calendar::with_special_session`].

mod file;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{Datelike, NaiveDate, NaiveTime, Weekday};
use nirantar_brokers::Exchange;
use nirantar_brokers::time::Timestamp;

pub use file::{CalendarError, Problem};
pub use session::{DaySession, Market, MarketSegment, Phase, Span, Step, StepRow};

/// How sure a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// Read in a summary of the exchange's circular, or on its page.
    Circular,
    /// A broker's note, news or open source.
    Secondary,
    /// An assumption.
    Unconfirmed,
}

/// A timetable and the days it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    /// First day.
    pub from: NaiveDate,
    /// Last day; `None` where no end is known.
    pub to: Option<NaiveDate>,
    /// The day.
    pub session: DaySession,
    /// How sure its least sure row is.
    pub sure: Certainty,
    /// Who says so, by its first row.
    pub source: String,
}

/// What a [`Band`] bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BandKind {
    /// Prices of the day, from the previous close.
    Price,
    /// Prices in the closing auction, from its reference price.
    Closing,
    /// Prices of stock futures late in the day, from their own average before.
    Late,
}

/// By how much a price may differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// First day.
    pub from: NaiveDate,
    /// Last day; `None` where no end is known.
    pub to: Option<NaiveDate>,
    /// In hundredths of a percent, up and down.
    pub basis_points: u16,
    /// The time of day whose volume-weighted average it is measured from, where it is one. A late band is in force from
    /// the end of that time.
    pub window: Option<(NaiveTime, NaiveTime)>,
}

/// What a market-wide breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Halt {
    /// Nothing, at that time of day.
    None,
    /// Trading stops, then orders gather for an opening auction.
    For {
        /// How long it stops.
        halt: Duration,
        /// How long the auction takes after that.
        auction: Duration,
    },
    /// Trading ends for the day; there is no closing auction.
    Day,
}

/// A line of the table of market-wide breakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// First day.
    pub from: NaiveDate,
    /// Last day; `None` where no end is known.
    pub to: Option<NaiveDate>,
    /// The index' move from its previous close, up or down, in hundredths of a percent.
    pub basis_points: u16,
    /// From that time of day, IST, on.
    pub start: NaiveTime,
    /// Up to that one, excluded.
    pub end: NaiveTime,
    /// What happens.
    pub halt: Halt,
}

/// Trading days, session times and price bands. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Calendar(Arc<Tables>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tables {
    /// In order of `from`, without overlap.
    timetables: BTreeMap<Market, Vec<Timetable>>,
    holidays: BTreeMap<(NaiveDate, Exchange), String>,
    specials: BTreeMap<(NaiveDate, Market), DaySession>,
    bands: BTreeMap<(Market, BandKind), Vec<Band>>,
    breakers: BTreeMap<Exchange, Vec<Breaker>>,
}

impl fmt::Debug for Calendar {
    /// Its extent: whole, it is hundreds of lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calendar")
            .field("markets", &self.0.timetables.len())
            .field("holidays", &self.0.holidays.len())
            .finish_non_exhaustive()
    }
}

impl Calendar {
    /// A calendar that knows no session: always closed.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The built-in one: sessions since 2026-08-03 and before, holidays of 2025 and 2026. NSE and BSE share them.
    #[must_use]
    pub fn nse() -> Self {
        static BUILT_IN: OnceLock<Calendar> = OnceLock::new();
        // A test reads it: it has no error.
        BUILT_IN.get_or_init(|| file::parse_built_in().unwrap_or_default()).clone()
    }

    /// Adds a holiday of every exchange, with the reason or source.
    #[must_use]
    pub fn with_holiday(mut self, date: NaiveDate, why: &str) -> Self {
        let tables = Arc::make_mut(&mut self.0);
        tables.holidays.extend(Exchange::ALL.into_iter().map(|exchange| ((date, exchange), why.to_owned())));
        self
    }

    /// Adds a session on a day that is otherwise closed, or replaces that day's timetable (Muhurat, budget Sunday).
    #[must_use]
    pub fn with_special_session(mut self, date: NaiveDate, market: Market, session: DaySession) -> Self {
        Arc::make_mut(&mut self.0).specials.insert((date, market), session);
        self
    }

    /// What the leading market of `exchange` does at `at`.
    #[must_use]
    pub fn phase(&self, exchange: Exchange, at: Timestamp) -> Phase {
        self.span(Market::of(exchange), at).step.phase()
    }

    /// What a market does at `at`, since when and until when.
    #[must_use]
    pub fn span(&self, market: Market, at: Timestamp) -> Span {
        let date = at.ist_date();
        self.session(market, date).map_or_else(|| Span::closed(date), |session| session.span(date, at))
    }

    /// The timetable of a market on that day; `None` when it does not trade.
    #[must_use]
    pub fn session(&self, market: Market, date: NaiveDate) -> Option<&DaySession> {
        if let Some(special) = self.0.specials.get(&(date, market)) {
            return Some(special);
        }
        let closed = matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
            || self.0.holidays.contains_key(&(date, market.exchange));
        if closed {
            return None;
        }
        self.timetable(market, date).map(|table| &table.session)
    }

    /// The timetable in force on that day, whether or not it is a trading day.
    #[must_use]
    pub fn timetable(&self, market: Market, date: NaiveDate) -> Option<&Timetable> {
        in_force(self.0.timetables.get(&market)?, date, |table| (table.from, table.to))
    }

    /// A band in force on that day.
    #[must_use]
    pub fn band(&self, market: Market, kind: BandKind, date: NaiveDate) -> Option<&Band> {
        in_force(self.0.bands.get(&(market, kind))?, date, |band| (band.from, band.to))
    }

    /// What a market-wide move of so many hundredths of a percent does to an exchange at `at`: the strongest level that
    /// is reached, and its effect.
    #[must_use]
    pub fn breaker(&self, exchange: Exchange, basis_points: u16, at: Timestamp) -> Option<&Breaker> {
        let (date, time) = (at.ist_date(), at.ist_time());
        let rows = self.0.breakers.get(&exchange)?;
        rows.iter()
            .filter(|row| row.from <= date && row.to.is_none_or(|to| date <= to))
            .filter(|row| row.start <= time && time < row.end && row.basis_points <= basis_points)
            .max_by_key(|row| row.basis_points)
    }

    /// Whether shares trade on that day, if only in a special session.
    #[must_use]
    pub fn is_trading_day(&self, date: NaiveDate) -> bool {
        self.session(Market::of(Exchange::Nse), date).is_some()
    }

    /// Why shares do not trade on that day, if it is a known holiday.
    #[must_use]
    pub fn holiday(&self, date: NaiveDate) -> Option<&str> {
        self.0.holidays.get(&(date, Exchange::Nse)).map(String::as_str)
    }

    /// Every known holiday of shares.
    pub fn holidays(&self) -> impl Iterator<Item = NaiveDate> + '_ {
        self.0.holidays.keys().filter(|(_, exchange)| *exchange == Exchange::Nse).map(|(date, _)| *date)
    }

    /// Every day with a special session in shares.
    pub fn special_days(&self) -> impl Iterator<Item = NaiveDate> + '_ {
        let shares = Market::of(Exchange::Nse);
        self.0.specials.keys().filter(move |(_, market)| *market == shares).map(|(date, _)| *date)
    }

    /// First and last instant of continuous trading of an exchange's leading market on that day, the last one excluded;
    /// `None` when there is none.
    #[must_use]
    pub fn continuous_on(&self, exchange: Exchange, date: NaiveDate) -> Option<(Timestamp, Timestamp)> {
        let row = self.session(Market::of(exchange), date)?.row(Step::Continuous)?;
        Some((Timestamp::from_ist_parts(date, row.start), Timestamp::from_ist_parts(date, row.end)))
    }

    /// When DAY orders of an exchange's leading market expire on that day; `None` when it does not trade.
    #[must_use]
    pub fn day_orders_end(&self, exchange: Exchange, date: NaiveDate) -> Option<Timestamp> {
        self.day_orders_end_of(Market::of(exchange), date)
    }

    /// The same for any market.
    #[must_use]
    pub fn day_orders_end_of(&self, market: Market, date: NaiveDate) -> Option<Timestamp> {
        Some(Timestamp::from_ist_parts(date, self.session(market, date)?.day_orders_end()?))
    }

    /// The first start of continuous trading at or after `at`; `None` if there is none within 60 days.
    #[must_use]
    pub fn next_open(&self, exchange: Exchange, at: Timestamp) -> Option<Timestamp> {
        at.ist_date()
            .iter_days()
            .take(60)
            .filter_map(|date| self.continuous_on(exchange, date))
            .map(|(open, _)| open)
            .find(|open| *open >= at)
    }

    /// How many days an exchange trades in from `first` to `last`, both included; at most 60 are looked at.
    #[must_use]
    pub fn trading_days(&self, exchange: Exchange, first: NaiveDate, last: NaiveDate) -> usize {
        let days = first.iter_days().take(60).take_while(|date| *date <= last);
        days.filter(|date| self.session(Market::of(exchange), *date).is_some()).count()
    }
}

/// The row in force on a day, of rows in order of their first day.
fn in_force<T>(rows: &[T], date: NaiveDate, dates: impl Fn(&T) -> (NaiveDate, Option<NaiveDate>)) -> Option<&T> {
    let after = rows.partition_point(|row| dates(row).0 <= date);
    rows.get(after.checked_sub(1)?).filter(|row| dates(row).1.is_none_or(|to| date <= to))
}
