//! Whether a file is a journal of ours: looked at before SQLite touches it, and then through SQLite.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::Connection;

use super::super::JournalError;
use super::super::format::FORMAT;
use super::beside;
use super::words::is_damage;

/// Marks a SQLite file as a journal of ours: `NIRJ`.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"NIRJ");
/// A SQLite file begins with these 16 bytes; see <https://www.sqlite.org/fileformat.html>.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Length of its header.
const HEADER: u64 = 100;
/// Where the header holds `user_version`, big-endian: the number of the format.
const FORMAT_AT: usize = 60;
/// Where it holds `application_id`.
const APPLICATION_AT: usize = 68;

/// Reads the header with nothing but a read: SQLite would finish what an unknown writer left half done.
pub(super) fn checked_header(file: &Path) -> Result<(), JournalError> {
    let corrupt = |found: &str| JournalError::Corrupt { file: file.to_owned(), found: found.to_owned() };
    let header =
        header(file).map_err(|error| JournalError::NotRead { file: file.to_owned(), why: error.to_string() })?;
    if header.is_empty() {
        return Err(corrupt("it is empty"));
    }
    if !header.starts_with(MAGIC) {
        return Err(corrupt("it is no SQLite file"));
    }
    let (Some(format), Some(application)) = (number(&header, FORMAT_AT), number(&header, APPLICATION_AT)) else {
        return Err(corrupt("it ends within its header"));
    };
    match (application, format) {
        (APPLICATION_ID, FORMAT) => Ok(()),
        (APPLICATION_ID, newer) if newer > FORMAT => Err(JournalError::Newer { file: file.to_owned(), format: newer }),
        (APPLICATION_ID, other) => Err(corrupt(&format!("there never was a format {other}"))),
        _ => Err(corrupt("it is a SQLite file of another program")),
    }
}

/// A write-ahead log without its journal would be played into a new one.
pub(super) fn no_orphan(file: &Path) -> Result<(), JournalError> {
    let log = beside(file, "-wal");
    if log.exists() && !file.exists() {
        let found = format!("the journal itself is not there, but its log {} is", log.display());
        return Err(JournalError::Corrupt { file: file.to_owned(), found });
    }
    Ok(())
}

/// What is wrong with the journal, if anything is: its pages, and the columns that are needed.
pub(super) fn damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let look = || -> rusqlite::Result<Option<String>> {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(Some(verdict.lines().collect::<Vec<_>>().join("; ")));
        }
        connection.prepare("SELECT seq, at, book, order_id, what, detail FROM record").map(|_| None)
    };
    match look() {
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        other => other,
    }
}

fn header(file: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    File::open(file)?.take(HEADER).read_to_end(&mut header)?;
    Ok(header)
}

fn number(header: &[u8], at: usize) -> Option<u32> {
    let bytes = header.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}
