//! What the doctor looked at, as values: what [`super::look`] fills in and [`super::judge`] reads. No value is a secret.

use std::path::PathBuf;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerFacts, TokenLife};

use crate::cli::orders::story::Counts;
use crate::cli::token::probe::Standing;
use crate::config::{BrokerName, ServerSettings};

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When it was looked at.
    pub(super) now: Timestamp,
    /// Of each account, in the file's order.
    pub(super) accounts: Vec<AccountFacts>,
    /// The login server, where there is one.
    pub(super) server: Option<ServerFacts>,
    /// Where alerts go, beside the log.
    pub(super) alerts: AlertFacts,
    /// Secrets that stand where they should not.
    pub(super) spilt: Vec<Spilt>,
}

/// One account.
#[derive(Clone, Debug)]
pub(super) struct AccountFacts {
    pub(super) name: String,
    pub(super) broker: BrokerName,
    pub(super) declared: BrokerFacts,
    /// What its keys start with.
    pub(super) prefix: String,
    /// What reading its configuration warned of.
    pub(super) warnings: Vec<String>,
    pub(super) stores: Vec<StoreFacts>,
    /// Whether its broker is a simulator on this machine.
    pub(super) loopback: bool,
    pub(super) rest: Reach,
    pub(super) feed: Reach,
    pub(super) login: Reach,
    /// The token in the store, if there is one.
    pub(super) token: Option<TokenFacts>,
    /// What the broker says of it.
    pub(super) standing: Standing,
    /// The refresh token in the store, if there is one, and what it says of its own life.
    pub(super) refresh: Option<TokenLife>,
    /// Whether the account counts on the refresh token.
    pub(super) refresh_works: bool,
    pub(super) redirect_url: Option<String>,
    pub(super) has_secret: bool,
    pub(super) has_pin: bool,
    pub(super) approval: bool,
    /// The external command, and why it cannot be run, if it cannot.
    pub(super) command: Option<(PathBuf, Option<String>)>,
    pub(super) paper_only: bool,
    /// What becomes of its orders; `None` at a broker of which only the sessions are kept.
    pub(super) orders: Option<OrderFacts>,
}

/// Where an account's orders are written, and what stops or bounds them.
#[derive(Clone, Debug)]
pub(super) struct OrderFacts {
    /// The journal, as it is configured.
    pub(super) journal: String,
    /// What it holds; `None` where it is not there yet. An error says why it cannot be used, and what to do.
    pub(super) held: Result<Option<Counts>, String>,
    /// Why it cannot be written, if it cannot.
    pub(super) unwritable: Option<String>,
    /// What the halt file says, where it is there.
    pub(super) halted: Option<String>,
    /// The halt file cannot be written, and why.
    pub(super) halt_unwritable: Option<String>,
    /// Whether anything at all is bounded.
    pub(super) bounded: bool,
}

/// One place where a token is kept.
#[derive(Clone, Debug)]
pub(super) struct StoreFacts {
    /// As it is configured.
    pub(super) place: String,
    /// Whether it is no file: this process' environment.
    pub(super) environment: bool,
    pub(super) exists: bool,
    /// Why it cannot be read, in the store's own words.
    pub(super) unreadable: Option<String>,
    /// Why a new token cannot be written there.
    pub(super) unwritable: Option<String>,
    /// Whether the file can be overwritten but not replaced.
    pub(super) in_place: bool,
    /// Permission bits, where the system has them.
    pub(super) mode: Option<u32>,
    /// Whether it belongs to another user than the one who looks.
    pub(super) foreign: bool,
    /// Whether git would publish it.
    pub(super) in_git: bool,
    /// The refresh token before the one in use, kept beside it; `None` where none is and none will be.
    pub(super) backup: Option<BackupFacts>,
}

/// Where a store's last refresh token is kept, or will be.
#[derive(Clone, Debug)]
pub(super) struct BackupFacts {
    pub(super) place: String,
    /// Permission bits, where the file is there and the system has them.
    pub(super) mode: Option<u32>,
    /// Whether git would publish it.
    pub(super) in_git: bool,
}

/// Whether a host answers.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) url: String,
    /// By how many milliseconds this machine's clock is ahead of the host's, where it says the time; or why there was no
    /// answer.
    pub(super) answer: Result<Option<i64>, String>,
}

/// A token, without the token.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenFacts {
    pub(super) is_jwt: bool,
    /// Whether a header can carry it.
    pub(super) fits_header: bool,
    /// Whether there is a space or a quotation mark in it, as careless pasting leaves.
    pub(super) has_junk: bool,
    /// What it says of its own life.
    pub(super) life: TokenLife,
}

/// The login server.
#[derive(Clone, Debug)]
pub(super) struct ServerFacts {
    pub(super) settings: ServerSettings,
    /// What is on its port.
    pub(super) port: Port,
}

/// What is on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Nobody: it can be listened on.
    Free,
    /// A running nirantar.
    Ours,
    /// Another program.
    Taken,
    /// It cannot be listened on.
    Refused(String),
}

/// Where alerts go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AlertFacts {
    pub(super) telegram: bool,
    pub(super) webhook: bool,
    /// A bot's token is in the environment, and no chat is in the file.
    pub(super) token_without_chat: bool,
}

/// A secret that stands where it should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spilt {
    /// In the configuration file, at that line.
    Configuration { account: String, what: &'static str, file: PathBuf, line: usize },
    /// As `api_secret` in the configuration file, which is allowed: then that file is a secret. Whether others can read
    /// it, or git would publish it.
    AsConfigured { account: String, file: PathBuf, open: bool, in_git: bool },
    /// Among the arguments of the external command.
    Command { account: String, what: &'static str },
    /// In the store, and another value of the same name in the environment, which is the one that is used.
    TwoValues { account: String, name: String, place: String },
}
