//! From an HTTP answer to an outcome: what is the same at every broker.

use crate::{Cause, Endpoint, Failure, HttpResponse, Lost};

/// Longest message that is passed on: a gateway's error page says nothing.
pub(crate) const LONGEST_MESSAGE: usize = 300;

/// A request whose answer never came.
pub(crate) fn lost(endpoint: Endpoint, lost: &Lost) -> Failure {
    let cause = match lost {
        Lost::NotSent(_) => Cause::NotSent,
        Lost::NoReply(_) => Cause::Unknown,
    };
    Failure::new(cause, endpoint, lost.to_string())
}

/// A success that cannot be read: what became of the request is unknown.
pub(crate) fn nonsense(endpoint: Endpoint, response: &HttpResponse, why: &str) -> Failure {
    let message = format!("the answer makes no sense: {why}").chars().take(LONGEST_MESSAGE).collect();
    Failure { cause: Cause::Unknown, endpoint, status: Some(response.status), message }
}

/// Where reading failed. What was found there may be quoted, except where it may be a token.
pub(crate) fn unreadable(endpoint: Endpoint, error: &serde_json::Error) -> String {
    if endpoint == Endpoint::Session {
        format!("it goes wrong at line {}, column {}", error.line(), error.column())
    } else {
        error.to_string()
    }
}
