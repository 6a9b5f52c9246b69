//! Rule 10, end to end: a secret never appears in anything Nirantar writes or returns.
//!
//! A session is led through logins, renewals, refusals, lost replies and broken stores while everything written through
//! `tracing` and `log` at TRACE, by Nirantar and by every library under it, goes into a buffer. Then the buffer, every
//! event, every error and the Debug text of everything at hand is searched for each secret: raw, URL-encoded, and base64
//! at any of its three alignments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;
mod leaks;

use std::fs;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use harness::{Plan, World, writing};
use leaks::leaks;
use nirantar::core::Event;
use nirantar::session::{Notice, Operator, Why};
use nirantar::token::store::{EnvFormat, EnvStore, Store as _};
use nirantar_brokers::kite::App;
use nirantar_brokers::{Form, OrderStatus, Secret, Venue};
use nirantar_exchange_mock::kite::{NewLogin, Refresh, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Characters that every encoding changes.
const API_SECRET: &str = "sentinel+api/secret=of&the%app";
const BAD_TOKEN: &str = "sentinel+bad/token=with&every%sign";
const BAD_CODE: &str = "sentinel+bad/code=with&every%sign";

/// Everything written so far.
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

fn capture_everything() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(|| Sink)
        .init();
    // Refused where tracing-subscriber was built with its own bridge from `log`: then that one is captured.
    let _ = log::set_logger(&Sink);
    log::set_max_level(log::LevelFilter::Trace);
}

fn written() -> String {
    String::from_utf8_lossy(&WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secrets = [("token", Secret::new("a+b/c=d&e"))];
    for text in [
        "x a+b/c=d&e",
        "?t=a%2Bb%2Fc%3Dd%26e&v=3",
        "a%2bb%2fc%3dd%26e",
        "?t=a+b/c=d%26e",
        "Basic a2V5OmErYi9jPWQmZQ==",
        "YStiL2M9ZCZl",
        "eGErYi9jPWQmZQ",
    ] {
        assert!(!leaks(text, &secrets).is_empty(), "{text}");
    }
    assert_eq!(leaks("#12345678 is in use; a-b", &secrets), Vec::<String>::new());
}

/// The one-use code of a login by the page, fetched without any library that writes logs.
async fn log_in_by_the_page(world: &World) -> Secret {
    let host = world.origin().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
    let request =
        format!("GET /connect/login?v=3&api_key=nirantar HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).expect("a redirect");
    let (_, query) = location.trim().split_once('?').unwrap();
    Secret::new(Form::parse(query.as_bytes()).get("request_token").unwrap())
}

fn stored(world: &World) -> [(&'static str, Secret); 2] {
    let stored = EnvStore::new(&world.store, EnvFormat::new("ZERODHA")).read().unwrap();
    let refresh = stored.refresh_token.unwrap_or_else(|| Secret::new("no-refresh-token-in-the-store"));
    [("access token", stored.access_token.unwrap().secret().clone()), ("refresh token", refresh)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_ever_written_or_returned() {
    capture_everything();
    let settings = Settings {
        api_secret: Secret::new(API_SECRET),
        refresh: Refresh::Works,
        new_login: NewLogin::Kills,
        ..Settings::default()
    };
    let mut world = World::stepped(Plan { app: App::Approved, ..Plan::new(settings) }).await;
    let mut secrets = vec![
        ("API secret", Secret::new(API_SECRET)),
        ("bad token", Secret::new(BAD_TOKEN)),
        ("bad code", Secret::new(BAD_CODE)),
        ("malformed token", Secret::new("half-a-sentinel-token")),
    ];
    let mut returned = String::new();
    let mut note = |text: String| returned.push_str(&(text + "\n"));
    secrets.extend(stored(&world));
    world.wait_for_feed().await;
    world.an_order_passes().await;

    // Logins: a wrong code, a good one, the good one again.
    let error = world.engine.finish_login(&Secret::new(BAD_CODE)).await.unwrap_err();
    note(format!("{error} {error:?}"));
    let code = log_in_by_the_page(&world).await;
    secrets.push(("request token", code.clone()));
    world.engine.finish_login(&code).await.unwrap();
    world.wait_for("the token of the login", |event| matches!(event, Event::Token { .. })).await;
    secrets.extend(stored(&world));
    let error = world.engine.finish_login(&code).await.unwrap_err();
    note(format!("{error} {error:?}"));
    world.wait_for_venue(Venue::Live).await;

    // A renewal that works; another login, for another grant; a renewal that does not work.
    world.engine.operator(Operator::Renew).await.unwrap();
    world.wait_for("the renewed token", |event| matches!(event, Event::Token { .. })).await;
    secrets.extend(stored(&world));
    world.wait_for_venue(Venue::Live).await;
    let code = log_in_by_the_page(&world).await;
    secrets.push(("second request token", code.clone()));
    world.engine.finish_login(&code).await.unwrap();
    world.wait_for("the token of the second login", |event| matches!(event, Event::Token { .. })).await;
    secrets.extend(stored(&world));
    world.wait_for_venue(Venue::Live).await;
    world.control.refresh(Refresh::Withdrawn);
    world.engine.operator(Operator::Renew).await.unwrap();
    let failed = |event: &Event| matches!(event, Event::Transition(step) if step.why == Why::RenewalFailed);
    world.wait_for("the end of the renewal", failed).await;

    // A broker in trouble, on every path: orders, reads, handshakes.
    for fault in ["reply-cut@1", "504=accepted@1", "throttle@1", "permission-data", "socket-cut", "503@3"] {
        world.fault(fault);
        let taken = world.engine.submit(harness::market_order()).await;
        note(format!("{taken:?}"));
        world.pass(Duration::from_secs(60)).await;
    }
    world.control.clear("all");
    world.wait_for_venue(Venue::Live).await;

    // The store: nonsense, a bad token, and a good one after the death of the old.
    fs::write(&world.store, "ZERODHA_ACCESS_TOKEN='half-a-sentinel-token\n").unwrap();
    world.wait_for("the alarm", |event| matches!(event, Event::Alarm { words, .. } if words.contains(".env"))).await;
    fs::write(&world.store, writing::env(BAD_TOKEN)).unwrap();
    let refused = |event: &Event| matches!(event, Event::Notice { notice: Notice::NotTaken { .. }, .. });
    world.wait_for("the refusal", refused).await;
    world.control.kill_tokens();
    let id = world.engine.submit(harness::market_order()).await;
    note(format!("{id:?}"));
    world.wait_for_venue(Venue::Paper).await;
    let session = world.control.login();
    secrets.push(("last token", session.access_token.secret().clone()));
    fs::write(&world.store, writing::env(session.access_token.expose())).unwrap();
    world.wait_for_venue(Venue::Live).await;
    let id = world.buy().await;
    world.wait_for_order(&id, OrderStatus::Filled).await;

    // All that was said, and all that can be printed.
    note(format!("{:?} {:#?} {session:?}", world.engine, world.engine.snapshot()));
    note(format!("{:?}", world.journal));
    note(world.engine.look(|core| format!("{core:?}")).await.unwrap());
    for event in &world.seen {
        note(format!("{event:?}"));
    }
    let log = written();
    assert!(log.contains(&session.access_token.fingerprint().to_string()), "fingerprints are shown");
    for source in ["TRACE", "hyper", "nirantar", "tungstenite", "reqwest"] {
        assert!(log.contains(source), "nothing of {source} was captured: the search would prove nothing");
    }
    let text = format!("{log}\n{returned}");
    let leaks = leaks(&text, &secrets);
    println!("{} bytes searched for {} secrets", text.len(), secrets.len());
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
}
