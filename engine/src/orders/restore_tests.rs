//! What a restart makes of each story a journal can tell.

use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, Exchange, InstrumentKey, OrderChange, OrderRequest, OrderRow, OrderStatus,
    OrderType, Price, Product, Quantity, Side, Venue,
};

use super::outcome_tests::row;
use super::{Action, CommandKind, Desk, DeskPolicy, Record, Restored, Route, SendId, What};
use crate::session::Generation;

fn at(day: &str) -> Now {
    let wall = Timestamp::parse_ist(&format!("2026-11-{day} 10:00:00")).unwrap();
    Now { mono: Monotonic::default() + Duration::from_secs(3), wall }
}

fn id(number: u64) -> ClientOrderId {
    ClientOrderId::numbered(1, number)
}

fn share() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "RELIANCE")
}

fn request() -> OrderRequest {
    OrderRequest::new(share(), Side::Buy, 10, OrderType::Limit(Price::from_paise(100_000)))
}

fn sending(command: CommandKind) -> What {
    What::Sending { generation: Generation(1), command }
}

fn state(status: OrderStatus, number: Option<&str>, filled: u64) -> What {
    let average_price = if filled == 0 { Price::ZERO } else { Price::from_paise(100_000) };
    let broker_id = number.map(BrokerOrderId::new);
    What::State { status, quantity: None, broker_id, filled: Quantity::new(filled), average_price, message: None }
}

/// A journal of the 20th that tells of one order.
fn story(book: Book, lines: impl IntoIterator<Item = What>) -> Vec<Record> {
    let lines = std::iter::once(What::Intent(request())).chain(lines);
    lines.map(|what| Record { at: at("20").wall, id: Some(id(1)), book, what }).collect()
}

fn restore(records: &[Record], now: Now) -> (Desk, Vec<Action>, Restored) {
    let (mut desk, mut out) = (Desk::new(DeskPolicy::default()), Vec::new());
    let restored = desk.restore(records, now, &mut out);
    assert!(!out.iter().any(|action| matches!(action, Action::Send { .. } | Action::Read { .. })), "{out:?}");
    (desk, out, restored)
}

fn status(records: &[Record], now: Now) -> Option<OrderStatus> {
    restore(records, now).0.order(&id(1)).map(|order| order.status)
}

#[test]
fn each_story_ends_as_the_table_says_on_its_day_and_on_the_next() {
    use OrderStatus::{Accepted, Cancelled, Filled, NotPlaced, Open, Refused, TriggerPending, Unknown, Unresolved};
    let place = || sending(CommandKind::Place);
    let token = || What::RefusedForToken { generation: Generation(1) };
    let stories: Vec<(Vec<What>, OrderStatus, Option<OrderStatus>)> = vec![
        (vec![], Refused, None),
        (vec![place()], Unknown, Some(Unresolved)),
        (vec![place(), What::NotSent], Refused, None),
        (vec![place(), token()], Refused, None),
        (vec![place(), token(), place()], Unknown, Some(Unresolved)),
        (vec![place(), What::NotSent, place(), What::NotSent], Refused, None),
        (vec![place(), state(Unknown, None, 0)], Unknown, Some(Unresolved)),
        (vec![place(), state(Accepted, Some("7"), 0)], Accepted, Some(Unresolved)),
        (vec![place(), state(Open, Some("7"), 4)], Open, Some(Unresolved)),
        (vec![place(), state(TriggerPending, Some("7"), 0)], TriggerPending, Some(Unresolved)),
        (vec![place(), state(Open, Some("7"), 0), sending(CommandKind::Cancel), What::NotSent], Open, Some(Unresolved)),
        (vec![place(), state(Filled, Some("7"), 10)], Filled, None),
        (vec![place(), state(Cancelled, Some("7"), 3)], Cancelled, None),
        (vec![place(), state(Unknown, None, 0), state(NotPlaced, None, 0)], NotPlaced, None),
        (vec![place(), state(Unknown, None, 0), state(Unresolved, None, 0)], Unresolved, Some(Unresolved)),
    ];
    for (lines, same_day, next_day) in stories {
        let records = story(Book::Live, lines);
        assert_eq!(status(&records, at("20")), Some(same_day), "{records:?}");
        assert_eq!(status(&records, at("23")), next_day, "{records:?}");
    }
}

#[test]
fn an_order_that_was_changed_is_restored_as_it_was_changed_and_says_nothing_new_of_it() {
    let first = [sending(CommandKind::Place), state(OrderStatus::Open, Some("7"), 0)];
    let (mut desk, _, _) = restore(&story(Book::Live, first.clone()), at("20"));
    let row = OrderRow { quantity: Quantity::new(25), ..row("7", OrderStatus::Open, 0) };
    let mut out = Vec::new();
    desk.update(Book::Live, &row, at("20"), &mut out);
    let told =
        out.into_iter().find_map(|action| if let Action::Journal(record) = action { Some(record) } else { None });
    let told = told.expect("the change is written down");
    let records: Vec<Record> = story(Book::Live, first).into_iter().chain([told]).collect();
    let (mut desk, _, _) = restore(&records, at("20"));
    assert_eq!(desk.order(&id(1)).unwrap().request.quantity, Quantity::new(25));
    let mut out = Vec::new();
    desk.update(Book::Live, &row, at("20"), &mut out);
    assert_eq!(out, [], "it is known");
}

#[test]
fn an_unresolved_order_is_forgotten_once_somebody_has_looked_and_the_day_is_over() {
    let lines = || vec![sending(CommandKind::Place), state(OrderStatus::Unknown, None, 0)];
    let seen = [state(OrderStatus::Unresolved, None, 0), What::Acknowledged];
    let records = story(Book::Live, lines().into_iter().chain(seen));
    assert!(restore(&records, at("20")).0.order(&id(1)).unwrap().acknowledged);
    assert_eq!(status(&records, at("23")), None);
    let (_, out, restored) = restore(&story(Book::Live, lines()), at("23"));
    assert_eq!(restored.unresolved, 1);
    let alarms: Vec<_> = out.iter().filter(|action| matches!(action, Action::Alarm(_))).collect();
    assert!(matches!(alarms[..], [Action::Alarm(words)] if words.contains(id(1).as_str())), "{alarms:?}");
}

#[test]
fn an_acknowledged_order_that_was_found_again_needs_a_look_again() {
    let unresolved = || state(OrderStatus::Unresolved, None, 0);
    let seen = [sending(CommandKind::Place), state(OrderStatus::Unknown, None, 0), unresolved(), What::Acknowledged];
    let found = || seen.clone().into_iter().chain([state(OrderStatus::Open, Some("7"), 0)]);
    for records in [story(Book::Live, found()), story(Book::Live, found().chain([unresolved()]))] {
        for day in ["20", "23"] {
            let (desk, _, restored) = restore(&records, at(day));
            let order = desk.order(&id(1)).unwrap();
            assert!(!order.acknowledged && order.may_be_working(), "on the {day}th: {order:?}");
            assert_eq!(restored.unresolved, usize::from(order.status == OrderStatus::Unresolved));
        }
    }
    // The same said twice is nothing new.
    let twice = story(Book::Live, seen.clone().into_iter().chain([unresolved()]));
    assert!(restore(&twice, at("20")).0.order(&id(1)).unwrap().acknowledged);
}

#[test]
fn paper_ends_with_its_exchange() {
    use OrderStatus::{Cancelled, Open, Refused};
    let placed = |lines: Vec<What>| story(Book::Paper, std::iter::once(sending(CommandKind::Place)).chain(lines));
    assert_eq!(status(&placed(vec![]), at("20")), Some(Refused), "the exchange is rebuilt from this very journal");
    let open = placed(vec![state(Open, Some("7"), 4)]);
    assert_eq!(status(&open, at("20")), Some(Open));
    let (desk, out, restored) = restore(&open, at("23"));
    let told = out.iter().any(|action| matches!(action, Action::Changed(order) if order.status == Cancelled));
    assert!(told, "{out:?}");
    assert_eq!(desk.order(&id(1)), None, "nothing is left to look at");
    assert_eq!((restored.paper.orders.len(), restored.paper.trades.len()), (0, 1));
    assert_eq!(desk.exposure().of(Book::Paper, &share(), Product::Mis), 4);
}

#[test]
fn what_the_paper_exchange_needs_is_found_with_its_changes() {
    let change = OrderChange { quantity: Some(Quantity::new(20)), ..OrderChange::default() };
    let modify = || sending(CommandKind::Modify(change.clone()));
    let begun = [sending(CommandKind::Place), state(OrderStatus::Open, Some("7"), 0), modify()];
    let taken = story(Book::Paper, begun.clone().into_iter().chain([state(OrderStatus::Accepted, Some("7"), 0)]));
    assert_eq!(restore(&taken, at("20")).2.paper.orders[0].request.quantity, Quantity::new(20));
    let refused = story(Book::Paper, begun.into_iter().chain([What::Answer("no".to_owned())]));
    assert_eq!(restore(&refused, at("20")).2.paper.orders[0].request.quantity, Quantity::new(10));
}

#[test]
fn fills_and_the_brokers_word_make_the_exposure_and_a_night_is_told_apart() {
    let mut records = story(Book::Live, [sending(CommandKind::Place), state(OrderStatus::Open, Some("7"), 4)]);
    records.extend(story(Book::Live, [state(OrderStatus::Filled, Some("7"), 10)]).drain(1..));
    let held = |records: &[Record]| restore(records, at("20")).0.exposure().of(Book::Live, &share(), Product::Mis);
    assert_eq!(held(&records), 10);
    let holds = What::Holds { instrument: share(), product: Product::Mis, quantity: -3 };
    records.push(Record { at: at("20").wall, id: None, book: Book::Live, what: holds });
    assert_eq!(held(&records), -3);

    for (day, overnight) in [("20", false), ("23", true)] {
        let mut desk = restore(&records, at(day)).0;
        let flat = super::LiveState::default();
        let comparisons: Vec<_> = (1..=3)
            .map(|number| {
                let mut out = Vec::new();
                desk.compare(number, at(day), &mut out);
                desk.read(number, Some(&flat), at(day), &mut out);
                out.into_iter().find_map(|action| if let Action::Compared(made) = action { Some(made) } else { None })
            })
            .map(|comparison| comparison.unwrap())
            .map(|comparison| (comparison.complete, comparison.differences.len(), comparison.overnight))
            .collect();
        assert_eq!(comparisons, [(false, 0, overnight), (true, 1, overnight), (true, 0, false)], "on the {day}th");
    }
}

#[test]
fn numbers_go_on_after_the_last_one_of_the_same_run() {
    let mut records = story(Book::Live, []);
    for record in &mut records {
        record.id = Some(id(41));
    }
    records.push(Record { id: Some(ClientOrderId::numbered(2, 99)), ..records[0].clone() });
    records.push(Record { id: Some("SHORT".parse().unwrap()), ..records[0].clone() });
    let (mut desk, ..) = restore(&records, at("20"));
    assert_eq!(desk.submit(request(), at("20"), &mut Vec::new()), Ok(id(42)));
}

#[test]
fn numbers_of_messages_go_on_after_those_that_were_sent_before_the_restart() {
    let records = story(Book::Live, [sending(CommandKind::Place), state(OrderStatus::Open, Some("7"), 0)]);
    let (mut desk, mut out, _) = restore(&records, at("20"));
    let live = Route { venue: Venue::Live, reduce_only: false, generation: Generation(1) };
    desk.arrive(live, at("20"), &mut out);
    desk.submit(request(), at("20"), &mut out).unwrap();
    let sent = out.iter().find_map(|action| if let Action::Send { send, .. } = action { Some(*send) } else { None });
    assert_eq!(sent, Some(SendId(2)), "an answer to the first must not be taken for one to this: {out:?}");
}

#[test]
fn an_unknown_order_counts_as_working_and_is_looked_for_once_there_is_a_session() {
    let records = story(Book::Live, [sending(CommandKind::Place)]);
    let (desk, _, restored) = restore(&records, at("20"));
    assert_eq!((restored.orders, restored.working, restored.unknown), (1, 0, 1));
    assert!(desk.order(&id(1)).unwrap().may_be_working());
    assert_eq!(desk.next_wake(), None, "nobody can be asked without a token");
}

#[test]
fn a_changed_order_keeps_its_count_and_a_wanted_cancel_is_remembered() {
    let change = || sending(CommandKind::Modify(OrderChange::default()));
    let lines = [
        sending(CommandKind::Place),
        state(OrderStatus::Open, Some("7"), 0),
        change(),
        What::Answer("request received".to_owned()),
        change(),
        What::NotSent,
        What::Answer("not sent".to_owned()),
        What::CancelWanted,
    ];
    let (desk, ..) = restore(&story(Book::Live, lines), at("20"));
    let order = desk.order(&id(1)).unwrap();
    assert_eq!((order.modifications, order.cancel_wanted), (1, true));
}

#[test]
fn a_cancel_that_was_turned_back_is_wanted_after_a_restart_and_an_answered_one_is_not() {
    let wanted = |lines: Vec<What>| {
        let begun = [sending(CommandKind::Place), state(OrderStatus::Open, Some("7"), 0), sending(CommandKind::Cancel)];
        let (desk, ..) = restore(&story(Book::Live, begun.into_iter().chain(lines)), at("20"));
        desk.order(&id(1)).unwrap().cancel_wanted
    };
    assert!(wanted(vec![What::NotSent]));
    assert!(wanted(vec![What::RefusedForToken { generation: Generation(1) }]));
    assert!(!wanted(vec![What::Answer("request received".to_owned())]));
    assert!(!wanted(vec![What::NotSent, sending(CommandKind::Cancel), What::Answer("no".to_owned())]));
}
