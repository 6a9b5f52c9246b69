//! The table of rates and its reader.
//!
//! What is loaded is whole: whoever has rates in the table has every one that is due to him, for every day from his first
//! to his last, each day once. A rate that is not levied is a row that says 0. Anything else is refused with the line
//! named, so that no day can have a silent zero.

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;
use nirantar_brokers::{Exchange, Money, Side};

use super::rate::Rate;
use super::{Item, Payee, Segment, Uncovered};

/// The columns, in order.
const COLUMNS: [&str; 10] = ["from", "to", "by", "segment", "side", "item", "rate", "cap", "mark", "source"];
/// More bytes are no table.
const LONGEST: usize = 4 << 20;

/// Who takes a charge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Law,
    Exchange(Exchange),
    Broker(String),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Law => f.write_str("law"),
            Self::Exchange(exchange) => fmt::Display::fmt(exchange, f),
            Self::Broker(name) => f.write_str(name),
        }
    }
}

/// What a rate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct What {
    segment: Segment,
    sell: bool,
    item: Item,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.segment, if self.sell { "sell" } else { "buy" }, self.item)
    }
}

/// A rate and the days it was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    line: u64,
    from: NaiveDate,
    /// The last day; `None` until further notice.
    to: Option<NaiveDate>,
    rate: Rate,
    cap: Option<Money>,
}

/// Rates by trade date. The default is empty, and covers no day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargeTable {
    parties: BTreeMap<By, Rates>,
}

/// One payee's rates: for each purpose, rows in order of time.
type Rates = BTreeMap<What, Vec<Row>>;

/// Why a table is refused. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTable {
    /// Longer than any table.
    #[error("the charge table has more than {} MiB", LONGEST >> 20)]
    TooLong,
    /// The header is not the one expected.
    #[error("line {line}: the header is `{found}`, expected `{}`", COLUMNS.join(","))]
    Header {
        /// Where it was looked for; 0 if there is none.
        line: u64,
        /// What stands there, shortened.
        found: String,
    },
    /// A line is no row of ten columns of text.
    #[error("line {line}: {why}")]
    Row {
        /// Which line; 0 if the reader cannot tell.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A field cannot be read.
    #[error("line {line}, column {column}: `{found}` is not {expected}")]
    Field {
        /// In which line.
        line: u64,
        /// In which column.
        column: &'static str,
        /// What stands there, shortened.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// Two rows speak of one day.
    #[error("line {line}: `{what}` overlaps line {other}, which {}", ends(*.until))]
    Overlap {
        /// The later row.
        line: u64,
        /// Payee and purpose.
        what: String,
        /// The earlier row.
        other: u64,
        /// Its last day.
        until: Option<NaiveDate>,
    },
    /// No row speaks of some days between two others.
    #[error("line {line}: `{what}` starts on {from}, and line {other} ends on {until}: no rate for the days between")]
    Hole {
        /// The row after the hole.
        line: u64,
        /// Payee and purpose.
        what: String,
        /// Its first day.
        from: NaiveDate,
        /// The row before it.
        other: u64,
        /// Its last day.
        until: NaiveDate,
    },
    /// A payee's rate starts later, or ends earlier, than the others of his.
    #[error("line {line}: `{what}` {edge}, and line {other} {others}: no rate for the days between")]
    Edge {
        /// The row.
        line: u64,
        /// Payee and purpose.
        what: String,
        /// Where it starts or ends.
        edge: String,
        /// A row of the same payee that covers these days.
        other: u64,
        /// Where that one starts or ends.
        others: String,
    },
    /// A payee has no row for something.
    #[error("line {line}: `{by}` has rates from here on, and no row for `{what}`: if it is not levied, say so with 0")]
    Missing {
        /// His first row.
        line: u64,
        /// Who.
        by: String,
        /// The purpose.
        what: String,
    },
}

fn ends(last: Option<NaiveDate>) -> String {
    last.map_or_else(|| "has no end".to_owned(), |last| format!("ends on {last}"))
}

impl ChargeTable {
    /// Reads a table (CSV, its columns explained at the head of the built-in one). Lines that start with `#` are skipped.
    ///
    /// # Errors
    /// [`BadTable`] on the first thing that is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, BadTable> {
        if bytes.len() > LONGEST {
            return Err(BadTable::TooLong);
        }
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).comment(Some(b'#')).from_reader(bytes);
        let mut records = reader.records();
        let header = records.next().transpose().map_err(bad_row)?.unwrap_or_default();
        if !header.iter().eq(COLUMNS) {
            let line = header.position().map_or(0, csv::Position::line);
            return Err(BadTable::Header { line, found: shortened(&header.iter().collect::<Vec<_>>().join(",")) });
        }
        let mut parties: BTreeMap<By, Rates> = BTreeMap::new();
        for record in records {
            let record = record.map_err(bad_row)?;
            let (by, whats, row) = Line::of(&record)?.row()?;
            let rates = parties.entry(by).or_default();
            for what in whats {
                rates.entry(what).or_default().push(row.clone());
            }
        }
        for (by, rates) in &mut parties {
            whole(by, rates)?;
        }
        Ok(Self { parties })
    }

    /// The brokers whose rates it has.
    pub fn brokers(&self) -> impl Iterator<Item = &str> {
        self.parties.keys().filter_map(|by| match by {
            By::Broker(name) => Some(name.as_str()),
            By::Law | By::Exchange(_) => None,
        })
    }

    /// The rates of a day for that broker's customers, by exchange and segment.
    pub(super) fn rates(
        &self,
        broker: &str,
        exchange: Exchange,
        segment: Segment,
        date: NaiveDate,
    ) -> Result<DayRates, Uncovered> {
        let find = |by: &By, payee: Payee, sell: bool, item: Item| {
            let rows = self.parties.get(by).and_then(|rates| rates.get(&What { segment, sell, item }));
            let row = rows.and_then(|rows| rows.iter().find(|row| row.covers(date)));
            row.map(|row| (row.rate, row.cap)).ok_or(Uncovered { date, payee })
        };
        // Derivatives are another segment of the same exchange.
        let house = match exchange {
            Exchange::Nfo => Exchange::Nse,
            Exchange::Bfo => Exchange::Bse,
            other => other,
        };
        let (levied_by, broker) = (By::Exchange(house), By::Broker(broker.to_owned()));
        let law = |sell, item| find(&By::Law, Payee::Law, sell, item).map(|(rate, _)| rate);
        let side = |sell| {
            Ok(SideRates {
                brokerage: find(&broker, Payee::Broker, sell, Item::Brokerage)?,
                stt: law(sell, Item::Stt)?,
                exchange: find(&levied_by, Payee::Exchange(exchange), sell, Item::Exchange)?.0,
                sebi: law(sell, Item::Sebi)?,
                stamp: law(sell, Item::Stamp)?,
            })
        };
        let dp = match segment {
            Segment::Delivery => find(&broker, Payee::Broker, true, Item::Dp)?.0,
            _ => Rate::NIL,
        };
        // GST is one rate for both sides: the reader has seen to it.
        Ok(DayRates { buy: side(false)?, sell: side(true)?, gst: law(false, Item::Gst)?, dp })
    }
}

/// What one exchange and segment costs on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DayRates {
    pub(super) buy: SideRates,
    pub(super) sell: SideRates,
    /// Of brokerage, transaction charge and SEBI fee.
    pub(super) gst: Rate,
    /// For each scrip that leaves the demat account.
    pub(super) dp: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SideRates {
    /// Of an order, and the most of it.
    pub(super) brokerage: (Rate, Option<Money>),
    pub(super) stt: Rate,
    pub(super) exchange: Rate,
    pub(super) sebi: Rate,
    pub(super) stamp: Rate,
}

impl DayRates {
    pub(super) const fn side(&self, side: Side) -> &SideRates {
        match side {
            Side::Buy => &self.buy,
            Side::Sell => &self.sell,
        }
    }
}

impl Row {
    fn covers(&self, date: NaiveDate) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }
}

/// Every purpose a payee must have a rate for.
fn due(by: &By) -> Vec<What> {
    let items: &[Item] = match by {
        By::Law => &[Item::Stt, Item::Sebi, Item::Stamp, Item::Gst],
        By::Exchange(_) => &[Item::Exchange],
        By::Broker(_) => &[Item::Brokerage],
    };
    let mut whats = Vec::new();
    for segment in Segment::ALL {
        for item in items {
            whats.extend([false, true].map(|sell| What { segment, sell, item: *item }));
        }
    }
    if matches!(by, By::Broker(_)) {
        whats.push(What { segment: Segment::Delivery, sell: true, item: Item::Dp });
    }
    whats
}

/// Sorts a payee's rows by time and looks whether they cover every day from his first to his last, once.
fn whole(by: &By, rates: &mut Rates) -> Result<(), BadTable> {
    let name = |what: &What| format!("{by} {what}");
    for (what, rows) in rates.iter_mut() {
        rows.sort_by_key(|row| (row.from, row.line));
        for pair in rows.windows(2) {
            let [before, after] = pair else { continue };
            match before.to {
                Some(until) if until < after.from => {
                    if until.succ_opt() != Some(after.from) {
                        let (line, from, other) = (after.line, after.from, before.line);
                        return Err(BadTable::Hole { line, what: name(what), from, other, until });
                    }
                }
                until => {
                    let (line, other) = (after.line, before.line);
                    return Err(BadTable::Overlap { line, what: name(what), other, until });
                }
            }
        }
    }
    let firsts = rates.iter().filter_map(|(what, rows)| Some((what, rows.first()?)));
    let Some((_, earliest)) = firsts.min_by_key(|(_, row)| (row.from, row.line)) else { return Ok(()) };
    let lasts = rates.iter().filter_map(|(what, rows)| Some((what, rows.last()?)));
    // An open end is later than every date.
    let end = |row: &Row| row.to.map_or((1, NaiveDate::MAX), |to| (0, to));
    let Some((_, latest)) = lasts.max_by_key(|(_, row)| (end(row), std::cmp::Reverse(row.line))) else { return Ok(()) };
    for what in due(by) {
        let Some((first, last)) = rates.get(&what).and_then(|rows| Some((rows.first()?, rows.last()?))) else {
            return Err(BadTable::Missing { line: earliest.line, by: by.to_string(), what: what.to_string() });
        };
        if first.from != earliest.from {
            return Err(BadTable::Edge {
                line: first.line,
                what: name(&what),
                edge: format!("starts on {}", first.from),
                other: earliest.line,
                others: format!("on {}", earliest.from),
            });
        }
        if last.to != latest.to {
            return Err(BadTable::Edge {
                line: last.line,
                what: name(&what),
                edge: ends(last.to),
                other: latest.line,
                others: ends(latest.to),
            });
        }
    }
    same_gst(by, rates)
}

/// GST is taken of both sides' services together, so it has one rate.
fn same_gst(by: &By, rates: &Rates) -> Result<(), BadTable> {
    for segment in Segment::ALL {
        let rows = |sell| rates.get(&What { segment, sell, item: Item::Gst }).map_or(&[][..], Vec::as_slice);
        let terms = |row: &Row| (row.from, row.to, row.rate);
        if let Some(row) = rows(true).iter().find(|row| !rows(false).iter().any(|other| terms(other) == terms(row))) {
            let why = format!("`{by} {segment} gst` must be one rate for both sides: write `both`");
            return Err(BadTable::Row { line: row.line, why });
        }
    }
    Ok(())
}

/// One line, by column.
struct Line<'a> {
    line: u64,
    fields: [&'a str; 10],
}

impl<'a> Line<'a> {
    fn of(record: &'a csv::StringRecord) -> Result<Self, BadTable> {
        let line = record.position().map_or(0, csv::Position::line);
        let fields: Vec<_> = record.iter().collect();
        let fields = <[&str; 10]>::try_from(fields)
            .map_err(|fields| BadTable::Row { line, why: format!("{} columns, expected {}", fields.len(), 10) })?;
        Ok(Self { line, fields })
    }

    /// Who takes it, what for, and the rate.
    fn row(&self) -> Result<(By, Vec<What>, Row), BadTable> {
        let [from, to, by, segments, side, item, rate, cap, mark, source] = self.fields;
        let line = self.line;
        let from = self.read("from", from, "a date yyyy-mm-dd", date)?;
        let to = match to {
            "" => None,
            to => Some(self.read("to", to, "a date yyyy-mm-dd, or empty for no end yet", date)?),
        };
        if let Some(end) = to.filter(|to| *to < from) {
            return Err(self.bad("to", &end.to_string(), "a date on or after `from`"));
        }
        let by = self.read("by", by, "law, an exchange (NSE, BSE) or a broker's name in small letters", payee)?;
        let expected = "delivery, intraday, futures, options or exercise (several with spaces between)";
        let segments = self.read("segment", segments, expected, |text| {
            text.split_whitespace().map(segment).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
        })?;
        let sides: &[bool] = self.read("side", side, "buy, sell or both", |text| match text {
            "buy" => Some(&[false][..]),
            "sell" => Some(&[true]),
            "both" => Some(&[false, true]),
            _ => None,
        })?;
        let (expected, items): (_, &[Item]) = match &by {
            By::Law => (
                "stt, sebi, stamp or gst, which are what the law takes",
                &[Item::Stt, Item::Sebi, Item::Stamp, Item::Gst],
            ),
            By::Exchange(_) => ("exchange, which is what an exchange takes", &[Item::Exchange]),
            By::Broker(_) => ("brokerage or dp, which are what a broker takes", &[Item::Brokerage, Item::Dp]),
        };
        let known = |text: &str| items.iter().copied().find(|item| item.as_str() == text);
        let item = self.read("item", item, expected, known)?;
        if item == Item::Dp && (segments != [Segment::Delivery] || *sides != [true]) {
            return Err(self.bad(
                "segment",
                &format!("{} {side}", self.fields[3]),
                "delivery sell, which dp is taken on",
            ));
        }
        let expected = match item {
            Item::Brokerage => "a rate of 0 or more: 0.03%, 297/cr or 20 (rupees)",
            Item::Dp => "rupees for a scrip, 0 or more: 15.34",
            _ => "a rate of 0 or more, in parts of the sum: 0.1%, 297/cr or 0",
        };
        let rate = self.read("rate", rate, expected, |text| {
            Rate::read(text).filter(|rate| match rate {
                Rate::Flat(_) => matches!(item, Item::Brokerage | Item::Dp),
                Rate::Part(_) => item != Item::Dp || *rate == Rate::NIL,
            })
        })?;
        let cap = match cap {
            "" => None,
            cap => Some(self.read("cap", cap, "rupees above 0, of brokerage only", |text| {
                text.parse().ok().filter(|cap| *cap > Money::ZERO && item == Item::Brokerage)
            })?),
        };
        self.read("mark", mark, "C, S or U", |text| matches!(text, "C" | "S" | "U").then_some(()))?;
        self.read("source", source, "a source", |text| (!text.trim().is_empty()).then_some(()))?;
        let mut whats = Vec::new();
        for segment in segments {
            whats.extend(sides.iter().map(|sell| What { segment, sell: *sell, item }));
        }
        Ok((by, whats, Row { line, from, to, rate, cap }))
    }

    fn read<T>(
        &self,
        column: &'static str,
        text: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BadTable> {
        parse(text).ok_or_else(|| self.bad(column, text, expected))
    }

    fn bad(&self, column: &'static str, found: &str, expected: &'static str) -> BadTable {
        BadTable::Field { line: self.line, column, found: shortened(found), expected }
    }
}

/// A date of our times: one of the year 99999 is a slip of the hand.
fn date(text: &str) -> Option<NaiveDate> {
    let ours = text.len() == 10 && text.starts_with(|c: char| c.is_ascii_digit());
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| ours)
}

fn payee(text: &str) -> Option<By> {
    if text == "law" {
        return Some(By::Law);
    }
    if let Ok(exchange @ (Exchange::Nse | Exchange::Bse)) = text.parse() {
        return Some(By::Exchange(exchange));
    }
    let name =
        !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    name.then(|| By::Broker(text.to_owned()))
}

fn segment(text: &str) -> Option<Segment> {
    Segment::ALL.into_iter().find(|segment| segment.as_str() == text)
}

fn bad_row(error: csv::Error) -> BadTable {
    BadTable::Row { line: error.position().map_or(0, csv::Position::line), why: shortened(&error.to_string()) }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
