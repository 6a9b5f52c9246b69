//! Ticks for any number of strategies.
//!
//! Publishing never waits: a strategy that is too slow loses the oldest ticks of its own queue, is told how many
//! ([`TickMessage::Lagged`]), and slows nobody else. Memory is bounded by one queue that all subscribers share.
//!
//! On a stepped clock every tick holds the market still until the last subscriber has asked for the next one, so that a
//! strategy's time to think costs no market time.

use std::sync::Arc;

use nirantar_brokers::time::{Clock, Now};
use nirantar_brokers::{InstrumentKey, Tick};

use crate::fanout::{FanOut, Listener, Lost};
use crate::session::Generation;

/// Where a tick comes from. Travels with it, into every paper fill that it causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The broker's live feed.
    Live {
        /// Under which token.
        generation: Generation,
    },
    /// The broker's state of the moment and no tick: asked for after a gap, or said again by a new socket.
    Snapshot {
        /// Under which token.
        generation: Generation,
    },
    /// The live feed of another account: the market, but not under this account's token.
    OtherAccount,
    /// Not the market: nothing may be traded live on it.
    Paper(PaperSource),
}

/// Where a price comes from that is not the market's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaperSource {
    /// A recording.
    Replay,
    /// A seeded walk.
    Synthetic,
}

impl Source {
    /// Whether it is the account's own live feed, or the broker's own state.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live { .. } | Self::Snapshot { .. })
    }
}

/// A tick as strategies get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickEvent {
    /// What the broker sent.
    pub tick: Tick,
    /// Of which instrument.
    pub instrument: Arc<InstrumentKey>,
    /// From where.
    pub source: Source,
    /// The socket it came on, by our side's TCP port; 0 where there is none.
    pub socket_port: u16,
    /// Its number on that socket, from 1: the server's own numbering of what it sent can be held against it.
    pub packet: u64,
    /// When it arrived.
    pub received: Now,
}

/// What a subscriber gets.
#[expect(clippy::large_enum_variant, reason = "ticks are the common case and must not be boxed")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TickMessage {
    /// A tick.
    Tick(TickEvent),
    /// The subscriber was too slow: so many ticks before the next one are lost to it.
    Lagged(u64),
}

/// Hands ticks to all subscribers. Clones are handles to the same hub.
#[derive(Clone, Debug)]
pub struct Hub(FanOut<TickEvent>);

/// One subscriber's ticks, from its subscription on.
#[derive(Debug)]
pub struct Ticks(Listener<TickEvent>);

impl Hub {
    /// A hub that keeps at least `capacity` ticks (the next power of two) for its slowest subscriber.
    #[must_use]
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(FanOut::new(capacity, clock))
    }

    /// Hands a tick to everybody. Never waits. Returns how many subscribers there are.
    pub fn publish(&self, event: TickEvent) -> usize {
        self.0.send(event)
    }

    /// A new subscriber, who gets every tick from now on.
    #[must_use]
    pub fn subscribe(&self) -> Ticks {
        Ticks(self.0.subscribe())
    }
}

impl Ticks {
    /// Waits for the next tick; `None` once the hub is gone and everything was read. Asking says that the last one is
    /// dealt with. May be dropped while waiting without losing a tick.
    pub async fn next(&mut self) -> Option<TickMessage> {
        self.0.next().await.map(|heard| match heard {
            Ok(event) => TickMessage::Tick(event),
            Err(Lost(count)) => TickMessage::Lagged(count),
        })
    }

    /// Says that the last tick is dealt with, without asking for another: before a strategy waits for anything else
    /// (a timer, its own order), since a stepped clock stands still until then.
    pub fn done(&mut self) {
        self.0.done();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nirantar_brokers::time::{Monotonic, SteppedClock, Timestamp};
    use nirantar_brokers::{BrokerToken, Detail, Exchange, Price};

    use super::*;

    fn tick(packet: u64) -> TickEvent {
        TickEvent {
            tick: Tick { token: BrokerToken(738_561), last_price: Price::default(), detail: Detail::Ltp },
            instrument: Arc::new(InstrumentKey::new(Exchange::Nse, "RELIANCE")),
            source: Source::Live { generation: Generation(1) },
            socket_port: 4000,
            packet,
            received: Now::default(),
        }
    }

    fn stepped() -> SteppedClock {
        SteppedClock::starting_at(Timestamp::from_unix_seconds(1_618_199_109))
    }

    fn packet(message: Option<TickMessage>) -> u64 {
        match message {
            Some(TickMessage::Tick(event)) => event.packet,
            other => panic!("expected a tick, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_lost_and_costs_the_others_nothing() {
        let hub = Hub::new(4, Arc::new(stepped()));
        let (mut slow, mut quick) = (hub.subscribe(), hub.subscribe());
        for number in 1..=10 {
            assert_eq!(hub.publish(tick(number)), 2);
            assert_eq!(packet(quick.next().await), number);
        }
        assert_eq!(slow.next().await, Some(TickMessage::Lagged(6)));
        assert_eq!(packet(slow.next().await), 7);
        drop(hub);
        for number in 8..=10 {
            assert_eq!(packet(slow.next().await), number);
        }
        assert_eq!(slow.next().await, None);
    }

    #[tokio::test]
    async fn market_time_stands_still_until_every_strategy_has_thought() {
        let clock = stepped();
        let hub = Hub::new(16, Arc::new(clock.clone()));
        let (mut first, mut second) = (hub.subscribe(), hub.subscribe());
        let _sleeper = clock.sleep(Duration::from_secs(1));
        hub.publish(tick(1));
        let stepping = {
            let clock = clock.clone();
            tokio::spawn(async move { clock.step(Monotonic::from_nanos(u64::MAX)).await })
        };
        assert_eq!(packet(first.next().await), 1);
        first.done();
        tokio::task::yield_now().await;
        assert_eq!(clock.now().mono, Monotonic::default(), "the second has not even read it");
        assert_eq!(packet(second.next().await), 1);
        tokio::task::yield_now().await;
        assert_eq!(clock.now().mono, Monotonic::default(), "the second is at work");
        second.done();
        assert!(stepping.await.unwrap());
        assert_eq!(clock.now().mono, Monotonic::default() + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn ticks_nobody_wants_hold_nothing() {
        let clock = stepped();
        let hub = Hub::new(16, Arc::new(clock.clone()));
        let gone = hub.subscribe();
        hub.publish(tick(1));
        drop(gone);
        assert_eq!(hub.publish(tick(2)), 0);
        let _sleeper = clock.sleep(Duration::from_secs(1));
        assert!(clock.step(Monotonic::from_nanos(u64::MAX)).await);
    }
}
