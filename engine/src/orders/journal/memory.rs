//! The journal in memory: what the sandbox, the simulator and tests use. It can play the loss of power.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Journal, JournalError, Record};

/// A journal that lives as long as the process. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    records: Vec<Record>,
    /// How many of them, from the first, are synced.
    synced: usize,
}

impl MemoryJournal {
    /// The machine loses its power: what was synced stays, of what came after only the first `keep` records do. Returns
    /// how many were lost. What survives counts as synced.
    pub fn crash(&self, keep: usize) -> usize {
        let mut kept = self.lock();
        let before = kept.records.len();
        let survive = kept.synced.saturating_add(keep).min(before);
        kept.records.truncate(survive);
        kept.synced = survive;
        before - survive
    }

    /// How many records a crash could take away now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        let kept = self.lock();
        kept.records.len() - kept.synced
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A record is pushed whole or not at all, so a panic elsewhere leaves the list good.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.lock().records.push(record.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let mut kept = self.lock();
        kept.synced = kept.records.len();
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn read(&self) -> Result<Vec<Record>, JournalError> {
        Ok(self.lock().records.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::What;
    use super::super::tests_support::record;
    use super::*;

    proptest! {
        #[test]
        fn a_crash_takes_only_what_was_not_synced_and_leaves_no_hole(
            steps in prop::collection::vec((0u8..6, 0usize..4), 0..60),
        ) {
            let mut journal = MemoryJournal::default();
            let handle = journal.clone();
            let (mut model, mut synced, mut number) = (Vec::new(), 0, 0);
            for (step, keep) in steps {
                match step {
                    0 => {
                        journal.sync().unwrap();
                        synced = model.len();
                    }
                    1 => {
                        let survive = model.len().min(synced + keep);
                        prop_assert_eq!(handle.crash(keep), model.len() - survive);
                        model.truncate(survive);
                        synced = survive;
                    }
                    _ => {
                        number += 1;
                        model.push(record(number, What::NotSent));
                        journal.append(&record(number, What::NotSent)).unwrap();
                    }
                }
                prop_assert_eq!(handle.read().unwrap(), model.clone());
                prop_assert_eq!(handle.unsynced(), model.len() - synced);
            }
        }
    }
}
