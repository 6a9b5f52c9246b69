//! A made-up day: a seeded random walk, about one tick a second per instrument, in whole ticks of price.
//!
//! It claims no realism beyond this: prices move by small multiples of the tick and stay above zero, volume only rises,
//! and an index has none. The same seed gives the same day on every machine.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{Instrument, InstrumentKind, Price, Quantity};

use super::{PriceEvent, PriceSource};
use crate::Calendar;

/// Step of an index, which has no tick of its own.
const INDEX_STEP: Price = Price::from_paise(5);

/// A seeded walk over some instruments.
#[derive(Clone, Debug)]
pub struct Walk {
    walkers: Vec<Walker>,
    /// When each walker moves next, and its place in `walkers`.
    due: BTreeSet<(Timestamp, usize)>,
    rng: Rng,
    date: NaiveDate,
}

#[derive(Clone, Debug)]
struct Walker {
    instrument: Instrument,
    step: Price,
    price: Price,
    volume: u64,
    close: Timestamp,
}

impl Walk {
    /// A day of these instruments, each from its start price, through the continuous session that `calendar` gives its
    /// exchange on `date` (15:15 is the end of cash since 2026-08-03, 15:30 before). An instrument whose exchange is
    /// closed that day gets no price.
    #[must_use]
    pub fn new(seed: u64, instruments: &[(Instrument, Price)], calendar: &Calendar, date: NaiveDate) -> Self {
        let mut walk = Self { walkers: Vec::new(), due: BTreeSet::new(), rng: Rng::from_seed(seed), date };
        for (instrument, start) in instruments {
            let Some((open, close)) = calendar.continuous_on(instrument.key.exchange, date) else { continue };
            let step = if instrument.tick > Price::ZERO { instrument.tick } else { INDEX_STEP };
            let price = start.floor_to(step).max(step);
            let first = open + Duration::from_millis(walk.rng.below(1_000));
            walk.due.insert((first, walk.walkers.len()));
            walk.walkers.push(Walker { instrument: instrument.clone(), step, price, volume: 0, close });
        }
        walk
    }
}

impl PriceSource for Walk {
    fn peek(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let (at, index) = self.due.pop_first()?;
        let walker = self.walkers.get_mut(index)?;
        walker.advance(&mut self.rng);
        let event = PriceEvent {
            at,
            instrument: walker.instrument.key.clone(),
            ltp: walker.price,
            volume: Quantity::new(walker.volume),
        };
        let next = at + Duration::from_millis(800 + self.rng.below(401));
        if next < walker.close {
            self.due.insert((next, index));
        }
        Some(event)
    }

    fn date(&self) -> NaiveDate {
        self.date
    }
}

impl Walker {
    /// Moves by up to about 0.02 % of the price either way, and trades a little.
    fn advance(&mut self, rng: &mut Rng) {
        let reach = (self.price.basis_points(2).units() / self.step.units()).max(1);
        let choices = u64::try_from(reach.saturating_mul(2).saturating_add(1)).unwrap_or(3);
        let steps = i64::try_from(rng.below(choices)).unwrap_or(0) - reach;
        let moved = Price::from_units(self.price.units().saturating_add(steps.saturating_mul(self.step.units())));
        self.price = moved.max(self.step);
        if self.instrument.kind != InstrumentKind::Index {
            let lots = 1 + rng.below(200);
            self.volume = self.volume.saturating_add(lots.saturating_mul(self.instrument.lot.get().max(1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::universe;

    /// A share and an index.
    fn some(date: NaiveDate) -> Vec<(Instrument, Price)> {
        let wanted = |instrument: &Instrument| ["RELIANCE", "NIFTY 50"].contains(&instrument.key.symbol.as_str());
        universe::with_start_prices(date).into_iter().filter(|(instrument, _)| wanted(instrument)).collect()
    }

    fn day(seed: u64, date: &str) -> Vec<PriceEvent> {
        let date: NaiveDate = date.parse().unwrap();
        let mut walk = Walk::new(seed, &some(date), &Calendar::nse(), date);
        let mut events = Vec::new();
        while let Some(at) = walk.peek() {
            let event = walk.next().unwrap();
            assert_eq!(event.at, at);
            events.push(event);
        }
        events
    }

    #[test]
    fn the_same_seed_is_the_same_day_and_another_seed_another() {
        let first = day(7, "2026-11-20");
        assert_eq!(first, day(7, "2026-11-20"));
        assert_ne!(first, day(8, "2026-11-20"));
    }

    #[test]
    fn prices_are_multiples_of_the_tick_about_once_a_second_and_time_never_goes_back() {
        let date: NaiveDate = "2021-04-12".parse().unwrap();
        let events = day(7, "2021-04-12");
        assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
        for (instrument, _) in &some(date) {
            let own: Vec<_> = events.iter().filter(|event| event.instrument == instrument.key).collect();
            let seconds = 6 * 3600 + 15 * 60;
            assert!((seconds * 95 / 100..seconds * 105 / 100).contains(&own.len()), "{}", own.len());
            let step = if instrument.tick > Price::ZERO { instrument.tick } else { INDEX_STEP };
            assert!(own.iter().all(|event| event.ltp > Price::ZERO && event.ltp.is_multiple_of(step)));
            let is_index = instrument.kind == InstrumentKind::Index;
            assert!(own.windows(2).all(|pair| if is_index {
                pair[1].volume.is_zero()
            } else {
                pair[0].volume < pair[1].volume
            }));
        }
    }

    #[test]
    fn a_walk_ends_with_continuous_trading_and_a_holiday_has_none() {
        let calendar = Calendar::nse();
        let (_, close) =
            calendar.continuous_on(nirantar_brokers::Exchange::Nse, "2026-11-20".parse().unwrap()).unwrap();
        assert!(day(1, "2026-11-20").iter().all(|event| event.at < close));
        assert!(day(1, "2026-11-24").is_empty());
    }
}
