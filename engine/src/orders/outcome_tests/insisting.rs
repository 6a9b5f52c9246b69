//! What is to be cancelled in any case: it is not placed, and its cancel is asked again until the order is over.

use super::*;
use crate::orders::Refused;
use crate::session::TradingMode;

const WAIT: Duration = Duration::from_secs(2);

/// An entry that is on its way, and may wait for a minute.
fn patient(scene: &mut Scene) -> (ClientOrderId, SendId) {
    let limit = OrderType::Limit(Price::from_paise(150_000));
    let valid_for = Duration::from_secs(60);
    let request = OrderRequest { valid_for, ..OrderRequest::new(share(), Side::Buy, 10, limit) };
    let id = scene.desk.submit(request, scene.now, &mut scene.out).expect("the desk takes it");
    (id, scene.sent().expect("it is sent").0)
}

/// The operator halts, and orders have come to where they are refused.
fn halt(scene: &mut Scene) {
    let venue = Venue::Blocked(Block::Halted);
    let route = Route { venue, reduce_only: false, generation: Generation(1) };
    scene.desk.leave(route);
    scene.desk.set_mode(TradingMode::Halted, scene.now, &mut scene.out);
    scene.desk.arrive(route, scene.now, &mut scene.out);
}

#[test]
fn an_order_whose_cancel_is_remembered_is_not_placed_under_the_next_token() {
    let mut scene = Scene::new();
    let (id, send) = patient(&mut scene);
    scene.hold();
    assert_eq!(scene.desk.cancel(&id, scene.now, &mut scene.out), Err(Refused::Remembered));
    scene.reply(send, failed(CONCLUSIVE));
    scene.pass(5);
    scene.under_token(2);
    assert_eq!((scene.status(&id), scene.sent()), (OrderStatus::Refused, None));
}

#[test]
fn an_order_that_comes_back_after_a_halt_does_not_go_live_when_trading_is_resumed() {
    for gate_shut in [true, false] {
        let mut scene = Scene::new();
        let (id, send) = patient(&mut scene);
        halt(&mut scene);
        if gate_shut {
            scene.desk.gate_shut(send, scene.now, &mut scene.out);
        } else {
            scene.reply(send, failed(Cause::Throttled { retry_after: Some(WAIT) }));
        }
        assert_eq!(scene.status(&id), OrderStatus::Refused);
        scene.pass(10);
        scene.desk.set_mode(TradingMode::Active, scene.now, &mut scene.out);
        scene.under_token(1);
        assert_eq!(scene.sent(), None);
    }
}

#[test]
fn an_order_that_comes_back_where_nothing_waits_is_turned_away_at_once() {
    let mut scene = Scene::new();
    let (id, send) = patient(&mut scene);
    let route = Route { venue: Venue::Paper, reduce_only: false, generation: Generation(1) };
    scene.desk.arrive(route, scene.now, &mut scene.out);
    scene.desk.gate_shut(send, scene.now, &mut scene.out);
    assert_eq!(scene.status(&id), OrderStatus::Refused);
    scene.under_token(2);
    assert_eq!(scene.sent(), None);
}

impl Scene {
    fn third_failures_told(&self) -> usize {
        self.out
            .iter()
            .filter(|one| matches!(one, Action::Alarm(words) if words.contains("is to be cancelled")))
            .count()
    }

    /// The token lives, and the book was seen under it: cancels pass while trading is halted.
    fn trusted(&mut self) {
        self.desk.token(true, self.now);
        self.desk.compared(self.now, &mut self.out);
    }
}

#[test]
fn a_halts_cancel_that_failed_is_asked_again_later_and_later_and_the_third_failure_is_told() {
    for cause in [Cause::NotSent, Cause::Misconfigured, SUSPECT] {
        let mut scene = Scene::new();
        let id = scene.working();
        scene.trusted();
        halt(&mut scene);
        let (mut send, _) = scene.sent().expect("it is cancelled");
        for (failure, wait) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
            scene.reply(send, failed(cause));
            assert_eq!(scene.third_failures_told(), usize::from(failure == 3), "after failure {failure}");
            scene.pass(wait - 1);
            scene.wake();
            assert_eq!(scene.sent(), None, "not at once");
            assert!(scene.desk.next_wake().is_some_and(|at| at <= scene.now.mono + Duration::from_secs(1)));
            scene.pass(1);
            scene.wake();
            let (again, command) = scene.sent().expect("it is asked again");
            assert_eq!(command, Command::Cancel(number("7")));
            send = again;
        }
        scene.reply(send, Ok(number("7")));
        scene.show(&row("7", OrderStatus::Cancelled, 0));
        scene.pass(60);
        scene.wake();
        assert_eq!((scene.status(&id), scene.sent()), (OrderStatus::Cancelled, None));
    }
}

#[test]
fn a_halts_cancel_whose_reply_was_lost_is_asked_again_once_the_book_shows_the_order_at_work() {
    for cause in [Cause::Unknown, Cause::Rejected] {
        let mut scene = Scene::new();
        scene.working();
        scene.trusted();
        halt(&mut scene);
        let (send, _) = scene.sent().expect("it is cancelled");
        scene.reply(send, failed(cause));
        scene.pass(5);
        scene.wake();
        let read = scene.newest_read().expect("the book is looked at");
        assert_eq!(scene.sent(), None, "nothing is asked on a guess");
        let book = book_of(&[row("7", OrderStatus::Open, 0)]);
        scene.desk.read(read, Some(&book), scene.now, &mut scene.out);
        scene.pass(1);
        scene.wake();
        assert_eq!(scene.sent().expect("it is asked again").1, Command::Cancel(number("7")));
    }
}

#[test]
fn a_remembered_cancel_that_failed_is_asked_again_and_one_just_asked_for_is_not() {
    for remembered in [true, false] {
        let mut scene = Scene::new();
        let id = scene.working();
        let send = if remembered {
            scene.desk.leave(Route { venue: Venue::Paper, reduce_only: false, generation: Generation(1) });
            let asked = scene.desk.cancel(&id, scene.now, &mut scene.out);
            assert_eq!(asked, Err(Refused::Remembered));
            scene.under_token(2);
            scene.sent().expect("it leaves by itself").0
        } else {
            scene.cancel(&id)
        };
        scene.reply(send, failed(Cause::NotSent));
        scene.pass(1);
        scene.wake();
        assert_eq!(scene.sent().is_some(), remembered);
    }
}

#[test]
fn in_reduce_only_the_cancel_of_an_entry_is_asked_again() {
    let mut scene = Scene::new();
    scene.working();
    scene.desk.set_mode(TradingMode::ReduceOnly, scene.now, &mut scene.out);
    let (send, _) = scene.sent().expect("it is cancelled");
    scene.reply(send, failed(Cause::NotSent));
    scene.pass(1);
    scene.wake();
    assert_eq!(scene.sent().expect("it is asked again").1, Command::Cancel(number("7")));
}
