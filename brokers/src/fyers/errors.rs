//! What FYERS' refusals mean: the table of `fyers.md` 1.7 as one function.
//!
//! The code in the body decides, because it is what was recorded; which HTTP status goes with it was not, and a refusal
//! may come under HTTP 200. Of a body without a readable code the status says what it can.
//!
//! What is known of a dead token: it was recorded as -16 on the account's endpoints and as -15 on those of market data;
//! -8 (expired) and -17 (invalid or expired) are documented with those words and were not recorded. All four are taken as
//! conclusive outside the session's own calls and the feed. That one of them is ever said for another reason (an outage
//! of the login service behind -16, "could not authenticate") is not reported, and not ruled out.

use std::time::Duration;

use crate::{Cause, Endpoint, Refusal};

/// An answer that is no success, as far as it could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `code`; `None` if the body could not be read or has none.
    pub code: Option<i64>,
    /// The broker's words.
    pub message: &'a str,
    /// `Retry-After`, if any.
    pub retry_after: Option<Duration>,
}

/// What such an answer of that endpoint means.
#[must_use]
pub fn cause(endpoint: Endpoint, answer: &Answer<'_>) -> Cause {
    if answer.status == 429 || answer.code == Some(-429) {
        return Cause::Throttled { retry_after: answer.retry_after };
    }
    match endpoint {
        Endpoint::Feed => handshake(answer.status),
        Endpoint::Session => of_session(answer),
        _ => answer.code.and_then(|code| by_code(code, answer.status)).unwrap_or_else(|| by_status(answer.status)),
    }
}

/// A refused handshake says 403 for a dead token, and has no body: ask with a probe.
const fn handshake(status: u16) -> Cause {
    match status {
        401 | 403 => Cause::Refused(Refusal::Suspect),
        404 | 405 | 410 => Cause::Rejected,
        _ => Cause::Unknown,
    }
}

/// No token goes with an exchange or a renewal, so a refusal says nothing about the living one.
///
/// -437 is a bad login code and -501 a bad refresh token; the codes of a wrong PIN or hash are not recorded. Whatever
/// the code, a readable no is final: sent again, a wrong PIN could lock the account. A page without a code under 403 is
/// the edge's ban of an IP and no word about the request.
const fn of_session(answer: &Answer<'_>) -> Cause {
    match (answer.code, answer.status) {
        (Some(-352 | -373), _) => Cause::Misconfigured,
        (Some(-437 | -501 | -8 | -14 | -15 | -16 | -17), _) => Cause::Rejected,
        (Some(code), ..500) if code < 0 => Cause::Rejected,
        (_, 401 | 404 | 405 | 410) => Cause::Rejected,
        _ => Cause::Unknown,
    }
}

const fn by_code(code: i64, status: u16) -> Option<Cause> {
    match code {
        -8 | -15 | -16 | -17 => Some(Cause::Refused(Refusal::Conclusive)),
        // A wrong app id, or no right to market data. (-352 also answers an exit with nothing to exit; none is sent.)
        -352 | -373 => Some(Cause::Misconfigured),
        // A fault on the way to the order system may come after the order went through.
        -99 if status >= 500 => Some(Cause::Unknown),
        -50 | -51 | -53 | -99 | -300 | -437 | -501 => Some(Cause::Rejected),
        _ => None,
    }
}

/// 403 is reported for a missing right as well as for a dead token, and 401 is documented for every dead token: without
/// a code both are for a probe to settle.
const fn by_status(status: u16) -> Cause {
    match status {
        401 | 403 => Cause::Refused(Refusal::Suspect),
        404 | 405 | 410 => Cause::Rejected,
        _ => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONCLUSIVE: Cause = Cause::Refused(Refusal::Conclusive);
    const SUSPECT: Cause = Cause::Refused(Refusal::Suspect);
    const THROTTLED: Cause = Cause::Throttled { retry_after: None };
    const ENDPOINTS: [Endpoint; 7] = [
        Endpoint::Session,
        Endpoint::Profile,
        Endpoint::Place,
        Endpoint::OrderBook,
        Endpoint::Quote,
        Endpoint::Margins,
        Endpoint::Feed,
    ];

    fn of(endpoint: Endpoint, status: u16, code: Option<i64>) -> Cause {
        cause(endpoint, &Answer { status, code, ..Answer::default() })
    }

    #[test]
    fn the_table_of_refusals() {
        use Endpoint::{Feed, Margins, Modify, OrderBook, Place, Profile, Quote, Session};
        for (endpoint, status, code, expected) in [
            (Profile, 401, -8, CONCLUSIVE),
            (Profile, 401, -16, CONCLUSIVE),
            (Profile, 200, -16, CONCLUSIVE),
            (Margins, 400, -17, CONCLUSIVE),
            (OrderBook, 500, -16, CONCLUSIVE),
            (Quote, 401, -15, CONCLUSIVE),
            (Place, 401, -16, CONCLUSIVE),
            (Session, 401, -16, Cause::Rejected),
            (Session, 400, -437, Cause::Rejected),
            (Session, 200, -437, Cause::Rejected),
            (Session, 400, -501, Cause::Rejected),
            (Session, 500, -501, Cause::Rejected),
            (Session, 400, -14, Cause::Rejected),
            (Session, 400, -9_999, Cause::Rejected),
            (Session, 500, -9_999, Cause::Unknown),
            (Session, 400, -352, Cause::Misconfigured),
            (Session, 400, -429, THROTTLED),
            (Profile, 400, -352, Cause::Misconfigured),
            (Quote, 403, -373, Cause::Misconfigured),
            (Place, 429, -429, THROTTLED),
            (Place, 200, -429, THROTTLED),
            (Feed, 429, -16, THROTTLED),
            (Feed, 403, -16, SUSPECT),
            (Place, 400, -99, Cause::Rejected),
            (Place, 500, -99, Cause::Unknown),
            (Place, 400, -50, Cause::Rejected),
            (Modify, 400, -51, Cause::Rejected),
            (Quote, 400, -300, Cause::Rejected),
            (Place, 200, 201, Cause::Unknown),
            (Place, 400, -9_999, Cause::Unknown),
        ] {
            assert_eq!(of(endpoint, status, Some(code)), expected, "{endpoint} {status} {code}");
        }
        for (endpoint, status, expected) in [
            (Profile, 401, SUSPECT),
            (Quote, 403, SUSPECT),
            (Place, 403, SUSPECT),
            (Session, 401, Cause::Rejected),
            (Session, 403, Cause::Unknown),
            (Session, 502, Cause::Unknown),
            (Session, 200, Cause::Unknown),
            (Profile, 404, Cause::Rejected),
            (Place, 500, Cause::Unknown),
            (Place, 200, Cause::Unknown),
            (Feed, 502, Cause::Unknown),
            (Feed, 404, Cause::Rejected),
        ] {
            assert_eq!(of(endpoint, status, None), expected, "{endpoint} {status} without a code");
        }
    }

    #[test]
    fn a_wait_the_broker_asks_for_is_passed_on() {
        let wait = Some(Duration::from_secs(3));
        let answer = Answer { status: 429, retry_after: wait, ..Answer::default() };
        assert_eq!(cause(Endpoint::Session, &answer), Cause::Throttled { retry_after: wait });
    }

    proptest! {
        #[test]
        fn only_the_four_codes_of_a_token_are_conclusive_and_never_of_a_session(
            status in any::<u16>(), code in prop::option::of(prop_oneof![-600i64..300, any::<i64>()]), endpoint in 0..ENDPOINTS.len(),
        ) {
            let endpoint = ENDPOINTS[endpoint];
            let found = of(endpoint, status, code);
            if found == CONCLUSIVE {
                prop_assert!(matches!(code, Some(-8 | -15 | -16 | -17)));
            }
            if endpoint == Endpoint::Session {
                prop_assert!(!matches!(found, Cause::Refused(_)), "no token goes with it");
            }
        }

        #[test]
        fn a_session_call_lost_to_a_fault_without_a_known_code_stays_unknown(status in 500u16..600, code in 0i64..300) {
            prop_assert_eq!(of(Endpoint::Session, status, Some(code)), Cause::Unknown);
            prop_assert_eq!(of(Endpoint::Session, status, None), Cause::Unknown);
        }
    }
}
