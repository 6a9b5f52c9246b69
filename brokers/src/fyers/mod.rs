//! FYERS API v3, as far as its sessions go: everything peculiar to this broker, from `fyers.md` 0, 1 and 3.
//!
//! * [`Fyers`] is the broker: it encodes the calls of a session and decodes their answers.
//! * [`facts`](facts()) is what it declares about itself.
//! * [`errors`] says what each refusal means.
//!
//! Promises: no answer of any bytes panics; a refusal under HTTP 200 is a refusal; a lost or unreadable answer to an
//! exchange or a renewal is unknown, never a failure. Orders and the feed are not spoken: [`Broker::trading`] is `None`.

mod auth;
pub mod errors;
mod facts;
mod reply;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use auth::app_id_hash;
pub use facts::{App, facts};

use crate::{Broker, BrokerFacts, Endpoint, Fingerprint, HttpRequest, Method, Secret, Trading};

/// Where REST requests go, and where humans log in. Despite its name this is production: there is no public sandbox.
pub const REST_ROOT: &str = "https://api-t1.fyers.in";
/// What every path of a session starts with.
pub const API: &str = "/api/v3";

/// FYERS for one app and account.
#[derive(Clone)]
pub struct Fyers {
    client_id: String,
    secret: Option<Secret>,
    pin: Option<Secret>,
    redirect_uri: String,
    login_root: String,
    facts: BrokerFacts,
}

impl Fyers {
    /// FYERS for the app `client_id` (with its suffix: `ABCDE12345-100`).
    ///
    /// Without the app's `secret` no login can be exchanged and no token renewed; without the user's `pin` no token can
    /// be renewed. `redirect_uri` is the address registered with the app; a login comes back to it.
    #[must_use]
    pub fn new(
        app: App,
        client_id: impl Into<String>,
        secret: Option<Secret>,
        pin: Option<Secret>,
        redirect_uri: impl Into<String>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            secret: secret.filter(|secret| !secret.is_empty()),
            pin: pin.filter(|pin| !pin.is_empty()),
            redirect_uri: redirect_uri.into(),
            login_root: REST_ROOT.to_owned(),
            facts: facts(app),
        }
    }

    /// The same with another origin for the login page, such as a simulator's. No slash at the end.
    #[must_use]
    pub fn with_login_root(mut self, root: impl Into<String>) -> Self {
        self.login_root = root.into();
        self
    }

    /// The app's id, with its suffix.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }
}

impl fmt::Debug for Fyers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fyers")
            .field("client_id", &Fingerprint::of(&self.client_id))
            .field("secret", &self.secret)
            .field("pin", &self.pin.as_ref().map(|_| "set"))
            .field("login_root", &self.login_root)
            .finish_non_exhaustive()
    }
}

impl Broker for Fyers {
    fn facts(&self) -> &BrokerFacts {
        &self.facts
    }

    /// Sessions only.
    fn trading(&self) -> Option<Arc<dyn Trading>> {
        None
    }
}

/// A request without authorization. The official Python SDK sends the version with every call.
fn request(endpoint: Endpoint, method: Method, path: &str) -> HttpRequest {
    HttpRequest {
        headers: vec![("version", "3".to_owned())],
        ..HttpRequest::new(endpoint, method, format!("{API}{path}"))
    }
}
