//! What a running `nirantar run` says of itself, where the configuration says that it has a server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::config::ServerSettings;

/// It is on this machine: what does not answer within this will not.
const PATIENCE: Duration = Duration::from_secs(2);
/// Far more than an answer about all accounts takes.
const MOST_BYTES: usize = 1 << 20;

/// What was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// Of each account, where it stands, in words.
    Says(BTreeMap<String, String>),
    /// Nothing; why.
    Silent(String),
}

impl Running {
    /// What it says of an account.
    pub(crate) fn of(&self, account: &str) -> Option<&str> {
        match self {
            Self::Says(accounts) => accounts.get(account).map(String::as_str),
            Self::Silent(_) => None,
        }
    }
}

/// Asks the server.
pub(crate) async fn ask(server: &ServerSettings) -> Running {
    match health(server).await {
        Ok(body) => Running::Says(read(&body)),
        Err(why) => Running::Silent(why),
    }
}

async fn health(server: &ServerSettings) -> Result<Vec<u8>, String> {
    let words = |error: reqwest::Error| {
        let error = error.without_url();
        if error.is_connect() {
            "nothing listens there: `nirantar run` is not running".to_owned()
        } else {
            error.to_string()
        }
    };
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(words)?;
    let mut request = client.get(format!("http://{}/api/system/health", here(server.listen)));
    if let Some(secret) = &server.secret {
        request = request.header("authorization", format!("Bearer {}", secret.expose()));
    }
    let mut response = request.send().await.map_err(words)?;
    // 503 says that trading should be possible and is not: the words are in the body all the same.
    if !matches!(response.status().as_u16(), 200 | 503) {
        return Err(format!("it answered with status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(words)? {
        if body.len() + bytes.len() > MOST_BYTES {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// Who listens on every address is found on loopback.
pub(crate) const fn here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Total: what makes no sense is left out.
fn read(body: &[u8]) -> BTreeMap<String, String> {
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else { return BTreeMap::new() };
    let accounts = answer.get("accounts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    accounts
        .iter()
        .filter_map(|account| {
            let text = |key: &str| account.get(key).and_then(Value::as_str);
            let name = text("account")?.to_owned();
            let (state, venue, feed) = (text("state")?, text("venue")?, text("feed")?);
            let mut words = format!("{state}, orders {venue}, feed {feed}");
            if let Some(error) =
                account.get("last_error").and_then(|error| error.get("message")).and_then(Value::as_str)
            {
                words.push_str(&format!("; what went wrong last: {error}"));
            }
            // A line of ours stays a line.
            Some((name, words.replace(char::is_control, " ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_engine_says_becomes_a_line_and_nonsense_becomes_nothing() {
        let body = br#"{"ok":false,"accounts":[{"account":"main","state":"Fallback","venue":"paper","feed":"closed",
            "last_error":{"at":"x","message":"the token died\n"}},{"account":7},3]}"#;
        let said = read(body);
        assert_eq!(said.len(), 1);
        assert_eq!(said["main"], "Fallback, orders paper, feed closed; what went wrong last: the token died ");
        for body in [&b""[..], b"[]", b"{\"accounts\":{}}", b"\xff"] {
            assert_eq!(read(body).len(), 0);
        }
    }

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        assert_eq!(here("0.0.0.0:5000".parse().unwrap()).to_string(), "127.0.0.1:5000");
        assert_eq!(here("[::]:5000".parse().unwrap()).to_string(), "[::1]:5000");
        assert_eq!(here("127.0.0.2:5000".parse().unwrap()).to_string(), "127.0.0.2:5000");
    }
}
