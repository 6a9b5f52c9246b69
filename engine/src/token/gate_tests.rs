//! Behaviour of the gate over the real cell. Beside `gate.rs` and not in it, because the loom test compiles that file
//! over other primitives.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use nirantar_brokers::{Block, Venue};

use super::{Gate, Snapshot, TokenCell};
use crate::session::{Generation, State};

fn snapshot(generation: u64, venue: Venue) -> Snapshot {
    Snapshot { generation: Generation(generation), state: State::Valid, venue, ..Snapshot::starting() }
}

fn gate(venue: Venue) -> (Arc<TokenCell>, Gate) {
    let cell = Arc::new(TokenCell::new(snapshot(1, venue)));
    (Arc::clone(&cell), Gate::new(cell))
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn an_order_passes_under_the_snapshot_it_was_routed_by() {
    let (_, gate) = gate(Venue::Live);
    let pass = gate.enter(Generation(1), Venue::Live).unwrap();
    assert_eq!((pass.generation, pass.venue, gate.inside()), (Generation(1), Venue::Live, 1));
    drop(pass);
    assert_eq!(gate.inside(), 0);
}

#[test]
fn a_changed_venue_or_generation_turns_the_order_back_and_says_what_holds_now() {
    let (cell, gate) = gate(Venue::Live);
    cell.publish(snapshot(1, Venue::Blocked(Block::Holding)));
    let stale = gate.enter(Generation(1), Venue::Live).unwrap_err();
    assert_eq!(stale.now.venue, Venue::Blocked(Block::Holding));
    assert_eq!(gate.inside(), 0, "who is turned back is not inside");

    cell.publish(snapshot(2, Venue::Live));
    let stale = gate.enter(Generation(1), Venue::Live).unwrap_err();
    assert_eq!(
        stale.to_string(),
        "the session changed before the order was sent: now Valid, live, generation 2",
        "a new token is a new generation"
    );
}

#[test]
fn a_venue_change_completes_only_when_the_last_order_has_left() {
    let (cell, gate) = gate(Venue::Live);
    let (first, second) =
        (gate.enter(Generation(1), Venue::Live).unwrap(), gate.enter(Generation(1), Venue::Live).unwrap());
    cell.publish(snapshot(1, Venue::Blocked(Block::Holding)));

    let woken = Arc::new(Flag::default());
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    let mut drained = pin!(gate.drained());
    assert_eq!(drained.as_mut().poll(&mut context), Poll::Pending);
    drop(first);
    assert!(!woken.0.load(Ordering::SeqCst));
    assert_eq!(drained.as_mut().poll(&mut context), Poll::Pending);
    drop(second);
    assert!(woken.0.load(Ordering::SeqCst));
    assert_eq!(drained.as_mut().poll(&mut context), Poll::Ready(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_waiter_is_woken_under_traffic_and_finds_nobody_sending() {
    let (cell, gate) = gate(Venue::Live);
    for round in 0..200_u64 {
        cell.publish(snapshot(round, Venue::Live));
        let sending = Arc::new(AtomicBool::new(false));
        let sender = {
            let (gate, sending) = (gate.clone(), Arc::clone(&sending));
            tokio::spawn(async move {
                while let Ok(pass) = gate.enter(Generation(round), Venue::Live) {
                    sending.store(true, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    sending.store(false, Ordering::SeqCst);
                    drop(pass);
                }
            })
        };
        tokio::task::yield_now().await;
        cell.publish(snapshot(round, Venue::Blocked(Block::Holding)));
        tokio::join!(gate.drained(), gate.drained());
        assert!(!sending.load(Ordering::SeqCst), "sent after the change was complete");
        sender.await.unwrap();
        assert_eq!(gate.inside(), 0);
    }
}
