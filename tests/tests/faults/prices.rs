//! A market that trades thinly: orders fill in parts, over time.

use std::time::Duration;

use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{Instrument, InstrumentKey, Price, Quantity};
use nirantar_exchange_mock::prices::{PriceEvent, PriceSource};
use nirantar_exchange_mock::universe;

/// What is traded.
pub const SYMBOLS: [&str; 3] = ["RELIANCE", "INFY", "SBIN"];
/// Between two ticks while somebody trades.
const QUICK: Duration = Duration::from_millis(250);
/// Between two ticks otherwise; the feed is thought dead after 15 seconds.
const SLOW: Duration = Duration::from_secs(10);

/// A day of the three instruments in turn, by a seeded walk.
pub struct Prices {
    shares: Vec<Share>,
    turn: usize,
    due: Timestamp,
    busy_until: Timestamp,
    close: Timestamp,
    rng: Rng,
}

struct Share {
    key: InstrumentKey,
    tick: Price,
    price: Price,
    volume: u64,
}

/// The instruments with the price at which the day begins.
pub fn listed(date: chrono::NaiveDate) -> Vec<(Instrument, Price)> {
    let of_the_day = universe::with_start_prices(date);
    of_the_day.into_iter().filter(|(known, _)| SYMBOLS.contains(&known.key.symbol.as_str())).collect()
}

impl Prices {
    /// Ticks from `open` to `close`, many of them until `busy_until`.
    pub fn new(seed: u64, open: Timestamp, busy_until: Timestamp, close: Timestamp) -> Self {
        let share = |(listed, price): (Instrument, Price)| {
            let Instrument { key, tick, .. } = listed;
            Share { key, tick, price, volume: 0 }
        };
        let shares = listed(open.ist_date()).into_iter().map(share).collect();
        Self { shares, turn: 0, due: open, busy_until, close, rng: Rng::from_seed(seed) }
    }
}

impl PriceSource for Prices {
    fn peek(&self) -> Option<Timestamp> {
        Some(self.due).filter(|due| *due < self.close)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let at = self.peek()?;
        self.due = at + if at < self.busy_until { QUICK } else { SLOW };
        self.turn = (self.turn + 1) % self.shares.len();
        let share = &mut self.shares[self.turn];
        let steps = i64::try_from(self.rng.below(9)).unwrap() - 4;
        share.price = Price::from_units(share.price.units() + steps * share.tick.units());
        share.volume += 1 + self.rng.below(150);
        let volume = Quantity::new(share.volume);
        Some(PriceEvent { at, instrument: share.key.clone(), ltp: share.price, volume })
    }

    fn date(&self) -> chrono::NaiveDate {
        self.close.ist_date()
    }
}
