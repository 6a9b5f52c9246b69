//! The envelope around every JSON answer: `{"status":"success","data":…}` or
//! `{"status":"error","message":…,"error_type":…}`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The `Content-Type` of every JSON answer.
pub const JSON: &str = "application/json";

/// A refusal as it is on the wire, also inside auto-slice children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The class: `TokenException`, `InputException` … Empty if the broker gave none.
    #[serde(default)]
    pub error_type: String,
    /// The broker's words.
    #[serde(default)]
    pub message: String,
}

impl ErrorBody {
    /// A refusal.
    #[must_use]
    pub fn new(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error_type: error_type.into(), message: message.into() }
    }
}

/// What was in an envelope.
#[derive(Debug)]
pub enum Opened<T> {
    /// The data.
    Data(T),
    /// A refusal, or an object that is neither success nor refusal: then without class and perhaps without words.
    Error(ErrorBody),
    /// The JSON does not parse, or the data has another shape. The text may quote what was found, so it must
    /// not be shown where the answer holds a token.
    Unreadable(serde_json::Error),
}

/// The body of a success.
///
/// # Errors
/// Whatever the data's own serialization raises; none of [`rest`](super::rest)'s shapes does.
pub fn success<T: Serialize>(data: &T) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Success<'a, T> {
        status: &'static str,
        data: &'a T,
    }
    serde_json::to_vec(&Success { status: "success", data })
}

/// The body of a refusal. It has a `data` key, since Python's SDK looks for one.
///
/// # Errors
/// None in practice: strings always serialize.
pub fn failure(error: &ErrorBody) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Failure<'a> {
        status: &'static str,
        message: &'a str,
        data: (),
        error_type: &'a str,
    }
    let ErrorBody { message, error_type } = error;
    serde_json::to_vec(&Failure { status: "error", message, data: (), error_type })
}

/// Opens an envelope whose data should be a `T`. It is a success only if its `status` says so and it has no `error_type`.
#[must_use]
pub fn open<T: DeserializeOwned>(body: &[u8]) -> Opened<T> {
    #[derive(Deserialize)]
    struct Label {
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        error_type: Option<String>,
    }
    #[derive(Deserialize)]
    struct Content<T> {
        data: T,
    }
    let label = match serde_json::from_slice::<Label>(body) {
        Ok(label) => label,
        Err(error) => return Opened::Unreadable(error),
    };
    let error = ErrorBody::new(label.error_type.unwrap_or_default(), label.message.unwrap_or_default());
    if label.status.as_deref() != Some("success") || !error.error_type.is_empty() {
        return Opened::Error(error);
    }
    match serde_json::from_slice::<Content<T>>(body) {
        Ok(content) => Opened::Data(content.data),
        Err(error) => Opened::Unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_error_type_is_a_refusal_even_under_a_success() {
        let body = br#"{"status":"success","error_type":"TokenException","message":"no"}"#;
        assert!(matches!(open::<bool>(body), Opened::Error(error) if error.error_type == "TokenException"));
    }

    #[test]
    fn data_of_another_shape_is_unreadable_and_never_empty() {
        assert!(matches!(open::<Vec<bool>>(br#"{"status":"success","data":null}"#), Opened::Unreadable(_)));
        assert!(matches!(open::<Vec<bool>>(br#"{"status":"success"}"#), Opened::Unreadable(_)));
        assert!(matches!(open::<Vec<bool>>(b"<html>504</html>"), Opened::Unreadable(_)));
        assert!(matches!(open::<Vec<bool>>(br#"{"data":[]}"#), Opened::Error(_)), "nobody said success");
    }

    proptest! {
        #[test]
        fn a_refusal_comes_back_as_it_was_written(error_type in "[A-Za-z]{1,20}", message in ".{0,80}") {
            let error = ErrorBody::new(error_type, message);
            let Opened::Error(read) = open::<bool>(&failure(&error).unwrap()) else {
                return Err(TestCaseError::fail("not a refusal"));
            };
            prop_assert_eq!(read, error);
        }

        #[test]
        fn data_comes_back_as_it_was_written(data in prop::collection::vec(any::<i64>(), 0..9)) {
            let Opened::Data(read) = open::<Vec<i64>>(&success(&data).unwrap()) else {
                return Err(TestCaseError::fail("no data"));
            };
            prop_assert_eq!(read, data);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = open::<serde_json::Value>(&bytes);
        }
    }
}
