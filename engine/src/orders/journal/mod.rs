//! The journal: what is written before anything leaves, and what came of it.
//!
//! Every order is durable in it before its bytes leave (rule 5), and every outcome follows. This module is the log's
//! format ([`Record`]; [`format`] has its words) and what keeps it ([`Journal`]): in memory, or a database file. Without a durable journal live
//! orders are accepted only for hosts on loopback.

mod error;
mod format;
mod memory;
#[cfg(feature = "journal-sqlite")]
mod sqlite;
#[cfg(test)]
mod tests_support;

use std::fmt;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, InstrumentKey, OrderChange, OrderRequest, OrderStatus, Price, Product, Quantity,
};

pub use error::JournalError;
pub use format::BadRecord;
pub use memory::MemoryJournal;
#[cfg(feature = "journal-sqlite")]
pub use sqlite::{SqliteJournal, read_records};

use crate::session::Generation;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Which order; `None` for what is said of a book as a whole.
    pub id: Option<ClientOrderId>,
    /// In which book.
    pub book: Book,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A strategy asked for it.
    Intent(OrderRequest),
    /// Somebody else placed it; found in the broker's book and adopted.
    External {
        /// What was asked for, as far as its row shows.
        request: OrderRequest,
        /// The broker's number.
        broker_id: BrokerOrderId,
    },
    /// Its bytes are about to leave.
    Sending {
        /// Under which token.
        generation: Generation,
        /// To do what.
        command: CommandKind,
    },
    /// The gate was shut, or the broker was asked too often: it was not acted on, and may leave again.
    NotSent,
    /// The broker refused it for the token's sake, without acting on it. It may leave once more, under a new token.
    RefusedForToken {
        /// The token it was refused under.
        generation: Generation,
    },
    /// Something is known of it.
    State {
        /// Its status.
        status: OrderStatus,
        /// Units asked for, if they were changed since it was written down first.
        quantity: Option<Quantity>,
        /// The broker's number, if known.
        broker_id: Option<BrokerOrderId>,
        /// Units filled so far.
        filled: Quantity,
        /// At what average price.
        average_price: Price,
        /// The broker's or our words.
        message: Option<String>,
    },
    /// A cancel or change got an answer that is no state of the order.
    Answer(String),
    /// It is to be cancelled and cannot be reached yet: a cancel was asked for while there was no session or no number of
    /// it, or a halt or a day's loss caught it. Sent once it can be and, for a live order, the books have been compared.
    CancelWanted,
    /// An operator has looked at an order that was unresolved: it counts as exposure no more.
    Acknowledged,
    /// The broker's word on a position was taken: so much is held, signed.
    Holds {
        /// Of what.
        instrument: InstrumentKey,
        /// In which product.
        product: Product,
        /// Above zero long.
        quantity: i64,
    },
    /// A contract has ended, and what the book held of it in that product was closed at what it was worth.
    Settled {
        /// The contract.
        instrument: InstrumentKey,
        /// In which product.
        product: Product,
        /// Worth of a unit.
        price: Price,
    },
}

/// What a message to the broker is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Place the order.
    Place,
    /// Change it.
    Modify(OrderChange),
    /// Cancel it.
    Cancel,
}

/// Where records are kept. One writer; a reader sees what was synced.
pub trait Journal: Send + fmt::Debug {
    /// Takes a record, behind all before it. It may be lost until [`sync`](Self::sync) has returned.
    ///
    /// # Errors
    /// [`JournalError`]: the record was not kept, and what it announces must not happen.
    fn append(&mut self, record: &Record) -> Result<(), JournalError>;

    /// Makes all that was appended as safe as this journal can: a durable one survives a loss of power from here on.
    ///
    /// # Errors
    /// [`JournalError`]: what was appended since the last sync may be lost, and must not be acted on.
    fn sync(&mut self) -> Result<(), JournalError>;

    /// Whether records survive the death of the process.
    fn is_durable(&self) -> bool;

    /// All records that this handle knows of, oldest first.
    ///
    /// # Errors
    /// [`JournalError`]: it cannot be read; nothing may be sent before a human has looked.
    fn read(&self) -> Result<Vec<Record>, JournalError>;
}
