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
}

/// What a probe learns: the token is accepted, and whose it is. It proves nothing about market data or order rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The broker's id of the user.
    pub user_id: String,
    /// The user's name, as the broker spells it.
    pub user_name: String,
}
