//! Where an account's credentials come from: the environment first, then its store.

use std::fmt;
use std::path::{Path, PathBuf};

use nirantar_brokers::Secret;
use nirantar_brokers::kite::App;

use super::account::Declared;
use super::error::{ConfigError, Problem};
use super::lifecycle::{EXPECTED_REDIRECT, is_redirect};
use crate::token::store::{StoreError, Stored};

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
    /// The PIN that FYERS asks for beside a refresh token, from `<PREFIX>_PIN`.
    pub pin: Option<Secret>,
}

/// What the environment and the store say of an account.
pub(super) struct Found {
    pub(super) credentials: Credentials,
    /// `<PREFIX>_REDIRECT_URI`.
    pub(super) redirect_url: Option<String>,
    /// `<PREFIX>_SANDBOX`.
    pub(super) sandbox: bool,
}

impl Credentials {
    /// What stands in an account whose credentials have not been looked for.
    pub(super) const fn blank() -> Self {
        Self { user_id: String::new(), api_key: String::new(), api_secret: None, pin: None }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user_id", &self.user_id)
            .field("api_key", &nirantar_brokers::Fingerprint::of(&self.api_key))
            .field("api_secret", &self.api_secret)
            .field("pin", &self.pin)
            .finish()
    }
}

/// The world beyond the configuration file: the process' environment and the stores. A test or a fuzzer brings its own.
pub trait Outside {
    /// The value of an environment variable. Unset and not UTF-8 are both `None`; an empty one counts as unset.
    fn variable(&self, name: &str) -> Option<String>;

    /// What a store says under a prefix. A store that does not exist says nothing: it will be made.
    ///
    /// # Errors
    /// The store's own: it is there, but cannot be read or does not follow its format.
    fn stored(&self, store: &Path, key_prefix: &str) -> Result<Stored, StoreError>;

    /// The file a store's path leads to, through links, so that two spellings of one file are seen to be one.
    fn real_path(&self, store: &Path) -> PathBuf;
}

/// Finds an account's credentials.
///
/// # Errors
/// [`Problem::Store`] for a store that cannot be read, [`Problem::CredentialMissing`] for a key that is nowhere,
/// [`Problem::VariableInvalid`] for a variable that makes no sense. All on the line of the account's header.
pub(super) fn find(file: &Path, declared: &Declared, outside: &dyn Outside) -> Result<Found, ConfigError> {
    let account = &declared.account;
    let error =
        |key: Option<String>, problem| ConfigError { file: file.to_owned(), line: Some(declared.line), key, problem };
    let stored = outside.stored(&account.store, &account.key_prefix).map_err(|flaw| {
        let problem = Problem::Store { account: account.name.clone(), reason: flaw.to_string() };
        error(Some("store".to_owned()), problem)
    })?;
    let name = |suffix: &str| format!("{}_{suffix}", account.key_prefix);
    let variable = |suffix: &str| outside.variable(&name(suffix)).filter(|value| !value.trim().is_empty());
    let missing = |suffix: &str| {
        let problem = Problem::CredentialMissing { account: account.name.clone(), store: account.store.clone() };
        error(Some(name(suffix)), problem)
    };

    let user_id = declared.user_id.clone().or_else(|| variable("USER_ID")).or(stored.user_id);
    let api_key = variable("API_KEY").or(stored.api_key);
    let api_secret = variable("API_SECRET").map(Secret::new).or(stored.api_secret);
    if account.app == App::Approved && api_secret.is_none() {
        return Err(missing("API_SECRET"));
    }
    let redirect_url = variable("REDIRECT_URI");
    if redirect_url.as_deref().is_some_and(|url| !is_redirect(url)) {
        let problem = Problem::VariableInvalid { expected: EXPECTED_REDIRECT };
        return Err(error(Some(name("REDIRECT_URI")), problem));
    }
    let sandbox = match variable("SANDBOX").map(|text| yes_or_no(&text)) {
        None => false,
        Some(Some(yes)) => yes,
        // A misspelt yes must not send live orders.
        Some(None) => return Err(error(Some(name("SANDBOX")), Problem::VariableInvalid { expected: "true or false" })),
    };
    Ok(Found {
        credentials: Credentials {
            api_key: api_key.ok_or_else(|| missing("API_KEY"))?,
            user_id: user_id.ok_or_else(|| missing("USER_ID"))?,
            api_secret,
            pin: variable("PIN").map(Secret::new),
        },
        redirect_url,
        sandbox,
    })
}

/// What people write for yes and no in an environment.
fn yes_or_no(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}
