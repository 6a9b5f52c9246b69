//! From an HTTP answer to an outcome, once for all endpoints.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::errors::{self, Answer, Said};
use super::wire::{self, ApiError};
use crate::reply::{LONGEST_MESSAGE, lost, nonsense, unreadable};
use crate::{Endpoint, Failure, HttpResponse, Lost, Outcome};

/// As much of a page as is looked at: the number of a ban stands in its head.
const LONGEST_PAGE: usize = 16 * 1024;

/// Reads an answer in the envelope `{"status":"success","data":…}`; `convert` says the data in our words, or what is
/// wrong with it.
pub(super) fn read<T: DeserializeOwned, U>(
    endpoint: Endpoint,
    answer: Result<HttpResponse, Lost>,
    convert: impl FnOnce(T) -> Result<U, &'static str>,
) -> Outcome<U> {
    #[derive(Deserialize)]
    struct Envelope<T> {
        status: String,
        data: T,
    }
    read_flat(endpoint, answer, |envelope: Envelope<T>| {
        if envelope.status == "success" { convert(envelope.data) } else { Err("its status is no success") }
    })
}

/// The same for an answer in no envelope: the token endpoint's.
pub(super) fn read_flat<T: DeserializeOwned, U>(
    endpoint: Endpoint,
    answer: Result<HttpResponse, Lost>,
    convert: impl FnOnce(T) -> Result<U, &'static str>,
) -> Outcome<U> {
    let response = answer.map_err(|why| lost(endpoint, &why))?;
    // A refusal under a 200 is still one.
    let error = wire::refused(&response.body);
    if error.is_some() || !(200..300).contains(&response.status) {
        return Err(refusal(endpoint, &response, error.as_ref()));
    }
    match serde_json::from_slice(&response.body) {
        Ok(data) => convert(data).map_err(|why| nonsense(endpoint, &response, why)),
        Err(error) => Err(nonsense(endpoint, &response, &unreadable(endpoint, &error))),
    }
}

/// What a refusal means.
fn refusal(endpoint: Endpoint, response: &HttpResponse, error: Option<&ApiError>) -> Failure {
    let page = String::from_utf8_lossy(response.body.get(..LONGEST_PAGE).unwrap_or(&response.body));
    let said = error.map_or(Said::Page(&page), |error| Said::Code(&error.code));
    let answer = Answer { status: response.status, said, retry_after: response.retry_after };
    let words = match error {
        None => format!("HTTP {} without the broker's words", response.status),
        Some(ApiError { code, message }) if code.is_empty() && message.is_empty() => {
            format!("HTTP {} without words", response.status)
        }
        Some(ApiError { code, message }) => format!("{message} ({code})"),
    };
    let message = words.chars().take(LONGEST_MESSAGE).collect();
    Failure { cause: errors::cause(endpoint, &answer), endpoint, status: Some(response.status), message }
}
