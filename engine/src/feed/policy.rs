//! How patient the feed is. A value: printed, tested and replaced in one place.

use std::time::Duration;

use crate::waiting::doubled;

/// The feed's times and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPolicy {
    /// First wait after a network failure. Doubles with each further one.
    pub backoff_first: Duration,
    /// The longest wait after a network failure.
    pub backoff_max: Duration,
    /// By up to how many percent a wait is shortened at random, so that many clients do not come back at once.
    pub jitter_percent: u32,
    /// A socket that was open this long was stable: its loss counts as the first failure, not as one more.
    pub stable_after: Duration,
    /// First wait after a refused handshake, unless the probe finds the token dead. Doubles with each further one.
    pub refused_first: Duration,
    /// The longest wait after a refused handshake.
    pub refused_max: Duration,
    /// A socket without any frame for this many percent of the broker's heartbeat is dead.
    pub heartbeat_margin_percent: u32,
    /// So long may ticks stay away while they are expected and the socket is alive.
    pub silence: Duration,
    /// A connection attempt that has had no answer for so long has failed. Longer than the socket's own timeouts, so
    /// that it acts only if the driver has lost the attempt.
    pub connect_timeout: Duration,
    /// How long an old socket is kept for instruments that have not shown up on the new one, once that delivers.
    pub handover: Duration,
    /// A socket that was closed takes up its slot at the broker for so long, unless the driver hears of its end before.
    /// Longer than the driver waits for the broker's own answer.
    pub closing: Duration,
    /// Most instruments in one request of a subscription.
    pub subscribe_batch: usize,
}

impl Default for FeedPolicy {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            jitter_percent: 20,
            stable_after: Duration::from_secs(30),
            refused_first: Duration::from_secs(5 * 60),
            refused_max: Duration::from_secs(30 * 60),
            heartbeat_margin_percent: 150,
            silence: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(30),
            handover: Duration::from_secs(1),
            closing: Duration::from_millis(1_500),
            subscribe_batch: 500,
        }
    }
}

impl FeedPolicy {
    /// The wait after the `failures`th network failure in a row (from 1), before jitter.
    #[must_use]
    pub fn backoff(&self, failures: u32) -> Duration {
        doubled(self.backoff_first, failures.saturating_sub(1), self.backoff_max)
    }

    /// The wait after the `refusals`th refused handshake in a row (from 1).
    #[must_use]
    pub fn refused(&self, refusals: u32) -> Duration {
        doubled(self.refused_first, refusals.saturating_sub(1), self.refused_max)
    }

    /// The least time between two connection attempts under one token: the shortest wait jitter can give.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        self.backoff(1).saturating_mul(100 - self.jitter_percent.min(100)) / 100
    }

    /// How long a socket may be without any frame, given the broker's heartbeat.
    #[must_use]
    pub fn mute_after(&self, heartbeat: Duration) -> Duration {
        heartbeat.saturating_mul(self.heartbeat_margin_percent) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_cap_however_often_it_fails() {
        let policy = FeedPolicy::default();
        let minutes = |count| policy.refused(count).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 33, u32::MAX].map(minutes), [5, 10, 20, 30, 30, 30]);
        assert_eq!(policy.backoff(1), Duration::from_millis(500));
        assert_eq!(policy.backoff(u32::MAX), policy.backoff_max);
    }
}
