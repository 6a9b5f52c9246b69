//! A clock that runs at the machine's pace from a wall reading of one's choice: a market that is always open.

use std::future::Future;
use std::pin::Pin;

use super::{Busy, Clock, Monotonic, Now, SystemClock, Timestamp};

/// Shows a chosen wall time when it is made and goes on from there, one second a second.
///
/// Its wall reading follows its monotonic one, so setting the machine's clock (by an operator or NTP) never steps it.
#[derive(Clone, Copy, Debug)]
pub struct OffsetClock {
    machine: SystemClock,
    first: Timestamp,
}

impl OffsetClock {
    /// A clock that shows `first` now.
    #[must_use]
    pub fn starting_at(first: Timestamp) -> Self {
        Self { machine: SystemClock::start(), first }
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Now {
        let mono = self.machine.now().mono;
        Now { mono, wall: self.first + mono.since(Monotonic::default()) }
    }

    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        self.machine.sleep_until(at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEN: &str = "2021-04-12 10:00:00";

    #[test]
    fn it_shows_the_chosen_time_and_moves_with_its_own_monotonic_reading() {
        let ten = Timestamp::parse_ist(TEN).unwrap();
        let clock = OffsetClock::starting_at(ten);
        let first = clock.now();
        let later = clock.now();
        assert!(first.wall >= ten && first.wall < ten + Duration::from_secs(60), "{}", first.wall);
        assert!(later.mono >= first.mono);
        assert_eq!(later.wall.since(ten), later.mono.since(Monotonic::default()));
    }

    #[test]
    fn a_sleep_ends_at_its_deadline_on_this_clock() {
        let ten = Timestamp::parse_ist(TEN).unwrap();
        let clock = OffsetClock::starting_at(ten);
        let due = ten + Duration::from_millis(20);
        let deadline = clock.now().mono_at(due);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { drop(clock.sleep_until(deadline).await) });
        assert!(clock.now().wall >= due);
    }
}
