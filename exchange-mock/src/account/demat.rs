//! Shares that are owned: settled ones, and those bought on the last trading day, which settle today (T+1).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use nirantar_brokers::{Money, Quantity};

use super::InstrumentNo;
use super::line::share;

/// The demat account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demat(BTreeMap<InstrumentNo, Lot>);

/// One share's holding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lot {
    /// Delivered.
    pub(crate) settled: Quantity,
    /// Bought on the trading day before; they may be sold, and are delivered at the end of today.
    pub(crate) t1: Quantity,
    /// What all of them cost.
    pub(crate) cost: Money,
    /// Last day on which `t1` is not settled.
    settles: Option<NaiveDate>,
}

impl Lot {
    pub(crate) fn new(settled: Quantity, t1: Quantity, cost: Money) -> Self {
        Self { settled, t1, cost, settles: None }
    }

    /// Settled or not.
    pub(crate) fn all(&self) -> Quantity {
        self.settled + self.t1
    }

    /// What is left when so many leave: settled shares first.
    pub(crate) fn less(&self, leaving: Quantity) -> Self {
        let leaving = leaving.min(self.all());
        let cost = self.cost - share(self.cost, leaving, self.all());
        let of_t1 = leaving.less(self.settled);
        Self { settled: self.settled.less(leaving), t1: self.t1.less(of_t1), cost, settles: self.settles }
    }

    fn settle(&mut self) {
        (self.settled, self.t1, self.settles) = (self.settled + self.t1, Quantity::ZERO, None);
    }
}

impl Demat {
    pub(super) fn new(lots: BTreeMap<InstrumentNo, Lot>) -> Self {
        Self(lots)
    }

    pub(super) fn lot(&self, instrument: InstrumentNo) -> Lot {
        self.0.get(&instrument).copied().unwrap_or_default()
    }

    /// Every share there is or was.
    pub(super) fn lots(&self) -> impl Iterator<Item = (InstrumentNo, Lot)> {
        self.0.iter().map(|(instrument, lot)| (*instrument, *lot))
    }

    /// The trading day that bought `quantity` is over: they are delivered at the end of `settles`.
    pub(super) fn receive(&mut self, instrument: InstrumentNo, quantity: Quantity, cost: Money, settles: NaiveDate) {
        let lot = self.0.entry(instrument).or_default();
        // What is still on its way was bought on an earlier day.
        lot.settle();
        (lot.t1, lot.cost, lot.settles) = (quantity, lot.cost + cost, Some(settles));
    }

    /// The trading day that sold `quantity` is over.
    pub(super) fn deliver(&mut self, instrument: InstrumentNo, quantity: Quantity) {
        let lot = self.0.entry(instrument).or_default();
        *lot = lot.less(quantity);
    }

    /// It is `today`: what was to be delivered by the end of an earlier day is there.
    pub(super) fn settle(&mut self, today: NaiveDate) {
        for lot in self.0.values_mut() {
            // What somebody held from the start without a date is on its way for that day.
            match lot.settles {
                Some(settles) if settles < today => lot.settle(),
                None if !lot.t1.is_zero() => lot.settles = Some(today),
                _ => {}
            }
        }
    }
}
