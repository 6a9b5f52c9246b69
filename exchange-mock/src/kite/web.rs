//! HTTP on the wire: axum routes a request to the feed's handshake or to the core, hyper carries it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use hyper::header::{self, HeaderMap, HeaderValue};
use nirantar_brokers::Form;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::driver::Driver;
use super::reply::{ApiError, HttpParts, Reply};
use super::socket;
use crate::rest::{authorization, date, is_local, method, send};

/// Longest request body: an order is some 300 bytes, the longest JSON the broker takes some 20 kB.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Shortest body worth compressing.
const GZIP_FROM_BYTES: usize = 1024;

/// The routes of one server.
pub(super) fn router(driver: Arc<Driver>) -> Router {
    let clock = Arc::clone(&driver.clock);
    let dated = map_response(move |mut response: Response| {
        date(&mut response, clock.now().wall);
        std::future::ready(response)
    });
    Router::new().route("/", get(handshake).fallback(rest)).fallback(rest).with_state(driver).layer(dated)
}

async fn rest(State(driver): State<Arc<Driver>>, Extension(peer): Extension<SocketAddr>, request: Request) -> Response {
    let gzip = accepts_gzip(request.headers());
    let Some(method) = method(request.method()) else {
        return send(compressed(ApiError::wrong_method().into(), gzip)).await;
    };
    let (head, body) = request.into_parts();
    let mut parts = HttpParts {
        method,
        path: head.uri.path().to_owned(),
        query: Form::parse(head.uri.query().unwrap_or_default().as_bytes()),
        body: Form::new(),
        authorization: authorization(&head.headers),
        local: is_local(peer),
    };
    if let Some(reply) = driver.with(|exchange, now| exchange.handle_head(&parts, now)) {
        return send(reply).await;
    }
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        let refusal = ApiError::input("The request body is too long or broke off.");
        return send(compressed(refusal.into(), gzip)).await;
    };
    parts.body = form(&head.headers, &body);
    send(compressed(driver.with(|exchange, now| exchange.handle(&parts, now)), gzip)).await
}

/// `GET /?api_key=..&access_token=..`: refused before the upgrade, or upgraded and served by a task of its own.
async fn handshake(
    State(driver): State<Arc<Driver>>,
    Extension(peer): Extension<SocketAddr>,
    mut request: Request,
) -> Response {
    let Some(key) = websocket_key(request.headers()) else {
        return send(ApiError::input("A WebSocket handshake is expected here.").into()).await;
    };
    let query = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
    match driver.open(peer.port(), |exchange, now| exchange.open(&query, peer.port(), now)) {
        Err(reply) => send(reply).await,
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

/// The same with its body compressed, where that is asked for and worth it.
fn compressed(reply: Reply, gzip: bool) -> Reply {
    let small = (gzip && reply.body.len() >= GZIP_FROM_BYTES).then(|| compress(&reply.body)).flatten();
    match small {
        Some(body) => Reply { body, ..reply }.with_header("Content-Encoding", "gzip"),
        None => reply,
    }
}

fn compress(body: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// The form in a body. JavaScript's SDK sends a form's content type with a GET and no body: that is an empty form.
fn form(headers: &HeaderMap, body: &Bytes) -> Form {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"));
    if json { Form::new() } else { Form::parse(body) }
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
