//! `nirantar.toml` and the environment, read once at the start and checked whole.
//!
//! Promises: whatever the bytes, reading ends in a [`Config`] or in one [`ConfigError`] that names file, line and key;
//! a key nobody reads is refused; nothing unencrypted leaves this machine; two accounts never share a token's place, a
//! journal or a halt; no error and no `Debug` shows a secret.
//!
//! ```
//! use std::path::{Path, PathBuf};
//! use nirantar::config::{Config, Outside};
//! use nirantar::token::store::{StoreError, StorePlace, Stored};
//!
//! struct Nothing;
//! impl Outside for Nothing {
//!     fn variable(&self, _: &str) -> Option<String> { None }
//!     fn stored(&self, _: &StorePlace, _: &str) -> Result<Stored, StoreError> { Ok(Stored::default()) }
//!     fn real_path(&self, store: &Path) -> PathBuf { store.to_owned() }
//! }
//!
//! let text = "[[account]]\nname = \"main\"\nbrokr = \"kite\"\n";
//! let error = Config::read(text, Path::new("nirantar.toml"), &Nothing).unwrap_err();
//! assert_eq!(error.to_string(), "nirantar.toml:3: brokr: unknown key, did you mean `broker`?");
//! ```

mod account;
mod alerts;
mod broker;
mod credentials;
mod duration;
mod error;
mod lifecycle;
mod nearest;
mod outside;
mod schedule;
mod server;
mod table;
mod trading;
mod url;
mod warnings;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use crate::engine::OnStop;
pub use account::Account;
pub use alerts::{AlertSettings, TelegramSettings};
pub use broker::BrokerName;
pub use credentials::{Credentials, Outside};
#[cfg(feature = "cli")]
pub(crate) use duration::{EXPECTED_LATENCY, parse_latency};
pub use error::{ConfigError, Problem};
pub use lifecycle::RefreshGrant;
pub use outside::Process;
pub use server::{SHORTEST_SECRET, ServerSettings};
pub use trading::OrderFiles;
pub(crate) use url::is_loopback;
pub use url::{RootKind, RootUrl};

use crate::token::store::StorePlace;
use account::Declared;
use credentials::Findings;
use table::{Source, Table};

/// A configuration that may be used as it stands.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// At least one, in the file's order.
    pub accounts: Vec<Account>,
    /// `[server]`: the login page and the health of `nirantar run`. `None` where the file has no such table.
    pub server: Option<ServerSettings>,
    /// `[alerts]`: who is told when a human is needed, beside the log.
    pub alerts: AlertSettings,
}

impl Config {
    /// Reads a file, with the process' environment and the stores the file names. Blocking: call it at the start.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::read(&text_of(file)?, file, &Process)
    }

    /// Where every account's orders are written and what halts it. It needs no credential and no store: whoever wants to
    /// halt must not have to mend a token first. Blocking.
    ///
    /// # Errors
    /// The first thing that is wrong in the file itself.
    pub fn order_files(file: &Path) -> Result<Vec<OrderFiles>, ConfigError> {
        let text = text_of(file)?;
        let source = Source { file, text: &text };
        let document = parsed(source)?;
        let accounts = declared(source, &Table::new(source, 0, document.get_ref(), &TABLES)?)?;
        trading::refuse_shared_files(file, &accounts, &Process)?;
        Ok(accounts.into_iter().map(|declared| OrderFiles::of(declared.account)).collect())
    }

    /// Reads the text of a file that stands at `file`, with what `outside` says of the rest of the world. Total.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(text: &str, file: &Path, outside: &dyn Outside) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let document = parsed(source)?;
        let root = Table::new(source, 0, document.get_ref(), &TABLES)?;
        let declared = declared(source, &root)?;
        let (server, alerts) = (server::read(&root, outside)?, alerts::read(&root, outside)?);
        refuse_shared_stores(file, &declared, outside)?;
        trading::refuse_shared_files(file, &declared, outside)?;
        let mut accounts = Vec::with_capacity(declared.len());
        for declared in declared {
            let Findings { credentials, warnings, burst } = credentials::find(file, &declared, outside)?;
            let account = declared.account;
            accounts.push(Account {
                redirect_url: account.redirect_url.or_else(|| credentials.redirect_uri.clone()),
                paper_only: account.paper_only || credentials.sandbox,
                credentials,
                warnings,
                orders_per_second: burst.and_then(|burst| u32::try_from(burst).ok()),
                ..account
            });
        }
        Ok(Self { file: file.to_owned(), accounts, server, alerts })
    }
}

/// What may stand at the top of the file.
const TABLES: [&str; 3] = ["account", "server", "alerts"];

fn text_of(file: &Path) -> Result<String, ConfigError> {
    let whole = |line, problem| ConfigError { file: file.to_owned(), line, key: None, problem };
    let bytes = std::fs::read(file).map_err(|error| whole(None, Problem::Unreadable(error.to_string())))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = good.filter(|byte| **byte == b'\n').count() + 1;
        whole(Some(line), Problem::Syntax("it is not UTF-8".to_owned()))
    })
}

fn parsed<'a>(source: Source<'a>) -> Result<Spanned<DeTable<'a>>, ConfigError> {
    DeTable::parse(source.text).map_err(|error| {
        // One line: the parser's own display prints the offending line too, and that may hold a secret.
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        source.error(error.span().map_or(0, |span| span.start), None, Problem::Syntax(message))
    })
}

/// What the file alone says: accounts of different names.
fn declared(source: Source<'_>, root: &Table<'_, '_>) -> Result<Vec<Declared>, ConfigError> {
    const EXPECTED: &str = "[[account]] tables";
    let mut accounts: Vec<Declared> = Vec::new();
    for item in root.tables("account", EXPECTED)? {
        let DeValue::Table(fields) = item.get_ref() else {
            let found = format!("a value of type {}", item.get_ref().type_str());
            return Err(root.invalid_as("account", item.span().start, EXPECTED, found));
        };
        let table = Table::new(source, item.span().start, fields, &account::KEYS)?;
        let folder = source.file.parent().unwrap_or(Path::new(""));
        let declared = account::declared(&table, folder)?;
        if let Some(first) = accounts.iter().find(|other| other.account.name == declared.account.name) {
            let problem = Problem::NameTaken { name: declared.account.name, first: first.line };
            return Err(table.error_at_value("name", problem));
        }
        accounts.push(declared);
    }
    if accounts.is_empty() {
        return Err(ConfigError { file: source.file.to_owned(), line: None, key: None, problem: Problem::NoAccounts });
    }
    Ok(accounts)
}

/// Two accounts that would take each other's token for their own: under one prefix of one place, or in one JSON file.
fn refuse_shared_stores(file: &Path, accounts: &[Declared], outside: &dyn Outside) -> Result<(), ConfigError> {
    let mut seen: Vec<(PathBuf, &StorePlace, &Declared)> = Vec::with_capacity(accounts.len());
    for declared in accounts {
        for place in &declared.account.stores {
            let real = outside.real_path(place.path());
            let shared = seen.iter().find(|(other, other_place, first)| {
                first.line != declared.line
                    && *other == real
                    && other_place.kind() == place.kind()
                    && place.is_shared(&first.account.key_prefix, &declared.account.key_prefix)
            });
            if let Some((_, _, first)) = shared {
                let problem = Problem::StoreShared { first: first.account.name.clone(), line: first.line };
                let key = Some("store".to_owned());
                return Err(ConfigError { file: file.to_owned(), line: Some(declared.line), key, problem });
            }
            seen.push((real, place, declared));
        }
    }
    Ok(())
}
