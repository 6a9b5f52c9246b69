//! `[server]`: where the login page, the callbacks and the health of a running `nirantar` are.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use nirantar_brokers::Secret;

use super::credentials::Outside;
use super::error::{ConfigError, Problem};
use super::table::Table;
use super::url::{RootKind, RootUrl};

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

/// Shortest secret of the server, and notifier path, that nobody guesses; in characters.
pub const SHORTEST_SECRET: usize = 16;
/// What a secret of the server must be. Long enough that nobody tries them all, and safe in a header and in a path.
const EXPECTED_SECRET: &str = "at least 16 characters of A-Z, a-z, 0-9, - and _";

/// Reads `[server]`. `None` where there is none.
pub(super) fn read(root: &Table<'_, '_>, outside: &dyn Outside) -> Result<Option<ServerSettings>, ConfigError> {
    const KEYS: [&str; 3] = ["listen", "public_url", "beyond_loopback"];
    const SECRETS: &str =
        "secrets stand in the environment, never here: NIRANTAR_SERVER_SECRET and NIRANTAR_NOTIFIER_PATH";
    let Some(table) = root.table("server", &KEYS, SECRETS)? else { return Ok(None) };
    let usual = ServerSettings::default();
    let listen = table.parsed("listen", "an address and a port, like \"127.0.0.1:5000\"", |text| text.parse().ok())?;
    let listen: SocketAddr = listen.unwrap_or(usual.listen);
    let beyond_loopback = table.boolean("beyond_loopback")?.unwrap_or_default();
    if !beyond_loopback && !listen.ip().is_loopback() {
        return Err(table.error_at_value("listen", Problem::BeyondLoopback { listen }));
    }
    let secret = secret(&table, "NIRANTAR_SERVER_SECRET", outside)?;
    if beyond_loopback && secret.is_none() {
        let why = "beyond_loopback = true lets other machines ask, and they must show this secret";
        return Err(table.error("NIRANTAR_SERVER_SECRET", Problem::VariableMissing { why }));
    }
    let public_url = table.text("public_url", EXPECTED_PUBLIC)?.map(|text| {
        let url = RootUrl::parse(text.value, RootKind::Http).map(|url| url.as_str().to_owned());
        url.ok_or_else(|| table.invalid_as("public_url", text.offset, EXPECTED_PUBLIC, "something else"))
    });
    let notifier = self::secret(&table, "NIRANTAR_NOTIFIER_PATH", outside)?;
    Ok(Some(ServerSettings { listen, public_url: public_url.transpose()?, beyond_loopback, secret, notifier }))
}

const EXPECTED_PUBLIC: &str = "an https:// URL of scheme, host and port only, like \"https://trade.example.in\" (http:// \
                               for a loopback host only)";

fn secret(table: &Table<'_, '_>, name: &str, outside: &dyn Outside) -> Result<Option<Secret>, ConfigError> {
    let Some(text) = outside.variable(name).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let safe = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !safe || text.len() < SHORTEST_SECRET {
        return Err(table.error(name, Problem::VariableInvalid { expected: EXPECTED_SECRET }));
    }
    Ok(Some(Secret::new(text)))
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
