//! The contract note of one trade date as it grows with every fill: the work of a fill does not depend on those before it.

use chrono::NaiveDate;
use nirantar_brokers::{Exchange, Money, Side};

use super::rate::{Rate, Rounding};
use super::table::{ChargeTable, DayRates, SideRates};
use super::{Charges, Segment, Uncovered};

/// Segments of one exchange.
const SEGMENTS: usize = Segment::ALL.len();
/// Columns there may be.
const COLUMNS: usize = Exchange::ALL.len() * SEGMENTS;

/// One column of a contract note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Where.
    pub exchange: Exchange,
    /// What.
    pub segment: Segment,
    /// Orders that were filled, in part or whole; exercises count as orders.
    pub orders: u64,
    /// Worth of what was bought.
    pub bought: Money,
    /// Worth of what was sold.
    pub sold: Money,
    /// Scrips that left the demat account.
    pub delivered: u64,
    /// The lines.
    pub charges: Charges,
}

/// A trade date's charges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The trade date.
    pub date: NaiveDate,
    /// By exchange and segment, in that order; those without a trade are left out.
    pub columns: Vec<Column>,
}

impl Note {
    /// All columns together.
    #[must_use]
    pub fn charges(&self) -> Charges {
        self.columns.iter().fold(Charges::default(), |sum, column| sum + column.charges)
    }

    /// What all of it comes to.
    #[must_use]
    pub fn total(&self) -> Money {
        self.charges().total()
    }
}

/// A trade date's charges so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCharges {
    date: NaiveDate,
    rounding: Rounding,
    /// By exchange and segment.
    rates: [Result<DayRates, Uncovered>; COLUMNS],
    columns: [Column; COLUMNS],
    total: Money,
}

/// One more fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Where.
    pub exchange: Exchange,
    /// What.
    pub segment: Segment,
    /// Bought or sold.
    pub side: Side,
    /// Price times quantity.
    pub worth: Money,
    /// Worth of what the same order was filled with before.
    pub before: Money,
}

impl DayCharges {
    pub(super) fn new(table: &ChargeTable, broker: &str, rounding: Rounding, date: NaiveDate) -> Self {
        let place = |no: usize| {
            let exchange = Exchange::ALL.get(no / SEGMENTS).copied().unwrap_or(Exchange::Nse);
            (exchange, Segment::ALL.get(no % SEGMENTS).copied().unwrap_or(Segment::Delivery))
        };
        let (none, charges) = (Money::ZERO, Charges::default());
        Self {
            date,
            rounding,
            rates: std::array::from_fn(|no| {
                let (exchange, segment) = place(no);
                table.rates(broker, exchange, segment, date)
            }),
            columns: std::array::from_fn(|no| {
                let (exchange, segment) = place(no);
                Column { exchange, segment, orders: 0, bought: none, sold: none, delivered: 0, charges }
            }),
            total: none,
        }
    }

    /// The trade date.
    #[must_use]
    pub const fn date(&self) -> NaiveDate {
        self.date
    }

    /// Whether trades there have a price on this day.
    ///
    /// # Errors
    /// [`Uncovered`]: nobody knows what they cost.
    pub fn covers(&self, exchange: Exchange, segment: Segment) -> Result<(), Uncovered> {
        self.rates(exchange, segment).map(drop)
    }

    /// Counts a fill.
    ///
    /// # Errors
    /// [`Uncovered`]: nothing was counted.
    pub fn fill(&mut self, fill: Fill) -> Result<(), Uncovered> {
        let Fill { exchange, segment, side, worth, before } = fill;
        let rates = self.rates(exchange, segment)?;
        let rounding = self.rounding;
        let of = rates.side(side);
        let brokerage = of.brokerage_of(before + worth, rounding) - of.brokerage_of(before, rounding);
        let Some(column) = self.columns.get_mut(place_of(exchange, segment)) else { return Ok(()) };
        let was = column.charges.total();
        column.orders += u64::from(before == Money::ZERO);
        match side {
            Side::Buy => column.bought = column.bought + worth,
            Side::Sell => column.sold = column.sold + worth,
        }
        column.charges.brokerage = column.charges.brokerage + brokerage;
        column.reckon(&rates, rounding);
        self.total = self.total + (column.charges.total() - was);
        Ok(())
    }

    /// A scrip leaves the demat account today, or after all it does not.
    ///
    /// # Errors
    /// [`Uncovered`]: nothing was counted.
    pub fn deliver(&mut self, exchange: Exchange, leaves: bool) -> Result<(), Uncovered> {
        let rates = self.rates(exchange, Segment::Delivery)?;
        let Some(column) = self.columns.get_mut(place_of(exchange, Segment::Delivery)) else { return Ok(()) };
        column.delivered = if leaves { column.delivered.saturating_add(1) } else { column.delivered.saturating_sub(1) };
        let was = column.charges.dp;
        let one = rates.dp.of(Money::ZERO, None, self.rounding.rest).units();
        let all = i64::try_from(column.delivered).unwrap_or(i64::MAX).saturating_mul(one);
        column.charges.dp = Money::from_units(all);
        self.total = self.total + (column.charges.dp - was);
        Ok(())
    }

    /// What all of it comes to so far.
    #[must_use]
    pub const fn total(&self) -> Money {
        self.total
    }

    /// The contract note so far.
    #[must_use]
    pub fn note(&self) -> Note {
        let traded = |column: &&Column| column.orders > 0 || column.delivered > 0;
        Note { date: self.date, columns: self.columns.iter().filter(traded).copied().collect() }
    }

    fn rates(&self, exchange: Exchange, segment: Segment) -> Result<DayRates, Uncovered> {
        let payee = super::Payee::Exchange(exchange);
        self.rates.get(place_of(exchange, segment)).copied().unwrap_or(Err(Uncovered { date: self.date, payee }))
    }
}

impl Column {
    /// Every line but brokerage and depository, over the whole day.
    fn reckon(&mut self, rates: &DayRates, rounding: Rounding) {
        let (bought, sold) = (self.bought, self.sold);
        let Rounding { duties, rest } = rounding;
        let both = |item: fn(&SideRates) -> Rate, step| {
            let (buy, sell) = (item(&rates.buy), item(&rates.sell));
            if buy == sell {
                // One line of the whole turnover, rounded once.
                buy.of(bought + sold, None, step)
            } else {
                buy.of(bought, None, step) + sell.of(sold, None, step)
            }
        };
        let charges = &mut self.charges;
        charges.stt = both(|side| side.stt, duties);
        charges.exchange = both(|side| side.exchange, rest);
        charges.sebi = both(|side| side.sebi, rest);
        charges.stamp = both(|side| side.stamp, duties);
        charges.gst = rates.gst.of(charges.brokerage + charges.exchange + charges.sebi, None, rest);
    }
}

impl SideRates {
    /// Of an order that was filled for so much.
    fn brokerage_of(&self, worth: Money, rounding: Rounding) -> Money {
        let (rate, cap) = self.brokerage;
        if worth == Money::ZERO { Money::ZERO } else { rate.of(worth, cap, rounding.rest) }
    }
}

fn place_of(exchange: Exchange, segment: Segment) -> usize {
    exchange as usize * SEGMENTS + segment as usize
}
