//! Where a feed is: a `wss://` URL, or `ws://` on this machine.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use nirantar_brokers::SocketRequest;

use crate::config::is_loopback;

/// The root of a broker's feed, such as `wss://ws.kite.trade`. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedAddress {
    secure: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    prefix: String,
}

/// Why a text is no feed's address. The text itself is not repeated: a URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFeedAddress {
    /// Not a URL with a host, or one with a query or a user.
    #[error("not a feed address: expected wss://HOST[:PORT][/PATH]")]
    Shape,
    /// The token would cross the network in the clear.
    #[error("ws:// is for this machine only, since it sends the token in the clear: use wss://")]
    Unencrypted,
}

impl FromStr for FeedAddress {
    type Err = BadFeedAddress;

    fn from_str(text: &str) -> Result<Self, BadFeedAddress> {
        let uri: Uri = text.parse().map_err(|_| BadFeedAddress::Shape)?;
        let secure = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(BadFeedAddress::Shape),
        };
        let authority = uri.authority().ok_or(BadFeedAddress::Shape)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(BadFeedAddress::Shape);
        }
        if !secure && !is_loopback(&host) {
            return Err(BadFeedAddress::Unencrypted);
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl FeedAddress {
    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host's name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The whole URL of a socket. Usually holds the token: for the wire only, and `None` if the parts make no URL.
    pub(super) fn url(&self, request: &SocketRequest) -> Option<Uri> {
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query.encode()) };
        format!("{self}{}{query}", request.path).parse().ok()
    }
}

impl fmt::Display for FeedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_crosses_the_network_in_the_clear() {
        for local in ["ws://127.0.0.1:8080", "ws://[::1]:8080", "ws://localhost"] {
            assert!(local.parse::<FeedAddress>().is_ok(), "{local}");
        }
        for far in ["ws://ws.kite.trade", "ws://127.0.0.1.example.com", "ws://10.0.0.1"] {
            assert_eq!(far.parse::<FeedAddress>(), Err(BadFeedAddress::Unencrypted), "{far}");
        }
    }

    #[test]
    fn an_address_prints_as_it_is_dialled() {
        let printed = |text: &str| text.parse::<FeedAddress>().map(|address| address.to_string());
        assert_eq!(printed("wss://ws.kite.trade").as_deref(), Ok("wss://ws.kite.trade:443"));
        assert_eq!(printed("ws://[::1]:90/feed/").as_deref(), Ok("ws://[::1]:90/feed"));
        for bad in ["", "ws.kite.trade", "https://ws.kite.trade", "wss://", "wss://a?b=c", "wss://u:p@host"] {
            assert_eq!(printed(bad), Err(BadFeedAddress::Shape), "{bad}");
        }
    }
}
