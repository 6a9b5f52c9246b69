//! The login server over loopback: an engine, a Kite simulator whose login page sends the browser back, and a client that
//! speaks HTTP as a browser, a monitor or a web page of somebody else's would.
//!
//! The clock is stepped: it stands still but for what follows a login, once its token is being proven.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nirantar::config::ServerSettings;
use nirantar::core::Event;
use nirantar::engine::{Engine, EventMessage, LoginError, Setup};
use nirantar::server::Server;
use nirantar::session::Policy;
use nirantar::token::store::{EnvFormat, EnvStore};
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Busy, Clock, SteppedClock, Timestamp};
use nirantar_brokers::{AccessToken, Broker as _, Exchange, InstrumentKey, Secret, Venue};
use nirantar_exchange_mock::Calendar;
use nirantar_exchange_mock::kite::{KiteServer, Settings};
use nirantar_exchange_mock::prices::Walk;
use nirantar_exchange_mock::universe;
use nirantar_tests::ReservedPort;
use reqwest::header::{AUTHORIZATION, HOST, LOCATION};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A Friday without a holiday, in trading hours.
const OPEN: &str = "2026-11-20 10:00:00";
/// By the wall clock, far beyond anything a test waits for.
const DEADLINE: Duration = Duration::from_secs(30);
const OWNER: &str = "NR0001";
const API_SECRET: &str = "sentinel-api-secret";
const SHARED: &str = "sentinel-shared-secret";
const NOTIFIER: &str = "sentinel-notifier-path";

/// Everything written to a log so far, by whatever library, once [`capture`] was called.
static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl log::Log for Sink {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(Self, "log {} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

/// From here on every line of every level is kept.
fn capture() {
    let all = tracing_subscriber::filter::LevelFilter::TRACE;
    tracing_subscriber::fmt().with_max_level(all).with_ansi(false).with_writer(|| Sink).init();
    // Refused where tracing-subscriber was built with its own bridge from `log`: then that one is captured.
    let _ = log::set_logger(&Sink);
    log::set_max_level(log::LevelFilter::Trace);
}

/// What a client got.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    location: Option<String>,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Accounts with their server, and the broker.
struct World {
    engines: Vec<Arc<Engine>>,
    server: Server,
    broker: KiteServer,
    clock: Arc<SteppedClock>,
    hold: Busy,
    client: Client,
    folder: TempDir,
    _stepping: JoinSet<()>,
}

impl World {
    /// One account, whose human has not logged in.
    async fn at(time: &str) -> Self {
        Self::with(time, &["main"], |_| {}).await
    }

    async fn with(time: &str, accounts: &[&str], change: impl FnOnce(&mut ServerSettings)) -> Self {
        let clock = Arc::new(SteppedClock::starting_at(Timestamp::parse_ist(time).unwrap()));
        let hold = clock.busy();
        // The simulator must know where the browser comes back to, and the server comes after it.
        let port = ReservedPort::new().unwrap();
        let settings = Settings {
            api_secret: Secret::new(API_SECRET),
            user_id: OWNER.to_owned(),
            redirect_url: format!("http://127.0.0.1:{port}/callback"),
            ..Settings::default()
        };
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let day = clock.now().wall.ist_date();
        let market = universe::with_start_prices(day);
        let prices = Walk::new(1, &market, &Calendar::nse(), day);
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let broker = KiteServer::start(anywhere, settings, Arc::clone(&shared), Box::new(prices)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut engines = Vec::new();
        for name in accounts {
            let setup = setup(name, broker.addr(), folder.path().join(format!("{name}.env")));
            let started = Engine::builder(setup).clock(Arc::clone(&shared)).start().await;
            engines.push(Arc::new(started.unwrap()));
        }
        let mut settings = ServerSettings {
            listen: port.address(),
            notifier: Some(Secret::new(NOTIFIER)),
            ..ServerSettings::default()
        };
        change(&mut settings);
        let server = Server::start(&settings, engines.clone(), shared).await.unwrap();
        let mut stepping = JoinSet::new();
        let stepped = Arc::clone(&clock);
        stepping.spawn(async move { stepped.run(None).await });
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { engines, server, broker, clock, hold, client, folder, _stepping: stepping }
    }

    fn store(&self, account: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{account}.env"))).unwrap_or_default()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addr())
    }

    /// One request, while which time stands still. Whatever comes back must show no secret.
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.client.request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let whole = async {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status(), response.headers().clone());
            let body = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
            let location = headers.get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
            Answer { status, location, headers, body }
        };
        let answer = tokio::time::timeout(DEADLINE, whole).await.expect("an answer");
        assert!(!answer.body.contains("sentinel"), "{answer:?}");
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        let url = self.url(path);
        self.ask(Method::GET, &url, &[], "").await
    }

    /// From the login link to the address the broker sends the browser back to.
    async fn log_in_at_broker(&self, account: &str, more: &str) -> String {
        let there = self.get(&format!("/api/auth/login/{account}{more}")).await;
        assert_eq!(there.status, StatusCode::FOUND, "{there:?}");
        let link = there.location.unwrap();
        assert!(link.starts_with(&format!("http://{}/connect/login?", self.broker.addr())), "{link}");
        let back = self.ask(Method::GET, &link, &[], "").await;
        back.location.unwrap_or_else(|| panic!("{}", back.body))
    }

    /// Comes back from the broker. Market time passes from when the token is a candidate.
    async fn follow(&mut self, url: &str) -> Answer {
        let hold = std::mem::take(&mut self.hold);
        let events = self.engines.iter().map(|engine| engine.events());
        let candidates = events.map(|mut events| {
            Box::pin(async move {
                while !matches!(events.next().await, None | Some(EventMessage::Event(Event::Candidate { .. }))) {}
            })
        });
        let candidate = futures_util::future::select_all(candidates);
        let answer = {
            let mut answer = Box::pin(self.ask(Method::GET, url, &[], ""));
            let early = tokio::select! {
                answer = &mut answer => Some(answer),
                _ = candidate => None,
            };
            drop(hold);
            match early {
                Some(answer) => answer,
                None => answer.await,
            }
        };
        self.hold = self.clock.busy();
        answer
    }

    async fn pass(&mut self, span: Duration) {
        let alarm = self.clock.sleep(span);
        self.hold = Busy::idle();
        self.hold = tokio::time::timeout(DEADLINE, alarm).await.expect("market time passes");
    }

    fn venue(&self) -> Venue {
        self.engines[0].snapshot().venue
    }
}

fn setup(name: &str, broker: SocketAddr, store: PathBuf) -> Setup {
    let kite = Kite::new(App::Individual, "nirantar", Some(Secret::new(API_SECRET)));
    let kite = kite.with_login_root(format!("http://{broker}"));
    let policy = Policy { user_id: Some(OWNER.to_owned()), ..Policy::for_broker(kite.facts()) };
    let store = Arc::new(EnvStore::new(store, EnvFormat::new("ZERODHA")));
    let (rest, feed) = (format!("http://{broker}"), format!("ws://{broker}"));
    Setup {
        loopback: true,
        policy,
        secrets: vec![Secret::new(API_SECRET)],
        instruments: vec![InstrumentKey::new(Exchange::Nse, "RELIANCE")],
        ..Setup::new(name, Arc::new(kite), rest, feed, store)
    }
}

fn parameter(url: &str, name: &str) -> String {
    let start = url.find(&format!("{name}=")).unwrap() + name.len() + 1;
    url[start..].split('&').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_goes_from_the_click_to_connected() {
    let mut world = World::at(OPEN).await;
    assert_ne!(world.venue(), Venue::Live);
    let back = world.log_in_at_broker("main", "").await;
    let page = world.follow(&back).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    for words in ["Connected", "NR0001 at kite", "orders go to the broker"] {
        assert!(page.body.contains(words), "`{words}` is not in {}", page.body);
    }
    assert_eq!(world.venue(), Venue::Live);
    assert!(world.store("main").contains("ZERODHA_ACCESS_TOKEN="), "the token is stored");
    for secret in [parameter(&back, "request_token"), parameter(&back, "state"), token_in(&world.store("main"))] {
        assert!(!page.body.contains(&secret), "{}", page.body);
    }
    for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
        assert_eq!(page.headers[name], value);
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"), "{policy}");
}

fn token_in(store: &str) -> String {
    store.lines().find_map(|line| line.strip_prefix("ZERODHA_ACCESS_TOKEN=")).unwrap().trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_that_was_loaded_again_is_not_used_again() {
    let mut world = World::at(OPEN).await;
    let back = world.log_in_at_broker("main", "").await;
    world.follow(&back).await;
    let store = world.store("main");
    let again = world.follow(&back).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.body.contains("This login was used") && again.body.contains("go to the broker"), "{again:?}");
    assert_eq!((world.store("main"), world.venue()), (store, Venue::Live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_loaded_again_while_the_token_is_being_checked_offers_no_other_login() {
    let mut world = World::at(OPEN).await;
    let mut events = world.engines[0].events();
    // A probe was just made: the next one waits, and time stands still.
    world.engines[0].offer_token(AccessToken::new("dead")).await.unwrap();
    let refused = |event: &EventMessage| matches!(event, EventMessage::Event(Event::Notice { .. }));
    while !refused(&events.next().await.unwrap()) {}
    let back = world.log_in_at_broker("main", "").await;
    // Whoever listens and does not read holds time still: the listener ends with what it waits for.
    let candidate =
        async move { while !matches!(events.next().await, Some(EventMessage::Event(Event::Candidate { .. }))) {} };
    let hold = std::mem::take(&mut world.hold);
    let mut first = Box::pin(world.ask(Method::GET, &back, &[], ""));
    tokio::select! {
        answer = &mut first => panic!("{answer:?}"),
        () = candidate => {}
    }
    let again = world.ask(Method::GET, &back, &[], "").await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.body);
    assert!(again.body.contains("Being checked") && again.body.contains("http-equiv=\"refresh\""), "{}", again.body);
    assert!(!again.body.contains("/api/auth/login"), "no other login: {}", again.body);
    drop(hold);
    assert!(first.await.body.contains("<h1>Connected</h1>"));
    let settled = world.ask(Method::GET, &back, &[], "").await;
    assert!(settled.body.contains("<h1>Connected</h1>") && !settled.body.contains("refresh"), "{}", settled.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owns_the_accounts_is_shown_to_this_machine_or_for_the_secret() {
    let open = World::with(OPEN, &["main", "other"], |_| {}).await;
    assert!(open.get("/api/auth/login").await.body.contains(OWNER));
    let world = World::with(OPEN, &["main", "other"], |settings| settings.secret = Some(Secret::new(SHARED))).await;
    let (url, right) = (world.url("/api/auth/login"), format!("Bearer {SHARED}"));
    for (said, shown) in [(None, false), (Some("Bearer wrong"), false), (Some(right.as_str()), true)] {
        let headers: Vec<_> = said.iter().map(|said| (AUTHORIZATION.as_str(), *said)).collect();
        let page = world.ask(Method::GET, &url, &headers, "").await;
        assert!(page.body.contains("Log in: main"), "{}", page.body);
        assert_eq!(page.body.contains(OWNER), shown, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_without_a_state_of_ours_is_somebody_elses_login_and_is_not_used() {
    let mut world = World::at(OPEN).await;
    let back = world.log_in_at_broker("main", "").await;
    let (code, state) = (parameter(&back, "request_token"), parameter(&back, "state"));
    for query in [
        format!("request_token={code}&status=success"),
        format!("request_token={code}&status=success&state="),
        format!("request_token={code}&status=success&state=0123456789abcdef0123456789abcdef"),
    ] {
        for path in ["/callback", "/api/auth/callback", "/api/auth/callback/main", "/api/kite/callback"] {
            let refused = world.get(&format!("{path}?{query}")).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
            assert!(refused.body.contains("not started here"), "{}", refused.body);
        }
    }
    assert_eq!(world.get(&format!("/?request_token={code}&state={state}")).await.status, StatusCode::NOT_FOUND);
    // A previewer that asks for no more than the head takes nothing.
    assert_eq!(world.ask(Method::HEAD, &back, &[], "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.store("main"), "");
    assert_eq!(world.follow(&back).await.status, StatusCode::OK, "the right one still works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_callback_path_of_the_guides_finishes_a_login() {
    let mut world = World::at(OPEN).await;
    for path in [
        "/api/auth/callback",
        "/api/auth/callback/main",
        "/api/zerodha/callback",
        "/api/kite/callback",
        "/api/fyers/callback",
        "/api/upstox/callback",
    ] {
        let back = world.log_in_at_broker("main", "?confirm=1").await;
        let query = back.split_once('?').unwrap().1.to_owned();
        let url = world.url(&format!("{path}?{query}"));
        let page = world.follow(&url).await;
        assert!(page.body.contains("<h1>Connected</h1>"), "{path}: {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_must_come_back_within_ten_minutes() {
    let mut world = World::at(OPEN).await;
    let late = world.log_in_at_broker("main", "").await;
    world.pass(Duration::from_secs(600)).await;
    let page = world.follow(&late).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.body.contains("within ten minutes"), "{}", page.body);
    assert_eq!(world.store("main"), "", "the code was not sent to the broker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_bound_to_its_account() {
    let mut world = World::with(OPEN, &["main", "other"], |_| {}).await;
    let choice = world.get("/api/auth/login").await;
    assert_eq!(choice.status, StatusCode::OK);
    for link in ["/api/auth/login/main", "/api/auth/login/other"] {
        assert!(choice.body.contains(&format!("href=\"{link}\"")), "{}", choice.body);
    }
    let back = world.log_in_at_broker("main", "").await;
    let query = back.split_once('?').unwrap().1.to_owned();
    let refused = world.get(&format!("/api/auth/callback/other?{query}")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!((world.store("main"), world.store("other")), (String::new(), String::new()));
    let back = world.log_in_at_broker("other", "").await;
    world.follow(&back).await;
    assert!(world.store("other").contains("ZERODHA_ACCESS_TOKEN=") && world.store("main").is_empty());
    assert_eq!(world.get("/api/auth/login/nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_would_end_a_living_token_in_market_hours_is_asked_about_first() {
    let mut world = World::at(OPEN).await;
    let back = world.log_in_at_broker("main", "").await;
    world.follow(&back).await;
    let page = world.get("/api/auth/login").await;
    assert_eq!((page.status, page.location.is_none()), (StatusCode::OK, true));
    assert!(page.body.contains("ends that token") && page.body.contains("?confirm=1"), "{}", page.body);
    // A link on somebody's web page must not confirm in the human's place.
    let url = world.url("/api/auth/login/main?confirm=1");
    for strange in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("host", "evil.example")] {
        let asked = world.ask(Method::GET, &url, &[strange], "").await;
        assert_eq!((asked.status, asked.location.is_none()), (StatusCode::OK, true), "{strange:?}: {asked:?}");
        let rebound = strange.0 == "host";
        assert_eq!(asked.body.contains("public_url"), rebound, "{}", asked.body);
        assert_eq!(asked.body.contains("?confirm=1"), !rebound, "{}", asked.body);
    }
    let back = world.log_in_at_broker("main", "?confirm=1").await;
    assert!(world.follow(&back).await.body.contains("<h1>Connected</h1>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_the_broker_refuses_is_said_and_harms_nothing() {
    let mut world = World::at(OPEN).await;
    let back = world.log_in_at_broker("main", "").await;
    world.follow(&back).await;
    let (store, state) = (world.store("main"), world.log_in_at_broker("main", "?confirm=1").await);
    let state = parameter(&state, "state");
    let page = world.get(&format!("/callback?request_token=sentinel-code&status=success&state={state}")).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{}", page.body);
    assert!(page.body.contains("Not logged in") && page.body.contains("Log in again"), "{}", page.body);
    let back = world.log_in_at_broker("main", "?confirm=1").await;
    let cancelled = back.replace("status=success", "status=cancelled");
    let page = world.follow(&cancelled).await;
    assert!(page.body.contains("did not succeed (cancelled)"), "{}", page.body);
    assert_eq!((world.store("main"), world.venue()), (store, Venue::Live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_bad_only_when_trading_should_be_possible_and_is_not() {
    for (time, expected) in [
        ("2026-11-20 08:30:00", StatusCode::OK),
        ("2026-11-20 08:46:00", StatusCode::SERVICE_UNAVAILABLE),
        ("2026-11-20 10:00:00", StatusCode::SERVICE_UNAVAILABLE),
        ("2026-11-20 16:00:00", StatusCode::OK),
        ("2026-11-22 10:00:00", StatusCode::OK),
    ] {
        let world = World::at(time).await;
        let health = world.get("/api/system/health").await;
        assert_eq!(health.status, expected, "{time}: {}", health.body);
        assert_eq!(health.json()["ok"], expected == StatusCode::OK);
        assert_eq!(world.get("/live").await.status, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_how_the_account_stands() {
    let mut world = World::at(OPEN).await;
    let back = world.log_in_at_broker("main", "").await;
    world.follow(&back).await;
    world.pass(Duration::from_secs(60)).await;
    let health = world.get("/api/system/health").await;
    assert_eq!(health.status, StatusCode::OK);
    let account = &health.json()["accounts"][0];
    for (key, value) in [("account", "main"), ("state", "Valid"), ("venue", "live"), ("feed", "live")] {
        assert_eq!(account[key], value, "{account}");
    }
    assert_eq!((&account["phase"], &account["reduce_only"]), (&"continuous".into(), &false.into()));
    let none = serde_json::json!({ "working": 0, "unknown": 0, "unresolved": 0 });
    assert_eq!(account["orders"], serde_json::json!({ "live": none, "paper": none }));
    assert_eq!((&account["mode"], &account["journal"]["durable"]), (&"active".into(), &false.into()));
    assert!(account["journal"]["error"].is_null(), "{account}");
    let token = &account["token"];
    assert!(token["fingerprint"].as_str().unwrap().starts_with('#'), "{token}");
    assert_eq!(token["expires_at"], "2026-11-21T07:30:00+05:30", "{token}");
    let (age, left) = (token["age_seconds"].as_u64().unwrap(), token["seconds_left"].as_u64().unwrap());
    // From 10:00 to 07:30 on the next day, in whole seconds.
    assert!(age >= 60 && (77_398..=77_400).contains(&(age + left)), "{token}");
    assert!(!health.body.contains(&token_in(&world.store("main"))));
    assert!(account["last_error"]["message"].is_string(), "it began without a token: {account}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_word_is_taken_from_this_machine_and_from_no_web_page() {
    let mut world = World::at(OPEN).await;
    let back = world.log_in_at_broker("main", "").await;
    world.follow(&back).await;
    let halt = world.url("/api/operator/main/halt");
    let page = world.ask(Method::POST, &halt, &[], "").await;
    let rebound = [(HOST.as_str(), "evil.example"), ("x-nirantar", "1")];
    let rebinding = world.ask(Method::POST, &halt, &rebound, "").await;
    assert_eq!((page.status, rebinding.status), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    let health = world.url("/api/system/health");
    let seen = world.ask(Method::GET, &health, &rebound[..1], "").await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    assert_eq!(world.venue(), Venue::Live, "nothing was done");

    let own = [("x-nirantar", "1")];
    let done = world.ask(Method::POST, &halt, &own, "").await;
    assert_eq!((done.status, done.json()["asked"].as_str()), (StatusCode::OK, Some("halt")));
    let health = world.get("/api/system/health").await;
    assert_eq!(health.json()["accounts"][0]["venue"], "blocked (halted)");
    assert_eq!(health.json()["accounts"][0]["mode"], "halted");
    for path in ["/api/operator/nobody/halt", "/api/operator/main/explode"] {
        let url = world.url(path);
        assert_eq!(world.ask(Method::POST, &url, &own, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Only what is unresolved can be acknowledged.
    for (path, status, words) in [
        ("/api/operator/main/acknowledge/N1", StatusCode::NOT_FOUND, "no such order"),
        ("/api/operator/main/acknowledge/no-number", StatusCode::BAD_REQUEST, "no order number"),
        ("/api/operator/nobody/acknowledge/N1", StatusCode::NOT_FOUND, "no account"),
    ] {
        let url = world.url(path);
        let reply = world.ask(Method::POST, &url, &own, "").await;
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.json()["error"].as_str().unwrap().contains(words), "{path}: {}", reply.body);
        assert_eq!(world.ask(Method::POST, &url, &[], "").await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let url = world.url("/api/operator/main/halt");
    assert_eq!(world.ask(Method::GET, &url, &own, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_public_address_status_and_operator_need_the_secret_and_logins_do_not() {
    let mut world = World::with(OPEN, &["main"], |settings| {
        settings.public_url = Some("https://desk.example".to_owned());
        settings.secret = Some(Secret::new(SHARED));
    })
    .await;
    assert_eq!(world.server.login_page(), "https://desk.example/api/auth/login");
    let (health, renew) = (world.url("/api/system/health"), world.url("/api/operator/main/renew"));
    let right = format!("Bearer {SHARED}");
    for (said, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("Bearer wrong"), StatusCode::UNAUTHORIZED),
        (Some(right.as_str()), StatusCode::OK),
    ] {
        let mut headers = vec![("x-nirantar", "1")];
        headers.extend(said.map(|said| (AUTHORIZATION.as_str(), said)));
        // No token yet, in market hours: 503 is the answer of one who may see it.
        let seen = world.ask(Method::GET, &health, &headers, "").await.status;
        let seen = if seen == StatusCode::SERVICE_UNAVAILABLE { StatusCode::OK } else { seen };
        let acted = world.ask(Method::POST, &renew, &headers, "").await.status;
        assert_eq!((seen, acted), (expected, expected), "{said:?}");
    }
    let back = world.log_in_at_broker("main", "").await;
    assert!(world.follow(&back).await.body.contains("<h1>Connected</h1>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_notifier_answers_on_its_own_path_only_and_reads_no_more_than_it_must() {
    let world = World::at(OPEN).await;
    let wrong = world.url("/api/auth/notify/sentinel-notifier-patH");
    assert_eq!(world.ask(Method::POST, &wrong, &[], "{}").await.status, StatusCode::NOT_FOUND);
    let right = world.url(&format!("/api/auth/notify/{NOTIFIER}"));
    for body in ["", "{}", "\u{0}\u{fffd}", "{\"access_token\":\"sentinel\"}"] {
        assert_eq!(world.ask(Method::POST, &right, &[], body).await.status, StatusCode::OK, "{body}");
    }
    let long = "x".repeat((64 << 10) + 1);
    assert_eq!(world.ask(Method::POST, &right, &[], &long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.store("main"), "");

    let none = World::with(OPEN, &["main"], |settings| settings.notifier = None).await;
    let nothing = none.url("/api/auth/notify/");
    assert_eq!(none.ask(Method::POST, &nothing, &[], "{}").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_of_any_level_shows_a_code_a_state_a_token_or_a_secret() {
    capture();
    let mut world = World::with(OPEN, &["main"], |settings| settings.secret = Some(Secret::new(SHARED))).await;
    let back = world.log_in_at_broker("main", "").await;
    assert!(world.follow(&back).await.body.contains("<h1>Connected</h1>"));
    let notify = world.url(&format!("/api/auth/notify/{NOTIFIER}"));
    world.ask(Method::POST, &notify, &[], "{\"access_token\":\"sentinel-notice\"}").await;
    let halt = world.url("/api/operator/main/halt");
    let said = format!("Bearer {SHARED}");
    world.ask(Method::POST, &halt, &[(AUTHORIZATION.as_str(), said.as_str())], "").await;
    world.get("/callback?request_token=sentinel-code&state=sentinel-state").await;

    let written = String::from_utf8_lossy(&WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    for line in ["a login begins in the browser", "without a state of ours", "the operator says: halt"] {
        assert!(written.contains(line), "`{line}` was not logged");
    }
    let own = [parameter(&back, "request_token"), parameter(&back, "state"), token_in(&world.store("main"))];
    for secret in own.iter().map(String::as_str).chain(["sentinel"]) {
        let shown = written.lines().find(|line| line.contains(secret));
        assert!(shown.is_none(), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_login_is_refused_before_it_reaches_the_store() {
    let world = World::at(OPEN).await;
    let address = world.broker.addr();
    let policy = |owner: &str| Policy { user_id: Some(owner.to_owned()), ..setup("x", address, PathBuf::new()).policy };
    let store = world.folder.path().join("stranger.env");
    let setup = Setup { policy: policy("ZZ9999"), ..setup("stranger", address, store.clone()) };
    let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let engine = Engine::builder(setup).clock(clock).start().await.unwrap();
    let answer = world.client.get(engine.login_url(None).unwrap()).send().await.unwrap();
    let back = answer.headers()[LOCATION].to_str().unwrap().to_owned();
    let query = nirantar_brokers::Form::parse(back.split_once('?').unwrap().1.as_bytes());
    let error = engine.finish_redirect(&query).await.unwrap_err();
    assert_eq!(error, LoginError::Stranger { user_id: OWNER.to_owned(), owner: "ZZ9999".to_owned() });
    assert!(!store.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_stopped_it_answers_nobody_and_lets_go_of_the_engines() {
    let mut world = World::at(OPEN).await;
    assert_eq!(world.get("/live").await.status, StatusCode::OK);
    let address = world.server.addr();
    world.server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let engine = world.engines.pop().unwrap();
    assert!(Arc::into_inner(engine).is_some(), "nobody else holds it");
}
