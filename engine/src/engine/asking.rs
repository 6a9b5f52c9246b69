//! What the task asks the live broker: each call is a task of its own that ends in a message.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::Now;
use nirantar_brokers::{
    BrokerOrderId, Call, Cause, ClientOrderId, Endpoint, Exchange, Failure, Fingerprint, InstrumentKey, Orders, Refusal,
};
use tracing::Instrument as _;

use super::journalling::Ticket;
use super::task::{Message, Task};
use crate::core::Input;
use crate::orders::{Command, JournalError, LiveState, Route, SendId, Tracked};
use crate::session::{Generation, Verdict};

/// Wait before a failed fetch of the instruments is repeated.
const FETCH_RETRY: Duration = Duration::from_secs(5);

impl Task {
    pub(super) fn probe(&mut self, probe: u64, fingerprint: Fingerprint) {
        let Some(token) = self.vault.live(fingerprint) else {
            tracing::error!("token {fingerprint} is not in the vault: it cannot be proven");
            return;
        };
        tracing::debug!(at = %self.clock.now().wall, "probe {probe}: asking the broker about token {fingerprint}");
        let (broker, transport) = (Arc::clone(&self.broker), self.transport.clone());
        self.later(async move {
            let verdict = match transport.call(broker.probe(), Some(token.authorization())).await {
                Ok(profile) => Verdict::Accepted { user_id: profile.user_id },
                Err(Failure { cause: Cause::Refused(Refusal::Conclusive), .. }) => Verdict::Refused,
                Err(failure) => {
                    tracing::debug!("probe {probe}: {failure}");
                    Verdict::Inconclusive
                }
            };
            Input::Probed { probe, verdict }
        });
    }

    /// Sends to the live broker, as soon as `ticket` says that it is written (rule 5).
    pub(super) fn send(&mut self, send: SendId, id: ClientOrderId, route: Route, command: Command, ticket: Ticket) {
        let Some(broker) = self.trading.clone() else { return };
        let (transport, gate) = (self.transport.clone(), self.gate.clone());
        let clock = Arc::clone(&self.clock);
        let deadline = self.core.desk().order(&id).map(Tracked::deadline);
        let span = tracing::info_span!("order", %id);
        let work = async move {
            if let Err(error) = ticket.written().await {
                return Input::NotWritten { send, failure: unwritten(&command, &error) };
            }
            let now = clock.now();
            // A slow disk must not make an order late: the desk refuses it.
            if matches!(command, Command::Place(_)) && deadline.is_some_and(|deadline| now.mono > deadline) {
                return Input::GateShut { send };
            }
            // The last step before the socket: nothing passes under a token or a venue that has changed.
            let Ok(pass) = gate.enter(route.generation, route.venue) else { return Input::GateShut { send } };
            let Some(token) = pass.token.clone() else { return Input::GateShut { send } };
            let order = call(&*broker, &id, &command, now);
            let outcome = transport.call_holding(order, Some(token.authorization()), pass).await;
            Input::Reply { send, outcome }
        };
        self.later(work.instrument(span));
    }

    pub(super) fn read(&mut self, read: u64, generation: Generation, answers: &mut VecDeque<Input>) {
        let snapshot = Arc::clone(&self.cell.load());
        let Some(token) = snapshot.token.clone().filter(|_| snapshot.generation == generation) else {
            // Without its token a read would be refused, and the refusal would say nothing.
            answers.push_back(Input::NotRead { read });
            return;
        };
        let Some(broker) = self.trading.clone() else { return };
        let (transport, now) = (self.transport.clone(), self.clock.now());
        self.later(async move {
            let authorization = Some(token.authorization());
            let state = async {
                let positions = transport.call(broker.positions(now), authorization).await?;
                let orders = transport.call(broker.book(now), authorization).await?;
                let trades = transport.call(broker.trades(now), authorization).await?;
                Ok(LiveState::new(positions, orders, trades))
            };
            Input::Read { read, generation, state: state.await }
        });
    }

    pub(super) fn quote(
        &mut self,
        generation: Generation,
        instruments: &[InstrumentKey],
        answers: &mut VecDeque<Input>,
    ) {
        let snapshot = Arc::clone(&self.cell.load());
        let token = snapshot.token.clone().filter(|_| snapshot.generation == generation);
        let (Some(token), Some(broker)) = (token, self.trading.clone()) else {
            let failure = Failure::new(Cause::NotSent, Endpoint::Quote, "there is no token to ask with");
            answers.push_back(Input::Quoted { generation, quotes: Err(failure) });
            return;
        };
        let (transport, call) = (self.transport.clone(), broker.quote(instruments));
        self.later(async move {
            let quotes = transport.call(call, Some(token.authorization())).await;
            if let Err(failure) = &quotes {
                tracing::warn!("no snapshot after the gap: {failure}");
            }
            Input::Quoted { generation, quotes }
        });
    }

    pub(super) fn fetch(&mut self, exchanges: BTreeSet<Exchange>) {
        let Some(broker) = self.trading.clone() else { return };
        let (transport, clock) = (self.transport.clone(), Arc::clone(&self.clock));
        let cell = Arc::clone(&self.cell);
        let inbox = self.myself.clone();
        let mut busy = clock.busy();
        let work = async move {
            for exchange in exchanges {
                let instruments = loop {
                    let token = cell.load().token.clone();
                    let authorization = token.as_ref().map(|token| token.authorization());
                    match transport.call(broker.instruments(Some(exchange)), authorization).await {
                        Ok(instruments) => break instruments,
                        Err(failure) => tracing::warn!("the list of instruments: {failure}; trying again"),
                    }
                    drop(busy);
                    busy = clock.sleep(FETCH_RETRY).await;
                };
                let Some(inbox) = inbox.upgrade() else { return };
                let _ = inbox.send(Message::Do(Input::Instruments(instruments), clock.busy())).await;
            }
            drop(busy);
        };
        self.state.tasks.spawn(work.in_current_span());
    }
}

/// How a message ends whose record is not safe.
pub(super) fn unwritten(command: &Command, error: &JournalError) -> Failure {
    let endpoint = match command {
        Command::Place(_) => Endpoint::Place,
        Command::Modify(..) => Endpoint::Modify,
        Command::Cancel(_) => Endpoint::Cancel,
    };
    Failure::new(Cause::NotSent, endpoint, format!("{error}; nothing was sent"))
}

/// The broker's call for a command; the paper exchange's is of the same trait.
pub(super) fn call<B: Orders + ?Sized>(
    broker: &B,
    id: &ClientOrderId,
    command: &Command,
    now: Now,
) -> Call<BrokerOrderId> {
    match command {
        Command::Place(request) => broker.place(request, id, now),
        Command::Modify(order, change) => broker.modify(order, change, now),
        Command::Cancel(order) => broker.cancel(order, now),
    }
}
