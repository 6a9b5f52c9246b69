//! The broker's time: what its `Date` header says, against what this machine's clock says.
//!
//! A clock that is off by more than [`TOLERATED_OFFSET`] would let a token die unnoticed or a login be asked for at the
//! wrong hour. So beyond it the broker's time is used, and the operator is told once.
//!
//! Promises: one odd header moves nothing, since a correction is begun and ended by replies that agree; a correction ends
//! by itself when the machine's clock is set, which is what whoever was told has done.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nirantar_brokers::time::{Busy, Clock, Monotonic, Now, Timestamp};

use super::events::EventSender;
use crate::core::Event;

/// Offsets up to this are left alone: tokens are judged by the second, the header has whole seconds, and an answer is on
/// its way for a while.
pub(crate) const TOLERATED_OFFSET: Duration = Duration::from_secs(5);
/// From here on, two replies that agree are of two moments, and not of one moment's mistake.
pub(crate) const APART: Duration = Duration::from_secs(3);
/// The same where replies come quickly: so many must agree with the first.
const AGREEING: u32 = 2;
/// A wall clock that moves this much against the monotonic one was set, or the machine slept.
const STEP: Duration = Duration::from_secs(2);

/// A clock whose wall reading is the broker's where the machine's is wrong. Clones share the correction.
#[derive(Clone, Debug)]
pub(crate) struct BrokerClock {
    machine: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Nanoseconds added to the machine's wall reading; 0 while it is right. Written under the lock only.
    correction: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the correction was made for: the machine's clock as it was set then.
    made_for: i128,
    /// What replies ask for that have not been believed yet.
    proposed: Option<Proposal>,
}

/// Another correction than the one in use, as replies ask for it.
#[derive(Clone, Copy, Debug)]
struct Proposal {
    correction: i64,
    first: Monotonic,
    /// Replies that agreed with the first.
    agreed: u32,
    made_for: i128,
}

/// How the machine's clock is set: what its wall reading has ahead of its monotonic one.
fn setting(now: Now) -> i128 {
    i128::from(now.wall.as_nanos()) - i128::from(now.mono.as_nanos())
}

fn was_set(before: i128, after: i128) -> bool {
    before.abs_diff(after) > STEP.as_nanos()
}

fn tolerated(nanos: i64) -> bool {
    Duration::from_nanos(nanos.unsigned_abs()) <= TOLERATED_OFFSET
}

impl BrokerClock {
    pub(crate) fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, shared: Arc::default() }
    }

    /// Takes what the `Date` header of a reply said to a request sent at `asked`, by the machine's own reading. The
    /// correction in use from now on, if this reply has changed it.
    fn observe(&self, date: Timestamp, asked: Now) -> Option<i64> {
        let answered = self.machine.now();
        if was_set(setting(asked), setting(answered)) {
            return None;
        }
        let wanted = offset(date, asked.wall, answered.wall)?;
        let mut state = self.lock();
        self.drop_if_set(&state, answered);
        let used = self.shared.correction.load(Ordering::Relaxed);
        let agrees = |other: i64| (wanted == 0) == (other == 0) && tolerated(wanted.saturating_sub(other));
        // A correction in use is good enough while it stays within the tolerance itself.
        if agrees(used) {
            state.proposed = None;
            return None;
        }
        let made_for = setting(answered);
        let proposed = state.proposed.filter(|known| agrees(known.correction) && !was_set(known.made_for, made_for));
        let Some(known) = proposed else {
            state.proposed = Some(Proposal { correction: wanted, first: answered.mono, agreed: 0, made_for });
            return None;
        };
        let agreed = known.agreed.saturating_add(1);
        if agreed < AGREEING && answered.mono.since(known.first) < APART {
            state.proposed = Some(Proposal { agreed, ..known });
            return None;
        }
        *state = State { made_for, proposed: None };
        self.shared.correction.store(wanted, Ordering::Relaxed);
        Some(wanted)
    }

    /// Ends a correction of a clock that has been set meanwhile: it was made for another setting.
    fn drop_if_set(&self, state: &State, now: Now) {
        if self.shared.correction.load(Ordering::Relaxed) != 0 && was_set(state.made_for, setting(now)) {
            self.shared.correction.store(0, Ordering::Relaxed);
            tracing::info!("this machine's clock was set: it is believed until the broker's says otherwise");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By how many nanoseconds the broker's clock is ahead of the machine's, going by a header that was written at some moment
/// between two readings; 0 where an offset that is left alone explains it as well. The header is cut off to whole seconds.
fn offset(date: Timestamp, asked: Timestamp, answered: Timestamp) -> Option<i64> {
    let [date, asked, answered] = [date, asked, answered].map(|at| i128::from(at.as_nanos()));
    let (least, most) = (date - answered, date + 1_000_000_000 - asked);
    let nearest = if least > 0 { least } else { most.min(0) };
    if nearest.unsigned_abs() <= TOLERATED_OFFSET.as_nanos() {
        return Some(0);
    }
    i64::try_from(least.midpoint(most)).ok()
}

impl Clock for BrokerClock {
    fn now(&self) -> Now {
        let now = self.machine.now();
        if self.shared.correction.load(Ordering::Relaxed) == 0 {
            return now;
        }
        self.drop_if_set(&self.lock(), now);
        let correction = self.shared.correction.load(Ordering::Relaxed);
        let span = Duration::from_nanos(correction.unsigned_abs());
        Now { wall: if correction < 0 { now.wall - span } else { now.wall + span }, ..now }
    }

    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        self.machine.sleep_until(at)
    }

    fn busy(&self) -> Busy {
        self.machine.busy()
    }

    fn socket_opened(&self, port: u16) {
        self.machine.socket_opened(port);
    }

    fn frame_sent(&self, port: u16) {
        self.machine.frame_sent(port);
    }

    fn frame_received(&self, port: u16) {
        self.machine.frame_received(port);
    }

    fn socket_closed(&self, port: u16) {
        self.machine.socket_closed(port);
    }
}

/// Where the transport reports what the broker's clock says. Holds nothing alive.
#[derive(Clone, Debug)]
pub(crate) struct TimeReports {
    clock: BrokerClock,
    events: EventSender,
}

impl TimeReports {
    pub(crate) const fn new(clock: BrokerClock, events: EventSender) -> Self {
        Self { clock, events }
    }

    /// The machine's own reading, to be taken before a request is sent.
    pub(crate) fn asking(&self) -> Now {
        self.clock.machine.now()
    }

    /// Takes the `Date` header of a reply that has just come, to a request sent at `asked`. True if the two clocks
    /// disagree and one more reply, [`APART`] later, would settle it: an account that only keeps its session makes few
    /// calls.
    pub(crate) fn date(&self, header: &str, asked: Now) -> bool {
        let Some(date) = Timestamp::parse_http_date(header) else { return false };
        let Some(correction) = self.clock.observe(date, asked) else {
            return self.clock.lock().proposed.is_some_and(|proposal| proposal.agreed == 0);
        };
        if correction == 0 {
            tracing::info!("this machine's clock agrees with the broker's again");
            return false;
        }
        let seconds = Duration::from_nanos(correction.unsigned_abs()).as_secs_f64().round();
        let words = format!(
            "this machine's clock is {seconds} s {} the broker's: the broker's time is used from now on; set the clock \
             (timedatectl set-ntp true)",
            if correction > 0 { "behind" } else { "ahead of" }
        );
        let event = Event::Alarm { at: self.clock.now().wall, words };
        tracing::error!("{event}");
        self.events.send(event);
        false
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::SteppedClock;

    use super::*;

    /// A stepped clock that somebody can set.
    #[derive(Debug)]
    struct Machine {
        stepped: SteppedClock,
        /// Seconds.
        set_by: AtomicI64,
    }

    impl Clock for Machine {
        fn now(&self) -> Now {
            let now = self.stepped.now();
            let by = self.set_by.load(Ordering::Relaxed);
            let span = Duration::from_secs(by.unsigned_abs());
            Now { wall: if by < 0 { now.wall - span } else { now.wall + span }, ..now }
        }

        fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
            self.stepped.sleep_until(at)
        }
    }

    struct World {
        machine: Arc<Machine>,
        clock: BrokerClock,
    }

    impl World {
        fn new() -> Self {
            let at = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
            let machine = Arc::new(Machine { stepped: SteppedClock::starting_at(at), set_by: AtomicI64::default() });
            Self { clock: BrokerClock::new(Arc::<Machine>::clone(&machine)), machine }
        }

        async fn pass(&self, span: Duration) {
            let until = self.machine.now().mono + span;
            while self.machine.stepped.step(until).await {}
        }

        /// A reply at once, from a broker whose clock is that many seconds ahead.
        fn reply(&self, ahead: i64) -> Option<i64> {
            let now = self.machine.now();
            let date = Timestamp::from_unix_seconds(now.wall.as_unix_seconds() + ahead);
            self.clock.observe(date, now)
        }

        /// Seconds by which the clock in use is ahead of the machine's.
        fn corrected_by(&self) -> i64 {
            self.clock.now().wall.as_unix_seconds() - self.machine.now().wall.as_unix_seconds()
        }
    }

    #[tokio::test]
    async fn one_odd_reply_moves_nothing_and_two_that_agree_seconds_apart_do() {
        let world = World::new();
        assert_eq!((world.reply(-3_600), world.corrected_by()), (None, 0));
        assert_eq!((world.reply(0), world.reply(-3_600)), (None, None), "a good reply between them: it starts anew");
        assert_eq!(world.corrected_by(), 0);
        assert_eq!(world.reply(7_200), None, "it does not agree with the one before");
        world.pass(APART).await;
        assert_eq!((world.reply(-3_600), world.corrected_by()), (None, 0), "nor does this one");
        world.pass(APART).await;
        assert!(world.reply(-3_602).is_some());
        assert!((-3_602..=-3_600).contains(&world.corrected_by()), "{}", world.corrected_by());
        assert_eq!(world.reply(-3_599), None, "told once");
    }

    #[tokio::test]
    async fn replies_of_one_moment_are_believed_when_three_agree() {
        let world = World::new();
        assert_eq!((world.reply(60), world.reply(61)), (None, None));
        assert_eq!(world.corrected_by(), 0);
        assert!(world.reply(60).is_some());
        assert_eq!(world.corrected_by(), 60);
        // And so ends a correction.
        assert_eq!((world.reply(1), world.reply(60), world.reply(0)), (None, None, None));
        assert_eq!(world.corrected_by(), 60);
        world.pass(APART).await;
        assert_eq!((world.reply(0), world.corrected_by()), (Some(0), 0));
    }

    #[test]
    fn within_five_seconds_the_machine_is_right() {
        let world = World::new();
        for ahead in [4, -4, 5, -5, 4, 4, -5, -5, -5] {
            assert_eq!(world.reply(ahead), None);
        }
        assert_eq!(world.corrected_by(), 0);
    }

    #[tokio::test]
    async fn a_slow_answer_is_no_offset() {
        let world = World::new();
        for _ in 0..4 {
            let asked = world.machine.now();
            let date = asked.wall;
            world.pass(Duration::from_secs(7)).await;
            assert_eq!(world.clock.observe(date, asked), None);
        }
        assert_eq!(world.corrected_by(), 0);
    }

    #[tokio::test]
    async fn a_correction_ends_when_the_machines_clock_is_set() {
        let world = World::new();
        for _ in 0..3 {
            world.reply(60);
        }
        world.pass(Duration::from_secs(3_600)).await;
        assert_eq!(world.corrected_by(), 60, "time alone ends nothing");
        let before = world.clock.now().wall;
        world.machine.set_by.store(60, Ordering::Relaxed);
        let after = world.clock.now().wall;
        assert!(
            before.since(after) < Duration::from_secs(1) && after <= before,
            "NTP has mended it: {before}, {after}"
        );
        assert_eq!(world.corrected_by(), 0);
        assert_eq!((world.reply(0), world.corrected_by()), (None, 0));
    }

    #[tokio::test]
    async fn what_was_seen_before_the_clock_was_set_counts_for_nothing_after_it() {
        let world = World::new();
        assert_eq!(world.reply(60), None);
        let asked = world.machine.now();
        world.machine.set_by.store(-60, Ordering::Relaxed);
        world.pass(APART).await;
        assert_eq!(
            world.clock.observe(asked.wall + Duration::from_secs(60), asked),
            None,
            "set while it was on its way"
        );
        assert_eq!((world.reply(60), world.corrected_by()), (None, 0));
    }

    #[test]
    fn any_header_is_measured_without_a_panic() {
        for date in [i64::MIN, 0, i64::MAX] {
            for at in [i64::MIN, 0, i64::MAX] {
                let [date, at] = [date, at].map(Timestamp::from_nanos);
                let _ = offset(date, at, at);
            }
        }
    }
}
