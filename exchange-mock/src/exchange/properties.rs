//! What holds for any sequence of orders, changes, ticks and waits.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, ClientOrderId, Depth, InstrumentKey, Level, MarketProtection, Money, OrderChange, OrderRequest,
    OrderRow, OrderStatus, OrderType, Price, Product, Quantity, Side, Validity,
};
use proptest::prelude::*;

use crate::matching::{FillsFrom, Latency};
use crate::{Calendar, Config, Latencies, MockExchange, Update, universe};

/// One input. Prices are steps of a rupee round 1,000, orders are named by their place.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Place {
        instrument: usize,
        side: Side,
        quantity: u64,
        order_type: OrderType,
        validity: Validity,
        product: Product,
    },
    Modify {
        order: usize,
        change: OrderChange,
    },
    Cancel {
        order: usize,
    },
    /// A tick, told so many seconds late.
    Tick {
        instrument: usize,
        price: i64,
        volume: u64,
        late: u64,
    },
    Wait {
        seconds: u64,
    },
}

const INSTRUMENTS: usize = 2;
const FRESHNESS: Duration = Duration::from_secs(5);
/// No order is on its way for longer.
const LONGEST_WAY: Duration = Duration::from_secs(10);

fn price(step: i64) -> Price {
    Price::from_paise((1_000 + step) * 100)
}

/// Five levels a rupee apart round a trade; the nearest has so many units.
fn depth(step: i64, units: u64) -> Depth {
    let level = |price, away: u64| Level { price, quantity: Quantity::new(units + away), orders: 1 };
    let away = |away: usize| i64::try_from(away).unwrap() + 1;
    Depth {
        buy: std::array::from_fn(|place| level(price(step - away(place)), place as u64)),
        sell: std::array::from_fn(|place| level(price(step + away(place)), place as u64)),
    }
}

/// What fills orders, and how far away the exchange is.
fn place() -> impl Strategy<Value = (FillsFrom, Latencies)> {
    let line = (0u64..3_000, 0u64..2_000).prop_map(|(least, spread)| {
        let [least, spread] = [least, spread].map(Duration::from_millis);
        Latency { least, spread }
    });
    let lines = (line.clone(), line).prop_map(|(order_entry, market_data)| Latencies { order_entry, market_data });
    (
        prop_oneof![Just(FillsFrom::LastPrice), Just(FillsFrom::Depth)],
        prop_oneof![2 => Just(Latencies::default()), 1 => lines],
    )
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn order_type() -> impl Strategy<Value = OrderType> {
    let protection =
        prop_oneof![Just(MarketProtection::Automatic), (1u16..500).prop_map(MarketProtection::BasisPoints)];
    prop_oneof![
        4 => (-8i64..8).prop_map(|step| OrderType::Limit(price(step))),
        2 => protection.clone().prop_map(OrderType::Market),
        1 => (-8i64..8, -2i64..3).prop_map(|(step, past)| {
            OrderType::StopLimit { trigger: price(step), limit: price(step + past) }
        }),
        1 => (-8i64..8, protection).prop_map(|(step, protection)| {
            OrderType::StopMarket { trigger: price(step), protection }
        }),
    ]
}

fn validity() -> impl Strategy<Value = Validity> {
    prop_oneof![
        6 => Just(Validity::Day),
        1 => Just(Validity::Ioc),
        1 => (1u16..3).prop_map(|minutes| Validity::Ttl { minutes })
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let product = prop_oneof![4 => Just(Product::Mis), 1 => Just(Product::Cnc)];
    let change = (
        proptest::option::of((1u64..60).prop_map(Quantity::new)),
        proptest::option::of(order_type()),
        proptest::option::weighted(0.2, validity()),
    )
        .prop_map(|(quantity, order_type, validity)| OrderChange { quantity, order_type, validity });
    prop_oneof![
        6 => (0..INSTRUMENTS, side(), 1u64..50, order_type(), validity(), product).prop_map(
            |(instrument, side, quantity, order_type, validity, product)| Input::Place {
                instrument, side, quantity, order_type, validity, product
            }
        ),
        2 => (0usize..30, change).prop_map(|(order, change)| Input::Modify { order, change }),
        1 => (0usize..30).prop_map(|order| Input::Cancel { order }),
        8 => (0..INSTRUMENTS, -10i64..10, 0u64..80, prop_oneof![4 => Just(0u64), 1 => 0u64..12]).prop_map(
            |(instrument, price, volume, late)| Input::Tick { instrument, price, volume, late }
        ),
        3 => (0u64..9).prop_map(|seconds| Input::Wait { seconds }),
    ]
}

/// An exchange under test and what an onlooker can know of it.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) exchange: MockExchange,
    keys: Vec<InstrumentKey>,
    pub(super) now: Timestamp,
    pub(super) ids: Vec<BrokerOrderId>,
    /// Orders asked for, those that were refused included.
    pub(super) asked: usize,
    volumes: [u64; INSTRUMENTS],
    /// The last tick accepted per instrument: price and stamp.
    ticks: [Option<(Price, Timestamp)>; INSTRUMENTS],
    updates: Vec<Update>,
}

impl Run {
    pub(super) fn new() -> Self {
        Self::with((FillsFrom::LastPrice, Latencies::default()))
    }

    fn with((fills, latency): (FillsFrom, Latencies)) -> Self {
        let instruments = universe::instruments("2026-11-20".parse().unwrap());
        let keys = instruments.iter().take(INSTRUMENTS).map(|instrument| instrument.key.clone()).collect();
        let config = Config { cash: opening(), freshness: FRESHNESS, fills, latency, ..Config::default() };
        Self {
            exchange: MockExchange::new(config, instruments, Calendar::nse()),
            keys,
            now: Timestamp::parse_ist("2026-11-20 15:05:00").unwrap(),
            ids: Vec::new(),
            asked: 0,
            volumes: [1_000; INSTRUMENTS],
            ticks: [None; INSTRUMENTS],
            updates: Vec::new(),
        }
    }

    /// The order that an input asks for.
    pub(super) fn request(&self, input: &Input) -> Option<OrderRequest> {
        let Input::Place { instrument, side, quantity, order_type, validity, product } = input else { return None };
        let order = OrderRequest::new(self.keys[*instrument].clone(), *side, *quantity, *order_type);
        Some(OrderRequest { validity: *validity, product: *product, ..order })
    }

    /// Feeds one input and returns what it caused.
    pub(super) fn feed(&mut self, input: &Input) -> Vec<Update> {
        match input.clone() {
            Input::Place { .. } => {
                let order = self.request(input).unwrap();
                let tag = ClientOrderId::numbered(1, self.asked as u64);
                self.asked += 1;
                self.ids.extend(self.exchange.place(&order, Some(&tag), self.now));
            }
            Input::Modify { order, change } => {
                if let Some(id) = self.ids.get(order) {
                    let _ = self.exchange.modify(id, &change, self.now);
                }
            }
            Input::Cancel { order } => {
                if let Some(id) = self.ids.get(order) {
                    let _ = self.exchange.cancel(id, self.now);
                }
            }
            Input::Tick { instrument, price: step, volume, late } => {
                self.volumes[instrument] += volume;
                let at = self.now - Duration::from_secs(late);
                let (key, day_volume) = (&self.keys[instrument], Quantity::new(self.volumes[instrument]));
                // Every seventh tick shows no depth.
                let depth = (volume % 7 != 0).then(|| depth(step, volume));
                self.exchange.tick(key, price(step), day_volume, depth.as_ref(), at);
                if self.ticks[instrument].is_none_or(|(_, last)| last <= at) {
                    self.ticks[instrument] = Some((price(step), at));
                }
            }
            Input::Wait { seconds } => {
                self.now = self.now + Duration::from_secs(seconds);
                self.exchange.wake(self.now);
            }
        }
        let updates = self.exchange.drain();
        self.updates.extend(updates.iter().cloned());
        updates
    }

    fn rows(&self) -> impl Iterator<Item = &OrderRow> {
        self.updates.iter().filter_map(|update| match update {
            Update::Order(row) => Some(&**row),
            Update::Trade(_) | Update::Expired(_) => None,
        })
    }
}

fn opening() -> Money {
    Money::from_rupees(10_000_000)
}

pub(super) fn inputs() -> impl Strategy<Value = Vec<Input>> {
    proptest::collection::vec(input(), 1..120)
}

/// The limit a row shows; `None` for a stop-market order that waits.
fn limit_of(row: &OrderRow) -> Option<Price> {
    row.order_type.limit()
}

proptest! {
    #[test]
    fn quantity_and_cash_are_conserved(inputs in inputs(), place in place()) {
        let mut run = Run::with(place);
        for input in &inputs {
            run.feed(input);
            let exchange = &run.exchange;
            let mut cost = Money::ZERO;
            for position in exchange.positions() {
                let own = exchange.trades().iter().filter(|trade| {
                    trade.instrument == position.instrument && trade.product == position.product
                });
                let net: i64 = own.map(|trade| trade.side.signed(trade.quantity)).sum();
                prop_assert_eq!(position.quantity, net);
                prop_assert!((position.quantity == 0) == (position.average_price == Price::ZERO));
                // What the open part cost, from the account's own words: realised = sold - bought + cost.
                let realised = exchange.realised(&position.instrument, position.product);
                cost = cost + realised - position.sell_value + position.buy_value;
                if position.quantity == 0 {
                    prop_assert_eq!(realised, position.sell_value - position.buy_value);
                }
            }
            let flow = exchange.trades().iter().fold(Money::ZERO, |sum, trade| {
                let worth = trade.price.times(trade.quantity).unwrap();
                if trade.side == Side::Sell { sum + worth } else { sum - worth }
            });
            prop_assert_eq!(exchange.margins().cash, opening() + flow + cost - exchange.funds().charges);
            for row in exchange.book() {
                let filled: u64 = exchange.trades_of(&row.order_id).unwrap().iter().map(|trade| trade.quantity.get()).sum();
                prop_assert_eq!(row.filled.get(), filled, "each fill is counted exactly once");
                prop_assert!(row.filled <= row.quantity);
                prop_assert_eq!(row.status == OrderStatus::Filled, row.filled == row.quantity);
            }
        }
        // With nothing resting, only positions tie money up: no claim was forgotten or released twice.
        for id in &run.ids {
            let _ = run.exchange.cancel(id, run.now);
        }
        run.exchange.wake(run.now + LONGEST_WAY);
        let used = run.exchange.positions().iter().fold(Money::ZERO, |used, position| {
            let realised = run.exchange.realised(&position.instrument, position.product);
            let cost = (realised - position.sell_value + position.buy_value).units().abs();
            let percent = if position.product == Product::Cnc { 100 } else { 20 };
            used + Money::from_units(cost * percent / 100)
        });
        prop_assert_eq!(run.exchange.margins().used, used);
    }

    #[test]
    fn no_fill_goes_through_a_limit_or_uses_a_stale_tick(inputs in inputs(), place in place()) {
        let mut run = Run::with(place);
        for input in &inputs {
            let mut limits: BTreeMap<BrokerOrderId, Price> = BTreeMap::new();
            for update in run.feed(input) {
                match update {
                    Update::Order(row) => {
                        limits.extend(limit_of(&row).map(|limit| (row.order_id.clone(), limit)));
                    }
                    Update::Trade(trade) => {
                        let limit = limits[&trade.order_id];
                        match trade.side {
                            Side::Buy => prop_assert!(trade.price <= limit),
                            Side::Sell => prop_assert!(trade.price >= limit),
                        }
                        let index = run.keys.iter().position(|key| *key == trade.instrument).unwrap();
                        let (_, at) = run.ticks[index].expect("a fill needs a tick");
                        prop_assert!(trade.at.since(at) <= FRESHNESS, "filled {} on a tick of {}", trade.at, at);
                    }
                    Update::Expired(_) => prop_assert!(false, "a share does not end"),
                }
            }
        }
    }

    #[test]
    fn rows_move_only_as_the_vocabulary_allows_and_end_once(inputs in inputs(), place in place()) {
        let mut run = Run::with(place);
        for input in &inputs {
            run.feed(input);
        }
        run.feed(&Input::Wait { seconds: LONGEST_WAY.as_secs() });
        let mut last: BTreeMap<&BrokerOrderId, OrderStatus> = BTreeMap::new();
        for row in run.rows() {
            if let Some(before) = last.insert(&row.order_id, row.status) {
                prop_assert!(!before.is_final(), "{before} was not the end");
                prop_assert!(before.become_(row.status).is_ok(), "{before} became {}", row.status);
            }
        }
        for row in run.exchange.book() {
            prop_assert_eq!(last[&row.order_id], row.status);
            prop_assert!(row.status.is_final() || matches!(row.status, OrderStatus::Open | OrderStatus::TriggerPending));
        }
    }

    #[test]
    fn no_tick_gives_more_than_its_volume(inputs in inputs()) {
        let mut run = Run::new();
        let mut left = [0; INSTRUMENTS];
        for input in &inputs {
            let volume = |run: &Run, index: usize| run.exchange.market(&run.keys[index]).map(|market| market.volume.get());
            let before: Vec<_> = (0..INSTRUMENTS).map(|index| volume(&run, index)).collect();
            let ticks = run.ticks;
            let updates = run.feed(input);
            for index in 0..INSTRUMENTS {
                if let Input::Tick { instrument, late, .. } = input
                    && *instrument == index
                    && ticks[index].is_none_or(|(_, last)| last <= run.now - Duration::from_secs(*late))
                {
                    // The first tick of the day offers the default, whatever its volume.
                    let first = Config::default().default_liquidity.get();
                    left[index] = before[index].map_or(first, |before| volume(&run, index).unwrap() - before);
                }
                // Own crosses buy as much as they sell; the rest came from the tick.
                let net: i64 = updates.iter().map(|update| match update {
                    Update::Trade(trade) if trade.instrument == run.keys[index] => trade.side.signed(trade.quantity),
                    _ => 0,
                }).sum();
                prop_assert!(net.unsigned_abs() <= left[index], "{net} of {}", left[index]);
                left[index] -= net.unsigned_abs();
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(inputs in inputs(), place in place()) {
        let (mut one, mut two) = (Run::with(place), Run::with(place));
        for input in &inputs {
            one.feed(input);
            two.feed(input);
        }
        prop_assert_eq!(one.updates, two.updates);
        prop_assert_eq!(one.exchange.margins(), two.exchange.margins());
    }

    #[test]
    fn a_better_price_and_then_an_earlier_order_is_served_first(
        orders in proptest::collection::vec((-8i64..8, 1u64..50), 1..20),
        ticks in proptest::collection::vec((-10i64..10, 0u64..80), 1..20),
        side in side(),
    ) {
        let mut run = Run::new();
        let mut queue: Vec<(i64, usize, u64)> = Vec::new();
        run.feed(&Input::Tick { instrument: 0, price: 0, volume: 0, late: 0 });
        for (place, (step, quantity)) in orders.iter().enumerate() {
            let order_type = OrderType::Limit(price(*step));
            let (validity, product) = (Validity::Day, Product::Mis);
            run.feed(&Input::Place { instrument: 0, side, quantity: *quantity, order_type, validity, product });
            queue.push((if side == Side::Buy { -step } else { *step }, place, *quantity));
        }
        queue.sort_unstable();
        for (step, volume) in ticks {
            run.feed(&Input::Tick { instrument: 0, price: step, volume, late: 0 });
            let mut left = volume;
            for (rank, _, open) in &mut queue {
                let reached = *rank <= if side == Side::Buy { -step } else { step };
                let taken = if reached { left.min(*open) } else { 0 };
                *open -= taken;
                left -= taken;
            }
            for (_, place, open) in &queue {
                let row = run.exchange.order(&run.ids[*place]).unwrap();
                prop_assert_eq!(row.quantity.less(row.filled).get(), *open);
            }
        }
    }

    #[test]
    fn no_number_however_large_makes_it_panic(
        times in proptest::collection::vec(any::<i64>(), 4),
        units in any::<(i64, i64, i64)>(),
        quantities in any::<(u64, u64, u64)>(),
        minutes in any::<u16>(),
        side in side(),
        in_market_hours in any::<bool>(),
    ) {
        let mut run = Run::new();
        let open = run.now;
        let mut times = times.into_iter().map(|nanos| if in_market_hours { open } else { Timestamp::from_nanos(nanos) });
        let mut time = move || times.next().unwrap_or(open);
        let key = run.keys[0].clone();
        run.exchange.price(&key, Price::from_units(units.0), Quantity::new(quantities.0), time());
        run.exchange.price(&key, price(0), Quantity::new(quantities.1), time());
        let types = [
            OrderType::Limit(Price::from_units(units.1)),
            OrderType::StopLimit { trigger: Price::from_units(units.1), limit: Price::from_units(units.2) },
            OrderType::Market(MarketProtection::BasisPoints(minutes)),
        ];
        for order_type in types {
            let mut order = OrderRequest::new(key.clone(), side, quantities.2, order_type);
            order.validity = Validity::Ttl { minutes };
            let _ = run.exchange.place(&order, None, time());
            order.quantity = Quantity::new(quantities.2 % 5_000_000 + 1);
            let _ = run.exchange.place(&order, None, time());
        }
        run.exchange.price(&key, price(1), Quantity::new(u64::MAX), time());
        run.exchange.wake(time());
        let _ = (run.exchange.positions(), run.exchange.margins(), run.exchange.next_wake(time()));
    }
}
