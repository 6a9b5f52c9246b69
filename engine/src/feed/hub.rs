//! Ticks for any number of strategies.
//!
//! * **Publishing never waits and takes no lock.** A tick is put into one ring that all subscribers read, and into the
//!   latest-value table; a subscriber that waits is woken. What that costs does not depend on how slow anybody is.
//! * **Memory is bounded** by the ring and one tick an instrument, however many subscribers there are and however far
//!   behind: [`Hub::memory`] says by how much. Once the ring is full, publishing allocates nothing.
//! * **A slow subscriber slows nobody else** and loses what its [`Backlog`] says: the oldest ticks, with a word how many,
//!   or only values that a newer one of the same instrument has replaced.
//! * **The latest tick of an instrument** is read from any thread, without a lock, and whole: [`Hub::latest`].
//!
//! On a stepped clock every tick holds the market still until the last subscriber has asked for the next one, so that a
//! strategy's time to think costs no market time. (Only there a mutex is taken.)

use std::sync::Arc;

use nirantar_brokers::time::{Clock, Now};
use nirantar_brokers::{InstrumentKey, Tick};

use self::latest::Slot;
use self::ring::{Reader, Ring};
use crate::session::Generation;

mod latest;
mod ring;
#[cfg(test)]
mod tests;

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

/// What becomes of ticks that a subscriber is too slow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Backlog {
    /// Every tick counts: what no longer fits into the ring is lost, the oldest first, and
    /// [`TickMessage::Lagged`] says how many. The default.
    #[default]
    Lag,
    /// The latest value counts: a tick is passed over when a newer one of the same instrument is there already. The newest
    /// tick of every instrument is always delivered, in the order they came; [`Ticks::conflated`] counts the others.
    Conflate,
}

/// The one place that ticks are published from. When it is dropped, subscribers come to their end.
#[derive(Debug)]
pub struct Publisher(ring::Writer);

/// Where ticks are subscribed to and looked up. Clones are handles to the same hub.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Ring>);

/// One subscriber's ticks, from its subscription on.
#[derive(Debug)]
pub struct Ticks(Reader);

/// The latest tick of one instrument, for a loop that looks often.
#[derive(Clone, Debug)]
pub struct Latest(Arc<Slot>);

/// How much a hub holds at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubMemory {
    /// The ring's places, made at the start.
    pub ring: usize,
    /// Ticks in the ring and the latest-value table now.
    pub ticks: usize,
    /// The most that `ticks` can become with the instruments known now.
    pub most: usize,
}

impl Publisher {
    /// A hub whose slowest subscriber may be `capacity` ticks behind (the next power of two).
    #[must_use]
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(ring::Writer::new(capacity, clock))
    }

    /// Where to subscribe.
    #[must_use]
    pub fn hub(&self) -> Hub {
        Hub(self.0.ring())
    }

    /// Hands a tick to everybody. Never waits. Returns how many subscribers there are.
    pub fn publish(&mut self, event: TickEvent) -> usize {
        self.0.publish(event)
    }
}

impl Hub {
    /// A new subscriber, who gets every tick from now on that it is quick enough for: [`Backlog::Lag`].
    #[must_use]
    pub fn subscribe(&self) -> Ticks {
        self.subscribe_with(Backlog::Lag)
    }

    /// A new subscriber, with that policy for when it is slow.
    #[must_use]
    pub fn subscribe_with(&self, backlog: Backlog) -> Ticks {
        Ticks(Reader::new(Arc::clone(&self.0), backlog))
    }

    /// The latest tick of that instrument, from whatever source; `None` before the first. From any thread.
    #[must_use]
    pub fn latest(&self, instrument: &InstrumentKey) -> Option<TickEvent> {
        self.0.table().find(instrument)?.event()
    }

    /// A handle to the latest tick of that instrument, which need not have had one yet.
    #[must_use]
    pub fn watch(&self, instrument: &InstrumentKey) -> Latest {
        Latest(self.0.slot(&Arc::new(instrument.clone())).1)
    }

    /// How much memory it holds.
    #[must_use]
    pub fn memory(&self) -> HubMemory {
        self.0.memory()
    }
}

impl Latest {
    /// The tick; `None` before the first. Takes no lock, and is never half of one tick and half of another.
    #[must_use]
    pub fn get(&self) -> Option<TickEvent> {
        self.0.event()
    }
}

impl Ticks {
    /// Waits for the next tick; `None` once the publisher is gone and everything was read. Asking says that the last one is
    /// dealt with. May be dropped while waiting without losing a tick.
    pub async fn next(&mut self) -> Option<TickMessage> {
        self.0.done();
        std::future::poll_fn(|context| self.0.poll_next(context)).await
    }

    /// The next tick if there is one already. Asking says that the last one is dealt with.
    pub fn try_next(&mut self) -> Option<TickMessage> {
        self.0.done();
        self.0.take()
    }

    /// Says that the last tick is dealt with, without asking for another: before a strategy waits for anything else
    /// (its own order), since a stepped clock stands still until then. Ticks that are unread still hold it.
    pub fn done(&mut self) {
        self.0.done();
    }

    /// The subscriber goes away for a while (to sleep, or to wait for a timer): ticks do not hold a stepped clock for it
    /// until it asks for the next.
    pub fn away(&mut self) {
        self.0.away();
    }

    /// How many ticks it was not given because a newer one of the same instrument had replaced them
    /// ([`Backlog::Conflate`]).
    #[must_use]
    pub const fn conflated(&self) -> u64 {
        self.0.conflated()
    }
}
