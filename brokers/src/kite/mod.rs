//! Zerodha Kite Connect v3: everything peculiar to this broker, from `kite.md`.
//!
//! * [`Kite`] is the broker: it encodes calls and decodes answers and frames.
//! * [`facts`](facts()) is what it declares about itself.
//! * [`errors`] says what each refusal means.
//! * [`wire`] holds the shapes of the wire, which the paper exchange's server writes with.
//!
//! Promises: every order carries its tag, every market order its protection; no answer of any bytes panics; an answer
//! that does not clearly say what became of an order is unknown.

mod auth;
pub mod errors;
mod facts;
mod feed;
mod market_data;
mod orders;
mod reply;
pub mod wire;

#[cfg(test)]
mod fixtures;

use std::fmt;
use std::sync::Arc;

pub use facts::{App, facts};

use crate::{Broker, BrokerFacts, Endpoint, Fingerprint, Form, HttpRequest, Method, Secret, Trading};

/// Where REST requests go.
pub const REST_ROOT: &str = "https://api.kite.trade";
/// Where the feed is.
pub const FEED_ROOT: &str = "wss://ws.kite.trade";
/// Where humans log in.
pub const LOGIN_ROOT: &str = "https://kite.zerodha.com";

/// Kite Connect for one app and account.
#[derive(Clone)]
pub struct Kite {
    api_key: String,
    api_secret: Option<Secret>,
    login_root: String,
    facts: BrokerFacts,
}

impl Kite {
    /// Kite for the app of that key. Without the secret no login can be exchanged here: tokens must come from another
    /// process.
    #[must_use]
    pub fn new(app: App, api_key: impl Into<String>, api_secret: Option<Secret>) -> Self {
        Self {
            api_key: api_key.into(),
            api_secret: api_secret.filter(|secret| !secret.is_empty()),
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

impl fmt::Debug for Kite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kite")
            .field("api_key", &Fingerprint::of(&self.api_key))
            .field("api_secret", &self.api_secret)
            .field("login_root", &self.login_root)
            .finish_non_exhaustive()
    }
}

impl Broker for Kite {
    fn facts(&self) -> &BrokerFacts {
        &self.facts
    }

    fn trading(&self) -> Option<Arc<dyn Trading>> {
        Some(Arc::new(self.clone()))
    }
}

/// The header that goes with every request.
fn version_header() -> Vec<(&'static str, String)> {
    vec![("X-Kite-Version", "3".to_owned())]
}

/// A request with the version header and no authorization.
fn request(endpoint: Endpoint, method: Method, path: impl Into<String>) -> HttpRequest {
    HttpRequest { headers: version_header(), ..HttpRequest::new(endpoint, method, path) }
}

/// A read under the token.
fn get(endpoint: Endpoint, path: impl Into<String>, query: Form) -> HttpRequest {
    HttpRequest { query, authorized: true, ..request(endpoint, Method::Get, path) }
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
