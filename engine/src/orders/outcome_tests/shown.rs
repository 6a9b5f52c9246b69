//! Rules 23 to 36: what reads, rows, the end of the day and the operator mean.

use super::*;
use crate::orders::{Difference, Refused};

/// Past the broker's propagation time.
const LATER: u64 = 11;

fn tagged(id: &ClientOrderId, row: OrderRow) -> OrderRow {
    OrderRow { client_id: Some(id.clone()), ..row }
}

fn nothing() -> LiveState {
    LiveState::default()
}

#[test]
fn outcome_23_a_failed_read_is_no_empty_list_and_the_next_looks_come_further_apart() {
    let mut scene = Scene::new();
    let id = scene.unknown();
    scene.pass(LATER);
    scene.read(Some(&nothing()));
    scene.read(None);
    scene.read(Some(&nothing()));
    assert_eq!(scene.status(&id), OrderStatus::Unknown, "the two complete reads are not consecutive");

    let mut deaf = Scene::new();
    deaf.unknown();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let began = deaf.now.mono;
        let read = loop {
            deaf.pass(1);
            deaf.wake();
            if let Some(read) = deaf.newest_read() {
                break read;
            }
        };
        waits.push(deaf.now.mono.since(began).as_secs());
        deaf.out.clear();
        deaf.desk.read(read, None, deaf.now, &mut deaf.out);
    }
    assert!(waits.is_sorted() && waits[0] == 1 && waits[7] == 30, "{waits:?}");
}

#[test]
fn outcome_24_an_unknown_order_stays_unknown_while_its_absence_may_have_a_reason() {
    let mut early = Scene::new();
    let id = early.unknown();
    let begun_early = early.begin_read();
    early.pass(LATER);
    early.desk.read(begun_early, Some(&nothing()), early.now, &mut early.out);
    early.read(Some(&nothing()));
    assert_eq!(early.status(&id), OrderStatus::Unknown, "the first read began within the propagation time");

    let reasons = [
        LiveState::new(Vec::new(), Vec::new(), vec![trade("9")]),
        LiveState { positions: vec![bought(10)], ..nothing() },
        LiveState { positions: vec![bought(3)], ..nothing() },
    ];
    for reason in reasons {
        let mut scene = Scene::new();
        let id = scene.unknown();
        scene.pass(LATER);
        for _ in 0..5 {
            scene.read(Some(&reason));
        }
        assert_eq!(scene.status(&id), OrderStatus::Unknown, "{reason:?}");
        assert!(scene.order(&id).may_be_working());
    }
}

#[test]
fn outcome_25_an_order_that_nothing_shows_is_believed_never_placed_after_two_reads() {
    let others = [
        nothing(),
        LiveState { positions: vec![bought(-3)], ..nothing() },
        LiveState::new(vec![bought(10)], vec![row("9", OrderStatus::Filled, 10)], vec![trade("9")]),
    ];
    for state in others {
        let mut scene = Scene::new();
        let id = scene.unknown();
        scene.pass(LATER);
        scene.read(Some(&state));
        assert_eq!(scene.status(&id), OrderStatus::Unknown);
        scene.read(Some(&state));
        assert_eq!(scene.status(&id), OrderStatus::NotPlaced, "{state:?}");
        assert!(!scene.order(&id).may_be_working());
    }
}

#[test]
fn outcome_26_slices_that_nobody_sees_are_believed_never_placed_after_two_reads() {
    let ends = [(OrderStatus::Filled, 6, OrderStatus::Cancelled), (OrderStatus::Rejected, 0, OrderStatus::Rejected)];
    for (status, filled, end) in ends {
        let mut scene = Scene::new();
        let (id, send) = scene.place();
        scene.reply(send, Ok(number("P")));
        let state =
            LiveState { positions: vec![bought(filled)], ..book_of(&[slice("1", "P", 6, status, filled as u64)]) };
        scene.read(Some(&state));
        scene.read(Some(&state));
        assert_eq!(scene.status(&id), OrderStatus::Open, "the others may still come");
        scene.pass(LATER);
        scene.read(Some(&state));
        scene.read(Some(&state));
        assert_eq!((scene.status(&id), scene.held()), (end, filled));
    }
}

#[test]
fn outcome_27_rows_may_repeat_and_overtake_each_other_and_a_fill_counts_once() {
    let mut scene = Scene::new();
    let id = scene.working();
    let story = [(OrderStatus::Open, 4), (OrderStatus::Open, 4), (OrderStatus::Open, 0), (OrderStatus::Filled, 10)];
    for (status, filled) in story.into_iter().chain(story) {
        scene.show(&row("7", status, filled));
    }
    assert_eq!(
        (scene.status(&id), scene.order(&id).filled, scene.held()),
        (OrderStatus::Filled, Quantity::new(10), 10)
    );
    assert!(scene.alarms().is_empty());
}

#[test]
fn outcome_28_fills_of_slices_add_up_whatever_their_order_and_whether_they_carry_our_tag() {
    let price = |paise: i64, row: OrderRow| OrderRow { average_price: Price::from_paise(paise), ..row };
    let rows = [
        slice("1", "P", 6, OrderStatus::Open, 0),
        price(150_000, slice("1", "P", 6, OrderStatus::Filled, 6)),
        slice("2", "P", 4, OrderStatus::Open, 0),
        price(150_010, slice("2", "P", 4, OrderStatus::Open, 3)),
        price(150_010, slice("2", "P", 4, OrderStatus::Filled, 4)),
    ];
    let orders = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 0, 2, 3], [2, 3, 4, 1, 1]];
    for (order, (reply_at, with_tag)) in orders.into_iter().zip([(0, false), (2, false), (5, true), (3, true)]) {
        let mut scene = Scene::new();
        let (id, send) = scene.place();
        for (step, index) in order.into_iter().enumerate() {
            if step == reply_at {
                scene.reply(send, Ok(number("P")));
            }
            let row = rows[index].clone();
            scene.show(&if with_tag { tagged(&id, row) } else { row });
        }
        scene.reply(send, Ok(number("P")));
        let whole = scene.order(&id);
        assert_eq!((whole.status, whole.broker_id.clone()), (OrderStatus::Filled, Some(number("P"))), "{order:?}");
        assert_eq!(whole.average_price, Price::from_paise(150_004));
        assert_eq!((scene.held(), scene.desk.orders().count()), (10, 1), "{order:?}");
        assert!(scene.alarms().is_empty());
    }
}

#[test]
fn outcome_28_an_order_in_slices_is_open_while_one_works_and_cancelled_when_the_last_has_gone() {
    let mut scene = Scene::new();
    let id = scene.unknown();
    scene.show(&tagged(&id, slice("1", "P", 6, OrderStatus::Filled, 6)));
    scene.show(&tagged(&id, slice("2", "P", 4, OrderStatus::Open, 1)));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Open, 7));
    let cancel = scene.cancel(&id);
    scene.reply(cancel, Ok(number("2")));
    assert_eq!(scene.sent(), None, "the other has gone already");
    scene.show(&slice("2", "P", 4, OrderStatus::Cancelled, 1));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Cancelled, 7));
}

#[test]
fn outcome_28_a_cancel_of_an_order_in_slices_goes_to_each_that_works() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.reply(send, Ok(number("P")));
    for one in ["1", "2"] {
        scene.show(&slice(one, "P", 5, OrderStatus::Open, 0));
    }
    scene.desk.cancel(&id, scene.now, &mut scene.out).unwrap();
    let (first, command) = scene.sent().unwrap();
    assert_eq!(command, Command::Cancel(number("1")));
    scene.reply(first, Ok(number("1")));
    let (second, command) = scene.sent().unwrap();
    assert_eq!(command, Command::Cancel(number("2")));
    scene.reply(second, Ok(number("2")));
    assert_eq!(scene.sent(), None);
}

#[test]
fn outcome_28_a_leg_of_the_other_side_is_no_slice() {
    let mut scene = Scene::new();
    let id = scene.working();
    scene.show(&OrderRow { side: Side::Sell, ..slice("8", "7", 10, OrderStatus::Filled, 10) });
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Open, -10));
    assert_eq!(scene.desk.orders().filter(|order| order.external).count(), 1);
}

#[test]
fn outcome_29_a_second_number_with_our_tag_is_told_and_both_are_counted() {
    let mut scene = Scene::new();
    let id = scene.working();
    scene.show(&tagged(&id, row("8", OrderStatus::Filled, 10)));
    let alarms = scene.alarms();
    assert!(alarms.len() == 1 && alarms[0].contains("twice") && alarms[0].contains(id.as_str()), "{alarms:?}");
    scene.show(&tagged(&id, row("8", OrderStatus::Filled, 10)));
    scene.show(&row("7", OrderStatus::Filled, 10));
    assert_eq!((scene.held(), scene.desk.orders().count()), (20, 2));
    assert!(scene.desk.orders().any(|order| order.external && order.broker_id == Some(number("8"))));
    assert!(scene.alarms().is_empty(), "told once");
}

#[test]
fn outcome_30_an_order_that_is_not_ours_is_adopted_and_marked() {
    let mut scene = Scene::new();
    scene.show(&row("9", OrderStatus::Open, 4));
    let order = scene.desk.orders().next().expect("it is kept").clone();
    assert!(order.external && order.status == OrderStatus::Open);
    assert!(scene.recorded().iter().any(|what| matches!(what, What::External { .. })));
    let told = crate::core::Event::Order { at: Timestamp::default(), order: std::sync::Arc::new(order) };
    assert!(told.to_string().contains("(placed elsewhere)"), "{told}");
}

#[test]
fn outcome_31_a_step_that_cannot_be_is_told_once_and_its_fills_count() {
    let mut scene = Scene::new();
    let id = scene.working();
    scene.show(&row("7", OrderStatus::Cancelled, 0));
    scene.show(&row("7", OrderStatus::Filled, 10));
    scene.show(&row("7", OrderStatus::Filled, 10));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Cancelled, 10));
    assert_eq!(scene.alarms().len(), 1);
}

#[test]
fn outcome_32_evidence_overturns_what_was_believed_and_says_so() {
    let mut absent = Scene::new();
    let id = absent.unknown();
    absent.pass(LATER);
    absent.read(Some(&nothing()));
    absent.read(Some(&nothing()));
    absent.alarms();
    absent.show(&tagged(&id, row("7", OrderStatus::Open, 4)));
    let alarms = absent.alarms();
    assert!(alarms.len() == 1 && alarms[0].contains(id.as_str()) && alarms[0].contains("NSE:INFY"), "{alarms:?}");
    assert_eq!((absent.held(), absent.order(&id).may_be_working()), (4, true));

    let mut unresolved = Scene::new();
    let id = unresolved.unknown();
    unresolved.close();
    unresolved.alarms();
    unresolved.show(&tagged(&id, row("7", OrderStatus::Filled, 10)));
    assert_eq!((unresolved.alarms().len(), unresolved.held()), (1, 10));
    assert_eq!(unresolved.status(&id), OrderStatus::Filled);
}

#[test]
fn outcome_33_what_is_unknown_when_the_day_ends_is_unresolved_and_counts() {
    let mut scene = Scene::new();
    let id = scene.unknown();
    scene.close();
    assert_eq!((scene.status(&id), scene.order(&id).may_be_working()), (OrderStatus::Unresolved, true));
    let alarms = scene.alarms();
    assert!(alarms.len() == 1 && alarms[0].contains(id.as_str()), "{alarms:?}");
    scene.close();
    assert!(scene.alarms().is_empty(), "told once");
}

#[test]
fn outcome_34_a_working_order_is_read_once_more_after_the_close() {
    let mut scene = Scene::new();
    let id = scene.working();
    let begun_before = scene.begin_read();
    scene.pass(1);
    scene.close();
    scene.desk.read(begun_before, Some(&nothing()), scene.now, &mut scene.out);
    assert_eq!(scene.status(&id), OrderStatus::Open, "that read began before the close");
    assert!(scene.looks_within(1));
    scene.read(Some(&book_of(&[row("7", OrderStatus::Cancelled, 0)])));
    assert_eq!(scene.status(&id), OrderStatus::Cancelled);
    assert!(!scene.looks_within(600), "no more is asked");
}

#[test]
fn outcome_35_what_that_read_does_not_show_or_works_on_the_next_day_is_unresolved() {
    let mut gone = Scene::new();
    let id = gone.working();
    gone.close();
    gone.read(Some(&nothing()));
    assert_eq!(gone.status(&id), OrderStatus::Unresolved);
    assert_eq!(gone.alarms().len(), 1);

    let mut stays = Scene::new();
    let id = stays.working();
    stays.close();
    stays.read(Some(&book_of(&[row("7", OrderStatus::Open, 0)])));
    assert_eq!(stays.status(&id), OrderStatus::Open);
    stays.pass(24 * 3600);
    stays.close();
    assert_eq!((stays.status(&id), stays.order(&id).may_be_working()), (OrderStatus::Unresolved, true));
    assert_eq!(stays.alarms().len(), 1);
}

#[test]
fn outcome_36_an_acknowledged_order_counts_no_more_and_others_cannot_be_acknowledged() {
    let mut scene = Scene::new();
    let id = scene.unknown();
    let early = scene.desk.acknowledge(&id, scene.now, &mut scene.out);
    assert_eq!(early, Err(Refused::NotUnresolved(OrderStatus::Unknown)));
    scene.close();
    scene.recorded();
    assert_eq!(scene.desk.acknowledge(&id, scene.now, &mut scene.out), Ok(()));
    assert_eq!(scene.recorded(), [What::Acknowledged]);
    assert!(!scene.order(&id).may_be_working());
    assert!(scene.desk.acknowledge(&id, scene.now, &mut scene.out).is_err(), "once");
    scene.show(&tagged(&id, row("7", OrderStatus::Open, 0)));
    assert!(scene.order(&id).may_be_working(), "what is seen counts again");
}

#[test]
fn a_position_that_was_believed_is_recorded_and_the_fill_that_explains_it_is_not_counted_twice() {
    let mut scene = Scene::new();
    let id = scene.unknown();
    let held = LiveState { positions: vec![bought(10)], ..nothing() };
    scene.read(Some(&held));
    assert_eq!(scene.held(), 0, "one read is not believed");
    scene.recorded();
    scene.read(Some(&held));
    let holds = What::Holds { instrument: share(), product: Product::Mis, quantity: 10 };
    assert!(scene.out.iter().any(|one| matches!(one, Action::Compared(comparison)
        if comparison.differences == [Difference { instrument: share(), product: Product::Mis, ours: 0, brokers: 10 }])));
    assert_eq!(scene.recorded(), [holds]);
    scene.pass(LATER);
    for _ in 0..3 {
        scene.read(Some(&held));
    }
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Unknown, 10), "it may be what the broker holds");
    scene.show(&tagged(&id, row("7", OrderStatus::Filled, 10)));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Filled, 10));
}

#[test]
fn fills_that_came_with_a_position_before_the_book_showed_the_order_are_counted_once() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.reply(send, Ok(number("7")));
    let held = LiveState { positions: vec![bought(4)], ..nothing() };
    scene.read(Some(&held));
    scene.read(Some(&held));
    assert_eq!(scene.held(), 4);
    scene.show(&row("7", OrderStatus::Open, 4));
    assert_eq!(scene.held(), 4);
    scene.show(&row("7", OrderStatus::Filled, 10));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Filled, 10));
}
