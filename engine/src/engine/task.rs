//! The engine's one task: takes messages, asks the core, performs what it says.
//!
//! The core is called by this task only. What takes time (a call to the broker, a renewal, waiting at the gate) is a
//! task of its own that ends in a message. Each carries the [`Busy`] that holds a stepped clock still.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use nirantar_brokers::time::{Busy, Clock, Monotonic, Now};
use nirantar_brokers::{
    Book, Broker, BrokerOrderId, BrokerToken, Call, Cause, ClientOrderId, Detail, Endpoint, Exchange, Failure,
    FeedEvent, Fingerprint, OrderChange, OrderRequest, Outcome, Quantity, Refusal, Tick,
};
use nirantar_exchange_mock::{PaperBroker, PriceSource, Update};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument as _;

use super::events::EventSender;
use super::renewal::{Renewer, candidate};
use super::transport::Transport;
use super::vault::Vault;
use crate::core::{Core, Event, Input, Output};
use crate::feed::{
    self, FeedAddress, FeedStatus, Hub, PaperSource, SocketEvent, SocketHandle, SocketId, SocketNews, SocketPlan,
    TickEvent, count_ticks, open_socket,
};
use crate::orders::{Command, Journal, LiveState, Refused, Route, SendId};
use crate::session::{Candidate, Generation, Source, State, Verdict};
use crate::token::{Gate, Sighting, Snapshot, TokenCell};

/// Wait before a failed fetch of the instruments is repeated.
const FETCH_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// What the engine's handle, its sub-tasks and its watchers tell it.
pub(crate) enum Message {
    Submit { request: OrderRequest, taken: oneshot::Sender<Result<ClientOrderId, Refused>>, busy: Busy },
    Cancel { id: ClientOrderId, taken: oneshot::Sender<Result<(), Refused>>, busy: Busy },
    Modify { id: ClientOrderId, change: OrderChange, taken: oneshot::Sender<Result<(), Refused>>, busy: Busy },
    Do(Input, Busy),
    Look { at: Box<dyn FnOnce(&Core) + Send>, busy: Busy },
    Stop,
}

/// Everything the task works with.
pub(crate) struct Task {
    pub(crate) core: Core,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) transport: Transport,
    pub(crate) vault: Vault,
    pub(crate) cell: Arc<TokenCell>,
    pub(crate) gate: Gate,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) renewer: Renewer,
    pub(crate) paper: PaperBroker,
    pub(crate) fallback: Option<(Box<dyn PriceSource + Send>, PaperSource)>,
    pub(crate) feed_address: FeedAddress,
    pub(crate) hub: Hub,
    pub(crate) events: EventSender,
    pub(crate) inbox: mpsc::Receiver<Message>,
    pub(crate) myself: mpsc::WeakSender<Message>,
    pub(crate) sightings: mpsc::Receiver<Sighting>,
    pub(crate) socket_events: (mpsc::Sender<SocketEvent>, mpsc::Receiver<SocketEvent>),
    pub(crate) state: Doing,
}

/// What is under way.
#[derive(Default)]
pub(crate) struct Doing {
    tasks: JoinSet<()>,
    attempts: BTreeMap<u64, AbortHandle>,
    sockets: BTreeMap<SocketId, SocketHandle>,
    /// Orders whose record could not be written: they must not leave.
    unwritten: BTreeSet<ClientOrderId>,
    /// Fallback prices are being played.
    playing: bool,
}

enum Happened {
    Message(Option<Message>),
    Sighting(Sighting),
    Socket(Option<SocketEvent>),
    Time(Busy),
}

impl Task {
    /// Runs until told to stop, or until the last handle is gone.
    pub(crate) async fn run(mut self) {
        // What holds a stepped clock still while something is being dealt with.
        let mut busy = self.clock.busy();
        loop {
            let wake = self.clock.sleep_until(self.next_wake(self.clock.now()));
            // Only now may the clock go on: before, nobody would have woken us.
            drop(busy);
            let happened = tokio::select! {
                message = self.inbox.recv() => Happened::Message(message),
                Some(sighting) = self.sightings.recv() => Happened::Sighting(sighting),
                event = self.socket_events.1.recv() => Happened::Socket(event),
                busy = wake => Happened::Time(busy),
            };
            busy = match happened {
                Happened::Message(None | Some(Message::Stop)) | Happened::Socket(None) => return,
                Happened::Message(Some(message)) => self.message(message),
                Happened::Sighting(sighting) => self.sighting(sighting),
                Happened::Socket(Some(event)) => self.socket(event),
                Happened::Time(busy) => {
                    self.time_passed();
                    busy
                }
            };
            while self.state.tasks.try_join_next().is_some() {}
        }
    }

    fn next_wake(&self, now: Now) -> Monotonic {
        let paper = self.paper.next_wake(now.wall).map(|at| now.mono_at(at));
        let price = self.fallback.as_ref().filter(|_| self.state.playing).and_then(|(source, _)| source.peek());
        [Some(self.core.next_wake(now)), paper, price.map(|at| now.mono_at(at))]
            .into_iter()
            .flatten()
            .fold(Monotonic::from_nanos(u64::MAX), Ord::min)
    }

    fn message(&mut self, message: Message) -> Busy {
        let now = self.clock.now();
        let mut outputs = Vec::new();
        match message {
            Message::Submit { request, taken, busy } => {
                let result = self.core.submit(request, now, &mut outputs);
                self.perform(outputs);
                // The caller may have gone away; the order has not.
                let _ = taken.send(result);
                busy
            }
            Message::Cancel { id, taken, busy } => {
                let result = self.core.cancel(&id, now, &mut outputs);
                self.perform(outputs);
                let _ = taken.send(result);
                busy
            }
            Message::Modify { id, change, taken, busy } => {
                let result = self.core.modify(&id, change, now, &mut outputs);
                self.perform(outputs);
                let _ = taken.send(result);
                busy
            }
            Message::Do(input, busy) => {
                self.tell(input);
                busy
            }
            Message::Look { at, busy } => {
                at(&self.core);
                busy
            }
            Message::Stop => Busy::idle(),
        }
    }

    fn sighting(&mut self, sighting: Sighting) -> Busy {
        let busy = self.clock.busy();
        match sighting {
            Sighting::Changed(stored) => {
                if let Some(candidate) = candidate(&self.vault, &stored, Source::Store) {
                    self.tell(Input::Candidate(candidate));
                }
            }
            Sighting::Malformed(error) => {
                let words = format!("the token store makes no sense and was left alone: {error}");
                self.announce(Event::Alarm { at: self.clock.now().wall, words });
            }
        }
        busy
    }

    fn time_passed(&mut self) {
        let now = self.clock.now();
        self.paper.wake(now.wall);
        self.play_fallback_prices(now);
        self.drain_paper();
        self.tell(Input::Wake);
    }

    /// Tells the core, and performs what it says, until there is nothing left to tell.
    fn tell(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.core.on(input, self.clock.now(), &mut outputs);
        self.perform(outputs);
    }

    /// Performs outputs in their order; what they bring at once is told to the core after all of them.
    fn perform(&mut self, outputs: Vec<Output>) {
        let mut todo: VecDeque<Output> = outputs.into();
        let mut answers: VecDeque<Input> = VecDeque::new();
        loop {
            while let Some(output) = todo.pop_front() {
                self.output(output, &mut answers);
            }
            let Some(answer) = answers.pop_front() else { break };
            let mut more = Vec::new();
            self.core.on(answer, self.clock.now(), &mut more);
            todo.extend(more);
        }
        self.watch_fallback();
    }

    /// Performs one output. What is answered at once is added to `answers`.
    fn output(&mut self, output: Output, answers: &mut VecDeque<Input>) {
        match output {
            Output::Publish { standing, epoch } => {
                let token = standing.token.and_then(|fingerprint| self.vault.live(fingerprint));
                let Route { venue, reduce_only, generation } = standing.route;
                self.cell.publish(Snapshot { generation, state: standing.state, venue, reduce_only, token });
                match epoch {
                    None => {}
                    Some(epoch) if self.gate.inside() == 0 => answers.push_back(Input::Settled { epoch }),
                    Some(epoch) => {
                        let drained = self.gate.drained();
                        self.later(async move {
                            drained.await;
                            Input::Settled { epoch }
                        });
                    }
                }
            }
            Output::Probe { probe, fingerprint } => self.probe(probe, fingerprint),
            Output::Attempt { attempt, way } => {
                let (renewer, busy) = (self.renewer.clone(), self.clock.busy());
                let dying = self.core.last_token();
                let handle = self.later(async move {
                    let end = renewer.attempt(way, dying, busy).await;
                    Input::Attempted { attempt, end }
                });
                self.state.attempts.retain(|_, handle| !handle.is_finished());
                self.state.attempts.insert(attempt, handle);
            }
            Output::Abandon { attempt } => {
                if let Some(handle) = self.state.attempts.remove(&attempt) {
                    handle.abort();
                }
            }
            Output::Journal(record) => {
                if let Err(error) = self.journal.append(&record) {
                    self.state.unwritten.insert(record.id);
                    self.announce(Event::Alarm { at: record.at, words: error.to_string() });
                }
            }
            Output::Send { send, id, book, route, command } => {
                if self.state.unwritten.contains(&id) {
                    let words = "the journal cannot be written: nothing was sent";
                    let failure = Failure::new(Cause::NotSent, Endpoint::Place, words);
                    answers.push_back(Input::Reply { send, outcome: Err(failure) });
                } else if book == Book::Paper {
                    let outcome = at_once(call(&self.paper, &id, &command, self.clock.now()));
                    answers.push_back(Input::Reply { send, outcome });
                    answers.extend(self.paper_updates());
                } else {
                    self.send(send, id, route, command);
                }
            }
            Output::Read { read, generation } => self.read(read, generation, answers),
            Output::FetchInstruments(exchanges) => self.fetch(exchanges),
            Output::Feed(output) => self.feed(output),
            Output::Tell(event) => self.announce(event),
        }
    }

    /// Starts a task that ends in an input. The clock stands still until the input is dealt with.
    fn later(&mut self, work: impl Future<Output = Input> + Send + 'static) -> AbortHandle {
        let (clock, inbox) = (Arc::clone(&self.clock), self.myself.clone());
        let busy = clock.busy();
        let task = async move {
            let input = work.await;
            if let Some(inbox) = inbox.upgrade() {
                // An engine that has stopped needs no answer.
                let _ = inbox.send(Message::Do(input, busy)).await;
            }
        };
        self.state.tasks.spawn(task.in_current_span())
    }

    // --- the broker --------------------------------------------------------------------------------------------

    fn probe(&mut self, probe: u64, fingerprint: Fingerprint) {
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

    /// Sends to the live broker.
    fn send(&mut self, send: SendId, id: ClientOrderId, route: Route, command: Command) {
        let (broker, transport, gate) = (Arc::clone(&self.broker), self.transport.clone(), self.gate.clone());
        let now = self.clock.now();
        let span = tracing::info_span!("order", %id);
        let work = async move {
            // The last step before the socket: nothing passes under a token or a venue that has changed.
            let Ok(pass) = gate.enter(route.generation, route.venue) else { return Input::GateShut { send } };
            let Some(token) = pass.token.as_ref() else { return Input::GateShut { send } };
            let outcome = transport.call(call(&*broker, &id, &command, now), Some(token.authorization())).await;
            drop(pass);
            Input::Reply { send, outcome }
        };
        self.later(work.instrument(span));
    }

    fn read(&mut self, read: u64, generation: Generation, answers: &mut VecDeque<Input>) {
        let snapshot = Arc::clone(&self.cell.load());
        let Some(token) = snapshot.token.clone().filter(|_| snapshot.generation == generation) else {
            // Without its token a read would be refused, and the refusal would say nothing.
            let failure = Failure::new(Cause::NotSent, Endpoint::Positions, "there is no token to read with");
            answers.push_back(Input::Read { read, generation, state: Err(failure) });
            return;
        };
        let (broker, transport, now) = (Arc::clone(&self.broker), self.transport.clone(), self.clock.now());
        self.later(async move {
            let authorization = Some(token.authorization());
            let state = async {
                let positions = transport.call(broker.positions(now), authorization).await?;
                let orders = transport.call(broker.book(now), authorization).await?;
                Ok(LiveState { positions, orders })
            };
            Input::Read { read, generation, state: state.await }
        });
    }

    fn fetch(&mut self, exchanges: BTreeSet<Exchange>) {
        let (broker, transport, clock) = (Arc::clone(&self.broker), self.transport.clone(), Arc::clone(&self.clock));
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

    // --- paper -------------------------------------------------------------------------------------------------

    /// Tells the core what happened on the paper exchange.
    fn drain_paper(&mut self) {
        loop {
            let updates = self.paper_updates();
            if updates.is_empty() {
                return;
            }
            for update in updates {
                self.tell(update);
            }
        }
    }

    fn paper_updates(&self) -> Vec<Input> {
        let orders = self.paper.drain().into_iter().filter_map(|update| match update {
            Update::Order(row) => Some(Input::Update { book: Book::Paper, row: Box::new(row) }),
            Update::Trade(_) => None,
        });
        orders.collect()
    }

    /// Fallback prices play while there is no live feed, from the moment it is missed.
    fn watch_fallback(&mut self) {
        let live = matches!(self.core.feed().status(), FeedStatus::Live { .. });
        let wanted = self.core.standing().state == State::Fallback && !live;
        if let Some((source, _)) = self.fallback.as_mut().filter(|_| wanted && !self.state.playing) {
            let now = self.clock.now().wall;
            while source.peek().is_some_and(|at| at <= now) {
                source.next();
            }
        }
        self.state.playing = wanted && self.fallback.is_some();
    }

    fn play_fallback_prices(&mut self, now: Now) {
        let Some((source, kind)) = self.fallback.as_mut().filter(|_| self.state.playing) else { return };
        while source.peek().is_some_and(|at| at <= now.wall) {
            let Some(price) = source.next() else { return };
            self.paper.price(&price.instrument, price.ltp, price.volume, price.at);
            let token = self.core.number(&price.instrument).unwrap_or(BrokerToken(0));
            let tick = Tick { token, last_price: price.ltp, detail: Detail::Ltp };
            self.hub.publish(TickEvent {
                tick,
                instrument: Arc::new(price.instrument),
                source: feed::Source::Paper(*kind),
                socket_port: 0,
                packet: 0,
                received: now,
            });
        }
    }

    // --- feed --------------------------------------------------------------------------------------------------

    fn feed(&mut self, output: feed::Output) {
        match output {
            feed::Output::Connect { socket, generation } => self.connect(socket, generation),
            feed::Output::Disconnect { socket } => {
                self.state.sockets.remove(&socket);
            }
            feed::Output::Subscribe { socket, instruments, mode } => {
                let frames = self.broker.subscribe(&instruments, mode);
                self.send_frames(socket, frames);
            }
            feed::Output::Unsubscribe { socket, instruments } => {
                let frames = self.broker.unsubscribe(&instruments);
                self.send_frames(socket, frames);
            }
            feed::Output::Failed { failures, retry_in, why } => {
                tracing::warn!("the feed's connection failed ({failures} in a row): {why}; next try in {retry_in:?}");
            }
            feed::Output::FeedRefused(refusal) => {
                let words = format!(
                    "the token is good but the feed refuses it: {}; check the market data plan. Orders are not affected",
                    refusal.failure
                );
                self.announce(Event::Alarm { at: self.clock.now().wall, words });
            }
            // The core keeps these for itself.
            feed::Output::Probe { .. } | feed::Output::Gap(_) | feed::Output::Status(_) => {}
        }
    }

    fn connect(&mut self, socket: SocketId, generation: Generation) {
        let snapshot = self.cell.load();
        let Some(token) = snapshot.token.as_ref().filter(|_| snapshot.generation == generation) else {
            tracing::error!("no token of {generation} to open the feed with");
            return;
        };
        let plan = SocketPlan {
            socket,
            address: self.feed_address.clone(),
            request: self.broker.connect(token.token()),
            codec: Arc::clone(&self.broker),
            redactor: self.vault.redactor(),
            clock: Arc::clone(&self.clock),
            io_timeout: SocketPlan::<dyn Broker>::IO_TIMEOUT,
        };
        let handle = open_socket(plan, self.socket_events.0.clone());
        self.state.sockets.insert(socket, handle);
    }

    fn send_frames(&mut self, socket: SocketId, frames: Vec<nirantar_brokers::WireMessage>) {
        let sent = self.state.sockets.get(&socket).map(|handle| handle.send(frames));
        if let Some(Err(error)) = sent {
            self.state.sockets.remove(&socket);
            self.tell(Input::Feed(feed::Input::Lost { socket, why: error.to_string() }));
        }
    }

    fn socket(&mut self, event: SocketEvent) -> Busy {
        let SocketEvent { socket, port, received, what, busy } = event;
        match what {
            SocketNews::Connected => self.tell(Input::Feed(feed::Input::Connected { socket })),
            SocketNews::Refused(failure) => self.tell(Input::Feed(feed::Input::Refused { socket, failure })),
            SocketNews::Lost(why) => self.tell(Input::Feed(feed::Input::Lost { socket, why })),
            SocketNews::Events { first_packet, events, .. } => {
                let accepted = self.core.accepts(socket);
                self.tell(Input::Feed(feed::Input::Frame { socket, ticks: count_ticks(&events) }));
                if accepted {
                    self.hand_on(port, received, first_packet, events);
                }
            }
        }
        busy
    }

    fn hand_on(&mut self, port: u16, received: Now, first_packet: u64, events: Vec<FeedEvent>) {
        let source = feed::Source::Live { generation: self.core.standing().route.generation };
        let mut packet = first_packet;
        for event in events {
            match event {
                FeedEvent::Tick(tick) => {
                    if let Some(instrument) = self.core.name(tick.token).map(Arc::clone) {
                        let volume = match tick.detail {
                            Detail::Quote(quote) | Detail::Full(quote, _) => quote.trades.map(|trades| trades.volume),
                            Detail::Ltp => None,
                        };
                        self.paper.price(&instrument, tick.last_price, volume.unwrap_or(Quantity::ZERO), received.wall);
                        self.hub.publish(TickEvent { tick, instrument, source, socket_port: port, packet, received });
                    }
                    packet += 1;
                }
                FeedEvent::Order(row) => self.tell(Input::Update { book: Book::Live, row }),
                FeedEvent::Notice(words) => tracing::info!("the broker says: {words}"),
                FeedEvent::Error(words) => tracing::warn!("the broker's feed complains: {words}"),
                FeedEvent::Garbage(what) => tracing::warn!("bytes on the feed that make no sense: {what}"),
                FeedEvent::Heartbeat => {}
            }
        }
        self.drain_paper();
    }

    // --- telling -----------------------------------------------------------------------------------------------

    fn announce(&self, event: Event) {
        let event = match event {
            Event::LoginNeeded { at, link: None } => Event::LoginNeeded { at, link: self.broker.login_url(None) },
            other => other,
        };
        match &event {
            Event::Order { .. } => tracing::debug!("{event}"),
            Event::LoginNeeded { .. } | Event::Gap(_) | Event::Notice { .. } => tracing::warn!("{event}"),
            Event::Alarm { .. } => tracing::error!("{event}"),
            Event::Transition(_)
            | Event::Venue { .. }
            | Event::Candidate { .. }
            | Event::Token { .. }
            | Event::Feed { .. }
            | Event::Compared { .. } => tracing::info!("{event}"),
        }
        self.events.send(event);
    }
}

/// The broker's call for a command; the paper exchange's is of the same trait.
fn call<B: nirantar_brokers::Orders + ?Sized>(
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

/// The paper exchange answers at once.
fn at_once<T>(call: Call<T>) -> Outcome<T> {
    match call {
        Call::Ready(outcome) => outcome,
        Call::Http { request, .. } => {
            Err(Failure::new(Cause::NotSent, request.endpoint, "the paper exchange has no network"))
        }
    }
}

/// A token handed over from outside the store, as a candidate.
pub(crate) fn offered(vault: &Vault, session: &nirantar_brokers::Session, source: Source) -> Option<Candidate> {
    vault.add(&session.access_token, session.refresh_token.clone()).then(|| Candidate {
        fingerprint: session.access_token.fingerprint(),
        source,
        issued_at: session.login_time,
        expires_at: None,
        renewable: session.refresh_token.is_some(),
    })
}
