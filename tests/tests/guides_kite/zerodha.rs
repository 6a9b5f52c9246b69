//! The Zerodha guide: the token dies in the night, a human logs in in the morning, and whoever writes the token, the
//! feed connects again without a restart.

use std::process::Command;

use nirantar::core::Event;
use nirantar::session::{State, Why};
use nirantar_brokers::{Fingerprint, Secret, Session, Venue};
use nirantar_exchange_mock::kite::Settings;

use crate::world::{Plan, World, at, soon_after};

const API_SECRET: &str = "zerodha-guide-api-secret";
/// The guide's NIFTY, BANKNIFTY and SENSEX.
const INDICES: [&str; 3] = ["NSE:NIFTY 50", "NSE:NIFTY BANK", "BSE:SENSEX"];

fn env(session: &Session) -> String {
    env_with(session.access_token.expose())
}

fn env_with(token: &str) -> String {
    format!(
        "# Zerodha\nZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET={API_SECRET}\nexport ZERODHA_USER_ID=NR0001\n\
         ZERODHA_ACCESS_TOKEN='{token}'   # of today\nDATABASE_URL=postgres://localhost/ticks\n"
    )
}

/// Logged in on the evening of `begins`; the broker ends tokens at `dies`.
fn plan(begins: &'static str, dies: &str, trading_day: &'static str) -> Plan {
    let token_dies_at = Some(dies.parse().unwrap());
    Plan {
        guide: "zerodha",
        begins,
        trading_day,
        broker: Settings { token_dies_at, api_secret: Secret::new(API_SECRET), ..Settings::default() },
        callback: "/api/zerodha/callback",
        edits: Vec::new(),
        variables: Vec::new(),
        store: env,
    }
}

async fn evening(plan: Plan) -> World {
    World::begin(plan, |_, _, _| {}).await
}

/// The token between the quotes of the guide's line, of which there is one.
fn token_in(store: &str) -> String {
    let mut lines = store.lines().filter_map(|line| line.strip_prefix("ZERODHA_ACCESS_TOKEN="));
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None, "{store}");
    line.split(['\'', '"']).find(|part| !part.is_empty()).unwrap().to_owned()
}

/// From the evening to the death in the night, and to the morning: nobody is woken.
async fn dies_at_three_and_nobody_is_woken(world: &mut World) -> Fingerprint {
    let old = world.token_on_the_feed().await;
    let fell = world.wait_for_fallback().await;
    // The rule says 07:30: it was the socket's end that made the engine ask.
    assert!(soon_after("2026-11-20 03:00:00", fell.at), "{world}");
    let why = world.seen.iter().rev().find_map(|event| match event {
        Event::Transition(step) if step.to == State::Expired => Some(step.why),
        _ => None,
    });
    assert_eq!(why, Some(Why::ProbeRefused), "{world}");
    let log = world.log();
    assert_eq!(log.sockets.last().unwrap().closed, Some(at("2026-11-20 03:00:00")));
    assert_eq!((log.handshakes_refused, log.probes_refused), (1, 1), "one look at each door");
    assert_eq!(world.engine.snapshot().venue, Venue::Paper);
    let mark = world.mark().await;
    world.until("2026-11-20 07:44:59").await;
    assert_eq!(world.asked_to_log_in(mark).await, [], "{world}");
    let log = world.log();
    assert_eq!(log.handshakes_refused, 1, "the feed knocks no more under a dead token");
    assert!(log.probes_refused <= 1 + 285, "asked again once a minute at most: {}", log.probes_refused);
    old
}

/// The feed is open again under another token, the one in the store, and delivers all three once the market opens.
async fn trades_again_under_a_new_token(world: &mut World, old: Fingerprint) {
    world.wait_for_venue(Venue::Live).await;
    let new = world.token_on_the_feed().await;
    assert_ne!(new, old);
    let store = world.store_text();
    let token = token_in(&store);
    assert_eq!(Fingerprint::of(&token), new, "the store holds the token that the feed runs under");
    assert_eq!(store, env_with(&token), "and every other byte as it was");
    world.until("2026-11-20 09:15:00").await;
    let ticks = world.live_ticks_of(&INDICES).await;
    assert!(ticks.iter().all(|tick| tick.received.wall >= at("2026-11-20 09:15:00")), "{ticks:?}");
    let log = world.log();
    let socket = log.sockets.last().unwrap();
    let subscribed: std::collections::BTreeSet<u32> = socket.packets.iter().map(|packet| packet.token.0).collect();
    // What Kite calls the three.
    assert_eq!(subscribed.into_iter().collect::<Vec<_>>(), [265, 256_265, 260_105]);
    assert_eq!(world.engine.snapshot().state, State::Valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_dies_at_three_and_a_login_in_the_browser_brings_the_feed_back() {
    let mut world = evening(plan("2026-11-19 21:00:00", "03:00:00", "2026-11-20")).await;
    let old = dies_at_three_and_nobody_is_woken(&mut world).await;
    let (asked, link) = world.wait_for_login_needed().await;
    assert_eq!(asked, at("2026-11-20 07:45:00"), "{world}");
    world.until("2026-11-20 07:52:00").await;
    let page = world.log_in_at(&link).await;
    assert!(page.contains("<h1>Connected</h1>"), "{page}");
    assert!(!page.contains(&token_in(&world.store_text())), "{page}");
    let mark = world.mark().await;
    trades_again_under_a_new_token(&mut world, old).await;
    assert_eq!(world.asked_to_log_in(mark).await, [], "once is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_dies_at_three_and_another_process_writes_the_env_file() {
    let mut world = evening(plan("2026-11-19 21:00:00", "03:00:00", "2026-11-20")).await;
    let old = dies_at_three_and_nobody_is_woken(&mut world).await;
    world.until("2026-11-20 08:05:00").await;
    // The guide's script: it logs in by itself and writes the line anew.
    let session = world.control.login();
    let edit = format!("s/^ZERODHA_ACCESS_TOKEN='[^']*'/ZERODHA_ACCESS_TOKEN='{}'/", session.access_token.expose());
    let script = Command::new("sed").args(["-i", &edit]).arg(&world.store).status().unwrap();
    assert!(script.success());
    // A file is seen in real time; what follows is the engine's, by the market's.
    world.wait_at_once_for("the sighting", |event| matches!(event, Event::Candidate { .. })).await;
    trades_again_under_a_new_token(&mut world, old).await;
    assert_eq!(world.token_on_the_feed().await, session.access_token.fingerprint());
}

/// Tokens die at 06:00 now. A night before a day without trading is followed by quiet, and by a login on the next
/// trading day.
async fn nobody_is_asked_before(begins: &'static str, dies: &str, asked_at: &str, trading_day: &'static str) -> World {
    let mut world = evening(plan(begins, "06:00:00", trading_day)).await;
    let fell = world.wait_for_fallback().await;
    assert!(soon_after(dies, fell.at), "{world}");
    let (asked, link) = world.wait_for_login_needed().await;
    assert_eq!(asked, at(asked_at), "{world}");
    let old = world.log().sockets.last().unwrap().token;
    let page = world.log_in_at(&link).await;
    assert!(page.contains("<h1>Connected</h1>"), "{page}");
    world.wait_for_venue(Venue::Live).await;
    assert_ne!(world.token_on_the_feed().await, old);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_2026_a_weekend_is_quiet_and_the_login_lasts_the_day_from_a_quarter_to_eight() {
    let begins = "2026-11-20 22:00:00";
    let mut world = nobody_is_asked_before(begins, "2026-11-21 06:00:00", "2026-11-23 07:45:00", "2026-11-23").await;
    world.until("2026-11-23 09:15:00").await;
    world.live_ticks_of(&INDICES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_2026_a_holiday_is_quiet() {
    let begins = "2026-11-23 22:00:00";
    nobody_is_asked_before(begins, "2026-11-24 06:00:00", "2026-11-25 07:45:00", "2026-11-25").await;
}
