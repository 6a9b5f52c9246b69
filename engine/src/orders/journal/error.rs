//! Why a journal took no record or cannot be used, each with what the one who reads it can do.

use std::path::PathBuf;

/// Why the journal took no record, or cannot be used. Nothing leaves unwritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A record was not kept: what it announces must not happen. Make room or allow the writing, then start again.
    #[error("the journal cannot be written: {0}")]
    NotWritten(String),
    /// It is there, or should be, and cannot be read. Nothing may be sent before a human has looked.
    #[error("the journal {} cannot be read: {why}", file.display())]
    NotRead {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        why: String,
    },
    /// What is there is no journal, or not a whole one. It was not changed.
    #[error(
        "the journal {} is damaged or is none: {found}. It was not changed: move it away together with the files beside \
         it that begin with its name, or restore a backup. Without it today's open orders come back as placed elsewhere, and \
         the day's orders are counted from zero: the broker's own count goes on",
        file.display()
    )]
    Corrupt {
        /// Which file.
        file: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// It was made by a newer version, which may have written what this one does not understand. It was not changed.
    #[error("the journal {} was made by a newer nirantar (its format is {format}, this one knows {}): update nirantar. \
             It was not changed", file.display(), super::format::FORMAT)]
    Newer {
        /// Which file.
        file: PathBuf,
        /// The number of its format.
        format: u32,
    },
    /// Another engine writes it. Two engines never share a journal: stop the other one, or give this one its own.
    #[error(
        "the journal {} is in use by another engine: stop that one first, or give this one a journal of its own",
        file.display()
    )]
    InUse {
        /// Which file.
        file: PathBuf,
    },
}
