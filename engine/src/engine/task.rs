//! The engine's one task: takes messages, asks the core, performs what it says.
//!
//! The core is called by this task only. What takes time (a call to the broker, a renewal, waiting at the gate) is a
//! task of its own that ends in a message. Each carries the [`Busy`] that holds a stepped clock still.
//!
//! This module holds the loop and says who performs what; the performing is in [`super::asking`] (the live broker),
//! [`super::paper`] (the paper exchange and fallback prices), [`super::feeding`] (sockets and ticks) and
//! [`super::keeping`] (tokens into the store).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt as _;
use nirantar_brokers::time::{Busy, Clock, Monotonic, Now};
use nirantar_brokers::{Book, Broker, ClientOrderId, OrderChange, OrderRequest, Renewal, Trading};
use nirantar_exchange_mock::{PaperBroker, PriceSource};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument as _;

use super::asking::unwritten;
use super::events::EventSender;
use super::feeding::Carrier;
use super::halting::HaltFile;
use super::health::LastError;
use super::journalling::{Journalling, Ticket};
use super::keeping::PutBack;
use super::paper::Played;
use super::renewal::{Known, Renewer, candidate};
use super::transport::Transport;
use super::vault::Vault;
use crate::core::{Core, Event, Input, Output};
use crate::feed::{Admission, FeedAddress, PaperSource, PriceChain, Publisher, SocketEvent, SocketId, Tap, TickEvent};
use crate::orders::{JournalError, Refused, Route};
use crate::session::{NotTaken, Notice, Source};
use crate::timetables::Timetables;
use crate::token::{Gate, Sighting, Snapshot, TokenCell};

/// How long the end of an engine waits for a renewal to be stored, by the wall clock.
const GRACE: Duration = Duration::from_millis(1_000);
/// A human who does not answer is asked on the phone again after this.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// Answers whoever submitted an order.
type Taken<T> = oneshot::Sender<Result<T, super::NotTaken>>;

/// What the engine's handle, its sub-tasks and its watchers tell it.
pub(crate) enum Message {
    Submit {
        request: OrderRequest,
        taken: Taken<ClientOrderId>,
        busy: Busy,
    },
    Cancel {
        id: ClientOrderId,
        taken: Taken<()>,
        busy: Busy,
    },
    Modify {
        id: ClientOrderId,
        change: OrderChange,
        taken: oneshot::Sender<Result<(), Refused>>,
        busy: Busy,
    },
    Acknowledge {
        id: ClientOrderId,
        taken: Taken<()>,
        busy: Busy,
    },
    Do(Input, Busy),
    Look {
        at: Box<dyn FnOnce(&Core) + Send>,
        busy: Busy,
    },
    /// A tick of another account's live feed.
    Lent(Box<TickEvent>, Busy),
    Stop,
}

/// Everything the task works with.
pub(crate) struct Task {
    pub(crate) core: Core,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) broker: Arc<dyn Broker>,
    /// `None`: only this broker's sessions are kept, and the core asks for nothing else.
    pub(crate) trading: Option<Arc<dyn Trading>>,
    pub(crate) transport: Transport,
    pub(crate) vault: Vault,
    pub(crate) cell: Arc<TokenCell>,
    pub(crate) gate: Gate,
    pub(crate) journal: Journalling,
    pub(crate) renewer: Renewer,
    pub(crate) paper: PaperBroker,
    pub(crate) fallback: Option<(Box<dyn PriceSource + Send>, PaperSource)>,
    /// Whether another account's prices are of use now.
    pub(crate) wants_others: Arc<AtomicBool>,
    pub(crate) feed_address: FeedAddress,
    pub(crate) hub: Publisher,
    /// What comes over the feed's sockets is recorded.
    pub(crate) tap: Option<Tap>,
    pub(crate) events: EventSender,
    pub(crate) inbox: mpsc::Receiver<Message>,
    pub(crate) myself: mpsc::WeakSender<Message>,
    pub(crate) sightings: mpsc::Receiver<Sighting>,
    pub(crate) socket_events: (mpsc::Sender<SocketEvent>, mpsc::Receiver<SocketEvent>),
    pub(crate) last_error: LastError,
    /// Whether a human is asked on the phone when a login is due.
    pub(crate) ask_approval: bool,
    /// Where a human is sent to log in, if not to the broker's own page.
    pub(crate) login_link: Option<String>,
    /// What halts trading while it is there.
    pub(super) halt_file: Option<HaltFile>,
    /// The calendar's file, where the account has one.
    pub(super) timetables: Option<Timetables>,
    /// What the journal's replay wants written and told, before anything else happens.
    pub(crate) opening: Vec<Output>,
    pub(crate) state: Doing,
}

/// What is under way.
#[derive(Default)]
pub(crate) struct Doing {
    pub(super) tasks: JoinSet<()>,
    attempts: BTreeMap<u64, (Renewal, AbortHandle)>,
    /// What the supervisor made of each tick of a frame: empty between frames, kept for its memory.
    pub(super) judged: Vec<Admission>,
    /// Tokens on their way into the store.
    pub(super) keeping: Vec<AbortHandle>,
    pub(super) put_back: PutBack,
    /// When a human was last asked on the phone.
    approval_asked: Option<Monotonic>,
    pub(super) sockets: BTreeMap<SocketId, Carrier>,
    /// Fallback prices are being played.
    pub(super) playing: bool,
    pub(super) played: Played,
    pub(super) chain: PriceChain,
}

enum Happened {
    Message(Option<Message>),
    Sighting(Sighting),
    Socket(Option<SocketEvent>),
    NotWritten(JournalError),
    Time(Busy),
}

impl Task {
    /// Runs until told to stop, or until the last handle is gone.
    pub(crate) async fn run(mut self) {
        // What holds a stepped clock still while something is being dealt with.
        let mut busy = self.clock.busy();
        let opening = std::mem::take(&mut self.opening);
        self.perform(opening);
        // Orders of paper whose time ended while no process was there.
        self.drain_paper();
        loop {
            let wake = self.clock.sleep_until(self.next_wake(self.clock.now()));
            // Only now may the clock go on: before, nobody would have woken us.
            drop(busy);
            let happened = tokio::select! {
                message = self.inbox.recv() => Happened::Message(message),
                Some(sighting) = self.sightings.recv() => Happened::Sighting(sighting),
                event = self.socket_events.1.recv() => Happened::Socket(event),
                error = self.journal.failure() => Happened::NotWritten(error),
                busy = wake => Happened::Time(busy),
            };
            busy = match happened {
                Happened::Message(None | Some(Message::Stop)) | Happened::Socket(None) => return self.finish().await,
                Happened::Message(Some(message)) => self.message(message),
                Happened::Sighting(sighting) => self.sighting(sighting),
                Happened::Socket(Some(event)) => self.socket(event),
                Happened::NotWritten(error) => {
                    let busy = self.clock.busy();
                    self.not_written(&error);
                    busy
                }
                Happened::Time(busy) => {
                    self.time_passed();
                    busy
                }
            };
            while self.state.tasks.try_join_next().is_some() {}
        }
    }

    /// Nothing new starts; but a renewal whose reply is on its way, or a token on its way into the store, would be lost
    /// with us.
    async fn finish(mut self) {
        self.state.sockets.clear();
        let attempts = std::mem::take(&mut self.state.attempts).into_values().map(|(_, handle)| handle);
        let waited_for: Vec<AbortHandle> = attempts.chain(std::mem::take(&mut self.state.keeping)).collect();
        let finished = async {
            while waited_for.iter().any(|task| !task.is_finished()) {
                if self.state.tasks.join_next().await.is_none() {
                    return;
                }
            }
        };
        // Each has the whole grace.
        let (finished, written) =
            tokio::join!(tokio::time::timeout(GRACE, finished), tokio::time::timeout(GRACE, self.journal.close()));
        if finished.is_err() {
            tracing::warn!("a renewal was cut off by the end of the engine");
        }
        if written.is_err() {
            tracing::error!("the journal is still being written: its disk is slow; wait before starting again");
        }
    }

    fn next_wake(&self, now: Now) -> Monotonic {
        let paper = self.paper.next_wake(now.wall).map(|at| now.mono_at(at));
        let price = self.fallback.as_ref().filter(|_| self.state.playing).and_then(|(source, _)| source.peek());
        let halt = self.halt_file.as_ref().map(|file| file.next_look(&self.core));
        let calendar = self.timetables.as_ref().map(Timetables::next_look);
        [Some(self.core.next_wake(now)), paper, price.map(|at| now.mono_at(at)), halt, calendar]
            .into_iter()
            .flatten()
            .fold(Monotonic::from_nanos(u64::MAX), Ord::min)
    }

    fn message(&mut self, message: Message) -> Busy {
        let now = self.clock.now();
        let mut outputs = Vec::new();
        match message {
            Message::Submit { request, taken, busy } => {
                self.look_at_halt_file();
                self.mark_before(&request.instrument, now);
                let result = self.core.submit(request, now, &mut outputs);
                self.perform(outputs);
                answer_once_written(result, self.journal.last(), taken, busy.clone());
                busy
            }
            Message::Cancel { id, taken, busy } => {
                let result = self.core.cancel(&id, now, &mut outputs);
                self.perform(outputs);
                answer_once_written(result, self.journal.last(), taken, busy.clone());
                busy
            }
            Message::Modify { id, change, taken, busy } => {
                if let Some(of) = self.core.desk().order(&id).map(|order| order.request.instrument.clone()) {
                    self.mark_before(&of, now);
                }
                let result = self.core.modify(&id, change, now, &mut outputs);
                self.perform(outputs);
                let _ = taken.send(result);
                busy
            }
            Message::Acknowledge { id, taken, busy } => {
                let result = self.core.acknowledge(&id, now, &mut outputs);
                self.perform(outputs);
                answer_once_written(result, self.journal.last(), taken, busy.clone());
                busy
            }
            Message::Do(input, busy) => {
                let wish = if let Input::Operator(wish) = input { Some(wish) } else { None };
                self.tell(input);
                // What is to be cancelled is on its way: now that it holds over a restart.
                if let Some(wish) = wish {
                    self.keep_halt(wish);
                }
                busy
            }
            Message::Look { at, busy } => {
                at(&self.core);
                busy
            }
            Message::Lent(event, busy) => {
                self.lent(*event);
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
        self.look_at_halt_file();
        self.look_at_timetables();
        self.tell(Input::Wake);
    }

    /// Tells the core, and performs what it says, until there is nothing left to tell.
    pub(super) fn tell(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.core.on(input, self.clock.now(), &mut outputs);
        self.perform(outputs);
    }

    /// Performs outputs in their order; what they bring at once is told to the core after all of them.
    pub(super) fn perform(&mut self, outputs: Vec<Output>) {
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
                let (renewer, mut busy) = (self.renewer.clone(), self.clock.busy());
                let session = self.core.session();
                let known = Known {
                    spent: session.spent_tokens(),
                    replaced: session.replaced_tokens().to_vec(),
                    last: self.core.last_token(),
                };
                let handle = self.later_holding(async move {
                    let end = renewer.attempt(way, known, &mut busy).await;
                    (Input::Attempted { attempt, end }, busy)
                });
                self.state.attempts.retain(|_, (_, handle)| !handle.is_finished());
                self.state.attempts.insert(attempt, (way, handle));
            }
            Output::Abandon { attempt } => {
                // A request that has left may have ended the living token: it runs out, and what it brings is a candidate.
                // A command of the user's is ended.
                if let Some((Renewal::External, handle)) = self.state.attempts.get(&attempt) {
                    handle.abort();
                }
            }
            Output::Journal(record) => {
                self.journal.append(record, &*self.clock);
                if let Some(error) = self.journal.failure().now_or_never() {
                    self.not_written(&error);
                }
            }
            Output::Send { send, id, book, route, command } => {
                // Good for the record that announces this message, and for all before it.
                let ticket = self.journal.last();
                if let Some(Err(error)) = ticket.now() {
                    answers.push_back(Input::NotWritten { send, failure: unwritten(&command, &error) });
                } else if book == Book::Paper {
                    let outcome = self.send_to_paper(&id, &command);
                    answers.push_back(Input::Reply { send, outcome });
                    answers.extend(self.paper_updates());
                } else {
                    self.send(send, id, route, command, ticket);
                }
            }
            Output::Read { read, generation } => self.read(read, generation, answers),
            Output::List(instruments) => self.paper.with(|exchange| exchange.list(instruments)),
            Output::FetchInstruments(exchanges) => self.fetch(exchanges),
            Output::Quote { generation, instruments } => self.quote(generation, &instruments, answers),
            Output::Snapshot { generation, ticks } => self.hand_on_snapshot(generation, ticks),
            Output::Feed(output) => self.feed(output),
            Output::Tell(event) => self.announce(event),
        }
    }

    /// Said once: from now on every order ends unsent.
    fn not_written(&mut self, error: &JournalError) {
        let words = format!(
            "{error}. No order, change or cancel is sent any more, and what rests at the broker stays there: use the \
             broker's own app; when that is mended, start the engine again"
        );
        self.announce(Event::Alarm { at: self.clock.now().wall, words });
    }

    /// Starts a task that ends in an input. The clock stands still until the input is dealt with.
    pub(super) fn later(&mut self, work: impl Future<Output = Input> + Send + 'static) -> AbortHandle {
        let busy = self.clock.busy();
        self.later_holding(async move { (work.await, busy) })
    }

    /// The same for work that lets the clock go on in between.
    fn later_holding(&mut self, work: impl Future<Output = (Input, Busy)> + Send + 'static) -> AbortHandle {
        let inbox = self.myself.clone();
        let task = async move {
            let (input, busy) = work.await;
            if let Some(inbox) = inbox.upgrade() {
                // An engine that has stopped needs no answer.
                let _ = inbox.send(Message::Do(input, busy)).await;
            }
        };
        self.state.tasks.spawn(task.in_current_span())
    }

    /// Where the account wants it and the broker can, the human is asked on the phone, and not too often.
    fn ask_on_the_phone(&mut self) {
        let now = self.clock.now().mono;
        let asked = self.state.approval_asked.is_some_and(|at| now < at + ASK_AGAIN);
        if !self.ask_approval || asked {
            return;
        }
        self.state.approval_asked = Some(now);
        let (renewer, busy) = (self.renewer.clone(), self.clock.busy());
        let ask = async move {
            let asked = renewer.transport.call(renewer.broker.ask_approval(), None).await;
            let at = renewer.clock.now().wall;
            let event = match asked {
                Ok(approval) => Event::ApprovalAsked { at, lapses_at: approval.lapses_at },
                Err(failure) => {
                    let words =
                        format!("the broker did not ask you on the phone for a new token: {failure}; log in instead");
                    Event::Alarm { at, words }
                }
            };
            tracing::warn!("{event}");
            renewer.events.send(event);
            drop(busy);
        };
        self.state.tasks.spawn(ask.in_current_span());
    }

    pub(super) fn announce(&mut self, event: Event) {
        let event = match event {
            Event::LoginNeeded { at, link: None } => Event::LoginNeeded { at, link: self.login_link() },
            Event::RefreshTokenDies { at, dies, link: None } => {
                Event::RefreshTokenDies { at, dies, link: self.login_link() }
            }
            other => other,
        };
        if let Event::LoginNeeded { .. } = event {
            self.ask_on_the_phone();
        }
        match &event {
            Event::Order { .. } | Event::Answered { .. } => tracing::debug!("{event}"),
            Event::LoginNeeded { .. }
            | Event::ApprovalAsked { .. }
            | Event::RefreshTokenDies { .. }
            | Event::Gap { .. }
            | Event::ExitWanted { .. }
            | Event::Notice { .. } => tracing::warn!("{event}"),
            Event::Alarm { .. } | Event::NotStored { .. } | Event::Unmanaged { .. } => tracing::error!("{event}"),
            Event::Transition(_)
            | Event::Venue { .. }
            | Event::Candidate { .. }
            | Event::Token { .. }
            | Event::Feed { .. }
            | Event::Instruments { .. }
            | Event::Compared { .. } => tracing::info!("{event}"),
        }
        self.last_error.note(&event);
        match &event {
            Event::Token { fingerprint, .. } => self.keep_proven(*fingerprint),
            Event::Notice {
                notice: Notice::NotTaken { source: Source::Store, why: NotTaken::Replaced, .. }, ..
            } => self.put_back(),
            _ => {}
        }
        self.events.send(event);
    }

    fn login_link(&self) -> Option<String> {
        self.login_link.clone().or_else(|| self.broker.login_url(None))
    }
}

/// The caller hears that something was taken, or is remembered, once it is safe in the journal, however the engine goes
/// on meanwhile.
pub(super) fn answer_once_written<T: Send + 'static>(
    result: Result<T, Refused>,
    ticket: Ticket,
    taken: Taken<T>,
    busy: Busy,
) {
    let answer = |written: Result<(), JournalError>| match (result, written) {
        (Ok(done), Ok(())) => Ok(done),
        (Ok(_) | Err(Refused::Remembered), Err(error)) => Err(super::NotTaken::NotWritten(error)),
        (Err(refused), _) => Err(refused.into()),
    };
    // The caller may have gone away; what they asked for has not.
    if let Some(written) = ticket.now() {
        let _ = taken.send(answer(written));
        return;
    }
    // It ends with the journal, not with the engine: it was taken, and its caller must know.
    let wait = async move {
        let _ = taken.send(answer(ticket.written().await));
        drop(busy);
    };
    tokio::spawn(wait.in_current_span());
}
