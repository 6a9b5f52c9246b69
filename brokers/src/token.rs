//! Tokens, and what a broker says of the one who holds one.

use crate::time::Timestamp;
use crate::{Fingerprint, Secret};

/// A broker's access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken(Secret);

impl AccessToken {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(Secret::new(token))
    }

    /// The token itself, for the wire and the store only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The token as a secret.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }

    /// What may be printed in its place.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }
}

/// What a login or a renewal yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub user_id: String,
    /// The new access token.
    pub access_token: AccessToken,
    /// For the next renewal, where the broker gives one (Kite: approved platforms only).
    pub refresh_token: Option<Secret>,
    /// When the broker says the token was made.
    pub login_time: Option<Timestamp>,
    /// When the broker says it dies, where it says so beside the token.
    pub expires_at: Option<Timestamp>,
}

/// What a token says of its own life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenLife {
    /// When it was made.
    pub issued_at: Option<Timestamp>,
    /// When it dies at the latest. The broker may end it earlier.
    pub expires_at: Option<Timestamp>,
}

/// A human has been asked, on the phone, to grant a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Approval {
    /// Until when it can be granted, where the broker says.
    pub lapses_at: Option<Timestamp>,
}

/// Why a redirect brings no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirect {
    /// The broker says that the login did not succeed, or the human cancelled it.
    #[error("the broker says that the login did not succeed{}", said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default())]
    Refused {
        /// The broker's words, shortened; none of its parameters that could be a secret.
        said: Option<String>,
    },
    /// There is no code in it.
    #[error("the address has no `{expected}` in it: it is not the one the broker sent the browser to after a login")]
    NoCode {
        /// The name of the broker's parameter.
        expected: &'static str,
    },
}

/// Why bytes posted to the notifier are no notice of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNotice {
    /// This broker posts nothing.
    #[error("this broker sends no tokens to a notifier")]
    NotSupported,
    /// It does not follow the format.
    #[error("it is no notice of a token: {0}")]
    Malformed(&'static str),
    /// It is for another app.
    #[error("it is for another app: its client_id is not this account's API key")]
    OtherApp,
}

/// What a probe learns: the token is accepted, and whose it is. It proves nothing about market data or order rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The broker's id of the user.
    pub user_id: String,
    /// The user's name, as the broker spells it.
    pub user_name: String,
}
