//! Prices on their way to a strategy, through the engine and over the wire. While the account's own feed is away they come
//! from another account's live feed, then from the made-up market that was asked for, which goes on from the last price.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::{Plan, World, instrument, market_order};
use nirantar::feed::{PaperSource, Source, TickEvent, TickMessage, Ticks};
use nirantar_brokers::{Book, Exchange, InstrumentKey, Intent, Mode, OrderRequest, OrderStatus, Product, Side, Venue};
use nirantar_exchange_mock::kite::Settings;

fn tcs() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "TCS")
}

/// Every tick that is there by now. Nobody reads on until the next call: unread ticks hold no time.
fn all(ticks: &mut Ticks) -> Vec<TickEvent> {
    let there = std::iter::from_fn(|| ticks.try_next());
    let there = there.map(|message| if let TickMessage::Tick(tick) = message { tick } else { panic!("{message:?}") });
    let there = there.collect();
    ticks.away();
    there
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_accounts_feed_comes_first_then_what_was_asked_for_and_the_own_feed_ends_both() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    let neighbour = world.neighbour(Plan::new(Settings { seed: 2, ..Settings::default() })).await;
    world.engine.take_prices_of(&neighbour.engine);
    let mut ticks = world.engine.ticks();
    all(&mut ticks);
    world.pass(Duration::from_secs(5)).await;
    let live = all(&mut ticks);
    assert!(!live.is_empty() && live.iter().all(|tick| matches!(tick.source, Source::Live { .. })), "{live:?}");

    world.control.kill_tokens();
    world.wait_for_venue(Venue::Paper).await;
    world.pass(Duration::from_secs(2)).await;
    all(&mut ticks);
    world.pass(Duration::from_secs(20)).await;
    let lent = all(&mut ticks);
    assert!(lent.iter().filter(|tick| tick.source == Source::OtherAccount).count() > 10, "{lent:?}");
    assert!(lent.iter().all(|tick| tick.source == Source::OtherAccount), "nothing is played beside it: {lent:?}");
    let id = world.buy().await;
    let bought = world.wait_for_order(&id, OrderStatus::Filled).await;
    assert_eq!(bought.book, Book::Paper, "filled at the neighbour's price, on paper");

    neighbour.control.kill_tokens();
    world.pass(Duration::from_secs(60)).await;
    let played = all(&mut ticks);
    let first = played.iter().position(|tick| tick.source != Source::OtherAccount).expect("something is played");
    let (before, after) = played.split_at(first);
    assert!(after.iter().all(|tick| tick.source == Source::Paper(PaperSource::Synthetic)), "{after:?}");
    let last = lent.iter().chain(before).next_back().unwrap();
    assert_eq!(after[0].tick.last_price, last.tick.last_price, "it goes on from where the neighbour's feed stopped");
    let silence = after[0].received.mono.since(last.received.mono);
    assert!(silence >= Duration::from_secs(15), "a feed that is silent for {silence:?} may have no trade to tell of");

    let session = world.control.login();
    std::fs::write(&world.store, harness::writing::env(session.access_token.expose())).unwrap();
    world.wait_for_venue(Venue::Live).await;
    all(&mut ticks);
    world.pass(Duration::from_secs(5)).await;
    let live = all(&mut ticks);
    assert!(!live.is_empty() && live.iter().all(|tick| matches!(tick.source, Source::Live { .. })), "{live:?}");
    assert!(live.iter().all(|tick| *tick.instrument == instrument()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_subscribed_to_in_the_middle_of_the_day_ticks_and_is_silent_once_nobody_wants_it() {
    let other = tcs();
    let mut world = World::stepped(Plan { others: &["TCS"], ..Plan::new(Settings::default()) }).await;
    world.wait_for_feed().await;
    let mut ticks = world.engine.ticks();
    all(&mut ticks);
    let mut of_other = async |world: &mut World, span| {
        world.pass(Duration::from_secs(span)).await;
        all(&mut ticks).iter().filter(|tick| *tick.instrument == other).count()
    };
    assert_eq!(of_other(&mut world, 5).await, 0);
    world.engine.subscribe([other.clone()], Mode::Full).await.unwrap();
    assert!(of_other(&mut world, 10).await > 5);
    world.engine.unsubscribe([other.clone()]).await.unwrap();
    of_other(&mut world, 1).await;
    assert_eq!(of_other(&mut world, 10).await, 0);
}

/// The paper exchange knows a dozen names by itself; a trader has others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_subscribed_to_trades_on_paper_and_is_still_held_after_a_restart_without_a_token() {
    let share = tcs();
    let with_tcs = || Plan { others: &["TCS"], ..Plan::new(Settings::default()) };
    let mut world = World::stepped(with_tcs()).await;
    world.engine.subscribe([share.clone()], Mode::Full).await.unwrap();
    let neighbour = world.neighbour(with_tcs()).await;
    neighbour.engine.subscribe([share.clone()], Mode::Full).await.unwrap();
    world.engine.take_prices_of(&neighbour.engine);
    world.control.kill_tokens();
    world.wait_for_venue(Venue::Paper).await;
    world.pass(Duration::from_secs(5)).await;
    let buy = OrderRequest { instrument: share.clone(), ..market_order() };
    let id = world.engine.submit(buy.clone()).await.unwrap();
    assert_eq!(world.wait_for_order(&id, OrderStatus::Filled).await.book, Book::Paper);

    let unseen = OrderRequest { instrument: InstrumentKey::new(Exchange::Nse, "INFY"), ..market_order() };
    let unseen = world.engine.submit(unseen).await.unwrap();
    let words = world.wait_for_order(&unseen, OrderStatus::Rejected).await.message.unwrap();
    assert!(words.contains("need a last traded price and there is none yet"), "{words}");

    world.restart_engine().await;
    world.engine.take_prices_of(&neighbour.engine);
    world.engine.subscribe([share.clone()], Mode::Full).await.unwrap();
    world.wait_for_venue(Venue::Paper).await;
    world.pass(Duration::from_secs(5)).await;
    let held = |core: &nirantar::core::Core| core.desk().exposure().of(Book::Paper, &tcs(), Product::Mis);
    assert_eq!(world.engine.look(held).await.unwrap(), 1);
    let id = world
        .engine
        .submit(OrderRequest { side: Side::Sell, intent: Intent::Reduce(Book::Paper), ..buy })
        .await
        .unwrap();
    world.wait_for_order(&id, OrderStatus::Filled).await;
    assert_eq!(world.engine.look(held).await.unwrap(), 0);
}
