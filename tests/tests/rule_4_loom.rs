//! Rule 4 under loom: the gate's own source, over loom's primitives, in every interleaving of an order and a venue
//! change.
//!
//! What is real: `engine/src/token/gate.rs`, compiled here from its file. What is modelled: the cell. The inside of
//! `ArcSwap` is invisible to loom, so an atomic index into a table of snapshots stands for it, with release and acquire
//! only: the weakest cell the gate may be put over. loom treats `SeqCst` accesses as acquire and release, but knows
//! `SeqCst` fences, which is what the gate is built on.
//!
//! The socket is a loom cell: loom fails the test if a write under a pass is not ordered before the publisher's look
//! at it after the drain. Moving the second read before the count-in, or taking either fence out, makes these tests
//! fail (tried).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use loom::cell::UnsafeCell;
use loom::thread;
use nirantar::session::{Generation, State};
use nirantar::token::Snapshot;
use nirantar_brokers::{Block, Venue};

use gate::{Gate, Published};

#[path = "../../engine/src/token/gate.rs"]
#[allow(unreachable_pub, dead_code, rustdoc::broken_intra_doc_links)]
mod gate;

mod sync {
    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering, fence};
    pub(super) use std::sync::PoisonError;
}

const GENERATION: Generation = Generation(1);
const BLOCKED: Venue = Venue::Blocked(Block::Holding);

/// Stands for the token cell.
struct Cell {
    table: Vec<Arc<Snapshot>>,
    index: sync::AtomicUsize,
}

impl Cell {
    fn live_then(next: Snapshot) -> Arc<Self> {
        let table = vec![Arc::new(snapshot(GENERATION, Venue::Live)), Arc::new(next)];
        Arc::new(Self { table, index: sync::AtomicUsize::new(0) })
    }

    fn publish_next(&self) {
        self.index.store(1, sync::Ordering::Release);
    }
}

impl Published for Cell {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.table[self.index.load(sync::Ordering::Acquire)])
    }
}

fn snapshot(generation: Generation, venue: Venue) -> Snapshot {
    Snapshot { generation, state: State::Valid, venue, ..Snapshot::starting() }
}

/// The socket that live orders are written to; loom watches who touches it when.
struct Socket(UnsafeCell<usize>);

impl Socket {
    fn new() -> loom::sync::Arc<Self> {
        loom::sync::Arc::new(Self(UnsafeCell::new(0)))
    }

    fn write(&self) {
        self.0.with_mut(|_| ());
    }

    /// The publisher's claim that nobody writes now or later.
    fn nobody_writes(&self) {
        self.0.with_mut(|_| ());
    }
}

/// Wakes a loom thread, so that a lost wake-up is a deadlock that loom reports. (Not by `unpark`: loom's ends any wait
/// of that thread, a later `join` too.)
struct Bell(loom::sync::Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn wait_until_drained(gate: &Gate<Cell>) {
    let bell = Arc::new(Bell(loom::sync::Notify::new()));
    let waker = Arc::clone(&bell).into();
    let mut context = Context::from_waker(&waker);
    let mut drained = pin!(gate.drained());
    while drained.as_mut().poll(&mut context) == Poll::Pending {
        bell.0.wait();
    }
}

/// An order is routed live at the start; the next snapshot is published meanwhile.
fn race(next: Snapshot, complete: fn(&Gate<Cell>) -> bool) {
    loom::model(move || {
        let (cell, socket) = (Cell::live_then(next.clone()), Socket::new());
        let gate = Gate::new(Arc::clone(&cell));
        let order = {
            let (gate, socket) = (gate.clone(), socket.clone());
            thread::spawn(move || match gate.enter(GENERATION, Venue::Live) {
                Ok(pass) => {
                    assert_eq!(pass.venue, Venue::Live);
                    socket.write();
                }
                Err(stale) => assert_eq!(stale.now.venue, BLOCKED),
            })
        };
        cell.publish_next();
        if complete(&gate) {
            socket.nobody_writes();
            assert!(gate.enter(GENERATION, Venue::Live).is_err(), "no pass can ever be made again");
        }
        order.join().unwrap();
        assert_eq!(gate.inside(), 0);
    });
}

#[test]
fn rule_4_once_the_gate_is_seen_empty_nothing_is_sent_under_the_old_venue() {
    race(snapshot(GENERATION, BLOCKED), |gate| gate.inside() == 0);
}

#[test]
fn rule_4_the_wait_for_an_empty_gate_always_ends_and_nothing_is_sent_after_it() {
    race(snapshot(GENERATION, BLOCKED), |gate| {
        wait_until_drained(gate);
        true
    });
}

#[test]
fn rule_4_two_orders_and_a_venue_change() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let cell = Cell::live_then(snapshot(GENERATION, BLOCKED));
        let gate = Gate::new(Arc::clone(&cell));
        let sockets = [Socket::new(), Socket::new()];
        let orders = sockets.clone().map(|socket| {
            let gate = gate.clone();
            thread::spawn(move || {
                if let Ok(_pass) = gate.enter(GENERATION, Venue::Live) {
                    socket.write();
                }
            })
        });
        cell.publish_next();
        wait_until_drained(&gate);
        sockets.iter().for_each(|socket| socket.nobody_writes());
        orders.into_iter().for_each(|order| order.join().unwrap());
    });
}
