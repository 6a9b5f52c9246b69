//! The journal: what is written before anything leaves, and what came of it.
//!
//! Every order passes [`Journal::append`] before its bytes do (rule 5). The journal in memory is what the sandbox and
//! the tests use; a durable one implements the same trait. Without a durable journal live orders are accepted only for
//! hosts on loopback.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, BrokerOrderId, ClientOrderId, OrderChange, OrderRequest, OrderStatus, Price, Quantity};

use crate::session::Generation;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Which order.
    pub id: ClientOrderId,
    /// In which book.
    pub book: Book,
    /// What happened.
    pub what: What,
}

/// What happened to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A strategy asked for it.
    Intent(OrderRequest),
    /// Somebody else placed it; found in the broker's book.
    External(BrokerOrderId),
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

/// Why the journal took no record. The order it was for is refused: nothing leaves unwritten.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be written: {0}")]
pub struct JournalError(pub String);

/// Where records are kept.
pub trait Journal: Send + fmt::Debug {
    /// Keeps a record. When it returns, the record survives whatever the journal promises to survive.
    ///
    /// # Errors
    /// [`JournalError`]: the record was not kept, and what it announces must not happen.
    fn append(&mut self, record: &Record) -> Result<(), JournalError>;

    /// Whether records survive the death of the process.
    fn is_durable(&self) -> bool;

    /// All records, oldest first.
    ///
    /// # Errors
    /// [`JournalError`]: it cannot be read; nothing may be sent before a human has looked.
    fn read(&self) -> Result<Vec<Record>, JournalError>;
}

/// A journal that lives as long as the process. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    records: Arc<Mutex<Vec<Record>>>,
}

impl MemoryJournal {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        // A record is pushed whole or not at all, so a panic elsewhere leaves the list good.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.lock().push(record.clone());
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn read(&self) -> Result<Vec<Record>, JournalError> {
        Ok(self.lock().clone())
    }
}
