//! Nirantar's core, from bare to everything: order records, positions, events out.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, Price, Quantity, Side};
use nirantar_exchange_mock::matching::{
    Account, Book, Fill, Key, Kind, MarketTick, Matcher, NewOrder, OwnBook, Position, Positions, Record, Sink, State,
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

/// An event as a ring to other threads carries it: in words, since those are what threads can hand each other.
///
/// | word | a record | a fill and its record | a position |
/// |---|---|---|---|
/// | 0 | order, account, side, state, 0 | order, account, side, state, 1 | account, 2 |
/// | 1 | limit | limit | units bought |
/// | 2 | open | quantity, open | what they cost |
/// | 3 | | price | units sold |
/// | 4 | | | what they brought |
///
/// Orders and quantities are 32 bits wide in the core.
type Out = [u64; 5];

/// The first word: an order (or none), an account, a side, a state, and what it is about.
#[inline(always)]
const fn first_word(order: usize, account: Account, side: Side, state: u8, what: u8) -> u64 {
    (order as u64) << 32 | (account as u64) << 16 | (side as u64) << 12 | (state as u64) << 4 | what as u64
}

/// A state with its cause in one number.
#[inline(always)]
const fn number(state: State) -> u8 {
    match state {
        State::Cancelled(cause) => cause as u8,
        State::Waiting => 4,
        State::Open => 5,
        State::Triggered => 6,
        State::Filled => 7,
    }
}

/// Small enough to stay in the first cache: whoever reads it keeps up.
const RING: usize = 1 << 7;

/// Keeps the day's order book, and writes every event into a ring.
pub struct Day {
    pub rows: Vec<Row>,
    ring: [Out; RING],
    next: usize,
    traded: u64,
}

impl Day {
    fn new(orders: usize) -> Self {
        // Touched now: fresh pages are the caller's, and are not what is measured.
        Self { rows: vec![BLANK; orders], ring: [Out::default(); RING], next: 0, traded: 0 }
    }

    /// Where the next event goes.
    #[inline(always)]
    fn out(&mut self) -> &mut Out {
        self.next += 1;
        &mut self.ring[self.next % RING]
    }
}

impl Sink for Day {
    #[inline(always)]
    fn record(&mut self, record: Record) {
        let Record { order, account, side, state, limit, open } = record;
        if let Some(row) = self.rows.get_mut(order) {
            (row.ended, row.open) = (state.is_final(), open.get() as u32);
        }
        let out = self.out();
        out[0] = first_word(order, account, side, number(state), 0);
        out[1] = limit.units() as u64;
        out[2] = open.get();
    }

    fn fill(&mut self, fill: Fill) {
        unreachable!("{fill:?} without its record");
    }

    #[inline(always)]
    fn filled(&mut self, fill: Fill, record: Record) {
        let Fill { order, account, side, quantity, price, value, open } = fill;
        let Record { state, limit, .. } = record;
        self.traded += quantity.get();
        if let Some(row) = self.rows.get_mut(order) {
            (row.ended, row.open) = (state.is_final(), open.get() as u32);
            row.filled += quantity.get() as u32;
            row.value = row.value + value;
        }
        let out = self.out();
        out[0] = first_word(order, account, side, number(state), 1);
        out[1] = limit.units() as u64;
        out[2] = quantity.get() << 32 | open.get();
        out[3] = price.units() as u64;
    }

    #[inline(always)]
    fn position(&mut self, account: Account, position: Position) {
        let Position { bought, buy_value, sold, sell_value } = position;
        let out = self.out();
        out[0] = first_word(0, account, Side::Buy, 0, 2);
        out[1] = bought.get();
        out[2] = buy_value.units() as u64;
        out[3] = sold.get();
        out[4] = sell_value.units() as u64;
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
