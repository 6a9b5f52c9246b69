//! Stories of a broker that refuses, loses and delays: what the running engine does, over the broker's own wire.
//!
//! Every story is on a stepped clock and counts orders in the server's own log, never in the script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::{Plan, World, market_order};
use nirantar::core::Event;
use nirantar::engine::NotTaken;
use nirantar::feed::FeedStatus;
use nirantar::orders::Refused;
use nirantar::session::{Generation, Notice, Operator, State, Why};
use nirantar_brokers::{
    Block, Book, Endpoint, Intent, OrderRequest, OrderStatus, OrderType, Price, Quantity, Side, Venue,
};
use nirantar_exchange_mock::kite::{NewLogin, OldSocket, Settings};

fn healthy() -> Plan {
    Plan::new(Settings::default())
}

// --- a 403 that is no dead token -------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_ip_blocks_the_venue_leaves_the_session_alone_and_ends_with_the_operators_word() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    let (mark, before) = (world.mark().await, world.order_requests());
    world.fault("permission-exception");
    let id = world.buy().await;
    let refused = world.wait_for_order(&id, OrderStatus::Refused).await;
    assert!(refused.message.as_deref().unwrap_or_default().contains("IP"), "the broker's words: {:?}", refused.message);
    let blocked = Venue::Blocked(Block::Misconfigured);
    let then =
        world.wait_for("the block", |event| matches!(event, Event::Venue { venue, .. } if *venue == blocked)).await;
    let (last, between) = then.split_last().unwrap();
    assert!(between.iter().all(|event| matches!(event, Event::Notice { .. })), "within one event: {between:?}");
    assert!(matches!(last, Event::Venue { at, .. } if *at == world.now()), "{last:?}");
    assert!(world.notices(mark).await.contains(&Notice::Misconfigured { endpoint: Endpoint::Place }));

    let second = world.engine.submit(market_order()).await;
    assert_eq!(second, Err(NotTaken::Refused(Refused::Blocked(Block::Misconfigured))));
    world.pass(Duration::from_secs(10 * 60)).await;
    assert_eq!(world.order_requests(), before + 1, "one order met the wall, and no other was sent after it");
    assert_eq!(world.engine.snapshot().venue, blocked, "it does not heal by itself");

    world.control.clear("permission-exception");
    world.engine.operator(Operator::Resume).await.unwrap();
    world
        .wait_for(
            "a complete comparison",
            |event| matches!(event, Event::Compared { comparison, .. } if comparison.complete),
        )
        .await;
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;
    world.assert_state_untouched(mark).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_data_plan_is_one_alarm_a_slow_retry_and_no_harm_to_orders() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    let mark = world.mark().await;
    let before = world.control.with_log(|log| log.probes_accepted);
    // The plan ends, and the next handshake is refused.
    world.fault("permission-data");
    world.fault("socket-cut");
    world.wait_for("the feed's refusal", |event| matches!(event, Event::Alarm { .. })).await;
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;
    world.pass(Duration::from_secs(3600)).await;
    world.wait_for_venue(Venue::Live).await;
    let alarms = world.alarms(mark).await;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains("data plan"), "{alarms:?}");
    let (refused, probes) = world.control.with_log(|log| (log.handshakes_refused, log.probes_accepted - before));
    assert!((3..=6).contains(&refused), "at once and after 5, 10, 20, 30 minutes: {refused}");
    assert_eq!(probes, refused, "one probe a refusal");
    world.an_order_passes().await;
    world.assert_state_untouched(mark).await;

    world.control.clear("permission-data");
    let live = |event: &Event| matches!(event, Event::Feed { status: FeedStatus::Live { .. }, .. });
    world.wait_for("the feed to be live once the plan is there", live).await;
    world.assert_state_untouched(mark).await;
}

// --- a 403 that is a dead token --------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_order_under_a_dead_token_ends_the_session_and_what_follows_is_paper() {
    // The old socket lives on, so that nothing but the order can tell.
    let plan = Plan::new(Settings { old_socket: OldSocket::Lives, ..Settings::default() });
    let mut world = World::stepped(plan).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    let before = world.order_requests();
    world.control.kill_tokens();
    let mark = world.mark().await;
    let id = world.buy().await;
    let refused = world.wait_for_order(&id, OrderStatus::Refused).await;
    assert_eq!(refused.book, Book::Live, "a live order never becomes paper");
    let died = world.now();
    let then = world.since(mark);
    let steps: Vec<_> = then
        .iter()
        .filter_map(|event| match event {
            Event::Transition(step) => Some((step.at, step.from, step.to, step.why)),
            _ => None,
        })
        .collect();
    assert_eq!(
        steps,
        [
            (died, State::Valid, State::Expired, Why::RefusedBy(Endpoint::Place)),
            (died, State::Expired, State::Fallback, Why::NoToken),
        ]
    );
    let another = |event: &Event| matches!(event, Event::Order { order, .. } if order.id != id);
    assert!(!then.iter().any(|event| another(event) || matches!(event, Event::Candidate { .. })), "{then:?}");

    world.wait_for_venue(Venue::Paper).await;
    for _ in 0..3 {
        let id = world.buy().await;
        let order = world.wait_for_order(&id, OrderStatus::Filled).await;
        assert_eq!(order.book, Book::Paper);
        assert!(world.placements(&id).is_empty(), "the broker saw a paper order");
    }
    world.pass(Duration::from_secs(300)).await;
    assert_eq!(world.order_requests(), before + 1, "the broker saw the one order that met the dead token");

    let session = world.control.login();
    std::fs::write(&world.store, harness::writing::env(session.access_token.expose())).unwrap();
    world.wait_for("live trading again", |event| {
        matches!(event, Event::Transition(step) if step.to == State::Valid && step.why == Why::FailbackComplete)
    }).await;
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_an_older_token_changes_nothing() {
    let plan = Plan::new(Settings { new_login: NewLogin::Keeps, ..Settings::default() });
    let mut world = World::stepped(plan).await;
    world.wait_for_feed().await;
    world.pass(Duration::from_secs(5)).await;
    let mark = world.mark().await;
    world.fault("token-exception@1");
    world.fault("slow=4s@1");
    let id = world.buy().await;
    // The server has judged the order under the old token, and keeps the answer back.
    let judged = async {
        while world.placements(&id).is_empty() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), judged).await.unwrap();
    let session = world.control.login();
    std::fs::write(&world.store, harness::writing::env(session.access_token.expose())).unwrap();
    world.wait_for("the new token", |event| matches!(event, Event::Token { generation: Generation(2), .. })).await;
    let status = world.statuses(&id);
    assert!(!status.iter().any(|status| status.is_final()), "the answer was to come after the new token: {status:?}");
    world
        .wait_for("the late refusal", |event| {
            matches!(event, Event::Notice { notice: Notice::OldGeneration { generation: Generation(1) }, .. })
        })
        .await;
    world.wait_for_venue(Venue::Live).await;
    world.assert_state_untouched(mark).await;
    world.an_order_passes().await;
    let newest = world.control.with_log(|log| log.orders.last().and_then(|order| order.token));
    assert_eq!(newest, Some(session.access_token.fingerprint()));
    world.assert_state_untouched(mark).await;
}

// --- no answer -------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_of_503_stay_valid_block_as_an_outage_and_heal_alone() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    let mark = world.mark().await;
    world.fault("503");
    let lost = world.buy().await;
    world.wait_for_order(&lost, OrderStatus::Unknown).await;
    world.wait_for_venue(Venue::Blocked(Block::Outage)).await;
    let refused = world.engine.submit(market_order()).await;
    assert_eq!(refused, Err(NotTaken::Refused(Refused::Blocked(Block::Outage))));
    let requests = world.control.with_log(|log| log.requests);
    world.pass(Duration::from_secs(600)).await;
    world.assert_state_untouched(mark).await;
    assert_eq!(world.engine.snapshot().venue, Venue::Blocked(Block::Outage));
    assert_eq!(world.statuses(&lost).last(), Some(&OrderStatus::Unknown), "a failed read is never an empty list");
    let asked = world.control.with_log(|log| log.requests) - requests;
    println!("{asked} requests in ten minutes of outage");

    world.control.clear("503");
    let cleared = world.now();
    world.wait_for_venue(Venue::Live).await;
    let healed_in = world.now().since(cleared);
    assert!(healed_in <= Duration::from_secs(45), "{healed_in:?}");
    world.wait_for_order(&lost, OrderStatus::NotPlaced).await;
    assert_eq!(world.placements(&lost).len(), 1, "never sent again on a guess");
    world.an_order_passes().await;
    world.assert_state_untouched(mark).await;
}

/// The order is at the exchange; its answer never came. With the feed and without.
async fn an_answer_is_lost(fault: &str, feed: bool) {
    let mut world = World::stepped(if feed { healthy() } else { Plan::with_fault("permission-data") }).await;
    if feed {
        world.wait_for_feed().await;
    }
    world.pass(Duration::from_secs(10)).await;
    let mark = world.mark().await;
    world.fault(fault);
    let id = world.buy().await;
    let order = world.wait_for_order(&id, OrderStatus::Filled).await;
    assert!(feed || world.statuses(&id).contains(&OrderStatus::Unknown), "{:?}", world.statuses(&id));
    assert!(!world.statuses(&id).contains(&OrderStatus::NotPlaced));
    let [placed] = <[_; 1]>::try_from(world.placements(&id)).expect("exactly one at the server");
    assert!(placed.accepted);
    assert_eq!(placed.order_id, order.broker_id.map(|id| id.to_string()));
    world.an_order_passes().await;
    world.assert_state_untouched(mark).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_reply_was_cut_is_told_by_the_feed_and_sent_once() {
    an_answer_is_lost("reply-cut@1", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_reply_was_cut_is_found_by_its_tag_without_the_feed() {
    an_answer_is_lost("reply-cut@1", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_accepted_behind_a_504_is_found_by_its_tag_and_sent_once() {
    an_answer_is_lost("504=accepted@1", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_never_answered_is_found_by_its_tag_and_sent_once() {
    an_answer_is_lost("no-reply@1", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_while_an_answer_is_outstanding_does_not_keep_paper_waiting() {
    let mut world = World::real(healthy()).await;
    world.wait_for_feed().await;
    world.fault("no-reply@1");
    let outstanding = world.buy().await;
    // The server has it: what is missing is the answer, for as long as the client's timeout.
    let waiting = std::iter::repeat_with(|| world.order_requests()).take_while(|requests| *requests == 0);
    for _ in waiting {
        tokio::task::yield_now().await;
    }
    world.control.kill_tokens();
    world.wait_for_venue(Venue::Paper).await;
    let limit = OrderType::Limit(Price::from_paise(132_000));
    let paper = world.engine.submit(OrderRequest { order_type: limit, ..market_order() }).await.unwrap();
    let paper = world.wait_for_order(&paper, OrderStatus::Open).await;
    assert_eq!(paper.book, Book::Paper);
    let statuses = world.statuses(&outstanding);
    assert!(!statuses.contains(&OrderStatus::Unknown), "the answer is still outstanding: {statuses:?}");
}

// --- a plain no, and not now -----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_beyond_the_funds_is_rejected_in_the_brokers_words_and_touches_nothing_else() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    let mark = world.mark().await;
    // Lot, tick and product are looked at before anything is sent; the account's money only the broker knows.
    let too_many = OrderRequest { quantity: Quantity::new(1_000_000), ..market_order() };
    let id = world.engine.submit(too_many).await.unwrap();
    let order = world.wait_for_order(&id, OrderStatus::Rejected).await;
    assert!(order.message.unwrap_or_default().to_lowercase().contains("funds"), "the broker's words");
    world.an_order_passes().await;
    assert_eq!(world.placements(&id).len(), 1);
    world.assert_state_untouched(mark).await;
    assert_eq!(world.alarms(mark).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_order_goes_again_inside_its_time_and_is_accepted_once() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    let mark = world.mark().await;
    world.fault("throttle@1");
    let id = world.buy().await;
    world.wait_for_order(&id, OrderStatus::Filled).await;
    let answers: Vec<_> = world.placements(&id).iter().map(|order| (order.status, order.accepted)).collect();
    assert_eq!(answers, [(Some(429), false), (Some(200), true)]);
    world.assert_state_untouched(mark).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_throttled_for_longer_than_its_time_is_refused_and_never_sent_late() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    world.fault("throttle");
    let id = world.buy().await;
    world.wait_for_order(&id, OrderStatus::Refused).await;
    world.control.clear("throttle");
    let sent = world.placements(&id).len();
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.placements(&id).len(), sent);
    assert!(world.placements(&id).iter().all(|order| !order.accepted));
    world.an_order_passes().await;
}

// --- a book behind the reply -----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_order_that_the_book_shows_late_is_not_given_up_early() {
    let mut world = World::stepped(Plan::with_fault("permission-data")).await;
    world.pass(Duration::from_secs(10)).await;
    world.fault("book-delay=9s");
    world.fault("reply-cut@1");
    let id = world.buy().await;
    world.wait_for_order(&id, OrderStatus::Filled).await;
    assert!(!world.statuses(&id).contains(&OrderStatus::NotPlaced), "{:?}", world.statuses(&id));
    assert_eq!(world.placements(&id).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_believed_never_placed_that_turns_up_after_all_is_taken_up_loudly() {
    let mut world = World::stepped(Plan::with_fault("permission-data")).await;
    world.pass(Duration::from_secs(10)).await;
    let mark = world.mark().await;
    world.fault("book-delay=60s");
    world.fault("reply-cut@1");
    // Far below the market: it rests.
    let resting = OrderRequest { order_type: OrderType::Limit(Price::from_paise(132_000)), ..market_order() };
    let id = world.engine.submit(resting).await.unwrap();
    let sent = world.now();
    world.wait_for_order(&id, OrderStatus::NotPlaced).await;
    let waited = world.now().since(sent);
    assert!(waited >= Duration::from_secs(10), "not before the broker's propagation time: {waited:?}");
    world.pass(Duration::from_secs(60)).await;
    world.engine.operator(Operator::Halt).await.unwrap();
    world.engine.operator(Operator::Resume).await.unwrap();
    world.wait_for_order(&id, OrderStatus::Open).await;
    let alarms = world.alarms(mark).await;
    assert!(alarms.iter().any(|words| words.contains("believed never placed")), "{alarms:?}");
    world.wait_for_venue(Venue::Live).await;
    world.engine.cancel(&id).await.unwrap();
    assert_eq!(world.placements(&id).len(), 1, "never sent again on a guess");
}

// --- exits -----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_of_a_live_position_is_never_turned_into_paper() {
    let mut world = World::stepped(healthy()).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    world.control.kill_tokens();
    world.wait_for_venue(Venue::Paper).await;
    let before = world.order_requests();
    let exit = |intent| OrderRequest { side: Side::Sell, intent, ..market_order() };
    assert_eq!(
        world.engine.submit(exit(Intent::Open)).await,
        Err(NotTaken::Refused(Refused::ExposureOnOtherVenue(Book::Live)))
    );
    assert_eq!(
        world.engine.submit(exit(Intent::Reduce(Book::Live))).await,
        Err(NotTaken::Refused(Refused::NoLiveSession))
    );
    assert_eq!(world.order_requests(), before);
}
