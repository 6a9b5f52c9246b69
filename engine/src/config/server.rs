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

impl ServerSettings {
    /// The address where a human logs an account in, as a browser must be sent to it. It holds no secret, and works again
    /// and again. `None` while the port is not known (0 takes a free one).
    #[must_use]
    pub fn login_link(&self, account: &str) -> Option<String> {
        self.login_links(self.listen).map(|links| format!("{links}/{account}"))
    }

    /// The same without the account: the page that lets a human choose one. `listen` is the address that is known.
    pub(crate) fn login_links(&self, listen: SocketAddr) -> Option<String> {
        let root = match &self.public_url {
            Some(url) => url.clone(),
            None if listen.port() == 0 => return None,
            None if listen.ip().is_unspecified() => format!("http://localhost:{}", listen.port()),
            None => format!("http://{listen}"),
        };
        Some(format!("{root}/api/auth/login"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_link_is_one_a_browser_can_open() {
        let link = |listen: &str, public_url: Option<&str>| {
            let (listen, public_url) = (listen.parse().unwrap(), public_url.map(str::to_owned));
            ServerSettings { listen, public_url, ..ServerSettings::default() }.login_link("main")
        };
        let on = |root: &str| Some(format!("{root}/api/auth/login/main"));
        assert_eq!(link("127.0.0.1:5000", None), on("http://127.0.0.1:5000"));
        assert_eq!(link("[::1]:5000", None), on("http://[::1]:5000"));
        assert_eq!(link("0.0.0.0:5000", None), on("http://localhost:5000"));
        assert_eq!(link("127.0.0.1:5000", Some("https://desk.example")), on("https://desk.example"));
        assert_eq!(link("127.0.0.1:0", None), None);
    }
}
