//! The matching core allocates nothing once its book has had its size and its range of prices: counted by an allocator
//! of this test's own, which is why it is a program of its own with one test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{Price, Quantity, Side};
use nirantar_exchange_mock::matching::{
    Book, Change, Fill, Key, Kind, LastPrice, Liquidity, MarketTick, Matcher, NewOrder, OwnBook, Positions, Record,
    SelfTrade, Sink,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe to write; this one counts and hands on")]
// SAFETY: every call is the system allocator's own, with the caller's arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TICK: i64 = 500;
const RESTING: usize = 300;
const EVENTS: usize = 10_000;

/// Hears everything and keeps a count.
struct Ear {
    fills: u64,
    ends: u64,
}

impl Sink for Ear {
    fn record(&mut self, record: Record) {
        self.ends += u64::from(record.state.is_final());
    }

    fn fill(&mut self, _: Fill) {
        self.fills += 1;
    }
}

struct Market<L> {
    matcher: Matcher<L>,
    sink: Positions<Ear>,
    rng: Rng,
    keys: Vec<Key>,
    orders: usize,
}

impl<L: Liquidity> Market<L> {
    fn new(liquidity: L) -> Self {
        let mut book = Book::new(Price::from_units(TICK));
        book.set_self_trade(SelfTrade::CancelResting);
        book.reserve(4 * RESTING);
        Self {
            matcher: Matcher::new(book, liquidity),
            sink: Positions::new(Ear { fills: 0, ends: 0 }),
            rng: Rng::from_seed(7),
            keys: Vec::with_capacity(4 * RESTING),
            orders: 0,
        }
    }

    fn price(&mut self) -> Price {
        Price::from_units((20_000 + self.rng.below(61) as i64 - 30) * TICK)
    }

    fn order(&mut self) -> NewOrder {
        self.orders += 1;
        let side = if self.rng.below(2) == 0 { Side::Buy } else { Side::Sell };
        let (limit, quantity) = (self.price(), Quantity::new(1 + self.rng.below(50)));
        let order = NewOrder::limit(self.orders, self.rng.below(9) as u16, side, limit, quantity);
        match self.rng.below(12) {
            0 => order.iceberg(5),
            1 => NewOrder { ioc: true, ..order },
            2 => NewOrder { kind: Kind::Market(20), ..order },
            3 => NewOrder { kind: Kind::StopMarket { trigger: limit, protection: 20 }, ..order },
            4 => NewOrder { kind: Kind::StopLimit { trigger: limit, limit }, ..order },
            _ => order,
        }
    }

    /// An order, a change, a cancel or a tick; never more orders than there is room for.
    fn step(&mut self, at: usize) {
        let now = Timestamp::from_nanos(at as i64);
        let chosen = self.rng.below(self.keys.len().max(1) as u64) as usize;
        match self.rng.below(10) {
            0..5 if self.keys.len() < RESTING => {
                let order = self.order();
                let key = self.matcher.submit(&order, now, &mut self.sink);
                self.keys.extend(key.ok().flatten());
            }
            5 if !self.keys.is_empty() => {
                let change = Change { open: Some(Quantity::new(1 + self.rng.below(60))), limit: Some(self.price()) };
                match self.matcher.modify(self.keys[chosen], change, now, &mut self.sink).ok().flatten() {
                    Some(key) => self.keys[chosen] = key,
                    None => drop(self.keys.swap_remove(chosen)),
                }
            }
            6 => {
                let (ltp, volume) = (self.price(), Quantity::new(self.rng.below(100)));
                self.matcher.tick(MarketTick { ltp, volume, at: now, open: true }, &mut self.sink);
            }
            _ if !self.keys.is_empty() => {
                // Some are gone already: filled, or cancelled by the rule.
                let key = self.keys.swap_remove(chosen);
                let _ = self.matcher.cancel(key, &mut self.sink);
            }
            _ => {}
        }
    }

    /// Allocations in as many events again as warmed the book up.
    fn allocations(mut self) -> u64 {
        (0..EVENTS).for_each(|at| self.step(at));
        let (before, fills) = (ALLOCATIONS.load(Ordering::Relaxed), self.sink.sink.fills);
        (EVENTS..2 * EVENTS).for_each(|at| self.step(at));
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        let ear = &self.sink.sink;
        assert!(ear.fills - fills > EVENTS as u64 / 10, "{} fills", ear.fills - fills);
        allocations
    }
}

#[test]
fn a_warm_book_allocates_nothing() {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![0u8; 64]));
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "the allocator counts");
    // The runner's other threads may allocate: what the core does, it does in every run, and that is none.
    assert_eq!((0..2).map(|_| Market::new(OwnBook).allocations()).min(), Some(0));
    assert_eq!((0..2).map(|_| Market::new(LastPrice::default()).allocations()).min(), Some(0));
}
