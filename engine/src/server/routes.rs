//! The routes of browsers and brokers: login, callback, notifier.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use nirantar_brokers::{BadNotice, Fingerprint, Form, Secret};
use tokio::sync::oneshot;

use super::pages::{self, Page, Tone};
use super::states::{BadState, Brought};
use super::{App, access, operator, proof};
use crate::engine::{Engine, LoginError};

/// Where the guides' apps have registered their redirects, beside our own path.
pub(crate) const CALLBACKS: [&str; 6] = [
    "/api/auth/callback",
    "/callback",
    "/api/zerodha/callback",
    "/api/kite/callback",
    "/api/fyers/callback",
    "/api/upstox/callback",
];
/// Longest notice that is read. A broker's is some 500 bytes.
const MAX_NOTICE_BYTES: usize = 64 << 10;
/// How long the body of a notice may take.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/live", get(|| async { respond(200, "text/plain; charset=utf-8", "alive\n".to_owned()) }))
        .route("/api/auth/login", get(choose))
        .route("/api/auth/login/{account}", get(login))
        .route("/api/auth/callback/{account}", get(callback_of))
        .route("/api/auth/notify/{path}", post(notify))
        .route("/api/system/health", get(operator::status))
        .route("/api/operator/{account}/{wish}", post(operator::act))
        .route("/api/operator/{account}/acknowledge/{order}", post(operator::acknowledge));
    CALLBACKS
        .into_iter()
        .fold(router, |router, path| router.route(path, get(callback)))
        .fallback(|| async { show(&pages::nothing_here()) })
        .layer(axum::middleware::map_response(guarded))
        .with_state(app)
}

/// A reply of that type.
pub(super) fn respond(status: u16, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `GET /api/auth/login`: the one account's login, or a page to choose from.
async fn choose(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match app.engines.as_slice() {
        [only] => begin(&app, 0, only, &method, &uri, &headers).await,
        several => {
            // The page is for everybody; whose accounts they are is not.
            let may_know = app.access.check(peer, &headers, false).is_ok();
            let owner = |engine: &'_ Arc<Engine>| engine.owner().filter(|_| may_know).map(str::to_owned);
            show(&pages::accounts(several.iter().map(|engine| (engine.name(), engine.broker(), owner(engine)))))
        }
    }
}

/// `GET /api/auth/login/{account}`
async fn login(
    State(app): State<Arc<App>>,
    Path(account): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match app.account(&account) {
        Some((number, engine)) => begin(&app, number, engine, &method, &uri, &headers).await,
        None => show(&pages::no_account()),
    }
}

/// Sends the browser to the broker, or says first what the login would cost.
async fn begin(app: &App, number: usize, engine: &Engine, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
    let _busy = app.clock.busy();
    if method == Method::HEAD {
        return only_get();
    }
    let cost = match engine.login_cost().await {
        Ok(cost) => cost,
        Err(_) => return show(&pages::failed(engine.name(), &LoginError::Stopped)),
    };
    // A link on somebody's web page must not go on by itself: where the human is logged in at the broker already, the
    // way there and back takes no click, and the living token is gone.
    let confirmed = app.access.confirms(headers) && Form::parse(query(uri)).get("confirm") == Some("1");
    if let Some(words) = cost.filter(|_| !confirmed) {
        let elsewhere = (!app.access.is_called_by_its_name(headers)).then_some(app.login.as_str());
        return show(&pages::cost(engine.name(), words, elsewhere));
    }
    let Some(state) = new_state() else {
        let words = "The system gives no random numbers, so that no login can be started safely.";
        return show(&Page::new(500, Tone::Bad, "Not possible now", words));
    };
    let Some(link) = engine.login_url(Some(state.expose())) else {
        let words = "This broker has no login page of its own: write a new token into the account's store.";
        return show(&Page::new(404, Tone::Bad, "No login page", words));
    };
    let Ok(location) = HeaderValue::try_from(link) else {
        let words = "The address of the broker's login page makes no sense: see login_url in the configuration.";
        return show(&Page::new(500, Tone::Bad, "Not possible now", words));
    };
    lock(&app.states).begin(&state, number, app.clock.now().mono);
    tracing::info!(account = engine.name(), "a login begins in the browser");
    let mut response = respond(302, "text/plain; charset=utf-8", String::new());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// A callback whose account is found by its state.
async fn callback(State(app): State<Arc<App>>, method: Method, uri: Uri) -> Response {
    if method == Method::HEAD { only_get() } else { finish(&app, None, &uri).await }
}

/// `GET /api/auth/callback/{account}`
async fn callback_of(State(app): State<Arc<App>>, Path(account): Path<String>, method: Method, uri: Uri) -> Response {
    if method == Method::HEAD {
        return only_get();
    }
    match app.account(&account) {
        Some((number, _)) => finish(&app, Some(number), &uri).await,
        None => show(&pages::no_account()),
    }
}

/// Takes the state, exchanges the code, waits for what becomes of the token, and says it.
async fn finish(app: &Arc<App>, callback_of: Option<usize>, uri: &Uri) -> Response {
    let busy = app.clock.busy();
    let form = Form::parse(query(uri));
    let state = Secret::new(form.get("state").unwrap_or_default());
    let taken = lock(&app.states).take(state.expose(), callback_of, app.clock.now().mono);
    let number = match taken {
        Ok(number) => number,
        Err(BadState::Unknown | BadState::OtherAccount) => {
            tracing::warn!("a redirect came without a state of ours and was not used");
            return show(&pages::not_ours());
        }
        Err(BadState::Expired { account }) => {
            return show(&pages::too_late(app.engines.get(account).map_or("", |engine| engine.name())));
        }
        Err(BadState::Used { account, brought }) => return used(app, account, brought).await,
    };
    let Some(engine) = app.engines.get(number).cloned() else { return show(&pages::no_account()) };
    let (name, owner) = (engine.name().to_owned(), engine.owner().map(str::to_owned));
    let events = engine.events();
    let token = match exchange(app, Arc::clone(&engine), form, state).await {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(account = name, "a login in the browser failed: {error}");
            return show(&pages::failed(&name, &error));
        }
    };
    // What follows takes market time.
    drop(busy);
    match proof::wait(&engine, events, token, app.clock.as_ref()).await {
        Ok(proof) => show(&pages::proof(&proof, &name, owner.as_deref())),
        Err(_) => show(&pages::failed(&name, &LoginError::Stopped)),
    }
}

/// Exchanges the code in a task of its own: the code is spent once it is sent, and the token must be stored even if the
/// browser goes away.
async fn exchange(app: &App, engine: Arc<Engine>, form: Form, state: Secret) -> Result<Fingerprint, LoginError> {
    let (done, ended) = oneshot::channel();
    {
        let mut exchanges = lock(&app.exchanges);
        while exchanges.try_join_next().is_some() {}
        let (states, clock) = (Arc::clone(&app.states), Arc::clone(&app.clock));
        exchanges.spawn(async move {
            let token = engine.finish_redirect(&form).await;
            lock(&states).ended(state.expose(), token.as_ref().ok().copied(), clock.now().mono);
            // The one who waits may have gone away.
            let _ = done.send(token);
        });
    }
    ended.await.unwrap_or(Err(LoginError::Stopped))
}

/// The page of a login that was used: how things stand now. Another login is not offered while the broker is being asked
/// about the token that this one brought: where a login ends the session before it, it would end that one too.
async fn used(app: &App, account: usize, brought: Brought) -> Response {
    let Some(engine) = app.engines.get(account) else { return show(&pages::no_account()) };
    let token = match brought {
        Brought::Token(token) => Some(token),
        Brought::NothingYet | Brought::Nothing => None,
    };
    let judged = match token {
        Some(token) => engine.look(move |core| core.session().spent_tokens().contains(&token)).await,
        None => Ok(brought == Brought::Nothing),
    };
    match (judged, engine.health().await) {
        (Ok(false), Ok(health)) => show(&pages::being_checked(&health)),
        (Ok(true), Ok(health)) => show(&pages::used(&health, token)),
        _ => show(&pages::failed(engine.name(), &LoginError::Stopped)),
    }
}

/// `POST /api/auth/notify/{path}`: 200 once the body is read, since a broker posts again what is not answered so.
async fn notify(State(app): State<Arc<App>>, Path(path): Path<String>, request: Request) -> Response {
    let _busy = app.clock.busy();
    if !app.notifier.as_ref().is_some_and(|secret| access::is(secret, &path)) {
        return show(&pages::nothing_here());
    }
    let plain = |status, words: &str| respond(status, "text/plain; charset=utf-8", format!("{words}\n"));
    let read = to_bytes(request.into_body(), MAX_NOTICE_BYTES);
    // By real time: it guards a real socket.
    let body = match tokio::time::timeout(NOTICE_TIMEOUT, read).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return plain(413, "the body is too long or broke off"),
        Err(_) => return plain(408, "the body took too long"),
    };
    let mut why = None;
    for engine in &app.engines {
        match engine.take_notice(&body).await {
            Ok(token) => {
                tracing::info!(account = engine.name(), "the notifier brought token {token}: asking the broker");
                return plain(200, "taken");
            }
            Err(LoginError::Notice(BadNotice::NotSupported)) => {}
            Err(error) => why = Some((engine.name(), error)),
        }
    }
    match why {
        Some((account, error)) => tracing::warn!(account, "what was posted to the notifier was not taken: {error}"),
        None => tracing::warn!("something was posted to the notifier, and no account's broker posts there"),
    }
    plain(200, "read")
}

/// A state nobody guesses: 128 bits of the system's randomness, in hex.
fn new_state() -> Option<Secret> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok()?;
    Some(Secret::new(bits.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn query(uri: &Uri) -> &[u8] {
    uri.query().unwrap_or_default().as_bytes()
}

fn show(page: &Page) -> Response {
    respond(page.status, "text/html; charset=utf-8", page.html())
}

/// A previewer's HEAD must not take a state.
fn only_get() -> Response {
    let mut response = respond(405, "text/plain; charset=utf-8", String::new());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// Nothing is kept by a browser, sent on to another site, run, or framed.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
