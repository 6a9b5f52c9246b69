//! The Kite configuration guide: `broker-config.json`, an hourly check that buys a new token 90 minutes before the end,
//! and a 403 that does the same at once and repeats the request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nirantar::core::Event;
use nirantar::engine::ReadError;
use nirantar::session::{Notice, State};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Block, Cause, ClientOrderId, Endpoint, Failure, Fingerprint, MarketProtection, OrderRequest, OrderStatus,
    OrderType, Secret, Session, Side, Venue,
};
use nirantar_exchange_mock::kite::{OldSocket, Refresh, Settings};
use serde_json::Value;

use crate::world::{Plan, World, at, soon_after};

const API_SECRET: &str = "kite-config-guide-api-secret";

/// The guide's file: `api_secret` holds the access token.
fn file(access: &str, refresh: &str, expires_at: &str) -> String {
    format!(
        "{{\n  \"broker\": \"zerodha\",\n  \"api_key\": \"nirantar\",\n  \"api_secret\": \"{access}\",\n  \
         \"refresh_token\": \"{refresh}\",\n  \"expires_at\": \"{expires_at}\",\n  \"client_id\": \"NR0001\",\n  \
         \"base_url\": \"https://kite.zerodha.com\",\n  \"rate_limit\": {{ \"requests_per_second\": 3.0, \
         \"burst_size\": 25 }},\n  \"features\": [ \"orders\",\"quotes\" ]\n}}\n"
    )
}

fn with_expiry(session: &Session, expires_at: &str) -> String {
    let refresh = session.refresh_token.as_ref().map_or("", Secret::expose);
    file(session.access_token.expose(), refresh, expires_at)
}

/// What the file holds of ours.
struct Held {
    access: Fingerprint,
    refresh: String,
    expires_at: Timestamp,
}

/// Reads the store, every other byte of which must be as the user wrote it.
fn held(world: &World) -> Held {
    let text = world.store_text();
    let json: Value = serde_json::from_str(&text).unwrap();
    let of = |key: &str| json[key].as_str().unwrap().to_owned();
    let (access, refresh, expires_at) = (of("api_secret"), of("refresh_token"), of("expires_at"));
    assert_eq!(text, file(&access, &refresh, &expires_at), "every byte that is not ours");
    let expires_at = Timestamp::parse_ist(&expires_at.replace('T', " ").replace("+05:30", "")).unwrap();
    Held { access: Fingerprint::of(&access), refresh, expires_at }
}

/// The grant works, as the guide promises: an approved app whose tokens live for five hours, kept in its file.
fn promised(store: fn(&Session) -> String, broker: Settings) -> Plan {
    Plan {
        guide: "kite-config",
        begins: "2026-11-20 10:00:00",
        trading_day: "2026-11-20",
        broker: Settings {
            refresh: Refresh::Works,
            token_ttl: Some(Duration::from_secs(5 * 3600)),
            api_secret: Secret::new(API_SECRET),
            ..broker
        },
        callback: "/api/kite/callback",
        edits: vec![("\napp = \"individual\"", "\napp = \"approved\"\ntoken_ttl = \"5h\"".to_owned())],
        variables: vec![("ZERODHA_API_SECRET", API_SECRET.to_owned())],
        store,
    }
}

/// As the broker gave it, beside an expiry that is the earlier one.
fn until_ten_past_one(session: &Session) -> String {
    with_expiry(session, "2026-11-20T13:10:00+05:30")
}

async fn begin(plan: Plan) -> World {
    World::begin(plan, |_, _, _| {}).await
}

fn order() -> OrderRequest {
    let reliance = "NSE:RELIANCE".parse().unwrap();
    OrderRequest::new(reliance, Side::Buy, 1, OrderType::Market(MarketProtection::Automatic))
}

async fn wait_for_order(world: &mut World, id: &ClientOrderId, status: OrderStatus) {
    let is_it =
        |event: &Event| matches!(event, Event::Order { order, .. } if order.id == *id && order.status == status);
    world.wait_for(&format!("order {id} to be {status}"), is_it).await;
}

/// When each token was opened at the feed, in order, without repeats.
fn tokens_on_the_feed(world: &World) -> Vec<(Fingerprint, Timestamp)> {
    let mut tokens: Vec<(Fingerprint, Timestamp)> = Vec::new();
    for socket in world.log().sockets {
        if tokens.last().is_none_or(|(token, _)| *token != socket.token) {
            tokens.push((socket.token, socket.opened));
        }
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_kite_config_renews_at_the_hourly_check_ninety_minutes_before_the_end_and_saves_the_file() {
    let mut world = begin(promised(until_ten_past_one, Settings::default())).await;
    let (mark, first) = (world.mark().await, held(&world));
    // 13:10 less 90 minutes is 11:40: the check after that is at noon.
    world.until("2026-11-20 11:59:59").await;
    assert_eq!(held(&world).access, first.access);
    world.until("2026-11-20 12:01:00").await;
    let second = held(&world);
    // The new one lives until 17:00; the margin begins at 15:30, and the check is at four.
    assert!(soon_after("2026-11-20 17:00:00", second.expires_at), "{}", second.expires_at);
    world.until("2026-11-20 15:59:59").await;
    assert_eq!(held(&world).access, second.access);
    world.until("2026-11-20 16:01:00").await;
    let third = held(&world);
    assert!(soon_after("2026-11-20 21:00:00", third.expires_at), "{}", third.expires_at);

    let on_the_feed = tokens_on_the_feed(&world);
    let expected = [first.access, second.access, third.access];
    assert_eq!(on_the_feed.iter().map(|(token, _)| *token).collect::<Vec<_>>(), expected, "one renewal a margin");
    let (noon, four) = ("2026-11-20 12:00:00", "2026-11-20 16:00:00");
    assert!(soon_after(noon, on_the_feed[1].1) && soon_after(four, on_the_feed[2].1), "{on_the_feed:?}");
    assert!(first.refresh != second.refresh && second.refresh != third.refresh, "a refresh token works once");
    let renewal =
        [(State::Valid, State::Expiring), (State::Expiring, State::Refreshing), (State::Refreshing, State::Valid)];
    assert_eq!(world.steps(mark).await, [renewal, renewal].concat(), "live all the time: {world}");
    assert_eq!(world.asked_to_log_in(mark).await, []);
    assert_eq!(world.engine.snapshot().venue, Venue::Live);
    let ticks_before_close = world.log().sockets.iter().filter(|socket| !socket.packets.is_empty()).count();
    assert!(ticks_before_close >= 2, "ticks came under the first and the second token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_kite_config_a_read_that_meets_a_403_is_renewed_and_repeated_once() {
    // Nothing but the read can tell: the old socket goes on as if nothing had happened.
    let broker = Settings { old_socket: OldSocket::Lives, ..Settings::default() };
    let mut world = begin(promised(until_ten_past_one, broker)).await;
    world.until("2026-11-20 10:05:00").await;
    let first = held(&world);
    let (requests, probes) = (world.log().requests, world.log().probes_accepted);
    assert_eq!(world.control.kill_tokens(), 1);
    let (engine, broker, asked) = (world.engine.clone(), world.engine.trading().unwrap(), AtomicUsize::new(0));
    let read = engine.read(|now| {
        asked.fetch_add(1, Ordering::Relaxed);
        broker.positions(now)
    });
    let positions = world.during(read, |event| matches!(event, Event::Transition(_))).await;
    assert_eq!(positions, Ok(Vec::new()));
    assert_eq!(asked.into_inner(), 2, "once more, and no more");
    world.wait_for_venue(Venue::Live).await;
    // Quotes are asked for when the gap ends, which need not be before orders go out again.
    world.until("2026-11-20 10:05:20").await;
    let log = world.log();
    assert_eq!((log.probes_accepted - probes, log.probes_refused), (1, 0));
    // The refused read, the renewal, the probe, the comparison's three, the read again, and the quotes after the gap.
    assert_eq!(log.requests - requests, 8);
    assert_ne!(held(&world).access, first.access);
    assert_ne!(held(&world).refresh, first.refresh);
    world.until("2026-11-20 10:06:00").await;
    assert_eq!(tokens_on_the_feed(&world).last().unwrap().0, held(&world).access);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_kite_config_an_order_that_meets_a_403_is_renewed_and_sent_again_once_with_the_same_tag() {
    let broker = Settings { old_socket: OldSocket::Lives, ..Settings::default() };
    let mut world = begin(promised(until_ten_past_one, broker)).await;
    world.until("2026-11-20 10:05:00").await;
    let first = held(&world);
    world.control.kill_tokens();
    let id = world.engine.submit(order()).await.unwrap();
    wait_for_order(&mut world, &id, OrderStatus::Filled).await;
    world.until("2026-11-20 10:30:00").await;
    let sent = world.placements(&id.to_string());
    let second = held(&world);
    assert_ne!(second.access, first.access);
    let told: Vec<_> = sent.iter().map(|order| (order.token, order.accepted, order.status)).collect();
    assert_eq!(told, [(Some(first.access), false, Some(403)), (Some(second.access), true, Some(200))]);
    assert_eq!(world.log().orders.len(), 2, "and nothing else was sent");
    // What is refused under the new token too is not sent a third time.
    world.control.fault("token-exception@1".parse::<nirantar_exchange_mock::kite::FaultRule>().unwrap());
    let id = world.engine.submit(order()).await.unwrap();
    wait_for_order(&mut world, &id, OrderStatus::Filled).await;
    assert_eq!(world.placements(&id.to_string()).len(), 2);
}

// --- since April 2026 ------------------------------------------------------------------------------------------------

/// An individual's app: the file's `refresh_token` is empty, and its `expires_at` is left over from a login before.
fn of_2026(begins: &'static str, trading_day: &'static str, store: fn(&Session) -> String) -> Plan {
    let broker = Settings {
        token_dies_at: Some("06:00:00".parse().unwrap()),
        api_secret: Secret::new(API_SECRET),
        ..Settings::default()
    };
    Plan { begins, trading_day, broker, edits: Vec::new(), ..promised(store, Settings::default()) }
}

fn until_saturday(session: &Session) -> String {
    assert_eq!(session.refresh_token, None, "the broker gives none");
    with_expiry(session, "2026-11-21T06:00:00+05:30")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_kite_config_2026_an_empty_refresh_token_renews_nothing_and_monday_asks_for_a_login() {
    let mut world = begin(of_2026("2026-11-20 22:00:00", "2026-11-23", until_saturday)).await;
    let (mark, before) = (world.mark().await, held(&world));
    let fell = world.wait_for_fallback().await;
    // 90 minutes before is four in the morning: nobody would be there to log in.
    assert!(soon_after("2026-11-21 06:00:00", fell.at), "{world}");
    world.until("2026-11-23 07:44:59").await;
    assert_eq!(world.asked_to_log_in(mark).await, [], "neither at night nor at the weekend");
    let log = world.log();
    let (asked, link) = world.wait_for_login_needed().await;
    assert_eq!(asked, at("2026-11-23 07:45:00"));
    let attempts = |event: &Event| matches!(event, Event::Transition(step) if step.to == State::Refreshing);
    assert!(!world.seen.iter().any(attempts), "there is nothing to renew with");
    assert!(log.requests < 100 + 60 * 50, "once a minute at most: {}", log.requests);

    world.until("2026-11-23 08:10:00").await;
    let page = world.log_in_at(&link).await;
    assert!(page.contains("<h1>Connected</h1>"), "{page}");
    world.wait_for_venue(Venue::Live).await;
    let after = held(&world);
    assert_ne!(after.access, before.access);
    assert_eq!((after.access, after.refresh.as_str()), (world.token_on_the_feed().await, ""));
    assert_eq!(after.expires_at, at("2026-11-24 07:30:00"), "the old one would have been the new token's death");
    world.until("2026-11-23 09:15:00").await;
    world.live_ticks_of(&["NSE:NIFTY 50"]).await;
}

fn until_half_past_seven(session: &Session) -> String {
    with_expiry(session, "2026-11-21T07:30:00+05:30")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_kite_config_2026_a_403_for_a_wrong_ip_is_no_dead_token_and_buys_nothing() {
    // Even where a renewal would work, it would mend nothing.
    let mut world = begin(promised(until_half_past_seven, Settings::default())).await;
    world.until("2026-11-20 10:05:00").await;
    let (mark, text, before) = (world.mark().await, world.store_text(), world.log());
    world.control.fault("permission-exception".parse::<nirantar_exchange_mock::kite::FaultRule>().unwrap());
    let id = world.engine.submit(order()).await.unwrap();
    wait_for_order(&mut world, &id, OrderStatus::Refused).await;
    world.wait_for_venue(Venue::Blocked(Block::Misconfigured)).await;
    world.until("2026-11-20 11:00:00").await;
    assert_eq!(world.engine.snapshot().venue, Venue::Blocked(Block::Misconfigured));
    assert_eq!((world.steps(mark).await, world.asked_to_log_in(mark).await), (Vec::new(), Vec::new()));
    let wrong_ip = Notice::Misconfigured { endpoint: Endpoint::Place };
    let said =
        world.seen[mark..].iter().filter(|event| matches!(event, Event::Notice { notice, .. } if *notice == wrong_ip));
    assert_eq!(said.count(), 1);
    let log = world.log();
    assert_eq!(log.requests - before.requests, 1, "the order, and nothing after it");
    assert_eq!((log.orders.len(), log.orders[0].status), (1, Some(403)));
    assert_eq!(world.store_text(), text, "not a byte is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_kite_config_2026_a_grant_that_is_withdrawn_is_tried_once_and_a_human_is_asked() {
    let broker = Settings { old_socket: OldSocket::Lives, ..Settings::default() };
    let mut world = begin(promised(until_ten_past_one, broker)).await;
    world.until("2026-11-20 11:59:00").await;
    let (mark, text) = (world.mark().await, world.store_text());
    world.control.refresh(Refresh::Withdrawn);
    let requests = world.log().requests;
    // At the hourly check it is found out, while the token lives: there is time to log in.
    let (asked, link) = world.wait_for_login_needed().await;
    assert!(soon_after("2026-11-20 12:00:00", asked), "{world}");
    world.until("2026-11-20 12:45:00").await;
    assert_eq!(world.log().requests - requests, 1, "no storm against a grant that is withdrawn");
    let reminders = world.asked_to_log_in(mark).await;
    assert_eq!(reminders.len(), 3, "every fifteen minutes: {reminders:?}");
    assert_eq!(world.engine.snapshot().venue, Venue::Live, "the token is alive");
    assert_eq!(world.store_text(), text);

    // A 403 now: no renewal can mend it, and the read comes back as it is.
    world.control.kill_tokens();
    let (engine, trading) = (world.engine.clone(), world.engine.trading().unwrap());
    let read = engine.read(|now| trading.positions(now));
    let read = world.during(read, |event| matches!(event, Event::Transition(_))).await;
    assert!(matches!(read, Err(ReadError::Broker(Failure { cause: Cause::Refused(_), .. }))), "{read:?}");
    world.wait_for_venue(Venue::Paper).await;
    let page = world.log_in_at(&link).await;
    assert!(page.contains("<h1>Connected</h1>"), "{page}");
    world.wait_for_venue(Venue::Live).await;
    assert_eq!(held(&world).access, tokens_on_the_feed(&world).last().unwrap().0);
}
