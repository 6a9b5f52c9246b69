//! A machine whose clock is wrong: the broker's `Date` header says so, the operator is told once, and the broker's time is
//! used, also by an account that makes one call a day.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nirantar::core::Event;
use nirantar::engine::{Engine, EventMessage, Setup};
use nirantar::token::store::{EnvFormat, EnvStore};
use nirantar_brokers::fyers::{App, Fyers};
use nirantar_brokers::time::{Clock, OffsetClock, Timestamp};
use nirantar_exchange_mock::fyers::{FyersServer, Settings};

fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap()
}

/// Runs an engine whose clock shows `machine` at a broker whose clock shows `broker`, until it has said something of the
/// clock, or for `patience`. What it said, and what time it then thinks it is.
async fn told(machine: &str, broker: &str, patience: Duration) -> (Vec<String>, Timestamp) {
    let machine: Arc<dyn Clock> = Arc::new(OffsetClock::starting_at(at(machine)));
    let brokers: Arc<dyn Clock> = Arc::new(OffsetClock::starting_at(at(broker)));
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = FyersServer::start(anywhere, Settings::default(), brokers).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join(".env");
    let token = server.control().login().access_token;
    std::fs::write(&store, format!("FYERS_ACCESS_TOKEN={}\n", token.expose())).unwrap();
    let Settings { client_id, secret, pin, .. } = Settings::default();
    let codec = Fyers::new(App::DailyLogin, client_id, Some(secret), Some(pin), "http://127.0.0.1/".to_owned());
    let (rest, feed) = (format!("http://{}", server.addr()), format!("ws://{}", server.addr()));
    let store = Arc::new(EnvStore::new(store, EnvFormat::new("FYERS")));
    let setup = Setup { loopback: true, ..Setup::new("story", Arc::new(codec), rest, feed, store) };
    let mut builder = Engine::builder(setup).clock(machine);
    let mut events = builder.events();
    let engine = builder.start().await.unwrap();
    let mut said = Vec::new();
    let listen = async {
        while let Some(message) = events.next().await {
            if let EventMessage::Event(Event::Alarm { words, .. }) = message {
                said.push(words);
                return;
            }
        }
    };
    // Nothing said is what is waited for where the clocks agree.
    let _ = tokio::time::timeout(patience, listen).await;
    let now = engine.health().await.unwrap().at;
    engine.stop().await;
    (said, now)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ten_minutes_off_is_told_of_and_the_brokers_time_is_used() {
    for (machine, broker, words) in
        [("10:00:00", "10:10:00", "600 s behind"), ("10:10:00", "10:00:00", "600 s ahead of")]
    {
        let (said, now) = told(machine, broker, Duration::from_secs(30)).await;
        assert!(said.len() == 1 && said[0].contains(words), "{said:?}");
        let off = now.since(at(broker)).max(at(broker).since(now));
        assert!(off < Duration::from_secs(60), "it is {now} now, says the engine");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_four_seconds_off_is_left_alone() {
    let (said, now) = told("10:00:00", "10:00:04", Duration::from_secs(5)).await;
    assert_eq!(said, Vec::<String>::new());
    assert!(now.since(at("10:00:00")) < Duration::from_secs(60), "{now}");
}
