//! The broker's order limits, kept on our side so that the broker never has to refuse.

use std::collections::VecDeque;
use std::time::Duration;

use nirantar_brokers::RateLimit;
use nirantar_brokers::time::Monotonic;

/// Sliding windows: at most `count` sends in any span of `per`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limiter {
    windows: Vec<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    limit: RateLimit,
    sent: VecDeque<Monotonic>,
}

/// Added to every window, since messages that leave evenly may arrive bunched.
const HEADROOM: Duration = Duration::from_millis(100);

impl Limiter {
    /// A limiter for these limits, all of which hold at once.
    #[must_use]
    pub fn new(limits: &[RateLimit]) -> Self {
        let window = |limit: &RateLimit| Window { limit: *limit, sent: VecDeque::new() };
        Self { windows: limits.iter().map(window).collect() }
    }

    /// When the next message may leave: `now`, or later.
    #[must_use]
    pub fn next_free(&self, now: Monotonic) -> Monotonic {
        self.windows.iter().map(|window| window.next_free(now)).max().unwrap_or(now)
    }

    /// A message leaves.
    pub fn count(&mut self, now: Monotonic) {
        for window in &mut self.windows {
            let most = usize::try_from(window.limit.count).unwrap_or(usize::MAX);
            while window.sent.len() >= most.max(1) {
                window.sent.pop_front();
            }
            window.sent.push_back(now);
        }
    }
}

impl Window {
    fn next_free(&self, now: Monotonic) -> Monotonic {
        let most = usize::try_from(self.limit.count).unwrap_or(usize::MAX);
        match self.sent.front() {
            Some(first) if self.sent.len() >= most => now.max(*first + self.limit.per + HEADROOM),
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_ever_holds_more_than_its_limit() {
        let limit = RateLimit { count: 10, per: Duration::from_secs(1) };
        let mut limiter = Limiter::new(&[limit]);
        let mut now = Monotonic::default();
        let mut sent = Vec::new();
        for _ in 0..100 {
            now = limiter.next_free(now);
            limiter.count(now);
            sent.push(now);
        }
        for pair in sent.windows(11) {
            assert!(pair[10].since(pair[0]) > limit.per);
        }
    }
}
