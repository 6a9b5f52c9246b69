//! The shapes of Upstox' wire, written by the simulator and read by the client: one definition (`upstox.md` 2 and 3).
//!
//! What holds a secret shows a fingerprint in `Debug`. Reading insists only on what means something to us, since live
//! answers leave documented fields out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Secret;
use crate::time::Timestamp;

/// The `Content-Type` of every JSON answer.
pub const JSON: &str = "application/json";

/// Whose account it is and what it may trade: the profile, and the first part of a token answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Upstox' own, described in upstox.md 2.1")]
pub struct Profile {
    #[serde(default, deserialize_with = "lenient")]
    pub email: String,
    #[serde(default, deserialize_with = "lenient")]
    pub exchanges: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub products: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub broker: String,
    pub user_id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub user_name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub order_types: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub user_type: String,
    #[serde(default, deserialize_with = "lenient")]
    pub poa: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub is_active: bool,
}

impl Profile {
    /// The profile of an individual with a full account.
    #[must_use]
    pub fn individual(user_id: &str, user_name: &str) -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            email: String::new(),
            exchanges: words(&["NSE", "NFO", "CDS", "BSE", "BFO", "BCD", "MCX"]),
            products: words(&["D", "I", "CO", "MTF"]),
            broker: "UPSTOX".to_owned(),
            user_id: user_id.to_owned(),
            user_name: user_name.to_owned(),
            order_types: words(&["MARKET", "LIMIT", "SL", "SL-M"]),
            user_type: "individual".to_owned(),
            poa: false,
            is_active: true,
        }
    }
}

/// The answer of the token endpoint: flat, in no envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Upstox' own, described in upstox.md 2.1")]
pub struct Token {
    #[serde(flatten)]
    pub profile: Profile,
    #[serde(with = "secret")]
    pub access_token: Secret,
    /// Lives a year and reads a little; no order can be placed with it.
    #[serde(default, with = "optional_secret", skip_serializing_if = "Option::is_none")]
    pub extended_token: Option<Secret>,
    /// In no sample and no SDK: only the old guide's world has it.
    #[serde(default, with = "optional_secret", skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
}

/// The data of the answer to a request for an approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// Until when it can be granted, in [`millis`].
    #[serde(default, with = "millis::optional")]
    pub authorization_expiry: Option<Timestamp>,
    /// Where the token will be posted.
    #[serde(default, deserialize_with = "lenient")]
    pub notifier_url: Option<String>,
}

/// What is posted to the notifier after an approval: seven fields, unsigned (`upstox.md` 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Upstox' own, described in upstox.md 2.2")]
pub struct Notice {
    pub client_id: String,
    pub user_id: String,
    #[serde(with = "secret")]
    pub access_token: Secret,
    /// `Bearer`.
    pub token_type: String,
    #[serde(with = "millis")]
    pub expires_at: Timestamp,
    #[serde(with = "millis")]
    pub issued_at: Timestamp,
    /// `access_token`.
    pub message_type: String,
}

/// One entry of an error's list. Both spellings are on the wire, and either is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// `UDAPI100050` …; empty if there was none.
    #[serde(rename = "errorCode")]
    pub code: String,
    /// The broker's words.
    pub message: String,
}

/// The body of a refusal, in both spellings: SDKs read `errorCode`, the documentation says `error_code`.
#[must_use]
pub fn refusal(error: &ApiError) -> Vec<u8> {
    serde_json::json!({
        "status": "error",
        "errors": [{
            "errorCode": error.code, "message": error.message, "propertyPath": null, "invalidValue": null,
            "error_code": error.code, "property_path": null, "invalid_value": null,
        }],
    })
    .to_string()
    .into_bytes()
}

/// The first error in a body that is a refusal, `None` in one that is none. Total: any bytes.
///
/// A list without a code that can be read is a refusal without a code. An answer for many orders at once, which may
/// bring data and errors together, is not for this.
#[must_use]
pub fn refused(body: &[u8]) -> Option<ApiError> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let errors = body.get("errors").and_then(serde_json::Value::as_array).filter(|errors| !errors.is_empty());
    if errors.is_none() && body.get("status").and_then(serde_json::Value::as_str) != Some("error") {
        return None;
    }
    let text = |entry: &serde_json::Value, name: &str| {
        entry.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let read = |entry: &serde_json::Value| ApiError {
        code: text(entry, "error_code").or_else(|| text(entry, "errorCode")).unwrap_or_default(),
        message: text(entry, "message").unwrap_or_default(),
    };
    let mut entries = errors.into_iter().flatten().map(read);
    let first = entries.next().unwrap_or_default();
    if first.code.is_empty() { entries.find(|entry| !entry.code.is_empty()).or(Some(first)) } else { Some(first) }
}

/// What is of no consequence: null, or something of another shape, is taken as absent. A token must not be lost, nor a
/// probe fail, because a field nobody needs looks different today.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// A secret as a JSON string.
mod secret {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

/// A secret that may be absent, null, empty or no text, which are the same.
mod optional_secret {
    use serde::{Deserializer, Serializer};

    use crate::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => serializer.serialize_str(secret.expose()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
        let text: Option<String> = super::lenient(deserializer)?;
        Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
    }
}

/// Milliseconds since 1970, written as a string of digits; a number is read as well.
pub mod millis {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Timestamp;

    const NANOS_PER_MILLI: i64 = 1_000_000;
    /// The year 2200: what lies beyond is a mistake (microseconds, most likely).
    const LAST: i64 = 7_258_118_400_000;

    /// As it is on the wire.
    #[must_use]
    pub fn print(time: Timestamp) -> String {
        time.as_nanos().div_euclid(NANOS_PER_MILLI).to_string()
    }

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        optional::deserialize(deserializer)?.ok_or_else(|| D::Error::custom("no time in milliseconds"))
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(i64),
        // Whatever else stands there is no time, and nothing that must be quoted.
        Other(serde::de::IgnoredAny),
    }

    impl Written {
        fn time(self) -> Option<Timestamp> {
            let millis = match self {
                Self::Text(text) => text.parse().ok()?,
                Self::Number(number) => number,
                Self::Other(_) => return None,
            };
            let nanos = (1..=LAST).contains(&millis).then(|| millis.checked_mul(NANOS_PER_MILLI))??;
            Some(Timestamp::from_nanos(nanos))
        }
    }

    /// The same where it may be absent; what cannot be read is taken as absent.
    pub(super) mod optional {
        use super::{Deserialize as _, Deserializer, Serializer, Timestamp, Written, print};

        pub(crate) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => serializer.serialize_str(&print(*time)),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<Written>::deserialize(deserializer)?.and_then(Written::time))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn code_of(body: &serde_json::Value) -> Option<String> {
        refused(body.to_string().as_bytes()).map(|error| error.code)
    }

    #[test]
    fn either_spelling_of_a_code_is_read() {
        for name in ["errorCode", "error_code"] {
            let body = json!({ "status": "error", "errors": [{ name: "UDAPI100050", "message": "Invalid token" }] });
            assert_eq!(code_of(&body).as_deref(), Some("UDAPI100050"), "{name}");
        }
        let late = json!({ "status": "error", "errors": [{ "message": "?" }, { "errorCode": "UDAPI10005" }] });
        assert_eq!(code_of(&late).as_deref(), Some("UDAPI10005"), "the first that has a code");
    }

    #[test]
    fn a_success_is_no_refusal_and_a_refusal_needs_no_code() {
        assert_eq!(code_of(&json!({ "status": "success", "data": {}, "errors": null })), None);
        assert_eq!(code_of(&json!({ "access_token": "t" })), None);
        assert_eq!(code_of(&json!({ "status": "error" })).as_deref(), Some(""));
        assert_eq!(code_of(&json!({ "status": "success", "errors": [7] })).as_deref(), Some(""));
        assert_eq!(refused(b"<html>error 1010</html>"), None);
    }

    #[test]
    fn a_time_is_read_as_text_or_number_and_nothing_else() {
        let read = |value| serde_json::from_value::<Requested>(json!({ "authorization_expiry": value })).unwrap();
        let time = Timestamp::from_unix_seconds(1_731_448_800);
        for value in [json!("1731448800000"), json!(1_731_448_800_000_i64)] {
            assert_eq!(read(value).authorization_expiry, Some(time));
        }
        let (micros, negative) = (json!("1731448800000000"), json!("-1"));
        for value in [json!(""), json!("soon"), json!(null), json!(1.5), json!([]), micros, negative, json!(u64::MAX)] {
            assert_eq!(read(value.clone()).authorization_expiry, None, "{value}");
        }
        assert_eq!(millis::print(time), "1731448800000");
    }

    proptest! {
        #[test]
        fn a_refusal_comes_back_as_it_was_written(code in "UDAPI[0-9]{4,6}", message in ".{0,60}") {
            let error = ApiError { code, message };
            prop_assert_eq!(refused(&refusal(&error)), Some(error));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = refused(&bytes);
            let _ = serde_json::from_slice::<Notice>(&bytes);
        }
    }
}
