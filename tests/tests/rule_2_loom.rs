//! Rule 2 under loom: the single flight's own source, over a lock and a store that loom watches.
//!
//! What is real: `engine/src/token/single_flight.rs`, compiled here from its file. What is modelled: the lock file (one
//! that waits, or one that does not) and the store. Dropping the lock before the store is written, or not
//! reading the store under the lock, makes these tests fail (tried).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::convert::Infallible;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use nirantar::token::store::Stored;
use nirantar_brokers::{AccessToken, Fingerprint};

use single_flight::{Flight, RenewalLock, single_flight};

#[path = "../../engine/src/token/single_flight.rs"]
#[allow(unreachable_pub, dead_code)]
mod single_flight;

const DEAD: &str = "dead";

/// Stands for the lock file. The real one does not wait and is asked again later; asking in a loop is nothing loom can
/// try to the end, so one that waits stands for that too.
struct ModelLock {
    taken: Arc<(Mutex<bool>, Condvar)>,
    waits: bool,
}

struct Held(Arc<(Mutex<bool>, Condvar)>);

impl RenewalLock for ModelLock {
    type Held = Held;
    type Error = Infallible;

    fn acquire(&self) -> Result<Option<Held>, Infallible> {
        let mut taken = self.taken.0.lock().unwrap();
        while *taken {
            if !self.waits {
                return Ok(None);
            }
            taken = self.taken.1.wait(taken).unwrap();
        }
        *taken = true;
        Ok(Some(Held(Arc::clone(&self.taken))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_one();
    }
}

/// What two processes of one machine share.
struct World {
    lock: ModelLock,
    store: Mutex<String>,
    renewals: AtomicUsize,
    in_flight: AtomicUsize,
}

impl World {
    fn new(token: &str, waits: bool) -> Arc<Self> {
        Arc::new(Self {
            lock: ModelLock { taken: Arc::new((Mutex::new(false), Condvar::new())), waits },
            store: Mutex::new(token.to_owned()),
            renewals: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        })
    }

    fn read(&self) -> Result<Stored, Infallible> {
        let access_token = Some(AccessToken::new(self.store.lock().unwrap().clone()));
        Ok(Stored { access_token, ..Stored::default() })
    }

    /// One engine whose token is dead: asks once, and renews if told to. The token it ends with, if any.
    fn ask(&self, seen: &BTreeSet<Fingerprint>) -> Option<AccessToken> {
        match single_flight(&self.lock, || self.read(), seen).unwrap() {
            Flight::Renew(held) => {
                assert_eq!(self.in_flight.fetch_add(1, Ordering::Relaxed), 0, "two renewals in flight");
                let number = self.renewals.fetch_add(1, Ordering::Relaxed);
                // The broker answers some time; loom switches here.
                thread::yield_now();
                let token = format!("renewed {number}");
                self.store.lock().unwrap().clone_from(&token);
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
                drop(held);
                Some(AccessToken::new(token))
            }
            Flight::Take(stored) => stored.access_token,
            Flight::Busy => None,
        }
    }
}

fn seen() -> BTreeSet<Fingerprint> {
    BTreeSet::from([Fingerprint::of(DEAD)])
}

#[test]
fn rule_2_two_that_see_the_same_dead_token_renew_once_and_share_the_token() {
    loom::model(|| {
        let world = World::new(DEAD, true);
        let other = Arc::clone(&world);
        let other = thread::spawn(move || other.ask(&seen()));
        let mine = world.ask(&seen());
        let theirs = other.join().unwrap();
        assert_eq!(world.renewals.load(Ordering::Relaxed), 1, "exactly one renewal");
        assert_eq!(mine, Some(AccessToken::new("renewed 0")));
        assert_eq!(theirs, mine);
    });
}

#[test]
fn rule_2_three_that_do_not_wait_renew_at_most_once_at_a_time() {
    let mut model = loom::model::Builder::new();
    // Three threads in every order of steps would take minutes; more than three forced switches show nothing new here.
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = World::new(DEAD, false);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.ask(&seen()))
            })
            .collect();
        let mut answers = vec![world.ask(&seen())];
        answers.extend(others.into_iter().map(|other| other.join().unwrap()));
        assert_eq!(world.renewals.load(Ordering::Relaxed), 1, "somebody gets the lock, and nobody after them renews");
        for token in answers.into_iter().flatten() {
            assert_eq!(token, AccessToken::new("renewed 0"));
        }
    });
}

#[test]
fn rule_2_a_refused_token_in_the_store_is_no_reason_not_to_renew() {
    loom::model(|| {
        let world = World::new("refused paste", false);
        let mut seen = seen();
        assert_eq!(world.ask(&seen), Some(AccessToken::new("refused paste")), "it was news once");
        seen.insert(Fingerprint::of("refused paste"));
        assert_eq!(world.ask(&seen), Some(AccessToken::new("renewed 0")));
    });
}
