//! The sinks: a Telegram bot and a webhook, as each speaks on the wire.
//!
//! Promises: a sink's secrets (the bot's token, the webhook's URL) appear nowhere but in its own requests; nothing
//! unencrypted leaves this machine; whatever the bytes of an answer, it is understood as one of three [`Delivery`]s.

use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use nirantar_brokers::{Form, Redactor, Secret};
use reqwest::Url;
use serde_json::{Value, json};

use super::Alert;
use super::alert::one_line;
use super::outbox::Delivery;
use crate::config::{AlertSettings, TelegramSettings, is_loopback};

/// How long a request may take, by the wall clock whatever clock the engine runs on.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer: its first words.
const MOST_BYTES: usize = 4 << 10;
/// What is repeated of an answer in the log.
const MOST_WORDS: usize = 200;

/// A part of a webhook's path that is shorter is a word, and no secret.
const SHORTEST_SEGMENT: usize = 16;
/// The same of its query, and of its path as a whole.
const SHORTEST_VALUE: usize = 8;

/// Why alerts cannot be sent anywhere. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSink {
    /// The address is no URL.
    #[error("{sink}: the URL makes no sense: expected https://HOST/…")]
    NotAUrl {
        /// Whose.
        sink: &'static str,
    },
    /// Alerts would leave this machine unencrypted.
    #[error("{sink}: the URL is not encrypted: expected https:// (http:// is for this machine only)")]
    NotEncrypted {
        /// Whose.
        sink: &'static str,
    },
    /// No HTTP client can be made.
    #[error("alerts: no HTTP client can be made: {0}")]
    Client(String),
}

/// Where alerts go.
pub(super) struct Sink {
    name: &'static str,
    client: reqwest::Client,
    /// Whole, with whatever secret is in it.
    url: Secret,
    /// Telegram's chat; `None` for a webhook.
    chat: Option<String>,
    secrets: Redactor,
}

impl Sink {
    /// Every sink of the settings.
    ///
    /// # Errors
    /// [`BadSink`], for the first one that cannot be used.
    pub(super) fn all(settings: &AlertSettings) -> Result<Vec<Self>, BadSink> {
        let telegram = settings.telegram.as_ref().map(Self::telegram);
        let webhook = settings.webhook.as_ref().map(Self::webhook);
        telegram.into_iter().chain(webhook).collect()
    }

    fn telegram(settings: &TelegramSettings) -> Result<Self, BadSink> {
        const NAME: &str = "telegram";
        let mut url = checked(NAME, &settings.url)?;
        let method = format!("bot{}", settings.token.expose());
        url.path_segments_mut()
            .map_err(|()| BadSink::NotAUrl { sink: NAME })?
            .pop_if_empty()
            .extend([method.as_str(), "sendMessage"]);
        let url = Secret::new(String::from(url));
        let secrets = Redactor::new([url.clone(), settings.token.clone()]);
        Ok(Self { name: NAME, client: client()?, url, chat: Some(settings.chat.clone()), secrets })
    }

    fn webhook(secret: &Secret) -> Result<Self, BadSink> {
        const NAME: &str = "webhook";
        let url = checked(NAME, secret.expose())?;
        let parts = secret_parts(&url).into_iter();
        let url = Secret::new(String::from(url));
        let secrets = Redactor::new(parts.chain([url.clone(), secret.clone()]));
        Ok(Self { name: NAME, client: client()?, url, chat: None, secrets })
    }

    /// Its name, for the log.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// A text without this sink's own secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        self.secrets.clean(text)
    }

    /// Sends one alert, once. Takes [`TIMEOUT`] at most.
    pub(super) async fn send(&self, alert: &Alert) -> Delivery {
        let body = match &self.chat {
            Some(chat) => json!({
                "chat_id": chat,
                "text": alert.to_string(),
                // Telegram's servers would open a login link to show what is behind it.
                "link_preview_options": { "is_disabled": true },
                "disable_notification": alert.severity == super::Severity::Info,
            }),
            None => alert.to_json(),
        };
        let request = self.client.post(self.url.expose()).header(CONTENT_TYPE, "application/json");
        match request.body(body.to_string()).send().await {
            Ok(response) => self.read(response).await,
            Err(error) => Delivery::Failed { after: None, words: self.clean(&words_of(error)) },
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Delivery {
        let status = response.status();
        if status.is_success() {
            return Delivery::Delivered;
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let header = header.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        // An answer that breaks off says what it says.
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend(bytes.iter().take(MOST_BYTES.saturating_sub(body.len())));
            if body.len() >= MOST_BYTES {
                break;
            }
        }
        let said = Said::read(&body);
        // Cleaned before it is cut: half a secret would not be found.
        let words = format!("HTTP {}: {}", status.as_u16(), one_line(&self.clean(&said.words), MOST_WORDS));
        if status.is_client_error() && status != http::StatusCode::TOO_MANY_REQUESTS || status.is_redirection() {
            return Delivery::Refused { words };
        }
        Delivery::Failed { after: header.or(said.retry_after), words }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the body of a refusal says. Telegram's is `{"ok":false,"description":"…","parameters":{"retry_after":5}}`
/// (core.telegram.org/bots/api, ResponseParameters).
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    words: String,
    retry_after: Option<Duration>,
}

impl Said {
    /// Total: any bytes.
    fn read(body: &[u8]) -> Self {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let description = parsed.as_ref().and_then(|value| value.get("description")).and_then(Value::as_str);
        let words = description.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
        let seconds =
            parsed.as_ref().and_then(|value| value.pointer("/parameters/retry_after")).and_then(Value::as_u64);
        Self { words, retry_after: seconds.map(Duration::from_secs) }
    }
}

fn client() -> Result<reqwest::Client, BadSink> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        // A redirect would take the words to somebody nobody named.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("nirantar/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| BadSink::Client(error.to_string()))
}

fn checked(sink: &'static str, text: &str) -> Result<Url, BadSink> {
    let url = Url::parse(text).map_err(|_| BadSink::NotAUrl { sink })?;
    let Some(host) = url.host_str() else { return Err(BadSink::NotAUrl { sink }) };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(host) => Ok(url),
        "http" => Err(BadSink::NotEncrypted { sink }),
        _ => Err(BadSink::NotAUrl { sink }),
    }
}

/// What of a webhook's URL may be its secret. An answer may quote any of it: `Cannot POST /services/T0/B0/…`.
fn secret_parts(url: &Url) -> Vec<Secret> {
    let path = url.path();
    let segments = path.split('/').filter(|segment| segment.len() >= SHORTEST_SEGMENT);
    let values = url.query().unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    let values = values.map(|(_, value)| value).filter(|value| value.len() >= SHORTEST_VALUE);
    let whole = Some(path).filter(|path| path.len() >= SHORTEST_VALUE);
    let raw = url.password().into_iter().chain(whole).chain(url.query()).chain(segments).chain(values);
    // As it stands in the URL, and as it was meant.
    let meant =
        |text: &str| Form::parse(format!("x={}", text.replace('+', "%2B")).as_bytes()).get("x").map(Secret::new);
    raw.flat_map(|text| [Some(Secret::new(text)), meant(text)]).flatten().collect()
}

/// The URL is left out of the words: it holds a secret.
fn words_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn telegram(url: &str) -> Result<Sink, BadSink> {
        let (token, chat) = (Secret::new("123:sentinel/token"), "-100".to_owned());
        Sink::telegram(&TelegramSettings { url: url.to_owned(), token, chat })
    }

    #[test]
    fn the_bots_token_stands_in_the_path_whole_and_is_printed_nowhere() {
        for root in ["https://api.telegram.org", "https://api.telegram.org/"] {
            let sink = telegram(root).unwrap();
            assert_eq!(sink.url.expose(), "https://api.telegram.org/bot123:sentinel%2Ftoken/sendMessage");
            assert!(!format!("{sink:?}").contains("sentinel"));
            let clean = sink.clean("error for url (https://api.telegram.org/bot123:sentinel%2Ftoken/sendMessage)");
            assert!(!clean.contains("sentinel"), "{clean}");
        }
    }

    #[test]
    fn nothing_unencrypted_leaves_this_machine() {
        assert!(telegram("http://127.0.0.1:8081").is_ok() && telegram("http://[::1]:8081").is_ok());
        assert_eq!(telegram("http://api.telegram.org").unwrap_err(), BadSink::NotEncrypted { sink: "telegram" });
        for nonsense in ["", "api.telegram.org", "data:text/plain,x", "ftp://host/", "https://"] {
            let error = Sink::webhook(&Secret::new(nonsense)).unwrap_err();
            assert_eq!(error, BadSink::NotAUrl { sink: "webhook" }, "{nonsense}");
        }
    }

    #[test]
    fn an_answer_that_quotes_a_part_of_the_webhooks_url_shows_none_of_it() {
        let url = "https://me:sentinel-pass@hooks.example.com/services/sentinel%2Bsegment-0123?key=sentinel-key&v=1";
        let sink = Sink::webhook(&Secret::new(url)).unwrap();
        for quoted in [
            "Cannot POST /services/sentinel%2Bsegment-0123",
            "no channel sentinel+segment-0123 here",
            "bad query key=sentinel-key&v=1",
            "key sentinel-key is revoked, user me sentinel-pass",
        ] {
            let clean = sink.clean(quoted);
            assert!(!clean.contains("sentinel"), "{clean}");
        }
        let words = "services of version 1 go on";
        assert_eq!(sink.clean(words), words, "plain words stay");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_as_something(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let said = Said::read(&bytes);
            prop_assert!(said.words.len() <= 3 * bytes.len());
        }
    }

    #[test]
    fn a_refusal_is_read_whatever_its_bytes() {
        let telegrams = br#"{"ok":false,"description":"Too Many Requests","parameters":{"retry_after":5}}"#;
        let read = Said::read(telegrams);
        assert_eq!(read, Said { words: "Too Many Requests".to_owned(), retry_after: Some(Duration::from_secs(5)) });
        for odd in [&b""[..], b"\xff\xfe", b"[]", br#"{"parameters":{"retry_after":-1}}"#, b"<html>502</html>"] {
            assert_eq!(Said::read(odd).retry_after, None);
        }
    }
}
