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
