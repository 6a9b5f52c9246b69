//! Rules 5 and 6: what is sent was written first, and survives; what may have arrived is never sent again on a guess.

use std::collections::BTreeMap;

use nirantar_brokers::{Book, Cause, ClientOrderId, Lookup, Refusal};

use super::{Leaving, Violation, broken};
use crate::core::{Core, Input, Output};
use crate::orders::{Command, SendId, What};

#[derive(Debug, Default)]
pub(super) struct Orders {
    records: usize,
    /// Of each order with a message announced and not yet gone: the position of that record.
    announced: Lookup<ClientOrderId, usize>,
    /// Place messages on their way.
    placing: BTreeMap<SendId, ClientOrderId>,
    /// Orders whose bytes left and that are not known not to have arrived.
    may_be_there: Lookup<ClientOrderId, ()>,
    refused_once: Lookup<ClientOrderId, ()>,
    /// Orders of today that the broker took.
    acted: Vec<ClientOrderId>,
    acted_on: Lookup<ClientOrderId, ()>,
    /// Orders asked for in this process.
    ours: Lookup<ClientOrderId, ()>,
}

impl Orders {
    pub(super) fn before(&mut self, input: &Input, _: &Core) {
        match input {
            Input::GateShut { send } | Input::NotWritten { send, .. } => drop(self.placing.remove(send)),
            Input::Reply { send, outcome } => {
                let Some(id) = self.placing.remove(send) else { return };
                let again = match outcome.as_ref().map_err(|failure| failure.cause) {
                    Err(Cause::Throttled { .. }) => true,
                    // Refused for the token's sake: once more, and no third time.
                    Err(Cause::Refused(Refusal::Conclusive)) => self.refused_once.insert(id.clone(), ()).is_none(),
                    _ => false,
                };
                if again {
                    self.may_be_there.remove(&id);
                }
            }
            _ => {}
        }
    }

    pub(super) fn output(&mut self, output: &Output) -> Result<(), Violation> {
        match output {
            Output::Journal(record) => {
                self.records += 1;
                match (&record.id, &record.what) {
                    (Some(id), What::Sending { .. }) if record.book == Book::Live => {
                        self.announced.insert(id.clone(), self.records);
                    }
                    (Some(id), What::Intent(_)) if record.book == Book::Live => drop(self.ours.insert(id.clone(), ())),
                    _ => {}
                }
            }
            Output::Send { send, id, book: Book::Live, command: Command::Place(_), .. } => {
                self.placing.insert(*send, id.clone());
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn leaves(&mut self, leaving: &Leaving<'_>) -> Result<(), Violation> {
        let Leaving { id, command, synced, .. } = leaving;
        match self.announced.remove(id) {
            None => return broken(5, format!("a message about {id} left and was not written first")),
            Some(record) if record > *synced => {
                return broken(5, format!("a message about {id} left before its record was safe"));
            }
            Some(_) => {}
        }
        if matches!(command, Command::Place(_)) {
            if !self.ours.contains(id) {
                return broken(5, format!("{id} was placed after a restart, and was not accepted since"));
            }
            if self.may_be_there.insert((*id).clone(), ()).is_some() {
                return broken(6, format!("{id} was placed again, and may be there already"));
            }
        }
        Ok(())
    }

    pub(super) fn acted(&mut self, id: &ClientOrderId) -> Result<(), Violation> {
        if self.acted_on.insert(id.clone(), ()).is_some() {
            return broken(6, format!("the broker took {id} twice"));
        }
        self.acted.push(id.clone());
        Ok(())
    }

    pub(super) fn died(&mut self) {
        self.announced.clear();
        self.placing.clear();
        self.ours.clear();
        self.refused_once.clear();
    }

    pub(super) fn restarted(&mut self, core: &Core, kept: usize) -> Result<(), Violation> {
        self.records = kept;
        // Once a restart, over the orders of one day.
        let lost = self.acted.iter().find(|id| core.desk().order(id).is_none());
        lost.map_or(Ok(()), |id| broken(5, format!("the broker has {id}, and after the restart nobody here knows it")))
    }

    pub(super) fn new_day(&mut self) {
        self.acted.clear();
        self.acted_on.clear();
        self.may_be_there.clear();
        self.refused_once.clear();
        // What is still announced waits at the gate; orders of this process stay its own.
        let announced = &self.announced;
        self.ours.retain(|id, ()| announced.contains(id));
    }
}
