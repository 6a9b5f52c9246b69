//! Status and operator routes: for monitors and the operator's own scripts, not for browsers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use nirantar_brokers::ClientOrderId;
use serde_json::{Value, json};

use super::access::Denied;
use super::{App, health};
use crate::engine::{Engine, NotTaken};
use crate::orders::Refused;
use crate::session::Operator;

/// `GET /api/system/health`
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let _busy = app.clock.busy();
    if let Err(denied) = app.access.check(peer, &headers, false) {
        return denied.reply();
    }
    let (status, body) = health::report(&app.engines).await;
    reply(status, &body)
}

/// `POST /api/operator/{account}/{wish}`
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<SocketAddr>,
    Path((account, wish)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let _busy = app.clock.busy();
    let engine = match addressed(&app, peer, &headers, &account) {
        Ok(engine) => engine,
        Err(denied) => return *denied,
    };
    let asked = match wish.as_str() {
        "renew" => Operator::Renew,
        "confirm" => Operator::Confirm,
        "resume" => Operator::Resume,
        "reduce-only" => Operator::ReduceOnly,
        "halt" => Operator::Halt,
        _ => {
            return no(404, "the operator's words are renew, confirm, resume, reduce-only, halt and acknowledge/ORDER");
        }
    };
    tracing::info!(account = engine.name(), from = %peer, "the operator says: {wish}");
    match engine.operator(asked).await {
        Ok(()) => reply(200, &json!({ "ok": true, "account": engine.name(), "asked": wish })),
        Err(stopped) => no(503, &stopped.to_string()),
    }
}

/// `POST /api/operator/{account}/acknowledge/{order}`
pub(super) async fn acknowledge(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<SocketAddr>,
    Path((account, order)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let _busy = app.clock.busy();
    let engine = match addressed(&app, peer, &headers, &account) {
        Ok(engine) => engine,
        Err(denied) => return *denied,
    };
    let id: ClientOrderId = match order.parse() {
        Ok(id) => id,
        Err(_) => return no(400, "that is no order number: nirantar orders shows them, 1 to 20 letters and digits"),
    };
    tracing::info!(account = engine.name(), from = %peer, "the operator has looked at order {id}");
    match engine.acknowledge(&id).await {
        Ok(()) => reply(200, &json!({ "ok": true, "account": engine.name(), "acknowledged": id.as_str() })),
        Err(NotTaken::Refused(why @ Refused::NoSuchOrder)) => no(404, &why.to_string()),
        Err(NotTaken::Refused(why)) => no(409, &why.to_string()),
        Err(stopped @ (NotTaken::Stopped | NotTaken::NotWritten(_))) => no(503, &stopped.to_string()),
    }
}

/// The engine that an operator's word is for, if it may be given.
fn addressed<'a>(
    app: &'a App,
    peer: SocketAddr,
    headers: &HeaderMap,
    account: &str,
) -> Result<&'a Engine, Box<Response>> {
    app.access.check(peer, headers, true).map_err(Denied::reply)?;
    let (_, engine) = app.account(account).ok_or_else(|| no(404, "no account of that name runs here"))?;
    Ok(engine)
}

fn no(status: u16, words: &str) -> Response {
    reply(status, &json!({ "ok": false, "error": words }))
}

impl Denied {
    fn reply(self) -> Response {
        let status = match self {
            Self::Secret => 401,
            Self::WebPage => 403,
        };
        let mut response = no(status, self.words());
        if self == Self::Secret {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn reply(status: u16, body: &Value) -> Response {
    super::routes::respond(status, "application/json", format!("{body}\n"))
}
