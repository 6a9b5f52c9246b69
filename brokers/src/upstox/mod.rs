//! Upstox API v2/v3, as far as its sessions go: everything peculiar to this broker, from `upstox.md`.
//!
//! * [`Upstox`] is the broker: it encodes session calls and decodes their answers and the notices of the notifier.
//! * [`facts`](facts()) is what it declares about itself.
//! * [`errors`] says what each refusal means.
//! * [`wire`] holds the shapes of the wire, which the simulator writes with.
//!
//! Promises: no answer and no notice of any bytes panics; nothing but the probe's answer ever proves a token dead; no
//! order can go to it ([`Broker::trading`] is `None`).

mod auth;
pub mod errors;
mod facts;
mod reply;
pub mod wire;

use std::fmt;
use std::sync::Arc;

pub use facts::{App, facts};

use crate::{Broker, BrokerFacts, Endpoint, Fingerprint, HttpRequest, Method, Secret, Trading};

/// Where REST requests go, except writes of orders (`upstox.md` 1).
pub const REST_ROOT: &str = "https://api.upstox.com";
/// Where humans log in.
pub const LOGIN_ROOT: &str = "https://api.upstox.com";

/// Upstox for one app and account.
#[derive(Clone)]
pub struct Upstox {
    api_key: String,
    secret: Option<Secret>,
    redirect_uri: String,
    login_root: String,
    facts: BrokerFacts,
}

impl Upstox {
    /// Upstox for the app of that key (its `client_id`). `redirect_uri` must be the registered one, letter by letter.
    /// Without the secret no login can be exchanged and no approval asked for here: tokens must come from another
    /// process, or from the notifier after an approval that somebody else asked for.
    #[must_use]
    pub fn new(app: App, api_key: impl Into<String>, secret: Option<Secret>, redirect_uri: impl Into<String>) -> Self {
        Self {
            api_key: api_key.into(),
            secret: secret.filter(|secret| !secret.is_empty()),
            redirect_uri: redirect_uri.into(),
            login_root: LOGIN_ROOT.to_owned(),
            facts: facts(app),
        }
    }

    /// The same with another origin for the login page, such as a simulator's. No slash at the end.
    #[must_use]
    pub fn with_login_root(mut self, root: impl Into<String>) -> Self {
        self.login_root = root.into();
        self
    }

    /// The app's public key.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.api_key
    }
}

impl fmt::Debug for Upstox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstox")
            .field("api_key", &Fingerprint::of(&self.api_key))
            .field("secret", &self.secret)
            .field("redirect_uri", &self.redirect_uri)
            .field("login_root", &self.login_root)
            .finish_non_exhaustive()
    }
}

impl Broker for Upstox {
    fn facts(&self) -> &BrokerFacts {
        &self.facts
    }

    fn trading(&self) -> Option<Arc<dyn Trading>> {
        None
    }
}

/// A request with the header that every call carries, and no authorization.
fn request(endpoint: Endpoint, method: Method, path: impl Into<String>) -> HttpRequest {
    let headers = vec![("Accept", "application/json".to_owned())];
    HttpRequest { headers, ..HttpRequest::new(endpoint, method, path) }
}

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
