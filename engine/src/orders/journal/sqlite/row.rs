//! One row of table `record`, both ways.

use chrono::DateTime;
use nirantar_brokers::Book;
use nirantar_brokers::time::Timestamp;
use rusqlite::Row;

use super::super::format::short;
use super::super::{Record, What};

/// One row as a record. Total: whatever was put into the file is a record or words about it.
pub(super) fn record(row: &Row<'_>) -> Result<Record, String> {
    fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a str>, String> {
        let value = row.get_ref(column).map_err(|error| error.to_string())?;
        value.as_str_or_null().map_err(|error| format!("column {column}: {error}"))
    }
    let needed = |column| text(row, column)?.ok_or_else(|| format!("column {column} is empty"));
    let at = read_time(needed(1)?)?;
    let book = read_book(needed(2)?)?;
    let id = text(row, 3)?.map(str::parse).transpose().map_err(|error| format!("{error}"))?;
    let what = What::from_json(needed(4)?, needed(5)?.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Record { at, id, book, what })
}

/// As the journal shows an instant: RFC 3339 in IST, to the nanosecond.
pub(super) fn time_text(at: Timestamp) -> String {
    format!("{}+05:30", at.to_ist().format("%Y-%m-%dT%H:%M:%S%.9f"))
}

fn read_time(text: &str) -> Result<Timestamp, String> {
    let nanos = DateTime::parse_from_rfc3339(text).ok().and_then(|at| at.timestamp_nanos_opt());
    nanos.map(Timestamp::from_nanos).ok_or_else(|| format!("`{}` is no time", short(text)))
}

fn read_book(text: &str) -> Result<Book, String> {
    match text {
        "live" => Ok(Book::Live),
        "paper" => Ok(Book::Paper),
        other => Err(format!("`{}` is no book", short(other))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_kept_to_the_nanosecond_and_shown_as_in_india() {
        let at = Timestamp::parse_ist("2026-11-20 09:15:00").unwrap() + Duration::from_nanos(42);
        assert_eq!(time_text(at), "2026-11-20T09:15:00.000000042+05:30");
        for at in [at, Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(-1), Timestamp::from_nanos(i64::MAX)] {
            assert_eq!(read_time(&time_text(at)), Ok(at));
        }
        assert!(read_time("9999-01-01T00:00:00+05:30").is_err(), "beyond what an instant holds");
    }
}
