//! Stories of an engine that dies and is started again, over the broker's own wire: the journal is what the next one
//! knows, and the server's log is what counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::{Plan, World, instrument, market_order};
use nirantar::core::Event;
use nirantar::orders::{Journal as _, What};
use nirantar_brokers::{
    Book, ClientOrderId, Intent, OrderRequest, OrderStatus, OrderType, Price, Product, Side, Venue,
};
use nirantar_exchange_mock::kite::Settings;

/// By the machine's clock, for a request to cross the loopback.
const SOON: Duration = Duration::from_secs(20);

/// No feed tells of orders: only the reply can, and the book.
fn deaf() -> Plan {
    Plan::with_fault("permission-data")
}

/// An order that the server has taken and will never answer.
async fn an_order_without_a_reply(world: &mut World) -> ClientOrderId {
    world.fault("no-reply@1");
    let id = world.buy().await;
    let seen = async {
        while world.placements(&id).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, seen).await.expect("the server sees the order");
    id
}

fn book_of(world: &World, book: Book) -> impl Future<Output = Vec<(ClientOrderId, OrderStatus, u64)>> {
    let look = world.engine.look(move |core| {
        let orders = core.desk().orders().filter(|order| order.book == book);
        orders.map(|order| (order.id.clone(), order.status, order.filled.get())).collect()
    });
    async { look.await.unwrap() }
}

async fn held(world: &World, book: Book) -> i64 {
    world.engine.look(move |core| core.desk().exposure().of(book, &instrument(), Product::Mis)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_in_flight_when_the_engine_died_is_found_by_its_tag_and_never_sent_again() {
    let mut world = World::stepped(deaf()).await;
    world.an_order_passes().await;
    let id = an_order_without_a_reply(&mut world).await;
    world.restart_engine().await;
    let unknown = world.wait_for_order(&id, OrderStatus::Unknown).await;
    assert!(unknown.message.unwrap_or_default().contains("looked for"), "it says why");
    world.wait_for_venue(Venue::Live).await;
    let found = world.wait_for_order(&id, OrderStatus::Filled).await;
    assert_eq!((found.filled.get(), found.book), (1, Book::Live));
    assert_eq!(world.placements(&id).len(), 1);
    assert_eq!(held(&world, Book::Live).await, 2, "what was filled before counts as well");
    world.an_order_passes().await;
    assert_eq!(world.order_requests(), 3, "nothing else was sent");
    assert_eq!(book_of(&world, Book::Live).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paper_goes_on_after_a_restart_with_its_positions_and_its_resting_orders() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    world.control.kill_tokens();
    let met = world.buy().await;
    world.wait_for_order(&met, OrderStatus::Refused).await;
    world.wait_for_venue(Venue::Paper).await;
    let sent_live = world.order_requests();
    for _ in 0..2 {
        let id = world.buy().await;
        world.wait_for_order(&id, OrderStatus::Filled).await;
    }
    let far_below = OrderType::Limit(Price::from_paise(132_000));
    let resting = world.engine.submit(OrderRequest::new(instrument(), Side::Buy, 5, far_below)).await.unwrap();
    let before = world.wait_for_order(&resting, OrderStatus::Open).await;
    let (orders, numbers) = (book_of(&world, Book::Paper).await, paper_numbers(&world));

    world.restart_engine().await;
    assert_eq!(book_of(&world, Book::Paper).await, orders);
    assert_eq!(held(&world, Book::Paper).await, 2);
    world.wait_for_venue(Venue::Paper).await;
    let number = move |core: &nirantar::core::Core| core.desk().order(&before.id).unwrap().broker_id.clone();
    assert!(world.engine.look(number).await.unwrap().is_some(), "it rests under its number");
    // The exchange has the position: it can be closed, and the order: it can be cancelled.
    world.pass(Duration::from_secs(60)).await;
    let exit = OrderRequest { side: Side::Sell, intent: Intent::Reduce(Book::Paper), ..market_order() };
    let exit = world.engine.submit(exit).await.unwrap();
    world.wait_for_order(&exit, OrderStatus::Filled).await;
    assert_eq!(held(&world, Book::Paper).await, 1);
    world.engine.cancel(&resting).await.unwrap();
    world.wait_for_order(&resting, OrderStatus::Cancelled).await;
    let new: Vec<_> = paper_numbers(&world).into_iter().filter(|number| !numbers.contains(number)).collect();
    assert_eq!(new.len(), 1, "the exit alone has a number of its own: {new:?}");
    assert_eq!(world.order_requests(), sent_live, "the broker saw nothing of all this");
}

/// Every number the paper exchange has given, by the journal.
fn paper_numbers(world: &World) -> Vec<String> {
    let records = world.journal.read().unwrap();
    let mut numbers: Vec<String> = records
        .iter()
        .filter(|record| record.book == Book::Paper)
        .filter_map(|record| match &record.what {
            What::State { broker_id, .. } => broker_id.as_ref().map(ToString::to_string),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_unknown_when_the_engine_died_is_unresolved_the_next_trading_morning() {
    let mut friday = World::stepped(deaf()).await;
    friday.an_order_passes().await;
    let id = an_order_without_a_reply(&mut friday).await;
    let journal = friday.journal.clone();
    drop(friday);

    // A new day at the broker: its book is empty and the intraday position is gone.
    let plan = Plan { earlier: journal, begins: "2026-11-23 10:00:00", ..Plan::new(Settings::default()) };
    let mut monday = World::stepped(plan).await;
    let orders = book_of(&monday, Book::Live).await;
    assert_eq!(orders, [(id.clone(), OrderStatus::Unresolved, 0)], "what ended on Friday is in the journal only");
    let told = |record: &nirantar::orders::Record| {
        record.id.as_ref() == Some(&id) && matches!(record.what, What::State { status: OrderStatus::Unresolved, .. })
    };
    assert!(monday.journal.read().unwrap().iter().any(told), "it is written down");
    let alarms = monday.alarms(0).await;
    assert!(!alarms.iter().any(|words| words.contains("position")), "a night is no alarm: {alarms:?}");
    assert_eq!(held(&monday, Book::Live).await, 0, "the broker's word was taken");
    let compared = monday.seen.iter().rev().find_map(|event| match event {
        Event::Compared { comparison, .. } if comparison.complete => Some(comparison.clone()),
        _ => None,
    });
    let compared = compared.expect("a comparison before live trading");
    assert!(compared.overnight && compared.differences.len() == 1, "{compared:?}");
    assert!(monday.placements(&id).is_empty(), "nothing of Friday is sent on Monday");
    monday.wait_for_feed().await;
    monday.an_order_passes().await;
}
