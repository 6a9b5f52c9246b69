//! Alerts arrive at Telegram and at a webhook, once each, and nothing they do holds the engine up.
//!
//! A small HTTP server stands in for both. The engine is a real one against the Kite simulator, on a stepped clock: what
//! happens in market time happens there, what a sink does takes real time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;
mod sink_server;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::{Plan, World, writing};
use nirantar::alerts::{Account, Alert, Alerts, BadSink, Kind, Severity, Watch};
use nirantar::config::{AlertSettings, TelegramSettings};
use nirantar::core::Event;
use nirantar::engine::{Engine, EventMessage, ReadError, Setup};
use nirantar::session::{Operator, Policy};
use nirantar::token::store::{EnvFormat, EnvStore};
use nirantar_brokers::fyers::{App as FyersApp, Fyers};
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Clock, OffsetClock, Timestamp};
use nirantar_brokers::upstox::errors::{self, Answer, Said};
use nirantar_brokers::upstox::{App as UpstoxApp, Upstox};
use nirantar_brokers::{Broker, Call, Endpoint, Failure, HttpRequest, Method, OrderStatus, Outcome, Secret, Venue};
use nirantar_exchange_mock::kite::{NewLogin, Refresh, Settings};
use nirantar_exchange_mock::{fyers, upstox};
use sink_server::{Answer as SinkAnswer, SinkServer};

/// Characters that a path and a form encode.
const BOT_TOKEN: &str = "123456:sentinel-bot_token";
const HOOK: &str = "/hook/sentinel-hook-path";
const API_SECRET: &str = "sentinel+api/secret=of&the%app";
const CHAT: &str = "-1001234";

/// A story with alerts under way.
struct Told {
    world: World,
    alerts: Alerts,
    server: SinkServer,
}

impl Told {
    async fn start(plan: Plan) -> Self {
        let world = World::stepped(plan).await;
        let server = SinkServer::start().await;
        let alerts = Alerts::start(&settings(&server), vec![account(&world)], Arc::clone(&world.clock)).unwrap();
        Self { world, alerts, server }
    }

    /// Waits until both sinks have that many alerts of a kind, and gives back the webhook's last.
    async fn wait_for(&self, kind: Kind, count: usize) -> serde_json::Value {
        self.server
            .wait_until(&format!("{count} of {kind} at both"), |server| {
                server.of_kind(kind.as_str()).len() >= count && server.texts().len() >= server.hooks().len()
            })
            .await;
        self.server.of_kind(kind.as_str()).pop().unwrap()
    }

    /// Lets market time pass, a second at a time, until requests have brought something about.
    async fn pass_until(&mut self, what: &str, is_so: impl Fn(&SinkServer) -> bool) {
        let server = self.server.clone();
        let pass = async {
            while !is_so(&server) {
                self.world.pass(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), pass)
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}"));
    }

    /// Ends the story: each sink got every alert once, and these kinds so often.
    async fn end(self, wanted: &[(Kind, usize)]) {
        let Self { world, alerts, server } = self;
        world.engine.stop().await;
        alerts.stop().await;
        let hooks = server.hooks();
        for (kind, count) in wanted {
            assert_eq!(server.of_kind(kind.as_str()).len(), *count, "{kind}: {hooks:#?}");
        }
        let texts = server.texts();
        assert_eq!(texts.len(), hooks.len(), "{texts:#?} {hooks:#?}");
        for hook in &hooks {
            let words = hook["words"].as_str().unwrap();
            let same = texts.iter().filter(|text| text.contains(words)).count();
            let at_hook = hooks.iter().filter(|other| other["words"] == hook["words"]).count();
            assert_eq!(same, at_hook, "{words}");
            assert_eq!(hook["account"], "story");
        }
    }
}

fn settings(server: &SinkServer) -> AlertSettings {
    let telegram = TelegramSettings { url: server.origin(), token: Secret::new(BOT_TOKEN), chat: CHAT.to_owned() };
    AlertSettings { telegram: Some(telegram), webhook: Some(Secret::new(format!("{}{HOOK}", server.origin()))) }
}

fn account(world: &World) -> Account {
    let (name, events) = (world.engine.name().to_owned(), world.engine.events());
    Account { name, events, redaction: world.engine.redaction(), login_page: None }
}

/// An engine of its own against that broker, for what is told from its first moment on.
fn setup(host: &str, store: &Path) -> Setup {
    let Settings { user_id, api_key, .. } = Settings::default();
    let api_secret = Secret::new(API_SECRET);
    let broker = Kite::new(App::Individual, api_key, Some(api_secret.clone()));
    let store = Arc::new(EnvStore::new(store, EnvFormat::new("ZERODHA")));
    Setup {
        policy: Policy { user_id: Some(user_id), ..Policy::for_broker(broker.facts()) },
        loopback: true,
        secrets: vec![api_secret],
        instruments: vec![harness::instrument()],
        ..Setup::new("story", Arc::new(broker), format!("http://{host}"), format!("ws://{host}"), store)
    }
}

fn healthy() -> Plan {
    Plan::new(Settings::default())
}

/// A store that can be neither written nor replaced, whoever we are: a folder stands where the file was.
fn make_unwritable(world: &World) {
    fs::remove_file(&world.store).unwrap();
    fs::create_dir(&world.store).unwrap();
}

// --- each case, for real ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_and_a_login_are_told_once_each_with_the_link() {
    let mut told = Told::start(healthy()).await;
    told.world.wait_for_feed().await;
    told.world.control.kill_tokens();
    let id = told.world.buy().await;
    told.world.wait_for_order(&id, OrderStatus::Refused).await;
    told.world.wait_for_venue(Venue::Paper).await;
    let entered = told.wait_for(Kind::FallbackEntered, 1).await;
    assert_eq!(entered["severity"], "urgent");
    assert!(entered["at"].as_str().unwrap().starts_with("2026-11-20T10:0"), "{entered}");
    let due = told.wait_for(Kind::LoginDue, 1).await;
    let link = due["link"].as_str().unwrap();
    assert!(link.contains("/connect/login?"), "{link}");
    // The session reminds every quarter of an hour: within the hour that is the same alert.
    told.world.pass(Duration::from_secs(40 * 60)).await;

    let session = told.world.control.login();
    fs::write(&told.world.store, writing::env(session.access_token.expose())).unwrap();
    told.world.wait_for_venue(Venue::Live).await;
    let renewed = told.wait_for(Kind::Renewed, 1).await;
    assert!(renewed["words"].as_str().unwrap().contains("written into the store works"), "{renewed}");
    told.wait_for(Kind::FallbackLeft, 1).await;
    let telegram = told.server.texts().into_iter().find(|text| text.ends_with(link)).expect("the link at Telegram");
    assert!(telegram.starts_with("URGENT - story, 20 Nov 10:"), "{telegram}");
    let once = [Kind::FallbackEntered, Kind::LoginDue, Kind::Renewed, Kind::FallbackLeft].map(|kind| (kind, 1));
    told.end(&once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_is_told_once_and_a_store_that_cannot_be_written_too() {
    let settings = Settings { refresh: Refresh::Works, new_login: NewLogin::Kills, ..Settings::default() };
    let mut told = Told::start(Plan { app: App::Approved, ..Plan::new(settings) }).await;
    told.world.wait_for_feed().await;
    // A login for the refresh token that comes with it.
    let code = told.server.code_of_a_login(&told.world.origin()).await;
    told.world.engine.finish_login(&code).await.unwrap();
    let in_use = |event: &Event| matches!(event, Event::Token { .. });
    told.world.wait_for("the token of the login", in_use).await;
    told.world.wait_for_venue(Venue::Live).await;
    let login = told.wait_for(Kind::Renewed, 1).await;
    assert!(login["words"].as_str().unwrap().starts_with("The login worked"), "{login}");

    told.world.engine.operator(Operator::Renew).await.unwrap();
    told.world.wait_for("the renewed token", in_use).await;
    told.world.wait_for_venue(Venue::Live).await;
    let renewal = told.wait_for(Kind::Renewed, 2).await;
    assert!(renewal["words"].as_str().unwrap().starts_with("The token was renewed"), "{renewal}");

    make_unwritable(&told.world);
    let code = told.server.code_of_a_login(&told.world.origin()).await;
    told.world.engine.finish_login(&code).await.unwrap();
    told.world.wait_for("the failed write", |event| matches!(event, Event::NotStored { .. })).await;
    let not_stored = told.wait_for(Kind::NotStored, 1).await;
    assert!(not_stored["words"].as_str().unwrap().contains(".env"), "{not_stored}");
    told.world.wait_for("the token of the second login", in_use).await;
    told.wait_for(Kind::Renewed, 3).await;
    told.end(&[(Kind::Renewed, 3), (Kind::NotStored, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_ip_is_told_once() {
    let mut told = Told::start(healthy()).await;
    told.world.wait_for_feed().await;
    told.world.fault("permission-exception");
    let id = told.world.buy().await;
    told.world.wait_for_order(&id, OrderStatus::Refused).await;
    let alert = told.wait_for(Kind::Misconfigured, 1).await;
    assert!(alert["words"].as_str().unwrap().contains("static IP"), "{alert}");
    told.world.pass(Duration::from_secs(30 * 60)).await;
    told.end(&[(Kind::Misconfigured, 1), (Kind::LoginDue, 0), (Kind::FallbackEntered, 0)]).await;
}

/// Starts an engine for a broker whose sessions alone are kept, with a token in its store, and alerts over it.
async fn keep_session(
    broker: Arc<dyn Broker>,
    host: SocketAddr,
    user_id: &str,
    store: (&Path, &str, String),
    clock: Arc<dyn Clock>,
) -> (Engine, Alerts, SinkServer) {
    let (path, prefix, text) = store;
    fs::write(path, text).unwrap();
    let store = Arc::new(EnvStore::new(path, EnvFormat::new(prefix)));
    let policy = Policy { user_id: Some(user_id.to_owned()), ..Policy::for_broker(broker.facts()) };
    let setup = Setup {
        loopback: true,
        policy,
        ..Setup::new("story", broker, format!("http://{host}"), format!("ws://{host}"), store)
    };
    let mut builder = Engine::builder(setup).clock(Arc::clone(&clock));
    let account_events = builder.events();
    let mut events = builder.events();
    let engine = builder.start().await.unwrap();
    let server = SinkServer::start().await;
    let account =
        Account { name: "story".to_owned(), events: account_events, redaction: engine.redaction(), login_page: None };
    let alerts = Alerts::start(&settings(&server), vec![account], clock).unwrap();
    let trading = |event: &Event| matches!(event, Event::Venue { venue: Venue::Live, .. });
    let begun = async {
        while let Some(message) = events.next().await {
            if matches!(message, EventMessage::Event(event) if trading(&event)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun).await.expect("the session is Valid");
    (engine, alerts, server)
}

fn at_ten() -> Arc<dyn Clock> {
    Arc::new(OffsetClock::starting_at(Timestamp::parse_ist("2026-11-20 10:00:00").unwrap()))
}

/// Ends the story: both sinks were told that once, and it was all.
async fn told_once(kind: Kind, engine: Engine, alerts: Alerts, server: SinkServer) -> serde_json::Value {
    server
        .wait_until(kind.as_str(), |server| !server.of_kind(kind.as_str()).is_empty() && !server.texts().is_empty())
        .await;
    engine.stop().await;
    alerts.stop().await;
    let told = server.of_kind(kind.as_str());
    assert_eq!(told.len(), 1, "{told:?}");
    let words = told[0]["words"].as_str().unwrap();
    assert_eq!(server.texts().iter().filter(|text| text.contains(words)).count(), 1, "{:?}", server.texts());
    told.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_refusal_is_told_once() {
    let clock = at_ten();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = upstox::Settings { faults: vec!["orders=401:UDAPI100050".parse().unwrap()], ..Default::default() };
    let (key, secret, user) = (settings.api_key.clone(), settings.api_secret.clone(), settings.user_id.clone());
    let broker = upstox::UpstoxServer::start(anywhere, settings, Arc::clone(&clock)).await.unwrap();
    let codec = Upstox::new(UpstoxApp::Current, key, Some(secret), "http://127.0.0.1/".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let text = format!("UPSTOX_ACCESS_TOKEN={}\n", broker.control().login().access_token.expose());
    let store = folder.path().join(".env");
    let (engine, alerts, server) =
        keep_session(Arc::new(codec), broker.addr(), &user, (&store, "UPSTOX", text), clock).await;
    // The order paths refuse a token that everything else accepts (upstox.md, trap 1), and go on refusing.
    for _ in 0..3 {
        let book = engine
            .read(|_| {
                let path = "/v2/order/retrieve-all";
                let request =
                    HttpRequest { authorized: true, ..HttpRequest::new(Endpoint::OrderBook, Method::Get, path) };
                Call::http(request, |answer| -> Outcome<()> {
                    let status = answer.unwrap().status;
                    assert_eq!(status, 401);
                    let said = Answer { status, said: Said::Code("UDAPI100050"), retry_after: None };
                    let cause = errors::cause(Endpoint::OrderBook, &said);
                    Err(Failure::new(cause, Endpoint::OrderBook, "refused"))
                })
            })
            .await;
        assert!(matches!(book, Err(ReadError::Broker(_))), "{book:?}");
    }
    let alert = told_once(Kind::Suspect, engine, alerts, server).await;
    assert!(alert["words"].as_str().unwrap().contains("order book"), "{alert}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_dies_tomorrow_is_told_once_with_the_link() {
    let clock = at_ten();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let switches = fyers::Switches { grant: fyers::Grant::Works, refresh_days: 1, ..Default::default() };
    let settings = fyers::Settings { switches, ..Default::default() };
    let (key, secret, user) = (settings.client_id.clone(), settings.secret.clone(), settings.user_id.clone());
    let pin = settings.pin.clone();
    let broker = fyers::FyersServer::start(anywhere, settings, Arc::clone(&clock)).await.unwrap();
    let codec = Fyers::new(FyersApp::RefreshGrant, key, Some(secret), Some(pin), "http://127.0.0.1/".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let session = broker.control().login();
    let (access, refresh) = (session.access_token.expose(), session.refresh_token.as_ref().unwrap().expose());
    let text = format!("FYERS_ACCESS_TOKEN={access}\nFYERS_REFRESH_TOKEN={refresh}\n");
    let store = folder.path().join(".env");
    let (engine, alerts, server) =
        keep_session(Arc::new(codec), broker.addr(), &user, (&store, "FYERS", text), clock).await;
    let alert = told_once(Kind::RefreshTokenDies, engine, alerts, server).await;
    let link = alert["link"].as_str().unwrap();
    assert!(link.contains("/generate-authcode?"), "{link}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_morning_is_silent() {
    let mut told = Told::start(healthy()).await;
    told.world.wait_for_feed().await;
    told.world.an_order_passes().await;
    told.world.pass(Duration::from_secs(2 * 3_600)).await;
    let server = told.server.clone();
    told.end(&[]).await;
    assert_eq!(server.hooks(), Vec::<serde_json::Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_token_asks_for_a_login_and_says_that_no_live_order_leaves() {
    let morning = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(OffsetClock::starting_at(morning));
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there: without a token nobody is asked.
    let setup = setup("127.0.0.1:9", &folder.path().join(".env"));
    let mut builder = Engine::builder(setup).clock(Arc::clone(&clock));
    let events = builder.events();
    let engine = builder.start().await.unwrap();
    let server = SinkServer::start().await;
    let account = Account { name: "story".to_owned(), events, redaction: engine.redaction(), login_page: None };
    let alerts = Alerts::start(&settings(&server), vec![account], clock).unwrap();
    server.wait_until("the login", |server| server.of_kind("login_due").len() + server.texts().len() >= 2).await;
    engine.stop().await;
    alerts.stop().await;
    let due = server.of_kind("login_due");
    assert_eq!(due.len(), 1, "{due:?}");
    assert!(due[0]["words"].as_str().unwrap().contains("no live order leaves"), "{due:?}");
    assert!(due[0]["link"].as_str().unwrap().contains("/connect/login?"), "{due:?}");
    assert_eq!(server.texts().len(), server.hooks().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_good_token_in_the_store_is_silent() {
    let mut world = World::stepped(healthy()).await;
    let host = world.origin().trim_start_matches("http://").to_owned();
    let mut builder = Engine::builder(setup(&host, &world.store)).clock(Arc::clone(&world.clock));
    let (mut events, mut watch) = (builder.events(), Watch::new("story"));
    let engine = builder.start().await.unwrap();
    let clock = Arc::clone(&world.clock);
    let until_live = async {
        let mut alerts = Vec::new();
        loop {
            let Some(EventMessage::Event(event)) = events.next().await else { panic!("the events broke off") };
            alerts.extend(watch.on(&event, clock.now()));
            if matches!(event, Event::Venue { venue: Venue::Live, .. }) {
                // Nothing more is listened to: the clock must not wait for it.
                drop(events);
                return alerts;
            }
        }
    };
    let (alerts, ()) = tokio::join!(until_live, world.pass(Duration::from_secs(60)));
    assert_eq!(alerts, Vec::<Alert>::new());
    engine.stop().await;
}

// --- sinks in trouble ------------------------------------------------------------------------------------------------

fn an_alert(number: u32) -> Alert {
    let at = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
    let words = format!("alert number {number}.");
    Alert { account: "story".to_owned(), kind: Kind::Alarm, severity: Severity::Urgent, at, words, link: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_answers_500_twice_gets_it_once() {
    let mut told = Told::start(healthy()).await;
    told.server.next_answers([SinkAnswer::Status(500); 4]);
    told.alerts.raise(&an_alert(1));
    // Each sink was told no twice; the waits between the tries are market time.
    let server = told.server.clone();
    server.wait_until("two tries", |server| server.requests() >= 2).await;
    told.pass_until("the third tries", |server| server.requests() >= 6).await;
    told.wait_for(Kind::Alarm, 1).await;
    told.world.pass(Duration::from_secs(600)).await;
    told.end(&[(Kind::Alarm, 1)]).await;
    assert_eq!(server.requests(), 6, "two sinks, three tries each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telegrams_own_wait_is_kept_and_a_refusal_is_not_repeated() {
    let mut told = Told::start(healthy()).await;
    let server = told.server.clone();
    server.next_answers([SinkAnswer::TryAfter(120), SinkAnswer::TryAfter(120)]);
    told.alerts.raise(&an_alert(1));
    server.wait_until("two tries", |server| server.requests() == 2).await;
    // The last answer may still be on its way to us; from there on the wait is two minutes of market time.
    told.world.pass(Duration::from_secs(119)).await;
    assert_eq!(server.requests(), 2, "tried before the wait was over");
    told.pass_until("the second tries", |server| server.requests() >= 4).await;
    told.wait_for(Kind::Alarm, 1).await;

    server.next_answers([SinkAnswer::Status(400), SinkAnswer::Status(404)]);
    told.alerts.raise(&an_alert(2));
    server.wait_until("both refusals", |server| server.requests() == 6).await;
    told.world.pass(Duration::from_secs(600)).await;
    assert_eq!(server.requests(), 6, "a refusal is final");
    told.end(&[(Kind::Alarm, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_hangs_holds_up_neither_engine_nor_market() {
    let mut told = Told::start(healthy()).await;
    told.world.wait_for_feed().await;
    told.server.hang();
    told.alerts.raise(&an_alert(0));
    let server = told.server.clone();
    server.wait_until("both hang", |server| server.requests() == 2).await;
    for number in 1..200 {
        told.alerts.raise(&an_alert(number));
    }
    told.world.an_order_passes().await;
    told.world.pass(Duration::from_secs(3_600)).await;
    told.world.an_order_passes().await;
    assert_eq!(server.requests(), 2, "they hang still");
    // And the end comes all the same.
    let Told { world, alerts, .. } = told;
    world.engine.stop().await;
    tokio::time::timeout(Duration::from_secs(5), alerts.stop()).await.expect("the end waits for no sink");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_cut_to_twenty_and_the_rest_is_told_in_one_line() {
    let mut told = Told::start(healthy()).await;
    for number in 0..50 {
        told.alerts.raise(&an_alert(number));
    }
    told.wait_for(Kind::Alarm, 20).await;
    // Both have had theirs; another hour makes room.
    told.pass_until("the line", |server| !server.of_kind("held_back").is_empty()).await;
    let held = told.wait_for(Kind::HeldBack, 1).await;
    assert!(held["words"].as_str().unwrap().starts_with("30 more alerts were held back"), "{held}");
    told.end(&[(Kind::Alarm, 20), (Kind::HeldBack, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_would_leave_unencrypted_starts_nothing() {
    let world = World::stepped(healthy()).await;
    let webhook = Some(Secret::new("http://hooks.example.com/sentinel"));
    let settings = AlertSettings { telegram: None, webhook };
    let error = Alerts::start(&settings, vec![account(&world)], Arc::clone(&world.clock)).unwrap_err();
    assert_eq!(error, BadSink::NotEncrypted { sink: "webhook" });
    assert!(!format!("{error} {error:?}").contains("sentinel"));
}

// --- secrets ---------------------------------------------------------------------------------------------------------

/// Everything written through `tracing` and `log`, by Nirantar and every library under it, at TRACE.
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

/// The shapes in which a secret could show: raw, URL-encoded in capitals and not, and base64 where it begins.
fn shapes(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let encoded: String = secret.bytes().map(one).collect();
    // Whole groups of three bytes only: the last characters depend on what follows.
    let groups = &secret.as_bytes()[..secret.len() / 3 * 3];
    let base64 = [STANDARD_NO_PAD.encode(groups), URL_SAFE_NO_PAD.encode(groups)];
    [secret.to_owned(), encoded.to_lowercase(), encoded].into_iter().chain(base64).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_body_or_log_but_the_bots_own_in_its_path() {
    use base64::Engine as _;
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(|| Sink)
        .init();
    // Refused where tracing-subscriber was built with its own bridge from `log`: then that one is captured.
    let _ = log::set_logger(&Sink);
    log::set_max_level(log::LevelFilter::Trace);

    // The old token goes on living, so that nothing but the new one is told.
    let new_login = NewLogin::Keeps;
    let settings = Settings { api_secret: Secret::new(API_SECRET), new_login, ..Settings::default() };
    let mut told = Told::start(Plan::new(settings)).await;
    let session = told.world.control.login();
    let token = session.access_token.expose().to_owned();
    fs::write(&told.world.store, writing::env(&token)).unwrap();
    told.world.wait_for("the new token", |event| matches!(event, Event::Token { .. })).await;
    told.world.wait_for_venue(Venue::Live).await;
    told.wait_for(Kind::Renewed, 1).await;

    // Words that quote every secret in every shape, from wherever they may come.
    let hook = format!("{}{HOOK}", told.server.origin());
    let secrets = [token.as_str(), API_SECRET, BOT_TOKEN, &hook];
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut quoted: Vec<String> = secrets.into_iter().map(|secret| base64.encode(secret)).collect();
    quoted.extend(secrets.into_iter().flat_map(|secret| shapes(secret).into_iter().take(3)));
    let words = format!("the broker said: {}", quoted.join(" , "));
    let in_link = base64.encode(format!("key:{token}"));
    told.alerts.raise(&Alert { words, link: Some(format!("https://x/?t={in_link}")), ..an_alert(1) });
    told.wait_for(Kind::Alarm, 1).await;

    // Sinks in every kind of trouble, one of them quoting what it was sent.
    let server = told.server.clone();
    for (number, answer) in [(2, SinkAnswer::Status(502)), (3, SinkAnswer::Cut), (4, SinkAnswer::Quoting)] {
        let before = server.requests();
        server.next_answers([answer; 2]);
        told.alerts.raise(&an_alert(number));
        server.wait_until("both tries", |server| server.requests() >= before + 2).await;
        let tries = if answer == SinkAnswer::Quoting { 2 } else { 4 };
        told.pass_until("every try", |server| server.requests() >= before + tries).await;
    }
    let printed = format!("{:?}", told.alerts);
    told.end(&[]).await;

    let log = String::from_utf8_lossy(&WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    for source in ["TRACE", "hyper", "reqwest", "could not be delivered to telegram", "webhook refuses the alert"] {
        assert!(log.contains(source), "nothing of `{source}` was captured: the search would prove nothing");
    }
    let bodies = server.bodies().join("\n");
    let paths = server.paths();
    assert!(paths.contains(&format!("/bot{BOT_TOKEN}/sendMessage")), "{paths:?}");
    for secret in secrets.into_iter().chain(["sentinel"]) {
        for shape in shapes(secret) {
            for (name, text) in [("log", &log), ("bodies", &bodies), ("Debug", &printed)] {
                let found = text.find(&shape).map(|at| text[..at].chars().rev().take(200).collect::<String>());
                let found = found.map(|before| before.chars().rev().collect::<String>());
                assert_eq!(found, None, "in the {name}: {shape}");
            }
        }
        for path in &paths {
            let own = path.starts_with("/bot") && secret == BOT_TOKEN || secret == "sentinel" || !path.contains(secret);
            assert!(own, "{path}");
        }
    }
}
