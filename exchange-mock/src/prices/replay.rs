//! A recorded day, from a CSV file with the columns `timestamp,ltp,volume` (timestamps are IST without an offset), or from
//! what `nirantar record` has written ([`nirantar_brokers::recording`]), known by its first bytes.
//!
//! The whole file is read and checked before the first price is given, so a bad row is an error at the start and never
//! a surprise at noon. Every row is kept, in the order of the file: several rows may share a second and equal rows are
//! legal, since real recordings have both.
//!
//! Real recordings also step back by a second now and then (the public RELIANCE day of 2021-04-12 does so 88 times,
//! because two threads wrote it). Such a row keeps its place and is given at the time already reached. A larger step
//! back is an error. Of a recording, whose times are those of arrival, every step back is tolerated.

mod recorded;

use std::fs::File;
use std::io::{BufReader, Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::recording::{self, RecordingError};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{InstrumentKey, Price, Quantity};

use super::{PriceEvent, PriceSource};

/// How far a row may lie before the latest one.
const TOLERATED_STEP_BACK: Duration = Duration::from_secs(1);

const COLUMNS: [&str; 3] = ["timestamp", "ltp", "volume"];

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {why}", file = file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The system's reason.
        why: std::io::Error,
    },
    /// There is no row of prices in it.
    #[error("{file}: no prices: expected a line `timestamp,ltp,volume` and at least one row below it", file = file.display())]
    Empty {
        /// Which file.
        file: PathBuf,
    },
    /// A field, or a row, is not what it must be.
    #[error("{file}, line {line}, column {column}: `{found}` is not {expected}", file = file.display())]
    Bad {
        /// Which file.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// What stands there, shortened.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A row is older than the one before it.
    #[error(
        "{file}, line {line}, column timestamp: `{found}` goes back in time: expected {latest} or later (one second of disorder is tolerated)",
        file = file.display()
    )]
    BackInTime {
        /// Which file.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The row's time.
        found: Timestamp,
        /// The latest time before it.
        latest: Timestamp,
    },
    /// A recording is damaged, or is none.
    #[error("{file}: {why}", file = file.display())]
    Recording {
        /// Which file.
        file: PathBuf,
        /// What is wrong, and where.
        why: RecordingError,
    },
    /// A recording of a wire whose frames nobody here can read.
    #[error("{file}: is a recording of {broker}: expected one of kite", file = file.display())]
    OtherWire {
        /// Which file.
        file: PathBuf,
        /// Whose wire it is.
        broker: String,
    },
    /// A recording without a tick that was looked for.
    #[error("{file}: the recording has no tick of {wanted}; it names {named}", file = file.display())]
    NoTicks {
        /// Which file.
        file: PathBuf,
        /// What was looked for.
        wanted: String,
        /// What it names, shortened.
        named: String,
    },
    /// A recording of more than a day.
    #[error("{file}: the recording goes from {first} into {second} (IST): a replay is of one day; record each into a file of its own", file = file.display())]
    TwoDays {
        /// Which file.
        file: PathBuf,
        /// Its first day.
        first: NaiveDate,
        /// The next.
        second: NaiveDate,
    },
}

/// A recorded day of one instrument, or of several in the order their ticks came.
#[derive(Clone, Debug)]
pub struct Replay {
    instruments: Vec<InstrumentKey>,
    rows: Vec<Row>,
    given: usize,
    date: NaiveDate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    /// Which of the instruments.
    instrument: usize,
    at: Timestamp,
    ltp: Price,
    volume: Quantity,
}

impl Replay {
    /// Reads a file as prices of `instrument`: a CSV file, or the ticks of that instrument in a recording.
    ///
    /// # Errors
    /// [`ReplayError`], naming file, line, column and what was expected there, or the byte.
    pub fn load(file: &Path, instrument: InstrumentKey) -> Result<Self, ReplayError> {
        let unreadable = |why| ReplayError::Unreadable { file: file.to_path_buf(), why };
        let mut opened = File::open(file).map_err(unreadable)?;
        let first = first_bytes(&mut opened).map_err(unreadable)?;
        if recording::is_recording(&first) {
            return Self::recorded(file, Cursor::new(first).chain(opened), &[instrument]);
        }
        let mut bytes = first;
        opened.read_to_end(&mut bytes).map_err(unreadable)?;
        Self::parse(file, &bytes, instrument)
    }

    /// Reads a recording as prices of those of these instruments that it has ticks of, in the order they came.
    ///
    /// # Errors
    /// [`ReplayError`], naming the file and the byte.
    pub fn load_recording(file: &Path, wanted: &[InstrumentKey]) -> Result<Self, ReplayError> {
        let opened = File::open(file).map_err(|why| ReplayError::Unreadable { file: file.to_path_buf(), why })?;
        Self::recorded(file, opened, wanted)
    }

    /// Whether there is such a file and it is a recording.
    #[must_use]
    pub fn is_recording(file: &Path) -> bool {
        let first = File::open(file).and_then(|mut opened| first_bytes(&mut opened));
        first.is_ok_and(|first| recording::is_recording(&first))
    }

    /// Reads the bytes of a file; `file` is only named in errors. Total: any bytes.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn parse(file: impl AsRef<Path>, bytes: &[u8], instrument: InstrumentKey) -> Result<Self, ReplayError> {
        let file = file.as_ref();
        if recording::is_recording(bytes) {
            return Self::recorded(file, bytes, &[instrument]);
        }
        Self::of(file, vec![instrument], read_rows(file, bytes)?)
    }

    fn recorded(file: &Path, from: impl std::io::Read, wanted: &[InstrumentKey]) -> Result<Self, ReplayError> {
        let (instruments, rows) = recorded::read(file, BufReader::with_capacity(1 << 16, from), wanted)?;
        Self::of(file, instruments, rows)
    }

    fn of(file: &Path, instruments: Vec<InstrumentKey>, rows: Vec<Row>) -> Result<Self, ReplayError> {
        match rows.first().map(|row| row.at.ist_date()) {
            Some(date) => Ok(Self { instruments, rows, given: 0, date }),
            None => Err(ReplayError::Empty { file: file.to_path_buf() }),
        }
    }

    /// How many rows there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: a file without rows is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What it has prices of, in the order of their first.
    #[must_use]
    pub fn instruments(&self) -> &[InstrumentKey] {
        &self.instruments
    }

    /// First and last moment.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.rows.first()?.at, self.rows.last()?.at))
    }
}

impl PriceSource for Replay {
    fn peek(&self) -> Option<Timestamp> {
        self.rows.get(self.given).map(|row| row.at)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let row = *self.rows.get(self.given)?;
        let instrument = self.instruments.get(row.instrument)?.clone();
        self.given += 1;
        Some(PriceEvent { at: row.at, instrument, ltp: row.ltp, volume: row.volume })
    }

    fn date(&self) -> NaiveDate {
        self.date
    }
}

/// As many as tell a recording.
fn first_bytes(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(recording::MAGIC.len());
    file.take(recording::MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok(first)
}

fn read_rows(file: &Path, bytes: &[u8]) -> Result<Vec<Row>, ReplayError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut header_seen = false;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(rows),
            Ok(true) => {}
            Err(error) => {
                return Err(ReplayError::Unreadable { file: file.to_path_buf(), why: std::io::Error::other(error) });
            }
        }
        let line = record.position().map_or(0, |start| line_of(bytes, start));
        let place = Place { file, line };
        if header_seen {
            let row = place.row(&record, rows.last().map(|row| row.at))?;
            rows.push(row);
        } else {
            place.header(&record)?;
            header_seen = true;
        }
    }
}

/// The line a record stands on. The reader's own count is that of the blank lines before it, if there are any.
fn line_of(bytes: &[u8], start: &csv::Position) -> u64 {
    let from = usize::try_from(start.byte()).unwrap_or(usize::MAX);
    let blank = bytes.get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    start.line() + blank.filter(|byte| **byte == b'\n').count() as u64
}

/// Where in the file we are, for errors.
struct Place<'a> {
    file: &'a Path,
    line: u64,
}

impl Place<'_> {
    fn bad(&self, column: &'static str, found: &[u8], expected: &'static str) -> ReplayError {
        let found = String::from_utf8_lossy(found).chars().take(40).collect();
        ReplayError::Bad { file: self.file.to_path_buf(), line: self.line, column, found, expected }
    }

    fn header(&self, record: &csv::ByteRecord) -> Result<(), ReplayError> {
        for (index, column) in COLUMNS.into_iter().enumerate() {
            let found = record.get(index).unwrap_or_default();
            if found != column.as_bytes() {
                return Err(self.bad(column, found, "the name of that column (header `timestamp,ltp,volume`)"));
            }
        }
        self.no_more(record)
    }

    fn row(&self, record: &csv::ByteRecord, latest: Option<Timestamp>) -> Result<Row, ReplayError> {
        let [timestamp, ltp, volume] = [0, 1, 2].map(|index| record.get(index).unwrap_or_default());
        let text = |field| std::str::from_utf8(field).ok();
        let at = text(timestamp)
            .filter(|text| text.len() == 19)
            .and_then(Timestamp::parse_ist)
            .ok_or_else(|| self.bad("timestamp", timestamp, "a time like 2021-04-12 09:15:08 (IST)"))?;
        let ltp = text(ltp)
            .and_then(|text| text.parse::<Price>().ok())
            .filter(|price| *price > Price::ZERO)
            .ok_or_else(|| self.bad("ltp", ltp, "a price above zero with at most four decimals, like 1957.05"))?;
        let volume = text(volume)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| self.bad("volume", volume, "a whole number, zero or more"))?;
        self.no_more(record)?;
        let at = match latest {
            Some(latest) if latest.since(at) > TOLERATED_STEP_BACK => {
                return Err(ReplayError::BackInTime {
                    file: self.file.to_path_buf(),
                    line: self.line,
                    found: at,
                    latest,
                });
            }
            Some(latest) => at.max(latest),
            None => at,
        };
        if latest.is_some_and(|latest| !latest.is_same_ist_date(at)) {
            return Err(self.bad("timestamp", timestamp, "of the same day as the rows before it"));
        }
        Ok(Row { instrument: 0, at, ltp, volume: Quantity::new(volume) })
    }

    fn no_more(&self, record: &csv::ByteRecord) -> Result<(), ReplayError> {
        record.get(COLUMNS.len()).map_or(Ok(()), |extra| {
            Err(self.bad("4", extra, "allowed: a row has three columns, `timestamp,ltp,volume`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nirantar_brokers::Exchange;
    use proptest::prelude::*;

    fn key() -> InstrumentKey {
        InstrumentKey::new(Exchange::Nse, "RELIANCE")
    }

    fn parse(rows: &str) -> Result<Replay, ReplayError> {
        Replay::parse("day.csv", format!("timestamp,ltp,volume\n{rows}").as_bytes(), key())
    }

    fn error(rows: &str) -> String {
        parse(rows).unwrap_err().to_string()
    }

    #[test]
    fn every_row_is_kept_in_file_order_also_equal_ones() {
        let rows = "2021-04-12 09:15:08,1958.05,10\n2021-04-12 09:15:08,1957,12\n2021-04-12 09:15:08,1957,12\n";
        let mut replay = parse(rows).unwrap();
        assert_eq!(replay.date().to_string(), "2021-04-12");
        let mut seen = Vec::new();
        while let Some(event) = replay.next() {
            seen.push(format!("{} {} {}", event.at, event.ltp, event.volume));
        }
        assert_eq!(
            seen,
            ["2021-04-12 09:15:08 1958.05 10", "2021-04-12 09:15:08 1957.00 12", "2021-04-12 09:15:08 1957.00 12"]
        );
    }

    #[test]
    fn an_error_names_file_line_column_and_what_was_expected() {
        let good = "2021-04-12 09:15:08,1958.05,10\n";
        assert_eq!(
            error(&format!("{good}2021-04-12 09:15:09,abc,10\n")),
            "day.csv, line 3, column ltp: `abc` is not a price above zero with at most four decimals, like 1957.05"
        );
        for (bad, expected) in [
            ("yesterday,1,1\n", "line 3, column timestamp"),
            ("2021-04-12 09:15:09,1\n", "line 3, column volume: `` is not a whole number"),
            ("2021-04-12 09:15:09,1,-1\n", "line 3, column volume"),
            ("2021-04-12 09:15:09,0,1\n", "line 3, column ltp"),
            ("2021-04-12 09:15:09,1,1,1\n", "line 3, column 4"),
            ("2021-04-13 09:15:09,1,1\n", "of the same day"),
            ("\n2021-04-12 09:15:09,x,1\n", "line 4, column ltp"),
            ("\r\n2021-04-12 09:15:09,1,1\r\n2021-04-12 09:15:09,x,1\r\n", "line 5, column ltp"),
            ("2021-04-12 09:15:09,\"1,1\n", "line 3, column ltp"),
        ] {
            let error = error(&format!("{good}{bad}"));
            assert!(error.starts_with("day.csv, ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn time_that_goes_back_is_refused_but_one_second_of_disorder_keeps_its_place() {
        let first = "2021-04-12 09:15:08,1,1\n";
        let text = error(&format!("{first}2021-04-12 09:15:06,2,2\n"));
        assert!(text.contains("line 3") && text.contains("goes back in time"), "{text}");
        let mut replay = parse(&format!("{first}2021-04-12 09:15:07,2,2\n")).unwrap();
        let (first, second) = (replay.next().unwrap(), replay.next().unwrap());
        assert_eq!((first.at, second.ltp), (second.at, Price::from_paise(200)));
    }

    #[test]
    fn a_file_that_is_missing_empty_or_not_text_is_one_clear_error() {
        let missing = Replay::load(Path::new("/nonexistent/day.csv"), key()).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/day.csv: cannot be read"), "{missing}");
        for empty in ["", "timestamp,ltp,volume\n"] {
            let error = Replay::parse("day.csv", empty.as_bytes(), key()).unwrap_err().to_string();
            assert!(error.contains("no prices"), "{error}");
        }
        let latin = Replay::parse("day.csv", b"timestamp,ltp,volume\n2021-04-12 09:15:08,\xff,1\n", key());
        assert!(latin.unwrap_err().to_string().contains("line 2, column ltp"));
        let header = Replay::parse("day.csv", b"time,price\n1,2\n", key()).unwrap_err().to_string();
        assert!(header.contains("line 1, column timestamp: `time`"), "{header}");
    }

    #[test]
    fn the_recorded_days_load_whole() {
        let Some(folder) = std::env::var_os("NIRANTAR_FIXTURES") else {
            assert!(std::env::var_os("NIRANTAR_REQUIRE_FIXTURES").is_none(), "NIRANTAR_FIXTURES is not set");
            println!("skipped: NIRANTAR_FIXTURES names no folder");
            return;
        };
        for name in ["NIFTY", "BANKNIFTY", "RELIANCE", "TCS"] {
            let file = Path::new(&folder).join(format!("market/2021-04-12_{name}.csv"));
            let mut replay = Replay::load(&file, key()).unwrap();
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert_eq!(replay.len(), lines - 1, "{name}");
            let mut last = Timestamp::default();
            while let Some(event) = replay.next() {
                assert!(event.at >= last, "{name}");
                last = event.at;
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_replay_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), header: bool) {
            let mut file = if header { b"timestamp,ltp,volume\n".to_vec() } else { Vec::new() };
            file.extend(bytes);
            if let Ok(replay) = Replay::parse("day.csv", &file, key()) {
                prop_assert!(!replay.is_empty());
            }
        }
    }
}
