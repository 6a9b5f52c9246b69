//! One order and all that is known of it.

use nirantar_brokers::time::Now;
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, IllegalTransition, OrderRequest, OrderRow, OrderStatus, Price, Quantity,
};

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
    /// The broker's number, once known.
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
    /// How often it was changed at the broker; brokers cap this.
    pub modifications: u32,
    /// A cancel was asked for while there was no session; it is sent when the books have been compared.
    pub cancel_wanted: bool,
    /// It was unresolved, and an operator has looked at it.
    pub acknowledged: bool,
    /// Number of the message that is on its way to the broker, if one is.
    pub(super) in_flight: Option<u64>,
    /// When the place message left.
    pub(super) sent_at: Option<Now>,
    /// It was refused for the token's sake once, and may not be sent a third time.
    pub(super) refused_once: bool,
    /// Complete reads of the broker's book that did not show it, since it became unknown.
    pub(super) absences: u32,
}

impl Tracked {
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
            cancel_wanted: false,
            acknowledged: false,
            in_flight: None,
            sent_at: None,
            refused_once: false,
            absences: 0,
        }
    }

    /// Whether it may be working at the exchange, or on its way there.
    #[must_use]
    pub fn may_be_working(&self) -> bool {
        self.sent_at.is_some() && !self.status.is_final()
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
        self.status = self.status.become_(next)?;
        Ok(())
    }

    /// Takes what a row says. Returns the newly filled units, or the step that is not legal: then nothing was taken.
    pub(super) fn apply(&mut self, row: &OrderRow) -> Result<Quantity, IllegalTransition> {
        // Rows can overtake each other; one that knows less than we do is old news.
        let old_news = row.filled < self.filled || (self.status.is_final() && !row.status.is_final());
        let overturns = matches!(self.status, OrderStatus::NotPlaced | OrderStatus::Unresolved);
        if old_news && !overturns {
            return Ok(Quantity::ZERO);
        }
        self.become_(row.status)?;
        self.broker_id = Some(row.order_id.clone());
        let new = row.filled.less(self.filled);
        if row.filled >= self.filled {
            self.filled = row.filled;
            self.average_price = row.average_price;
        }
        if row.message.is_some() {
            self.message.clone_from(&row.message);
        }
        Ok(new)
    }
}
