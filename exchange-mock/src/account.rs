//! Positions, shares and money: what was bought and sold, what it cost, what resting orders block, and what is left to
//! trade with.
//!
//! Quantity and money are conserved: the settled cash plus what open positions cost is the opening cash plus all that
//! was received less all that was spent and charged, to the unit. A trading day is closed when the next one is opened:
//!
//! * what was earned is cash, and the day's charges are booked under their trade date;
//! * shares bought under CNC are paid and come into the demat account: on the next trading day they stand there as bought
//!   yesterday (T1), may be sold, and are settled at its end (T+1); those sold leave it, and what they brought is cash.
//!   On the day itself new orders may use only a part of that ([`MarginRates::cnc_sale_percent`]);
//! * every other open position goes on at what it cost; it is not marked to the market.
//!
//! Margins are approximate ([`MarginRates`]): a percentage of value, never SPAN. Charges ([`crate::charges`]) count from
//! the fill on, though brokers debit them at the day's end: paper should not have more to spend than is left.

mod demat;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Exchange, InstrumentKey, InstrumentKind, Margins, Money, Position, Price, Product, Quantity, Side,
};

use crate::charges::{DayCharges, Fill, Note, Segment, Tariff, Uncovered};
use crate::exchange::MarginRates;
use demat::Demat;
pub(crate) use demat::Lot;
use line::{Line, percent, share};

/// An instrument's place in the exchange's list.
pub(crate) type InstrumentNo = usize;

/// What an order, or what is left of it, ties up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) instrument: InstrumentNo,
    pub(crate) product: Product,
    pub(crate) side: Side,
    pub(crate) quantity: Quantity,
    pub(crate) price: Price,
}

/// Why an order may not be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Money.
    Funds { required: Money, available: Money },
    /// Shares to deliver.
    Shares { required: Quantity, available: Quantity },
    /// Nobody knows what it would cost.
    Rates(Uncovered),
}

/// One account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Cash when the day began.
    opening: Money,
    rates: MarginRates,
    demat: Demat,
    lines: BTreeMap<(InstrumentNo, Product), Line>,
    /// Where each instrument trades, and what it is.
    kinds: Vec<(Exchange, InstrumentKind)>,
    tariff: Option<Tariff>,
    today: Option<Today>,
    /// Contract notes of earlier days.
    notes: BTreeMap<NaiveDate, Note>,
}

/// The trading day that is open.
#[derive(Clone, Debug)]
struct Today {
    date: NaiveDate,
    /// Its last instant.
    last: Timestamp,
    charges: Option<DayCharges>,
    /// Why some fill of today is not charged.
    uncharged: Option<Uncovered>,
}

impl Account {
    pub(crate) fn new(opening: Money, rates: MarginRates, tariff: Option<Tariff>) -> Self {
        let demat = Demat::default();
        let (lines, kinds, notes) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { opening, rates, demat, lines, kinds, tariff, today: None, notes }
    }

    /// The next instrument is listed.
    pub(crate) fn list(&mut self, exchange: Exchange, kind: InstrumentKind) {
        self.kinds.push((exchange, kind));
    }

    /// What it holds from the start.
    pub(crate) fn hold(&mut self, holdings: BTreeMap<InstrumentNo, Lot>) {
        self.demat = Demat::new(holdings);
    }

    /// Whether the account can carry that order besides all that it carries.
    pub(crate) fn check(&self, claim: Claim) -> Result<(), Shortage> {
        let mut line = self.lines.get(&(claim.instrument, claim.product)).copied().unwrap_or_default();
        if claim.product == Product::Cnc && claim.side == Side::Sell {
            let available = self.sellable(claim.instrument, line);
            let enough = claim.quantity <= available;
            return if enough { Ok(()) } else { Err(Shortage::Shares { required: claim.quantity, available }) };
        }
        let before = line.margin(claim.product, self.rates);
        line.block(claim);
        let required = line.margin(claim.product, self.rates) - before;
        // An order that ties up nothing more is an exit: always allowed.
        if required > Money::ZERO {
            self.covered(claim).map_err(Shortage::Rates)?;
            let available = self.margins().available;
            if required > available {
                return Err(Shortage::Funds { required, available });
            }
        }
        Ok(())
    }

    /// An order rests, or rests with so many more.
    pub(crate) fn block(&mut self, claim: Claim) {
        self.line(claim).block(claim);
    }

    /// An order, or a part of it, rests no more.
    pub(crate) fn release(&mut self, claim: Claim) {
        let line = self.line(claim);
        let resting = line.resting(claim.side);
        resting.quantity = resting.quantity.less(claim.quantity);
        resting.value = resting.value - claim.value();
    }

    /// Counts a fill at `claim.price`, and what it costs. `before` is what the order had been filled for until then.
    pub(crate) fn fill(&mut self, claim: Claim, before: Money) {
        let line = self.line(claim);
        let left = line.net() < 0;
        line.fill(claim);
        let leaves = line.net() < 0;
        let Some((exchange, kind)) = self.kinds.get(claim.instrument).copied() else { return };
        let segment = Segment::of(kind, claim.product);
        let Some(Today { charges: Some(charges), uncharged, .. }) = &mut self.today else { return };
        let fill = Fill { exchange, segment, side: claim.side, worth: claim.value(), before };
        let mut counted = charges.fill(fill);
        if claim.product == Product::Cnc && left != leaves {
            counted = counted.and(charges.deliver(exchange, leaves));
        }
        *uncharged = uncharged.or(counted.err());
    }

    /// Whether a derivative of that number is held, long or short.
    pub(crate) fn holds(&self, instrument: InstrumentNo) -> bool {
        let open = |product| self.lines.get(&(instrument, product)).is_some_and(|line| line.net() != 0);
        open(Product::Mis) || open(Product::Nrml)
    }

    /// A derivative has ended: every position in it is closed at what it is worth. That of an option is charged as an
    /// exercise; one that ends worthless costs nothing, and neither does a future.
    pub(crate) fn settle(&mut self, instrument: InstrumentNo, worth: Price) {
        for product in [Product::Mis, Product::Nrml] {
            self.settle_in(instrument, product, worth);
        }
    }

    /// The same for the position in one product.
    pub(crate) fn settle_in(&mut self, instrument: InstrumentNo, product: Product, worth: Price) {
        let is_option = |kind| matches!(kind, InstrumentKind::Call | InstrumentKind::Put);
        let exercised = self.kinds.get(instrument).filter(|(_, kind)| is_option(*kind) && worth > Price::ZERO);
        let exercised = exercised.map(|(exchange, _)| *exchange);
        let Some(line) = self.lines.get_mut(&(instrument, product)).filter(|line| line.net() != 0) else { return };
        let (quantity, long) = (line.open(), line.net() > 0);
        let (side, held_by) = if long { (Side::Sell, Side::Buy) } else { (Side::Buy, Side::Sell) };
        let claim = Claim { instrument, product, side, quantity, price: worth };
        line.fill(claim);
        let (Some(exchange), Some(today)) = (exercised, &mut self.today) else { return };
        if let Some(charges) = today.charges.as_mut() {
            let (segment, worth) = (Segment::Exercise, claim.value());
            let counted = charges.fill(Fill { exchange, segment, side: held_by, worth, before: Money::ZERO });
            today.uncharged = today.uncharged.or(counted.err());
        }
    }

    /// Whether `now` is after the trading day that is open.
    pub(crate) fn day_is_over(&self, now: Timestamp) -> bool {
        self.today.as_ref().is_none_or(|today| now > today.last)
    }

    /// Opens the trading day of `now`, and closes the one before. `settles` says on which day what is bought on a day is
    /// delivered. Days do not go back.
    pub(crate) fn open_day(&mut self, now: Timestamp, settles: impl Fn(NaiveDate) -> NaiveDate) {
        if !self.day_is_over(now) {
            return;
        }
        if let Some(today) = self.today.take() {
            let settles = settles(today.date);
            self.close(today, settles);
        }
        let date = now.ist_date();
        self.demat.settle(date);
        let last = date.succ_opt().map_or(Timestamp::from_nanos(i64::MAX), |next| {
            let midnight = Timestamp::from_ist_parts(next, chrono::NaiveTime::MIN);
            Timestamp::from_nanos(midnight.as_nanos().saturating_sub(1))
        });
        let charges = self.tariff.as_ref().map(|tariff| tariff.day(date));
        self.today = Some(Today { date, last: last.max(now), charges, uncharged: None });
    }

    fn close(&mut self, today: Today, settles: NaiveDate) {
        if let Some(charges) = today.charges {
            self.opening = self.opening - charges.total();
            self.notes.insert(today.date, charges.note());
        }
        for ((instrument, product), line) in &mut self.lines {
            self.opening = self.opening + line.realised();
            if *product == Product::Cnc {
                self.opening = self.opening - line.signed_cost();
                match line.net() {
                    0 => {}
                    1.. => self.demat.receive(*instrument, line.open(), line.open_cost, settles),
                    _ => self.demat.deliver(*instrument, line.open()),
                }
                let (resting_buys, resting_sells) = (line.resting_buys, line.resting_sells);
                *line = Line { resting_buys, resting_sells, ..Line::default() };
            } else {
                *line = line.carried();
            }
        }
        self.lines.retain(|_, line| !line.is_empty());
    }

    pub(crate) fn margins(&self) -> Margins {
        let (mut cash, mut used, mut lent) = (self.opening - self.charged(), Money::ZERO, Money::ZERO);
        for ((_, product), line) in &self.lines {
            cash = cash + line.realised();
            used = used + line.margin(*product, self.rates);
            if *product == Product::Cnc && line.net() < 0 {
                lent = lent + percent(line.open_cost, self.rates.cnc_sale_percent);
            }
        }
        Margins { cash, available: cash - used + lent, used }
    }

    /// Cash when the day began.
    pub(crate) fn opening(&self) -> Money {
        self.opening
    }

    /// What the open day's trades cost so far.
    pub(crate) fn charged(&self) -> Money {
        self.today.as_ref().and_then(|today| today.charges.as_ref()).map_or(Money::ZERO, DayCharges::total)
    }

    /// Why some fill of the open day is not charged.
    pub(crate) fn uncharged(&self) -> Option<Uncovered> {
        self.today.as_ref().and_then(|today| today.uncharged)
    }

    /// The contract note of a day; of the open one so far.
    pub(crate) fn note(&self, date: NaiveDate) -> Option<Note> {
        let today = self.today.as_ref().filter(|today| today.date == date);
        let open = today.and_then(|today| Some(today.charges.as_ref()?.note()));
        open.or_else(|| self.notes.get(&date).cloned())
    }

    /// Worth of what is delivered out of the demat account today.
    pub(crate) fn delivered(&self) -> Money {
        let sold = self.lines.iter().filter(|((_, product), line)| *product == Product::Cnc && line.net() < 0);
        sold.fold(Money::ZERO, |sum, (_, line)| sum + line.open_cost)
    }

    /// Whether some margin in use is only a percentage of value.
    pub(crate) fn is_approximate(&self) -> bool {
        self.lines.iter().any(|((_, product), line)| *product != Product::Cnc && !line.is_empty())
    }

    /// Realised profit of one position since the day began; zero if there is none. Shares that are delivered out of the
    /// demat account gain on what they had cost on average.
    pub(crate) fn realised(&self, instrument: InstrumentNo, product: Product) -> Money {
        let Some(line) = self.lines.get(&(instrument, product)) else { return Money::ZERO };
        let delivered = if product == Product::Cnc && line.net() < 0 {
            let lot = self.demat.lot(instrument);
            line.open_cost - share(lot.cost, line.open(), lot.all())
        } else {
            Money::ZERO
        };
        line.realised() + delivered
    }

    /// What closing has brought today, all told.
    pub(crate) fn realised_today(&self) -> Money {
        self.lines.keys().fold(Money::ZERO, |sum, (instrument, product)| sum + self.realised(*instrument, *product))
    }

    /// What the open positions would bring at these prices; shares in the demat account are no position.
    pub(crate) fn unrealised(&self, last: impl Fn(InstrumentNo) -> Option<Price>) -> Money {
        let open = self.lines.iter().filter(|((_, product), line)| line.net() > 0 || *product != Product::Cnc);
        open.fold(Money::ZERO, |sum, ((instrument, _), line)| {
            let Some(worth) = last(*instrument).and_then(|last| last.times(line.open())) else { return sum };
            sum + if line.net() >= 0 { worth - line.open_cost } else { line.open_cost - worth }
        })
    }

    /// What is left of a holding after today's deliveries.
    pub(crate) fn held(&self, instrument: InstrumentNo) -> Lot {
        self.demat.lot(instrument).less(self.leaving(instrument))
    }

    /// How many shares today's trades deliver out of the demat account.
    pub(crate) fn leaving(&self, instrument: InstrumentNo) -> Quantity {
        let line = self.lines.get(&(instrument, Product::Cnc)).copied().unwrap_or_default();
        line.sold.less(line.bought)
    }

    /// Every share that is held, or was: with what the day began, before today's deliveries.
    pub(crate) fn holdings(&self) -> impl Iterator<Item = (InstrumentNo, Lot)> {
        self.demat.lots()
    }

    /// What the day began with in a position: units, signed, and what they cost, or brought.
    pub(crate) fn overnight(&self, instrument: InstrumentNo, product: Product) -> (i64, Money) {
        self.lines.get(&(instrument, product)).map_or((0, Money::ZERO), |line| (line.overnight, line.overnight_cost))
    }

    /// Every position there was today, flat ones too.
    pub(crate) fn positions<'a>(
        &'a self,
        name: impl Fn(InstrumentNo) -> Option<(InstrumentKey, Price)> + 'a,
    ) -> impl Iterator<Item = Position> + 'a {
        self.lines.iter().filter(|(_, line)| !(line.bought + line.sold).is_zero()).filter_map(
            move |((instrument, product), line)| {
                let (key, last_price) = name(*instrument)?;
                Some(Position {
                    instrument: key,
                    product: *product,
                    quantity: line.net(),
                    average_price: line.open_cost.per_unit(line.open()),
                    last_price,
                    bought: line.bought,
                    buy_value: line.buy_value,
                    sold: line.sold,
                    sell_value: line.sell_value,
                })
            },
        )
    }

    /// Shares free to deliver: held and bought today, less sold and offered already.
    fn sellable(&self, instrument: InstrumentNo, line: Line) -> Quantity {
        (self.demat.lot(instrument).all() + line.bought).less(line.sold + line.resting_sells.quantity)
    }

    /// Whether what the order would cost is known. Where nothing is charged, it is.
    fn covered(&self, claim: Claim) -> Result<(), Uncovered> {
        let (Some((exchange, kind)), Some(today)) = (self.kinds.get(claim.instrument).copied(), &self.today) else {
            return Ok(());
        };
        let segment = Segment::of(kind, claim.product);
        today.charges.as_ref().map_or(Ok(()), |charges| charges.covers(exchange, segment))
    }

    fn line(&mut self, claim: Claim) -> &mut Line {
        self.lines.entry((claim.instrument, claim.product)).or_default()
    }
}

impl Claim {
    fn value(self) -> Money {
        // Bounded when the order is checked; a saturated value would only tie up more.
        self.price.times(self.quantity).unwrap_or(Money::from_units(i64::MAX))
    }
}
