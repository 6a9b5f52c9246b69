//! `[server]`: where the login page, the callbacks and the health of a running `nirantar` are.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use nirantar_brokers::Secret;

/// The login and approval server of `nirantar run`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it listens. On this machine only, unless `beyond_loopback`.
    pub listen: SocketAddr,
    /// What a browser has to be sent to, where that is not `http://LISTEN`: the address of a proxy, say. No slash at the
    /// end.
    pub public_url: Option<String>,
    /// Whether it may listen where other machines reach it. Then `secret` must be there.
    pub beyond_loopback: bool,
    /// What status and operator routes ask for (`Authorization: Bearer …`), from `NIRANTAR_SERVER_SECRET`. Without one
    /// they answer on loopback only.
    pub secret: Option<Secret>,
    /// The unguessable last part of the notifier's path, from `NIRANTAR_NOTIFIER_PATH`. Without one there is no notifier.
    pub notifier: Option<Secret>,
}

impl Default for ServerSettings {
    /// On `127.0.0.1:5000`, for browsers of this machine.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            public_url: None,
            beyond_loopback: false,
            secret: None,
            notifier: None,
        }
    }
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings")
            .field("listen", &self.listen)
            .field("public_url", &self.public_url)
            .field("beyond_loopback", &self.beyond_loopback)
            .field("secret", &self.secret)
            .field("notifier", &self.notifier)
            .finish()
    }
}
