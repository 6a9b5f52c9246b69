//! The way back to live trading over the broker's own wire: what happened at the broker meanwhile is found and told, and
//! what the operator wants holds all the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::{Plan, World, instrument, market_order};
use nirantar::core::Event;
use nirantar::engine::NotTaken;
use nirantar::orders::{Difference, Journal as _, Refused, What};
use nirantar::session::{Operator, State};
use nirantar_brokers::{Book, Intent, OrderRequest, OrderStatus, Product, Session, Side, Venue};
use nirantar_exchange_mock::kite::Settings;

/// The session is live, holds one share, and dies; orders go to paper.
async fn in_fallback() -> World {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    world.pass(Duration::from_secs(5)).await;
    world.control.kill_tokens();
    let id = world.buy().await;
    world.wait_for_order(&id, OrderStatus::Refused).await;
    world.wait_for_venue(Venue::Paper).await;
    world
}

/// The account's owner trades in the broker's own app; the engine knows nothing of it.
async fn somebody_places(world: &World, session: &Session, order: &str) {
    let request = reqwest::Client::new()
        .post(format!("{}/orders/regular", world.origin()))
        .header("X-Kite-Version", "3")
        .header("Authorization", format!("token nirantar:{}", session.access_token.expose()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("exchange=NSE&tradingsymbol=RELIANCE&product=MIS&validity=DAY&{order}"));
    let answer = request.send().await.unwrap();
    let (status, words) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{words}");
}

fn store(world: &World, session: &Session) {
    std::fs::write(&world.store, harness::writing::env(session.access_token.expose())).unwrap();
}

async fn held(world: &World) -> i64 {
    let look = |core: &nirantar::core::Core| core.desk().exposure().of(Book::Live, &instrument(), Product::Mis);
    world.engine.look(look).await.unwrap()
}

const BOUGHT: &str = "transaction_type=BUY&order_type=MARKET&quantity=3&market_protection=-1";
const RESTS: &str = "transaction_type=BUY&order_type=LIMIT&quantity=2&price=1380";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_somebody_else_are_adopted_and_marked_and_can_be_managed() {
    let mut world = in_fallback().await;
    let session = world.control.login();
    somebody_places(&world, &session, BOUGHT).await;
    somebody_places(&world, &session, RESTS).await;
    store(&world, &session);
    world.wait_for_venue(Venue::Live).await;

    let external = |core: &nirantar::core::Core| -> Vec<_> {
        core.desk().orders().filter(|order| order.external).cloned().collect()
    };
    let adopted = world.engine.look(external).await.unwrap();
    let bought = adopted.iter().find(|order| order.status == OrderStatus::Filled).expect("what was bought");
    let resting = adopted.iter().find(|order| order.status == OrderStatus::Open).expect("what rests");
    assert_eq!((adopted.len(), bought.filled.get(), bought.book, resting.book), (2, 3, Book::Live, Book::Live));
    let told = |event: &Event, id| matches!(event, Event::Order { order, .. } if order.id == id && order.external);
    for order in &adopted {
        assert!(world.seen.iter().any(|event| told(event, order.id.clone())), "nobody was told of {order:?}");
        let records = world.journal.read().unwrap();
        let written = |what: &What| matches!(what, What::External { broker_id, .. } if Some(broker_id) == order.broker_id.as_ref());
        assert!(records.iter().any(|record| record.id.as_ref() == Some(&order.id) && written(&record.what)));
    }
    assert_eq!(held(&world).await, 4, "one of ours and three of theirs");

    // It is managed like any other.
    world.engine.cancel(&resting.id).await.unwrap();
    world.wait_for_order(&resting.id, OrderStatus::Cancelled).await;
    let exit = OrderRequest {
        side: Side::Sell,
        intent: Intent::Reduce(Book::Live),
        quantity: nirantar_brokers::Quantity::new(4),
        ..market_order()
    };
    let exit = world.engine.submit(exit).await.unwrap();
    world.wait_for_order(&exit, OrderStatus::Filled).await;
    assert_eq!(held(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_no_order_explains_is_told_and_counted_once() {
    let mut world = in_fallback().await;
    let mark = world.mark().await;
    let session = world.control.login();
    // The position shows it at once, the order book only later.
    world.fault("book-delay=5m");
    somebody_places(&world, &session, BOUGHT).await;
    store(&world, &session);
    world.wait_for_venue(Venue::Live).await;
    let differences: Vec<Difference> = world
        .since(mark)
        .iter()
        .filter_map(|event| match event {
            Event::Compared { comparison, .. } if comparison.complete => Some(comparison.differences.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    let expected = Difference { instrument: instrument(), product: Product::Mis, ours: 1, brokers: 4 };
    assert_eq!(differences, [expected]);
    assert_eq!(held(&world).await, 4, "the broker's word was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_reduce_only_holds_through_death_paper_and_recovery() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    world.pass(Duration::from_secs(5)).await;
    world.engine.operator(Operator::ReduceOnly).await.unwrap();
    let entry = world.engine.submit(market_order()).await;
    assert_eq!(entry, Err(NotTaken::Refused(Refused::OnlyExits)));

    world.control.kill_tokens();
    let exit = OrderRequest { side: Side::Sell, intent: Intent::Reduce(Book::Live), ..market_order() };
    world.engine.submit(exit.clone()).await.unwrap();
    let goes = |wanted: Venue| move |event: &Event| matches!(event, Event::Venue { venue, reduce_only: true, .. } if *venue == wanted);
    world.wait_for("paper, exits only", goes(Venue::Paper)).await;
    world.pass(Duration::from_secs(1)).await;
    let entry = world.engine.submit(market_order()).await;
    assert_eq!(entry, Err(NotTaken::Refused(Refused::OnlyExits)), "paper takes no entry either");

    let session = world.control.login();
    store(&world, &session);
    let valid = |event: &Event| matches!(event, Event::Transition(step) if step.to == State::Valid);
    world.wait_for("the session's recovery", valid).await;
    world.pass(Duration::from_secs(30)).await;
    let snapshot = world.engine.snapshot();
    assert_eq!((snapshot.venue, snapshot.reduce_only), (Venue::Live, true));
    let entry = world.engine.submit(market_order()).await;
    assert_eq!(entry, Err(NotTaken::Refused(Refused::OnlyExits)));
    let exit = world.engine.submit(exit).await.unwrap();
    world.wait_for_order(&exit, OrderStatus::Filled).await;

    world.engine.operator(Operator::Resume).await.unwrap();
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;
}
