//! A clock that moves only when nothing is going on.
//!
//! The sandbox and the loopback tests run real sockets at any speed. A clock that ran freely, or jumped ahead whenever
//! a task waits, would fire timers while a reply is still on its way through the kernel. This one moves to the next
//! deadline only when
//!
//! * no [`Busy`] is held (a request, an effect or an event somebody is still working on), and
//! * every frame sent on an open socket has been received,
//!
//! so that a timer means the same at every speed. `--speed N` only caps the pace.
//!
//! Who does work holds a [`Busy`] while doing it, and hands it on with what it hands on (a message through a channel
//! carries the sender's). A wake-up comes with one of its own. Whoever sleeps again asks for the next wake-up before
//! letting go of the last: in between the clock could run past it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Clock, Monotonic, Now, Timestamp};

/// Holds a [`SteppedClock`] still for as long as it lives. Of any other clock it is an empty value.
#[derive(Debug, Default)]
pub struct Busy(Option<Arc<Shared>>);

impl Busy {
    /// One that holds nothing.
    #[must_use]
    pub const fn idle() -> Self {
        Self(None)
    }

    /// Whether it holds a stepped clock. One of any other clock never does, and need not be kept.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.0.is_some()
    }

    fn of(shared: &Arc<Shared>) -> Self {
        shared.lock().busy += 1;
        Self(Some(Arc::clone(shared)))
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.as_ref().map_or_else(Self::idle, Self::of)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.lock().busy -= 1;
            shared.settled();
        }
    }
}

/// The stepped clock. Clones are handles to the same clock.
#[derive(Clone)]
pub struct SteppedClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    idle: tokio::sync::Notify,
    started: Timestamp,
}

#[derive(Default)]
struct State {
    mono: Monotonic,
    busy: usize,
    sequence: u64,
    /// Sleepers in the order they wake; equal deadlines in the order they were asked for.
    sleepers: BTreeMap<(Monotonic, u64), Arc<Mutex<Slot>>>,
    /// Frames sent and not yet received, by the client port of their connection.
    in_flight: BTreeMap<u16, i64>,
}

#[derive(Debug, Default)]
struct Slot {
    waker: Option<Waker>,
    fired: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) {
        let quiet = self.lock().quiet();
        if quiet {
            self.idle.notify_one();
        }
    }
}

impl State {
    fn quiet(&self) -> bool {
        self.busy == 0 && self.in_flight.values().all(|frames| *frames == 0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SteppedClock")
    }
}

impl fmt::Debug for SteppedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("SteppedClock")
            .field("mono", &state.mono)
            .field("busy", &state.busy)
            .field("sleepers", &state.sleepers.len())
            .field("in_flight", &state.in_flight)
            .finish()
    }
}

impl SteppedClock {
    /// A clock that shows `start` and stands still until [`SteppedClock::step`] or [`SteppedClock::run`].
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        let shared = Shared { state: Mutex::default(), idle: tokio::sync::Notify::new(), started: start };
        Self { shared: Arc::new(shared) }
    }

    /// Waits until nothing is going on, then moves to the next deadline not later than `until` and wakes its sleeper.
    /// False if there is none: the clock then shows `until`.
    pub async fn step(&self, until: Monotonic) -> bool {
        loop {
            let notified = self.shared.idle.notified();
            {
                let mut state = self.shared.lock();
                if state.quiet() {
                    return self.advance(&mut state, until);
                }
            }
            notified.await;
        }
    }

    /// Steps for ever, at most `speed` market seconds a real second (`None`: as fast as the work allows), until the
    /// future is dropped. When nobody sleeps it waits for somebody to.
    pub async fn run(&self, speed: Option<u32>) {
        let real = super::SystemClock::start();
        let first = self.now().mono;
        loop {
            if let (Some(speed), Some(next)) = (speed, self.next_deadline()) {
                let due = Monotonic::default() + next.since(first) / speed.max(1);
                drop(real.sleep_until(due).await);
            }
            if self.next_deadline().is_none() {
                drop(real.sleep(Duration::from_millis(1)).await);
                continue;
            }
            self.step(Monotonic::from_nanos(u64::MAX)).await;
        }
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.shared.lock().sleepers.keys().next().map(|(at, _)| *at)
    }

    fn advance(&self, state: &mut State, until: Monotonic) -> bool {
        let next = state.sleepers.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= until);
        if next.is_none() {
            if until < Monotonic::from_nanos(u64::MAX) {
                state.mono = state.mono.max(until);
            }
            return false;
        }
        let Some(((at, _), slot)) = state.sleepers.pop_first() else {
            return false;
        };
        state.mono = state.mono.max(at);
        // The wake-up's own Busy: it belongs to the sleeper from now on (Sleep::poll or Sleep::drop takes it).
        state.busy += 1;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.fired = true;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
        true
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Now {
        let mono = self.shared.lock().mono;
        Now { mono, wall: self.shared.started + mono.since(Monotonic::default()) }
    }

    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        Box::pin(Sleep::until(&self.shared, at))
    }

    fn busy(&self) -> Busy {
        Busy::of(&self.shared)
    }

    fn socket_opened(&self, port: u16) {
        self.shared.lock().in_flight.insert(port, 0);
    }

    fn frame_sent(&self, port: u16) {
        if let Some(frames) = self.shared.lock().in_flight.get_mut(&port) {
            *frames += 1;
        }
    }

    fn frame_received(&self, port: u16) {
        if let Some(frames) = self.shared.lock().in_flight.get_mut(&port) {
            *frames -= 1;
        }
        self.shared.settled();
    }

    fn socket_closed(&self, port: u16) {
        self.shared.lock().in_flight.remove(&port);
        self.shared.settled();
    }
}

/// The future of [`SteppedClock::sleep_until`](Clock::sleep_until).
#[derive(Debug)]
pub struct Sleep {
    shared: Arc<Shared>,
    key: (Monotonic, u64),
    slot: Arc<Mutex<Slot>>,
    done: bool,
}

impl Sleep {
    fn until(shared: &Arc<Shared>, at: Monotonic) -> Self {
        let slot = Arc::new(Mutex::new(Slot::default()));
        let mut state = shared.lock();
        state.sequence += 1;
        let key = (at.max(state.mono), state.sequence);
        state.sleepers.insert(key, Arc::clone(&slot));
        drop(state);
        shared.settled();
        Self { shared: Arc::clone(shared), key, slot, done: false }
    }
}

impl Future for Sleep {
    type Output = Busy;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Busy> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.fired {
            slot.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(slot);
        self.done = true;
        Poll::Ready(Busy(Some(Arc::clone(&self.shared))))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let waiting = self.shared.lock().sleepers.remove(&self.key).is_some();
        if !waiting {
            // Fired and never polled: give back the Busy that advance() made for it.
            drop(Busy(Some(Arc::clone(&self.shared))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default() + Duration::from_secs(seconds)
    }

    fn clock() -> SteppedClock {
        SteppedClock::starting_at(Timestamp::parse_ist("2021-04-12 09:00:00").unwrap())
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn it_moves_to_the_next_deadline_and_no_further() {
        block_on(async {
            let clock = clock();
            let early = clock.sleep_until(at(5));
            let late = clock.sleep_until(at(9));
            assert!(clock.step(at(60)).await);
            assert_eq!(clock.now().mono, at(5));
            drop(early.await);
            assert!(clock.step(at(60)).await);
            assert_eq!(clock.now().wall.to_string(), "2021-04-12 09:00:09");
            drop(late);
            assert!(!clock.step(at(60)).await);
            assert_eq!(clock.now().mono, at(60));
        });
    }

    #[test]
    fn it_stands_still_while_somebody_works_or_a_frame_is_on_its_way() {
        block_on(async {
            let clock = clock();
            let _sleeper = clock.sleep_until(at(1));
            let step = |clock: SteppedClock| async move { clock.step(at(2)).await };
            let work = clock.busy();
            clock.socket_opened(4000);
            clock.frame_sent(4000);
            let stepping = tokio::spawn(step(clock.clone()));
            tokio::task::yield_now().await;
            assert_eq!(clock.now().mono, at(0));
            drop(work);
            tokio::task::yield_now().await;
            assert_eq!(clock.now().mono, at(0), "the frame is still on its way");
            clock.frame_received(4000);
            assert!(stepping.await.unwrap());
            assert_eq!(clock.now().mono, at(1));
        });
    }

    #[test]
    fn a_cancelled_sleep_leaves_nothing_behind() {
        block_on(async {
            let clock = clock();
            let sleep = clock.sleep_until(at(1));
            assert!(clock.step(at(5)).await);
            drop(sleep); // fired, never polled
            assert!(!clock.step(at(5)).await, "its Busy was given back");
        });
    }
}
