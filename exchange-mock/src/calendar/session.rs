//! The vocabulary of a trading day: its steps, the markets that share a timetable, and one day's timetable.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Exchange, Instrument, InstrumentKind};

/// What a market does at a moment, in the words of a trader. [`Step`] says it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing happens.
    Closed,
    /// Opening auction and the pause after it.
    PreOpen,
    /// Orders match as they come.
    Continuous,
    /// Closing auction, or the pause before the post-close.
    Closing,
    /// Trades at the closing price only.
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

/// One step of a trading day, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Nothing happens.
    Closed,
    /// Opening auction: limit and market orders come, change and go.
    PreOpenEntry,
    /// Opening auction: limit orders only; market orders stay as they are.
    PreOpenLimit,
    /// The opening price is found.
    PreOpenMatch,
    /// Pause before the continuous session.
    Buffer,
    /// Orders match as they come.
    Continuous,
    /// Closing auction: the reference price is found; no orders.
    ClosingReference,
    /// Closing auction: limit and market orders come, change and go.
    ClosingEntry,
    /// Closing auction: limit orders only; market orders stay as they are.
    ClosingLimit,
    /// The closing price is found; what is left is cancelled.
    ClosingMatch,
    /// Pause before the post-close.
    Transition,
    /// Trades at the closing price only.
    PostClose,
    /// Trading is stopped, by a breaker or a fault: no timetable names it.
    Halted,
}

impl Step {
    /// Every step a timetable can name.
    pub const ALL: [Self; 11] = [
        Self::PreOpenEntry,
        Self::PreOpenLimit,
        Self::PreOpenMatch,
        Self::Buffer,
        Self::Continuous,
        Self::ClosingReference,
        Self::ClosingEntry,
        Self::ClosingLimit,
        Self::ClosingMatch,
        Self::Transition,
        Self::PostClose,
    ];

    /// Its name in a calendar file: `closing-limit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::PreOpenEntry => "pre-open-entry",
            Self::PreOpenLimit => "pre-open-limit",
            Self::PreOpenMatch => "pre-open-match",
            Self::Buffer => "buffer",
            Self::Continuous => "continuous",
            Self::ClosingReference => "closing-reference",
            Self::ClosingEntry => "closing-entry",
            Self::ClosingLimit => "closing-limit",
            Self::ClosingMatch => "closing-match",
            Self::Transition => "transition",
            Self::PostClose => "post-close",
            Self::Halted => "halted",
        }
    }

    /// The phase it is a part of.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            Self::Closed | Self::Halted => Phase::Closed,
            Self::PreOpenEntry | Self::PreOpenLimit | Self::PreOpenMatch | Self::Buffer => Phase::PreOpen,
            Self::Continuous => Phase::Continuous,
            Self::ClosingReference
            | Self::ClosingEntry
            | Self::ClosingLimit
            | Self::ClosingMatch
            | Self::Transition => Phase::Closing,
            Self::PostClose => Phase::PostClose,
        }
    }

    /// Whether orders gather for the opening auction.
    #[must_use]
    pub const fn is_opening_entry(self) -> bool {
        matches!(self, Self::PreOpenEntry | Self::PreOpenLimit)
    }

    /// Whether orders gather for the closing auction.
    #[must_use]
    pub const fn is_closing_entry(self) -> bool {
        matches!(self, Self::ClosingEntry | Self::ClosingLimit)
    }

    /// Whether orders gather for an auction.
    #[must_use]
    pub const fn is_auction_entry(self) -> bool {
        self.is_opening_entry() || self.is_closing_entry()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Step {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|step| step.as_str() == text).ok_or(())
    }
}

/// Instruments of an exchange that share a timetable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarketSegment {
    /// Shares that have derivatives, and indices.
    Cash,
    /// Shares without derivatives.
    CashOnly,
    /// Equity futures.
    Futures,
    /// Equity options.
    Options,
    /// Currency derivatives.
    Currency,
    /// Commodities.
    Commodity,
}

impl MarketSegment {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cash, Self::CashOnly, Self::Futures, Self::Options, Self::Currency, Self::Commodity];

    /// Its name in a calendar file: `cash-only`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::CashOnly => "cash-only",
            Self::Futures => "futures",
            Self::Options => "options",
            Self::Currency => "currency",
            Self::Commodity => "commodity",
        }
    }

    /// The segments an exchange has, the leading one first.
    #[must_use]
    pub const fn on(exchange: Exchange) -> &'static [Self] {
        match exchange {
            Exchange::Nse | Exchange::Bse => &[Self::Cash, Self::CashOnly],
            Exchange::Nfo | Exchange::Bfo => &[Self::Futures, Self::Options],
            Exchange::Cds | Exchange::Bcd => &[Self::Currency],
            Exchange::Mcx | Exchange::Nco => &[Self::Commodity],
        }
    }

    /// The leading segment of an exchange: the one that is meant where only the exchange is named.
    #[must_use]
    pub const fn of(exchange: Exchange) -> Self {
        match exchange {
            Exchange::Nse | Exchange::Bse => Self::Cash,
            Exchange::Nfo | Exchange::Bfo => Self::Futures,
            Exchange::Cds | Exchange::Bcd => Self::Currency,
            Exchange::Mcx | Exchange::Nco => Self::Commodity,
        }
    }
}

impl fmt::Display for MarketSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A segment of an exchange: what a timetable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Market {
    /// Where.
    pub exchange: Exchange,
    /// Which part of it.
    pub segment: MarketSegment,
}

impl Market {
    /// The leading market of an exchange.
    #[must_use]
    pub const fn of(exchange: Exchange) -> Self {
        Self { exchange, segment: MarketSegment::of(exchange) }
    }

    /// The market an instrument trades in. `has_derivatives` matters to shares only: those without trade on while the
    /// others have their closing auction.
    #[must_use]
    pub const fn of_instrument(instrument: &Instrument, has_derivatives: bool) -> Self {
        let exchange = instrument.key.exchange;
        let leading = MarketSegment::of(exchange);
        let segment = match (leading, instrument.kind) {
            (MarketSegment::Cash, InstrumentKind::Equity) if !has_derivatives => MarketSegment::CashOnly,
            (MarketSegment::Futures, InstrumentKind::Call | InstrumentKind::Put) => MarketSegment::Options,
            _ => leading,
        };
        Self { exchange, segment }
    }

    /// Every market there is.
    pub fn all() -> impl Iterator<Item = Self> {
        Exchange::ALL.into_iter().flat_map(|exchange| {
            MarketSegment::on(exchange).iter().map(move |segment| Self { exchange, segment: *segment })
        })
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.exchange, self.segment)
    }
}

/// One step of one day's timetable. Times are IST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// What.
    pub step: Step,
    /// First moment.
    pub start: NaiveTime,
    /// First moment after it.
    pub end: NaiveTime,
    /// From when on its end may come at any moment; `None` where it ends on time.
    pub random_from: Option<NaiveTime>,
}

/// One day's timetable: steps in order of time, without a hole; closed before the first and after the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaySession {
    steps: Vec<StepRow>,
}

impl DaySession {
    /// A day of these steps.
    ///
    /// # Errors
    /// The index of the row that ends before it starts, does not start where the one before ends, comes in the wrong
    /// order, or is said to end at random after its end; and in words what is wrong with it.
    pub fn new(steps: Vec<StepRow>) -> Result<Self, (usize, String)> {
        let mut before: Option<&StepRow> = None;
        for (index, row) in steps.iter().enumerate() {
            let time = |time: NaiveTime| time.format("%H:%M:%S");
            if row.start >= row.end {
                return Err((index, format!("{} ends at {}, not after its start", row.step, time(row.end))));
            }
            if row.random_from.is_some_and(|from| from < row.start || from >= row.end) {
                return Err((index, format!("the random end of {} lies outside of it", row.step)));
            }
            if let Some(before) = before {
                let (wanted, found) = (time(before.end), time(row.start));
                if row.start < before.end {
                    return Err((index, format!("{} overlaps {}, which ends at {wanted}", row.step, before.step)));
                }
                if row.start > before.end {
                    let words =
                        format!("nothing is said of {wanted} to {found}, between {} and {}", before.step, row.step);
                    return Err((index, words));
                }
                if row.step <= before.step {
                    return Err((index, format!("{} cannot follow {}", row.step, before.step)));
                }
            }
            before = Some(row);
        }
        Ok(Self { steps })
    }

    /// A day of nothing but continuous trading.
    #[must_use]
    pub fn continuous_only(start: NaiveTime, end: NaiveTime) -> Self {
        let row = StepRow { step: Step::Continuous, start, end, random_from: None };
        Self { steps: if start < end { vec![row] } else { Vec::new() } }
    }

    /// Its steps, in order of time.
    #[must_use]
    pub fn steps(&self) -> &[StepRow] {
        &self.steps
    }

    /// The row of a step.
    #[must_use]
    pub fn row(&self, step: Step) -> Option<&StepRow> {
        self.steps.iter().find(|row| row.step == step)
    }

    /// When the exchange cancels what is left of DAY orders: after the closing auction, or where there is none with the
    /// end of continuous trading.
    #[must_use]
    pub fn day_orders_end(&self) -> Option<NaiveTime> {
        self.row(Step::ClosingMatch).or_else(|| self.row(Step::Continuous)).map(|row| row.end)
    }

    pub(super) fn span(&self, date: NaiveDate, at: Timestamp) -> Span {
        let time = at.ist_time();
        let on = |time| Timestamp::from_ist_parts(date, time);
        let midnight = on(NaiveTime::MIN);
        let next_day = midnight + DAY;
        if let Some(row) = self.steps.iter().find(|row| row.start <= time && time < row.end) {
            let random_from = row.random_from.map(on);
            return Span { step: row.step, from: on(row.start), until: on(row.end), random_from };
        }
        let from = self.steps.iter().rev().find(|row| row.end <= time).map_or(midnight, |row| on(row.end));
        let until = self.steps.iter().find(|row| row.start > time).map_or(next_day, |row| on(row.start));
        Span { step: Step::Closed, from, until, random_from: None }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A step of a market's day with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What the market does.
    pub step: Step,
    /// Since when.
    pub from: Timestamp,
    /// Until when at the latest; the calendar has to be asked again then. A night is told to midnight.
    pub until: Timestamp,
    /// From when on the end may come at any moment.
    pub random_from: Option<Timestamp>,
}

impl Span {
    pub(super) fn closed(date: NaiveDate) -> Self {
        let from = Timestamp::from_ist_parts(date, NaiveTime::MIN);
        Self { step: Step::Closed, from, until: from + DAY, random_from: None }
    }

    /// Whether it says what happens at `at`.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}
