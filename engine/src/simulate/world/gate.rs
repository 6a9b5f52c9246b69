//! A message's way out of the process: its record is safe, the gate, the bytes are taken.

use std::time::Duration;

use super::super::checkers::{Leaving, Violation};
use super::engine::Message;
use super::{Arriving, Happening, World};
use crate::core::Input;
use crate::orders::{Command, SendId, Tracked};

impl World<'_> {
    /// Its record is safe: the last step before the socket.
    pub(super) fn at_gate(&mut self, send: SendId) -> Result<(), Violation> {
        let step = self.step();
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(message) = process.messages.get(&send) else { return Ok(()) };
        self.disk.synced = self.disk.synced.max(message.ticket);
        let late = matches!(message.command, Command::Place(_))
            && process.core.desk().order(&message.id).is_some_and(|order| step.now.mono > Tracked::deadline(order));
        let entered = if late { None } else { process.gate.enter(message.route.generation, message.route.venue).ok() };
        let Some(pass) = entered.filter(|pass| pass.token.is_some()) else {
            process.messages.remove(&send);
            return self.tell(Input::GateShut { send });
        };
        let Message { id, route, command, .. } = message;
        let leaving = Leaving { id, route: *route, command, synced: self.disk.synced };
        self.checkers.leaves(&leaving, &process.core, step)?;
        process.inside.insert(send, (pass, process.epoch));
        let taken = Duration::from_micros(300 + self.dice.wire.next_u64() % 3_000);
        self.queue.put(self.now + taken, Happening::Left(self.who, send));
        Ok(())
    }

    /// The connection has taken the bytes: they cannot be kept back any more.
    pub(super) fn left(&mut self, send: SendId) -> Result<(), Violation> {
        let way = self.way();
        let who = self.who;
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some((pass, _)) = process.inside.remove(&send) else { return Ok(()) };
        let token = pass.token.as_ref().map(|token| token.fingerprint());
        drop(pass);
        if let (Some(Message { id, command, .. }), Some(token)) = (process.messages.remove(&send), token) {
            let arriving = Arriving { who, send, id, command, token };
            self.queue.put(self.now + way, Happening::Arrives(Box::new(arriving)));
        }
        match process.settling.filter(|_| process.gate.inside() == 0) {
            Some(epoch) => {
                process.settling = None;
                self.tell(Input::Settled { epoch })
            }
            None => Ok(()),
        }
    }
}
