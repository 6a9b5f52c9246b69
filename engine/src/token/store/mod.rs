//! Where tokens are kept between processes: files the field already uses.
//!
//! A [`Store`] reads and changes only the keys it owns; comments, order and every other byte are left as they are. A
//! [`Format`] knows how one kind of file spells the keys; [`FileStore`] adds what all files need: a lock, a durable
//! replacement, symlinks, foreign writers. A [`StorePlace`] is what a configuration names: it knows the kind by the name.
//!
//! Promise (rule 10): no error and no `Debug` of this module shows a value from a store.

mod backup;
mod env;
mod env_lines;
mod environment;
mod expiry;
mod file;
mod json;
mod place;
mod text;
mod toml;
#[cfg(feature = "cli")]
mod trial;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{AccessToken, Fingerprint, Secret};

pub use self::toml::TomlFormat;
#[cfg(feature = "cli")]
pub(crate) use backup::backup_of;
pub use env::EnvFormat;
pub(crate) use env::{BadValue, EnvKey, find as find_variable, sandbox as sandbox_variable};
pub use environment::EnvironmentStore;
pub(super) use file::cannot_replace;
pub(crate) use file::folder_of;
pub use file::{FileStore, Followed, beside, follow};
pub use json::JsonFormat;
pub use place::{StoreKind, StorePlace};
#[cfg(feature = "cli")]
pub(crate) use trial::{Trial, owner, plain, trial};

/// The store that is a `.env` file.
pub type EnvStore = FileStore<EnvFormat>;

/// A place that keeps an account's token. Calls block on the file system: briefly, but not on an async thread.
pub trait Store: Send + Sync + fmt::Debug {
    /// What it holds now.
    ///
    /// # Errors
    /// `NotFound`: there is no file yet. `Unreadable`: try again later. `Malformed`: somebody must mend the file.
    fn read(&self) -> Result<Stored, StoreError>;

    /// Changes the keys named by `change`, and nothing else. Durable on return: the bytes are on the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read), but a missing file is made; and `NotWritable`, `ReadOnly`, `Unfit`. The file is then as it was, unless the
    /// disk itself failed.
    fn write(&self, change: &Change) -> Result<Written, StoreError>;

    /// The path as it was configured (possibly a symlink).
    fn path(&self) -> &Path;

    /// Whether it can never be written, wherever it stands.
    fn is_read_only(&self) -> bool {
        false
    }
}

/// What a store holds of one account. A missing and an empty value are the same: `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The access token.
    pub access_token: Option<AccessToken>,
    /// For the next renewal, where the broker has such a thing.
    pub refresh_token: Option<Secret>,
    /// When the writer of the token says it expires.
    pub expires_at: Option<Timestamp>,
    /// Whose token it should be.
    pub user_id: Option<String>,
    /// The API key of the app.
    pub api_key: Option<String>,
    /// The API secret of the app.
    pub api_secret: Option<Secret>,
    /// What FYERS asks for beside a refresh token.
    pub pin: Option<Secret>,
    /// Where the broker's login page sends the browser.
    pub redirect_uri: Option<String>,
    /// Orders go to paper. Never chooses a host.
    pub sandbox: bool,
    /// The host that the Kite guide's `broker-config.json` names. Nothing is sent there for it: see the configuration.
    pub base_url: Option<String>,
    /// Orders a second, as that file has it under `rate_limit.burst_size`.
    pub burst_size: Option<u64>,
}

impl Stored {
    /// What may be printed of the access token.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.access_token.as_ref().map(AccessToken::fingerprint)
    }
}

/// What to write; `None` leaves the key as it is. A new access token should come with its expiry, or the old token's
/// stays beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The new access token.
    pub access_token: Option<AccessToken>,
    /// The new refresh token.
    pub refresh_token: Option<Secret>,
    /// When the new access token expires; whole seconds are kept.
    pub expires_at: Option<Timestamp>,
}

/// How a write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file could not be replaced (a bind mount, a folder that is not writable), so it was overwritten: a reader may
    /// have seen it half done, and a crash could have left it so.
    pub in_place: bool,
    /// Another program changed the file meanwhile; its change was kept and ours applied to it.
    pub merged: bool,
    /// The file did not exist.
    pub created: bool,
    /// Why the refresh token that was replaced could not be kept as a backup; `None` where it was, or none was replaced.
    pub not_backed_up: Option<String>,
    /// What the store holds after the write.
    pub stored: Stored,
}

/// One kind of file: how it spells the keys. Pure, and total over any text.
pub trait Format: Send + Sync + fmt::Debug {
    /// Reads the owned keys.
    ///
    /// # Errors
    /// The first flaw found.
    fn parse(&self, text: &str) -> Result<Stored, Flaw>;

    /// `text` with the keys of `change` set and every other byte kept.
    ///
    /// # Errors
    /// A flaw of `text`, or of a value that this format cannot hold.
    fn apply(&self, text: &str, change: &Change) -> Result<String, Flaw>;

    /// What tells its keys from another account's in the same file, as the prefix of an environment variable.
    fn label(&self) -> String;
}

/// What is wrong in a text. Never holds a value, nor a key that is not one of the store's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The text does not follow the format.
    Malformed {
        /// Counted from 1.
        line: usize,
        /// The store's own key on that line, if it is one.
        key: Option<String>,
        /// What should stand there.
        expected: &'static str,
    },
    /// A value to be written does not fit the format.
    Unfit {
        /// Its key.
        key: String,
        /// Why.
        reason: &'static str,
    },
}

/// Why a store did not answer. Names file, line and key, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such file. No error for whoever waits for one to appear.
    #[error("{}: there is no such file", path.display())]
    NotFound {
        /// The store.
        path: PathBuf,
    },
    /// The file cannot be read now.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The store.
        path: PathBuf,
        /// The system's words, or ours.
        reason: String,
    },
    /// The file does not follow its format; the last good content stays in use.
    #[error("{}:{line}: {}expected {expected}", path.display(), key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
    Malformed {
        /// The store.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The store's own key on that line, if it is one.
        key: Option<String>,
        /// What should stand there.
        expected: &'static str,
        /// Tells one malformed content from the next, so that each is reported once.
        content: Fingerprint,
    },
    /// The file cannot be written now.
    #[error("{}: cannot be written: {reason}", path.display())]
    NotWritable {
        /// The store.
        path: PathBuf,
        /// The system's words, or ours.
        reason: String,
    },
    /// The store is the environment of this process.
    #[error(
        "the environment of this process cannot be changed: a host that injects tokens must restart nirantar, or use a file"
    )]
    ReadOnly,
    /// A value cannot be kept in this kind of file.
    #[error("{}: {key} cannot be written: {reason}", path.display())]
    Unfit {
        /// The store.
        path: PathBuf,
        /// The key.
        key: String,
        /// Why.
        reason: &'static str,
    },
}

impl StoreError {
    fn unreadable(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::NotFound { path: path.to_owned() };
        }
        Self::Unreadable { path: path.to_owned(), reason: error.to_string() }
    }

    fn not_writable(path: &Path, error: &io::Error) -> Self {
        let words = match error.kind() {
            io::ErrorKind::StorageFull => "the disk is full: ",
            io::ErrorKind::QuotaExceeded => "the disk quota is used up: ",
            io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only: ",
            io::ErrorKind::PermissionDenied => "this user may not write there: ",
            _ => "",
        };
        Self::NotWritable { path: path.to_owned(), reason: format!("{words}{error}") }
    }

    fn flaw(path: &Path, content: Fingerprint, flaw: Flaw) -> Self {
        let path = path.to_owned();
        match flaw {
            Flaw::Malformed { line, key, expected } => Self::Malformed { path, line, key, expected, content },
            Flaw::Unfit { key, reason } => Self::Unfit { path, key, reason },
        }
    }
}
