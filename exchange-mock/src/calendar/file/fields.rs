//! One row of the file, and how each of its fields is read.

use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::Exchange;

use super::super::{Certainty, Halt, Market, MarketSegment};
use super::{Dates, Problem, Refused, refused};

/// The fields of one row.
pub(super) struct Fields<'a> {
    pub(super) line: usize,
    fields: [&'a str; 11],
}

impl<'a> Fields<'a> {
    pub(super) fn read(line: usize, text: &'a str) -> Result<Self, Refused> {
        let mut parts = text.splitn(11, ',').map(str::trim);
        let fields = std::array::from_fn(|_| parts.next());
        match fields {
            [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f), Some(g), Some(h), Some(i), Some(j), Some(k)] => {
                Ok(Self { line, fields: [a, b, c, d, e, f, g, h, i, j, k] })
            }
            _ => Err(bad(line, "row", text, "a row of the eleven fields kind,exchanges,…,sure,source")),
        }
    }

    pub(super) fn get(&self, column: Column) -> &'a str {
        let [kind, exchanges, segment, from, to, name, start, end, value, sure, source] = self.fields;
        match column {
            Column::Kind => kind,
            Column::Exchanges => exchanges,
            Column::Segment => segment,
            Column::From => from,
            Column::To => to,
            Column::Name => name,
            Column::Start => start,
            Column::End => end,
            Column::Value => value,
            Column::Sure => sure,
            Column::Source => source,
        }
    }

    pub(super) fn bad(&self, column: Column, expected: &'static str) -> Refused {
        bad(self.line, column.as_str(), self.get(column), expected)
    }

    pub(super) fn exchanges(&self) -> Result<Vec<Exchange>, Refused> {
        const EXPECTED: &str = "exchanges separated by spaces, like `NSE BSE`, each once, or *";
        let text = self.get(Column::Exchanges);
        if text == "*" {
            return Ok(Exchange::ALL.to_vec());
        }
        let mut exchanges: Vec<Exchange> = Vec::new();
        for word in text.split_ascii_whitespace() {
            let exchange = word.parse().map_err(|_| self.bad(Column::Exchanges, EXPECTED))?;
            if exchanges.contains(&exchange) {
                return Err(self.bad(Column::Exchanges, EXPECTED));
            }
            exchanges.push(exchange);
        }
        if exchanges.is_empty() { Err(self.bad(Column::Exchanges, EXPECTED)) } else { Ok(exchanges) }
    }

    pub(super) fn markets(&self) -> Result<Vec<Market>, Refused> {
        const EXPECTED: &str =
            "segments of these exchanges separated by spaces, like `cash cash-only`, each once, or *";
        let exchanges = self.exchanges()?;
        let text = self.get(Column::Segment);
        let all = || exchanges.iter().flat_map(|one| MarketSegment::on(*one).iter().map(|segment| (*one, *segment)));
        let mut markets: Vec<Market> = Vec::new();
        if text == "*" {
            markets.extend(all().map(|(exchange, segment)| Market { exchange, segment }));
        }
        for word in text.split_ascii_whitespace().filter(|word| *word != "*" || text != "*") {
            let named = all().filter(|(_, segment)| segment.as_str() == word);
            let before = markets.len();
            for (exchange, segment) in named {
                let market = Market { exchange, segment };
                if markets.contains(&market) {
                    return Err(self.bad(Column::Segment, EXPECTED));
                }
                markets.push(market);
            }
            if markets.len() == before {
                return Err(self.bad(Column::Segment, EXPECTED));
            }
        }
        if markets.is_empty() { Err(self.bad(Column::Segment, EXPECTED)) } else { Ok(markets) }
    }

    pub(super) fn date(&self, column: Column) -> Result<NaiveDate, Refused> {
        let read = NaiveDate::parse_from_str(self.get(column), "%Y-%m-%d").ok();
        let sane = read.filter(|date| (1990..=2200).contains(&chrono::Datelike::year(date)));
        sane.ok_or_else(|| self.bad(column, "a date like 2026-08-03"))
    }

    pub(super) fn dates(&self) -> Result<Dates, Refused> {
        let from = self.date(Column::From)?;
        if self.get(Column::To).is_empty() {
            return Ok((from, None));
        }
        let to = self.date(Column::To)?;
        if to < from {
            return Err(self.bad(Column::To, "a day at or after `from`"));
        }
        Ok((from, Some(to)))
    }

    pub(super) fn time(&self, column: Column) -> Result<NaiveTime, Refused> {
        let text = self.get(column);
        let read = NaiveTime::parse_from_str(text, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
        // A leap second is no time of any session.
        let whole = read.ok().filter(|time| chrono::Timelike::nanosecond(time) == 0);
        whole.ok_or_else(|| self.bad(column, "a time of day like 09:15"))
    }

    pub(super) fn time_or_none(&self, column: Column) -> Result<Option<NaiveTime>, Refused> {
        if self.get(column).is_empty() { Ok(None) } else { self.time(column).map(Some) }
    }

    pub(super) fn percent(&self, column: Column) -> Result<u16, Refused> {
        let read = || {
            let (whole, part) = {
                let number = self.get(column).strip_suffix('%')?;
                number.split_once('.').unwrap_or((number, "0"))
            };
            let part = match part.len() {
                1 => part.parse::<u16>().ok()?.checked_mul(10)?,
                2 => part.parse().ok()?,
                _ => return None,
            };
            whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(part)
        };
        let sane = read().filter(|points| (1..=10_000).contains(points));
        sane.ok_or_else(|| self.bad(column, "a percentage above 0 % and at most 100 %, like 3% or 2.5%"))
    }

    pub(super) fn sure(&self) -> Result<Certainty, Refused> {
        match self.get(Column::Sure) {
            "C" => Ok(Certainty::Circular),
            "S" => Ok(Certainty::Secondary),
            "U" => Ok(Certainty::Unconfirmed),
            _ => Err(self.bad(Column::Sure, "C (circular), S (secondary source) or U (unconfirmed)")),
        }
    }

    pub(super) fn halt(&self) -> Result<Halt, Refused> {
        let minutes = |text: &str| {
            let number = text.strip_suffix('m')?.parse::<u64>().ok().filter(|minutes| *minutes <= 600)?;
            Some(Duration::from_secs(60 * number))
        };
        match self.get(Column::Value) {
            "none" => Ok(Halt::None),
            "day" => Ok(Halt::Day),
            text => {
                let parts = text.split_once('+').and_then(|(halt, auction)| Some((minutes(halt)?, minutes(auction)?)));
                let halt = parts.map(|(halt, auction)| Halt::For { halt, auction });
                halt.ok_or_else(|| self.bad(Column::Value, "a halt and its auction like 45m+15m, or day, or none"))
            }
        }
    }
}

/// The columns, in their order.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Kind,
    Exchanges,
    Segment,
    From,
    To,
    Name,
    Start,
    End,
    Value,
    Sure,
    Source,
}

impl Column {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Exchanges => "exchanges",
            Self::Segment => "segment",
            Self::From => "from",
            Self::To => "to",
            Self::Name => "name",
            Self::Start => "start",
            Self::End => "end",
            Self::Value => "value",
            Self::Sure => "sure",
            Self::Source => "source",
        }
    }
}

/// A field that is not what it must be.
pub(super) fn bad(line: usize, key: &str, found: &str, expected: &'static str) -> Refused {
    let found = found.chars().take(40).filter(|letter| !letter.is_control()).collect();
    refused(line, key, Problem::Bad { found, expected })
}
