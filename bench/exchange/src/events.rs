//! The stream: 60 % limit orders that rest, 30 % cancels of orders that are there, 10 % limit orders that cross. It
//! begins with a thousand that rest.
//!
//! With that mix a book keeps its size only if a crossing order takes three resting ones: 60 come, 30 are cancelled,
//! 30 are to be traded away. Real books keep their size, so that is what [`Size::Steady`] does. With smaller crossing
//! orders, as in [`Size::Growing`], the book grows by a tenth of the events: after a million of them 100,000 orders
//! rest, the most of them for ever, and what is measured is mostly how far away memory is.

use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{Price, Quantity, Side};
use nirantar_exchange_mock::matching::{Book, Fill, Key, Matcher, NewOrder, OwnBook, Record, Sink};

/// An event. Orders are numbered by the place of their event.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Limit { order: usize, account: u16, side: Side, tick: u32, quantity: u32 },
    Cancel { order: usize },
}

pub const ACCOUNTS: u64 = 100;

/// What becomes of the number of orders that rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It stays near a thousand: crossing orders want three times what a resting one has, a little more while more than
    /// a thousand rest and a little less otherwise, since chance alone would wander.
    Steady,
    /// Crossing orders want twice what a resting one has.
    Growing,
}

/// How many rest when crossing begins, and all the time where the size is steady.
const RESTING: usize = 1_000;

/// Events, and what they come to.
pub struct Stream {
    pub events: Vec<Event>,
    /// How many orders rest after the last.
    pub resting: usize,
}

/// Notes who is gone, so that cancels name orders that are there.
struct Census {
    gone: Vec<bool>,
    resting: usize,
}

impl Sink for Census {
    fn record(&mut self, record: Record) {
        if record.state.is_final() {
            self.gone[record.order] = true;
            self.resting -= 1;
        }
    }

    fn fill(&mut self, _: Fill) {}
}

/// That many events of that seed, round tick 20,000, with orders up to 100 ticks away.
pub fn stream(seed: u64, count: usize, size: Size) -> Stream {
    let mut rng = Rng::from_seed(seed);
    let mut matcher = Matcher::new(Book::new(Price::from_units(1)), OwnBook);
    let mut census = Census { gone: vec![false; count], resting: 0 };
    let mut live: Vec<(usize, Key)> = Vec::new();
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        let order = events.len();
        let side = if rng.below(2) == 0 { Side::Buy } else { Side::Sell };
        let (account, below) = (rng.below(ACCOUNTS) as u16, |rng: &mut Rng, bound| rng.below(bound) as u32);
        let event = match if order < RESTING { 0 } else { rng.below(10) } {
            0..6 => {
                let away = 1 + below(&mut rng, 100);
                let tick = if side == Side::Buy { 20_000 - away } else { 20_000 + away };
                Event::Limit { order, account, side, tick, quantity: 1 + below(&mut rng, 100) }
            }
            6 => {
                // A limit that no resting order is beyond: matchcore 0.4.0 does not stop at an incoming order's limit.
                let tick = if side == Side::Buy { 20_100 } else { 19_900 };
                let most = match size {
                    Size::Growing => 200,
                    Size::Steady if census.resting > RESTING => 350,
                    Size::Steady => 250,
                };
                Event::Limit { order, account, side, tick, quantity: 1 + below(&mut rng, most) }
            }
            _ => loop {
                if live.is_empty() {
                    break Event::Limit { order, account, side: Side::Buy, tick: 19_900, quantity: 1 };
                }
                let (order, key) = live.swap_remove(rng.below(live.len() as u64) as usize);
                if !census.gone[order] {
                    matcher.cancel(key, &mut census).unwrap();
                    break Event::Cancel { order };
                }
            },
        };
        if let Event::Limit { order, account, side, tick, quantity } = event {
            census.resting += 1;
            let new = new_order(order, account, side, tick, quantity);
            if let Some(key) = matcher.submit(&new, Timestamp::default(), &mut census).unwrap() {
                live.push((order, key));
            }
        }
        events.push(event);
    }
    Stream { events, resting: census.resting }
}

/// A limit order of the core; a tick is one unit of price.
pub fn new_order(order: usize, account: u16, side: Side, tick: u32, quantity: u32) -> NewOrder {
    NewOrder::limit(order, account, side, Price::from_units(tick.into()), Quantity::new(quantity.into()))
}
