//! Who may see how the accounts stand, and who may act on them.
//!
//! Where there is a shared secret, everybody says it: a proxy on this machine need not say that it is one. Where there is
//! none, this machine alone is answered, and a web page in a browser of this machine must get nothing: its name for us is
//! not a loopback one (DNS rebinding), and it cannot add a header of its own without being asked about it first.
//!
//! Login pages need no secret; [`Access::confirms`] says whose "go on" is a human's.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
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
    listen: IpAddr,
    /// The host of the public address.
    public_host: Option<String>,
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
        Self {
            secret: settings.secret.clone(),
            always: reachable || behind_proxy || settings.secret.is_some(),
            listen: settings.listen.ip(),
            public_host: settings.public_url.as_deref().and_then(|url| host_of(url.split_once("://")?.1)),
        }
    }

    /// Whether a request that says "go on" is a human's word, not a link on somebody's web page: a browser says that the
    /// page it comes from is ours or none, and calls us by a name of ours. Where it says nothing of the page (an old
    /// browser, plain HTTP from another machine, a program), the name decides.
    pub(super) fn confirms(&self, headers: &HeaderMap) -> bool {
        let from = headers.get("sec-fetch-site");
        from.is_none_or(|from| from == "same-origin" || from == "none") && self.is_called_by_its_name(headers)
    }

    /// Whether the request calls us by loopback, the address we listen on, or the public one. Whoever rebinds a name of
    /// his own to us does not. The port says nothing: a proxy may leave it out.
    pub(super) fn is_called_by_its_name(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(HOST).and_then(|value| value.to_str().ok());
        let Some(host) = said.and_then(host_of) else { return false };
        // A bare address is nobody's name, so that none can be rebound: where we listen on all of them, any is ours.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let ours = |ip: IpAddr| ip == self.listen || self.listen.is_unspecified() || ip.is_loopback();
        host == "localhost" || self.public_host.as_deref() == Some(&host) || bare.parse().is_ok_and(ours)
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

/// The host of `host:port`, in small letters. Total.
fn host_of(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    (!authority.as_str().contains('@')).then(|| authority.host().to_ascii_lowercase())
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
    fn without_a_secret_this_machine_may_look_and_may_act_with_the_header() {
        let access = access(|settings| settings.secret = None);
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
        let access = access(|settings| settings.secret = None);
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:5000", "0.0.0.0", ""] {
            let with = headers(&[("host", host), ("x-nirantar", "1")]);
            assert_eq!(access.check(here(), &with, false), Err(Denied::WebPage), "{host}");
        }
        assert_eq!(access.check(here(), &headers(&[]), false), Err(Denied::WebPage));
    }

    #[test]
    fn where_there_is_a_secret_it_is_needed_even_through_a_proxy_that_says_nothing_of_itself() {
        let far: SocketAddr = "192.168.1.7:4000".parse().unwrap();
        let plain = access(|_| {});
        let public = access(|settings| settings.public_url = Some("https://desk.example".to_owned()));
        let wide = access(|settings| settings.listen = "0.0.0.0:5000".parse().unwrap());
        let local = [("host", "localhost"), ("x-nirantar", "1")];
        let forwarded = [("host", "localhost"), ("x-forwarded-for", "1.2.3.4")];
        for (access, peer, said) in [
            (&plain, here(), &local),
            (&plain, far, &local),
            (&public, here(), &local),
            (&wide, here(), &local),
            (&plain, here(), &forwarded),
        ] {
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
    fn without_a_secret_nobody_gets_in_through_a_proxy_that_says_it_is_one() {
        let none = access(|settings| settings.secret = None);
        let forwarded = headers(&[("host", "localhost"), ("x-forwarded-for", "1.2.3.4")]);
        assert_eq!(none.check(here(), &forwarded, false), Err(Denied::Secret));
    }

    #[test]
    fn a_local_public_url_asks_for_no_secret_where_there_is_none() {
        let access = access(|settings| {
            (settings.secret, settings.public_url) = (None, Some("http://localhost:8080".to_owned()));
        });
        assert_eq!(access.check(here(), &headers(&[("host", "localhost:8080")]), false), Ok(()));
    }

    #[test]
    fn only_a_page_of_ours_or_a_human_confirms() {
        let access = access(|_| {});
        let host = ("host", "localhost:5000");
        for (from, confirms) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
        {
            assert_eq!(access.confirms(&headers(&[host, ("sec-fetch-site", from)])), confirms, "{from}");
        }
        assert!(access.confirms(&headers(&[host])), "what says nothing of the page calls us by our name");
        assert!(!access.confirms(&headers(&[("host", "evil.example")])), "a rebound name");
        assert!(!access.confirms(&headers(&[("host", "evil.example"), ("sec-fetch-site", "same-origin")])));
    }

    #[test]
    fn our_names_are_loopback_the_address_listened_on_and_the_public_one() {
        let called = |access: &Access, host: &'static str| access.is_called_by_its_name(&headers(&[("host", host)]));
        let plain = access(|_| {});
        let public = access(|settings| settings.public_url = Some("https://Desk.example:8443".to_owned()));
        let lan = access(|settings| settings.listen = "192.168.1.7:5000".parse().unwrap());
        let wide = access(|settings| settings.listen = "0.0.0.0:5000".parse().unwrap());
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert!([&plain, &public, &lan, &wide].into_iter().all(|access| called(access, host)), "{host}");
        }
        for host in ["desk.example", "desk.example:8443", "DESK.example"] {
            assert!(called(&public, host) && !called(&plain, host), "{host}");
        }
        assert!(called(&lan, "192.168.1.7:5000") && called(&wide, "192.168.1.7:5000"));
        assert!(!called(&plain, "192.168.1.7:5000") && !called(&lan, "192.168.1.8:5000"));
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "x@localhost", "", "[::1"] {
            assert!([&plain, &public, &lan, &wide].into_iter().all(|access| !called(access, host)), "{host}");
        }
        assert!(!plain.is_called_by_its_name(&headers(&[])));
    }
}
