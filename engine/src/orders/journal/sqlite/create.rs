//! Making a new journal: whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::super::JournalError;
use super::super::format::FORMAT;
use super::beside;
use super::check::APPLICATION_ID;
use super::words::not_written;

/// The tables. The view is for whoever opens the file: the engine reads `record` only. An order without a state has been
/// sent if the last that is said of its sending is that it was.
const SCHEMA: &str = "
CREATE TABLE record (
    seq      INTEGER PRIMARY KEY,  -- in the order they were made, without gaps
    at       TEXT NOT NULL,        -- RFC 3339, IST
    book     TEXT NOT NULL,        -- live or paper
    order_id TEXT,                 -- our number of the order; empty for what is said of a book
    what     TEXT NOT NULL,        -- intent, sending, state ...
    detail   TEXT NOT NULL         -- JSON; prices are decimal texts
);
CREATE INDEX record_order ON record (order_id, seq) WHERE order_id IS NOT NULL;
CREATE VIEW orders AS
SELECT
    first.order_id                                              AS id,
    first.book                                                  AS book,
    json_extract(first.detail, '$.request.instrument')          AS instrument,
    json_extract(first.detail, '$.request.side')                AS side,
    coalesce(json_extract(state.detail, '$.quantity'), json_extract(first.detail, '$.request.quantity')) AS quantity,
    coalesce(
        json_extract(state.detail, '$.status'),
        CASE
            WHEN first.what = 'external' THEN 'unknown'
            WHEN (SELECT r.what FROM record r
                  WHERE r.order_id = first.order_id AND r.what IN ('sending', 'not_sent', 'refused_for_token')
                  ORDER BY r.seq DESC LIMIT 1) = 'sending' THEN 'sent'
            ELSE 'journalled'
        END)                                                    AS status,
    coalesce(json_extract(state.detail, '$.filled'), 0)         AS filled,
    coalesce(json_extract(state.detail, '$.average_price'), '0.00') AS average_price,
    coalesce(json_extract(state.detail, '$.broker_id'), json_extract(first.detail, '$.broker_id')) AS broker_id,
    json_extract(state.detail, '$.message')                     AS message,
    first.at                                                    AS submitted,
    coalesce(state.at, first.at)                                AS changed
FROM record first
LEFT JOIN record state ON state.seq =
    (SELECT max(r.seq) FROM record r WHERE r.order_id = first.order_id AND r.what = 'state')
WHERE first.what IN ('intent', 'external')
ORDER BY first.seq;
";

/// Makes an empty journal at `file`. It is built beside and renamed into place, so that whatever happens meanwhile leaves
/// a whole one or none. The caller holds the lock.
pub(super) fn create(file: &Path) -> Result<(), JournalError> {
    let draft = beside(file, ".new");
    let cannot = |error: io::Error| JournalError::NotWritten(format!("{}: {error}", file.display()));
    match std::fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(error)),
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(&draft).map_err(cannot)?);
    fill(&draft).map_err(|error| not_written(file, &error))?;
    let placed = File::open(&draft).and_then(|new| new.sync_all()).and_then(|()| std::fs::rename(&draft, file));
    placed.and_then(|()| sync_folder(file)).map_err(cannot)
}

/// Makes the folders that are missing, for their owner only.
pub(super) fn folders(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn fill(draft: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(draft, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(&format!(
        "BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    ))?;
    // Closing moves the write-ahead log into the file and takes it away.
    connection.close().map_err(|(_, error)| error)
}

/// The name in the folder survives a loss of power too.
fn sync_folder(file: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
