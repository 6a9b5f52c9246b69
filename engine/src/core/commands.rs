//! What strategies and operators ask of the core, each with its answer at once.

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Book, ClientOrderId, InstrumentKey, OrderChange, OrderRequest, Price, Venue};

use super::{Core, Input, Output};
use crate::orders::{Record, Refused, Restored};

impl Core {
    /// Rebuilds the desk from what the journal kept, before [`Input::Started`] and anything else. `out` has what is to be
    /// recorded and told of it; nothing is sent.
    pub fn restore(&mut self, records: &[Record], now: Now, out: &mut Vec<Output>) -> Restored {
        self.at_desk(now, out, |desk, now, out| {
            let restored = desk.restore(records, now, out);
            desk.recount(now);
            restored
        })
    }

    /// Takes an order.
    ///
    /// # Errors
    /// [`Refused`]: nothing was written or sent.
    pub fn submit(&mut self, request: OrderRequest, now: Now, out: &mut Vec<Output>) -> Result<ClientOrderId, Refused> {
        self.on(Input::Wake, now, out);
        // What is subscribed to is listed on paper already. Of anything else paper has no price, and says that.
        if self.standing().route.venue == Venue::Paper && !self.wants(&request.instrument) {
            let row = self.desk.listings().row(&request.instrument);
            out.extend(row.map(|row| Output::List(vec![row.clone()])));
        }
        let taken = self.at_desk(now, out, |desk, now, out| desk.submit(request, now, out));
        if let Err(Refused::ListNotHere(exchange)) = taken {
            self.lists_missed.insert(exchange);
            self.fetch_instruments(now, out);
        }
        taken
    }

    /// A tick of an instrument: orders of these books are valued and judged by the last one. Returns whether
    /// [`Input::Wake`] is due, since a bound of loss may be passed by it.
    pub fn mark(&mut self, books: &[Book], instrument: &InstrumentKey, price: Price, at: Timestamp) -> bool {
        self.desk.mark(books, instrument, price, at)
    }

    /// Asks to cancel an order.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn cancel(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Output>) -> Result<(), Refused> {
        self.on(Input::Wake, now, out);
        self.at_desk(now, out, |desk, now, out| desk.cancel(id, now, out))
    }

    /// Asks to change an order.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn modify(
        &mut self,
        id: &ClientOrderId,
        change: OrderChange,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<(), Refused> {
        self.on(Input::Wake, now, out);
        self.at_desk(now, out, |desk, now, out| desk.modify(id, change, now, out))
    }

    /// Whether a tick of that instrument may pass a bound of loss of one of these books: the driver marks those at once.
    #[must_use]
    pub fn watches(&self, books: &[Book], instrument: &InstrumentKey) -> bool {
        self.desk.watches(books, instrument)
    }

    /// An operator has looked at an unresolved order: see [`Desk::acknowledge`](crate::orders::Desk::acknowledge).
    ///
    /// # Errors
    /// [`Refused`]: it is not one that can be acknowledged.
    pub fn acknowledge(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Output>) -> Result<(), Refused> {
        self.on(Input::Wake, now, out);
        self.at_desk(now, out, |desk, now, out| desk.acknowledge(id, now, out))
    }
}
