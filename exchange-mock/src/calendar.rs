//! When a market is open: dated session tables, holidays and special sessions, as one value.
//!
//! Session times changed several times within two years and holidays are announced days ahead, so nothing here is a
//! constant in code: a [`Calendar`] is data, and a newer one can replace it while the program runs. A day is judged by
//! the table that was in force on that day, so a replay of 2021 has the sessions of 2021.
//!
//! Known limits: cash stocks without derivatives trade to 15:30 also after 2026-08-03, but are treated like the rest;
//! for years without a holiday table only weekends are closed; Muhurat sessions have no published time and stay closed
//! until one is added with [`Calendar::with_special_session`].

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, NaiveTime, Weekday};
use nirantar_brokers::Exchange;
use nirantar_brokers::time::Timestamp;

/// What a market does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing happens.
    Closed,
    /// Opening auction and the pause after it. This exchange takes no orders then.
    PreOpen,
    /// Orders match as they come.
    Continuous,
    /// Closing auction or transition: nothing matches here; resting orders may be cancelled.
    Closing,
    /// Trades at the closing price only. This exchange takes no orders then.
    PostClose,
}

impl Phase {
    /// Its name for programs: `pre_open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::PreOpen => "pre_open",
            Self::Continuous => "continuous",
            Self::Closing => "closing",
            Self::PostClose => "post_close",
        }
    }
}

/// Markets that share a timetable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarketSegment {
    /// Shares and indices of NSE and BSE.
    Cash,
    /// Equity futures and options.
    Derivatives,
    /// Currency derivatives.
    Currency,
    /// Commodities.
    Commodity,
}

impl MarketSegment {
    /// The segment whose timetable an exchange follows.
    #[must_use]
    pub const fn of(exchange: Exchange) -> Self {
        match exchange {
            Exchange::Nse | Exchange::Bse => Self::Cash,
            Exchange::Nfo | Exchange::Bfo => Self::Derivatives,
            Exchange::Cds | Exchange::Bcd => Self::Currency,
            Exchange::Mcx | Exchange::Nco => Self::Commodity,
        }
    }
}

/// One day's timetable. Times are IST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaySession {
    /// When each phase starts, in order of time; closed before the first.
    pub phases: Vec<(NaiveTime, Phase)>,
    /// When the exchange cancels what is left of DAY orders.
    pub day_orders_end: NaiveTime,
}

impl DaySession {
    fn phase_at(&self, time: NaiveTime) -> Phase {
        self.phases.iter().rev().find(|(from, _)| *from <= time).map_or(Phase::Closed, |(_, phase)| *phase)
    }

    fn continuous(&self) -> Option<(NaiveTime, NaiveTime)> {
        let start = self.phases.iter().position(|(_, phase)| *phase == Phase::Continuous)?;
        let (open, _) = self.phases.get(start)?;
        let close = self.phases.get(start + 1).map_or(self.day_orders_end, |(from, _)| *from);
        Some((*open, close))
    }
}

/// A timetable and the first day it was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTable {
    /// First day.
    pub valid_from: NaiveDate,
    /// For which markets.
    pub segment: MarketSegment,
    /// The timetable.
    pub session: DaySession,
    /// Who says so.
    pub source: String,
}

/// Trading days and session times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    tables: Vec<SessionTable>,
    holidays: BTreeMap<NaiveDate, String>,
    specials: BTreeMap<(NaiveDate, MarketSegment), DaySession>,
}

impl Calendar {
    /// A calendar that knows no session: always closed.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The built-in tables: sessions since 2026-08-03 and before, holidays of 2025 and 2026. NSE and BSE share them.
    #[must_use]
    pub fn nse() -> Self {
        let mut calendar = Self::empty();
        for table in built_in_tables() {
            calendar = calendar.with_table(table);
        }
        for (year, source, days) in HOLIDAYS {
            for (month, day) in *days {
                if let Some(date) = NaiveDate::from_ymd_opt(*year, *month, *day) {
                    calendar = calendar.with_holiday(date, source);
                }
            }
        }
        calendar
    }

    /// Adds a timetable.
    #[must_use]
    pub fn with_table(mut self, table: SessionTable) -> Self {
        self.tables.push(table);
        self.tables.sort_by_key(|table| table.valid_from);
        self
    }

    /// Adds a holiday, with the reason or source.
    #[must_use]
    pub fn with_holiday(mut self, date: NaiveDate, why: &str) -> Self {
        self.holidays.insert(date, why.to_owned());
        self
    }

    /// Adds a session on a day that is otherwise closed, or replaces that day's timetable (Muhurat, budget Sunday).
    #[must_use]
    pub fn with_special_session(mut self, date: NaiveDate, segment: MarketSegment, session: DaySession) -> Self {
        self.specials.insert((date, segment), session);
        self
    }

    /// What `exchange` does at `at`.
    #[must_use]
    pub fn phase(&self, exchange: Exchange, at: Timestamp) -> Phase {
        self.session_on(exchange, at.ist_date()).map_or(Phase::Closed, |session| session.phase_at(at.ist_time()))
    }

    /// The timetable of `exchange` on that day; `None` when it does not trade.
    #[must_use]
    pub fn session_on(&self, exchange: Exchange, date: NaiveDate) -> Option<&DaySession> {
        let segment = MarketSegment::of(exchange);
        if let Some(special) = self.specials.get(&(date, segment)) {
            return Some(special);
        }
        if self.is_weekend_or_holiday(date) {
            return None;
        }
        self.tables
            .iter()
            .rev()
            .find(|table| table.segment == segment && table.valid_from <= date)
            .map(|table| &table.session)
    }

    /// Whether shares trade on that day, if only in a special session.
    #[must_use]
    pub fn is_trading_day(&self, date: NaiveDate) -> bool {
        self.session_on(Exchange::Nse, date).is_some()
    }

    /// Why that day is closed, if it is a known holiday.
    #[must_use]
    pub fn holiday(&self, date: NaiveDate) -> Option<&str> {
        self.holidays.get(&date).map(String::as_str)
    }

    /// Every known holiday.
    pub fn holidays(&self) -> impl Iterator<Item = NaiveDate> + '_ {
        self.holidays.keys().copied()
    }

    /// Every day with a special session in shares.
    pub fn special_days(&self) -> impl Iterator<Item = NaiveDate> + '_ {
        let shares = |(_, segment): &&(NaiveDate, MarketSegment)| *segment == MarketSegment::of(Exchange::Nse);
        self.specials.keys().filter(shares).map(|(date, _)| *date)
    }

    /// First and last instant of continuous trading on that day, the last one excluded; `None` when there is none.
    #[must_use]
    pub fn continuous_on(&self, exchange: Exchange, date: NaiveDate) -> Option<(Timestamp, Timestamp)> {
        let (open, close) = self.session_on(exchange, date)?.continuous()?;
        Some((Timestamp::from_ist_parts(date, open), Timestamp::from_ist_parts(date, close)))
    }

    /// When DAY orders of that day expire; `None` when it does not trade.
    #[must_use]
    pub fn day_orders_end(&self, exchange: Exchange, date: NaiveDate) -> Option<Timestamp> {
        Some(Timestamp::from_ist_parts(date, self.session_on(exchange, date)?.day_orders_end))
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

    fn is_weekend_or_holiday(&self, date: NaiveDate) -> bool {
        matches!(date.weekday(), Weekday::Sat | Weekday::Sun) || self.holidays.contains_key(&date)
    }
}

/// Year, source, and (month, day) of each.
type HolidayList = (i32, &'static str, &'static [(u32, u32)]);

/// Weekday holidays.
const HOLIDAYS: &[HolidayList] = &[
    (
        2025,
        "NSE list of 2025, unconfirmed",
        &[
            (2, 26),
            (3, 14),
            (3, 31),
            (4, 10),
            (4, 14),
            (4, 18),
            (5, 1),
            (8, 15),
            (8, 27),
            (10, 2),
            (10, 21),
            (10, 22),
            (11, 5),
            (12, 25),
        ],
    ),
    (
        2026,
        "NSE/CMTR/71775, 2025-12-12",
        &[
            (1, 26),
            (3, 3),
            (3, 26),
            (3, 31),
            (4, 3),
            (4, 14),
            (5, 1),
            (5, 28),
            (6, 26),
            (9, 14),
            (10, 2),
            (10, 20),
            (11, 10),
            (11, 24),
            (12, 25),
        ],
    ),
    (2026, "added late: NSE circulars of 2026-01-09 and 2026-01-12 (municipal election)", &[(1, 15)]),
];

fn built_in_tables() -> Vec<SessionTable> {
    use MarketSegment as M;
    use Phase as P;
    let always = (1995, 1, 1);
    let closing_auction = (2026, 8, 3);
    [
        table(
            always,
            M::Cash,
            &[(900, P::PreOpen), (915, P::Continuous), (1530, P::Closing), (1540, P::PostClose), (1600, P::Closed)],
            1530,
            "NSE market timings before the closing auction",
        ),
        table(
            closing_auction,
            M::Cash,
            &[(900, P::PreOpen), (915, P::Continuous), (1515, P::Closing), (1550, P::PostClose), (1600, P::Closed)],
            1535,
            "NSE/CMTR/74466, 2026-05-29 (stocks that have derivatives)",
        ),
        table(
            always,
            M::Derivatives,
            &[(915, P::Continuous), (1530, P::Closed)],
            1530,
            "NSE market timings before 2025-12-08",
        ),
        table(
            (2025, 12, 8),
            M::Derivatives,
            &[(900, P::PreOpen), (915, P::Continuous), (1530, P::Closed)],
            1530,
            "NSE/FAOP/71092",
        ),
        table(
            closing_auction,
            M::Derivatives,
            &[(900, P::PreOpen), (915, P::Continuous), (1540, P::Closed)],
            1540,
            "NSE/FAOP/74467, 2026-05-29",
        ),
        table(always, M::Currency, &[(900, P::Continuous), (1700, P::Closed)], 1700, "secondary source, unconfirmed"),
        table(always, M::Commodity, &[(900, P::Continuous), (2330, P::Closed)], 2330, "secondary source, unconfirmed"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A table from times written as on a clock: 915 is 09:15. `None` if one of them is no time.
fn table(
    (year, month, day): (i32, u32, u32),
    segment: MarketSegment,
    phases: &[(u32, Phase)],
    day_orders_end: u32,
    source: &str,
) -> Option<SessionTable> {
    let time = |clock: u32| NaiveTime::from_hms_opt(clock / 100, clock % 100, 0);
    Some(SessionTable {
        valid_from: NaiveDate::from_ymd_opt(year, month, day)?,
        segment,
        session: DaySession {
            phases: phases.iter().map(|(from, phase)| Some((time(*from)?, *phase))).collect::<Option<_>>()?,
            day_orders_end: time(day_orders_end)?,
        },
        source: source.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_ist(text).unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn every_built_in_table_and_holiday_is_there() {
        let calendar = Calendar::nse();
        assert_eq!(calendar.tables.len(), 7);
        assert_eq!(calendar.holidays.len(), 14 + 16);
        assert!(calendar.holidays.keys().all(|date| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)));
    }

    #[test]
    fn cash_trades_to_half_past_three_before_the_closing_auction_and_to_quarter_past_since() {
        let calendar = Calendar::nse();
        assert_eq!(calendar.phase(Exchange::Nse, at("2021-04-12 15:29:59")), Phase::Continuous);
        assert_eq!(calendar.phase(Exchange::Nse, at("2021-04-12 15:30:00")), Phase::Closing);
        assert_eq!(calendar.phase(Exchange::Nse, at("2026-08-04 15:14:59")), Phase::Continuous);
        assert_eq!(calendar.phase(Exchange::Nse, at("2026-08-04 15:15:00")), Phase::Closing);
        assert_eq!(calendar.phase(Exchange::Nfo, at("2026-08-04 15:39:59")), Phase::Continuous);
        assert_eq!(calendar.phase(Exchange::Nfo, at("2026-08-04 15:40:00")), Phase::Closed);
        assert_eq!(calendar.phase(Exchange::Nfo, at("2026-07-31 15:30:00")), Phase::Closed);
    }

    #[test]
    fn the_day_goes_through_its_phases() {
        let calendar = Calendar::nse();
        let phases = ["08:59:59", "09:00:00", "09:15:00", "15:15:00", "15:50:00", "16:00:00"]
            .map(|time| calendar.phase(Exchange::Nse, at(&format!("2026-11-20 {time}"))));
        use Phase::{Closed, Closing, Continuous, PostClose, PreOpen};
        assert_eq!(phases, [Closed, PreOpen, Continuous, Closing, PostClose, Closed]);
    }

    #[test]
    fn weekends_and_holidays_are_closed_and_the_next_open_skips_them() {
        let calendar = Calendar::nse();
        assert!(!calendar.is_trading_day(day("2026-11-21")), "a Saturday");
        assert!(!calendar.is_trading_day(day("2026-11-24")), "a holiday");
        assert!(!calendar.is_trading_day(day("2026-01-15")), "announced late");
        assert_eq!(calendar.next_open(Exchange::Nse, at("2026-11-20 09:15:00")), Some(at("2026-11-20 09:15:00")));
        assert_eq!(calendar.next_open(Exchange::Nse, at("2026-11-20 09:15:01")), Some(at("2026-11-23 09:15:00")));
        assert_eq!(calendar.next_open(Exchange::Nse, at("2026-11-23 12:00:00")), Some(at("2026-11-25 09:15:00")));
        assert_eq!(Calendar::empty().next_open(Exchange::Nse, at("2026-11-20 09:15:00")), None);
    }

    #[test]
    fn a_holiday_or_a_sunday_session_announced_late_is_data() {
        let session = DaySession {
            phases: vec![
                (NaiveTime::from_hms_opt(18, 0, 0).unwrap(), Phase::Continuous),
                (NaiveTime::from_hms_opt(19, 0, 0).unwrap(), Phase::Closed),
            ],
            day_orders_end: NaiveTime::from_hms_opt(19, 0, 0).unwrap(),
        };
        let calendar = Calendar::nse().with_holiday(day("2026-11-20"), "announced yesterday").with_special_session(
            day("2026-11-08"),
            MarketSegment::Cash,
            session,
        );
        assert_eq!(calendar.phase(Exchange::Nse, at("2026-11-20 11:00:00")), Phase::Closed);
        assert_eq!(calendar.holiday(day("2026-11-20")), Some("announced yesterday"));
        assert_eq!(calendar.phase(Exchange::Nse, at("2026-11-08 18:30:00")), Phase::Continuous);
        assert_eq!(
            calendar.continuous_on(Exchange::Nse, day("2026-11-08")),
            Some((at("2026-11-08 18:00:00"), at("2026-11-08 19:00:00")))
        );
        assert_eq!(calendar.continuous_on(Exchange::Nfo, day("2026-11-08")), None);
    }
}
