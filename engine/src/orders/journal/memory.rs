//! The journal in memory: what the sandbox and tests use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Journal, JournalError, Record};

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

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn read(&self) -> Result<Vec<Record>, JournalError> {
        Ok(self.lock().clone())
    }
}
