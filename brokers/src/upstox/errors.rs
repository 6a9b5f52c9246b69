//! What Upstox' refusals mean: the table of `upstox.md` 3 as one function.
//!
//! The same number means different things at different endpoints (`UDAPI1023`, `UDAPI100057`), the HTTP status of most
//! codes is not known, and the loudest of them lies: **`UDAPI100050` ("invalid token") is no proof of a dead token**.
//! Order paths have said it of a token 74 seconds old while reads went on (`upstox.md` 13, trap 1). So it is suspect
//! everywhere but at the probe: that is open at every hour, asks for no static IP, no order rights and no funds, and
//! carries nothing but the token, so nothing else can be wrong with it.
//!
//! A page instead of the JSON envelope comes from Cloudflare, in front of the broker. It banning this client or its
//! address is for the operator to mend, like a wrong IP; whatever else it says proves nothing.

use std::time::Duration;

use crate::{Cause, Endpoint, Refusal};

/// An answer that is no success, as far as it could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// What stood in the body.
    pub said: Said<'a>,
    /// `Retry-After`, if any. Upstox documents none.
    pub retry_after: Option<Duration>,
}

/// What stood in the body of such an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The broker's own envelope, with its code; empty if it named none.
    Code(&'a str),
    /// Anything else: a page, nothing, half an envelope.
    Page(&'a str),
}

impl Default for Said<'_> {
    fn default() -> Self {
        Self::Page("")
    }
}

/// What such an answer of that endpoint means.
#[must_use]
pub fn cause(endpoint: Endpoint, answer: &Answer<'_>) -> Cause {
    if answer.status == 429 || answer.said == Said::Code("UDAPI10005") {
        return Cause::Throttled { retry_after: answer.retry_after };
    }
    // Whatever the words: a server that failed may have acted before it did.
    if answer.status >= 500 {
        return Cause::Unknown;
    }
    if endpoint == Endpoint::Feed {
        return handshake(answer.status);
    }
    match answer.said {
        Said::Code(code) => by_code(endpoint, answer.status, code),
        Said::Page(page) => by_page(endpoint, answer, page),
    }
}

/// A refused handshake says 401 or 403 of a dead token, of one connection too many and of a missing plan alike: ask
/// with a probe (`upstox.md` 13, trap 5).
const fn handshake(status: u16) -> Cause {
    match status {
        401 | 403 => Cause::Refused(Refusal::Suspect),
        404 | 405 | 410 => Cause::Rejected,
        _ => Cause::Unknown,
    }
}

fn by_code(endpoint: Endpoint, status: u16, code: &str) -> Cause {
    match code {
        // An invalid token; credentials that are invalid, of which the probe carries none but the token; a token of the
        // read-only kind, which the probe refuses for ever.
        "UDAPI100050" | "UDAPI100016" | "UDAPI100067" => refused(endpoint, Refusal::Conclusive),
        // Funds and orders are closed at night, IST: says nothing about the token, nor about anything else.
        "UDAPI100072" | "UDAPI100074" => Cause::Unknown,
        _ if status == 423 => Cause::Unknown,
        // The static IP, the algorithm's name, the IP's set-up, the class of the account, an account to reactivate.
        "UDAPI1154" | "UDAPI1156" | "UDAPI1179" | "UDAPI1180" | "UDAPI1181" | "UDAPI100049" | "UDAPI100058" => {
            Cause::Misconfigured
        }
        // The broker's own no to a code, a secret, a redirect URI or a grant: says nothing about the living token.
        _ if endpoint == Endpoint::Session && (400..500).contains(&status) => Cause::Rejected,
        "UDAPI100057" | "UDAPI100068" | "UDAPI100069" | "UDAPI100073" if endpoint == Endpoint::Session => {
            Cause::Rejected
        }
        // The app's key is bad or inactive.
        "UDAPI100068" | "UDAPI100069" | "UDAPI100073" => Cause::Misconfigured,
        "UDAPI100500" => Cause::Unknown,
        _ if is_validation(code) => Cause::Rejected,
        _ => by_status(endpoint, status),
    }
}

/// Codes that name what is wrong with the request itself: those of four digits without exception, and some longer ones.
fn is_validation(code: &str) -> bool {
    const LONGER: [&str; 13] = [
        "UDAPI10000",
        "UDAPI100010",
        "UDAPI100011",
        "UDAPI100015",
        "UDAPI100036",
        "UDAPI100038",
        "UDAPI100039",
        "UDAPI100040",
        "UDAPI100041",
        "UDAPI100042",
        "UDAPI100057",
        "UDAPI100059",
        "UDAPI100060",
    ];
    let short = |digits: &str| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    LONGER.contains(&code) || code.strip_prefix("UDAPI").is_some_and(short)
}

/// The broker's envelope with a code nobody knows, or none.
const fn by_status(endpoint: Endpoint, status: u16) -> Cause {
    match status {
        401 | 403 => refused(endpoint, Refusal::Suspect),
        404 | 405 | 406 | 410 | 422 => Cause::Rejected,
        _ => Cause::Unknown,
    }
}

/// A refusal for the token's sake, conclusive at the probe alone. No token goes with most requests of a session, and a
/// logout that is refused has nothing left to end.
const fn refused(endpoint: Endpoint, at_the_probe: Refusal) -> Cause {
    match endpoint {
        Endpoint::Session => Cause::Rejected,
        Endpoint::Profile => Cause::Refused(at_the_probe),
        _ => Cause::Refused(Refusal::Suspect),
    }
}

fn by_page(endpoint: Endpoint, answer: &Answer<'_>, page: &str) -> Cause {
    match (answer.status, cloudflare(page)) {
        // Too many, in Cloudflare's own way.
        (403, Some(1015)) => Cause::Throttled { retry_after: answer.retry_after },
        // This client, its country or its address is banned, before the broker saw the request.
        (403, Some(1005..=1012 | 1020)) => Cause::Misconfigured,
        // Without the broker's words a 401 proves nothing; the code of a login may be spent.
        (401, _) if !matches!(endpoint, Endpoint::Session) => Cause::Refused(Refusal::Suspect),
        // A challenge, or somebody else's page.
        _ => Cause::Unknown,
    }
}

/// The number in Cloudflare's `error code: 1010` or `Error 1010`.
fn cloudflare(page: &str) -> Option<u32> {
    let page = page.to_ascii_lowercase();
    page.match_indices("error").find_map(|(at, word)| {
        let rest = page.get(at.checked_add(word.len())?..)?;
        let rest = rest.trim_start();
        let rest = rest.strip_prefix("code").unwrap_or(rest).trim_start_matches([':', ' ']);
        let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
        (digits.len() == 4).then(|| digits.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONCLUSIVE: Cause = Cause::Refused(Refusal::Conclusive);
    const SUSPECT: Cause = Cause::Refused(Refusal::Suspect);
    const THROTTLED: Cause = Cause::Throttled { retry_after: None };
    const ENDPOINTS: [Endpoint; 15] = [
        Endpoint::Session,
        Endpoint::Profile,
        Endpoint::Place,
        Endpoint::Modify,
        Endpoint::Cancel,
        Endpoint::OrderBook,
        Endpoint::OrderHistory,
        Endpoint::Trades,
        Endpoint::Positions,
        Endpoint::Holdings,
        Endpoint::Margins,
        Endpoint::Quote,
        Endpoint::Instruments,
        Endpoint::Historical,
        Endpoint::Feed,
    ];

    fn of(endpoint: Endpoint, status: u16, said: Said<'_>) -> Cause {
        cause(endpoint, &Answer { status, said, retry_after: None })
    }

    #[test]
    fn the_table_of_refusals() {
        use Cause::{Misconfigured, Rejected, Unknown};
        use Endpoint::{Margins, OrderBook, Place, Profile, Session};
        for (endpoint, status, code, expected) in [
            (Profile, 401, "UDAPI100050", CONCLUSIVE),
            (Place, 401, "UDAPI100050", SUSPECT),
            (OrderBook, 401, "UDAPI100050", SUSPECT),
            (Margins, 401, "UDAPI100050", SUSPECT),
            (Session, 401, "UDAPI100050", Rejected),
            (Profile, 403, "UDAPI100067", CONCLUSIVE),
            (Place, 403, "UDAPI100067", SUSPECT),
            (Profile, 401, "UDAPI100016", CONCLUSIVE),
            (OrderBook, 401, "UDAPI100016", SUSPECT),
            (Session, 401, "UDAPI100016", Rejected),
            (Session, 401, "UDAPI100057", Rejected),
            (Session, 400, "UDAPI100069", Rejected),
            (Session, 400, "UDAPI100068", Rejected),
            (Session, 403, "UDAPI100073", Rejected),
            (Session, 400, "UDAPI1023", Rejected),
            (Session, 400, "UDAPI999999", Rejected),
            (Session, 400, "", Rejected),
            (Session, 200, "UDAPI100057", Rejected),
            (Session, 400, "UDAPI100058", Misconfigured),
            (Place, 400, "UDAPI100057", Rejected),
            (OrderBook, 400, "UDAPI1023", Rejected),
            (Place, 403, "UDAPI100073", Misconfigured),
            (Margins, 423, "UDAPI100072", Unknown),
            (Place, 423, "UDAPI100074", Unknown),
            (Place, 400, "UDAPI100074", Unknown),
            (Session, 423, "UDAPI100072", Unknown),
            (Profile, 423, "", Unknown),
            (Profile, 429, "UDAPI10005", THROTTLED),
            (Place, 400, "UDAPI10005", THROTTLED),
            (Session, 429, "", THROTTLED),
            (Place, 403, "UDAPI1154", Misconfigured),
            (Place, 400, "UDAPI1156", Misconfigured),
            (Place, 400, "UDAPI1179", Misconfigured),
            (Place, 400, "UDAPI1180", Misconfigured),
            (Place, 400, "UDAPI1181", Misconfigured),
            (Place, 400, "UDAPI100049", Misconfigured),
            (Place, 400, "UDAPI1158", Rejected),
            (Place, 400, "UDAPI1052", Rejected),
            (OrderBook, 400, "UDAPI100010", Rejected),
            (Place, 404, "UDAPI100060", Rejected),
            (Place, 400, "UDAPI999999", Unknown),
            (Place, 400, "", Unknown),
            (Place, 200, "", Unknown),
            (Place, 500, "UDAPI100500", Unknown),
            (Place, 400, "UDAPI100500", Unknown),
            (Place, 500, "UDAPI1052", Unknown),
            (Profile, 500, "UDAPI100050", Unknown),
            (Profile, 403, "UDAPI999999", SUSPECT),
            (Profile, 401, "", SUSPECT),
            (Place, 405, "", Rejected),
        ] {
            assert_eq!(of(endpoint, status, Said::Code(code)), expected, "{endpoint} {status} {code}");
        }
    }

    #[test]
    fn a_page_is_cloudflares_and_only_its_ban_is_for_the_operator() {
        use Endpoint::{Place, Profile, Session};
        let banned = "<html><title>Access denied | api.upstox.com</title> Error code: 1010 </html>";
        let (short, limited) = ("error code: 1010", "<h1>Error 1015</h1> You are being rate limited");
        let challenge = "<html><title>Just a moment...</title></html>";
        for (endpoint, status, page, expected) in [
            (Profile, 403, banned, Cause::Misconfigured),
            (Session, 403, short, Cause::Misconfigured),
            (Place, 403, "Error 1020", Cause::Misconfigured),
            (Place, 403, limited, THROTTLED),
            (Place, 429, limited, THROTTLED),
            (Profile, 403, challenge, Cause::Unknown),
            (Profile, 403, "", Cause::Unknown),
            (Profile, 401, challenge, SUSPECT),
            (Session, 401, challenge, Cause::Unknown),
            (Place, 502, banned, Cause::Unknown),
            (Place, 200, banned, Cause::Unknown),
            (Place, 404, "", Cause::Unknown),
        ] {
            assert_eq!(of(endpoint, status, Said::Page(page)), expected, "{endpoint} {status} {page}");
        }
    }

    #[test]
    fn a_refused_handshake_never_proves_a_dead_token() {
        for said in [Said::Code("UDAPI100050"), Said::Page(""), Said::Code("")] {
            for status in [401, 403] {
                assert_eq!(of(Endpoint::Feed, status, said), SUSPECT);
            }
        }
        assert_eq!(of(Endpoint::Feed, 503, Said::Page("")), Cause::Unknown);
    }

    #[test]
    fn a_wait_the_broker_asks_for_is_passed_on() {
        let wait = Some(Duration::from_secs(3));
        let answer = Answer { status: 429, retry_after: wait, ..Answer::default() };
        assert_eq!(cause(Endpoint::Quote, &answer), Cause::Throttled { retry_after: wait });
    }

    proptest! {
        #[test]
        fn nothing_but_the_probes_own_answer_is_conclusive(
            status in prop_oneof![any::<u16>(), 400_u16..430],
            code in prop_oneof![Just("UDAPI100050".to_owned()), "UDAPI1000(16|67|72|57)", "UDAPI[0-9]{4,6}", ".{0,12}"],
            page: bool,
        ) {
            for endpoint in ENDPOINTS {
                let said = if page { Said::Page(&code) } else { Said::Code(&code) };
                let found = of(endpoint, status, said);
                let known = matches!(code.as_str(), "UDAPI100050" | "UDAPI100016" | "UDAPI100067");
                let sure = endpoint == Endpoint::Profile && known && !page && status < 500 && status != 429;
                prop_assert_eq!(found == CONCLUSIVE, sure, "{} {} {}", endpoint, status, code);
                if endpoint == Endpoint::Session {
                    prop_assert!(!matches!(found, Cause::Refused(_)), "no token goes with a session's request");
                }
            }
        }

        #[test]
        fn an_order_lost_to_a_server_fault_stays_unknown(status in 500_u16..600, code in "UDAPI1[0-9]{3}") {
            prop_assert_eq!(of(Endpoint::Place, status, Said::Code(&code)), Cause::Unknown);
        }

        #[test]
        fn any_page_is_read_without_a_panic(page in "(error|Error|code|:| |é|1010|[0-9]|.){0,12}") {
            let _ = of(Endpoint::Profile, 403, Said::Page(&page));
        }
    }
}
