//! Somebody who trades a lot: orders of every type in bursts, and changes and cancels of those that rest.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use nirantar::orders::Refused;
use nirantar_brokers::time::Rng;
use nirantar_brokers::{
    ClientOrderId, Exchange, InstrumentKey, MarketProtection, OrderChange, OrderRequest, OrderStatus, OrderType, Price,
    Quantity, Side, Validity, Venue,
};

use super::prices::{self, SYMBOLS};
use super::world::World;

/// Most orders that wait for the limits at once.
const MOST_WAITING: usize = 50;

/// The trader.
pub struct Trader {
    rng: Rng,
    /// Orders taken by the desk so far.
    pub taken: Vec<ClientOrderId>,
    /// Refused on the spot: nothing was written.
    turned_away: usize,
    pub cancels: usize,
    pub changes: usize,
    waiting: Vec<ClientOrderId>,
    recent: VecDeque<ClientOrderId>,
}

impl Trader {
    pub fn new(seed: u64) -> Self {
        let (taken, waiting, recent) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { rng: Rng::from_seed(seed), taken, turned_away: 0, cancels: 0, changes: 0, waiting, recent }
    }

    /// Trades for some seconds: at most `most` new orders.
    pub fn trade(&mut self, world: &mut World, most: usize) {
        let desk = world.core.desk();
        self.waiting.retain(|id| desk.order(id).is_some_and(|order| order.status == OrderStatus::Journalled));
        let room = MOST_WAITING.saturating_sub(self.waiting.len());
        let burst = usize::try_from(1 + self.rng.below(12)).unwrap().min(room).min(most);
        for _ in 0..burst {
            // Elsewhere than live there is nothing to find out here.
            if world.core.standing().route.venue != Venue::Live {
                break;
            }
            let order = self.order();
            match world.ask(|core, now, out| core.submit(order, now, out)) {
                Ok(id) => {
                    self.taken.push(id.clone());
                    self.waiting.push(id.clone());
                    self.recent.push_back(id);
                }
                Err(_) => self.turned_away += 1,
            }
            world.run_for(Duration::from_millis(self.rng.below(120)));
        }
        for _ in 0..self.rng.below(5) {
            self.touch(world);
            world.run_for(Duration::from_millis(self.rng.below(120)));
        }
        while self.recent.len() > 60 {
            self.recent.pop_front();
        }
        world.run_for(Duration::from_millis(500 + self.rng.below(3_000)));
    }

    /// Whether the broker's cap of the day is reached: orders have waited for longer than any shorter limit takes.
    pub fn is_capped(&self, world: &World) -> bool {
        let patience = Duration::from_secs(90);
        let waiting = self.waiting.iter().filter_map(|id| world.core.desk().order(id));
        let waiting = waiting.filter(|order| order.status == OrderStatus::Journalled);
        waiting.map(|order| order.submitted.mono).min().is_some_and(|oldest| world.now.mono.since(oldest) > patience)
    }

    /// Cancels or changes one of the orders of late.
    fn touch(&mut self, world: &mut World) {
        let index = usize::try_from(self.rng.below(u64::try_from(self.recent.len()).unwrap())).unwrap();
        let Some(id) = self.recent.get(index).cloned() else { return };
        let Some(order) = world.core.desk().order(&id).cloned() else { return };
        if order.status.is_final() {
            self.recent.remove(index);
            return;
        }
        let asked = if self.rng.below(10) < 4 {
            let quantity = order.filled.get() + 1 + self.rng.below(250);
            let mut change = OrderChange { quantity: Some(Quantity::new(quantity)), ..OrderChange::default() };
            if let OrderType::Limit(limit) = order.request.order_type {
                let step = i64::try_from(self.rng.below(9)).unwrap() - 4;
                let price = Price::from_units(limit.units() + step * 10 * tick(&order.request.instrument).units());
                change.order_type = Some(OrderType::Limit(price));
            }
            self.changes += 1;
            world.ask(|core, now, out| core.modify(&id, change, now, out))
        } else {
            self.cancels += 1;
            world.ask(|core, now, out| core.cancel(&id, now, out))
        };
        // A race that was lost, or an order that nobody knows yet: both may happen to anybody.
        if let Err(Refused::NoSuchOrder | Refused::NoQuantity) = asked {
            panic!("{id} is known and a change has a quantity: {asked:?}");
        }
    }

    fn order(&mut self) -> OrderRequest {
        let side = if self.rng.below(2) == 0 { Side::Buy } else { Side::Sell };
        let symbol = SYMBOLS[usize::try_from(self.rng.below(3)).unwrap()];
        let instrument = InstrumentKey::new(Exchange::Nse, symbol);
        let (tick, start) = (tick(&instrument), start(&instrument));
        let mut near = |ticks: u64| {
            let off = i64::try_from(self.rng.below(ticks * 2)).unwrap() - i64::try_from(ticks).unwrap();
            Price::from_units(start.units() + off * tick.units())
        };
        let (limit, trigger) = (near(60), near(90));
        let market = MarketProtection::Automatic;
        let order_type = match self.rng.below(20) {
            0..4 => OrderType::Market(market),
            4 | 5 => OrderType::StopMarket { trigger, protection: market },
            6 | 7 => OrderType::StopLimit { trigger, limit: trigger },
            _ => OrderType::Limit(limit),
        };
        let validity = match self.rng.below(10) {
            0 => Validity::Ioc,
            1 => Validity::Ttl { minutes: 1 },
            _ => Validity::Day,
        };
        // The exchange takes five million units at most: now and then it has to say no.
        let quantity = if self.rng.below(40) == 0 { 6_000_000 } else { 1 + self.rng.below(250) };
        let valid_for = Duration::from_secs(if self.rng.below(12) == 0 { 2 } else { 120 });
        OrderRequest { validity, valid_for, ..OrderRequest::new(instrument, side, quantity, order_type) }
    }
}

impl fmt::Display for Trader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, cancels, changes, turned_away, .. } = self;
        write!(f, "{} orders, {cancels} cancels, {changes} changes, {turned_away} turned away", taken.len())
    }
}

fn tick(instrument: &InstrumentKey) -> Price {
    listed(instrument).0
}

fn start(instrument: &InstrumentKey) -> Price {
    listed(instrument).1
}

fn listed(instrument: &InstrumentKey) -> (Price, Price) {
    let any_day = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    let mut listed = prices::listed(any_day).into_iter();
    let (found, start) = listed.find(|(known, _)| known.key == *instrument).unwrap();
    (found.tick, start)
}
