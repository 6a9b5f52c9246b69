//! Positions and money: what was bought and sold, what resting orders block, and what is left to trade with.
//!
//! Quantity and money are conserved: the settled cash plus what open positions cost is the opening cash plus all that
//! was received less all that was spent, to the unit. Margins are approximate ([`MarginRates`]): a percentage of value,
//! never SPAN. Charges are not taken.

use std::collections::BTreeMap;

use nirantar_brokers::{InstrumentKey, Margins, Money, Position, Price, Product, Quantity, Side};

use crate::exchange::MarginRates;

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
}

/// One account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    opening: Money,
    rates: MarginRates,
    holdings: BTreeMap<InstrumentNo, Quantity>,
    lines: BTreeMap<(InstrumentNo, Product), Line>,
}

/// One position with the orders that rest on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    bought: Quantity,
    buy_value: Money,
    sold: Quantity,
    sell_value: Money,
    /// What the open quantity cost, or brought when short. Never negative.
    open_cost: Money,
    resting_buys: Resting,
    resting_sells: Resting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Resting {
    quantity: Quantity,
    value: Money,
}

impl Account {
    pub(crate) fn new(opening: Money, rates: MarginRates, holdings: BTreeMap<InstrumentNo, Quantity>) -> Self {
        Self { opening, rates, holdings, lines: BTreeMap::new() }
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
        let available = self.margins().available;
        // An order that ties up nothing more is an exit: always allowed.
        if required > Money::ZERO && required > available {
            return Err(Shortage::Funds { required, available });
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

    /// Counts a fill at `claim.price`.
    pub(crate) fn fill(&mut self, claim: Claim) {
        self.line(claim).fill(claim);
    }

    /// A day has ended: positions that are flat are gone, what they earned is cash.
    pub(crate) fn close_the_day(&mut self) {
        let flat = |line: &Line| line.net() == 0;
        let earned = self.lines.values().filter(|line| flat(line)).fold(Money::ZERO, |sum, line| sum + line.realised());
        self.opening = self.opening + earned;
        self.lines.retain(|_, line| !flat(line));
    }

    pub(crate) fn margins(&self) -> Margins {
        let mut cash = self.opening;
        let mut used = Money::ZERO;
        for ((_, product), line) in &self.lines {
            cash = cash + line.realised();
            used = used + line.margin(*product, self.rates);
        }
        Margins { cash, available: cash - used, used }
    }

    /// Realised profit of one position; zero if there is none.
    pub(crate) fn realised(&self, instrument: InstrumentNo, product: Product) -> Money {
        self.lines.get(&(instrument, product)).map_or(Money::ZERO, |line| line.realised())
    }

    /// What is left of a holding after today's deliveries.
    pub(crate) fn held(&self, instrument: InstrumentNo) -> Quantity {
        let held = self.holdings.get(&instrument).copied().unwrap_or_default();
        let line = self.lines.get(&(instrument, Product::Cnc)).copied().unwrap_or_default();
        held.less(line.sold.less(line.bought))
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
                    average_price: line.open_cost.per_unit(Quantity::new(line.net().unsigned_abs())),
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
        let held = self.holdings.get(&instrument).copied().unwrap_or_default();
        (held + line.bought).less(line.sold + line.resting_sells.quantity)
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

impl Line {
    fn net(&self) -> i64 {
        self.bought.signed().saturating_sub(self.sold.signed())
    }

    fn resting(&mut self, side: Side) -> &mut Resting {
        match side {
            Side::Buy => &mut self.resting_buys,
            Side::Sell => &mut self.resting_sells,
        }
    }

    fn block(&mut self, claim: Claim) {
        let resting = self.resting(claim.side);
        resting.quantity = resting.quantity + claim.quantity;
        resting.value = resting.value + claim.value();
    }

    fn fill(&mut self, claim: Claim) {
        let before = self.net();
        let adds = before == 0 || (before > 0) == (claim.side == Side::Buy);
        if adds {
            self.open_cost = self.open_cost + claim.value();
        } else {
            let open = Quantity::new(before.unsigned_abs());
            let closing = claim.quantity.min(open);
            self.open_cost = self.open_cost - share(self.open_cost, closing, open);
            let opening = Claim { quantity: claim.quantity.less(closing), ..claim };
            self.open_cost = self.open_cost + opening.value();
        }
        match claim.side {
            Side::Buy => {
                self.bought = self.bought + claim.quantity;
                self.buy_value = self.buy_value + claim.value();
            }
            Side::Sell => {
                self.sold = self.sold + claim.quantity;
                self.sell_value = self.sell_value + claim.value();
            }
        }
    }

    fn realised(&self) -> Money {
        let open = if self.net() >= 0 { self.open_cost } else { -self.open_cost };
        self.sell_value - self.buy_value + open
    }

    /// The worse of the two ways it may go: all buys filled, or all sells.
    fn margin(&self, product: Product, rates: MarginRates) -> Money {
        let net = self.net();
        let open = Quantity::new(net.unsigned_abs());
        let worst = if product == Product::Cnc {
            // Delivered shares are no exposure, whichever order sells them.
            let long = if net > 0 { self.open_cost } else { Money::ZERO };
            long + self.resting_buys.value
        } else {
            let (with, against) = if net >= 0 {
                (self.resting_buys, self.resting_sells)
            } else {
                (self.resting_sells, self.resting_buys)
            };
            let turned = share(against.value, against.quantity.less(open), against.quantity);
            (self.open_cost + with.value).max(turned)
        };
        percent(worst, rates.percent(product))
    }
}

/// `part` in `whole` of a sum, rounded down; all of it when they are equal, nothing of nothing.
fn share(sum: Money, part: Quantity, whole: Quantity) -> Money {
    if whole.is_zero() {
        return Money::ZERO;
    }
    let share = i128::from(sum.units()) * i128::from(part.get()) / i128::from(whole.get());
    Money::from_units(i64::try_from(share).unwrap_or(i64::MAX))
}

fn percent(sum: Money, percent: u8) -> Money {
    share(sum, Quantity::new(u64::from(percent)), Quantity::new(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(product: Product, side: Side, quantity: u64, rupees: i64) -> Claim {
        let price = Price::from_paise(rupees * 100);
        Claim { instrument: 0, product, side, quantity: Quantity::new(quantity), price }
    }

    fn account(rupees: i64) -> Account {
        Account::new(Money::from_rupees(rupees), MarginRates::default(), BTreeMap::new())
    }

    fn position(account: &Account) -> Position {
        account
            .positions(|_| Some((InstrumentKey::new(nirantar_brokers::Exchange::Nse, "X"), Price::ZERO)))
            .next()
            .unwrap()
    }

    #[test]
    fn average_price_and_profit_follow_the_fills_through_flat_and_short() {
        let mut account = account(100_000);
        account.fill(claim(Product::Mis, Side::Buy, 10, 100));
        account.fill(claim(Product::Mis, Side::Buy, 10, 110));
        assert_eq!(position(&account).average_price, Price::from_paise(10_500));
        account.fill(claim(Product::Mis, Side::Sell, 5, 120));
        assert_eq!(account.realised(0, Product::Mis), Money::from_rupees(75));
        assert_eq!(position(&account).average_price, Price::from_paise(10_500));
        account.fill(claim(Product::Mis, Side::Sell, 25, 100));
        assert_eq!((position(&account).quantity, position(&account).average_price), (-10, Price::from_paise(10_000)));
        assert_eq!(account.realised(0, Product::Mis), Money::ZERO);
        account.fill(claim(Product::Mis, Side::Buy, 10, 90));
        assert_eq!((position(&account).quantity, position(&account).average_price), (0, Price::ZERO));
        assert_eq!(
            account.margins(),
            Margins { cash: Money::from_rupees(100_100), available: Money::from_rupees(100_100), used: Money::ZERO }
        );
    }

    #[test]
    fn intraday_needs_a_fifth_and_delivery_all() {
        let account = account(10_000);
        assert_eq!(account.check(claim(Product::Cnc, Side::Buy, 100, 100)), Ok(()));
        let short = account.check(claim(Product::Cnc, Side::Buy, 101, 100));
        let expected = Shortage::Funds { required: Money::from_rupees(10_100), available: Money::from_rupees(10_000) };
        assert_eq!(short, Err(expected));
        assert_eq!(account.check(claim(Product::Mis, Side::Buy, 500, 100)), Ok(()));
        assert!(account.check(claim(Product::Mis, Side::Sell, 501, 100)).is_err());
    }

    #[test]
    fn resting_orders_tie_up_money_and_an_exit_needs_none() {
        let mut account = account(10_000);
        account.block(claim(Product::Mis, Side::Buy, 500, 100));
        assert_eq!(account.margins().available, Money::ZERO);
        assert!(account.check(claim(Product::Mis, Side::Buy, 1, 100)).is_err());
        account.release(claim(Product::Mis, Side::Buy, 500, 100));
        account.fill(claim(Product::Mis, Side::Buy, 500, 100));
        assert_eq!(account.margins().available, Money::ZERO);
        assert_eq!(account.check(claim(Product::Mis, Side::Sell, 500, 90)), Ok(()));
        assert!(account.check(claim(Product::Mis, Side::Sell, 1_500, 90)).is_err());
    }

    #[test]
    fn delivery_sells_only_what_is_held_or_was_bought_today() {
        let mut account = account(10_000);
        account.holdings.insert(0, Quantity::new(5));
        assert!(account.check(claim(Product::Cnc, Side::Sell, 6, 100)).is_err());
        account.fill(claim(Product::Cnc, Side::Buy, 1, 100));
        assert_eq!(account.check(claim(Product::Cnc, Side::Sell, 6, 100)), Ok(()));
        account.block(claim(Product::Cnc, Side::Sell, 6, 100));
        assert!(account.check(claim(Product::Cnc, Side::Sell, 1, 100)).is_err());
        account.release(claim(Product::Cnc, Side::Sell, 6, 100));
        account.fill(claim(Product::Cnc, Side::Sell, 6, 100));
        assert_eq!(account.held(0), Quantity::ZERO);
    }
}
