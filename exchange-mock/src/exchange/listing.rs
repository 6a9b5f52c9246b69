//! What is listed: each instrument with its market, its book, and where it stands.

use std::collections::BTreeSet;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Instrument, InstrumentKey, InstrumentKind, Price};

use super::phases::{Run, Traded};
use super::{MarketState, MockExchange, bands};
use crate::account::InstrumentNo;
use crate::calendar::Market;
use crate::matching::{Book, Matcher, Model};
use crate::universe;

/// One instrument's market.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) instrument: Instrument,
    pub(super) market: Option<MarketState>,
    pub(super) previous_close: Option<Price>,
    pub(super) matcher: Matcher<Model>,
    /// Its market's place in the exchange's list.
    pub(super) run: usize,
    /// Whether it is the derivative of a share.
    pub(super) of_stock: bool,
    /// Stopped by a fault.
    pub(super) halted: bool,
    /// By how many ticks its spread is wider on either side, by a fault.
    pub(super) wide: u32,
    /// By how much its band of the day has been made wider, in hundredths of a percent.
    pub(super) flex: i64,
    /// What was traded while the average for a band is taken.
    pub(super) traded: Traded,
    /// What our own auction, and the market's, came to last.
    pub(super) auction_price: Option<(Timestamp, Price)>,
    pub(super) print: Option<(Timestamp, Price)>,
}

impl Listing {
    fn new(instrument: Instrument, model: Model, run: usize, of_stock: bool) -> Self {
        Self {
            matcher: Matcher::new(Book::new(instrument.tick), model),
            instrument,
            market: None,
            previous_close: None,
            run,
            of_stock,
            halted: false,
            wide: 0,
            flex: 0,
            traded: Traded::default(),
            auction_price: None,
            print: None,
        }
    }
}

impl MockExchange {
    /// Lists these as well: a broker's list of the day may come after the exchange has opened. Of what is listed already
    /// the row is replaced, and its orders stay: of several with the same key, in one list or in two, the last counts.
    ///
    /// Which shares have a closing auction is judged by the derivatives among these and what was listed before.
    pub fn list(&mut self, instruments: Vec<Instrument>) {
        instruments.iter().for_each(|instrument| self.markets.learn(instrument));
        for instrument in instruments {
            match self.by_key.get(&instrument.key).copied() {
                Some(no) => self.relist(no, instrument),
                None => self.enlist(instrument),
            }
        }
    }

    /// Where orders rest, they stay in their market and on their tick.
    fn relist(&mut self, no: InstrumentNo, instrument: Instrument) {
        let (run, of_stock) = (self.run_of(&instrument), self.markets.is_of_stock(&instrument));
        let Some(listing) = self.listings.get_mut(no) else { return };
        self.by_token.insert(instrument.token, no);
        let other_tick = instrument.tick != listing.instrument.tick;
        // Orders are looked through only where the row says something new: one may be listed again with every order in it.
        let rests = || self.orders.iter().any(|order| order.instrument == no && !order.is_final());
        if (other_tick || run != listing.run) && !rests() {
            listing.run = run;
            if other_tick {
                listing.matcher.book = Book::new(instrument.tick);
            }
        }
        let told_expiry = instrument.expiry.is_some() && listing.instrument.expiry != instrument.expiry;
        (listing.instrument, listing.of_stock) = (instrument, of_stock);
        if told_expiry && self.account.holds(no) {
            self.watch_expiry(no);
        }
    }

    /// Lists what is named in a story of before and not listed yet, as far as its name tells what it is.
    pub(super) fn list_by_name<'a>(&mut self, named: impl Iterator<Item = &'a InstrumentKey>) {
        let unknown: BTreeSet<&InstrumentKey> = named.filter(|key| !self.by_key.contains(*key)).collect();
        self.list(unknown.into_iter().map(universe::by_name).collect());
    }

    fn enlist(&mut self, instrument: Instrument) {
        let (run, of_stock) = (self.run_of(&instrument), self.markets.is_of_stock(&instrument));
        let no = self.listings.len();
        self.by_key.insert(instrument.key.clone(), no);
        self.by_token.entry(instrument.token).or_insert(no);
        self.account.list(instrument.key.exchange, instrument.kind);
        self.listings.push(Listing::new(instrument, Model::new(self.config.fills), run, of_stock));
        if self.wide > 0 {
            self.widen_one(no, self.wide);
        }
    }

    /// The day of its market, which begins with the first instrument in it.
    fn run_of(&mut self, instrument: &Instrument) -> usize {
        let market = self.markets.market(instrument);
        let run = self.runs.iter().position(|run| run.market == market).unwrap_or(self.runs.len());
        if run == self.runs.len() {
            self.runs.push(Run::new(market));
            if self.clock > super::NEVER {
                self.locate_market(run, self.clock);
            }
        }
        run
    }
}

/// Which shares of what was listed have derivatives: they have a closing auction, the others trade on.
#[derive(Clone, Debug, Default)]
pub(super) struct Markets {
    shares: BTreeSet<String>,
    /// What derivatives are named after.
    underlyings: BTreeSet<String>,
    /// What is in both.
    both: BTreeSet<String>,
}

impl Markets {
    fn learn(&mut self, instrument: &Instrument) {
        let (here, there, name) = if instrument.kind == InstrumentKind::Equity {
            (&mut self.shares, &self.underlyings, &*instrument.key.symbol)
        } else if bands::is_derivative(instrument) {
            (&mut self.underlyings, &self.shares, &*instrument.name)
        } else {
            return;
        };
        if !here.contains(name) {
            here.insert(name.to_owned());
            if there.contains(name) {
                self.both.insert(name.to_owned());
            }
        }
    }

    /// Of a list without any share's derivatives nothing can be told: its shares count as having them.
    fn market(&self, instrument: &Instrument) -> Market {
        Market::of_instrument(instrument, self.both.is_empty() || self.both.contains(&*instrument.key.symbol))
    }

    fn is_of_stock(&self, instrument: &Instrument) -> bool {
        bands::is_derivative(instrument) && self.both.contains(&instrument.name)
    }
}
