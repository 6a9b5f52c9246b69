//! Failover under load: five hundred orders in flight while the token dies, Fallback, recovery, three times in a row,
//! over the broker's own wire. What must hold is counted from the broker's log and book and from the journal
//! (`failover/evidence.rs`), never from what the engine says of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![allow(unreachable_pub, reason = "the modules of a test are nobody's interface")]

#[path = "failover/evidence.rs"]
mod evidence;
mod harness;

use std::time::Duration;

use evidence::{Evidence, stories, tokens};
use futures_util::future::join_all;
use harness::{Plan, World, market_order};
use nirantar::core::Event;
use nirantar::engine::{Engine, NotTaken};
use nirantar::orders::{CommandKind, Journal as _, Refused, What};
use nirantar::session::Generation;
use nirantar_brokers::{Book, ClientOrderId, Intent, Money, OrderRequest, OrderStatus, OrderType, Price, Side, Venue};
use nirantar_exchange_mock::kite::Settings;
use nirantar_tests::OtherLimits;

/// Orders, exits and cancels that are under way when the token dies.
const LOAD: usize = 500;
/// So many of them are exits, and so many are cancels, if as many orders rest.
const EXITS: usize = 100;
const CANCELS: usize = 100;
/// The token dies when the broker has seen so many.
const SEEN_AT_DEATH: usize = 250;
/// Entries that are tried in Fallback.
const IN_FALLBACK: usize = 20;

/// One thing of the load.
enum Wish {
    Order(OrderRequest),
    Cancel(ClientOrderId),
}

fn plan() -> Plan {
    let settings = Settings { rate_limits: false, cash: Money::from_rupees(1_000_000_000), ..Settings::default() };
    Plan { broker: |kite| OtherLimits::around(kite, &[]), ..Plan::new(settings) }
}

/// Rests: far below the market.
fn resting() -> OrderRequest {
    OrderRequest { order_type: OrderType::Limit(Price::from_paise(138_000)), ..waiting(market_order()) }
}

fn exit() -> OrderRequest {
    OrderRequest { side: Side::Sell, intent: Intent::Reduce(Book::Live), ..waiting(market_order()) }
}

fn waiting(request: OrderRequest) -> OrderRequest {
    OrderRequest { valid_for: Duration::from_secs(60), ..request }
}

/// Submits all of it at once. What is not taken fails, but for cancels of what has ended meanwhile.
async fn all_at_once(world: &mut World, wishes: Vec<Wish>) {
    let submit = async |engine: &Engine| {
        let one = |wish: Wish| async move {
            match wish {
                Wish::Order(request) => engine.submit(request).await.map(drop),
                Wish::Cancel(id) => match engine.cancel(&id).await {
                    Err(NotTaken::Refused(Refused::Finished(_))) => Ok(()),
                    other => other,
                },
            }
        };
        join_all(wishes.into_iter().map(one)).await
    };
    for taken in world.during(submit).await {
        taken.unwrap();
    }
}

/// Live orders that have not ended.
async fn unfinished(world: &World, book: Book) -> Vec<(ClientOrderId, OrderStatus)> {
    let look = world.engine.look(move |core| {
        let open = core.desk().orders().filter(|order| order.book == book && !order.status.is_final());
        open.map(|order| (order.id.clone(), order.status)).collect()
    });
    look.await.unwrap()
}

/// Lets time pass until nothing but resting orders is left, or not even those.
async fn calm(world: &mut World, may_rest: bool) {
    for _ in 0..60 {
        let live = unfinished(world, Book::Live).await;
        let busy = live.iter().any(|(_, status)| !may_rest || *status != OrderStatus::Open);
        if !busy && unfinished(world, Book::Paper).await.is_empty() {
            return;
        }
        world.pass(Duration::from_secs(1)).await;
    }
    let (live, paper) = (unfinished(world, Book::Live).await, unfinished(world, Book::Paper).await);
    panic!("live orders {live:?} and paper orders {paper:?} do not end: {world}");
}

/// Place and cancel messages that the journal announces under that token.
fn sent_under(world: &World, generation: Generation) -> usize {
    let of_it = |what: &What| {
        matches!(what, What::Sending { generation: of, command: CommandKind::Place | CommandKind::Cancel }
            if *of == generation)
    };
    let records = world.journal.read().unwrap();
    records.iter().filter(|record| record.book == Book::Live && of_it(&record.what)).count()
}

/// Five hundred are under way, and the token dies. `unanswered`: one of them is never answered at all, which takes as
/// long as the engine's patience with a call, by the wall clock.
async fn the_token_dies_under_load(world: &mut World, unanswered: bool) {
    let open: Vec<ClientOrderId> = unfinished(world, Book::Live).await.into_iter().map(|(id, _)| id).collect();
    let mut wishes: Vec<Wish> = open.into_iter().take(CANCELS).map(Wish::Cancel).collect();
    wishes.extend((0..EXITS).map(|_| Wish::Order(exit())));
    let entries = LOAD - wishes.len();
    wishes.extend((0..entries).map(|n| Wish::Order(if n % 2 == 0 { waiting(market_order()) } else { resting() })));
    // Every kind in any order, the same on every run.
    let mut mixed: Vec<(usize, Wish)> =
        wishes.into_iter().enumerate().map(|(n, wish)| (n * 7919 % LOAD, wish)).collect();
    mixed.sort_by_key(|(place, _)| *place);

    let generation = world.engine.snapshot().generation;
    let sent = sent_under(world, generation);
    world.fault("reply-cut@2");
    if unanswered {
        world.fault("no-reply@1");
    }
    // No refusal is heard of before all five hundred have left.
    world.fault("slow=3s");
    world.control.kill_tokens_after(SEEN_AT_DEATH);
    all_at_once(world, mixed.into_iter().map(|(_, wish)| wish).collect()).await;
    assert_eq!(world.engine.snapshot().venue, Venue::Live, "the death was known before all were taken: {world}");
    assert_eq!(sent_under(world, generation) - sent, LOAD, "all of them are in flight");
    world.wait_for_venue(Venue::Paper).await;
    world.control.clear("all");
}

/// Orders in Fallback are paper, and marked as such; an exit of live exposure cannot go.
async fn fallback_is_paper(world: &mut World) {
    // What was in flight is answered, and the gate is empty.
    world.pass(Duration::from_secs(1)).await;
    let before = world.order_requests();
    let mut entries = Vec::new();
    for _ in 0..IN_FALLBACK {
        entries.push(world.buy().await);
    }
    assert_eq!(world.engine.submit(exit()).await, Err(NotTaken::Refused(Refused::NoLiveSession)));
    world.wait_for_order(entries.last().unwrap(), OrderStatus::Filled).await;
    world.pass(Duration::from_secs(2)).await;
    let journal = stories(&world.journal.read().unwrap());
    assert!(entries.iter().all(|id| journal[id].book == Book::Paper), "an entry in Fallback is not paper");
    assert_eq!(world.order_requests(), before, "the broker saw an order in Fallback");
}

async fn a_new_login_brings_live_trading_back(world: &mut World) {
    let session = world.control.login();
    std::fs::write(&world.store, harness::writing::env(session.access_token.expose())).unwrap();
    world.wait_for_venue(Venue::Live).await;
    calm(world, true).await;
}

async fn three_times_in_a_row(mut world: World, unanswered: bool) {
    world.wait_for_feed().await;
    let stock = OrderRequest { quantity: nirantar_brokers::Quantity::new(400), ..market_order() };
    let rests = (0..CANCELS).map(|_| Wish::Order(resting()));
    all_at_once(&mut world, std::iter::once(Wish::Order(stock)).chain(rests).collect()).await;
    calm(&mut world, true).await;
    let began = world.now();
    for round in 1..=3 {
        the_token_dies_under_load(&mut world, unanswered && round == 1).await;
        fallback_is_paper(&mut world).await;
        a_new_login_brings_live_trading_back(&mut world).await;
    }
    println!("three rounds took {:?} of market time", world.now().since(began));
    let rest: Vec<Wish> = unfinished(&world, Book::Live).await.into_iter().map(|(id, _)| Wish::Cancel(id)).collect();
    all_at_once(&mut world, rest).await;
    calm(&mut world, false).await;
    let evidence = gather(&mut world).await;
    assert_eq!((evidence.tokens.len(), world.engine.snapshot().generation), (4, Generation(4)));
    evidence.judge();
    let refused = |token| {
        move |order: &&nirantar_exchange_mock::kite::OrderLog| order.token == Some(token) && order.status == Some(403)
    };
    for token in evidence.tokens.values().take(3) {
        let refused = evidence.log.orders.iter().filter(refused(*token)).count();
        assert!(refused >= LOAD / 10, "only {refused} were refused under a dead token: too few to show anything");
    }
}

/// What the broker and the journal say.
async fn gather(world: &mut World) -> Evidence {
    let broker = world.engine.trading().unwrap();
    let (rows, positions, trades) = world
        .during(async |engine: &Engine| {
            (
                engine.read(|now| broker.book(now)).await.unwrap(),
                engine.read(|now| broker.positions(now)).await.unwrap(),
                engine.read(|now| broker.trades(now)).await.unwrap(),
            )
        })
        .await;
    let (log, records) = (world.control.log(), world.journal.read().unwrap());
    Evidence { tokens: tokens(&log), log, records, rows, positions, trades }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_orders_in_flight_while_the_token_dies_three_times_in_a_row() {
    three_times_in_a_row(World::stepped(plan()).await, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_orders_in_flight_while_the_token_dies_three_times_in_a_row_in_real_time() {
    let mut world = World::real(plan()).await;
    world.wait_for_venue(Venue::Live).await;
    three_times_in_a_row(world, false).await;
}

/// A new login kills the old token while orders are in flight, and its token is in the store at once: no Fallback, and
/// what was refused under the old token before the new one is in use leaves once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_orders_in_flight_while_a_new_login_kills_the_token() {
    let mut world = World::stepped(plan()).await;
    world.wait_for_feed().await;
    world.pass(Duration::from_secs(5)).await;
    let before = world.order_requests();
    world.fault("slow=3s");
    let (control, store) = (world.control.clone(), world.store.clone());
    let new_login = tokio::spawn(async move {
        while control.with_log(|log| log.orders.len()) < before + SEEN_AT_DEATH {
            tokio::task::yield_now().await;
        }
        let session = control.login();
        std::fs::write(store, harness::writing::env(session.access_token.expose())).unwrap();
    });
    let entry = |n: usize| if n.is_multiple_of(2) { waiting(market_order()) } else { resting() };
    all_at_once(&mut world, (0..LOAD).map(|n| Wish::Order(entry(n))).collect()).await;
    new_login.await.unwrap();
    let adopted = |event: &Event| matches!(event, Event::Token { generation: Generation(2), .. });
    world.wait_for("the new token", adopted).await;
    world.control.clear("slow");
    world.wait_for_venue(Venue::Live).await;
    calm(&mut world, true).await;
    let rest: Vec<Wish> = unfinished(&world, Book::Live).await.into_iter().map(|(id, _)| Wish::Cancel(id)).collect();
    all_at_once(&mut world, rest).await;
    calm(&mut world, false).await;
    let evidence = gather(&mut world).await;
    evidence.judge();
    let again = |story: &evidence::Story| story.placed_under == [Generation(1), Generation(2)];
    let orders = stories(&evidence.records);
    println!("{} orders left once more, of {}", orders.values().filter(|story| again(story)).count(), orders.len());
    assert!(orders.values().all(|story| story.book == Book::Live), "nothing went to paper");
}
