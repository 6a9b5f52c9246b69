//! Who may see how the accounts stand, and who may act on them.
//!
//! On this machine nobody needs a secret, but a web page in a browser of this machine must get nothing: its name for us
//! is not a loopback one (DNS rebinding), and it cannot add a header of its own without being asked about it first. From
//! anywhere else, and wherever a proxy may stand in front, the shared secret is needed.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use nirantar_brokers::Secret;
use sha2::{Digest as _, Sha256};

use crate::config::{RootKind, RootUrl, ServerSettings};

/// What a program on this machine adds to say that it is no web page: `X-Nirantar: 1`.
pub(super) const HEADER: &str = "x-nirantar";
/// What proxies add.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// A SHA-256 digest.
pub(super) type Digest = [u8; 32];

/// The digest of a text.
pub(super) fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether `said` is the secret, in a time that tells nothing of how much of it is right.
pub(super) fn is(secret: &Secret, said: &str) -> bool {
    let (left, right) = (digest(secret.expose()), digest(said));
    let different = left.iter().zip(&right).fold(0, |different, (left, right)| different | (left ^ right));
    std::hint::black_box(different) == 0
}

/// The rules, for one server.
#[derive(Clone, Debug)]
pub(super) struct Access {
    secret: Option<Secret>,
    /// Whether even this machine has to say the secret.
    always: bool,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The secret is needed: 401.
    Secret,
    /// It comes from this machine, and may be a web page's doing: 403.
    WebPage,
}

impl Denied {
    /// What to do about it.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Secret => "say the shared secret: Authorization: Bearer (the value of NIRANTAR_SERVER_SECRET)",
            Self::WebPage => {
                "ask for it at 127.0.0.1 or localhost, and with the header X-Nirantar: 1 where something is changed: a \
                 web page must not be able to"
            }
        }
    }
}

impl Access {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        let behind_proxy = settings.public_url.as_deref().is_some_and(|url| !is_this_machine(url));
        let reachable = !settings.listen.ip().to_canonical().is_loopback();
        Self { secret: settings.secret.clone(), always: reachable || behind_proxy }
    }

    /// Whether this request may look (`acts` false) or act.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn check(&self, peer: SocketAddr, headers: &HeaderMap, acts: bool) -> Result<(), Denied> {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let said = text(AUTHORIZATION).and_then(|value| {
            let (scheme, secret) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
        });
        if self.secret.as_ref().zip(said).is_some_and(|(secret, said)| is(secret, said)) {
            return Ok(());
        }
        let far = !peer.ip().to_canonical().is_loopback();
        if self.always || far || FORWARDED.iter().any(|name| headers.contains_key(*name)) {
            return Err(Denied::Secret);
        }
        let here = text(HOST).is_some_and(|host| is_this_machine(&format!("http://{host}")));
        if !here || (acts && headers.get(HEADER).is_none_or(|value| value != "1")) {
            return Err(Denied::WebPage);
        }
        Ok(())
    }
}

/// Whether that root can only be this machine.
fn is_this_machine(url: &str) -> bool {
    RootUrl::parse(url, RootKind::Http).is_some_and(|root| root.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const SECRET: &str = "a-secret-of-24-characters";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn access(change: impl FnOnce(&mut ServerSettings)) -> Access {
        let mut settings = ServerSettings { secret: Some(Secret::new(SECRET)), ..ServerSettings::default() };
        change(&mut settings);
        Access::new(&settings)
    }

    fn here() -> SocketAddr {
        "127.0.0.1:4000".parse().unwrap()
    }

    #[test]
    fn this_machine_may_look_and_may_act_with_the_header() {
        let access = access(|_| {});
        for host in ["127.0.0.1:5000", "localhost:5000", "[::1]:5000", "localhost"] {
            assert_eq!(access.check(here(), &headers(&[("host", host)]), false), Ok(()), "{host}");
        }
        let host = ("host", "localhost");
        assert_eq!(access.check(here(), &headers(&[host]), true), Err(Denied::WebPage));
        assert_eq!(access.check(here(), &headers(&[host, ("x-nirantar", "0")]), true), Err(Denied::WebPage));
        assert_eq!(access.check(here(), &headers(&[host, ("x-nirantar", "1")]), true), Ok(()));
    }

    #[test]
    fn a_page_that_rebinds_its_name_to_this_machine_gets_nothing() {
        let access = access(|_| {});
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:5000", "0.0.0.0", ""] {
            let with = headers(&[("host", host), ("x-nirantar", "1")]);
            assert_eq!(access.check(here(), &with, false), Err(Denied::WebPage), "{host}");
        }
        assert_eq!(access.check(here(), &headers(&[]), false), Err(Denied::WebPage));
    }

    #[test]
    fn from_elsewhere_or_through_a_proxy_the_secret_is_needed() {
        let far: SocketAddr = "192.168.1.7:4000".parse().unwrap();
        let plain = access(|_| {});
        let public = access(|settings| settings.public_url = Some("https://desk.example".to_owned()));
        let wide = access(|settings| settings.listen = "0.0.0.0:5000".parse().unwrap());
        let local = [("host", "localhost"), ("x-nirantar", "1")];
        let forwarded = [("host", "localhost"), ("x-forwarded-for", "1.2.3.4")];
        for (access, peer, said) in
            [(&plain, far, &local), (&public, here(), &local), (&wide, here(), &local), (&plain, here(), &forwarded)]
        {
            assert_eq!(access.check(peer, &headers(said), false), Err(Denied::Secret));
            let mut right = headers(said);
            right.insert(AUTHORIZATION, HeaderValue::from_static("Bearer a-secret-of-24-characters"));
            assert_eq!(access.check(peer, &right, true), Ok(()));
            for wrong in ["Bearer a-secret-of-24-character", "Bearer ", "Basic a-secret-of-24-characters", "Bearer"] {
                right.insert(AUTHORIZATION, HeaderValue::from_static(wrong));
                assert_eq!(access.check(peer, &right, true), Err(Denied::Secret), "{wrong}");
            }
        }
    }

    #[test]
    fn without_a_secret_nobody_from_elsewhere_gets_in_and_no_debug_shows_one() {
        let none = access(|settings| {
            settings.secret = None;
            settings.public_url = Some("https://desk.example".to_owned());
        });
        for said in ["Bearer ", "Bearer x"] {
            let with = headers(&[("host", "localhost"), ("authorization", said)]);
            assert_eq!(none.check(here(), &with, false), Err(Denied::Secret));
        }
        assert!(!format!("{:?}", access(|_| {})).contains(SECRET));
    }

    #[test]
    fn a_local_public_url_asks_for_no_secret() {
        let access = access(|settings| settings.public_url = Some("http://localhost:8080".to_owned()));
        assert_eq!(access.check(here(), &headers(&[("host", "localhost:8080")]), false), Ok(()));
    }
}
