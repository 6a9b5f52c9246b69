//! The broker's envelope, and its refusals with their own status, code and words (fyers.md 1.7).

use serde_json::{Value, json};

use crate::rest::Reply;

/// A success with its payload beside the envelope's own fields.
pub(super) fn success(payload: Value) -> Reply {
    with_words("", payload)
}

/// The same with words.
pub(super) fn with_words(message: &str, payload: Value) -> Reply {
    let mut body = json!({ "s": "ok", "code": 200, "message": message });
    if let (Value::Object(body), Value::Object(payload)) = (&mut body, payload) {
        body.extend(payload);
    }
    Reply::json(200, &body)
}

/// A refusal in the broker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: i64,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(status: u16, code: i64, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A dead token on the account's endpoints, as recorded. The status is documented, not recorded.
    pub(super) fn dead_token() -> Self {
        Self::new(401, -16, "Could not authenticate the user")
    }

    /// A login code that is unknown, used or too old.
    pub(super) fn bad_code() -> Self {
        Self::new(400, -437, "invalid auth code")
    }

    /// A refresh token that is unknown or dead, and every one once the grant is withdrawn.
    pub(super) fn bad_refresh_token() -> Self {
        Self::new(400, -501, "Please provide valid refresh token")
    }

    /// A bad or missing field. That a wrong PIN is one is ours: its code was not recorded.
    pub(super) fn bad(field: &str) -> Self {
        Self::new(400, -50, format!("Bad parameters: {field}"))
    }

    /// Not this server's app. So is a wrong `appIdHash`, whose code was not recorded.
    pub(super) fn bad_app() -> Self {
        Self::new(400, -352, "invalid app id")
    }

    /// No such path, or not with that method. The words are ours.
    pub(super) fn no_route(status: u16) -> Self {
        Self::new(status, -i64::from(status), "no such route")
    }
}

impl From<ApiError> for Reply {
    fn from(ApiError { status, code, message }: ApiError) -> Self {
        Self::json(status, &json!({ "s": "error", "code": code, "message": message }))
    }
}

/// What a fault answers.
pub(super) fn faulty(status: u16, code: Option<i64>) -> Reply {
    let message = match code {
        Some(-8) => "Your token has expired",
        Some(-15) => "Please provide valid token",
        Some(-16) => "Could not authenticate the user",
        Some(-17) => "Your token is invalid or has expired",
        Some(-429) => "request limit reached",
        _ => "Something went wrong",
    };
    match code {
        Some(code) => ApiError::new(status, code, message).into(),
        None => Reply::html(status, format!("<html><body><h1>{status}</h1></body></html>")),
    }
}
