//! JSON Web Tokens, as far as an engine may look into one: when it was made and when it dies.
//!
//! Nothing is verified and nothing is proven: only the broker knows whether a token lives. Brokers call their tokens
//! opaque, so a text that is no JWT is nothing special. Total: any text.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::TokenLife;
use crate::time::Timestamp;

/// `iat` and `exp` of a token, where they can be read.
#[must_use]
pub fn life(token: &str) -> TokenLife {
    let Some(Value::Object(claims)) = payload(token) else { return TokenLife::default() };
    // Whole seconds since 1970; some issuers write a fraction.
    let time = |name: &str| {
        let seconds = claims.get(name)?;
        let seconds = seconds.as_i64().or_else(|| seconds.as_f64().map(|seconds| seconds as i64))?;
        (1..=LAST_SECOND).contains(&seconds).then(|| Timestamp::from_unix_seconds(seconds))
    };
    TokenLife { issued_at: time("iat"), expires_at: time("exp") }
}

/// The year 2200: what lies beyond is no expiry but a mistake (milliseconds, most likely).
const LAST_SECOND: i64 = 7_258_118_400;

/// The claims of a token, where it is a JWT.
#[must_use]
pub fn payload(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = if payload.ends_with('=') { URL_SAFE.decode(payload) } else { URL_SAFE_NO_PAD.decode(payload) };
    serde_json::from_slice(&bytes.ok()?).ok()
}

/// A token with those claims, as a simulator hands it out: shaped like HS256, with `signature` where the MAC would stand.
#[must_use]
pub fn token(claims: &Value, signature: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"HS256"}"#);
    format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()), URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_says_when_it_was_made_and_when_it_dies() {
        let token = token(&json!({ "iat": 1_790_000_000, "exp": 1_790_050_000, "sub": "AB1234" }), b"mac");
        let life = life(&token);
        assert_eq!(life.issued_at, Some(Timestamp::from_unix_seconds(1_790_000_000)));
        assert_eq!(life.expires_at, Some(Timestamp::from_unix_seconds(1_790_050_000)));
    }

    #[test]
    fn what_is_no_jwt_says_nothing() {
        for text in ["", "a", "a.b.c", "..", "a.e30.b.c", "32lettersAndDigitsLikeAKiteToken01"] {
            assert_eq!(life(text), TokenLife::default(), "{text}");
        }
        let millis = token(&json!({ "exp": 1_790_050_000_000_i64 }), b"mac");
        assert_eq!(life(&millis), TokenLife::default(), "milliseconds are a mistake, not the year 58000");
    }

    proptest! {
        #[test]
        fn any_text_and_any_claims_are_read_without_a_panic(text in ".{0,80}", exp in any::<f64>(), iat in any::<i64>()) {
            let _ = life(&text);
            let _ = life(&token(&json!({ "exp": exp, "iat": iat }), b"mac"));
        }
    }
}
