//! The roots of a broker's services, checked: nothing but scheme, host and port, and never without TLS beyond this
//! machine.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// What a root is for, which decides its schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// `https`, or `http` on loopback.
    Http,
    /// `wss`, or `ws` on loopback.
    WebSocket,
}

impl RootKind {
    /// What such a root looks like, for errors.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Http => {
                "an https:// URL of scheme, host and port only, like \"https://api.kite.trade\" (http:// for a loopback \
                 host only)"
            }
            Self::WebSocket => {
                "a wss:// URL of scheme, host and port only, like \"wss://ws.kite.trade\" (ws:// for a loopback host only)"
            }
        }
    }

    const fn schemes(self) -> (&'static str, &'static str) {
        match self {
            Self::Http => ("https", "http"),
            Self::WebSocket => ("wss", "ws"),
        }
    }
}

/// The root of a service: `https://api.kite.trade`. Written without a slash at its end.
///
/// It holds no path, query or user, so it never holds a secret. An unencrypted scheme means a loopback host.
#[derive(Clone, PartialEq, Eq)]
pub struct RootUrl {
    text: String,
    loopback: bool,
}

impl RootUrl {
    /// Reads a root.
    ///
    /// # Errors
    /// `None` if it is not an absolute URL of the kind's schemes, has more than scheme, host and port (one slash at the
    /// end is taken off), or would send a token unencrypted beyond this machine.
    #[must_use]
    pub fn parse(text: &str, kind: RootKind) -> Option<Self> {
        // `Uri` drops a fragment silently and lets a user pass.
        if text.contains(['#', '?', '@', '\\']) {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let scheme = uri.scheme_str()?;
        let host = authority.host();
        if !matches!(uri.path(), "" | "/") || host.is_empty() {
            return None;
        }
        // A port that is no port is in the authority all the same.
        let beyond_host = authority.as_str().strip_prefix(host)?;
        if !beyond_host.is_empty() {
            beyond_host.strip_prefix(':')?.parse::<u16>().ok().filter(|port| *port != 0)?;
        }
        let loopback = is_loopback(host);
        let (secure, plain) = kind.schemes();
        if scheme != secure && !(scheme == plain && loopback) {
            return None;
        }
        Some(Self { text: format!("{scheme}://{authority}"), loopback })
    }

    /// `https://api.kite.trade`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the host is this machine: `localhost` or a loopback address.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for RootUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RootUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a host, as it stands in a URL, is this machine. By name or by address, never by asking a resolver: what it answers may change between the check and the use.
/// `localhost` must be loopback by RFC 6761 6.3.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn roots_read_and_know_whether_they_stay_on_this_machine() {
        for (text, kind, shown, loopback) in [
            ("https://api.kite.trade", RootKind::Http, "https://api.kite.trade", false),
            ("https://api.kite.trade/", RootKind::Http, "https://api.kite.trade", false),
            ("wss://ws.kite.trade", RootKind::WebSocket, "wss://ws.kite.trade", false),
            ("http://127.0.0.1:8080", RootKind::Http, "http://127.0.0.1:8080", true),
            ("http://127.9.9.9", RootKind::Http, "http://127.9.9.9", true),
            ("http://localhost:1", RootKind::Http, "http://localhost:1", true),
            ("ws://[::1]:9", RootKind::WebSocket, "ws://[::1]:9", true),
            ("https://localhost", RootKind::Http, "https://localhost", true),
        ] {
            let root = RootUrl::parse(text, kind).unwrap_or_else(|| panic!("{text} was refused"));
            assert_eq!((root.as_str(), root.is_loopback()), (shown, loopback), "{text}");
        }
    }

    #[test]
    fn a_token_never_travels_unencrypted_beyond_this_machine() {
        for text in [
            "http://api.kite.trade",
            "http://192.168.1.5:8080",
            "http://0.0.0.0",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://127.0.0.1@evil.example:80",
            "http://evil.example#@127.0.0.1",
            "http://[::2]",
        ] {
            assert_eq!(RootUrl::parse(text, RootKind::Http), None, "{text}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_a_root_is_refused() {
        for text in [
            "",
            "api.kite.trade",
            "/",
            "https://",
            "https:///",
            "https://:80",
            "ftp://127.0.0.1",
            "wss://ws.kite.trade",
            "https://host/path",
            "https://host?key=1",
            "https://host#part",
            "https://user:hunter2@host",
            "https://host:",
            "https://host:0",
            "https://host:65536",
            "https://host:port",
            "https://two hosts",
        ] {
            assert_eq!(RootUrl::parse(text, RootKind::Http), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_what_is_read_reads_again(text in "(https?|wss?)?(://)?.{0,40}") {
            for kind in [RootKind::Http, RootKind::WebSocket] {
                if let Some(root) = RootUrl::parse(&text, kind) {
                    prop_assert_eq!(RootUrl::parse(root.as_str(), kind), Some(root));
                }
            }
        }
    }
}
