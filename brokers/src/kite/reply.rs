//! From an HTTP answer to an outcome, once for all endpoints.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::errors::{self, Answer};
use super::wire::envelope::{self, ErrorBody, Opened};
use super::wire::rest::BadRow;
use crate::reply::{LONGEST_MESSAGE, lost, unreadable};
use crate::{Endpoint, Failure, HttpResponse, Lost, Outcome};

pub(super) use crate::reply::nonsense;

/// Reads an answer whose data is a `T`; `convert` says it in our words, or what is wrong with it.
pub(super) fn read<T: DeserializeOwned, U>(
    endpoint: Endpoint,
    answer: Result<HttpResponse, Lost>,
    convert: impl FnOnce(T) -> Result<U, String>,
) -> Outcome<U> {
    let response = arrived(endpoint, answer)?;
    match envelope::open::<T>(&response.body) {
        Opened::Data(data) => convert(data).map_err(|why| nonsense(endpoint, &response, &why)),
        Opened::Error(error) => Err(refused(endpoint, &response, &error)),
        Opened::Unreadable(error) => Err(nonsense(endpoint, &response, &unreadable(endpoint, &error))),
    }
}

/// The answer, if it came and its code is a success.
pub(super) fn arrived(endpoint: Endpoint, answer: Result<HttpResponse, Lost>) -> Outcome<HttpResponse> {
    match answer {
        Ok(response) if (200..300).contains(&response.status) => Ok(response),
        Ok(response) => Err(refused_by_code(endpoint, &response)),
        Err(why) => Err(lost(endpoint, &why)),
    }
}

/// What an answer with the code of a failure says.
pub(super) fn refused_by_code(endpoint: Endpoint, response: &HttpResponse) -> Failure {
    match envelope::open::<IgnoredAny>(&response.body) {
        Opened::Error(error) => refused(endpoint, response, &error),
        Opened::Data(_) | Opened::Unreadable(_) => refused(endpoint, response, &ErrorBody::default()),
    }
}

/// What a refusal means.
pub(super) fn refused(endpoint: Endpoint, response: &HttpResponse, error: &ErrorBody) -> Failure {
    let answer = Answer {
        status: response.status,
        error_type: Some(error.error_type.as_str()).filter(|kind| !kind.is_empty()),
        message: &error.message,
        retry_after: response.retry_after,
    };
    let message = match (error.message.as_str(), error.error_type.as_str()) {
        ("", "") => format!("HTTP {} without words", response.status),
        ("", kind) => kind.to_owned(),
        (words, _) => words.chars().take(LONGEST_MESSAGE).collect(),
    };
    Failure { cause: errors::cause(endpoint, &answer), endpoint, status: Some(response.status), message }
}

/// The rows of a list in our words. Foreign rows are left out; one unreadable row makes the whole list unreadable,
/// since a list with a hole in it could hide an order.
pub(super) fn rows<T, U>(rows: Vec<T>, convert: impl Fn(&T) -> Result<U, BadRow>) -> Result<Vec<U>, String> {
    let mut out = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        match convert(row) {
            Ok(row) => out.push(row),
            Err(BadRow::Foreign { .. }) => {}
            Err(bad @ BadRow::Unreadable { .. }) => return Err(format!("row {}: {bad}", index.saturating_add(1))),
        }
    }
    Ok(out)
}
