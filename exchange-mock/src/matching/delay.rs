//! Time between those who trade and the exchange.

use std::collections::VecDeque;
use std::time::Duration;

use nirantar_brokers::time::{Rng, Timestamp};

/// How long a message takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The least it takes.
    pub least: Duration,
    /// Up to so much longer, each length as likely as any other.
    pub spread: Duration,
}

/// A line on which messages take time: one for order entry, another for market data. What goes in comes out later, in
/// the order in which it went in, as on one TCP connection.
///
/// **Assumes** that delays are drawn evenly from a range and are independent of the market.
///
/// **Gets wrong** exactly that: real lines are slow when markets are fast, and all orders of a moment are slow together.
/// A fixed delay (`spread` zero) at the worst one has seen is the careful choice.
#[derive(Clone, Debug)]
pub struct Delay<T> {
    latency: Latency,
    rng: Rng,
    line: VecDeque<(Timestamp, T)>,
}

impl<T> Delay<T> {
    /// An empty line. The same seed gives the same delays.
    #[must_use]
    pub fn new(latency: Latency, seed: u64) -> Self {
        Self { latency, rng: Rng::from_seed(seed), line: VecDeque::new() }
    }

    /// A message goes in.
    pub fn send(&mut self, message: T, now: Timestamp) {
        let spread = u64::try_from(self.latency.spread.as_nanos()).unwrap_or(u64::MAX);
        let due = now + self.latency.least + Duration::from_nanos(self.rng.below(spread.saturating_add(1)));
        let last = self.line.back().map_or(due, |(last, _)| *last);
        self.line.push_back((due.max(last), message));
    }

    /// When the next message comes out.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.line.front().map(|(due, _)| *due)
    }

    /// The next message that is out by `now`, with when it came out.
    pub fn receive(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        self.next().filter(|due| *due <= now).and_then(|_| self.line.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_late_in_its_order_and_the_same_for_a_seed() {
        let millis = Duration::from_millis;
        let latency = Latency { least: millis(2), spread: millis(8) };
        let arrivals = |seed: u64| {
            let mut line = Delay::new(latency, seed);
            for second in 0..100i64 {
                line.send(second, Timestamp::from_nanos(second * 1_000_000));
            }
            assert_eq!(line.receive(Timestamp::from_nanos(1_999_999)), None);
            let end = Timestamp::from_unix_seconds(10);
            std::iter::from_fn(|| line.receive(end)).collect::<Vec<_>>()
        };
        let out = arrivals(1);
        assert_eq!(out.iter().map(|(_, message)| *message).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        for (due, sent) in &out {
            assert!(due.since(Timestamp::from_nanos(sent * 1_000_000)) >= latency.least);
        }
        assert!(out.is_sorted_by_key(|(due, _)| *due) && out == arrivals(1) && out != arrivals(2));
    }
}
