//! Requests and replies as values, and the broker's errors with their own status, type and words (kite.md 1.7).

use nirantar_brokers::{Form, Method, Secret};
use serde::Serialize;
use serde_json::{Value, json};

pub use crate::rest::{Reply, Transport};

/// A request as it reached the server. `Debug` shows no value that could be a secret.
#[derive(Clone, Debug)]
pub struct HttpParts {
    /// Method.
    pub method: Method,
    /// Path without query, as sent.
    pub path: String,
    /// Query.
    pub query: Form,
    /// Form body; empty if there was none.
    pub body: Form,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// Whether it came from this very machine: only such may use `/nirantar/*`.
    pub local: bool,
}

impl HttpParts {
    /// A request from this machine without query, body or authorization.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Form::new(), body: Form::new(), authorization: None, local: true }
    }
}

impl Reply {
    /// 200 with `data` in the broker's envelope, written straight to bytes: a day's book is megabytes.
    pub(super) fn of<T: Serialize>(data: &T) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(&Envelope { status: "success", data }).map_err(|_| ApiError::server(500))?;
        Ok(Self::new(200, "application/json", body))
    }

    /// 200 with `data` in the broker's envelope.
    pub(super) fn success(data: Value) -> Self {
        Self::json(200, &json!({ "status": "success", "data": data }))
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    status: &'static str,
    data: &'a T,
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let ApiError { status, error_type, message } = error;
        let body = json!({ "status": "error", "message": message, "data": null, "error_type": error_type });
        Self::json(status, &body)
    }
}

/// A refusal in the broker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// `TokenException`, `InputException` …
    pub error_type: &'static str,
    /// Words.
    pub message: String,
}

impl ApiError {
    /// Any refusal.
    #[must_use]
    pub fn new(status: u16, error_type: &'static str, message: impl Into<String>) -> Self {
        Self { status, error_type, message: message.into() }
    }

    /// The token is dead, or was never alive.
    pub(super) fn dead_token() -> Self {
        Self::token("Incorrect `api_key` or `access_token`.")
    }

    /// Something is wrong with a token or checksum.
    pub(super) fn token(message: &str) -> Self {
        Self::new(403, "TokenException", message)
    }

    /// The static-IP rule.
    pub(super) fn wrong_ip() -> Self {
        let words = "No IPs configured for this app. Add allowed IPs on the Kite developer console.";
        Self::new(403, "PermissionException", words)
    }

    /// The plan has no market data.
    pub(super) fn no_data_plan() -> Self {
        Self::new(403, "PermissionException", "Insufficient permission for that call.")
    }

    /// A rate limit.
    pub(super) fn too_many() -> Self {
        Self::new(429, "NetworkException", "Too many requests")
    }

    /// The broker's own order system did not answer in time: the order may exist. For status and type see
    /// [`Fault::TimedOut`](super::Fault::TimedOut).
    pub(super) fn timed_out() -> Self {
        let words = "Order request timed out. Please check the order book and confirm before placing again.";
        Self::new(400, "OrderException", words)
    }

    /// A missing or bad parameter.
    pub(super) fn input(message: impl Into<String>) -> Self {
        Self::new(400, "InputException", message)
    }

    /// No such route. The words are ours: no sample of the real ones is known.
    pub(super) fn no_route() -> Self {
        Self::new(404, "GeneralException", "Route not found")
    }

    /// A known path with another method.
    pub(super) fn wrong_method() -> Self {
        Self::new(405, "GeneralException", "Method not allowed")
    }

    /// A 5xx with the type the official SDKs pair it with.
    pub(super) fn server(status: u16) -> Self {
        match status {
            502 => Self::new(502, "DataException", "Unable to parse the response from the order management system."),
            503 => Self::new(503, "NetworkException", "API is temporarily unavailable. Please try again."),
            504 => Self::new(504, "NetworkException", "Gateway timed out."),
            _ => Self::new(500, "GeneralException", "Something went wrong. Please try again."),
        }
    }
}
