//! The durable journal: a SQLite file that a trader can open with any SQLite tool while the engine runs.
//!
//! Table `record` holds one row a record, in the order they were made; view `orders` shows the latest state of each
//! order. One engine writes it, under a lock beside it that the kernel frees when the engine dies; readers need no lock
//! and hold nobody up (write-ahead log).
//!
//! Promises: what [`Journal::sync`] returned for survives a loss of power (`synchronous=FULL`); after the first failure
//! nothing more is taken, so that the log has no hole; and a file that is damaged, newer or no journal is refused and
//! left as it was, byte for byte.

mod check;
mod create;
mod row;
mod words;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use self::check::{checked_header, damage, no_orphan};
use self::row::{record, time_text};
use self::words::{not_read, not_written};
use super::{Journal, JournalError, Record};

/// How long a writer waits for another program that holds the file.
const WAIT: Duration = Duration::from_secs(5);

/// A journal in a file. Dropping it gives it back to the next engine.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Connection,
    file: PathBuf,
    /// Records were appended since the last sync.
    open: bool,
    /// Something of ours was committed.
    wrote: bool,
    /// What went wrong first: nothing is taken any more.
    failed: Option<JournalError>,
    /// Freed last.
    _lock: File,
}

impl SqliteJournal {
    /// Opens the journal at `path` for writing and takes its lock, `<path>.lock`. The file is made if there is none
    /// (mode 0600), and its folders (mode 0700). What is found is checked through, but its records are not read yet.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was changed; its words say what to do.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = real_path(path)?;
        let lock = lock(&file)?;
        no_orphan(&file)?;
        if std::fs::symlink_metadata(&file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            create::create(&file)?;
        }
        checked_header(&file)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags).map_err(|error| not_read(&file, &error))?;
        let ready = || {
            connection.busy_timeout(WAIT)?;
            // Closing a journal that is refused must not change it; one that was written is tidied up by `drop`.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            Ok(())
        };
        ready().map_err(|error| not_read(&file, &error))?;
        if let Some(found) = damage(&connection).map_err(|error| not_read(&file, &error))? {
            return Err(JournalError::Corrupt { file, found });
        }
        let ready = || {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            // Where a sync is otherwise only handed to the drive (macOS).
            connection.pragma_update(None, "fullfsync", true)
        };
        ready().map_err(|error| not_written(&file, &error))?;
        Ok(Self { connection, file, open: false, wrote: false, failed: None, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn insert(&mut self, record: &Record, detail: &str) -> rusqlite::Result<()> {
        if !self.open {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.open = true;
        }
        let sql = "INSERT INTO record (at, book, order_id, what, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
        let id = record.id.as_ref().map(|id| id.as_str());
        let row = params![time_text(record.at), record.book.to_string(), id, record.what.word(), detail];
        self.connection.prepare_cached(sql)?.execute(row).map(|_| ())
    }

    /// Remembers what went wrong: a later record must not be kept where an earlier one is missing.
    fn fail(&mut self, error: JournalError) -> JournalError {
        self.open = false;
        // What was not synced is gone either way; an error here says nothing new.
        let _ = self.connection.execute_batch("ROLLBACK");
        self.failed.insert(error).clone()
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let detail = match record.what.to_json() {
            Ok(detail) => detail,
            Err(error) => return Err(self.fail(JournalError::NotWritten(format!("{}: {error}", self.file.display())))),
        };
        self.insert(record, &detail).map_err(|error| {
            let error = not_written(&self.file, &error);
            self.fail(error)
        })
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.open {
            return Ok(());
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => {
                (self.open, self.wrote) = (false, true);
                Ok(())
            }
            Err(error) => Err(self.fail(not_written(&self.file, &error))),
        }
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn read(&self) -> Result<Vec<Record>, JournalError> {
        records(&self.connection, &self.file)
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        if self.wrote && self.failed.is_none() {
            // So that the one file is the whole journal; where it cannot be done now the next opening reads both.
            let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }
}

/// The records of the journal at `path`, oldest first, without its lock: an engine may be writing it. What was synced
/// before the call is there.
///
/// # Errors
/// [`JournalError`]: it is not there, cannot be read, or is refused as [`SqliteJournal::open`] refuses it.
pub fn read_records(path: &Path) -> Result<Vec<Record>, JournalError> {
    checked_header(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| not_read(path, &error))?;
    connection.busy_timeout(WAIT).map_err(|error| not_read(path, &error))?;
    if let Some(found) = damage(&connection).map_err(|error| not_read(path, &error))? {
        return Err(JournalError::Corrupt { file: path.to_owned(), found });
    }
    records(&connection, path)
}

fn records(connection: &Connection, file: &Path) -> Result<Vec<Record>, JournalError> {
    let corrupt = |found: String| JournalError::Corrupt { file: file.to_owned(), found };
    let failed = |error: rusqlite::Error| not_read(file, &error);
    let sql = "SELECT seq, at, book, order_id, what, detail FROM record ORDER BY seq";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let (mut records, mut last) = (Vec::new(), None::<i64>);
    while let Some(row) = rows.next().map_err(failed)? {
        let seq: i64 = row.get(0).map_err(failed)?;
        if last.is_some_and(|last| seq.checked_sub(1) != Some(last)) {
            return Err(corrupt(format!("records between {} and {seq} are missing", last.unwrap_or_default())));
        }
        last = Some(seq);
        records.push(record(row).map_err(|found| corrupt(format!("record {seq}: {found}")))?);
    }
    Ok(records)
}

/// Where `path` leads: two names of one file must lead to one lock.
fn real_path(path: &Path) -> Result<PathBuf, JournalError> {
    let cannot = |error: std::io::Error| JournalError::NotWritten(format!("{}: {error}", path.display()));
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let name = path.file_name().ok_or_else(|| cannot(std::io::ErrorKind::InvalidInput.into()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    create::folders(folder).map_err(cannot)?;
    Ok(folder.canonicalize().map_err(cannot)?.join(name))
}

/// The file beside the journal whose name ends so.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The lock file is never deleted: whoever deleted it could let two engines hold two of them.
fn lock(file: &Path) -> Result<File, JournalError> {
    let place = beside(file, ".lock");
    let cannot = |error: std::io::Error| {
        JournalError::NotWritten(format!("its lock {} cannot be taken: {error}", place.display()))
    };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let lock = options.open(&place).map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { file: file.to_owned() }),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

#[cfg(test)]
mod tests;
