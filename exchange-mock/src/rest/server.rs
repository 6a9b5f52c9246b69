//! A core on a socket: the listener, a task for each connection, the clock and its `Date`.

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
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nirantar_brokers::time::{Clock, Timestamp};
use nirantar_brokers::{Form, Method, Secret};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::stream::Resettable;
use super::{Reply, Request, RestCore, Transport, answer};

/// Longest request body; those of logins and renewals are some 2 kB.
const MAX_BODY_BYTES: usize = 64 * 1024;

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

/// Serves one TCP connection until it ends. The routes find the peer's address as an extension.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, router: Router) {
    // Orders and ticks are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let (stream, reset) = Resettable::new(stream);
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = routes.call(request.map(Body::new));
        let reset = reset.clone();
        async move {
            let response = answer.await.unwrap_or_else(|never: Infallible| match never {});
            match response.extensions().get::<Dropped>() {
                Some(Dropped { by_reset }) => {
                    if *by_reset {
                        reset.ask();
                    }
                    Err(Dropped { by_reset: *by_reset })
                }
                None => Ok(response),
            }
        }
    });
    // hyper would write the machine's time, even into the refusals it makes itself.
    let mut http = hyper::server::conn::http1::Builder::new();
    let connection = http.auto_date_header(false).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

/// Marks a reply in whose place the connection is dropped.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    by_reset: bool,
}

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
                    local: is_local(peer),
                };
                answer(core, &request, now)
            }
        };
        (reply, now)
    });
    let mut response = send(reply).await;
    date(&mut response, now);
    response
}

/// Lets a reply travel as it says.
pub(crate) async fn send(reply: Reply) -> Response {
    match reply.transport {
        Transport::Normal => {}
        Transport::Hang => pending().await,
        how @ (Transport::Cut | Transport::Reset) => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Dropped { by_reset: how == Transport::Reset });
            return response;
        }
        // Real time on purpose, see `Fault::Slow` of Kite's server.
        Transport::Delay(span) => tokio::time::sleep(span).await,
    }
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
    response
}

/// The market's own time: a client holds its clock against this header.
pub(crate) fn date(response: &mut Response, now: Timestamp) {
    if let Ok(date) = HeaderValue::try_from(now.to_http_date()) {
        response.headers_mut().insert(header::DATE, date);
    }
}

/// Whether requests from that address come from this machine.
pub(crate) fn is_local(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

pub(crate) fn method(method: &hyper::Method) -> Option<Method> {
    [Method::Get, Method::Post, Method::Put, Method::Delete].into_iter().find(|known| known.as_str() == method.as_str())
}

pub(crate) fn authorization(headers: &HeaderMap) -> Option<Secret> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::SteppedClock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::tests::Counting;
    use super::*;

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
}
