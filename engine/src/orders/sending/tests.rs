//! What waits, in which order it leaves, and what becomes of what cannot.

use nirantar_brokers::{
    Endpoint, Exchange, Failure, InstrumentKey, MarketProtection, OrderChange, OrderRequest, OrderStatus, OrderType,
    Quantity, RateLimit, Side,
};
use proptest::prelude::*;

use super::*;
use crate::orders::outcome_tests::row_of;
use crate::orders::{Class, DeskPolicy, LiveState, Route};

const SECOND: Duration = Duration::from_secs(1);

/// A desk on a clock, what it sent, and what it wrote.
struct Rig {
    desk: Desk,
    now: Now,
    /// Messages that are not answered yet, in the order in which they left.
    sent: Vec<(SendId, ClientOrderId, Command)>,
    records: Vec<(ClientOrderId, What)>,
    reads: Vec<u64>,
    /// Orders the fake broker has numbered.
    numbered: u64,
}

fn route(venue: Venue) -> Route {
    Route { venue, reduce_only: false, generation: Generation(1) }
}

fn share() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "INFY")
}

fn entry() -> OrderRequest {
    let market = OrderType::Market(MarketProtection::Automatic);
    OrderRequest { valid_for: Duration::from_secs(3600), ..OrderRequest::new(share(), Side::Buy, 10, market) }
}

fn exit() -> OrderRequest {
    OrderRequest { side: Side::Sell, quantity: Quantity::new(1), intent: Intent::Reduce(Book::Live), ..entry() }
}

fn throttled(retry_after: Option<Duration>) -> Outcome<BrokerOrderId> {
    Err(Failure::new(Cause::Throttled { retry_after }, Endpoint::Place, "too many requests"))
}

impl Rig {
    /// Orders go to the live broker, which takes so many messages in a second.
    fn new(count: u32) -> Self {
        Self::with(DeskPolicy { limits: vec![RateLimit::new(count, 1)], ..DeskPolicy::default() })
    }

    fn with(policy: DeskPolicy) -> Self {
        let mut rig = Self {
            desk: Desk::new(policy),
            now: Now::default(),
            sent: Vec::new(),
            records: Vec::new(),
            reads: Vec::new(),
            numbered: 0,
        };
        rig.act(|desk, now, out| desk.arrive(route(Venue::Live), now, out));
        rig
    }

    fn act<T>(&mut self, work: impl FnOnce(&mut Desk, Now, &mut Vec<Action>) -> T) -> T {
        let mut out = Vec::new();
        let result = work(&mut self.desk, self.now, &mut out);
        for action in out {
            match action {
                Action::Journal(record) => self.records.extend(record.id.map(|id| (id, record.what))),
                Action::Send { send, id, command, .. } => {
                    let written = self.records.iter().rev().find(|(of, _)| *of == id).map(|(_, what)| what);
                    assert!(matches!(written, Some(What::Sending { .. })), "sent is written first: {written:?}");
                    self.sent.push((send, id, command));
                }
                Action::Read { read } => self.reads.push(read),
                _ => {}
            }
        }
        result
    }

    fn submit(&mut self, request: OrderRequest) -> ClientOrderId {
        self.act(|desk, now, out| desk.submit(request, now, out)).unwrap()
    }

    fn cancel(&mut self, id: &ClientOrderId) {
        self.act(|desk, now, out| desk.cancel(id, now, out)).unwrap();
    }

    fn modify(&mut self, id: &ClientOrderId) -> Result<(), Refused> {
        let change = OrderChange { quantity: Some(Quantity::new(5)), ..OrderChange::default() };
        self.act(|desk, now, out| desk.modify(id, change, now, out))
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.act(Desk::wake);
    }

    /// Answers the oldest message.
    fn answer(&mut self, outcome: impl FnOnce(BrokerOrderId) -> Outcome<BrokerOrderId>) -> ClientOrderId {
        let (send, id, _) = self.sent.remove(0);
        self.numbered += 1;
        let outcome = outcome(BrokerOrderId::new(format!("B{}", self.numbered)));
        self.act(|desk, now, out| desk.reply(send, outcome, now, out));
        id
    }

    /// An order that rests at the broker, long enough ago that all windows are empty.
    fn resting(&mut self) -> ClientOrderId {
        let id = self.submit(entry());
        assert_eq!(self.answer(Ok), id);
        self.pass(SECOND * 2);
        id
    }

    /// The broker's word on an order.
    fn update(&mut self, id: &ClientOrderId, status: OrderStatus, filled: u64) {
        let order = self.desk.order(id).unwrap();
        let row = row_of(order, order.broker_id.as_ref().unwrap(), status, filled, 100);
        self.act(|desk, now, out| desk.update(Book::Live, &row, now, out));
    }

    /// Fills the windows with entries that nobody answers.
    fn fill_up(&mut self) {
        while !self.desk.queue.iter().any(|waiting| waiting.kind == CommandKind::Place) {
            self.submit(entry());
        }
    }

    fn status(&self, id: &ClientOrderId) -> OrderStatus {
        self.desk.order(id).unwrap().status
    }

    fn answers(&self, id: &ClientOrderId) -> Vec<&str> {
        let said = self.records.iter().filter(|(of, _)| of == id);
        said.filter_map(|(_, what)| if let What::Answer(words) = what { Some(words.as_str()) } else { None }).collect()
    }

    fn sendings(&self, id: &ClientOrderId) -> usize {
        self.records.iter().filter(|(of, what)| of == id && matches!(what, What::Sending { .. })).count()
    }
}

#[test]
fn cancels_leave_first_then_exits_then_changes_then_entries_and_of_each_the_oldest() {
    let mut rig = Rig::new(100);
    let (one, two, held) = (rig.resting(), rig.resting(), rig.resting());
    rig.update(&held, OrderStatus::Filled, 10);
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    let entries = [rig.submit(entry()), rig.submit(entry())];
    rig.modify(&one).unwrap();
    let exits = [rig.submit(exit()), rig.submit(exit())];
    rig.cancel(&two);
    assert!(rig.sent.is_empty(), "nothing leaves during the pause");
    rig.pass(SECOND);
    let order: Vec<ClientOrderId> = rig.sent.iter().map(|(_, id, _)| id.clone()).collect();
    let [first, second] = entries;
    let [exit, next] = exits;
    assert_eq!(order, [two, exit, next, one, first, second]);
}

#[test]
fn a_cancel_does_not_wait_behind_a_flood_of_entries() {
    let mut rig = Rig::new(10);
    let id = rig.resting();
    rig.fill_up();
    let before = rig.sent.len();
    rig.cancel(&id);
    assert!(matches!(&rig.sent[before..], [(_, of, Command::Cancel(_))] if *of == id));
}

#[test]
fn orders_changes_and_cancels_share_one_window_and_wait_for_it() {
    let mut rig = Rig::new(3);
    let ids: Vec<ClientOrderId> = (0..4).map(|_| rig.resting()).collect();
    for id in &ids {
        rig.cancel(id);
    }
    assert_eq!(rig.sent.len(), 3);
    for _ in 0..3 {
        rig.answer(Ok);
    }
    let wake = rig.desk.next_wake().expect("the fourth waits for the window");
    rig.pass(wake.since(rig.now.mono));
    assert!(rig.now.mono.since(Monotonic::default()) > SECOND);
    assert!(matches!(&rig.sent[..], [(_, of, Command::Cancel(_))] if *of == ids[3]));
}

#[test]
fn a_cancel_asked_for_again_while_it_waits_or_is_under_way_is_still_one() {
    let mut rig = Rig::new(10);
    let id = rig.resting();
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    rig.cancel(&id);
    rig.cancel(&id);
    rig.pass(SECOND);
    rig.cancel(&id);
    assert_eq!(rig.sent.len(), 1);
    rig.answer(Ok);
    rig.cancel(&id);
    assert_eq!(rig.sent.len(), 1, "answered, it may be asked for anew");
}

#[test]
fn a_waiting_cancel_of_an_order_that_has_ended_is_dropped_with_words() {
    let mut rig = Rig::new(10);
    let id = rig.resting();
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    rig.cancel(&id);
    rig.update(&id, OrderStatus::Filled, 10);
    rig.pass(SECOND);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.answers(&id).last(), Some(&"not sent: the order is already filled"));
}

#[test]
fn a_change_waits_as_long_as_its_order_would_have_and_a_cancel_for_ever() {
    let mut rig = Rig::new(10);
    let patient = OrderRequest { valid_for: SECOND * 3, ..entry() };
    let id = rig.submit(patient);
    rig.answer(Ok);
    let other = rig.resting();
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND * 60, now.mono));
    rig.modify(&id).unwrap();
    rig.cancel(&other);
    rig.pass(SECOND * 3);
    assert!(rig.answers(&id).is_empty(), "at its last moment it may still leave");
    let wake = rig.desk.next_wake().expect("its time ends");
    rig.pass(wake.since(rig.now.mono));
    assert_eq!(rig.answers(&id), ["it could not be sent within its time"]);
    assert_eq!(rig.desk.order(&id).unwrap().modifications, 0);
    rig.pass(SECOND * 60);
    assert!(matches!(&rig.sent[..], [(_, of, Command::Cancel(_))] if *of == other));
}

#[test]
fn a_cancel_takes_the_place_of_changes_that_still_wait() {
    let mut rig = Rig::new(10);
    let id = rig.resting();
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    rig.modify(&id).unwrap();
    rig.cancel(&id);
    rig.pass(SECOND);
    assert!(matches!(&rig.sent[..], [(_, _, Command::Cancel(_))]));
    assert_eq!(rig.answers(&id), ["cancelled before it was sent"]);
}

#[test]
fn a_retry_after_holds_everything_back_and_what_was_turned_away_leaves_again_as_a_new_send() {
    let mut rig = Rig::new(10);
    let (changed, cancelled) = (rig.resting(), rig.resting());
    rig.modify(&changed).unwrap();
    rig.cancel(&cancelled);
    let placed = rig.submit(entry());
    for _ in 0..3 {
        rig.answer(|_| throttled(Some(SECOND * 7)));
    }
    rig.submit(entry());
    rig.pass(SECOND * 7 - Duration::from_nanos(1));
    assert!(rig.sent.is_empty(), "{:?}", rig.sent);
    assert_eq!(rig.desk.next_wake(), Some(rig.now.mono + Duration::from_nanos(1)));
    rig.pass(Duration::from_nanos(1));
    let order: Vec<&ClientOrderId> = rig.sent.iter().map(|(_, id, _)| id).collect();
    assert_eq!(order[..3], [&cancelled, &changed, &placed]);
    assert_eq!(rig.sendings(&placed), 2);
    assert_eq!(rig.records.iter().filter(|(_, what)| *what == What::NotSent).count(), 3);
}

#[test]
fn throttled_without_a_word_the_pause_doubles_up_to_half_a_minute_until_an_answer_is_good() {
    let mut rig = Rig::new(10);
    rig.submit(entry());
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        rig.answer(|_| throttled(None));
        assert_eq!(rig.desk.next_wake(), Some(rig.now.mono + SECOND * seconds));
        rig.pass(SECOND * seconds);
        assert_eq!(rig.sent.len(), 1);
    }
    rig.answer(Ok);
    rig.pass(SECOND * 2);
    rig.submit(entry());
    rig.answer(|_| throttled(None));
    assert_eq!(rig.desk.next_wake(), Some(rig.now.mono + SECOND));
}

#[test]
fn many_messages_turned_away_at_once_are_one_trouble() {
    let mut rig = Rig::new(10);
    for _ in 0..8 {
        rig.submit(entry());
    }
    for _ in 0..8 {
        rig.answer(|_| throttled(None));
    }
    assert_eq!(rig.desk.next_release().map(|at| at.since(rig.now.mono)), Some(Duration::from_millis(1_051)));
}

#[test]
fn an_order_may_be_changed_as_often_as_the_broker_says_and_not_once_more() {
    let limits = vec![RateLimit::new(10, 1)];
    let mut rig = Rig::with(DeskPolicy { limits, modifications_per_order: 3, ..DeskPolicy::default() });
    let id = rig.resting();
    rig.modify(&id).unwrap();
    rig.answer(|_| throttled(None));
    rig.pass(SECOND * 2); // it leaves again
    let (send, ..) = rig.sent.remove(0);
    rig.act(|desk, now, out| desk.gate_shut(send, now, out));
    assert_eq!(rig.sent.len(), 1, "and once more: neither was a change");
    rig.answer(Ok);
    assert_eq!(rig.desk.order(&id).unwrap().modifications, 1);
    rig.modify(&id).unwrap();
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    rig.modify(&id).unwrap();
    assert_eq!(rig.modify(&id), Err(Refused::TooManyChanges(3)), "one that waits counts");
    rig.pass(SECOND);
    assert_eq!((rig.sent.len(), rig.desk.order(&id).unwrap().modifications), (2, 3));
    assert_eq!(rig.modify(&id), Err(Refused::TooManyChanges(3)));
    rig.cancel(&id);
}

#[test]
fn a_cancel_that_the_gate_turned_back_leaves_once_live_trading_is_there_again() {
    let mut rig = Rig::new(10);
    let id = rig.resting();
    rig.cancel(&id);
    let (send, ..) = rig.sent.remove(0);
    rig.desk.leave(route(Venue::Blocked(nirantar_brokers::Block::Reconciling)));
    rig.act(|desk, now, out| desk.gate_shut(send, now, out));
    assert!(rig.sent.is_empty());
    rig.act(|desk, now, out| desk.arrive(route(Venue::Live), now, out));
    assert!(matches!(&rig.sent[..], [(_, of, Command::Cancel(_))] if *of == id));
}

#[test]
fn no_order_leaves_before_the_change_to_a_new_token_is_complete() {
    let mut rig = Rig::new(10);
    let new_token = Route { generation: Generation(2), ..route(Venue::Live) };
    rig.desk.leave(new_token);
    let id = rig.submit(entry());
    rig.pass(SECOND);
    assert!(rig.sent.is_empty(), "{:?}", rig.sent);
    rig.act(|desk, now, out| desk.arrive(new_token, now, out));
    assert!(matches!(&rig.sent[..], [(_, of, Command::Place(_))] if *of == id));
    assert_eq!(rig.desk.order(&id).unwrap().generation, Generation(2));
}

#[test]
fn when_live_trading_ends_waiting_orders_are_refused_changes_answered_and_cancels_remembered() {
    let mut rig = Rig::new(10);
    let (changed, cancelled) = (rig.resting(), rig.resting());
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    rig.modify(&changed).unwrap();
    rig.cancel(&cancelled);
    let placed = rig.submit(entry());
    rig.act(|desk, now, out| desk.arrive(route(Venue::Paper), now, out));
    assert_eq!(rig.status(&placed), OrderStatus::Refused);
    assert_eq!(rig.answers(&changed), [Refused::LiveStopped.to_string()]);
    assert!(rig.desk.order(&cancelled).unwrap().cancel_wanted);
    assert!(rig.records.contains(&(cancelled, What::CancelWanted)));
    rig.pass(SECOND * 5);
    assert!(rig.sent.is_empty());
}

#[test]
fn paper_messages_are_not_limited() {
    let mut rig = Rig::new(1);
    rig.act(|desk, now, out| desk.arrive(route(Venue::Paper), now, out));
    for _ in 0..50 {
        rig.submit(entry());
    }
    assert_eq!(rig.sent.len(), 50);
}

#[test]
fn where_reads_share_the_limits_a_look_at_the_book_waits_for_room_and_takes_it() {
    let limits = vec![RateLimit::new(10, 1)];
    let mut rig = Rig::with(DeskPolicy { limits, reads_share_limits: true, ..DeskPolicy::default() });
    rig.fill_up();
    rig.act(|desk, now, out| desk.compare(1, now, out));
    rig.act(Desk::wake);
    assert!(rig.reads.is_empty(), "two places are left, and it is three calls");
    rig.answer(Ok);
    let wake = rig.desk.next_wake().expect("the place is free in a second");
    rig.pass(wake.since(rig.now.mono));
    assert_eq!(rig.reads, [1]);
    assert_eq!(rig.sent.len(), 7, "the entries that waited did not take its places");
    let key = Key::Read(1);
    rig.act(|desk, now, out| {
        desk.read_answered(key, now);
        desk.read(1, Some(&LiveState::default()), now, out);
    });
    assert!(matches!(rig.desk.limiter.next_free(rig.now.mono, Class::Urgent), Room::At(_)));
}

#[test]
fn entries_do_not_leave_past_a_look_at_the_book_that_waits_nor_wake_the_desk_for_it() {
    let limits = vec![RateLimit::new(10, 1)];
    let mut rig = Rig::with(DeskPolicy { limits, reads_share_limits: true, ..DeskPolicy::default() });
    rig.act(|desk, now, _| desk.count_read(8, now));
    rig.pass(SECOND / 2);
    rig.act(|desk, now, out| desk.compare(1, now, out));
    rig.act(|desk, now, _| desk.count_read(1, now));
    rig.submit(entry());
    assert!(rig.sent.is_empty() && rig.reads.is_empty());
    let wake = rig.desk.next_wake().expect("when the first eight are over");
    assert_eq!(wake.since(Monotonic::default()), Duration::from_millis(1_051));
    rig.pass(wake.since(rig.now.mono));
    assert_eq!((rig.reads.len(), rig.sent.len()), (1, 1));
}

#[test]
fn after_a_restart_the_windows_hold_what_the_journal_says_was_sent() {
    let mut rig = Rig::with(DeskPolicy { limits: vec![RateLimit::new(3, 60)], ..DeskPolicy::default() });
    let sent = |seconds: u32, book: Book| Record {
        at: Now::default().wall + SECOND * seconds,
        id: Some(ClientOrderId::numbered(1, u64::from(seconds))),
        book,
        what: What::Sending { generation: Generation(1), command: CommandKind::Cancel },
    };
    // The first was answered after ten seconds, the second at once, the others nobody knows when.
    let answer = |of: &Record, at: u32| Record {
        at: Now::default().wall + SECOND * at,
        what: What::Answer("request received".to_owned()),
        ..of.clone()
    };
    let (first, second) = (sent(20, Book::Live), sent(90, Book::Live));
    let (late, soon) = (answer(&first, 30), answer(&second, 90));
    let records = [first, late, second, soon, sent(95, Book::Paper), sent(99, Book::Live)];
    rig.now = rig.now + SECOND * 100;
    let now = rig.now;
    rig.desk.count_earlier(&records, now);
    assert_eq!(rig.desk.limiter.next_free(now.mono, Class::Urgent), Room::Now, "two of three are taken");
    rig.submit(entry());
    assert!(rig.sent.is_empty(), "the reserve is not for entries");
    let wake = rig.desk.next_release().expect("a minute after the older one");
    assert_eq!(wake.since(now.mono), Duration::from_millis(50_110));
}

#[test]
fn where_reads_have_limits_of_their_own_they_leave_at_once() {
    let mut rig = Rig::new(1);
    rig.fill_up();
    rig.act(|desk, now, out| desk.compare(1, now, out));
    assert_eq!(rig.reads, [1]);
}

proptest! {
    /// A broker that answers late, turns away, or takes the token's gate away, in any order, while its book is looked at
    /// under the same limits: every order is placed exactly once, and a desk that was woken has nothing left to do.
    #[test]
    fn no_waiting_order_is_lost_or_placed_twice(
        count in 1_u32..6,
        orders in 1_usize..30,
        moves in prop::collection::vec((0_u8..8, 0_u64..2_000), 0..80),
        reads_share_limits: bool,
    ) {
        let limits = vec![RateLimit::new(count, 1)];
        let mut rig = Rig::with(DeskPolicy { limits, reads_share_limits, ..DeskPolicy::default() });
        let mut read = 0;
        let ids: Vec<ClientOrderId> = (0..orders).map(|_| rig.submit(entry())).collect();
        let mut placed = std::collections::BTreeSet::new();
        let patience = moves.len() + 80 * orders;
        // In the end every read is answered, and every message.
        let last = [(6, 0), (0, 2_000)].into_iter().cycle();
        let mut moves = moves.into_iter().chain(last);
        for _ in 0..patience {
            let (kind, millis) = moves.next().expect("it has no end");
            match kind {
                1 if !rig.sent.is_empty() => { rig.answer(|_| throttled(None)); }
                2 if !rig.sent.is_empty() => { rig.answer(|_| throttled(Some(Duration::from_millis(millis)))); }
                3 if !rig.sent.is_empty() => {
                    let (send, ..) = rig.sent.remove(0);
                    rig.act(|desk, now, out| desk.gate_shut(send, now, out));
                }
                4 => rig.pass(Duration::from_millis(millis)),
                5 => {
                    read += 1;
                    rig.act(|desk, now, out| desk.compare(read, now, out));
                }
                6 => if let Some(read) = rig.reads.pop() {
                    rig.act(|desk, now, out| {
                        desk.read_answered(Key::Read(read), now);
                        desk.read(read, Some(&LiveState::default()), now, out);
                    });
                }
                _ if !rig.sent.is_empty() => {
                    let id = rig.answer(Ok);
                    prop_assert!(placed.insert(id), "placed twice");
                }
                _ => rig.pass(Duration::from_millis(millis)),
            }
            rig.act(Desk::wake);
            prop_assert!(rig.desk.next_wake().is_none_or(|at| at > rig.now.mono), "it has nothing left to do now");
        }
        prop_assert_eq!(placed.len(), orders);
        for id in &ids {
            prop_assert_eq!(rig.status(id), OrderStatus::Accepted);
        }
    }
}

#[test]
fn however_long_the_broker_says_to_wait_one_cancel_leaves_after_half_a_minute_and_if_it_passes_all_do() {
    let mut rig = Rig::new(100);
    let (one, two, three) = (rig.resting(), rig.resting(), rig.resting());
    rig.submit(entry());
    rig.answer(|_| throttled(Some(SECOND * 36_000)));
    for id in [&one, &two, &three] {
        rig.cancel(id);
    }
    let tries = |rig: &Rig| rig.sent.iter().map(|(_, id, _)| id.clone()).collect::<Vec<_>>();
    rig.pass(SECOND * 29);
    assert_eq!(tries(&rig), []);
    assert!(rig.desk.next_wake().is_some_and(|at| at <= rig.now.mono + SECOND), "it is tried");
    rig.pass(SECOND);
    assert_eq!(tries(&rig), std::slice::from_ref(&one), "one, and no entry");
    rig.answer(|_| throttled(Some(SECOND * 36_000)));
    rig.pass(SECOND * 29);
    assert_eq!(tries(&rig), []);
    rig.pass(SECOND);
    assert_eq!(tries(&rig), [two]);
    rig.answer(Ok);
    rig.pass(SECOND);
    let all = tries(&rig);
    assert_eq!(all.get(..2), Some(&[three, one][..]));
    assert_eq!(all.len(), 3, "the entry too");
}

#[test]
fn an_answer_to_what_left_before_the_pause_does_not_end_it() {
    let mut rig = Rig::new(100);
    rig.submit(entry());
    rig.submit(entry());
    rig.answer(|_| throttled(Some(SECOND * 60)));
    rig.answer(Ok);
    rig.pass(SECOND * 59);
    assert!(rig.sent.is_empty());
}

#[test]
fn a_cancel_that_waits_for_room_is_written_down() {
    let mut rig = Rig::new(10);
    let id = rig.resting();
    rig.act(|desk, now, _| desk.limiter.pause(now.mono + SECOND, now.mono));
    rig.cancel(&id);
    let last = rig.records.last().map(|(_, what)| what.clone());
    assert_eq!(last, Some(What::CancelWanted));
}
