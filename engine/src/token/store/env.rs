//! The `.env` format: `KEY=value` lines, comments, `export`, quotes.
//!
//! Reads what python-dotenv, docker and a shell agree on: `#` starts a comment at the head of a line or after a blank;
//! single quotes are literal; in double quotes a backslash escapes `"`, `\`, `$` and `` ` ``; a quoted value of somebody
//! else's key may span lines. Writes only the value of an owned key, in the quotes it had where they can hold it.
//!
//! Keys have the names the guides give them: where the main one is absent or empty, a synonym is read.

use std::ops::Range;

use nirantar_brokers::{AccessToken, Secret};

use super::env_lines::{Entry, Quotes, Scan, quote};
use super::expiry::{self, Spelling};
use super::text::{line_end, splice, unfit};
use super::{Change, Flaw, Format, Stored};

/// The keys `<PREFIX>_ACCESS_TOKEN`, `_REFRESH_TOKEN`, `_TOKEN_EXPIRES_AT`, `_USER_ID`, `_API_KEY`, `_API_SECRET`, `_PIN`,
/// `_REDIRECT_URI`, `_SANDBOX` of a `.env` file. Read beside them: `FYERS_APP_ID`, `FYERS_CLIENT_ID` and `UPSTOX_CLIENT_ID`
/// for the API key; `FYERS_SECRET_KEY`, `FYERS_SECRET_ID` and `UPSTOX_CLIENT_SECRET` for the secret; `FYERS_ID` for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFormat {
    prefix: String,
}

impl EnvFormat {
    /// The keys that start with `prefix` and an underscore, e.g. `ZERODHA`.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The main name of a key.
    fn name(&self, key: EnvKey) -> String {
        format!("{}_{}", self.prefix, key.suffix())
    }

    /// Whether it is the name of an owned key, a synonym included.
    fn owns(&self, name: &str) -> bool {
        let Some(suffix) = name.strip_prefix(self.prefix.as_str()).and_then(|rest| rest.strip_prefix('_')) else {
            return false;
        };
        EnvKey::ALL.into_iter().any(|key| suffix == key.suffix() || synonyms(&self.prefix, key).contains(&suffix))
    }

    /// The assignments of owned keys, each name at most once.
    fn entries(&self, text: &str) -> Result<Vec<Entry>, Flaw> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut scan = Scan::new(text);
        while let Some(entry) = scan.next_entry(|name| self.owns(name).then(|| name.to_owned()))? {
            if !self.owns(&entry.name) {
                continue;
            }
            let flaw = |expected| Flaw::Malformed { line: entry.line, key: Some(entry.name.clone()), expected };
            if entries.iter().any(|known| known.name == entry.name) {
                return Err(flaw("the key only once in the file"));
            }
            if entry.value.contains(['\n', '\r']) {
                return Err(flaw("a closing quote on the same line"));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl Format for EnvFormat {
    fn parse(&self, text: &str) -> Result<Stored, Flaw> {
        let entries = self.entries(text)?;
        let value = |name: &str| {
            let entry = entries.iter().find(|entry| entry.name == name)?;
            Some(Secret::new(entry.value.as_str()))
        };
        read(&self.prefix, value).map_err(|bad| {
            let line = entries.iter().find(|entry| entry.name == bad.name).map_or(1, |entry| entry.line);
            Flaw::Malformed { line, key: Some(bad.name), expected: bad.expected }
        })
    }

    fn apply(&self, text: &str, change: &Change) -> Result<String, Flaw> {
        let entries = self.entries(text)?;
        let standing = |key| {
            let name = self.name(key);
            entries.iter().find(|entry| entry.name == name)
        };
        let expires_at = change.expires_at.map(|at| {
            let spelling = standing(EnvKey::ExpiresAt).and_then(|entry| expiry::parse(&entry.value));
            spelling.map_or(Spelling::Ist, |(_, spelling)| spelling).write(at)
        });
        let values = [
            (EnvKey::AccessToken, change.access_token.as_ref().map(AccessToken::expose)),
            (EnvKey::RefreshToken, change.refresh_token.as_ref().map(Secret::expose)),
            (EnvKey::ExpiresAt, expires_at.as_deref()),
        ];

        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut added = Vec::new();
        for (key, value) in values {
            let Some(value) = value else { continue };
            if let Some(reason) = unfit(value) {
                return Err(Flaw::Unfit { key: self.name(key), reason });
            }
            match standing(key) {
                Some(entry) if entry.value == value => {}
                Some(entry) => edits.push((entry.span.clone(), quote(value, entry.quotes))),
                None => added.push(format!("{}={}", self.name(key), quote(value, Quotes::None))),
            }
        }

        let mut out = splice(text, edits);
        let line_end = line_end(text);
        // A file without a final line end stays one.
        let bare_end = !out.is_empty() && !out.ends_with('\n');
        for line in added {
            if bare_end {
                out.extend([line_end, &line]);
            } else {
                out.extend([&line, line_end]);
            }
        }
        Ok(out)
    }

    fn label(&self) -> String {
        self.prefix.clone()
    }
}

/// What an account's keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnvKey {
    /// The access token.
    AccessToken,
    /// The refresh token.
    RefreshToken,
    /// When the access token expires.
    ExpiresAt,
    /// Whose account it is.
    UserId,
    /// The app's key.
    ApiKey,
    /// The app's secret.
    ApiSecret,
    /// What FYERS asks for beside a refresh token.
    Pin,
    /// Where the broker's login page sends the browser.
    RedirectUri,
    /// Whether orders go to paper.
    Sandbox,
}

impl EnvKey {
    const ALL: [Self; 9] = [
        Self::AccessToken,
        Self::RefreshToken,
        Self::ExpiresAt,
        Self::UserId,
        Self::ApiKey,
        Self::ApiSecret,
        Self::Pin,
        Self::RedirectUri,
        Self::Sandbox,
    ];

    const fn suffix(self) -> &'static str {
        match self {
            Self::AccessToken => "ACCESS_TOKEN",
            Self::RefreshToken => "REFRESH_TOKEN",
            Self::ExpiresAt => "TOKEN_EXPIRES_AT",
            Self::UserId => "USER_ID",
            Self::ApiKey => "API_KEY",
            Self::ApiSecret => "API_SECRET",
            Self::Pin => "PIN",
            Self::RedirectUri => "REDIRECT_URI",
            Self::Sandbox => "SANDBOX",
        }
    }
}

/// What the guides of a broker call a key beside its main name. A prefix of the user's own, such as `FYERS_SECOND`, goes
/// with the broker it begins with.
fn synonyms(prefix: &str, key: EnvKey) -> &'static [&'static str] {
    match key {
        EnvKey::ApiKey if prefix.starts_with("FYERS") => &["APP_ID", "CLIENT_ID"],
        EnvKey::ApiSecret if prefix.starts_with("FYERS") => &["SECRET_KEY", "SECRET_ID"],
        // A client id is the app's at FYERS; only one that looks like a person's is taken for that.
        EnvKey::UserId if prefix.starts_with("FYERS") => &["ID", "CLIENT_ID"],
        EnvKey::ApiKey if prefix.starts_with("UPSTOX") => &["CLIENT_ID"],
        EnvKey::ApiSecret if prefix.starts_with("UPSTOX") => &["CLIENT_SECRET"],
        _ => &[],
    }
}

/// The full names of a key, the one that counts first: `FYERS_API_KEY`, `FYERS_APP_ID`, `FYERS_CLIENT_ID`.
fn names(prefix: &str, key: EnvKey) -> impl Iterator<Item = String> {
    let suffixes = std::iter::once(key.suffix()).chain(synonyms(prefix, key).iter().copied());
    suffixes.map(move |suffix| format!("{prefix}_{suffix}"))
}

/// The first value of a key that is not empty, with the name it stands under.
pub(crate) fn find(prefix: &str, key: EnvKey, value: impl Fn(&str) -> Option<Secret>) -> Option<(String, Secret)> {
    names(prefix, key).find_map(|name| {
        let value = value(&name).filter(|value| !value.expose().trim().is_empty())?;
        let personal = is_fyers_person(value.expose());
        let fits = !name.ends_with("_CLIENT_ID")
            || match key {
                EnvKey::UserId => personal,
                _ => !(prefix.starts_with("FYERS") && personal),
            };
        fits.then_some((name, value))
    })
}

/// Whether it looks like a person's id at FYERS (`XA12345`), and not like an app's (`ABCDEFGHIJ-100`).
fn is_fyers_person(text: &str) -> bool {
    let digits = text.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
    let letters = text.len() - digits.len();
    (1..=2).contains(&letters) && (4..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A value that makes no sense, by its key's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadValue {
    /// The key.
    pub(crate) name: String,
    /// What should stand there.
    pub(crate) expected: &'static str,
}

/// What the keys of a prefix say, wherever they stand.
pub(super) fn read(prefix: &str, value: impl Fn(&str) -> Option<Secret>) -> Result<Stored, BadValue> {
    let find = |key| find(prefix, key, &value);
    let secret = |key| find(key).map(|(_, value)| value);
    let plain = |key| secret(key).map(|value| value.expose().to_owned());
    let expires_at = match find(EnvKey::ExpiresAt) {
        None => None,
        Some((name, value)) => match expiry::parse(value.expose()) {
            Some((at, _)) => Some(at),
            None => return Err(BadValue { name, expected: expiry::EXPECTED }),
        },
    };
    Ok(Stored {
        access_token: secret(EnvKey::AccessToken).map(|value| AccessToken::new(value.expose())),
        refresh_token: secret(EnvKey::RefreshToken),
        expires_at,
        user_id: plain(EnvKey::UserId),
        api_key: plain(EnvKey::ApiKey),
        api_secret: secret(EnvKey::ApiSecret),
        pin: secret(EnvKey::Pin),
        redirect_uri: plain(EnvKey::RedirectUri),
        sandbox: sandbox(prefix, &value)?,
        ..Stored::default()
    })
}

/// Whether a prefix' `_SANDBOX` asks for paper.
pub(crate) fn sandbox(prefix: &str, value: impl Fn(&str) -> Option<Secret>) -> Result<bool, BadValue> {
    let Some((name, value)) = find(prefix, EnvKey::Sandbox, value) else { return Ok(false) };
    let is = |words: [&str; 4]| words.iter().any(|word| value.expose().trim().eq_ignore_ascii_case(word));
    if is(["true", "1", "yes", "on"]) {
        return Ok(true);
    }
    // A word nobody knows must not let orders go live.
    if is(["false", "0", "no", "off"]) { Ok(false) } else { Err(BadValue { name, expected: "true or false" }) }
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
