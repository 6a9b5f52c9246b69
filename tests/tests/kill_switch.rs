//! The kill switch, over the broker's own wire: by API, by file, over a restart, and without a session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::{Plan, World, instrument, market_order};
use nirantar::core::Event;
use nirantar::engine::{NotTaken, halting};
use nirantar::orders::{Refused, Tracked};
use nirantar::session::{Operator, State, TradingMode};
use nirantar_brokers::{
    Block, Book, ClientOrderId, Intent, OrderRequest, OrderStatus, OrderType, Price, Quantity, Side, Venue,
};
use nirantar_exchange_mock::kite::Settings;

const HALTED: Venue = Venue::Blocked(Block::Halted);

/// Far below the market.
fn resting() -> OrderRequest {
    OrderRequest::new(instrument(), Side::Buy, 2, OrderType::Limit(Price::from_paise(140_000)))
}

fn exit(book: Book) -> OrderRequest {
    // Far above the market.
    let limit = OrderType::Limit(Price::from_paise(150_000));
    let order = OrderRequest::new(instrument(), Side::Sell, 1, limit);
    OrderRequest { intent: Intent::Reduce(book), ..order }
}

impl World {
    async fn rests(&mut self, request: OrderRequest) -> ClientOrderId {
        let id = self.engine.submit(request).await.unwrap();
        self.wait_for_order(&id, OrderStatus::Open).await;
        self.pass(Duration::from_millis(1)).await;
        id
    }

    async fn order(&self, id: &ClientOrderId) -> Tracked {
        let id = id.clone();
        self.engine.look(move |core| core.desk().order(&id).cloned()).await.unwrap().unwrap()
    }

    async fn is_refused(&self, request: OrderRequest) -> Refused {
        match self.engine.submit(request).await {
            Err(NotTaken::Refused(why)) => why,
            other => panic!("it was taken: {other:?}"),
        }
    }

    fn halt_file(&self) -> std::path::PathBuf {
        self.folder.path().join("halt")
    }

    fn in_the_file(&self) -> Option<TradingMode> {
        halting::read(&self.halt_file()).map(|halt| halt.mode)
    }

    /// The token dies, and orders go to paper from now on.
    async fn falls_back(&mut self) {
        self.control.kill_tokens();
        self.wait_for("Fallback", |event| matches!(event, Event::Transition(step) if step.to == State::Fallback)).await;
    }

    fn logs_in(&self) {
        harness::writing::token(&self.store, self.control.login().access_token.expose());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_cancels_what_rests_refuses_the_rest_and_holds_over_a_restart() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    let (entry, out) = (world.rests(resting()).await, world.rests(exit(Book::Live)).await);

    world.engine.operator(Operator::Halt).await.unwrap();
    assert_eq!(world.in_the_file(), Some(TradingMode::Halted), "it is on the disk once that returns");
    for id in [&entry, &out] {
        world.wait_for_order(id, OrderStatus::Cancelled).await;
    }
    assert_eq!(world.engine.snapshot().venue, HALTED);
    for request in [market_order(), exit(Book::Live), exit(Book::Paper)] {
        assert_eq!(world.is_refused(request).await, Refused::Blocked(Block::Halted));
    }
    let requests = world.order_requests();
    assert_eq!(requests, 5, "three orders and two cancels");

    world.restart_engine().await;
    world.wait_for("the token", |event| matches!(event, Event::Token { .. })).await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!((world.engine.snapshot().venue, world.engine.snapshot().state), (HALTED, State::Valid));
    assert_eq!(world.is_refused(market_order()).await, Refused::Blocked(Block::Halted));
    assert_eq!(world.order_requests(), requests);

    world.engine.operator(Operator::Resume).await.unwrap();
    assert_eq!(world.in_the_file(), None);
    world.wait_for_venue(Venue::Live).await;
    world.wait_for_list().await;
    world.an_order_passes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_somebody_writes_halts_within_a_second_and_its_end_resumes() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    let entry = world.rests(resting()).await;
    std::fs::write(world.halt_file(), "").unwrap();
    world.wait_for_order(&entry, OrderStatus::Cancelled).await;
    world.wait_for_venue(HALTED).await;
    halting::write(&world.halt_file(), TradingMode::ReduceOnly, world.now(), "exits only").unwrap();
    world.pass(Duration::from_millis(1_100)).await;
    assert_eq!(world.is_refused(market_order()).await, Refused::OnlyExits);
    halting::remove(&world.halt_file()).unwrap();
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reduce_only_cancels_entries_that_rest_and_takes_exits() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    world.an_order_passes().await;
    let (entry, out) = (world.rests(resting()).await, world.rests(exit(Book::Live)).await);
    world.engine.operator(Operator::ReduceOnly).await.unwrap();
    world.wait_for_order(&entry, OrderStatus::Cancelled).await;
    assert_eq!(world.is_refused(market_order()).await, Refused::OnlyExits);
    let another = world.rests(exit(Book::Live)).await;
    assert_eq!(world.is_refused(exit(Book::Live)).await, Refused::ReducesNothing, "both held are on their way out");
    for id in [&out, &another] {
        assert_eq!(world.order(id).await.status, OrderStatus::Open);
    }
    assert_eq!(world.in_the_file(), Some(TradingMode::ReduceOnly));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_halt_file_is_there_starts_halted() {
    let mut world =
        World::stepped_until(Plan { halted: Some("by hand"), ..Plan::new(Settings::default()) }, HALTED).await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.is_refused(market_order()).await, Refused::Blocked(Block::Halted));
    assert_eq!(world.order_requests(), 0);
    assert_eq!(std::fs::read_to_string(world.halt_file()).unwrap(), "by hand", "its reason is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_without_a_session_cancels_paper_at_once_and_live_orders_when_they_can_be_reached() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    let live = world.rests(resting()).await;
    world.falls_back().await;
    world.wait_for_venue(Venue::Paper).await;
    let paper = world.rests(resting()).await;
    assert_eq!(world.order(&paper).await.book, Book::Paper);
    let before = world.order_requests();
    world.engine.operator(Operator::Halt).await.unwrap();
    world.wait_for_order(&paper, OrderStatus::Cancelled).await;
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(world.order_requests(), before, "nothing can be sent under a dead token");
    assert!(world.order(&live).await.cancel_wanted);

    world.logs_in();
    world.wait_for_order(&live, OrderStatus::Cancelled).await;
    assert_eq!(world.engine.snapshot().venue, HALTED);
    assert_eq!(world.order_requests(), before + 1, "{world}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_reply_is_lost_is_cancelled_once_it_is_found_while_halted() {
    let mut world = World::stepped(Plan::with_fault("permission-data")).await;
    world.pass(Duration::from_secs(10)).await;
    world.fault("reply-cut@1");
    let id = world.engine.submit(resting()).await.unwrap();
    world.wait_for_order(&id, OrderStatus::Unknown).await;
    world.engine.operator(Operator::Halt).await.unwrap();
    world.wait_for_order(&id, OrderStatus::Cancelled).await;
    assert_eq!(world.placements(&id).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_without_a_session_is_remembered_over_a_restart_and_sent_after_the_comparison() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    let id = world.rests(resting()).await;
    world.falls_back().await;
    world.wait_for_venue(Venue::Paper).await;
    let before = world.order_requests();
    assert_eq!(world.engine.cancel(&id).await, Err(NotTaken::Refused(Refused::Remembered)));
    assert_eq!(world.engine.cancel(&id).await, Err(NotTaken::Refused(Refused::Remembered)));
    world.restart_engine().await;
    world.pass(Duration::from_secs(5)).await;
    assert!(world.order(&id).await.cancel_wanted, "the journal has kept it");
    assert_eq!(world.order_requests(), before);

    let mark = world.mark().await;
    world.logs_in();
    world.wait_for_order(&id, OrderStatus::Cancelled).await;
    let events = world.since(mark);
    let compared =
        events.iter().position(|event| matches!(event, Event::Compared { comparison, .. } if comparison.complete));
    let cancelled = events.iter().position(
        |event| matches!(event, Event::Order { order, .. } if order.id == id && order.status == OrderStatus::Cancelled),
    );
    assert!(compared.is_some() && compared < cancelled, "{events:?}");
    assert_eq!(world.order_requests(), before + 1, "one cancel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_exposure_without_a_session_is_listed_and_its_exit_comes_back_as_an_event() {
    let mut world = World::stepped(Plan::new(Settings::default())).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    let rests = world.rests(resting()).await;
    world.falls_back().await;
    let told = world.wait_for("the exposure", |event| matches!(event, Event::Unmanaged { .. })).await;
    world.wait_for_venue(Venue::Paper).await;
    let Some(Event::Unmanaged { positions, resting, unknown, .. }) = told.last() else { panic!("{told:?}") };
    assert_eq!((positions.len(), positions[0].2, unknown.len()), (1, 1, 0));
    assert_eq!((resting.len(), &resting[0].id, resting[0].left), (1, &rests, Quantity::new(2)));

    let sell = OrderRequest { intent: Intent::Open, ..exit(Book::Live) };
    assert_eq!(world.is_refused(sell).await, Refused::ExposureOnOtherVenue(Book::Live));
    let before = world.order_requests();
    // Asked for again and again it is one wish; and there is one share to sell.
    for quantity in [1, 5] {
        let exit = OrderRequest { quantity: Quantity::new(quantity), ..exit(Book::Live) };
        assert_eq!(world.is_refused(exit).await, Refused::NoLiveSession);
    }
    world.logs_in();
    let wanted = world.wait_for("the exit", |event| matches!(event, Event::ExitWanted { .. })).await;
    let Some(Event::ExitWanted { request, .. }) = wanted.last() else { panic!("{wanted:?}") };
    assert_eq!((request.quantity, request.intent), (Quantity::new(1), Intent::Reduce(Book::Live)));
    assert_eq!(world.order_requests(), before, "it was not sent by itself");
    let snapshot = world.engine.snapshot();
    assert_eq!((snapshot.venue, snapshot.reduce_only), (Venue::Live, true), "exits may go first");
    let mark = world.mark().await;
    world.wait_for_venue(Venue::Live).await;
    world.pass(Duration::from_secs(60)).await;
    assert!(!world.since(mark).iter().any(|event| matches!(event, Event::ExitWanted { .. })), "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_orders_are_refused_in_fallback_none_goes_anywhere() {
    let fallback_orders = nirantar::session::FallbackOrders::Reject;
    let mut world = World::stepped(Plan { fallback_orders, ..Plan::new(Settings::default()) }).await;
    world.wait_for_feed().await;
    world.an_order_passes().await;
    world.falls_back().await;
    world.wait_for_venue(HALTED).await;
    let before = world.order_requests();
    assert_eq!(world.is_refused(market_order()).await, Refused::Blocked(Block::Halted));
    assert_eq!(world.is_refused(exit(Book::Live)).await, Refused::NoLiveSession);
    world.pass(Duration::from_secs(30)).await;
    let paper = world.engine.look(|core| core.desk().orders().filter(|order| order.book == Book::Paper).count());
    assert_eq!((paper.await.unwrap(), world.order_requests()), (0, before));
    world.logs_in();
    world.wait_for("the exit that was wanted", |event| matches!(event, Event::ExitWanted { .. })).await;
}
