//! One position with the orders that rest on it.

use nirantar_brokers::{Money, Product, Quantity, Side};

use super::Claim;
use crate::exchange::MarginRates;

/// One position with the orders that rest on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Units the day began with, signed, and what they had cost, or brought. Counted in the sums below.
    pub(super) overnight: i64,
    pub(super) overnight_cost: Money,
    pub(super) bought: Quantity,
    pub(super) buy_value: Money,
    pub(super) sold: Quantity,
    pub(super) sell_value: Money,
    /// What the open quantity cost, or brought when short. Never negative.
    pub(super) open_cost: Money,
    pub(super) resting_buys: Resting,
    pub(super) resting_sells: Resting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) quantity: Quantity,
    pub(super) value: Money,
}

impl Line {
    pub(super) fn net(&self) -> i64 {
        self.bought.signed().saturating_sub(self.sold.signed())
    }

    /// How many are open, whichever way.
    pub(super) fn open(&self) -> Quantity {
        Quantity::new(self.net().unsigned_abs())
    }

    pub(super) fn resting(&mut self, side: Side) -> &mut Resting {
        match side {
            Side::Buy => &mut self.resting_buys,
            Side::Sell => &mut self.resting_sells,
        }
    }

    pub(super) fn block(&mut self, claim: Claim) {
        let resting = self.resting(claim.side);
        resting.quantity = resting.quantity + claim.quantity;
        resting.value = resting.value + claim.value();
    }

    pub(super) fn fill(&mut self, claim: Claim) {
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

    /// What closing has brought since the day began.
    pub(super) fn realised(&self) -> Money {
        self.sell_value - self.buy_value + self.signed_cost()
    }

    /// What the open quantity cost; below zero what it brought when short.
    pub(super) fn signed_cost(&self) -> Money {
        if self.net() >= 0 { self.open_cost } else { -self.open_cost }
    }

    /// The same position on the next day: nothing was traded yet, and orders have gone.
    pub(super) fn carried(&self) -> Self {
        let (net, open, cost) = (self.net(), self.open(), self.open_cost);
        let none = (Quantity::ZERO, Money::ZERO);
        let ((bought, buy_value), (sold, sell_value)) =
            if net >= 0 { ((open, cost), none) } else { (none, (open, cost)) };
        let (overnight, overnight_cost, open_cost) = (net, cost, cost);
        let (resting_buys, resting_sells) = (self.resting_buys, self.resting_sells);
        Self { overnight, overnight_cost, bought, buy_value, sold, sell_value, open_cost, resting_buys, resting_sells }
    }

    /// Whether nothing is left to be known of it.
    pub(super) fn is_empty(&self) -> bool {
        self.net() == 0 && self.resting_buys.quantity.is_zero() && self.resting_sells.quantity.is_zero()
    }

    /// The worse of the two ways it may go: all buys filled, or all sells.
    pub(super) fn margin(&self, product: Product, rates: MarginRates) -> Money {
        let net = self.net();
        let open = self.open();
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
pub(super) fn share(sum: Money, part: Quantity, whole: Quantity) -> Money {
    if whole.is_zero() {
        return Money::ZERO;
    }
    let share = i128::from(sum.units()) * i128::from(part.get()) / i128::from(whole.get());
    Money::from_units(i64::try_from(share).unwrap_or(i64::MAX))
}

pub(super) fn percent(sum: Money, percent: u8) -> Money {
    share(sum, Quantity::new(u64::from(percent)), Quantity::new(100))
}
