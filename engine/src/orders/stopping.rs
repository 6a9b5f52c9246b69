//! The kill switch and the day's loss at the desk: what is cancelled and what is refused from then on.
//!
//! Promises: halting cancels every order of both books that can be reached, and remembers the rest until it can; what was
//! placed elsewhere after that is the human's own and is left alone. Reduce-only (by the operator, or because of a loss)
//! cancels entries that rest and leaves exits, and what was placed elsewhere, alone.

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Block, Book, ClientOrderId, InstrumentKey, Intent, Price};

use super::{Action, CommandKind, Desk, Refused, Tracked};
use crate::session::TradingMode;

impl Desk {
    /// What the operator lets orders do.
    #[must_use]
    pub const fn mode(&self) -> TradingMode {
        self.mode
    }

    /// The operator has spoken.
    pub fn set_mode(&mut self, mode: TradingMode, now: Now, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.mode, mode) == mode {
            return;
        }
        match mode {
            TradingMode::Active => {}
            TradingMode::ReduceOnly => self.stop_orders(is_entry, &Refused::OnlyExits, now, out),
            TradingMode::Halted => {
                self.stop_orders(|_| true, &Refused::Blocked(Block::Halted), now, out);
                self.look_to_cancel(now); // for cancels that were wanted before
            }
        }
    }

    /// Whether there is an order that may still be filled, or, with `positions`, anything held.
    #[must_use]
    pub fn has_open(&self, positions: bool) -> bool {
        let held = || [Book::Live, Book::Paper].iter().any(|book| self.exposure.open(*book).next().is_some());
        self.orders.unfinished().next().is_some() || (positions && held())
    }

    /// The operator lets trading go on after a day's loss: it is counted anew from here.
    pub fn forgive_losses(&mut self) {
        self.ledger.forgive(&self.exposure);
    }

    /// A tick: what orders of these books are valued and judged by. One of the live feed counts for both, one that was
    /// played into paper for paper only. Returns whether a bound of loss may be passed by it, and [`wake`](Self::wake) is
    /// due.
    pub fn mark(&mut self, books: &[Book], instrument: &InstrumentKey, price: Price, at: Timestamp) -> bool {
        self.ledger.begin(at.ist_date());
        for book in books {
            self.ledger.mark(*book, instrument, price, true);
        }
        self.watches(books, instrument)
    }

    /// Whether the price of an instrument moves a loss of one of these books that is bounded.
    #[must_use]
    pub fn watches(&self, books: &[Book], instrument: &InstrumentKey) -> bool {
        self.policy.risk.daily_loss.is_some() && books.iter().any(|book| self.exposure.all_of(*book, instrument) != 0)
    }

    /// Counts today's fills from the orders themselves: after a restart, when they were read from the journal.
    pub fn recount(&mut self, now: Now) {
        let today = now.wall.ist_date();
        self.ledger.begin(today);
        for order in self.orders.values() {
            if order.submitted.wall.ist_date() == today {
                self.ledger.count(order);
            } else {
                self.ledger.counted_before(order);
            }
        }
    }

    /// Looks whether a book has lost too much today.
    pub(super) fn look_at_losses(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(most) = self.policy.risk.daily_loss else { return };
        self.ledger.begin(now.wall.ist_date());
        for (book, lost) in self.ledger.newly_over(most, &self.exposure) {
            out.push(Action::Alarm(format!(
                "the {book} book has lost {lost} rupees today, and {most} are allowed: entries that rest are cancelled, and \
                 only exits are taken until tomorrow, or until you let trading go on: POST \
                 /api/operator/ACCOUNT/resume, or nirantar halt --reduce-only and 15 seconds later nirantar resume"
            )));
            let why = super::OverLimit::DailyLoss { most }.into();
            self.stop_orders(|order| order.book == book && is_entry(order), &why, now, out);
        }
    }

    /// What waits of these orders is turned away, and what works of them is cancelled.
    fn stop_orders(&mut self, which: impl Fn(&Tracked) -> bool, why: &Refused, now: Now, out: &mut Vec<Action>) {
        let orders = &self.orders;
        let chosen = |id: &ClientOrderId| orders.get(id).is_some_and(&which);
        let gone = self.queue.remove(|waiting| waiting.kind != CommandKind::Cancel && chosen(&waiting.id));
        for waiting in gone {
            self.turn_away(&waiting, why, now, out);
        }
        for id in self.orders.unfinished_ids(|order| !order.status.is_final() && which(order)) {
            self.want_cancel(&id, now, out);
            self.cancel_if_wanted(&id, now, out);
        }
    }
}

/// An order of ours for new exposure.
pub(super) fn is_entry(order: &Tracked) -> bool {
    order.request.intent == Intent::Open && !order.external
}
