//! One order and all that is known of it.

use std::collections::BTreeSet;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, IllegalTransition, OrderRequest, OrderRow, OrderStatus, Price, Quantity,
};

use super::slices::Slices;
use crate::session::Generation;

/// An order as the engine keeps it. It belongs to one book for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Our number.
    pub id: ClientOrderId,
    /// Which book.
    pub book: Book,
    /// What was asked for.
    pub request: OrderRequest,
    /// Placed by somebody else and adopted.
    pub external: bool,
    /// What is known.
    pub status: OrderStatus,
    /// The broker's number, once known. Of an order that the broker cut into slices, the number of the whole.
    pub broker_id: Option<BrokerOrderId>,
    /// Units filled.
    pub filled: Quantity,
    /// Average price of the fills.
    pub average_price: Price,
    /// When it was submitted.
    pub submitted: Now,
    /// The token it last left under; 0 if it never did.
    pub generation: Generation,
    /// The last words about it.
    pub message: Option<String>,
    /// It is for another quantity than was first written down.
    pub(super) resized: bool,
    /// How often it was changed at the broker; brokers cap this.
    pub modifications: u32,
    /// It is to be cancelled and could not be reached: there was no session or no number of it when that was asked for,
    /// or when a halt or a day's loss caught it. The cancel is sent once it can be, of a live order only after the books
    /// have been compared.
    pub cancel_wanted: bool,
    /// It was unresolved, and an operator has looked at it.
    pub acknowledged: bool,
    /// Number of the message that is on its way to the broker, if one is.
    pub(super) in_flight: Option<u64>,
    /// When the place message left.
    pub(super) sent_at: Option<Now>,
    /// It was refused for the token's sake once, and may not be sent a third time.
    pub(super) refused_once: bool,
    /// Its cancel was refused for the token's sake once.
    pub(super) cancel_refused_once: bool,
    /// Complete reads in a row that did not show it, or its missing slices, though they should have.
    pub(super) absences: u32,
    /// Since when a lost reply leaves in doubt whether it exists, or whether a change or cancel of it was acted on.
    pub(super) doubted: Option<Monotonic>,
    /// Its day is over, since then, and the book is to be read once more.
    pub(super) day_over: Option<Monotonic>,
    /// Units of it that a believed position has counted already: when they are shown as filled they are counted no more.
    pub(super) counted_ahead: Quantity,
    /// The slices the broker cut it into.
    pub(super) slices: Slices,
    /// Slices whose cancel the broker has received.
    pub(super) cancelled_slices: BTreeSet<BrokerOrderId>,
    /// The last impossible step that an alarm told of.
    pub(super) alarmed_at: Option<OrderStatus>,
}

/// What came of taking a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Units newly filled.
    pub(super) new: Quantity,
    /// The step that cannot be: the status was kept.
    pub(super) illegal: Option<IllegalTransition>,
}

impl Taken {
    const NOTHING: Self = Self { new: Quantity::ZERO, illegal: None };
}

/// State and fills of an order, as a row shows them or all its slices together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fills {
    pub(super) status: OrderStatus,
    pub(super) filled: Quantity,
    pub(super) average_price: Price,
}

impl Tracked {
    /// Takes off units that a believed position has counted already, at most so many. Returns what is left of them.
    pub(super) fn take_ahead(&mut self, units: Quantity) -> Quantity {
        let taken = units.min(self.counted_ahead);
        self.counted_ahead = self.counted_ahead.less(taken);
        units.less(taken)
    }

    /// Whether its units count in the same position, from the same side.
    pub(super) fn trades_like(&self, other: &Self) -> bool {
        let what = |order: &Self| (order.book, order.request.product, order.request.side);
        what(self) == what(other) && self.request.instrument == other.request.instrument
    }

    pub(super) fn new(id: ClientOrderId, book: Book, request: OrderRequest, now: Now) -> Self {
        Self {
            id,
            book,
            request,
            external: false,
            status: OrderStatus::Journalled,
            broker_id: None,
            filled: Quantity::ZERO,
            average_price: Price::ZERO,
            submitted: now,
            generation: Generation::default(),
            message: None,
            modifications: 0,
            resized: false,
            cancel_wanted: false,
            acknowledged: false,
            in_flight: None,
            sent_at: None,
            refused_once: false,
            cancel_refused_once: false,
            absences: 0,
            doubted: None,
            day_over: None,
            counted_ahead: Quantity::ZERO,
            slices: Slices::default(),
            cancelled_slices: BTreeSet::new(),
            alarmed_at: None,
        }
    }

    /// Whether it may be working at the exchange, or on its way there. An unresolved order may, as far as anybody knows,
    /// until an operator has looked: it counts with all that is left of it.
    #[must_use]
    pub fn may_be_working(&self) -> bool {
        let unresolved = self.status == OrderStatus::Unresolved && !self.acknowledged;
        unresolved || self.sent_at.is_some() && !self.status.is_final()
    }

    /// The broker's number that a cancel goes to: its own, or that of a slice that works and was not cancelled yet.
    pub(super) fn number_to_cancel(&self) -> Option<&BrokerOrderId> {
        if self.slices.is_empty() {
            return self.broker_id.as_ref();
        }
        self.slices.working().find(|number| !self.cancelled_slices.contains(*number))
    }

    /// The last moment at which it may be sent.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.submitted.mono + self.request.valid_for
    }

    /// Units that are not filled.
    #[must_use]
    pub fn left(&self) -> Quantity {
        self.request.quantity.less(self.filled)
    }

    /// Moves to `next`. What the broker knows of an order proves that it was sent.
    pub(super) fn become_(&mut self, next: OrderStatus) -> Result<(), IllegalTransition> {
        if self.status == OrderStatus::Journalled && !matches!(next, OrderStatus::Journalled | OrderStatus::Refused) {
            self.status = OrderStatus::Sent;
        }
        let before = self.status;
        self.status = self.status.become_(next)?;
        if self.status != before {
            self.absences = 0;
            self.acknowledged = false;
            if before == OrderStatus::Unknown || self.status.is_final() {
                self.doubted = None;
            }
        }
        Ok(())
    }

    /// Whether a row of the order itself tells no more than is known.
    pub(super) fn says_nothing_new(&self, row: &OrderRow) -> bool {
        let same_words = row.message.is_none() || row.message == self.message;
        let same_quantity = row.quantity.is_zero() || row.quantity == self.request.quantity;
        self.slices.is_empty()
            && self.broker_id.as_ref() == Some(&row.order_id)
            && (self.status, self.filled, self.average_price) == (row.status, row.filled, row.average_price)
            && same_words
            && same_quantity
    }

    /// Takes what a row of the order itself says.
    pub(super) fn apply(&mut self, row: &OrderRow) -> Taken {
        if !self.slices.is_empty() {
            return Taken::NOTHING; // its slices are the order; a row of the whole would be their sum
        }
        if self.broker_id.is_none() {
            self.broker_id = Some(row.order_id.clone());
        }
        let shown = Fills { status: row.status, filled: row.filled, average_price: row.average_price };
        let taken = self.take(shown, row);
        // It was changed, by us or in the broker's app: so much is working now. A row that was passed over is older.
        if self.filled == row.filled && !row.quantity.is_zero() && self.request.quantity != row.quantity {
            (self.request.quantity, self.resized) = (row.quantity, true);
        }
        taken
    }

    /// Takes what a row of one of its slices says.
    pub(super) fn apply_slice(&mut self, row: &OrderRow) -> Taken {
        if self.broker_id.is_none() {
            self.broker_id.clone_from(&row.parent_id);
        }
        self.slices.take(row);
        self.take(self.slices.together(self.request.quantity), row)
    }

    fn take(&mut self, shown: Fills, row: &OrderRow) -> Taken {
        // Rows can overtake each other; one that knows less than we do is old news.
        let overturns = matches!(self.status, OrderStatus::NotPlaced | OrderStatus::Unresolved);
        let finished = self.status.is_final() && !overturns;
        if shown.filled < self.filled || (finished && !shown.status.is_final()) {
            return Taken::NOTHING;
        }
        // A fill is a fill, whatever is said of the order's state.
        let illegal = self.become_(shown.status).err();
        let new = shown.filled.less(self.filled);
        self.filled = shown.filled;
        self.average_price = shown.average_price;
        if row.message.is_some() {
            self.message.clone_from(&row.message);
        }
        Taken { new, illegal }
    }
}
