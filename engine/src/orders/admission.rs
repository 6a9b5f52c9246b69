//! What the desk takes: rules of the instrument, the book an order belongs to, and what the account risks.
//!
//! Promise: what is refused here was neither written nor sent. Everything that may still be filled (resting, on its way,
//! waiting, unknown) counts as if it were; an exit is stopped by no bound of risk and by no missing list.

use nirantar_brokers::time::Now;
use nirantar_brokers::{Block, Book, ClientOrderId, Intent, OrderChange, OrderRequest, Quantity, Side, Venue};

use super::all::is_unfinished;
use super::risk::Beside;
use super::{Desk, Listed, OverLimit, Refused, Terms, Tracked, list_day, rules};
use crate::session::TradingMode;

impl Desk {
    /// Which book an order would go to now, if to any. `itself` is the order's number, if it was taken before and is looked
    /// at again.
    pub(super) fn admit(
        &self,
        request: &OrderRequest,
        itself: Option<&ClientOrderId>,
        now: Now,
    ) -> Result<Book, Refused> {
        if request.quantity.is_zero() {
            return Err(Refused::NoQuantity);
        }
        if self.mode == TradingMode::Halted {
            return Err(Refused::Blocked(Block::Halted));
        }
        let book = match (self.route.venue, request.intent) {
            // Blocked by the policy that takes no orders without a session: an exit is remembered all the same.
            (Venue::Paper | Venue::Blocked(Block::Halted), Intent::Reduce(Book::Live)) => {
                return Err(Refused::NoLiveSession);
            }
            (Venue::Paper, Intent::Open | Intent::Reduce(Book::Paper)) => Book::Paper,
            // What paper holds can be reduced at any time.
            (_, Intent::Reduce(Book::Paper)) => Book::Paper,
            (Venue::Live | Venue::Blocked(Block::Starting | Block::Holding | Block::Reconciling), _) => Book::Live,
            (Venue::Blocked(block), _) => return Err(Refused::Blocked(block)),
        };
        if let Some(why) = self.policy.refuse_live.clone().filter(|_| book == Book::Live) {
            return Err(why);
        }
        let entry = request.intent == Intent::Open;
        if entry && self.mode == TradingMode::ReduceOnly {
            return Err(Refused::OnlyExits);
        }
        if entry && self.route.reduce_only {
            return Err(Refused::ReduceOnly);
        }
        rules::check(request, self.terms(book, request, now)?.as_ref())?;
        let other = if book == Book::Live { Book::Paper } else { Book::Live };
        if entry && self.may_reduce(other, request) {
            return Err(Refused::ExposureOnOtherVenue(other));
        }
        // While orders wait, the books are still being compared: an exit is held against them when it is released.
        if let Intent::Reduce(held_in) = request.intent
            && matches!(self.route.venue, Venue::Live | Venue::Paper)
            && request.quantity.get() > self.left_to_reduce(held_in, request)
        {
            return Err(Refused::ReducesNothing);
        }
        if entry {
            self.check_risk(book, request, itself)?;
        }
        Ok(book)
    }

    /// Holds what an order would be changed to against the same rules and bounds.
    pub(super) fn check_change(&self, order: &Tracked, change: &OrderChange, now: Now) -> Result<(), Refused> {
        let entry = order.request.intent == Intent::Open;
        match self.mode {
            TradingMode::Halted => return Err(Refused::Blocked(Block::Halted)),
            TradingMode::ReduceOnly if entry => return Err(Refused::OnlyExits),
            TradingMode::ReduceOnly | TradingMode::Active => {}
        }
        let request = OrderRequest {
            quantity: change.quantity.unwrap_or(order.request.quantity),
            order_type: change.order_type.unwrap_or(order.request.order_type),
            validity: change.validity.unwrap_or(order.request.validity),
            ..order.request.clone()
        };
        if request.quantity.is_zero() {
            return Err(Refused::NoQuantity);
        }
        let terms = match self.listings.find(&request.instrument, list_day(now.wall)) {
            Listed::Yes(terms) => Some(terms),
            Listed::No | Listed::NotKnownYet => None,
        };
        rules::check(&request, terms.as_ref())?;
        // What makes an exit larger is held against what the others leave of the position.
        if let Intent::Reduce(held_in) = request.intent
            && request.quantity > order.request.quantity
        {
            let beside = |other: &Tracked| other.id != order.id && other.may_be_working();
            let left = request.quantity.less(order.filled);
            if left.get() > self.left_beside(held_in, &request, beside) {
                return Err(Refused::ReducesNothing);
            }
        }
        if entry {
            self.policy.risk.check_order(&request, self.ledger.last(order.book, &request.instrument))?;
            let left = OrderRequest { quantity: request.quantity.less(order.filled), ..request };
            let beside = Beside { working: 0, ..self.beside(order.book, &left, Some(&order.id)) };
            self.policy.risk.check_beside(order.book, &left, beside)?;
        }
        Ok(())
    }

    /// What the day's list says of an order's instrument, as far as it is known.
    fn terms(&self, book: Book, request: &OrderRequest, now: Now) -> Result<Option<Terms>, Refused> {
        let entry = request.intent == Intent::Open;
        match self.listings.find(&request.instrument, list_day(now.wall)) {
            Listed::Yes(terms) => Ok(Some(terms)),
            Listed::No if entry => Err(rules::RuleBroken::UnknownSymbol(request.instrument.clone()).into()),
            Listed::NotKnownYet if entry && book == Book::Live && self.policy.needs_lists => {
                Err(Refused::ListNotHere(request.instrument.exchange))
            }
            Listed::No | Listed::NotKnownYet => Ok(None),
        }
    }

    fn check_risk(&self, book: Book, request: &OrderRequest, itself: Option<&ClientOrderId>) -> Result<(), Refused> {
        let risk = &self.policy.risk;
        if let Some(most) = risk.daily_loss.filter(|_| self.ledger.is_stopped(book)) {
            return Err(OverLimit::DailyLoss { most }.into());
        }
        risk.check_order(request, self.ledger.last(book, &request.instrument))?;
        if risk.look_beside() {
            risk.check_beside(book, request, self.beside(book, request, itself))?;
        }
        Ok(())
    }

    /// What is in a book beside an order, at worst.
    fn beside(&self, book: Book, request: &OrderRequest, itself: Option<&ClientOrderId>) -> Beside {
        let held = i128::from(self.exposure.all_of(book, &request.instrument));
        let held = if request.side == Side::Buy { held } else { -held };
        let units = held + self.orders.units(book, &request.instrument, request.side);
        let working = self.orders.working(book);
        match itself.and_then(|id| self.orders.get(id)).filter(|order| is_unfinished(order)) {
            Some(itself) => {
                Beside { working: working.saturating_sub(1), units: units - i128::from(itself.left().get()) }
            }
            None => Beside { working, units },
        }
    }

    /// Whether an order may reduce what that book holds, or will hold once what works in it is filled.
    fn may_reduce(&self, book: Book, request: &OrderRequest) -> bool {
        let opposite = request.side.opposite();
        let held = i128::from(self.exposure.all_of(book, &request.instrument));
        let working = self.orders.units(book, &request.instrument, opposite);
        match request.side {
            Side::Buy => held - working < 0,
            Side::Sell => held + working > 0,
        }
    }

    /// How many units an exit may still take: what the book holds, less what works on its side already.
    pub(super) fn left_to_reduce(&self, book: Book, request: &OrderRequest) -> u64 {
        self.left_beside(book, request, Tracked::may_be_working)
    }

    /// The same, counting only the orders that `counts`.
    pub(super) fn left_beside(&self, book: Book, request: &OrderRequest, counts: impl Fn(&Tracked) -> bool) -> u64 {
        let reducible = self.exposure.reducible(book, request);
        if reducible == 0 {
            return 0;
        }
        let under_way = self.orders.unfinished().filter(|order| {
            let same = (order.book, order.request.side, order.request.product) == (book, request.side, request.product)
                && order.request.instrument == request.instrument;
            same && counts(order)
        });
        let taken = under_way.map(Tracked::left).fold(Quantity::ZERO, |sum, left| sum + left);
        reducible.saturating_sub(taken.get())
    }
}

#[cfg(test)]
mod tests;
