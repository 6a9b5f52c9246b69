//! The market's prices: a seeded walk, one step a tick, in whole ticks of price.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{InstrumentKey, Price, Quantity};
use nirantar_exchange_mock::universe;

/// One instrument's price.
#[derive(Clone, Debug)]
pub(super) struct Quoted {
    pub(super) key: Arc<InstrumentKey>,
    pub(super) price: Price,
    pub(super) volume: Quantity,
    step: Price,
    start: Price,
}

/// The instruments of a run.
#[derive(Clone, Debug)]
pub(super) struct Market {
    pub(super) quoted: Vec<Quoted>,
    /// When the last step was.
    pub(super) at: Timestamp,
    rng: Rng,
}

/// Steps a price moves at most in one tick.
const REACH: u64 = 5;

impl Market {
    /// The first so many shares that are built in, on that day.
    pub(super) fn new(seed: u64, date: NaiveDate, instruments: usize) -> Self {
        let shares =
            universe::with_start_prices(date).into_iter().filter(|(instrument, _)| instrument.tick > Price::ZERO);
        let quoted = shares.take(instruments).map(|(instrument, price)| Quoted {
            key: Arc::new(instrument.key),
            price,
            volume: Quantity::ZERO,
            step: instrument.tick,
            start: price,
        });
        Self { quoted: quoted.collect(), at: Timestamp::default(), rng: Rng::from_seed(seed ^ 0x3a_4ce7) }
    }

    /// A new day: volume counts from nothing, and prices are in that day's ticks. An exchange may change them.
    pub(super) fn open(&mut self, date: NaiveDate) {
        for quoted in &mut self.quoted {
            quoted.volume = Quantity::ZERO;
            quoted.step = universe::cash_tick(quoted.start, date);
            quoted.price = quoted.price.floor_to(quoted.step);
        }
    }

    /// Every price moves a little, never further than a tenth from where it began, and something is traded.
    pub(super) fn step(&mut self, at: Timestamp) {
        self.at = at;
        for quoted in &mut self.quoted {
            let roll = self.rng.next_u64();
            let steps = i64::try_from(roll % (2 * REACH + 1)).unwrap_or(0) - REACH as i64;
            let moved =
                Price::from_units(quoted.price.units().saturating_add(steps.saturating_mul(quoted.step.units())));
            let reach = quoted.start.units() / 10;
            if (moved.units() - quoted.start.units()).abs() <= reach {
                quoted.price = moved;
            }
            quoted.volume = quoted.volume + Quantity::new(200 + (roll >> 32) % 800);
        }
    }
}

/// How long a price fills orders where there is one every `tick`.
pub(super) fn freshness(tick: Duration) -> Duration {
    (tick * 3 / 2).max(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_in_ticks_of_their_day_also_when_the_exchange_changes_them() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let mut market = Market::new(5, day("2025-04-11"), 10);
        for date in [day("2025-04-11"), day("2025-04-15"), day("2025-04-16")] {
            market.open(date);
            let listed = universe::instruments(date);
            for minute in 0..500 {
                for quoted in &market.quoted {
                    let tick = listed.iter().find(|one| one.key == *quoted.key).unwrap().tick;
                    assert!(quoted.price.is_multiple_of(tick), "{date}, {minute}: {} at {}", quoted.key, quoted.price);
                }
                market.step(Timestamp::default());
            }
        }
    }
}
