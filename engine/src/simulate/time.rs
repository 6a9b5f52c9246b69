//! The simulator's true time, and what an engine's clocks make of it.

use std::ops::Add;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};

/// Nanoseconds of true time since the simulation began. No engine sees it: see [`EngineClock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Instant(u64);

impl Instant {
    pub(super) const START: Self = Self(0);
    /// Later than anything.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Time since an earlier instant; zero if that is later.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Since the simulation began.
    pub(super) const fn elapsed(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The two clocks of the machine an engine runs on. The monotonic one starts with the process and stands still while the
/// machine sleeps; the wall clock is set by whoever may.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineClock {
    /// What a right wall clock shows when the simulation begins.
    epoch: Timestamp,
    /// True time at which the monotonic clock showed zero, with all sleeps added.
    zero: Instant,
    /// By how much the wall clock is ahead, in nanoseconds.
    ahead: i64,
}

impl EngineClock {
    pub(super) const fn new(epoch: Timestamp) -> Self {
        Self { epoch, zero: Instant::START, ahead: 0 }
    }

    /// A new process: its monotonic clock starts at zero.
    pub(super) const fn restart(&mut self, at: Instant) {
        self.zero = at;
    }

    /// The machine slept for so long.
    pub(super) fn slept(&mut self, span: Duration) {
        self.zero = self.zero + span;
    }

    /// Somebody sets the wall clock `nanos` ahead of the right time.
    pub(super) const fn set_ahead(&mut self, nanos: i64) {
        self.ahead = nanos;
    }

    /// What the engine sees.
    pub(super) fn now(self, at: Instant) -> Now {
        let wall = self.right(at);
        let wall = Timestamp::from_nanos(wall.as_nanos().saturating_add(self.ahead));
        Now { mono: Monotonic::from_nanos(nanos(at.since(self.zero))), wall }
    }

    /// When the engine's monotonic clock shows that.
    pub(super) fn when(self, mono: Monotonic) -> Instant {
        self.zero + Duration::from_nanos(mono.as_nanos())
    }

    /// What a right wall clock shows.
    pub(super) fn right(self, at: Instant) -> Timestamp {
        self.epoch + at.elapsed()
    }

    /// When a right wall clock shows that; the beginning, if it is past.
    pub(super) fn at(self, wall: Timestamp) -> Instant {
        Instant::START + wall.since(self.epoch)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_stops_the_monotonic_clock_and_a_set_clock_moves_the_wall_only() {
        let ten = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        let mut clock = EngineClock::new(ten);
        let hour = Duration::from_secs(3600);
        let at = Instant::START + hour * 2;
        clock.slept(hour);
        assert_eq!(clock.now(at).mono, Monotonic::default() + hour);
        assert_eq!(clock.now(at).wall, ten + hour * 2);
        assert_eq!(clock.when(Monotonic::default() + hour), at);
        clock.set_ahead(-1_000_000_000);
        assert_eq!(clock.now(at).wall, ten + hour * 2 - Duration::from_secs(1));
        assert_eq!((clock.right(at), clock.at(ten + hour * 2)), (ten + hour * 2, at));
        clock.restart(at);
        assert_eq!(clock.now(at).mono, Monotonic::default());
    }
}
