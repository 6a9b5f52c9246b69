//! The latest tick of every instrument: one pointer each, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use nirantar_brokers::InstrumentKey;

use super::TickEvent;

/// A tick and its number, from 1.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// Its instrument's place in the [`Table`].
    pub(super) place: usize,
    pub(super) event: TickEvent,
}

/// One instrument's place.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) latest: ArcSwapOption<Entry>,
    /// The number of `latest`, or of one before it for a moment; 0 before the first. Cheaper to look at.
    newest: AtomicU64,
}

impl Slot {
    /// Puts it there and gives back the one before.
    pub(super) fn replace(&self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let number = entry.number;
        let before = self.latest.swap(Some(entry));
        self.newest.store(number, Ordering::Release);
        before
    }

    /// Whether a newer tick than that is there.
    pub(super) fn is_newer_than(&self, number: u64) -> bool {
        self.newest.load(Ordering::Acquire) > number
    }

    pub(super) fn event(&self) -> Option<TickEvent> {
        self.latest.load().as_ref().map(|entry| entry.event.clone())
    }
}

/// All instruments seen so far. Places are never given back: there are as many as instruments are wanted in a process'
/// life.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_key: BTreeMap<Arc<InstrumentKey>, usize>,
    slots: Vec<Arc<Slot>>,
}

impl Table {
    pub(super) fn find(&self, instrument: &InstrumentKey) -> Option<&Arc<Slot>> {
        self.place(instrument).and_then(|place| self.slots.get(place))
    }

    pub(super) fn place(&self, instrument: &InstrumentKey) -> Option<usize> {
        self.by_key.get(instrument).copied()
    }

    pub(super) fn at(&self, place: usize) -> Option<&Arc<Slot>> {
        self.slots.get(place)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The same with one more.
    pub(super) fn with(&self, instrument: &Arc<InstrumentKey>) -> Self {
        let mut table = self.clone();
        if !table.by_key.contains_key(instrument) {
            table.by_key.insert(Arc::clone(instrument), table.slots.len());
            table.slots.push(Arc::default());
        }
        table
    }
}
