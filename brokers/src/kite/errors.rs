//! What Kite's refusals mean: the table of `kite.md` 1.7 as one function.
//!
//! The HTTP code alone says little: a 403 is a dead token, a plan without data or a wrong IP. So the code, the class
//! (`error_type`) and sometimes the words decide together, and whatever stays open is [`Cause::Unknown`].
//!
//! In the hours of the daily flush (05:00 to 07:30) Kite may say `PermissionException` of a token that is dying. That
//! depends on the time of day, which a codec does not know: here it is always [`Cause::Misconfigured`], and the
//! engine's core turns it into a suspect refusal inside the cut-off band.

use std::time::Duration;

use crate::{Cause, Endpoint, Refusal};

/// An answer that is no success, as far as it could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `error_type`; `None` if the body could not be read or names none.
    pub error_type: Option<&'a str>,
    /// The broker's words.
    pub message: &'a str,
    /// `Retry-After`, if any. Kite documents none.
    pub retry_after: Option<Duration>,
}

/// What such an answer of that endpoint means.
#[must_use]
pub fn cause(endpoint: Endpoint, answer: &Answer<'_>) -> Cause {
    if answer.status == 429 || answer.message.contains("Too many requests") {
        return Cause::Throttled { retry_after: answer.retry_after };
    }
    if endpoint == Endpoint::Feed {
        return handshake(answer.status);
    }
    by_words(answer.message).unwrap_or_else(|| by_type(endpoint, answer))
}

/// A refused handshake says 403 for a dead token and for a plan without market data alike: ask with a probe.
const fn handshake(status: u16) -> Cause {
    match status {
        401 | 403 => Cause::Refused(Refusal::Suspect),
        404 | 405 | 410 => Cause::Rejected,
        _ => Cause::Unknown,
    }
}

/// Messages that say more than the class they come under.
fn by_words(message: &str) -> Option<Cause> {
    let wrong_ip = message.contains("No IPs configured")
        || (message.contains("IP") && message.contains("not allowed to place orders"))
        || (message.starts_with("IP ") && message.contains("not allowed"));
    if wrong_ip {
        // Reported as PermissionException and as GeneralException.
        Some(Cause::Misconfigured)
    } else if message.contains("Order request timed out") {
        Some(Cause::Unknown)
    } else if message.contains("Maximum allowed order modifications exceeded") {
        // Comes as a NetworkException, of all things.
        Some(Cause::Rejected)
    } else {
        None
    }
}

fn by_type(endpoint: Endpoint, answer: &Answer<'_>) -> Cause {
    let server_fault = answer.status >= 500;
    match answer.error_type {
        // A wrong checksum or a used request token: says nothing about the living token.
        Some("TokenException") if endpoint == Endpoint::Session => Cause::Rejected,
        Some("TokenException") => Cause::Refused(Refusal::Conclusive),
        Some("PermissionException" | "PermissionError" | "UserException") => Cause::Misconfigured,
        Some("InputException" | "MarginException" | "HoldingException") => Cause::Rejected,
        // A fault on the way to the order system may come after the order went through.
        Some("OrderException") if server_fault => Cause::Unknown,
        Some("OrderException") => Cause::Rejected,
        _ => by_status(endpoint, answer),
    }
}

/// `NetworkException`, `DataException`, `GeneralException`, classes nobody knows, and bodies nobody can read.
fn by_status(endpoint: Endpoint, answer: &Answer<'_>) -> Cause {
    let unclassified = !matches!(answer.error_type, Some("NetworkException" | "DataException" | "GeneralException"));
    match answer.status {
        // No such path or order; or the depository wants an authorisation first.
        404 | 405 | 410 | 428 => Cause::Rejected,
        // No token goes with a request to /session/*.
        401 | 403 if unclassified && endpoint == Endpoint::Session => Cause::Rejected,
        401 | 403 if unclassified => Cause::Refused(Refusal::Suspect),
        _ => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONCLUSIVE: Cause = Cause::Refused(Refusal::Conclusive);
    const SUSPECT: Cause = Cause::Refused(Refusal::Suspect);
    const THROTTLED: Cause = Cause::Throttled { retry_after: None };

    fn of(endpoint: Endpoint, status: u16, error_type: &str, message: &str) -> Cause {
        let error_type = (!error_type.is_empty()).then_some(error_type);
        cause(endpoint, &Answer { status, error_type, message, retry_after: None })
    }

    #[test]
    fn the_table_of_refusals() {
        use Endpoint::{Historical, OrderHistory, Place, Profile, Quote, Session};
        let protection = "Market orders without market protection are not allowed via API.";
        let timed_out = "Order request timed out. Please check the order book and confirm before placing again.";
        let no_ip = "No IPs configured for this app. Add allowed IPs on the Kite developer console.";
        let bad_ip = "IP (203.0.113.7) is not allowed to place orders for this app.";
        let modifications = "Maximum allowed order modifications exceeded.";
        for (endpoint, status, error_type, message, expected) in [
            (Profile, 403, "TokenException", "Incorrect `api_key` or `access_token`.", CONCLUSIVE),
            (Place, 403, "TokenException", "Incorrect `api_key` or `access_token`.", CONCLUSIVE),
            (Place, 200, "TokenException", "", CONCLUSIVE),
            (Session, 403, "TokenException", "Invalid `checksum`.", Cause::Rejected),
            (Session, 403, "TokenException", "Token is invalid or has expired.", Cause::Rejected),
            (Session, 403, "", "<html>", Cause::Rejected),
            (Quote, 403, "PermissionException", "Insufficient permission for that call.", Cause::Misconfigured),
            (Quote, 403, "PermissionError", "", Cause::Misconfigured),
            (Place, 403, "PermissionException", no_ip, Cause::Misconfigured),
            (Place, 403, "PermissionException", bad_ip, Cause::Misconfigured),
            (Place, 500, "GeneralException", bad_ip, Cause::Misconfigured),
            (Place, 400, "GeneralException", no_ip, Cause::Misconfigured),
            (Profile, 403, "UserException", "", Cause::Misconfigured),
            (Profile, 403, "TwoFAException", "", SUSPECT),
            (Place, 400, "InputException", protection, Cause::Rejected),
            (Historical, 400, "InputException", "interval exceeds max limit: 60 days", Cause::Rejected),
            (Place, 400, "OrderException", "", Cause::Rejected),
            (Place, 500, "OrderException", "", Cause::Unknown),
            (Place, 502, "OrderException", "", Cause::Unknown),
            (Place, 400, "MarginException", "Insufficient funds.", Cause::Rejected),
            (Place, 400, "HoldingException", "", Cause::Rejected),
            (Place, 503, "NetworkException", "", Cause::Unknown),
            (Place, 429, "NetworkException", "Too many requests", THROTTLED),
            (Place, 503, "NetworkException", "Too many requests", THROTTLED),
            (Quote, 429, "", "", THROTTLED),
            (Endpoint::Modify, 400, "NetworkException", modifications, Cause::Rejected),
            (Place, 502, "DataException", "", Cause::Unknown),
            (Place, 500, "GeneralException", "", Cause::Unknown),
            (Place, 400, "GeneralException", "", Cause::Unknown),
            (Place, 503, "", "<html>", Cause::Unknown),
            (Place, 504, "", "", Cause::Unknown),
            (Place, 200, "", "garbage", Cause::Unknown),
            (Place, 302, "", "", Cause::Unknown),
            (Place, 400, "", "", Cause::Unknown),
            (Place, 400, "NovelException", "", Cause::Unknown),
            (Place, 428, "", "", Cause::Rejected),
            (OrderHistory, 404, "GeneralException", "Couldn't find that `order_id`.", Cause::Rejected),
            (Place, 405, "", "", Cause::Rejected),
            (Place, 410, "", "", Cause::Rejected),
            (Profile, 403, "", "", SUSPECT),
            (Profile, 403, "NovelException", "", SUSPECT),
            (Profile, 401, "", "", SUSPECT),
        ]
        .into_iter()
        .chain([400, 403, 500, 502, 504].map(|status| (Place, status, "OrderException", timed_out, Cause::Unknown)))
        {
            let found = of(endpoint, status, error_type, message);
            assert_eq!(found, expected, "{endpoint} {status} {error_type} {message}");
        }
    }

    #[test]
    fn a_refused_handshake_never_proves_a_dead_token() {
        for error_type in ["", "TokenException", "PermissionException"] {
            for status in [401, 403] {
                assert_eq!(of(Endpoint::Feed, status, error_type, "Authentication failed."), SUSPECT);
            }
        }
        assert_eq!(of(Endpoint::Feed, 503, "", ""), Cause::Unknown);
        assert_eq!(of(Endpoint::Feed, 429, "", ""), THROTTLED);
    }

    #[test]
    fn a_wait_the_broker_asks_for_is_passed_on() {
        let wait = Some(Duration::from_secs(3));
        let answer = Answer { status: 429, retry_after: wait, ..Answer::default() };
        assert_eq!(cause(Endpoint::Quote, &answer), Cause::Throttled { retry_after: wait });
    }

    proptest! {
        #[test]
        fn only_a_token_exception_is_conclusive(status in any::<u16>(), error_type in "[A-Za-z]{0,12}", message in ".{0,40}") {
            for endpoint in [Endpoint::Place, Endpoint::Profile, Endpoint::Session, Endpoint::Feed, Endpoint::Quote] {
                prop_assert_ne!(of(endpoint, status, &error_type, &message), CONCLUSIVE);
            }
        }

        #[test]
        fn an_order_lost_to_a_server_fault_stays_unknown(status in 500u16..600, kind in 0usize..5) {
            let kind = ["", "OrderException", "NetworkException", "DataException", "GeneralException"][kind];
            prop_assert_eq!(of(Endpoint::Place, status, kind, "Gateway"), Cause::Unknown);
        }
    }
}
