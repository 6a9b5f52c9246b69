//! Where an account's credentials come from: the environment first, then its store.

use std::fmt;
use std::path::{Path, PathBuf};

use nirantar_brokers::Secret;
use nirantar_brokers::kite::App;

use super::account::Declared;
use super::error::{ConfigError, Problem};
use super::lifecycle::{EXPECTED_REDIRECT, is_redirect};
use super::warnings;
use crate::token::store::{BadValue, EnvKey, StoreError, StorePlace, Stored, find_variable, sandbox_variable};

/// Whose account it is, and the app's own key. The secret never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The broker's id of the account's owner. A token of anybody else is refused.
    pub user_id: String,
    /// The app's key.
    pub api_key: String,
    /// The app's secret, which logging in and renewing need. `None` where another process brings the token; an approved
    /// app always has one.
    pub api_secret: Option<Secret>,
    /// What FYERS asks for beside a refresh token.
    pub pin: Option<Secret>,
    /// Where the broker's login page sends the browser, if somebody says it.
    pub redirect_uri: Option<String>,
    /// Orders go to paper whatever the token (`<PREFIX>_SANDBOX`). Never chooses a host.
    pub sandbox: bool,
}

impl Credentials {
    /// What stands in an account whose credentials have not been looked for.
    pub(super) const fn blank() -> Self {
        Self {
            user_id: String::new(),
            api_key: String::new(),
            api_secret: None,
            pin: None,
            redirect_uri: None,
            sandbox: false,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user_id", &self.user_id)
            .field("api_key", &nirantar_brokers::Fingerprint::of(&self.api_key))
            .field("api_secret", &self.api_secret)
            // A fingerprint of four digits gives them away.
            .field("pin", &self.pin.as_ref().map(|_| "***"))
            .field("redirect_uri", &self.redirect_uri)
            .field("sandbox", &self.sandbox)
            .finish()
    }
}

/// The world beyond the configuration file: the process' environment and the stores. A test or a fuzzer brings its own.
pub trait Outside {
    /// The value of an environment variable. Unset and not UTF-8 are both `None`; an empty one counts as unset.
    fn variable(&self, name: &str) -> Option<String>;

    /// What a place says under a prefix. A store that does not exist says nothing: it will be made.
    ///
    /// # Errors
    /// The store's own: it is there, but cannot be read or does not follow its format.
    fn stored(&self, place: &StorePlace, key_prefix: &str) -> Result<Stored, StoreError>;

    /// The file a store's path leads to, through links, so that two spellings of one file are seen to be one.
    fn real_path(&self, store: &Path) -> PathBuf;
}

/// What was found of an account beyond its own table.
pub(super) struct Findings {
    pub(super) credentials: Credentials,
    /// See [`Account::warnings`](super::Account::warnings).
    pub(super) warnings: Vec<String>,
    /// The guide's `rate_limit.burst_size`, if a store has one.
    pub(super) burst: Option<u64>,
}

/// Finds an account's credentials: each in the environment, else in the first store that has it.
///
/// # Errors
/// [`Problem::Store`] where the first store cannot be read (of another one that is a warning),
/// [`Problem::CredentialMissing`] for a key that is nowhere, [`Problem::VariableInvalid`] for a variable that makes no
/// sense. All on the line of the account's header.
pub(super) fn find(file: &Path, declared: &Declared, outside: &dyn Outside) -> Result<Findings, ConfigError> {
    let account = &declared.account;
    let prefix = account.key_prefix.as_str();
    let error =
        |key: Option<String>, problem| ConfigError { file: file.to_owned(), line: Some(declared.line), key, problem };
    let mut warnings = Vec::new();
    let mut held: Vec<(&StorePlace, Stored)> = Vec::with_capacity(account.stores.len());
    for (index, place) in account.stores.iter().enumerate() {
        match outside.stored(place, prefix) {
            Ok(stored) => held.push((place, stored)),
            Err(flaw) if index == 0 => {
                let problem = Problem::Store { account: account.name.clone(), reason: flaw.to_string() };
                return Err(error(Some("store".to_owned()), problem));
            }
            Err(flaw) => warnings.push(format!("the fallback store says nothing until it is mended: {flaw}")),
        }
    }
    let value = |name: &str| outside.variable(name).map(Secret::new);
    let variable = |key| find_variable(prefix, key, value).map(|(_, value)| value);
    let plain = |key| variable(key).map(|value| value.expose().to_owned());
    let in_store = |read: fn(&Stored) -> Option<String>| held.iter().find_map(|(_, stored)| read(stored));
    let secret_in_store = |read: fn(&Stored) -> Option<Secret>| held.iter().find_map(|(_, stored)| read(stored));
    let missing = |suffix: &str| {
        let problem = Problem::CredentialMissing { account: account.name.clone(), store: account.store.clone() };
        error(Some(format!("{prefix}_{suffix}")), problem)
    };
    let sandbox = sandbox_variable(prefix, value).map_err(|BadValue { name, expected }| {
        // A misspelt yes must not send live orders.
        error(Some(name), Problem::VariableInvalid { expected })
    })?;

    let user_id = declared
        .user_id
        .clone()
        .or_else(|| plain(EnvKey::UserId))
        .or_else(|| in_store(|stored| stored.user_id.clone()));
    let api_key = plain(EnvKey::ApiKey).or_else(|| in_store(|stored| stored.api_key.clone()));
    let declared_secret = || declared.api_secret.clone();
    let api_secret = variable(EnvKey::ApiSecret)
        .or_else(declared_secret)
        .or_else(|| secret_in_store(|stored| stored.api_secret.clone()));
    if account.app == App::Approved && api_secret.is_none() {
        return Err(missing("API_SECRET"));
    }
    let redirect_uri = plain(EnvKey::RedirectUri).or_else(|| in_store(|stored| stored.redirect_uri.clone()));
    if redirect_uri.as_deref().is_some_and(|url| !is_redirect(url)) {
        let problem = Problem::VariableInvalid { expected: EXPECTED_REDIRECT };
        return Err(error(Some(format!("{prefix}_REDIRECT_URI")), problem));
    }
    let credentials = Credentials {
        api_key: api_key.ok_or_else(|| missing("API_KEY"))?,
        user_id: user_id.ok_or_else(|| missing("USER_ID"))?,
        api_secret,
        pin: variable(EnvKey::Pin).or_else(|| secret_in_store(|stored| stored.pin.clone())),
        redirect_uri,
        // Whoever says paper is believed.
        sandbox: sandbox || held.iter().any(|(_, stored)| stored.sandbox),
    };
    warnings.extend(warnings::of(account, &credentials, &held));
    let burst = held.iter().filter_map(|(_, stored)| stored.burst_size).min();
    Ok(Findings { credentials, warnings, burst })
}
