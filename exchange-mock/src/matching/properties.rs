//! What holds for any sequence of orders, changes, cancels and ticks, whatever the model of the market.

use std::collections::BTreeMap;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, Price, Quantity, Side};
use proptest::prelude::*;

use super::*;

/// One input. Orders are named by their place among those that rested; prices are steps round 1,000 ticks.
#[derive(Clone, Debug)]
enum Input {
    Submit { side: Side, kind: u8, step: i64, reach: i64, quantity: u64, legs: u64, ioc: bool, account: Account },
    Modify { order: usize, open: Option<u64>, step: Option<i64> },
    Cancel { order: usize },
    Tick { step: i64, volume: u64, late: i64, open: bool },
}

const TICK: Price = Price::from_paise(5);

fn price(step: i64) -> Price {
    Price::from_paise((1_000 + step) * 5)
}

fn input() -> impl Strategy<Value = Input> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let rest = (1u64..40, 1u64..6, proptest::bool::weighted(0.15), 0u16..3);
    prop_oneof![
        6 => (side, 0u8..8, -8i64..8, 0i64..4, rest).prop_map(|(side, kind, step, reach, rest)| {
            let (quantity, legs, ioc, account) = rest;
            Input::Submit { side, kind, step, reach, quantity, legs, ioc, account }
        }),
        2 => (0usize..20, proptest::option::of(1u64..40), proptest::option::of(-8i64..8))
            .prop_map(|(order, open, step)| Input::Modify { order, open, step }),
        2 => (0usize..20).prop_map(|order| Input::Cancel { order }),
        3 => (-8i64..8, 0u64..60, 0i64..3, proptest::bool::weighted(0.8))
            .prop_map(|(step, volume, late, open)| Input::Tick { step, volume, late, open }),
    ]
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    proptest::collection::vec(input(), 1..150)
}

/// Everything told, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Log(Vec<Told>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Record(Record),
    Fill(Fill),
    Position(Account, Position),
}

impl Sink for Log {
    fn record(&mut self, record: Record) {
        self.0.push(Told::Record(record));
    }

    fn fill(&mut self, fill: Fill) {
        self.0.push(Told::Fill(fill));
    }

    fn position(&mut self, account: Account, position: Position) {
        self.0.push(Told::Position(account, position));
    }
}

struct Run<L> {
    matcher: Matcher<L>,
    ear: Positions<Log>,
    keys: Vec<Option<Key>>,
    asked: Vec<NewOrder>,
    /// Units that changes added to an order, or took from it.
    changed: BTreeMap<OrderNo, i64>,
    now: i64,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

impl<L: Liquidity> Run<L> {
    fn new(liquidity: L) -> Self {
        let (matcher, ear) = (Matcher::new(Book::new(TICK), liquidity), Positions::new(Log::default()));
        Self { matcher, ear, keys: Vec::new(), asked: Vec::new(), changed: BTreeMap::new(), now: 0 }
    }

    /// Feeds one input and returns what it caused.
    fn feed(&mut self, input: &Input) -> Vec<Told> {
        self.now += 1;
        let before = self.ear.sink.0.len();
        match *input {
            Input::Submit { side, kind, step, reach, quantity, legs, ioc, account } => {
                let (trigger, reach) = (price(step), if side == Side::Buy { reach } else { -reach });
                let kind = match kind {
                    0 => Kind::Market(20),
                    1 => Kind::StopMarket { trigger, protection: 20 },
                    2 => Kind::StopLimit { trigger, limit: price(step + reach) },
                    _ => Kind::Limit(price(step)),
                };
                let new = NewOrder::limit(self.asked.len(), account, side, price(step), Quantity::new(quantity));
                let new = NewOrder { kind, ioc, ..if legs == 1 { new } else { new.iceberg(legs) } };
                if let Ok(key) = self.matcher.submit(&new, at(self.now), &mut self.ear) {
                    self.asked.push(new);
                    self.keys.push(key);
                }
            }
            Input::Modify { order, open, step } => {
                let Some(key) = self.keys.get(order).copied().flatten() else { return Vec::new() };
                let Some(old) = self.matcher.book.get(key) else { return Vec::new() };
                let change = Change { open: open.map(Quantity::new), limit: step.map(price) };
                self.keys[order] = self.matcher.modify(key, change, at(self.now), &mut self.ear).unwrap();
                let new = open.map_or(0, |open| open as i64 - old.open.signed());
                *self.changed.entry(order).or_default() += new;
            }
            Input::Cancel { order } => {
                if let Some(key) = self.keys.get(order).copied().flatten() {
                    let _ = self.matcher.cancel(key, &mut self.ear);
                }
            }
            Input::Tick { step, volume, late, open } => {
                let tick =
                    MarketTick { ltp: price(step), volume: Quantity::new(volume), at: at(self.now - late), open };
                self.matcher.tick(tick, &mut self.ear);
            }
        }
        self.ear.sink.0[before..].to_vec()
    }

    fn log(&self) -> &[Told] {
        &self.ear.sink.0
    }

    fn fills(&self) -> impl Iterator<Item = Fill> {
        fills(self.log())
    }
}

fn fills(told: &[Told]) -> impl Iterator<Item = Fill> {
    told.iter().filter_map(|told| if let Told::Fill(fill) = told { Some(*fill) } else { None })
}

/// What must hold after any sequence, whatever the market.
fn holds<L: Liquidity>(run: &mut Run<L>) -> Result<(), TestCaseError> {
    // Positions follow from the fills, to the unit and to the last fraction of a rupee.
    for (account, line) in run.ear.lines().iter().enumerate() {
        let own = || run.fills().filter(|fill| usize::from(fill.account) == account);
        let net: i64 = own().map(|fill| fill.side.signed(fill.quantity)).sum();
        let paid = own().fold(Money::ZERO, |sum, fill| {
            let worth = fill.price.times(fill.quantity).unwrap();
            if fill.side == Side::Buy { sum + worth } else { sum - worth }
        });
        prop_assert_eq!((line.net(), line.buy_value - line.sell_value), (net, paid));
    }
    // What was asked for is filled, is still wanted, or was cancelled; and an order ends once.
    run.matcher.end_day(&mut run.ear);
    prop_assert!(run.matcher.book.best(Side::Buy).is_none() && run.matcher.book.best(Side::Sell).is_none());
    let mut ends: BTreeMap<OrderNo, Record> = BTreeMap::new();
    for told in run.log() {
        match told {
            Told::Record(record) => {
                prop_assert!(!ends.contains_key(&record.order), "{:?} after its end", record);
                if record.state.is_final() {
                    ends.insert(record.order, *record);
                }
            }
            Told::Fill(fill) => prop_assert!(!ends.contains_key(&fill.order), "{:?} after its end", fill),
            Told::Position(..) => {}
        }
    }
    for (no, order) in run.asked.iter().enumerate() {
        let filled: u64 = run.fills().filter(|fill| fill.order == no).map(|fill| fill.quantity.get()).sum();
        let left = ends.get(&no).map(|end| end.open.get());
        let wanted = order.quantity.signed() + run.changed.get(&no).copied().unwrap_or(0);
        prop_assert_eq!(left.map(|left| left as i64 + filled as i64), Some(wanted));
        prop_assert_eq!(left == Some(0), ends[&no].state == State::Filled);
    }
    Ok(())
}

/// No fill is worse than the limit its order had by then.
fn stays_inside_limits(told: &[Told], limits: &mut BTreeMap<OrderNo, Price>) -> Result<(), TestCaseError> {
    for told in told {
        match told {
            Told::Record(record) => {
                limits.insert(record.order, record.limit);
            }
            Told::Fill(fill) => match fill.side {
                Side::Buy => prop_assert!(fill.price <= limits[&fill.order]),
                Side::Sell => prop_assert!(fill.price >= limits[&fill.order]),
            },
            Told::Position(..) => {}
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn quantity_and_cash_are_conserved_and_an_order_ends_once(
        inputs in inputs(),
        rule in prop_oneof![Just(SelfTrade::Trade), Just(SelfTrade::CancelResting), Just(SelfTrade::CancelIncoming)],
    ) {
        let mut alone = Run::new(OwnBook);
        alone.matcher.book.set_self_trade(rule);
        let mut replayed = Run::new(LastPrice::default());
        replayed.matcher.book.set_self_trade(rule);
        for input in &inputs {
            alone.feed(input);
            replayed.feed(input);
        }
        // Alone, all accounts together have nothing and have paid nothing.
        let lines = alone.ear.lines();
        prop_assert_eq!(lines.iter().map(Position::net).sum::<i64>(), 0);
        prop_assert_eq!(lines.iter().fold(Money::ZERO, |sum, line| sum + line.buy_value - line.sell_value), Money::ZERO);
        holds(&mut alone)?;
        holds(&mut replayed)?;
    }

    #[test]
    fn no_fill_goes_through_a_limit(inputs in inputs()) {
        let (mut alone, mut replayed) = (Run::new(OwnBook), Run::new(LastPrice::default()));
        let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
        for input in &inputs {
            stays_inside_limits(&alone.feed(input), &mut ours)?;
            stays_inside_limits(&replayed.feed(input), &mut theirs)?;
        }
    }

    #[test]
    fn a_tick_that_may_not_fill_fills_nothing_and_none_fills_an_order_that_came_after_it(inputs in inputs()) {
        let mut run = Run::new(LastPrice::default());
        let mut entered: BTreeMap<OrderNo, i64> = BTreeMap::new();
        for input in &inputs {
            let told = run.feed(input);
            match *input {
                Input::Tick { open, .. } if !open => prop_assert_eq!(told.len(), 0),
                Input::Tick { late, volume, .. } => {
                    let net: i64 = fills(&told).map(|fill| fill.side.signed(fill.quantity)).sum();
                    let crosses: u64 = fills(&told).map(|fill| fill.quantity.get()).sum();
                    prop_assert!(net.unsigned_abs() <= volume && crosses >= net.unsigned_abs());
                    // Our own orders may cross whenever they came; one alone needs the tick.
                    if fills(&told).count() == 1 {
                        let fill = fills(&told).next().unwrap();
                        prop_assert!(entered[&fill.order] <= run.now - late);
                    }
                }
                Input::Submit { .. } => {
                    // One that was refused is no order, and the last one keeps its time.
                    if let Some(last) = run.asked.len().checked_sub(1) {
                        entered.entry(last).or_insert(run.now);
                    }
                }
                Input::Modify { order, .. } => {
                    // It may have come again.
                    if let Some(working) = run.keys.get(order).copied().flatten().and_then(|key| run.matcher.book.get(key)) {
                        entered.insert(order, working.entered.as_unix_seconds());
                    }
                }
                Input::Cancel { .. } => {}
            }
        }
    }

    #[test]
    fn priority_by_price_and_then_by_time_is_never_broken(inputs in inputs()) {
        let mut run = Run::new(OwnBook);
        // Whole orders that trade with each other: what rests is served in the order in which it stood before.
        let plain = |input: &&Input| !matches!(input, Input::Submit { kind: 0..3, .. } | Input::Tick { .. });
        for input in inputs.iter().filter(plain) {
            let input = match input.clone() {
                Input::Submit { side, kind, step, reach, quantity, ioc, account, .. } => {
                    Input::Submit { side, kind, step, reach, quantity, legs: 1, ioc, account }
                }
                other => other,
            };
            let queue = |run: &Run<OwnBook>, side| -> Vec<(OrderNo, Price, u64, u64)> {
                let orders = run.matcher.book.orders(side);
                orders.map(|(_, it)| (it.order, it.limit, it.priority, it.open.get())).collect()
            };
            let before = [queue(&run, Side::Buy), queue(&run, Side::Sell)];
            let told = run.feed(&input);
            let mut passive = fills(&told).step_by(2).peekable();
            if let Some(first) = passive.peek() {
                let standing = &before[usize::from(first.side == Side::Sell)];
                let served: Vec<_> = passive.map(|fill| (fill.order, fill.quantity.get())).collect();
                for (place, (order, quantity)) in served.iter().enumerate() {
                    prop_assert_eq!(*order, standing[place].0);
                    prop_assert!(*quantity == standing[place].3 || place + 1 == served.len());
                }
            }
            for (side, better) in [(Side::Buy, true), (Side::Sell, false)] {
                for pair in queue(&run, side).windows(2) {
                    let (one, two) = (pair[0], pair[1]);
                    let sorted = if one.1 == two.1 { one.2 < two.2 } else { (one.1 > two.1) == better };
                    prop_assert!(sorted, "{:?} before {:?}", one, two);
                }
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes(inputs in inputs()) {
        let told = || {
            let (mut alone, mut replayed) = (Run::new(OwnBook), Run::new(LastPrice::default()));
            for input in &inputs {
                alone.feed(input);
                replayed.feed(input);
            }
            format!("{:?} {:?}", alone.log(), replayed.log()).into_bytes()
        };
        prop_assert!(told() == told());
    }
}
