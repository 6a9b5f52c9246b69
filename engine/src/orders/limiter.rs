//! The broker's limits, kept on our side so exactly that the broker never has to refuse.
//!
//! Promise: no sliding window at the *server*, of any length that the broker declares, ever holds more than the rule,
//! however long each message is on its way and in whatever order messages arrive.
//!
//! How: when a message reaches the server nobody here knows, only that it is no earlier than its leaving and no later
//! than its answer. So it takes a place in every window from when it leaves until its answer, or its loss, is known, and
//! then for the window's length. Of any `count + 1` messages the last to leave found one of the others answered longer
//! ago than a window: those two cannot have arrived within one.
//!
//! The last part of every window is a *reserve* that entries may not use, so that an exit, a cancel or a look at the
//! book never stands behind a flood of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use nirantar_brokers::RateLimit;
use nirantar_brokers::time::Monotonic;

use super::SendId;

/// Part of a window that is kept from entries: one in so many places, rounded up.
const RESERVED_PART: u32 = 5;
/// Most places of a window that are kept from entries.
const RESERVED_AT_MOST: u32 = 20;
/// A window is kept this much longer than declared. The proof above needs none of it with one perfect clock; it is for
/// the server's: clocks are read in whole milliseconds here and there, and steered back to the right time in small steps.
const HEADROOM: Duration = Duration::from_millis(50);
/// And longer by one part in so many: two steered clocks may run 500 parts in a million fast and slow.
const HEADROOM_PART: u32 = 1000;

/// However long the broker tells us to pause, one cancel or exit may leave after this.
const PROBE_AFTER: Duration = Duration::from_secs(30);

/// What takes places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An order, a change or a cancel.
    Message(SendId),
    /// A read of positions, the order book and the day's trades.
    Read(u64),
    /// The probe of a token; there is one at a time.
    Probe,
    /// The day's instruments; there is one such fetch at a time.
    Instruments,
}

/// How much of a window somebody may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// All of it: cancels, exits, and looks at the broker's book.
    Urgent,
    /// All but the reserve: entries and changes.
    Entry,
}

/// When there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// At once.
    Now,
    /// Not before then, and then if nothing else leaves meanwhile.
    At(Monotonic),
    /// Too much is unanswered: nobody can say before an answer, or a loss, is known.
    AfterAnAnswer,
}

/// Sliding windows, all of which hold at once. It takes no more memory than the largest count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limiter {
    limits: Vec<RateLimit>,
    /// Messages on their way and how many calls each is.
    on_their_way: BTreeMap<Key, u32>,
    /// When each of the last calls was answered, the oldest first, in nanoseconds of [`Monotonic`]; below zero before
    /// this run of the engine.
    answered: VecDeque<i128>,
    paused_until: Monotonic,
    /// From then on one cancel or exit may leave though everything is paused.
    probe_at: Monotonic,
    /// The last message that left during a pause.
    probe: Option<Key>,
}

impl Limiter {
    /// A limiter for these limits. A count of zero is taken as one: nothing would ever leave.
    #[must_use]
    pub fn new(limits: &[RateLimit]) -> Self {
        let limits = limits.iter().map(|limit| RateLimit { count: limit.count.max(1), ..*limit }).collect();
        Self {
            limits,
            on_their_way: BTreeMap::new(),
            answered: VecDeque::new(),
            paused_until: Monotonic::default(),
            probe_at: Monotonic::default(),
            probe: None,
        }
    }

    /// When a message of that class may leave.
    #[must_use]
    pub fn next_free(&self, now: Monotonic, class: Class) -> Room {
        self.next_free_for(now, class, 1)
    }

    /// When a message that is `calls` calls, one right after the other, may leave. A window with fewer places than that
    /// must be empty.
    #[must_use]
    pub fn next_free_for(&self, now: Monotonic, class: Class, calls: u32) -> Room {
        let until = match class {
            Class::Urgent if calls == 1 => self.paused_until.min(self.probe_at),
            Class::Urgent | Class::Entry => self.paused_until,
        };
        let paused = if until > now { Room::At(until) } else { Room::Now };
        let unanswered = self.on_their_way.values().fold(0_u32, |sum, calls| sum.saturating_add(*calls));
        let rooms = self.limits.iter().map(|limit| self.room_in(limit, now, class, calls, unanswered));
        rooms.fold(paused, Ord::max)
    }

    fn room_in(&self, limit: &RateLimit, now: Monotonic, class: Class, calls: u32, unanswered: u32) -> Room {
        let places = match class {
            Class::Urgent => limit.count,
            Class::Entry => limit.count - reserve(limit.count),
        };
        let before = places.saturating_sub(calls.max(1) - 1).max(1);
        let Some(left) = before.checked_sub(unanswered).filter(|left| *left > 0) else { return Room::AfterAnAnswer };
        // One place is free once the youngest but so many has left the window.
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let Some(answered) = self.answered.len().checked_sub(left).and_then(|index| self.answered.get(index)) else {
            return Room::Now;
        };
        match u64::try_from(answered.saturating_add(span(limit))).map(Monotonic::from_nanos) {
            Ok(free) if free > now => Room::At(free),
            Ok(_) | Err(_) => Room::Now,
        }
    }

    /// A message leaves.
    pub fn leaves(&mut self, key: Key, now: Monotonic) {
        if self.paused_until > now {
            self.probe = Some(key);
            self.probe_at = now + PROBE_AFTER;
        }
        self.leave(key, 1, now);
    }

    /// A message that is `calls` calls leaves. What was on its way under the same key is taken as lost.
    pub fn leave(&mut self, key: Key, calls: u32, now: Monotonic) {
        self.answered(key, now);
        if !self.limits.is_empty() {
            self.on_their_way.insert(key, calls);
        }
    }

    /// Its answer is known, or it is known that none will come. A message that never left, or is answered already,
    /// changes nothing.
    pub fn answered(&mut self, key: Key, now: Monotonic) {
        if let Some(calls) = self.on_their_way.remove(&key) {
            self.count(calls, now);
        }
    }

    /// One of its calls is answered; the others are still to come.
    pub fn answered_once(&mut self, key: Key, now: Monotonic) {
        match self.on_their_way.get_mut(&key) {
            Some(calls) if *calls > 1 => {
                *calls -= 1;
                self.count(1, now);
            }
            Some(_) => self.answered(key, now),
            None => {}
        }
    }

    /// Calls that were answered just now, and that nobody announced.
    pub fn count(&mut self, calls: u32, now: Monotonic) {
        for _ in 0..calls {
            self.keep(i128::from(now.as_nanos()));
        }
    }

    /// A call of an earlier run of the engine that was answered, or given up, `ago`.
    pub fn count_earlier(&mut self, ago: Duration, now: Monotonic) {
        self.keep(i128::from(now.as_nanos()).saturating_sub(nanos(ago)));
    }

    /// No byte of it left.
    pub fn returned(&mut self, key: Key) {
        self.on_their_way.remove(&key);
    }

    /// Nothing leaves before then: the broker has said that it is asked too often. It may say so for hours, by mistake:
    /// after half a minute one cancel or exit leaves all the same, and one more after each half minute.
    pub fn pause(&mut self, until: Monotonic, now: Monotonic) {
        if now >= self.paused_until {
            self.probe_at = now + PROBE_AFTER;
        }
        self.paused_until = self.paused_until.max(until);
    }

    /// A message was dealt with. If it is the one that left during the pause, the pause is over.
    pub fn went_through(&mut self, key: Key) {
        if self.probe.take_if(|probe| *probe == key).is_some() {
            self.paused_until = Monotonic::default();
        }
    }

    /// Keeps what some window may still hold. What is older than as many answers as the largest window has places
    /// decides nothing any more.
    fn keep(&mut self, at: i128) {
        let most = self.limits.iter().map(|limit| limit.count).max().unwrap_or(0);
        let longest = self.limits.iter().map(span).max().unwrap_or(0);
        let place = self.answered.partition_point(|earlier| *earlier <= at);
        self.answered.insert(place, at);
        let newest = self.answered.back().copied().unwrap_or(at);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        while self.answered.len() > most
            || self.answered.front().is_some_and(|oldest| oldest.saturating_add(longest) <= newest)
        {
            self.answered.pop_front();
        }
    }
}

/// How many places of a window of `count` entries may not use.
const fn reserve(count: u32) -> u32 {
    let part = count.div_ceil(RESERVED_PART);
    let part = if part < RESERVED_AT_MOST { part } else { RESERVED_AT_MOST };
    // Something is left for entries; a window of one is everybody's.
    if part < count { part } else { count.saturating_sub(1) }
}

/// How long an answered message keeps its place, in nanoseconds.
fn span(limit: &RateLimit) -> i128 {
    nanos(limit.per.saturating_add(HEADROOM).saturating_add(limit.per / HEADROOM_PART))
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
