//! Nirantar's core, from bare to everything: order records, positions, events out.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, Price, Quantity, Side};
use nirantar_exchange_mock::matching::{
    Account, Book, Fill, Key, Kind, MarketTick, Matcher, NewOrder, OwnBook, Position, Positions, Record, Sink,
};

use crate::Engine;
use crate::events::{Event, new_order};

#[derive(Clone, Copy)]
pub enum Command {
    Limit(NewOrder),
    Cancel(usize),
}

/// Counts what was bought, and nothing else.
#[derive(Default)]
pub struct Counter(u64, Vec<Option<Key>>);

impl Sink for Counter {
    #[inline]
    fn record(&mut self, _: Record) {}

    #[inline]
    fn fill(&mut self, fill: Fill) {
        self.0 += fill.quantity.get();
    }
}

/// An order's row in the day's book, in one cache line.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Row {
    pub value: Money,
    pub key: Option<Key>,
    pub open: u32,
    pub filled: u32,
    pub ended: bool,
}

const BLANK: Row = Row { value: Money::ZERO, key: None, open: 0, filled: 0, ended: false };

/// Where an order's key is kept.
pub trait Keys {
    fn key(&mut self, order: usize) -> &mut Option<Key>;
}

impl Keys for Counter {
    fn key(&mut self, order: usize) -> &mut Option<Key> {
        &mut self.1[order]
    }
}

impl Keys for Day {
    #[inline]
    fn key(&mut self, order: usize) -> &mut Option<Key> {
        &mut self.rows[order].key
    }
}

impl<S: Sink + Keys> Keys for Positions<S> {
    #[inline]
    fn key(&mut self, order: usize) -> &mut Option<Key> {
        self.sink.key(order)
    }
}

/// An event as a ring to other threads would carry it.
#[derive(Clone, Copy)]
pub enum Out {
    Record(Record),
    Fill(Fill),
    Position(Account, Position),
}

/// Small enough to stay in the first cache: whoever reads it keeps up.
const RING: usize = 1 << 7;

/// Keeps the day's order book, and writes every event into a ring.
pub struct Day {
    pub rows: Vec<Row>,
    ring: [Option<Out>; RING],
    next: usize,
    traded: u64,
}

impl Day {
    fn new(orders: usize) -> Self {
        // Touched now: fresh pages are the caller's, and are not what is measured.
        Self { rows: vec![BLANK; orders], ring: [None; RING], next: 0, traded: 0 }
    }

    #[inline(always)]
    fn out(&mut self, event: Out) {
        self.ring[self.next % RING] = Some(event);
        self.next += 1;
    }

    pub fn told(&self) -> usize {
        self.next
    }
}

impl Sink for Day {
    #[inline(always)]
    fn record(&mut self, record: Record) {
        if let Some(row) = self.rows.get_mut(record.order) {
            (row.ended, row.open) = (record.state.is_final(), record.open.get() as u32);
        }
        self.out(Out::Record(record));
    }

    #[inline(always)]
    fn fill(&mut self, fill: Fill) {
        self.traded += fill.quantity.get();
        if let Some(row) = self.rows.get_mut(fill.order) {
            row.filled += fill.quantity.get() as u32;
            row.value = row.value + fill.price.times(fill.quantity).unwrap_or(Money::ZERO);
        }
        self.out(Out::Fill(fill));
    }

    #[inline(always)]
    fn position(&mut self, account: Account, position: Position) {
        self.out(Out::Position(account, position));
    }
}

pub struct With<S> {
    pub matcher: Matcher<OwnBook>,
    pub sink: S,
}

impl<S: Sink + Keys> With<S> {
    pub fn around(sink: S) -> Self {
        // Not `reserve`d: the peers' books have no such call.
        Self { matcher: Matcher::new(Book::new(Price::from_units(1)), OwnBook), sink }
    }

    #[inline]
    fn run(&mut self, command: &Command) {
        match command {
            Command::Limit(order) => {
                let key = self.matcher.submit(order, Timestamp::default(), &mut self.sink);
                *self.sink.key(order.order) = key.unwrap();
            }
            Command::Cancel(order) => {
                let key = self.sink.key(*order).take().unwrap();
                self.matcher.cancel(key, &mut self.sink).unwrap();
            }
        }
    }
}

fn translate(event: &Event) -> Command {
    match *event {
        Event::Limit { order, account, side, tick, quantity } => {
            Command::Limit(new_order(order, account, side, tick, quantity))
        }
        Event::Cancel { order } => Command::Cancel(order),
    }
}

macro_rules! engine {
    ($name:literal, $sink:ty, $new:expr, $traded:expr) => {
        impl Engine for With<$sink> {
            type Command = Command;
            const NAME: &'static str = $name;

            fn new(events: usize) -> Self {
                Self::around($new(events))
            }

            fn translate(event: &Event) -> Command {
                translate(event)
            }

            #[inline]
            fn apply(&mut self, command: &Command) {
                self.run(command);
            }

            fn traded(&self) -> u64 {
                $traded(&self.sink) / 2
            }
        }
    };
}

/// Matching only; nobody listens but a counter.
pub type Bare = With<Counter>;
/// Positions besides.
pub type Counted = With<Positions<Counter>>;
/// Order records and events besides: what the comparison is made with.
pub type Whole = With<Positions<Day>>;

engine!("nirantar, matching alone", Counter, |events| Counter(0, vec![None; events]), |sink: &Counter| sink.0);
engine!(
    "nirantar, and positions",
    Positions<Counter>,
    |events| Positions::new(Counter(0, vec![None; events])),
    |sink: &Positions<Counter>| sink.sink.0
);
engine!("nirantar", Positions<Day>, |events| Positions::new(Day::new(events)), |sink: &Positions<Day>| sink
    .sink
    .traded);

/// A market with as much as anybody wants a tick from the last price on both sides, and that many market orders of one
/// unit, alternately.
pub fn market(count: usize) -> (Whole, Vec<NewOrder>) {
    let mut engine = Whole::new(count + 2);
    let far = Quantity::new(u32::MAX.into());
    for (order, side, tick) in [(count, Side::Buy, 19_999), (count + 1, Side::Sell, 20_001)] {
        let deep = NewOrder::limit(order, 99, side, Price::from_units(tick), far);
        engine.matcher.submit(&deep, Timestamp::default(), &mut engine.sink).unwrap();
    }
    let ltp = Price::from_units(20_000);
    let tick = MarketTick { ltp, volume: Quantity::ZERO, at: Timestamp::default(), open: true };
    engine.matcher.tick(tick, &mut engine.sink);
    let order = |no| {
        let side = if no % 2 == 0 { Side::Buy } else { Side::Sell };
        NewOrder { kind: Kind::Market(100), ..NewOrder::limit(no, 0, side, Price::ZERO, Quantity::new(1)) }
    };
    (engine, (0..count).map(order).collect())
}
