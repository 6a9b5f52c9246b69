//! The day's lists of instruments, whole, by symbol: orders need lot, tick, kind and freeze quantity, the feed the number,
//! the paper exchange all of it.
//!
//! A broker's list of one exchange has up to a hundred thousand rows; it is kept sorted behind one reference count, so
//! that a clone of the desk costs nothing. A list stays until the next one is here: what changed overnight the broker
//! judges itself, but a name that only an older list lacks is no unknown name.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerToken, Exchange, Instrument, InstrumentKey, InstrumentKind, Price, Quantity};
use nirantar_exchange_mock::FreezeTable;

/// Time of day, IST, from which the broker's list of instruments is the day's (kite.md 2.11).
const READY: Duration = Duration::from_secs(8 * 3600 + 30 * 60);

/// The day whose list a broker gives at that moment: before half past eight it is still yesterday's.
#[must_use]
pub fn list_day(now: Timestamp) -> NaiveDate {
    (now - READY).ist_date()
}

/// From when until when that is the same day.
#[must_use]
pub fn list_day_span(now: Timestamp) -> Range<Timestamp> {
    let midnight = |date| Timestamp::from_ist_parts(date, NaiveTime::MIN);
    let day = list_day(now);
    midnight(day) + READY..day.succ_opt().map_or(now, |next| midnight(next) + READY)
}

/// The broker's number of an instrument, and what orders in it must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its number; numbers are reused from one day to another.
    pub token: BrokerToken,
    /// What it is.
    pub kind: InstrumentKind,
    /// Quantity is a multiple of this.
    pub lot: Quantity,
    /// Prices are multiples of this.
    pub tick: Price,
    /// Most units of one order, if known.
    pub freeze: Option<Quantity>,
}

/// What the lists say of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It is listed, with these terms.
    Yes(Terms),
    /// The day's list of its exchange has no such name.
    No,
    /// There is no list of its exchange, or only an older one, which does not have it.
    NotKnownYet,
}

/// The lists of the exchanges that were fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listings {
    lists: BTreeMap<Exchange, List>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    day: NaiveDate,
    /// Sorted by symbol.
    rows: Arc<[Row]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    instrument: Instrument,
    freeze: Option<Quantity>,
}

impl Listings {
    /// Takes the lists of that day; of exchanges that have no row in it this says nothing. Returns how many rows each has.
    pub fn learn(
        &mut self,
        instruments: Vec<Instrument>,
        day: NaiveDate,
        freeze: &FreezeTable,
    ) -> BTreeMap<Exchange, usize> {
        let mut told: BTreeMap<Exchange, Vec<Row>> = BTreeMap::new();
        for instrument in instruments {
            let exchange = instrument.key.exchange;
            let freeze = freeze.most(exchange, &instrument.name, day);
            told.entry(exchange).or_default().push(Row { instrument, freeze });
        }
        let mut counts = BTreeMap::new();
        for (exchange, mut rows) in told {
            rows.sort_by(|one, other| one.instrument.key.symbol.cmp(&other.instrument.key.symbol));
            counts.insert(exchange, rows.len());
            self.lists.insert(exchange, List { day, rows: rows.into() });
        }
        counts
    }

    /// What is known of that name on that day.
    #[must_use]
    pub fn find(&self, instrument: &InstrumentKey, day: NaiveDate) -> Listed {
        let Some(list) = self.lists.get(&instrument.exchange) else { return Listed::NotKnownYet };
        match list.row(instrument) {
            Some(Row { instrument: Instrument { token, kind, lot, tick, .. }, freeze }) => {
                Listed::Yes(Terms { token: *token, kind: *kind, lot: *lot, tick: *tick, freeze: *freeze })
            }
            None if list.day >= day => Listed::No,
            None => Listed::NotKnownYet,
        }
    }

    /// Its row in the last list of its exchange.
    #[must_use]
    pub fn row(&self, instrument: &InstrumentKey) -> Option<&Instrument> {
        self.lists.get(&instrument.exchange)?.row(instrument).map(|row| &row.instrument)
    }

    /// Whether there is a list of that exchange, of whatever day.
    #[must_use]
    pub fn knows(&self, exchange: Exchange) -> bool {
        self.lists.contains_key(&exchange)
    }
}

impl List {
    fn row(&self, instrument: &InstrumentKey) -> Option<&Row> {
        let found = self.rows.binary_search_by(|row| row.instrument.key.symbol.cmp(&instrument.symbol));
        self.rows.get(found.ok()?)
    }
}

#[cfg(test)]
mod tests {
    use nirantar_exchange_mock::universe;

    use super::*;

    #[test]
    fn a_name_is_unknown_only_to_the_list_of_its_day() {
        let friday: NaiveDate = "2026-11-20".parse().unwrap();
        let mut lists = Listings::default();
        let (reliance, nonsense) =
            (InstrumentKey::new(Exchange::Nse, "RELIANCE"), InstrumentKey::new(Exchange::Nse, "RELIANCEX"));
        assert_eq!(lists.find(&reliance, friday), Listed::NotKnownYet);
        let counts = lists.learn(universe::instruments(friday), friday, &FreezeTable::nse());
        assert_eq!(counts.get(&Exchange::Nse), Some(&12));
        assert!(matches!(lists.find(&reliance, friday), Listed::Yes(terms) if terms.tick == Price::from_paise(10)));
        assert_eq!(lists.find(&nonsense, friday), Listed::No);
        let monday = "2026-11-23".parse().unwrap();
        assert!(matches!(lists.find(&reliance, monday), Listed::Yes(_)), "until Monday's list is here");
        assert_eq!(lists.find(&nonsense, monday), Listed::NotKnownYet, "it may be listed since");
        assert_eq!(lists.find(&InstrumentKey::new(Exchange::Nfo, "RELIANCE"), friday), Listed::NotKnownYet);
    }

    #[test]
    fn the_freeze_quantity_comes_with_the_list() {
        let day: NaiveDate = "2026-11-20".parse().unwrap();
        let mut future = universe::instruments(day).remove(0);
        future.key = InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT");
        future.name = "NIFTY".to_owned();
        let mut lists = Listings::default();
        lists.learn(vec![future.clone()], day, &FreezeTable::nse());
        let Listed::Yes(terms) = lists.find(&future.key, day) else { panic!("it is listed") };
        assert_eq!(terms.freeze, Some(Quantity::new(1_800)));
    }
}
