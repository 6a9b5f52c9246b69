//! From an HTTP answer to an outcome, once for all endpoints.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::errors::{self, Answer};
use crate::reply::{LONGEST_MESSAGE, lost, nonsense};
use crate::{Endpoint, Failure, HttpResponse, Lost, Outcome};

/// Reads an answer that is a `T` beside the envelope's own fields; `convert` says it in our words, or what is wrong with
/// it. A success is `s: "ok"` under a 2xx with no code of a failure: anything less is none.
pub(super) fn read<T: DeserializeOwned, U>(
    endpoint: Endpoint,
    answer: Result<HttpResponse, Lost>,
    convert: impl FnOnce(T) -> Result<U, &'static str>,
) -> Outcome<U> {
    let response = answer.map_err(|why| lost(endpoint, &why))?;
    let arrived = (200..300).contains(&response.status);
    let Some(body) = Envelope::open(&response.body) else {
        // What was found there is not quoted: it may be a token.
        return Err(if arrived {
            nonsense(endpoint, &response, "it is no JSON object")
        } else {
            refused(endpoint, &response, None)
        });
    };
    if !arrived || body.failed() {
        return Err(refused(endpoint, &response, Some(&body)));
    }
    if body.s.as_deref() != Some("ok") {
        return Err(nonsense(endpoint, &response, "it does not say whether it is a success"));
    }
    let payload = serde_json::from_value::<T>(body.whole).map_err(|_| "a field is missing or of another kind");
    payload.and_then(convert).map_err(|why| nonsense(endpoint, &response, why))
}

/// What every body has in common.
struct Envelope {
    s: Option<String>,
    code: Option<i64>,
    message: String,
    whole: Value,
}

impl Envelope {
    fn open(body: &[u8]) -> Option<Self> {
        let whole: Value = serde_json::from_slice(body).ok()?;
        let fields = whole.as_object()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        // Numbers are seen as texts elsewhere in this API.
        let code = fields.get("code").and_then(|code| code.as_i64().or_else(|| code.as_str()?.parse().ok()));
        Some(Self { s: text("s"), code, message: text("message").unwrap_or_default(), whole })
    }

    fn failed(&self) -> bool {
        self.s.as_deref() == Some("error") || self.code.is_some_and(|code| code < 0)
    }
}

/// What a refusal means.
fn refused(endpoint: Endpoint, response: &HttpResponse, body: Option<&Envelope>) -> Failure {
    let (code, words) = body.map_or((None, ""), |body| (body.code, body.message.as_str()));
    let answer = Answer { status: response.status, code, message: words, retry_after: response.retry_after };
    let message = match (words, code) {
        ("", None) => format!("HTTP {} without words", response.status),
        ("", Some(code)) => format!("code {code} without words"),
        (words, None) => words.chars().take(LONGEST_MESSAGE).collect(),
        (words, Some(code)) => format!("{} (code {code})", words.chars().take(LONGEST_MESSAGE).collect::<String>()),
    };
    Failure { cause: errors::cause(endpoint, &answer), endpoint, status: Some(response.status), message }
}
