//! Sending a codec's requests: the one place with an HTTP client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER};
use nirantar_brokers::{Body, Call, HttpRequest, HttpResponse, Lost, Method, Outcome};

use super::broker_time::{APART, TimeReports};
use super::vault::Vault;

/// How long a call may take, by the wall clock whatever clock the engine runs on: the timeout of Kite's own clients.
const CALL_TIMEOUT: Duration = Duration::from_secs(7);
/// The largest answer read: ten times Kite's list of all instruments.
const MOST_BYTES: usize = 80 << 20;

/// An HTTP client for one broker.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
    root: String,
    vault: Vault,
    time: Option<TimeReports>,
}

impl Transport {
    /// A client for the REST service at `root`.
    ///
    /// # Errors
    /// The machine's TLS set-up is unusable; in words.
    pub(crate) fn new(root: &str, vault: Vault) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CALL_TIMEOUT)
            // A redirected order would be sent to somebody who is not the broker.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("nirantar/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client can be made: {error}"))?;
        Ok(Self { client, root: root.trim_end_matches('/').to_owned(), vault, time: None })
    }

    /// The same, and reports what the broker's clock says.
    pub(crate) fn reporting(self, time: TimeReports) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Performs a call under that authorization. The words of a failure are free of known secrets.
    pub(crate) async fn call<T>(&self, call: Call<T>, authorization: Option<&HeaderValue>) -> Outcome<T> {
        self.call_holding(call, authorization, ()).await
    }

    /// The same, and holds on to `held` until the bytes can no longer be kept back: until the body has been handed to
    /// the connection, or, for a request without a body, until the answer.
    pub(crate) async fn call_holding<T>(
        &self,
        call: Call<T>,
        authorization: Option<&HeaderValue>,
        held: impl Send + Sync + 'static,
    ) -> Outcome<T> {
        let outcome = match call {
            Call::Ready(outcome) => outcome,
            Call::Http { request, decode } => decode(self.send(&request, authorization, Box::new(held)).await),
        };
        self.vault.clean(outcome)
    }

    /// Asks the broker for nothing but the time, a moment later.
    fn ask_for_the_time(&self, time: TimeReports) {
        let (client, root) = (self.client.clone(), self.root.clone());
        tokio::spawn(async move {
            tokio::time::sleep(APART).await;
            let asked = time.asking();
            // Whatever it answers: the header is all there is to it.
            let Ok(answer) = client.head(root).send().await else { return };
            if let Some(date) = answer.headers().get(DATE).and_then(|date| date.to_str().ok()) {
                time.date(date, asked);
            }
        });
    }

    async fn send(
        &self,
        request: &HttpRequest,
        authorization: Option<&HeaderValue>,
        held: Held,
    ) -> Result<HttpResponse, Lost> {
        let mut url = format!("{}{}", self.root, request.path);
        if !request.query.is_empty() {
            url.push('?');
            url.push_str(&request.query.encode());
        }
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.client.request(method, url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(own) = &request.own_authorization {
            // The words of the error could quote the value.
            let unfit = |_| Lost::NotSent("the token cannot stand in a header".to_owned());
            let mut own = HeaderValue::from_str(own.expose()).map_err(unfit)?;
            own.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, own);
        } else if let Some(authorization) = authorization.filter(|_| request.authorized) {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        let mut held = Some(held);
        let mut body = |text: String| Handed { bytes: Some(text.into()), _held: held.take() };
        builder = match &request.body {
            Body::Empty => builder,
            Body::Form(form) => builder
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(reqwest::Body::wrap(body(form.encode()))),
            Body::Json(json) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(reqwest::Body::wrap(body(json.expose().to_owned()))),
        };
        let asked = self.time.as_ref().map(TimeReports::asking);
        let mut response = builder.send().await.map_err(lost)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (content_type, retry_after) = (header(CONTENT_TYPE), header(RETRY_AFTER));
        if let (Some(time), Some(asked), Some(date)) = (&self.time, asked, header(DATE))
            && time.date(&date, asked)
        {
            self.ask_for_the_time(time.clone());
        }
        let mut answer = HttpResponse {
            status: response.status().as_u16(),
            content_type,
            retry_after: retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
            body: Vec::new(),
        };
        while let Some(bytes) = response.chunk().await.map_err(lost)? {
            if answer.body.len() + bytes.len() > MOST_BYTES {
                return Err(Lost::NoReply(format!("the answer is longer than {MOST_BYTES} bytes")));
            }
            answer.body.extend_from_slice(&bytes);
        }
        Ok(answer)
    }
}

/// What is held until the bytes of a request can no longer be kept back.
type Held = Box<dyn Send + Sync>;

/// A body that holds on to something until the connection has taken its bytes: the connection drops it then.
struct Handed {
    bytes: Option<Bytes>,
    _held: Option<Held>,
}

impl http_body::Body for Handed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // Exact, or it would be sent in chunks, which brokers' gateways need not take.
        http_body::SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The URL is left out of the words: its query may hold a token.
fn lost(error: reqwest::Error) -> Lost {
    let never_left = error.is_connect() || error.is_builder();
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    if never_left { Lost::NotSent(words) } else { Lost::NoReply(words) }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use std::sync::Arc;

    use nirantar_brokers::time::SystemClock;
    use nirantar_brokers::upstox::{App, Upstox};
    use nirantar_brokers::{AccessToken, Auth as _, Cause, Secret};
    use nirantar_exchange_mock::upstox::{NewLogin, Settings, UpstoxServer};

    use super::*;

    #[tokio::test]
    async fn a_logout_ends_the_token_it_speaks_for_and_not_the_living_one() {
        let settings = Settings { new_login: NewLogin::Keeps, ..Settings::default() };
        let broker = Upstox::new(App::Current, "nirantar", Some(Secret::new("nirantar-secret")), "http://127.0.0.1/");
        let clock = Arc::new(SystemClock::start());
        let server = UpstoxServer::start("127.0.0.1:0".parse().unwrap(), settings, clock).await.unwrap();
        let (old, living) = (server.control().login().access_token, server.control().login().access_token);
        let vault = Vault::new(Arc::new(broker.clone()), Vec::new());
        let transport = Transport::new(&format!("http://{}", server.addr()), vault).unwrap();
        let header = |token: &AccessToken| HeaderValue::from_str(broker.authorization(token).expose()).unwrap();

        transport.call(broker.invalidate(&old), Some(&header(&living))).await.unwrap();
        assert!(transport.call(broker.probe(), Some(&header(&living))).await.is_ok());
        assert!(transport.call(broker.probe(), Some(&header(&old))).await.is_err());

        let unfit = transport.call(broker.invalidate(&AccessToken::new("two\nlines")), None).await.unwrap_err();
        assert_eq!(unfit.cause, Cause::NotSent);
        assert!(!unfit.message.contains("lines"), "{unfit}");
    }
}
