//! One writer, one ring, any number of readers.
//!
//! The writer puts an entry into its place and then moves the head; it never looks at a reader's position. A reader knows
//! from an entry's number whether it is the one it wants or a later one that has overwritten it. Every place is a pointer
//! that is swapped whole, so an entry is read whole or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::task::AtomicWaker;
use nirantar_brokers::time::{Busy, Clock};
use nirantar_brokers::{BrokerToken, InstrumentKey};

use super::latest::{Entry, Slot, Table};
use super::{Backlog, HubMemory, TickEvent, TickMessage};

/// The longest ring there may be.
const LONGEST: usize = 1 << 24;
/// Used entries that are kept for the next ticks.
const SPARE: usize = 64;

/// What writer and readers share.
#[derive(Debug)]
pub(super) struct Ring {
    places: Box<[ArcSwapOption<Entry>]>,
    /// The number of the last entry, from 1.
    head: AtomicU64,
    closed: AtomicBool,
    table: ArcSwap<Table>,
    seats: ArcSwap<Vec<Arc<Seat>>>,
    clock: Arc<dyn Clock>,
}

/// What the writer knows of one reader.
#[derive(Default)]
struct Seat {
    waker: AtomicWaker,
    /// Stepped clocks only.
    held: Mutex<Hold>,
}

/// How a reader holds a stepped clock.
#[derive(Debug, Default)]
struct Hold {
    /// While something is unread or being worked on.
    busy: Busy,
    /// It does not want to hold it.
    away: bool,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

impl Seat {
    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let places = capacity.clamp(1, LONGEST).next_power_of_two();
        Self {
            places: (0..places).map(|_| ArcSwapOption::empty()).collect(),
            head: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            table: ArcSwap::default(),
            seats: ArcSwap::default(),
            clock,
        }
    }

    pub(super) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// The instrument's place and slot, made if there are none.
    pub(super) fn slot(&self, instrument: &Arc<InstrumentKey>) -> (usize, Arc<Slot>) {
        loop {
            let table = self.table.load();
            let place = table.place(instrument);
            if let Some((place, slot)) = place.and_then(|place| Some((place, table.at(place)?))) {
                return (place, Arc::clone(slot));
            }
            self.table.rcu(|table| table.with(instrument));
        }
    }

    pub(super) fn memory(&self) -> HubMemory {
        // The reference counts stand in front of it.
        let entry = size_of::<Entry>() + 2 * size_of::<usize>();
        let table = self.table.load();
        let mut held: Vec<u64> = self.places.iter().filter_map(number_in).collect();
        held.extend(table.slots().filter_map(|slot| number_in(&slot.latest)));
        held.sort_unstable();
        held.dedup();
        HubMemory {
            ring: self.places.len() * size_of::<ArcSwapOption<Entry>>(),
            ticks: held.len() * entry,
            most: (self.places.len() + table.len() + SPARE) * entry,
        }
    }

    fn capacity(&self) -> u64 {
        self.places.len() as u64
    }

    /// Where the entry of that number is, or was.
    fn place(&self, number: u64) -> Option<&ArcSwapOption<Entry>> {
        // A power of two.
        let index = number & (self.capacity() - 1);
        self.places.get(usize::try_from(index).ok()?)
    }
}

fn number_in(place: &ArcSwapOption<Entry>) -> Option<u64> {
    place.load().as_ref().map(|entry| entry.number)
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Writer {
    ring: Arc<Ring>,
    last: u64,
    /// Where the ticks of a number go. A number may become another instrument's, so the name is compared too.
    known: BTreeMap<BrokerToken, (Arc<InstrumentKey>, usize, Arc<Slot>)>,
    /// Entries nobody else holds.
    spare: Vec<Arc<Entry>>,
}

impl Writer {
    pub(super) fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            ring: Arc::new(Ring::new(capacity, clock)),
            last: 0,
            known: BTreeMap::new(),
            spare: Vec::with_capacity(SPARE),
        }
    }

    pub(super) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    pub(super) fn publish(&mut self, event: TickEvent) -> usize {
        let busy = self.ring.clock.busy();
        let number = self.last + 1;
        self.last = number;
        let (place, slot) = self.slot(&event);
        let entry = self.entry(Entry { number, place, event });
        // The table first: what a reader finds in the ring is never newer than the table.
        let replaced = slot.replace(Arc::clone(&entry));
        let overwritten = self.ring.place(number).and_then(|place| place.swap(Some(entry)));
        self.ring.head.store(number, Ordering::SeqCst);
        self.keep(replaced);
        self.keep(overwritten);
        let seats = self.ring.seats.load();
        for seat in seats.iter() {
            if busy.holds() {
                let mut hold = seat.hold();
                if !hold.away && !hold.busy.holds() {
                    hold.busy = busy.clone();
                }
            }
            seat.waker.wake();
        }
        seats.len()
    }

    fn slot(&mut self, event: &TickEvent) -> (usize, Arc<Slot>) {
        match self.known.get(&event.tick.token) {
            Some((key, place, slot)) if Arc::ptr_eq(key, &event.instrument) || *key == event.instrument => {
                (*place, Arc::clone(slot))
            }
            _ => {
                let (place, slot) = self.ring.slot(&event.instrument);
                let known = (Arc::clone(&event.instrument), place, Arc::clone(&slot));
                self.known.insert(event.tick.token, known);
                (place, slot)
            }
        }
    }

    /// In memory that was used before, if there is any.
    fn entry(&mut self, new: Entry) -> Arc<Entry> {
        if let Some(mut spare) = self.spare.pop()
            && let Some(old) = Arc::get_mut(&mut spare)
        {
            *old = new;
            return spare;
        }
        Arc::new(new)
    }

    fn keep(&mut self, old: Option<Arc<Entry>>) {
        // Out of ring and table, nobody can get hold of it again.
        if let Some(old) = old.filter(|old| Arc::strong_count(old) == 1 && self.spare.len() < SPARE) {
            self.spare.push(old);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::SeqCst);
        for seat in self.ring.seats.load().iter() {
            seat.waker.wake();
        }
    }
}

/// A reading end.
#[derive(Debug)]
pub(super) struct Reader {
    ring: Arc<Ring>,
    seat: Arc<Seat>,
    backlog: Backlog,
    /// The last number dealt with.
    read: u64,
    /// What was found in the table of that which the ring has lost, oldest first.
    rescued: VecDeque<Arc<Entry>>,
    conflated: u64,
    /// The clock is a stepped one: it has been seen to be held.
    stepped: bool,
}

impl Reader {
    pub(super) fn new(ring: Arc<Ring>, backlog: Backlog) -> Self {
        let seat: Arc<Seat> = Arc::default();
        ring.seats.rcu(|seats| seats.iter().chain([&seat]).map(Arc::clone).collect::<Vec<_>>());
        let (read, stepped) = (ring.head.load(Ordering::SeqCst), ring.clock.busy().holds());
        let reader = Self { ring, seat, backlog, read, rescued: VecDeque::new(), conflated: 0, stepped };
        // A tick from between the two is not for it, and holds nothing.
        reader.done();
        reader
    }

    pub(super) const fn conflated(&self) -> u64 {
        self.conflated
    }

    /// Lets a stepped clock go on, unless something is unread.
    pub(super) fn done(&self) {
        if self.stepped {
            let mut hold = self.seat.hold();
            hold.away = false;
            // The writer moves the head first and takes the lock then: what is published later holds anew.
            let freed = if self.is_behind() { Busy::idle() } else { std::mem::take(&mut hold.busy) };
            drop(hold);
            drop(freed);
        }
    }

    pub(super) fn away(&self) {
        if self.stepped {
            let mut hold = self.seat.hold();
            hold.away = true;
            let freed = std::mem::take(&mut hold.busy);
            drop(hold);
            drop(freed);
        }
    }

    fn is_behind(&self) -> bool {
        !self.rescued.is_empty() || self.ring.head.load(Ordering::SeqCst) > self.read
    }

    pub(super) fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<TickMessage>> {
        if let Some(message) = self.take() {
            return Poll::Ready(Some(message));
        }
        self.seat.waker.register(context.waker());
        // Closed is read first: what was published before it is still found.
        let closed = self.ring.closed.load(Ordering::SeqCst);
        match self.take() {
            Some(message) => Poll::Ready(Some(message)),
            None if closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// The next message that is there.
    pub(super) fn take(&mut self) -> Option<TickMessage> {
        let message = self.look()?;
        if self.stepped {
            let mut hold = self.seat.hold();
            if !hold.busy.holds() {
                // It was away when this was published.
                hold.busy = self.ring.clock.busy();
            }
        }
        Some(message)
    }

    fn look(&mut self) -> Option<TickMessage> {
        loop {
            if let Some(entry) = self.rescued.pop_front() {
                if let Some(event) = self.unless_replaced(&entry) {
                    return Some(TickMessage::Tick(event));
                }
                continue;
            }
            let head = self.ring.head.load(Ordering::SeqCst);
            if head <= self.read {
                // What was passed over holds nothing.
                self.done();
                return None;
            }
            let wanted = self.read + 1;
            let ring = Arc::clone(&self.ring);
            let found = ring.place(wanted)?.load();
            let entry = found.as_ref()?;
            if entry.number == wanted && head - self.read <= ring.capacity() {
                self.read = wanted;
                match self.backlog {
                    Backlog::Lag => return Some(TickMessage::Tick(entry.event.clone())),
                    Backlog::Conflate => {
                        if let Some(event) = self.unless_replaced(entry) {
                            return Some(TickMessage::Tick(event));
                        }
                    }
                }
                continue;
            }
            // Overwritten: the ring begins behind this one at the earliest.
            let lost_to = head.max(entry.number).saturating_sub(ring.capacity()).max(wanted);
            let lost = lost_to - self.read;
            match self.backlog {
                Backlog::Lag => {
                    self.read = lost_to;
                    return Some(TickMessage::Lagged(lost));
                }
                Backlog::Conflate => self.rescue(lost_to),
            }
        }
    }

    /// The tick, unless a newer one of its instrument is there, which comes later.
    fn unless_replaced(&mut self, entry: &Entry) -> Option<TickEvent> {
        let replaced = self.ring.table.load().at(entry.place).is_some_and(|slot| slot.is_newer_than(entry.number));
        self.conflated += u64::from(replaced);
        (!replaced).then(|| entry.event.clone())
    }

    /// Of what the ring has lost up to that number, the table has what was not replaced since.
    fn rescue(&mut self, lost_to: u64) {
        let lost = self.read + 1..=lost_to;
        let table = self.ring.table.load();
        let latest = table.slots().filter_map(|slot| slot.latest.load_full());
        let mut rescued: Vec<_> = latest.filter(|entry| lost.contains(&entry.number)).collect();
        rescued.sort_unstable_by_key(|entry| entry.number);
        self.conflated += (lost_to - self.read).saturating_sub(rescued.len() as u64);
        self.rescued = rescued.into();
        self.read = lost_to;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let gone = |seat: &Arc<Seat>| Arc::ptr_eq(seat, &self.seat);
        self.ring.seats.rcu(|seats| seats.iter().filter(|seat| !gone(seat)).map(Arc::clone).collect::<Vec<_>>());
        // The writer may still be at work with the list of before.
        self.away();
    }
}
