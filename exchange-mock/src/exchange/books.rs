//! The account behind the exchange: its trading days, and what can be read of its shares, money and charges.

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Holding, InstrumentKey, Money, Price, Product, Quantity};

use super::{Funds, MockExchange};
use crate::Calendar;
use crate::account::InstrumentNo;
use crate::charges::{Note, Uncovered};

/// Days among which the next trading day is looked for.
const NEAR: usize = 15;

impl MockExchange {
    /// Opens the trading day of `at`; the one before is closed.
    pub(super) fn open_day(&mut self, at: Timestamp) {
        let calendar = &self.calendar;
        self.account.open_day(at, |date| settles(calendar, date));
    }

    /// The shares in the demat account, less what was sold today. Shares bought on the last trading day are its
    /// `t1_quantity`; they may be sold as well.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        let held = |(no, begun): (InstrumentNo, crate::account::Lot)| {
            let listing = self.listings.get(no)?;
            let left = self.account.held(no);
            let told = || self.config.holdings.iter().find(|holding| holding.instrument == listing.instrument.key);
            let last =
                listing.market.map(|market| market.last_price).or_else(|| told().map(|holding| holding.last_price));
            Some(Holding {
                instrument: listing.instrument.key.clone(),
                quantity: left.settled,
                t1_quantity: left.t1,
                average_price: begun.cost.per_unit(begun.all()),
                last_price: last.unwrap_or(Price::ZERO),
            })
        };
        self.account.holdings().filter(|(_, begun)| !begun.all().is_zero()).filter_map(held).collect()
    }

    /// How many shares of a holding were sold today.
    #[must_use]
    pub fn delivered(&self, key: &InstrumentKey) -> Quantity {
        self.by_key.get(key).map_or(Quantity::ZERO, |no| self.account.leaving(*no))
    }

    /// Money, item by item.
    #[must_use]
    pub fn funds(&self) -> Funds {
        let margins = self.account.margins();
        let delivered = self.account.delivered();
        let last = |no: InstrumentNo| Some(self.listings.get(no)?.market?.last_price);
        Funds {
            opening: self.account.opening(),
            cash: margins.cash,
            available: margins.available,
            used: margins.used,
            approximate: self.account.is_approximate(),
            realised: self.account.realised_today(),
            unrealised: self.account.unrealised(last),
            charges: self.account.charged(),
            delivered,
            withheld: delivered - (margins.available - margins.cash + margins.used),
        }
    }

    /// The contract note of a trade date; of today's as far as it goes. `None`: nothing was traded then, or nothing is
    /// charged here.
    #[must_use]
    pub fn contract_note(&self, date: NaiveDate) -> Option<Note> {
        self.account.note(date)
    }

    /// Why some fill of today is not charged: exits are never refused, and what one costs may not be known.
    #[must_use]
    pub fn uncharged(&self) -> Option<Uncovered> {
        self.account.uncharged()
    }

    /// What the day began with in a position: units, signed, and what they had cost, or brought when short.
    #[must_use]
    pub fn overnight(&self, key: &InstrumentKey, product: Product) -> (i64, Money) {
        self.by_key.get(key).map_or((0, Money::ZERO), |no| self.account.overnight(*no, product))
    }
}

/// The day at whose end shares bought on `date` are delivered: the next trading day.
fn settles(calendar: &Calendar, date: NaiveDate) -> NaiveDate {
    let next = date.iter_days().skip(1).take(NEAR).find(|day| calendar.is_trading_day(*day));
    next.or_else(|| date.succ_opt()).unwrap_or(date)
}
