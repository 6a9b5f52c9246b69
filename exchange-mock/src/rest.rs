//! What every server that speaks REST only is made of: a listener, the clock, the `Date` header, and control.
//!
//! * [`RestCore`] is the broker as a value, without sockets or a clock: requests in with the time, replies out.
//! * [`RestServer`] puts one on a socket, under any clock; a [`Handle`] reaches the core of a running server.
//! * [`answer`] is all a server does with a request, as a function: a test or a simulator calls it without a socket.
//!
//! Promises: a stepped clock stands still while a request is dealt with; every response carries a `Date` of the given
//! clock, never the machine's; `/nirantar/*` is answered to this machine only; nothing here prints a value of a request
//! or a body.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::response::Response;
use chrono::DateTime;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nirantar_brokers::time::{Clock, Timestamp};
use nirantar_brokers::{Form, Method, Secret};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longest request body; those of logins and renewals are some 2 kB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A broker's server as a value. Its answers depend on nothing but what it was given.
pub trait RestCore: fmt::Debug + Send + 'static {
    /// Answers a request outside `/nirantar/*`. Total: any request.
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply;

    /// `POST /nirantar/control`: throws switches, and says what is in force now.
    ///
    /// # Errors
    /// Words that say which field is bad and what is expected. Nothing has been done then.
    fn command(&mut self, fields: &Form, now: Timestamp) -> Result<Value, String>;

    /// `GET /nirantar/log`. Holds no token.
    fn log(&self) -> Value;
}

/// A request as it reached the server. `Debug` shows no value that could be a secret.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path without query, as sent.
    pub path: String,
    /// Query.
    pub query: Form,
    /// Body as it came, whatever its content type says. What is not UTF-8 is replaced.
    pub body: Secret,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// Whether it came from this very machine: only such may use `/nirantar/*`.
    pub local: bool,
}

impl Request {
    /// A request from this machine without query, body or authorization.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, body) = (Form::new(), Secret::new(""));
        Self { method, path: path.into(), query, body, authorization: None, local: true }
    }

    /// The body as a form. Total.
    #[must_use]
    pub fn form(&self) -> Form {
        Form::parse(self.body.expose().as_bytes())
    }

    /// The body as JSON, where it is that.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(self.body.expose()).ok()
    }
}

/// How a reply travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Transport {
    /// At once.
    #[default]
    Normal,
    /// Never: the connection stays open and silent.
    Hang,
    /// Never: the connection is dropped.
    Cut,
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Exact `Content-Type`.
    pub content_type: &'static str,
    /// Headers beyond the content's type and length and the date.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// How it travels.
    pub transport: Transport,
}

impl fmt::Debug for Reply {
    /// Without headers and body, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {}, {} bytes, {:?})", self.status, self.content_type, self.body.len(), self.transport)
    }
}

impl Reply {
    /// Any reply.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into(), transport: Transport::Normal }
    }

    /// That JSON.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    /// A page for a human.
    #[must_use]
    pub fn html(status: u16, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// 302 to that address.
    #[must_use]
    pub fn redirect(location: String) -> Self {
        Self::new(302, "text/html", Vec::new()).with_header("Location", location)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same on another way.
    #[must_use]
    pub const fn by(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }
}

/// Text made harmless inside HTML, attributes in double quotes included.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// All a server does with a request: control and log for this machine, everything else is the broker's.
pub fn answer(core: &mut impl RestCore, request: &Request, now: Timestamp) -> Reply {
    if !request.path.starts_with("/nirantar/") {
        return core.answer(request, now);
    }
    let error = |status, words: &str| Reply::json(status, &json!({ "error": words }));
    if !request.local {
        return error(403, "Control is for this machine only.");
    }
    match (request.method, request.path.as_str()) {
        (Method::Get, "/nirantar/log") => Reply::json(200, &core.log()),
        (Method::Post, "/nirantar/control") => match core.command(&request.form(), now) {
            Ok(in_force) => Reply::json(200, &in_force),
            Err(words) => error(400, &words),
        },
        (_, "/nirantar/log" | "/nirantar/control") => error(405, "Method not allowed"),
        _ => error(404, "Route not found"),
    }
}

/// A server on a socket. Dropping it ends it at once.
pub struct RestServer<C> {
    address: SocketAddr,
    desk: Arc<Desk<C>>,
}

impl<C: RestCore> RestServer<C> {
    /// Listens on `listen` (port 0 takes a free one) and answers as `core` says, at the wall time of `clock`.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, like a port in use.
    pub async fn start(listen: SocketAddr, core: C, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk { core: Mutex::new(core), clock, tasks: Mutex::new(Some(JoinSet::new())) });
        let handle = Handle { desk: Arc::clone(&desk) };
        desk.spawn(accept(listener, handle));
        Ok(Self { address, desk })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle on the running core.
    #[must_use]
    pub fn handle(&self) -> Handle<C> {
        Handle { desk: Arc::clone(&self.desk) }
    }

    /// Ends every connection and waits until all is torn down.
    pub async fn shutdown(self) {
        if let Some(mut tasks) = self.desk.stop() {
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl<C> fmt::Debug for RestServer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestServer({})", self.address)
    }
}

impl<C> Drop for RestServer<C> {
    fn drop(&mut self) {
        drop(self.desk.stop());
    }
}

/// A handle on the core of a running server. Clones are the same handle.
pub struct Handle<C> {
    desk: Arc<Desk<C>>,
}

impl<C: RestCore> Handle<C> {
    /// Does something with the core at the present time. The clock stands meanwhile, where it can be made to.
    pub fn with<T>(&self, act: impl FnOnce(&mut C, Timestamp) -> T) -> T {
        let _busy = self.desk.clock.busy();
        let mut core = self.desk.lock();
        act(&mut core, self.desk.clock.now().wall)
    }

    /// Looks without doing anything.
    pub fn look<T>(&self, look: impl FnOnce(&C) -> T) -> T {
        look(&self.desk.lock())
    }

    /// The clock the server runs on.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.desk.clock)
    }

    /// Runs a task until it ends or the server does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.desk.spawn(task);
    }
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { desk: Arc::clone(&self.desk) }
    }
}

impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// What the tasks of a running server share.
struct Desk<C> {
    core: Mutex<C>,
    clock: Arc<dyn Clock>,
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl<C> Desk<C> {
    fn lock(&self) -> MutexGuard<'_, C> {
        // A panic under the lock is a bug of ours; the other connections are served on.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Takes all tasks away; none can be started any more.
    fn stop(&self) -> Option<JoinSet<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        tasks.abort_all();
        Some(tasks)
    }
}

async fn accept<C: RestCore>(listener: TcpListener, handle: Handle<C>) {
    let router = Router::new().fallback(rest::<C>).with_state(handle.clone());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => handle.spawn(serve(stream, peer, router.clone())),
            // Out of file descriptors, most likely: give the machine a moment instead of spinning.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one TCP connection until it ends.
async fn serve(stream: TcpStream, peer: SocketAddr, router: Router) {
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = routes.call(request.map(Body::new));
        async move {
            let response = answer.await.unwrap_or_else(|never: Infallible| match never {});
            match response.extensions().get::<Dropped>() {
                Some(dropped) => Err(*dropped),
                None => Ok(response),
            }
        }
    });
    // hyper would write the machine's time, even into the refusals it makes itself.
    let mut http = hyper::server::conn::http1::Builder::new();
    if let Err(error) = http.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

/// Marks a reply in whose place the connection is dropped.
#[derive(Clone, Copy, Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

async fn rest<C: RestCore>(
    State(handle): State<Handle<C>>,
    Extension(peer): Extension<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await;
    let (reply, now) = handle.with(|core, now| {
        let reply = match (method(&head.method), body) {
            (None, _) => Reply::new(405, "text/plain", "Method not allowed"),
            (_, Err(_)) => Reply::new(413, "text/plain", "The request body is too long or broke off."),
            (Some(method), Ok(body)) => {
                let request = Request {
                    method,
                    path: head.uri.path().to_owned(),
                    query: Form::parse(head.uri.query().unwrap_or_default().as_bytes()),
                    body: Secret::new(String::from_utf8_lossy(&body)),
                    authorization: authorization(&head.headers),
                    local: peer.ip().to_canonical().is_loopback(),
                };
                answer(core, &request, now)
            }
        };
        (reply, now)
    });
    match reply.transport {
        Transport::Normal => respond(reply, now),
        Transport::Hang => pending().await,
        Transport::Cut => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Dropped);
            response
        }
    }
}

fn respond(reply: Reply, now: Timestamp) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    if let Ok(date) = HeaderValue::try_from(http_date(now)) {
        headers.insert(header::DATE, date);
    }
    response
}

/// As in a `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: Timestamp) -> String {
    DateTime::from_timestamp_nanos(now.as_nanos()).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn method(method: &hyper::Method) -> Option<Method> {
    [Method::Get, Method::Post, Method::Put, Method::Delete].into_iter().find(|known| known.as_str() == method.as_str())
}

fn authorization(headers: &HeaderMap) -> Option<Secret> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::SteppedClock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Counts requests and echoes bodies; `/cut` counts, and cuts.
    #[derive(Debug, Default)]
    struct Counting(usize);

    impl RestCore for Counting {
        fn answer(&mut self, request: &Request, _now: Timestamp) -> Reply {
            self.0 += 1;
            let transport = if request.path == "/cut" { Transport::Cut } else { Transport::Normal };
            Reply::new(200, "text/plain", request.body.expose()).by(transport)
        }

        fn command(&mut self, fields: &Form, _now: Timestamp) -> Result<Value, String> {
            if fields.get("add").is_some() { Ok(json!({ "added": true })) } else { Err("expected `add`".to_owned()) }
        }

        fn log(&self) -> Value {
            json!({ "requests": self.0 })
        }
    }

    async fn server() -> RestServer<Counting> {
        let start = Timestamp::parse_ist("2026-11-20 08:45:00").unwrap();
        let clock = Arc::new(SteppedClock::starting_at(start));
        RestServer::start("127.0.0.1:0".parse().unwrap(), Counting::default(), clock).await.unwrap()
    }

    async fn send(server: &RestServer<Counting>, request: &str) -> String {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A cut connection may end as an error: what counts is what came before it.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn every_answer_carries_the_date_of_the_given_clock() {
        let server = server().await;
        for request in [
            "POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
            "PATCH /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "GET /nirantar/log HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ] {
            let answer = send(&server, request).await.to_lowercase();
            let dates: Vec<_> = answer.lines().filter(|line| line.starts_with("date:")).collect();
            assert_eq!(dates, ["date: fri, 20 nov 2026 03:15:00 gmt"], "{answer}");
        }
    }

    #[tokio::test]
    async fn a_cut_reply_is_acted_on_and_never_answered() {
        let server = server().await;
        assert_eq!(send(&server, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n").await, "");
        assert_eq!(server.handle().look(|core| core.0), 1);
        server.shutdown().await;
    }

    #[test]
    fn control_is_for_this_machine_and_names_what_it_expects() {
        let mut core = Counting::default();
        let mut ask = |method, path: &str, body: &str, local| {
            let request = Request { body: Secret::new(body), local, ..Request::new(method, path) };
            answer(&mut core, &request, Timestamp::default())
        };
        assert_eq!(ask(Method::Post, "/nirantar/control", "add=1", true).status, 200);
        let bad = ask(Method::Post, "/nirantar/control", "ad=1", true);
        assert!(bad.status == 400 && String::from_utf8_lossy(&bad.body).contains("expected `add`"));
        assert_eq!(ask(Method::Get, "/nirantar/control", "", true).status, 405);
        assert_eq!(ask(Method::Get, "/nirantar/other", "", true).status, 404);
        assert_eq!(ask(Method::Get, "/nirantar/log", "", false).status, 403);
        assert_eq!(core.0, 0, "none of these reached the broker's routes");
    }
}
