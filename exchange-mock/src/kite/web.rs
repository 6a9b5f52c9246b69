//! HTTP on the wire: axum routes a request to the feed's handshake or to the core, hyper carries it.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nirantar_brokers::{Form, Method, Secret};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::driver::Driver;
use super::reply::{ApiError, HttpParts, Reply, Transport};
use super::settings::is_local;
use super::socket;

/// Longest request body: an order is some 300 bytes, the longest JSON the broker takes some 20 kB.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Shortest body worth compressing.
const GZIP_FROM_BYTES: usize = 1024;

/// The routes of one server.
pub(super) fn router(driver: Arc<Driver>) -> Router {
    let clock = Arc::clone(&driver.clock);
    // The market's own time: a client holds its clock against this header.
    let dated = map_response(move |mut response: Response| {
        if let Ok(date) = HeaderValue::try_from(clock.now().wall.to_http_date()) {
            response.headers_mut().insert(header::DATE, date);
        }
        std::future::ready(response)
    });
    Router::new().route("/", get(handshake).fallback(rest)).fallback(rest).with_state(driver).layer(dated)
}

/// Serves one TCP connection until it ends.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, router: Router) {
    // Orders and ticks are small and must not wait for more.
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
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
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

async fn rest(State(driver): State<Arc<Driver>>, Extension(peer): Extension<SocketAddr>, request: Request) -> Response {
    let gzip = accepts_gzip(request.headers());
    let Some(method) = method(request.method()) else {
        return respond(ApiError::wrong_method().into(), gzip);
    };
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return respond(ApiError::input("The request body is too long or broke off.").into(), gzip);
    };
    let parts = HttpParts {
        method,
        path: head.uri.path().to_owned(),
        query: Form::parse(head.uri.query().unwrap_or_default().as_bytes()),
        body: form(&head.headers, &body),
        authorization: head.headers.get(header::AUTHORIZATION).and_then(secret),
        local: is_local(peer),
    };
    let reply = driver.with(|exchange, now| exchange.handle(&parts, now));
    match reply.transport {
        Transport::Normal => {}
        Transport::Hang => pending().await,
        Transport::Cut => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Dropped);
            return response;
        }
        // Real time on purpose, see `Fault::Slow`.
        Transport::Delay(span) => tokio::time::sleep(span).await,
    }
    respond(reply, gzip)
}

/// `GET /?api_key=..&access_token=..`: refused before the upgrade, or upgraded and served by a task of its own.
async fn handshake(
    State(driver): State<Arc<Driver>>,
    Extension(peer): Extension<SocketAddr>,
    mut request: Request,
) -> Response {
    let Some(key) = websocket_key(request.headers()) else {
        return respond(ApiError::input("A WebSocket handshake is expected here.").into(), false);
    };
    let query = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
    match driver.open(peer.port(), |exchange, now| exchange.open(&query, peer.port(), now)) {
        Err(reply) => respond(reply, false),
        Ok((id, queue)) => {
            let upgrade = hyper::upgrade::on(&mut request);
            driver.spawn(socket::serve(Arc::clone(&driver), id, peer.port(), upgrade, queue));
            let mut response = Response::new(Body::empty());
            *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
            response
        }
    }
}

fn respond(reply: Reply, gzip: bool) -> Response {
    let compressed = (gzip && reply.body.len() >= GZIP_FROM_BYTES).then(|| compress(&reply.body)).flatten();
    let encoded = compressed.is_some();
    let mut response = Response::new(Body::from(compressed.unwrap_or(reply.body)));
    *response.status_mut() =
        hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if encoded {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(location) = reply.location.and_then(|location| HeaderValue::try_from(location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

fn compress(body: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

fn method(method: &hyper::Method) -> Option<Method> {
    [Method::Get, Method::Post, Method::Put, Method::Delete].into_iter().find(|known| known.as_str() == method.as_str())
}

/// The form in a body. JavaScript's SDK sends a form's content type with a GET and no body: that is an empty form.
fn form(headers: &HeaderMap, body: &Bytes) -> Form {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"));
    if json { Form::new() } else { Form::parse(body) }
}

fn secret(value: &HeaderValue) -> Option<Secret> {
    value.to_str().ok().map(Secret::new)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|coding| coding.trim().split(';').next().is_some_and(|name| name.trim() == "gzip"))
    })
}

fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let upgrade = headers.get(header::UPGRADE)?.to_str().ok()?;
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    upgrade.eq_ignore_ascii_case("websocket").then(|| key.to_owned())
}
