//! Named stories of the whole core: what the issue must show of refusals, and the cases that properties have found.

use std::time::Duration;

use nirantar::core::{Input, Output};
use nirantar::session::{Machine, Policy, State};
use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Block, Book, Cause, Intent, OrderStatus, Refusal, Side, Venue};

use super::core_world::{CoreWorld, Judge, Scene};
use super::events::{Found, Of, Offer, Step};
use super::moves::{Answer, Move, PRELUDE, Read, Socket, Wish};
use super::policies::OWN;

const BUY: Wish = Wish { side: Side::Buy, intent: Intent::Open, valid_for: Duration::from_secs(100_000) };
const NEW_TOKEN: Move = Move::Session(Step::Offer(Offer::plain(2)));
const PROVEN: Move = Move::Session(Step::Probed(Found::Ours));
const WAIT: Move = Move::Session(Step::Wait);
const DEAD: Answer = Answer::Bad(Cause::Refused(Refusal::Conclusive));

/// A new token is proven and the books are compared.
const COMES_BACK: [Move; 4] =
    [Move::Session(Step::Pass(Duration::from_secs(1))), NEW_TOKEN, PROVEN, Move::Read(Of::Current, Read::Empty)];

/// Keeps what the last move brought.
#[derive(Default)]
struct Last(Vec<Output>);

impl Judge for Last {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.0 = scene.outputs.to_vec();
        Ok(())
    }
}

struct Story {
    world: CoreWorld,
    last: Last,
}

impl Story {
    fn starts() -> Self {
        let mut policy = Policy::for_broker(&facts(App::Individual));
        policy.user_id = Some(OWN.to_owned());
        let wall = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        let world = CoreWorld::of(Machine::new(policy), Now { wall, ..Now::default() });
        Self { world, last: Last::default() }
    }

    fn lives() -> Self {
        let mut story = Self::starts();
        story.told(&PRELUDE);
        assert_eq!(story.standing(), (State::Valid, Venue::Live));
        story
    }

    fn told(&mut self, moves: &[Move]) {
        for made in moves {
            self.world.step(*made, &mut self.last).unwrap();
        }
    }

    fn standing(&self) -> (State, Venue) {
        let standing = self.world.core.standing();
        (standing.state, standing.route.venue)
    }

    /// To which books something was sent by the last move.
    fn sent(&self) -> Vec<Book> {
        let book = |output: &Output| if let Output::Send { book, .. } = output { Some(*book) } else { None };
        self.last.0.iter().filter_map(book).collect()
    }

    /// Waits until live trading in full is shown, though nobody has said that the change of venue is complete.
    fn comes_back_unsettled() -> Self {
        let mut story = Self::lives();
        story.told(&[Move::Answered(Of::Current, DEAD), Move::Settled]);
        assert_eq!(story.standing(), (State::Fallback, Venue::Paper));
        story.told(&COMES_BACK);
        assert_eq!(story.standing(), (State::Fallback, Venue::Live));
        story
    }
}

#[test]
fn a_wrong_ip_blocks_as_misconfigured_within_one_event_and_leaves_the_state_alone() {
    let mut story = Story::lives();
    story.told(&[Move::Submit(BUY), Move::Reply(0, Answer::Bad(Cause::Misconfigured))]);
    assert_eq!(story.standing(), (State::Valid, Venue::Blocked(Block::Misconfigured)));
}

#[test]
fn a_conclusive_refusal_of_the_current_generation_expires_it_within_one_event() {
    let mut story = Story::lives();
    story.told(&[Move::Submit(BUY), Move::Reply(0, DEAD)]);
    assert_eq!(story.standing(), (State::Fallback, Venue::Paper));
    assert_eq!(story.world.core.standing().token, None);
}

#[test]
fn a_conclusive_refusal_of_an_older_generation_changes_nothing() {
    let mut story = Story::lives();
    story.told(&[Move::Session(Step::Pass(Duration::from_secs(1))), NEW_TOKEN, PROVEN, Move::Settled]);
    let before = story.world.core.standing();
    assert_eq!((before.route.generation.0, before.route.venue), (2, Venue::Live));
    story.told(&[Move::Answered(Of::Older, DEAD)]);
    assert_eq!(story.world.core.standing(), before);
}

#[test]
fn ten_minutes_of_503_stay_valid_and_blocked_and_heal_alone() {
    let mut story = Story::lives();
    story.told(&[Move::Answered(Of::Current, Answer::Bad(Cause::Unknown)); 3]);
    let start = story.world.now.mono;
    while story.world.now.mono.since(start) < Duration::from_secs(600) {
        assert_eq!(story.standing(), (State::Valid, Venue::Blocked(Block::Outage)));
        story.told(&[WAIT, Move::Session(Step::Probed(Found::Nothing))]);
    }
    let mut waits = 0;
    while story.standing() == (State::Valid, Venue::Blocked(Block::Outage)) && waits < 20 {
        waits += 1;
        story.told(&[WAIT, PROVEN]);
    }
    assert_eq!(story.standing(), (State::Valid, Venue::Blocked(Block::Reconciling)));
    story.told(&[Move::Read(Of::Current, Read::Empty)]);
    assert_eq!(story.standing(), (State::Valid, Venue::Live));
}

// --- cases that properties found -----------------------------------------------------------------------------------

#[test]
fn a_shut_gate_after_the_tokens_time_sends_nothing() {
    let mut story = Story::lives();
    story.told(&[Move::Submit(BUY)]);
    assert_eq!(story.sent(), [Book::Live]);
    story.told(&[Move::Nap(Duration::from_secs(86_000))]);
    assert_eq!(story.sent(), [], "the token died at 07:30");
}

#[test]
fn nothing_leaves_before_a_change_of_venue_is_complete_though_exits_only_ends_meanwhile() {
    let mut story = Story::lives();
    let bought = Move::Update { order: 0, right_book: true, status: OrderStatus::Filled, filled: 10 };
    story.told(&[Move::Answered(Of::Current, DEAD), Move::Settled, Move::Submit(BUY), bought]);
    story.told(&[Move::Socket(Socket::Closed)]);
    story.told(&COMES_BACK);
    story.told(&[Move::Socket(Socket::Connected), Move::Socket(Socket::Frame(1))]);
    story.told(&[Move::Session(Step::Pass(Duration::from_secs(2)))]);
    assert_eq!(story.standing(), (State::Valid, Venue::Live));
    assert!(!story.world.core.standing().route.reduce_only);
    let exit = Wish { side: Side::Sell, intent: Intent::Reduce(Book::Paper), ..BUY };
    story.told(&[Move::Submit(exit)]);
    assert_eq!(story.sent(), []);
    story.told(&[Move::Settled]);
    assert_eq!(story.sent(), [Book::Paper]);
}

#[test]
fn an_exit_takes_no_more_than_is_held_and_not_already_on_its_way_out() {
    let exit = Wish { side: Side::Sell, intent: Intent::Reduce(Book::Live), ..BUY };
    let more = Wish { side: Side::Buy, intent: Intent::Reduce(Book::Live), ..BUY };
    let bought = Move::Update { order: 0, right_book: true, status: OrderStatus::Filled, filled: 10 };
    let mut story = Story::lives();
    story.told(&[Move::Submit(exit)]);
    assert_eq!(story.sent(), [], "nothing is held");
    story.told(&[Move::Submit(BUY), bought, Move::Submit(more)]);
    assert_eq!(story.sent(), [], "that would add");
    story.told(&[Move::Submit(exit)]);
    assert_eq!(story.sent(), [Book::Live]);
    story.told(&[Move::Submit(exit)]);
    assert_eq!(story.sent(), [], "the first exit takes all there is");
}

#[test]
fn a_new_order_belongs_to_the_book_it_will_go_to_while_the_venue_still_changes() {
    let mut story = Story::comes_back_unsettled();
    let orders = story.world.core.desk().orders().count();
    story.told(&[Move::Submit(BUY)]);
    assert_eq!(story.sent(), []);
    assert_eq!(story.world.core.desk().orders().count(), orders, "exits first: a new entry is refused on the spot");

    let mut dies = Story::lives();
    dies.told(&[Move::Answered(Of::Current, DEAD), Move::Submit(BUY)]);
    assert_eq!(dies.sent(), [], "an order of the old venue may still be inside the gate");
    dies.told(&[Move::Settled]);
    assert_eq!(dies.sent(), [Book::Paper]);
}

#[test]
fn a_paper_order_that_waits_while_live_trading_is_taken_up_again_is_refused() {
    let mut story = Story::lives();
    story.told(&[Move::Answered(Of::Current, DEAD), Move::Submit(BUY)]);
    assert_eq!(story.sent(), []);
    story.told(&COMES_BACK);
    assert_eq!(story.standing(), (State::Fallback, Venue::Live));
    story.told(&[Move::Settled]);
    assert_eq!(story.sent(), []);
    let order = story.world.core.desk().orders().last().unwrap();
    assert_eq!((order.book, order.status), (Book::Paper, OrderStatus::Refused));
}

#[test]
fn an_order_the_broker_has_shown_is_not_sent_again_after_a_shut_gate_or_a_throttled_answer() {
    let shown = Move::Update { order: 0, right_book: true, status: OrderStatus::Open, filled: 0 };
    let mut gate = Story::lives();
    gate.told(&[Move::Submit(BUY), shown, Move::GateShut(0)]);
    assert_eq!(gate.sent(), []);
    let mut throttled = Story::lives();
    let wait = Answer::Bad(Cause::Throttled { retry_after: Some(Duration::from_secs(1)) });
    throttled.told(&[
        Move::Submit(BUY),
        Move::Reply(0, wait),
        shown,
        Move::Session(Step::Pass(Duration::from_secs(2))),
    ]);
    assert_eq!(throttled.sent(), []);
}

#[test]
fn an_order_that_waits_does_not_ask_to_be_woken_at_once() {
    let mut story = Story::starts();
    story.told(&[Move::Submit(Wish { valid_for: Duration::ZERO, ..BUY })]);
    story.world.tell(Input::Wake);
    assert!(story.world.core.next_wake(story.world.now) > story.world.now.mono);
    story.told(&[WAIT]);
    assert_eq!(story.world.core.desk().orders().last().unwrap().status, OrderStatus::Refused);
}

#[test]
fn a_feed_that_ticks_does_not_keep_the_session_from_its_deadlines() {
    let mut story = Story::lives();
    story.told(&[Move::Answered(Of::Current, Answer::Bad(Cause::Unknown)); 3]);
    let mut probed = false;
    for _ in 0..10 {
        story.world.now = story.world.now + Duration::from_secs(1);
        story.told(&[Move::Socket(Socket::Frame(1))]);
        probed |= story.last.0.iter().any(|output| matches!(output, Output::Probe { .. }));
    }
    assert!(probed, "nobody asked whether the outage is over");
}
