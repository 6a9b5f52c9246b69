//! The same work with so many orders resting: instructions per event must not grow.
//!
//! `flat N EVENTS` fills a book with N orders, then runs EVENTS adds and cancels and crossings that leave N resting.
//! Under callgrind, the difference between two numbers of events is the work of the events, drawing chance included:
//! `bench/exchange/flat.sh`. Without it, it prints the nanoseconds per event.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the machine's own time")]

use std::time::Instant;

use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{Price, Quantity, Side};
use nirantar_exchange_mock::matching::{Book, Fill, Key, Matcher, NewOrder, OwnBook, Positions, Record, Sink};

struct Nobody;

impl Sink for Nobody {
    fn record(&mut self, record: Record) {
        std::hint::black_box(record);
    }

    fn fill(&mut self, fill: Fill) {
        std::hint::black_box(fill);
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().unwrap());
    let (resting, events) = (args.next().unwrap_or(10), args.next().unwrap_or(200_000));
    let mut rng = Rng::from_seed(1);
    let mut matcher = Matcher::new(Book::new(Price::from_units(1)), OwnBook);
    let mut sink = Positions::new(Nobody);
    let now = Timestamp::default();
    let mut submit = |matcher: &mut Matcher<OwnBook>, side: Side, tick: i64| -> Option<Key> {
        let order = NewOrder::limit(0, 0, side, Price::from_units(tick), Quantity::new(1));
        matcher.submit(&order, now, &mut sink).unwrap()
    };
    // All the chance there is, drawn before: a side, a distance, a choice.
    let chances: Vec<(Side, i64, u32)> = (0..resting + events)
        .map(|_| {
            let side = if rng.below(2) == 0 { Side::Buy } else { Side::Sell };
            (side, 1 + rng.below(100) as i64, rng.below(1 << 32) as u32)
        })
        .collect();
    let price = |side: Side, away: i64| if side == Side::Buy { 20_000 - away } else { 20_000 + away };
    let (filling, working) = chances.split_at(resting);
    let mut keys: Vec<Key> =
        filling.iter().filter_map(|(side, away, _)| submit(&mut matcher, *side, price(*side, *away))).collect();
    let place = |choice: u32, keys: &[Key]| ((u64::from(choice) * keys.len() as u64) >> 32) as usize;
    let next = working.iter().skip(1).chain(working.last());
    let start = Instant::now();
    for ((side, away, choice), (.., next)) in working.iter().zip(next) {
        // The list of keys is this program's, not the book's, and so is waiting for it: the next one is fetched now.
        std::hint::black_box(keys[place(*next, &keys)]);
        // A cancel of any order and a new one in its stead; one time in five a trade at the touch as well.
        let chosen = place(*choice, &keys);
        let _ = matcher.cancel(keys[chosen], &mut ());
        if let Some(key) = submit(&mut matcher, *side, price(*side, *away)) {
            keys[chosen] = key;
        }
        if choice % 5 == 0 {
            submit(&mut matcher, *side, price(*side, 0));
            submit(&mut matcher, side.opposite(), price(*side, 0));
        }
    }
    println!("{resting} resting: {:.1} ns an event", start.elapsed().as_nanos() as f64 / events as f64);
}
