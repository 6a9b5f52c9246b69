//! A million random events against the [reference](super::reference): every fill, every end, the top of the book.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Price, Quantity, Side};

use super::reference::Reference;
use super::*;

const EVENTS: usize = 1_000_000;
const TICK: Price = Price::from_units(500);

/// SplitMix64 (Steele, Lea and Flood, 2014): quick without optimisation, and the same for ever.
struct Mix(u64);

impl Mix {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

#[derive(Default)]
struct Ear {
    fills: Vec<(OrderNo, u64, Price)>,
    ends: Vec<(OrderNo, u64)>,
}

impl Sink for Ear {
    fn record(&mut self, record: Record) {
        if record.state.is_final() {
            self.ends.push((record.order, record.open.get()));
        }
    }

    fn fill(&mut self, fill: Fill) {
        self.fills.push((fill.order, fill.quantity.get(), fill.price));
    }
}

struct Random {
    mix: Mix,
    middle: i64,
    orders: OrderNo,
}

impl Random {
    /// A price round a middle that wanders, and sometimes leaps out of the ladder's window.
    fn price(&mut self) -> Price {
        if self.mix.one_in(20_000) {
            self.middle = 1_000 + self.mix.below(40_000) as i64;
        }
        self.middle = (self.middle + self.mix.below(3) as i64 - 1).max(1_000);
        Price::from_units((self.middle + self.mix.below(31) as i64 - 15) * TICK.units())
    }

    fn order(&mut self) -> NewOrder {
        let side = if self.mix.one_in(2) { Side::Buy } else { Side::Sell };
        let (price, steps) = (self.price(), self.mix.below(10) as i64 * TICK.units());
        let quantity = Quantity::new(1 + self.mix.below(50));
        let kind = match self.mix.below(20) {
            0 => Kind::Market(1 + self.mix.below(30) as u16),
            1 => Kind::StopMarket { trigger: price, protection: 1 + self.mix.below(30) as u16 },
            2 => {
                let reach = if side == Side::Buy { steps } else { -steps };
                Kind::StopLimit { trigger: price, limit: price + Price::from_units(reach) }
            }
            _ => Kind::Limit(price),
        };
        let account = self.mix.below(4) as Account;
        let mut order = NewOrder { kind, ..NewOrder::limit(self.orders, account, side, price, quantity) };
        if self.mix.one_in(8) {
            order = order.iceberg(1 + self.mix.below(5));
        }
        order.ioc = self.mix.one_in(10);
        self.orders += 1;
        order
    }
}

fn run(rule: SelfTrade, seed: u64, events: usize) -> usize {
    let mut random = Random { mix: Mix(seed), middle: 20_000, orders: 0 };
    let mut matcher = Matcher::new(Book::new(TICK), OwnBook);
    matcher.book.set_self_trade(rule);
    let mut reference = Reference::new(TICK, rule);
    let (mut ear, mut keys): (Ear, Vec<(OrderNo, Key)>) = (Ear::default(), Vec::new());
    let mut fills = 0;
    for event in 0..events {
        let now = Timestamp::from_nanos(event as i64);
        // Some of these keys are of orders that are long gone.
        let chosen = random.mix.below(keys.len().max(1) as u64) as usize;
        match random.mix.below(if reference.open() > 300 { 20 } else { 10 }) {
            0..6 => {
                let order = random.order();
                let key = matcher.submit(&order, now, &mut ear);
                assert_eq!(key.is_ok(), reference.submit(&order), "{order:?}");
                keys.extend(key.ok().flatten().map(|key| (order.order, key)));
            }
            6..8 if !keys.is_empty() => {
                let (no, key) = keys[chosen];
                let open = random.mix.one_in(2).then(|| Quantity::new(random.mix.below(40)));
                let change = Change { open, limit: random.mix.one_in(3).then(|| random.price()) };
                // Nothing at another price is no change that an exchange would be asked for.
                if change.open != Some(Quantity::ZERO) || change.limit.is_none() {
                    let new = matcher.modify(key, change, now, &mut ear);
                    assert_eq!(new.is_ok(), reference.modify(no, change));
                    match new.ok().flatten() {
                        Some(new) => keys[chosen].1 = new,
                        None => drop(keys.swap_remove(chosen)),
                    }
                }
            }
            _ if !keys.is_empty() => {
                let (no, key) = keys.swap_remove(chosen);
                assert_eq!(matcher.cancel(key, &mut ear).is_ok(), reference.cancel(no));
            }
            _ => {}
        }
        fills += ear.fills.len();
        assert_eq!(ear.fills, reference.fills, "event {event}, {rule:?}, seed {seed}");
        assert_eq!(ear.ends, reference.ends, "event {event}, {rule:?}, seed {seed}");
        for side in [Side::Buy, Side::Sell] {
            assert_eq!(matcher.book.best(side), reference.best(side), "event {event}, {rule:?}, seed {seed}");
        }
        ear.fills.clear();
        ear.ends.clear();
        reference.fills.clear();
        reference.ends.clear();
    }
    fills
}

#[test]
fn a_million_random_events_give_the_same_fills_and_the_same_top_as_the_reference() {
    let rules = [SelfTrade::Trade, SelfTrade::CancelResting, SelfTrade::CancelIncoming];
    // A thread each: without optimisation this is the longest test of the crate.
    let fills: usize = std::thread::scope(|scope| {
        let run = |(seed, rule)| scope.spawn(move || run(rule, seed, EVENTS.div_ceil(rules.len())));
        let threads: Vec<_> = (1u64..).zip(rules).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(fills > EVENTS / 2, "{fills} fills");
}
