//! Every order of the desk, with running sums of what may still be filled: whether an order may be taken must not cost
//! more the more orders there were.
//!
//! It reads like a map. Whoever changes an order (a mutable look at it is enough) makes its sums stale; they
//! are counted anew with the next look at them. Promise: the sums are those of a scan of all orders, which the tests
//! compare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nirantar_brokers::{Book, ClientOrderId, InstrumentKey, Lookup, Side};

use super::Tracked;

/// The orders, by our number.
#[derive(Clone, Debug, Default)]
pub(super) struct AllOrders {
    /// In the order in which they came.
    all: Vec<Entry>,
    /// Where each stands there.
    places: Lookup<ClientOrderId, usize>,
    /// Their places, in the order of their numbers.
    sorted: Vec<usize>,
    /// Those that may still be filled, as they were counted.
    unfinished: BTreeSet<usize>,
    units: BTreeMap<InstrumentKey, Sides>,
    /// How many of them a book has: live, paper.
    working: [u32; 2],
    /// Those that a believed position has counted units of already.
    ahead: BTreeSet<usize>,
    /// Changed since they were counted.
    stale: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Shared with those who were told of it, until it changes.
    order: Arc<Tracked>,
    /// The units that were counted of it. `None`: it could not be filled any more.
    counted: Option<i128>,
    stale: bool,
}

/// Units that may be bought and sold: live, then paper.
type Sides = [i128; 4];

const fn place_of_book(book: Book) -> usize {
    match book {
        Book::Live => 0,
        Book::Paper => 1,
    }
}

const fn place_of(book: Book, side: Side) -> usize {
    match side {
        Side::Buy => place_of_book(book),
        Side::Sell => 2 + place_of_book(book),
    }
}

/// Whether an order may still be filled: it works, is on its way, waits to be sent, or nobody knows.
pub(super) fn is_unfinished(order: &Tracked) -> bool {
    order.may_be_working() || !order.status.is_final()
}

impl AllOrders {
    pub(super) fn get(&self, id: &ClientOrderId) -> Option<&Tracked> {
        self.at(*self.places.get(id)?)
    }

    /// As it stands, to be told of.
    pub(super) fn shared(&self, id: &ClientOrderId) -> Option<Arc<Tracked>> {
        self.all.get(*self.places.get(id)?).map(|entry| Arc::clone(&entry.order))
    }

    pub(super) fn contains_key(&self, id: &ClientOrderId) -> bool {
        self.places.contains(id)
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them, in the order of their numbers.
    pub(super) fn values(&self) -> impl Iterator<Item = &Tracked> {
        self.sorted.iter().filter_map(|place| self.at(*place))
    }

    pub(super) fn insert(&mut self, id: ClientOrderId, order: Tracked) {
        if let Some(known) = self.get_mut(&id) {
            *known = order;
            return;
        }
        let place = self.all.len();
        // Numbers of one run ascend, so that nearly always it is the last.
        let rank = self.sorted.partition_point(|other| self.at(*other).is_some_and(|other| other.id < id));
        self.sorted.insert(rank, place);
        self.places.insert(id, place);
        self.all.push(Entry { order: Arc::new(order), counted: None, stale: true });
        self.stale.push(place);
    }

    pub(super) fn get_mut(&mut self, id: &ClientOrderId) -> Option<&mut Tracked> {
        let place = *self.places.get(id)?;
        let Entry { order, stale, .. } = self.all.get_mut(place)?;
        if !std::mem::replace(stale, true) {
            self.stale.push(place);
        }
        Some(Arc::make_mut(order))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Tracked) -> bool) {
        self.all.retain(|entry| keep(&entry.order));
        // Each has another place now: all are found, and counted, anew.
        let Self { all, places, sorted, unfinished, units, working, ahead, stale } = self;
        places.clear();
        unfinished.clear();
        units.clear();
        ahead.clear();
        *working = [0; 2];
        stale.clear();
        stale.extend(0..all.len());
        for (place, entry) in all.iter_mut().enumerate() {
            (entry.counted, entry.stale) = (None, true);
            places.insert(entry.order.id.clone(), place);
        }
        sorted.clear();
        sorted.extend(0..all.len());
        sorted.sort_by_key(|place| all.get(*place).map(|entry| &entry.order.id));
    }

    /// Counts anew what has changed.
    pub(super) fn settle(&mut self) {
        for place in self.stale.drain(..) {
            let Some(Entry { order, counted, stale }) = self.all.get_mut(place) else { continue };
            *stale = false;
            if !order.counted_ahead.is_zero() {
                self.ahead.insert(place);
            } else if !self.ahead.is_empty() {
                self.ahead.remove(&place);
            }
            let after = is_unfinished(order).then(|| i128::from(order.left().get()));
            let before = std::mem::replace(counted, after);
            if before == after {
                continue;
            }
            let (book, side) = (place_of_book(order.book), place_of(order.book, order.request.side));
            if let Some(working) = self.working.get_mut(book) {
                *working =
                    working.saturating_add(u32::from(after.is_some())).saturating_sub(u32::from(before.is_some()));
            }
            let key = &order.request.instrument;
            if !self.units.contains_key(key) {
                self.units.insert(key.clone(), Sides::default());
            }
            if let Some(units) = self.units.get_mut(key).and_then(|sides| sides.get_mut(side)) {
                *units += after.unwrap_or(0) - before.unwrap_or(0);
            }
            if after.is_some() {
                self.unfinished.insert(place);
            } else {
                self.unfinished.remove(&place);
            }
        }
    }

    /// Units of an instrument that may still be bought or sold in a book.
    pub(super) fn units(&self, book: Book, instrument: &InstrumentKey, side: Side) -> i128 {
        let known = self.units.get(instrument).and_then(|sides| sides.get(place_of(book, side))).copied();
        let of_it = |order: &Tracked| {
            (order.book, order.request.side) == (book, side) && order.request.instrument == *instrument
        };
        let changed = self.stale_entries().filter(|entry| of_it(&entry.order));
        known.unwrap_or(0) + changed.map(|entry| entry.change().1).sum::<i128>()
    }

    /// How many orders of a book may still be filled.
    pub(super) fn working(&self, book: Book) -> u32 {
        let known = i128::from(self.working.get(place_of_book(book)).copied().unwrap_or(0));
        let changed = self.stale_entries().filter(|entry| entry.order.book == book).map(|entry| entry.change().0);
        u32::try_from(known + changed.sum::<i128>()).unwrap_or(0)
    }

    /// Orders that may still be filled.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Tracked> {
        let counted = self.unfinished.iter().filter_map(|place| self.all.get(*place)).filter(|entry| !entry.stale);
        counted.chain(self.stale_entries()).map(|entry| &*entry.order).filter(|order| is_unfinished(order))
    }

    /// Those among them that `which` chooses, by their numbers.
    pub(super) fn unfinished_ids(&self, which: impl Fn(&Tracked) -> bool) -> Vec<ClientOrderId> {
        let mut ids: Vec<ClientOrderId> =
            self.unfinished().filter(|order| which(order)).map(|order| order.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// Orders of which a believed position has counted units already, by their numbers.
    pub(super) fn counted_ahead(&self) -> impl Iterator<Item = &Tracked> {
        let orders = self.ahead.iter().chain(&self.stale).filter_map(|place| self.at(*place));
        let ahead = orders.filter(|order| !order.counted_ahead.is_zero());
        ahead.map(|order| (&order.id, order)).collect::<BTreeMap<_, _>>().into_values()
    }

    fn at(&self, place: usize) -> Option<&Tracked> {
        self.all.get(place).map(|entry| &*entry.order)
    }

    fn stale_entries(&self) -> impl Iterator<Item = &Entry> {
        self.stale.iter().filter_map(|place| self.all.get(*place))
    }
}

impl Entry {
    /// By how much the count and the units of an order differ from what was counted of it.
    fn change(&self) -> (i128, i128) {
        let after = is_unfinished(&self.order).then(|| i128::from(self.order.left().get()));
        let count = i128::from(after.is_some()) - i128::from(self.counted.is_some());
        (count, after.unwrap_or(0) - self.counted.unwrap_or(0))
    }
}

/// Two are equal if their orders are: the sums follow from them.
impl PartialEq for AllOrders {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

impl Eq for AllOrders {}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Now;
    use nirantar_brokers::{Exchange, MarketProtection, OrderRequest, OrderStatus, OrderType, Quantity};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert { book: Book, side: Side, other: bool },
        Become(usize, usize),
        Fill(usize, u64),
        Settle,
        DropFinished,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (books, sides) = ([Book::Live, Book::Paper], [Side::Buy, Side::Sell]);
        prop_oneof![
            3 => (0..2_usize, 0..2_usize, any::<bool>())
                .prop_map(move |(book, side, other)| Step::Insert { book: books[book], side: sides[side], other }),
            4 => (0..20_usize, 0..OrderStatus::ALL.len()).prop_map(|(which, status)| Step::Become(which, status)),
            3 => (0..20_usize, 0..12_u64).prop_map(|(which, filled)| Step::Fill(which, filled)),
            2 => Just(Step::Settle),
            1 => Just(Step::DropFinished),
        ]
    }

    fn instrument(other: bool) -> InstrumentKey {
        InstrumentKey::new(Exchange::Nse, if other { "TCS" } else { "INFY" })
    }

    proptest! {
        #[test]
        fn the_sums_are_those_of_a_scan_of_all_orders(steps in proptest::collection::vec(step(), 0..60)) {
            let mut orders = AllOrders::default();
            for (number, step) in (1_u64..).zip(steps) {
                let id = |which: usize| ClientOrderId::numbered(1, which as u64 + 1);
                match step {
                    Step::Insert { book, side, other } => {
                        let market = OrderType::Market(MarketProtection::Automatic);
                        let request = OrderRequest::new(instrument(other), side, 10, market);
                        let id = ClientOrderId::numbered(1, number);
                        orders.insert(id.clone(), Tracked::new(id, book, request, Now::default()));
                    }
                    Step::Become(which, status) => {
                        if let Some(order) = orders.get_mut(&id(which)) {
                            order.status = OrderStatus::ALL[status];
                        }
                    }
                    Step::Fill(which, filled) => {
                        if let Some(order) = orders.get_mut(&id(which)) {
                            order.filled = Quantity::new(filled);
                        }
                    }
                    Step::Settle => orders.settle(),
                    Step::DropFinished => orders.retain(|order| !order.status.is_final()),
                }
                for book in [Book::Live, Book::Paper] {
                    let open: Vec<&Tracked> =
                        orders.values().filter(|order| order.book == book && is_unfinished(order)).collect();
                    prop_assert_eq!(orders.working(book) as usize, open.len());
                    prop_assert_eq!(orders.unfinished().filter(|order| order.book == book).count(), open.len());
                    for (side, other) in [(Side::Buy, false), (Side::Sell, false), (Side::Buy, true), (Side::Sell, true)] {
                        let key = instrument(other);
                        let same = |order: &&&Tracked| order.request.side == side && order.request.instrument == key;
                        let units: i128 = open.iter().filter(same).map(|order| i128::from(order.left().get())).sum();
                        prop_assert_eq!(orders.units(book, &key, side), units);
                    }
                }
            }
        }
    }
}
