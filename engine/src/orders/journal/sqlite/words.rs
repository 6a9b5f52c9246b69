//! What SQLite's errors mean for a trader.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use super::super::JournalError;

/// Why a record was not kept.
pub(super) fn not_written(file: &Path, error: &Error) -> JournalError {
    let file = file.display();
    let words = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("{file}: the disk is full, make room"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            format!("{file}: the file or its folder is read only, let the engine's user write there")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{file}: another program is writing it, close that program")
        }
        Some(ErrorCode::SystemIoFailure) => format!("{file}: the disk failed ({error}), look after the disk"),
        _ => format!("{file}: {error}"),
    };
    JournalError::NotWritten(words)
}

/// Why it cannot be read.
pub(super) fn not_read(file: &Path, error: &Error) -> JournalError {
    let file = file.to_owned();
    if is_damage(error) {
        return JournalError::Corrupt { file, found: error.to_string() };
    }
    JournalError::NotRead { file, why: error.to_string() }
}

/// Whether the error is the file's fault.
pub(super) fn is_damage(error: &Error) -> bool {
    match error.sqlite_error_code() {
        // `Unknown` is SQLite's general error: a table or a column that is not there.
        Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown),
        None => matches!(
            error,
            Error::SqlInputError { .. }
                | Error::InvalidColumnType(..)
                | Error::FromSqlConversionFailure(..)
                | Error::Utf8Error(..)
        ),
    }
}
