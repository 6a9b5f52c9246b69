//! Positions by account, counted from fills on their way to whoever listens.

use nirantar_brokers::{Money, Price, Quantity, Side};

use super::order::{Fill, OrderNo, Record, Sink};

/// What an account bought and sold in one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Units bought.
    pub bought: Quantity,
    /// What they cost.
    pub buy_value: Money,
    /// Units sold.
    pub sold: Quantity,
    /// What they brought.
    pub sell_value: Money,
}

impl Position {
    /// Units held; below zero when short.
    #[must_use]
    pub fn net(&self) -> i64 {
        self.bought.signed().saturating_sub(self.sold.signed())
    }

    /// What it is worth with the market at `last`, less what it cost: profit before charges.
    #[must_use]
    pub fn profit(&self, last: Price) -> Money {
        let open = last.times(Quantity::new(self.net().unsigned_abs())).unwrap_or(Money::from_units(i64::MAX));
        self.sell_value - self.buy_value + if self.net() < 0 { -open } else { open }
    }
}

/// A sink that counts positions and tells them on. Accounts are numbered from zero without large gaps: the table grows
/// to the highest that trades.
#[derive(Clone, Debug, Default)]
pub struct Positions<S> {
    lines: Vec<Position>,
    /// Who is told.
    pub sink: S,
}

impl<S: Sink> Positions<S> {
    /// No positions yet.
    #[must_use]
    pub const fn new(sink: S) -> Self {
        Self { lines: Vec::new(), sink }
    }

    #[inline(always)]
    fn count(&mut self, fill: Fill) {
        let place = usize::from(fill.account);
        if place >= self.lines.len() {
            self.make_room(place);
        }
        let Some(place) = self.lines.get_mut(place) else { return };
        // A value of its own until it is told: one told from where it was just written to would have to wait for that.
        let mut line = *place;
        match fill.side {
            Side::Buy => {
                line.bought = line.bought + fill.quantity;
                line.buy_value = line.buy_value + fill.value;
            }
            Side::Sell => {
                line.sold = line.sold + fill.quantity;
                line.sell_value = line.sell_value + fill.value;
            }
        }
        *place = line;
        self.sink.position(fill.account, line);
    }

    #[cold]
    fn make_room(&mut self, place: usize) {
        self.lines.resize(place + 1, Position::default());
    }

    /// By account; those past the end have none.
    #[must_use]
    pub fn lines(&self) -> &[Position] {
        &self.lines
    }
}

impl<S: Sink> Sink for Positions<S> {
    #[inline(always)]
    fn record(&mut self, record: Record) {
        self.sink.record(record);
    }

    #[inline(always)]
    fn fill(&mut self, fill: Fill) {
        self.sink.fill(fill);
        self.count(fill);
    }

    #[inline(always)]
    fn filled(&mut self, fill: Fill, record: Record) {
        self.sink.filled(fill, record);
        self.count(fill);
    }

    fn fired(&mut self, order: OrderNo, last: Price) {
        self.sink.fired(order, last);
    }

    fn protected_limit(&mut self, order: OrderNo, last: Price) -> Option<Price> {
        self.sink.protected_limit(order, last)
    }
}
