//! The file a calendar is read from: its rows, and what is refused with line and key.
//!
//! One row a line: `kind,exchanges,segment,from,to,name,start,end,value,sure,source`; the built-in file `nse.csv` beside
//! this one says what each means. A line that is empty or begins with `#` is passed over. A file that begins with the row
//! `built-in` adds to the built-in rows: its timetables, bands and breakers take the place of the built-in ones from
//! their first day on. Without that row the file is all there is.
//!
//! Nothing is ever guessed: rows that overlap, a day of a market that no row tells of, a closing auction without its band
//! are refused. Total: any bytes.

mod fields;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::Exchange;

use self::fields::{Column, Fields, bad};
use super::{
    Band, BandKind, Breaker, Calendar, Certainty, DaySession, Market, MarketSegment, Step, StepRow, Tables, Timetable,
};

const BUILT_IN: &str = include_str!("nse.csv");
const HEADER: &str = "kind,exchanges,segment,from,to,name,start,end,value,sure,source";
/// Days one holiday row may span.
const LONGEST_HOLIDAY: usize = 31;

/// Why a file is no calendar.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// It cannot be read.
    #[error("{file}: cannot be read: {why}", file = file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The system's reason.
        why: std::io::Error,
    },
    /// A row, or what the rows say together, makes no sense.
    #[error("{file}, line {line}, {key}: {problem}", file = file.display())]
    Row {
        /// Which file.
        file: PathBuf,
        /// Line, from 1: the row itself, or the last one of those that leave something out.
        line: usize,
        /// The column, or the market and day.
        key: String,
        /// What is wrong.
        problem: Problem,
    },
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A field is not what it must be.
    #[error("`{found}` is not {expected}")]
    Bad {
        /// What stands there, shortened.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// Two rows speak of the same time.
    #[error("overlaps {0}")]
    Overlap(String),
    /// No row speaks of that time.
    #[error("{0}")]
    Missing(String),
    /// A day's steps make no day.
    #[error("{0}")]
    Day(String),
}

impl Calendar {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CalendarError`], naming file, line and key.
    pub fn load(file: &Path) -> Result<Self, CalendarError> {
        let bytes = std::fs::read(file).map_err(|why| CalendarError::Unreadable { file: file.to_path_buf(), why })?;
        Self::parse(file, &bytes)
    }

    /// Reads the bytes of a file; `file` is only named in errors. Total: any bytes.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn parse(file: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, CalendarError> {
        let text = String::from_utf8_lossy(bytes);
        let refused = |bad: Refused| CalendarError::Row {
            file: file.as_ref().to_path_buf(),
            line: bad.line,
            key: bad.key,
            problem: bad.problem,
        };
        let mut rows = Rows::default();
        rows.read(&text).map_err(refused)?;
        let mut tables = if rows.extends { Tables::clone(&Calendar::nse().0) } else { Tables::default() };
        rows.finish(&mut tables).map_err(refused)?;
        Ok(Calendar(Arc::new(tables)))
    }
}

pub(super) fn parse_built_in() -> Result<Calendar, CalendarError> {
    Calendar::parse("nse.csv", BUILT_IN.as_bytes())
}

/// A row that is refused.
#[derive(Debug)]
struct Refused {
    line: usize,
    key: String,
    problem: Problem,
}

fn refused(line: usize, key: impl Into<String>, problem: Problem) -> Refused {
    Refused { line, key: key.into(), problem }
}

/// From when to when a row holds.
type Dates = (NaiveDate, Option<NaiveDate>);

/// A day's steps as they are read, with their lines.
#[derive(Default)]
struct Draft {
    steps: Vec<StepRow>,
    lines: Vec<usize>,
    sure: Option<Certainty>,
    source: String,
}

struct BandRow {
    band: Band,
    line: usize,
}

struct BreakerRow {
    row: Breaker,
    line: usize,
}

/// What the rows of one file say.
#[derive(Default)]
struct Rows {
    extends: bool,
    last_line: usize,
    timetables: BTreeMap<(Market, Dates), Draft>,
    specials: BTreeMap<(NaiveDate, Market), Draft>,
    holidays: BTreeMap<(NaiveDate, Exchange), (String, usize)>,
    trading: Vec<(NaiveDate, Exchange)>,
    bands: BTreeMap<(Market, BandKind), Vec<BandRow>>,
    breakers: BTreeMap<Exchange, Vec<BreakerRow>>,
}

impl Rows {
    fn read(&mut self, text: &str) -> Result<(), Refused> {
        let mut any = false;
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            self.last_line = number;
            if line.is_empty() || line.starts_with('#') || line == HEADER {
                continue;
            }
            if line == "built-in" {
                if any {
                    return Err(bad(number, "kind", line, "at its place: it is the first row or none"));
                }
                (self.extends, any) = (true, true);
                continue;
            }
            any = true;
            self.row(&Fields::read(number, line)?)?;
        }
        Ok(())
    }

    fn row(&mut self, fields: &Fields<'_>) -> Result<(), Refused> {
        let sure = fields.sure()?;
        if fields.get(Column::Source).is_empty() {
            return Err(fields.bad(Column::Source, "the name of who says so"));
        }
        match fields.get(Column::Kind) {
            "phase" => {
                let (markets, dates, step) = (fields.markets()?, fields.dates()?, step(fields)?);
                for market in markets {
                    self.timetables.entry((market, dates)).or_default().add(step, fields, sure);
                }
            }
            "special" => {
                let (markets, (date, to), step) = (fields.markets()?, fields.dates()?, step(fields)?);
                if to.is_some_and(|to| to != date) {
                    return Err(fields.bad(Column::To, "empty: a special session is of one day"));
                }
                for market in markets {
                    self.specials.entry((date, market)).or_default().add(step, fields, sure);
                }
            }
            "holiday" | "trading" => self.days(fields)?,
            "band" => self.band(fields)?,
            "breaker" => self.breaker(fields)?,
            _ => return Err(fields.bad(Column::Kind, "phase, special, holiday, trading, band or breaker")),
        }
        Ok(())
    }

    fn days(&mut self, fields: &Fields<'_>) -> Result<(), Refused> {
        let (exchanges, (from, to)) = (fields.exchanges()?, fields.dates()?);
        let days: Vec<NaiveDate> =
            from.iter_days().take(LONGEST_HOLIDAY + 1).take_while(|day| *day <= to.unwrap_or(from)).collect();
        if days.len() > LONGEST_HOLIDAY {
            return Err(fields.bad(Column::To, "at most 31 days after `from`"));
        }
        let trading = fields.get(Column::Kind) == "trading";
        for day in days {
            for exchange in &exchanges {
                if trading {
                    self.trading.push((day, *exchange));
                    continue;
                }
                let source = fields.get(Column::Source).to_owned();
                if let Some((_, line)) = self.holidays.insert((day, *exchange), (source, fields.line)) {
                    let key = format!("holiday {exchange} {day}");
                    return Err(refused(fields.line, key, Problem::Overlap(format!("line {line}"))));
                }
            }
        }
        Ok(())
    }

    fn band(&mut self, fields: &Fields<'_>) -> Result<(), Refused> {
        let kind = match fields.get(Column::Name) {
            "price-band" => BandKind::Price,
            "closing-band" => BandKind::Closing,
            "late-band" => BandKind::Late,
            _ => return Err(fields.bad(Column::Name, "price-band, closing-band or late-band")),
        };
        let window = match (fields.time_or_none(Column::Start)?, fields.time_or_none(Column::End)?) {
            (None, None) if kind == BandKind::Price => None,
            (Some(start), Some(end)) if start < end && kind != BandKind::Price => Some((start, end)),
            _ => {
                return Err(fields.bad(Column::Start, "a time of day before `end`; of a price-band both are empty"));
            }
        };
        let (markets, (from, to)) = (fields.markets()?, fields.dates()?);
        let band = Band { from, to, basis_points: fields.percent(Column::Value)?, window };
        for market in markets {
            let row = BandRow { band: band.clone(), line: fields.line };
            self.bands.entry((market, kind)).or_default().push(row);
        }
        Ok(())
    }

    fn breaker(&mut self, fields: &Fields<'_>) -> Result<(), Refused> {
        let (from, to) = fields.dates()?;
        let (start, end) = (fields.time(Column::Start)?, fields.time(Column::End)?);
        if start >= end {
            return Err(fields.bad(Column::End, "a time of day after `start`"));
        }
        let basis_points = fields.percent(Column::Name)?;
        let row = Breaker { from, to, basis_points, start, end, halt: fields.halt()? };
        for exchange in fields.exchanges()? {
            self.breakers.entry(exchange).or_default().push(BreakerRow { row, line: fields.line });
        }
        Ok(())
    }

    /// Makes tables of the rows, in place of what they replace.
    fn finish(self, tables: &mut Tables) -> Result<(), Refused> {
        let (extends, last_line) = (self.extends, self.last_line);
        let mut lines: BTreeMap<Market, Vec<(Timetable, usize)>> = BTreeMap::new();
        for ((market, (from, to)), draft) in self.timetables {
            let key = format!("phase {market} {from}");
            let (session, sure, source, line) = draft.finish(&key)?;
            lines.entry(market).or_default().push((Timetable { from, to, session, sure, source }, line));
        }
        for (market, mut rows) in lines {
            rows.sort_by_key(|(table, _)| table.from);
            check_dates(rows.iter().map(|(table, line)| (table.from, table.to, *line)), &format!("phase {market}"))?;
            let new = rows.into_iter().map(|(table, _)| table).collect();
            let old = tables.timetables.remove(&market).unwrap_or_default();
            tables.timetables.insert(market, replace(old, new, |table| (table.from, &mut table.to)));
        }
        for ((date, market), draft) in self.specials {
            let (session, ..) = draft.finish(&format!("special {market} {date}"))?;
            tables.specials.insert((date, market), session);
        }
        for key in &self.trading {
            tables.holidays.remove(key);
        }
        tables.holidays.extend(self.holidays.into_iter().map(|(key, (source, _))| (key, source)));
        for ((market, kind), mut rows) in self.bands {
            rows.sort_by_key(|row| row.band.from);
            let dates = rows.iter().map(|row| (row.band.from, row.band.to, row.line));
            check_dates(dates, &format!("band {market}"))?;
            let new = rows.into_iter().map(|row| row.band).collect();
            let old = tables.bands.remove(&(market, kind)).unwrap_or_default();
            tables.bands.insert((market, kind), replace(old, new, |band| (band.from, &mut band.to)));
        }
        for (exchange, rows) in self.breakers {
            check_breakers(&rows, exchange)?;
            tables.breakers.insert(exchange, rows.into_iter().map(|row| row.row).collect());
        }
        check_whole(tables, extends, last_line)
    }
}

impl Draft {
    fn add(&mut self, step: StepRow, fields: &Fields<'_>, sure: Certainty) {
        self.steps.push(step);
        self.lines.push(fields.line);
        self.sure = self.sure.max(Some(sure));
        if self.source.is_empty() {
            fields.get(Column::Source).clone_into(&mut self.source);
        }
    }

    fn finish(self, key: &str) -> Result<(DaySession, Certainty, String, usize), Refused> {
        let Self { steps, lines, sure, source } = self;
        let line = |index: usize| lines.get(index).copied().unwrap_or_default();
        let session =
            DaySession::new(steps).map_err(|(index, words)| refused(line(index), key, Problem::Day(words)))?;
        Ok((session, sure.unwrap_or(Certainty::Unconfirmed), source, line(0)))
    }
}

fn step(fields: &Fields<'_>) -> Result<StepRow, Refused> {
    const EXPECTED: &str = "a step of the day, like continuous or closing-limit";
    Ok(StepRow {
        step: fields.get(Column::Name).parse().map_err(|()| fields.bad(Column::Name, EXPECTED))?,
        start: fields.time(Column::Start)?,
        end: fields.time(Column::End)?,
        random_from: fields.time_or_none(Column::Value)?,
    })
}

/// The old rows up to the first day of the new ones, then those.
fn replace<T>(old: Vec<T>, new: Vec<T>, dates: impl Fn(&mut T) -> (NaiveDate, &mut Option<NaiveDate>)) -> Vec<T> {
    let mut new = new;
    let Some(first) = new.first_mut().map(|row| dates(row).0) else { return old };
    let mut rows: Vec<T> = Vec::new();
    for mut row in old {
        let (from, to) = dates(&mut row);
        if from >= first {
            continue;
        }
        if to.is_none_or(|to| to >= first) {
            *to = first.pred_opt();
        }
        rows.push(row);
    }
    rows.extend(new);
    rows
}

/// Rows in order of their first day follow each other without overlap or hole, and the last one has no end.
fn check_dates(rows: impl Iterator<Item = (NaiveDate, Option<NaiveDate>, usize)>, key: &str) -> Result<(), Refused> {
    let mut before: Option<(NaiveDate, Option<NaiveDate>, usize)> = None;
    for (from, to, line) in rows {
        if let Some((_, end, earlier)) = before {
            let Some(end) = end.filter(|end| *end < from) else {
                return Err(refused(line, format!("{key} {from}"), Problem::Overlap(format!("line {earlier}"))));
            };
            if end.succ_opt() != Some(from) {
                let words = format!("nothing is said of the days after {end} and before {from}");
                return Err(refused(line, format!("{key} {from}"), Problem::Missing(words)));
            }
        }
        before = Some((from, to, line));
    }
    match before {
        Some((from, Some(to), line)) => {
            let words = format!("nothing is said of the days after {to}: leave `to` of the last rows empty");
            Err(refused(line, format!("{key} {from}"), Problem::Missing(words)))
        }
        _ => Ok(()),
    }
}

/// At every level the times of day follow each other without overlap or hole.
fn check_breakers(rows: &[BreakerRow], exchange: Exchange) -> Result<(), Refused> {
    let mut levels: BTreeMap<(NaiveDate, Option<NaiveDate>, u16), Vec<&BreakerRow>> = BTreeMap::new();
    for row in rows {
        levels.entry((row.row.from, row.row.to, row.row.basis_points)).or_default().push(row);
    }
    for ((from, _, points), mut rows) in levels {
        let key = format!("breaker {exchange} {}% {from}", points / 100);
        rows.sort_by_key(|row| row.row.start);
        let mut reached = NaiveTime::MIN;
        for row in rows {
            if row.row.start < reached {
                let words = format!("the row that ends at {}", reached.format("%H:%M"));
                return Err(refused(row.line, key, Problem::Overlap(words)));
            }
            if row.row.start > reached {
                let (start, end) = (reached.format("%H:%M"), row.row.start.format("%H:%M"));
                let words = format!("nothing is said of {start} to {end}: a row with `none` says that nothing happens");
                return Err(refused(row.line, key, Problem::Missing(words)));
            }
            reached = row.row.end;
        }
    }
    Ok(())
}

/// What must be there whatever else is.
fn check_whole(tables: &Tables, extends: bool, line: usize) -> Result<(), Refused> {
    let missing = |key: String, words: &str| Err(refused(line, key, Problem::Missing(words.to_owned())));
    if !tables.timetables.contains_key(&Market::of(Exchange::Nse)) {
        let key = format!("phase {}", Market::of(Exchange::Nse));
        return missing(key, "there is no timetable: add its rows, or begin with the row `built-in`");
    }
    for market in Market::all().filter(|_| !extends) {
        let has = |segment: &MarketSegment| {
            tables.timetables.contains_key(&Market { exchange: market.exchange, segment: *segment })
        };
        if !has(&market.segment) && MarketSegment::on(market.exchange).iter().any(has) {
            return missing(format!("phase {market}"), "there is no timetable, though the exchange has one");
        }
    }
    for (market, table) in tables.timetables.iter().flat_map(|(market, rows)| rows.iter().map(move |row| (market, row)))
    {
        if table.session.row(Step::ClosingLimit).or(table.session.row(Step::ClosingEntry)).is_none() {
            continue;
        }
        let bands = tables.bands.get(&(*market, BandKind::Closing)).map(Vec::as_slice).unwrap_or_default();
        if super::in_force(bands, table.from, |band| (band.from, band.to)).is_none() {
            let key = format!("band {market} {}", table.from);
            return missing(key, "there is a closing auction and no closing-band");
        }
    }
    Ok(())
}
