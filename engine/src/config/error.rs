//! What can be wrong with a configuration: one error, naming file, line and key, and what was expected there.
//! No variant holds the value of a secret.

use std::fmt;
use std::path::PathBuf;

/// Why a configuration was refused. `Display` is one line: `nirantar.toml:12: hold: expected …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file at fault: the configuration itself, or the store it names.
    pub file: PathBuf,
    /// The line, from 1. `None` when the whole file is at fault.
    pub line: Option<usize>,
    /// The key, without its table: `hold`.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// What is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read: mend its path or its permissions.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is not TOML.
    #[error("is not TOML: {0}")]
    Syntax(String),
    /// Nobody reads this key. A misspelt key must not silently leave a default standing.
    #[error("unknown key, {hint}")]
    UnknownKey {
        /// The nearest known key, or what to do instead.
        hint: String,
    },
    /// The key must be there.
    #[error("missing, expected {0}")]
    Missing(String),
    /// The value is not of the kind that stands here.
    #[error("expected {expected}, found {found}")]
    Invalid {
        /// What may stand here, with an example.
        expected: String,
        /// What stands there. Only its kind where it might hold a secret.
        found: String,
    },
    /// The key means nothing at this broker.
    #[error("means nothing at {broker}: {instead}")]
    NotAtBroker {
        /// The account's broker.
        broker: &'static str,
        /// What says it there, or why nothing does.
        instead: &'static str,
    },
    /// Another machine could reach the server, and nobody said that it may.
    #[error(
        "{listen} can be reached by other machines: listen on 127.0.0.1, or say beyond_loopback = true and set NIRANTAR_SERVER_SECRET"
    )]
    BeyondLoopback {
        /// Where it would listen.
        listen: std::net::SocketAddr,
    },
    /// An environment variable must be there. Secrets stand in no file of ours.
    #[error("this environment variable is not set: {why}")]
    VariableMissing {
        /// What needs it.
        why: &'static str,
    },
    /// An environment variable is not what it must be. Its value is never shown.
    #[error("this environment variable does not hold {expected}")]
    VariableInvalid {
        /// What must stand there.
        expected: &'static str,
    },
    /// No `[[account]]` at all.
    #[error("no account: expected at least one [[account]] table")]
    NoAccounts,
    /// Two accounts of one name.
    #[error("`{name}` is the name of the account at line {first} already: names must differ")]
    NameTaken {
        /// The name.
        name: String,
        /// Line of the account that has it.
        first: usize,
    },
    /// Two accounts would write each other's token.
    #[error(
        "the account `{first}` at line {line} keeps its token in the same store under the same key_prefix: give each its \
         own `store` or `key_prefix` (a JSON file holds one account)"
    )]
    StoreShared {
        /// Name of the account that has it.
        first: String,
        /// Its line.
        line: usize,
    },
    /// Two files of ours would be one: each would destroy the other.
    #[error("{} is already {owner}: give each a file of its own", file.display())]
    FileTaken {
        /// The file.
        file: PathBuf,
        /// What it is: `the journal of the account main at line 1`.
        owner: String,
    },
    /// A credential is neither in the environment nor in the store.
    #[error(
        "the account `{account}` needs it: not in the store {store} and not in the environment variable of that name"
    )]
    CredentialMissing {
        /// Name of the account.
        account: String,
        /// The store that was looked at.
        store: PathBuf,
    },
    /// The store exists but cannot be used. The text is the store's own, which names file, line and key.
    #[error("the account `{account}` cannot use its store: {reason}")]
    Store {
        /// Name of the account.
        account: String,
        /// What the store says.
        reason: String,
    },
}
