//! Rules 1 to 22: what the answers to commands mean.

use nirantar_brokers::OrderChange;

use super::*;
use crate::orders::{Circumstances, CommandKind, RULES, Then, When, on_answer};

const WAIT: Duration = Duration::from_secs(2);

/// A change on its way to the broker.
fn change(scene: &mut Scene, id: &ClientOrderId) -> SendId {
    let change = OrderChange { quantity: Some(Quantity::new(5)), ..OrderChange::default() };
    scene.desk.modify(id, change, scene.now, &mut scene.out).expect("the desk takes it");
    scene.sent().expect("it is sent").0
}

#[test]
fn outcome_01_an_accepted_order_has_the_brokers_number() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.reply(send, Ok(number("7")));
    assert_eq!(scene.status(&id), OrderStatus::Accepted);
    assert_eq!(scene.order(&id).broker_id, Some(number("7")));
}

#[test]
fn outcome_02_whatever_the_reply_an_update_that_came_first_knows_more() {
    for reply in [Ok(number("7")), failed(CONCLUSIVE), failed(Cause::Rejected), failed(Cause::Unknown)] {
        let mut scene = Scene::new();
        let (id, send) = scene.place();
        scene.show(&OrderRow { client_id: Some(id.clone()), ..row("7", OrderStatus::Open, 4) });
        scene.reply(send, reply);
        assert_eq!(scene.status(&id), OrderStatus::Open);
        assert_eq!((scene.held(), scene.sent()), (4, None), "and it is not sent again");
    }
}

#[test]
fn outcome_03_a_refused_order_leaves_once_more_under_a_new_token_and_no_third_time() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.hold(); // the session has heard of it first
    scene.reply(send, failed(CONCLUSIVE));
    assert_eq!((scene.status(&id), scene.order(&id).may_be_working()), (OrderStatus::Journalled, false));
    scene.under_token(2);
    let (again, _) = scene.sent().expect("it is sent again");
    scene.reply(again, failed(CONCLUSIVE));
    assert_eq!((scene.status(&id), scene.sent()), (OrderStatus::Refused, None));
}

#[test]
fn outcome_04_refused_on_suspicion_under_an_old_token_or_too_late_is_the_end() {
    let mut suspected = Scene::new();
    let (id, send) = suspected.place();
    suspected.reply(send, failed(SUSPECT));
    assert_eq!((suspected.status(&id), suspected.sent()), (OrderStatus::Refused, None));

    let mut old = Scene::new();
    let (id, send) = old.place();
    old.under_token(2);
    old.reply(send, failed(CONCLUSIVE));
    assert_eq!((old.status(&id), old.sent()), (OrderStatus::Refused, None));

    let mut late = Scene::new();
    let (id, send) = late.place();
    late.pass(6);
    late.reply(send, failed(CONCLUSIVE));
    assert_eq!((late.status(&id), late.sent()), (OrderStatus::Refused, None));
}

#[test]
fn outcome_05_a_throttled_order_waits_as_long_as_it_is_told_and_is_never_sent_late() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.reply(send, failed(Cause::Throttled { retry_after: Some(WAIT) }));
    scene.pass(1);
    scene.wake();
    assert_eq!(scene.sent(), None);
    scene.pass(1);
    scene.wake();
    let (again, _) = scene.sent().expect("it is sent again");
    scene.reply(again, failed(Cause::Throttled { retry_after: Some(WAIT * 60) }));
    scene.pass(130);
    scene.wake();
    assert_eq!((scene.status(&id), scene.sent()), (OrderStatus::Refused, None));
}

#[test]
fn outcome_06_a_rejected_order_is_over() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.reply(send, failed(Cause::Rejected));
    assert_eq!((scene.status(&id), scene.order(&id).may_be_working()), (OrderStatus::Rejected, false));
    assert_eq!(scene.order(&id).message.as_deref(), Some("the broker's words"));
}

#[test]
fn outcome_07_a_misconfiguration_refuses_the_order() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    let outcome = failed(Cause::Misconfigured);
    let facts = scene.desk.facts(send, &outcome).expect("the session hears of it");
    assert_eq!(facts.failure.map(|failure| failure.cause), Some(Cause::Misconfigured));
    scene.reply(send, outcome);
    assert_eq!((scene.status(&id), scene.sent()), (OrderStatus::Refused, None));
}

#[test]
fn outcome_08_an_order_of_which_no_byte_left_is_refused() {
    let mut scene = Scene::new();
    let (id, send) = scene.place();
    scene.reply(send, failed(Cause::NotSent));
    assert_eq!((scene.status(&id), scene.sent()), (OrderStatus::Refused, None));
    assert!(!scene.looks_within(60), "there is nothing to look for");
}

#[test]
fn outcome_09_an_order_whose_reply_is_lost_is_looked_for_and_never_sent_again() {
    let mut scene = Scene::new();
    let id = scene.unknown();
    assert_eq!((scene.status(&id), scene.order(&id).may_be_working()), (OrderStatus::Unknown, true));
    assert!(scene.looks_within(1));
    scene.under_token(2);
    scene.pass(60);
    scene.wake();
    assert_eq!(scene.sent(), None);
}

#[test]
fn outcome_10_an_accepted_change_is_a_request_received() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = change(&mut scene, &id);
    scene.reply(send, Ok(number("7")));
    assert_eq!(scene.answers(), ["request received"]);
    assert_eq!(scene.status(&id), OrderStatus::Open);
}

#[test]
fn outcome_11_a_refused_change_is_answered_and_changes_nothing() {
    for cause in [CONCLUSIVE, SUSPECT] {
        let mut scene = Scene::new();
        let id = scene.working();
        let send = change(&mut scene, &id);
        scene.reply(send, failed(cause));
        assert_eq!(scene.answers(), ["place order: the broker's words"]);
        assert_eq!(scene.status(&id), OrderStatus::Open);
        assert!(!scene.looks_within(60), "nothing is in doubt");
    }
}

#[test]
fn outcome_12_a_throttled_change_is_asked_again_after_the_wait_and_never_late() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = change(&mut scene, &id);
    scene.reply(send, failed(Cause::Throttled { retry_after: Some(WAIT) }));
    scene.pass(1);
    scene.wake();
    assert_eq!(scene.sent(), None);
    scene.pass(1);
    scene.wake();
    let (again, command) = scene.sent().expect("it is asked again");
    assert!(matches!(command, Command::Modify(..)));
    scene.reply(again, failed(Cause::Throttled { retry_after: Some(WAIT * 10) }));
    scene.pass(30);
    scene.wake();
    assert_eq!(scene.answers().len(), 1, "its time is over, and it is told");
}

#[test]
fn outcome_13_a_rejected_change_may_have_lost_a_race_so_the_book_is_read() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = change(&mut scene, &id);
    scene.reply(send, failed(Cause::Rejected));
    assert!(scene.looks_within(1));
    scene.read(Some(&book_of(&[row("7", OrderStatus::Filled, 10)])));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Filled, 10));
}

#[test]
fn outcome_14_a_change_that_no_new_token_mends_is_answered() {
    for cause in [Cause::Misconfigured, Cause::NotSent] {
        let mut scene = Scene::new();
        let id = scene.working();
        let send = change(&mut scene, &id);
        scene.reply(send, failed(cause));
        assert_eq!(scene.answers().len(), 1);
        assert!(!scene.looks_within(60), "nothing is in doubt");
    }
}

#[test]
fn outcome_15_after_a_lost_reply_to_a_change_the_book_is_read_until_it_shows_the_order() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = change(&mut scene, &id);
    scene.reply(send, failed(Cause::Unknown));
    assert!(scene.looks_within(1));
    scene.read(None);
    assert!(scene.looks_within(30), "a failed read shows nothing");
    scene.read(Some(&book_of(&[row("7", OrderStatus::Open, 0)])));
    assert_eq!(scene.answers(), ["the broker's book shows it open"]);
    assert!(!scene.looks_within(60));
}

#[test]
fn outcome_16_an_accepted_cancel_is_a_request_received() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = scene.cancel(&id);
    scene.reply(send, Ok(number("7")));
    assert_eq!(scene.answers(), ["request received"]);
    assert_eq!(scene.status(&id), OrderStatus::Open, "until an update tells of the end");
}

#[test]
fn outcome_17_a_refused_cancel_leaves_once_more_under_a_new_token_and_no_third_time() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = scene.cancel(&id);
    scene.hold();
    scene.reply(send, failed(CONCLUSIVE));
    scene.wake();
    assert_eq!(scene.sent(), None, "there is no token to send it under");
    scene.under_token(2);
    let (again, command) = scene.sent().expect("it is asked again");
    assert_eq!(command, Command::Cancel(number("7")));
    scene.reply(again, failed(CONCLUSIVE));
    assert_eq!(scene.answers().len(), 1);
    scene.under_token(3);
    assert_eq!(scene.sent(), None);
}

#[test]
fn outcome_18_a_cancel_refused_on_suspicion_is_answered() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = scene.cancel(&id);
    scene.reply(send, failed(SUSPECT));
    assert_eq!(scene.answers().len(), 1);
    scene.under_token(2);
    assert_eq!(scene.sent(), None);
}

#[test]
fn outcome_19_a_throttled_cancel_is_asked_again_after_the_wait_however_long() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = scene.cancel(&id);
    scene.reply(send, failed(Cause::Throttled { retry_after: Some(WAIT * 15) }));
    scene.pass(29);
    scene.wake();
    assert_eq!(scene.sent(), None);
    scene.pass(1);
    scene.wake();
    assert_eq!(scene.sent().expect("it is asked again").1, Command::Cancel(number("7")));
}

#[test]
fn outcome_20_a_rejected_cancel_may_have_lost_a_race_with_a_fill() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = scene.cancel(&id);
    scene.reply(send, failed(Cause::Rejected));
    assert!(scene.looks_within(1));
    scene.read(Some(&book_of(&[row("7", OrderStatus::Filled, 10)])));
    assert_eq!((scene.status(&id), scene.held()), (OrderStatus::Filled, 10));
}

#[test]
fn outcome_21_a_cancel_that_no_new_token_mends_is_answered() {
    for cause in [Cause::Misconfigured, Cause::NotSent] {
        let mut scene = Scene::new();
        let id = scene.working();
        let send = scene.cancel(&id);
        scene.reply(send, failed(cause));
        assert_eq!((scene.answers().len(), scene.status(&id)), (1, OrderStatus::Open));
        assert!(!scene.looks_within(60), "nothing is in doubt");
    }
}

#[test]
fn outcome_22_after_a_lost_reply_to_a_cancel_the_book_is_read_until_it_shows_the_order() {
    let mut scene = Scene::new();
    let id = scene.working();
    let send = scene.cancel(&id);
    scene.reply(send, failed(Cause::Unknown));
    assert!(scene.looks_within(1));
    scene.read(Some(&LiveState::default()));
    assert!(scene.looks_within(30), "a read that does not show it says nothing of it");
    scene.read(Some(&book_of(&[row("7", OrderStatus::Cancelled, 0)])));
    assert_eq!(scene.status(&id), OrderStatus::Cancelled);
    assert!(!scene.looks_within(60));
}

#[test]
fn an_answer_is_judged_by_a_rule_of_its_own_command_whatever_the_circumstances() {
    let causes = [CONCLUSIVE, SUSPECT, Cause::Throttled { retry_after: None }, Cause::Rejected, Cause::Misconfigured];
    let answers = causes.into_iter().chain([Cause::NotSent, Cause::Unknown]).map(Err).chain([Ok(())]);
    for (answer, bits) in answers.flat_map(|answer| (0..32_u8).map(move |bits| (answer, bits))) {
        let on = |bit: u8| bits & (1 << bit) != 0;
        let seen =
            Circumstances { live: on(0), overtaken: on(1), token_in_use: on(2), refused_before: on(3), in_time: on(4) };
        let commands = [
            (CommandKind::Place, When::Place),
            (CommandKind::Modify(OrderChange::default()), When::Modify),
            (CommandKind::Cancel, When::Cancel),
        ];
        for (command, when) in commands {
            let decision = on_answer(&command, answer, seen);
            let rule = RULES.iter().find(|rule| rule.number == decision.rule).expect("a rule of the table");
            assert_eq!(rule.when, when);
            let leaves_again = matches!(decision.then, Then::AgainUnderNewToken | Then::AgainAfter(_));
            assert!(!leaves_again || answer.is_err_and(Cause::surely_not_acted), "{answer:?} may have been acted on");
        }
    }
}

#[test]
fn whoever_asked_for_a_change_or_a_cancel_is_told_every_answer() {
    let mut scene = Scene::new();
    let id = scene.working();
    let told = |scene: &mut Scene| -> Vec<String> {
        let words = |one| if let Action::Answered { id: of, words } = one { (of == id).then_some(words) } else { None };
        std::mem::take(&mut scene.out).into_iter().filter_map(words).collect()
    };
    let send = change(&mut scene, &id);
    scene.reply(send, failed(Cause::NotSent));
    assert_eq!(told(&mut scene), ["place order: the broker's words"]);
    let send = scene.cancel(&id);
    scene.reply(send, Ok(number("7")));
    assert_eq!(told(&mut scene), ["request received"]);
}
