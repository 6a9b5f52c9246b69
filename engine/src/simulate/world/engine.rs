//! The simulated process: the cores that trade, and what becomes of their outputs. This is the one place that knows what
//! the cores are told and what they ask for; it is to the simulator what `engine/task.rs` is to the tokio engine.
//!
//! Real here: [`Core`] (session, desk, feed), the [`TokenCell`], the [`Gate`], the vault with its redaction, and the paper
//! exchange. A message goes: record written and safe, gate, bytes taken, broker, answer; each takes its time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::kite::{App, Kite, facts};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, ClientOrderId, Fingerprint, InstrumentKey, Mode, OrderStatus, RateLimit, Secret, Venue};
use nirantar_exchange_mock::{MockExchange, Update};

use super::super::broker;
use super::super::checkers::{Leaving, Violation};
use super::super::market::{self, Market};
use super::super::time::Instant;
use super::super::workload::{SimulatedTick, Trader};
use super::{Arriving, Happening, Question, World};
use crate::core::{Core, Event, Input, Output};
use crate::engine::vault::Vault;
use crate::feed::{self, FeedPolicy, FeedStatus, SocketId, Supervisor};
use crate::orders::{Command, Desk, DeskPolicy, Route, SendId, Tracked};
use crate::session::{Machine, NotTaken, Notice, Operator, Resume, Source, State};
use crate::token::{Gate, Pass, Snapshot, TokenCell};

/// An operator who is asked whether live trading may go on, or is told what to mend, takes this long.
const OPERATOR_TAKES: Duration = Duration::from_secs(30);

/// Another process starts so long after one has died.
const STARTS_AFTER: Duration = Duration::from_secs(5);

/// A process that runs.
pub(super) struct Process {
    pub(super) core: Core,
    cell: Arc<TokenCell>,
    gate: Gate,
    pub(super) vault: Vault,
    paper: MockExchange,
    messages: BTreeMap<SendId, Message>,
    /// Inside the gate, each with the number of the last change of venue when it entered.
    inside: BTreeMap<SendId, (Pass, u64)>,
    epoch: u64,
    /// A change of venue waits for those inside.
    settling: Option<u64>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// What it last saw, or wrote, in the store.
    pub(super) seen: Option<Fingerprint>,
    /// Renewals it has given up.
    pub(super) given_up: BTreeSet<u64>,
    /// When the core wants to be woken. `None`: it is to be asked.
    wake_at: Option<Instant>,
    feed_live_since: Option<Instant>,
    /// The paper exchange has the last prices.
    priced: bool,
}

impl Process {
    fn price_paper(&mut self, market: &Market, at: Timestamp) {
        self.priced = true;
        for quoted in &market.quoted {
            self.paper.price(&quoted.key, quoted.price, quoted.volume, at);
        }
    }
}

/// A message on its way to the broker.
struct Message {
    id: ClientOrderId,
    route: Route,
    command: Command,
    /// Records written when it was announced, its own among them.
    ticket: usize,
}

/// One connection of the feed, as both ends know it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) token: Fingerprint,
    pub(super) open: bool,
    pub(super) instruments: usize,
}

impl World<'_> {
    // --- the process -------------------------------------------------------------------------------------------

    /// A process starts: it reads the journal and the store.
    pub(super) fn start(&mut self) -> Result<(), Violation> {
        if self.process.is_some() {
            return Ok(());
        }
        self.clock.restart(self.now);
        self.who += 1;
        self.counts.processes += 1;
        let step = self.step();
        let run = self.dice.lives.next_u64();
        let limits: Vec<RateLimit> = facts(App::Approved).limits.orders.to_vec();
        let desk = Desk::new(DeskPolicy {
            run,
            limits,
            needs_lists: true,
            modifications_per_order: 25,
            ..DeskPolicy::default()
        });
        let silence = (self.options.tick * 5 / 2).max(FeedPolicy::default().silence);
        let feed = Supervisor::new(FeedPolicy { silence, ..FeedPolicy::default() }, self.heartbeat(), self.policy.seed);
        let mut core = Core::new(Machine::new(self.policy.clone()), desk, feed, self.calendar.clone(), true);
        let date = step.now.wall.ist_date();
        let mut paper = broker::exchange(run, date, &self.calendar, market::freshness(self.options.tick));
        let mut out = Vec::new();
        if self.who > 1 {
            let past = core.restore(&self.disk.records, step.now, &mut out).paper;
            paper.restore(&past.orders, &past.trades, step.now.wall);
            self.checkers.restarted(&core, self.disk.dropped + self.disk.records.len())?;
            self.story.tell(self.clock.right(self.now), "world", || "another process has read the journal".to_owned());
        }
        let cell = Arc::new(TokenCell::new(Snapshot::starting()));
        let kite = Arc::new(Kite::new(App::Approved, "simulated", None));
        self.process = Some(Process {
            core,
            gate: Gate::new(Arc::clone(&cell)),
            cell,
            vault: Vault::new(kite, vec![Secret::new(super::super::API_SECRET)]),
            paper,
            messages: BTreeMap::new(),
            inside: BTreeMap::new(),
            epoch: 0,
            settling: None,
            sockets: BTreeMap::new(),
            seen: None,
            given_up: BTreeSet::new(),
            wake_at: None,
            feed_live_since: None,
            priced: true,
        });
        self.offered = None;
        self.perform(out)?;
        if self.is_halted() {
            self.tell(Input::Operator(Operator::Halt))?;
        }
        let wanted: BTreeSet<InstrumentKey> = self.market.quoted.iter().map(|quoted| (*quoted.key).clone()).collect();
        self.tell(Input::Subscribe(wanted, Mode::Full))?;
        self.look_at_store_at_start()?;
        self.tell(Input::Started)?;
        self.show_unresolved();
        if self.who > 1 {
            self.with_strategy(|strategy, trader| strategy.restarted(trader))?;
        }
        Ok(())
    }

    /// The process is gone, with what its disk had not made safe.
    pub(super) fn die(&mut self) {
        self.dies_after = None;
        if self.process.take().is_none() {
            return;
        }
        self.story.tell(self.clock.right(self.now), "world", || "the process dies".to_owned());
        self.who += 1;
        let disk = &mut self.disk;
        let all = disk.dropped + disk.records.len();
        if self.now >= disk.busy_until {
            disk.synced = all;
        }
        let unsynced = all.saturating_sub(disk.synced.max(disk.dropped)) as u64;
        let kept = disk.synced.max(disk.dropped) + usize::try_from(self.dice.lives.below(unsynced + 1)).unwrap_or(0);
        self.counts.records_lost += (all - kept) as u64;
        disk.records.truncate(kept - disk.dropped);
        disk.synced = kept;
        self.checkers.died();
        // The number is taken when it starts.
        self.who -= 1;
        self.queue.put(self.now + STARTS_AFTER, Happening::Starts);
    }

    /// The operator has looked at an order that nobody knows the end of: it counts as exposure no more.
    pub(super) fn acknowledge(&mut self, id: &ClientOrderId) -> Result<(), Violation> {
        let now = self.clock.now(self.now);
        let mut out = Vec::new();
        let Some(process) = &mut self.process else { return Ok(()) };
        process.wake_at = None;
        // Refused is right where evidence has overtaken the operator.
        let _ = process.core.acknowledge(id, now, &mut out);
        self.perform(out)
    }

    /// Of orders of before that nobody knows the end of, the operator is told when a process starts.
    fn show_unresolved(&mut self) {
        let (now, who) = (self.now, self.who);
        let Some(process) = &self.process else { return };
        let open = |order: &&Tracked| order.status == OrderStatus::Unresolved && !order.acknowledged;
        for order in process.core.desk().orders().filter(open) {
            self.queue.put(now + OPERATOR_TAKES, Happening::Acknowledged(who, order.id.clone()));
        }
    }

    /// When the process wants to be woken.
    pub(super) fn next_wake(&mut self) -> Instant {
        if self.asleep_until.is_some() {
            return Instant::NEVER;
        }
        let now = self.clock.now(self.now);
        let clock = self.clock;
        let Some(process) = &mut self.process else { return Instant::NEVER };
        let core = &process.core;
        let at = *process.wake_at.get_or_insert_with(|| clock.when(core.next_wake(now)));
        let paper = process.paper.next_wake(now.wall).map(|at| clock.when(now.mono_at(at)));
        paper.map_or(at, |paper| at.min(paper))
    }

    /// Its clocks were changed: it looks again, as a machine does when it wakes.
    pub(super) fn look_at_clocks(&mut self) {
        if let Some(process) = &mut self.process {
            process.wake_at = None;
        }
    }

    /// It is time.
    pub(super) fn wake(&mut self) -> Result<(), Violation> {
        let wall = self.clock.now(self.now).wall;
        if let Some(process) = &mut self.process {
            process.paper.wake(wall);
        }
        self.drain_paper()?;
        self.tell(Input::Wake)
    }

    // --- the core ----------------------------------------------------------------------------------------------

    /// Tells the core, and does what it says, until there is nothing left to tell.
    pub(super) fn tell(&mut self, input: Input) -> Result<(), Violation> {
        let mut out = Vec::new();
        self.tell_core(input, &mut out)?;
        self.perform(out)
    }

    fn tell_core(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), Violation> {
        let step = self.step();
        let right = self.right();
        let Some(process) = &mut self.process else { return Ok(()) };
        self.counts.inputs += 1;
        self.story.tell(right, "told", || format!("{input:?}"));
        if let Input::Settled { epoch } = input {
            let old = process.inside.values().filter(|(_, entered)| *entered < epoch).count();
            self.checkers.settled(old)?;
        }
        self.checkers.before(&input, &process.core)?;
        process.wake_at = None;
        process.core.on(input, step.now, out);
        Ok(())
    }

    /// Does what the core wants done, in its order; what that brings at once is told after all of it.
    pub(super) fn perform(&mut self, first: Vec<Output>) -> Result<(), Violation> {
        let (mut answers, mut told) = (VecDeque::new(), VecDeque::new());
        let mut out = first;
        loop {
            self.perform_step(out, &mut answers, &mut told)?;
            out = Vec::new();
            if let Some(answer) = answers.pop_front() {
                self.tell_core(answer, &mut out)?;
            } else if let Some(event) = told.pop_front() {
                self.with_trader(&mut out, |strategy, trader| strategy.on_event(&event, trader));
            } else {
                return Ok(());
            }
            if self.process.is_none() {
                return Ok(());
            }
        }
    }

    fn perform_step(
        &mut self,
        outputs: Vec<Output>,
        answers: &mut VecDeque<Input>,
        told: &mut VecDeque<Event>,
    ) -> Result<(), Violation> {
        let step = self.step();
        let right = self.right();
        for output in outputs {
            if self.dies_after.as_mut().is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left == 0
            }) {
                self.die();
                return Ok(());
            }
            let Some(process) = &self.process else { return Ok(()) };
            self.story.tell(right, "asks", || format!("{output:?}"));
            self.checkers.output(&output, &process.core, step)?;
            if let Output::Send { book: Book::Paper, id, .. } = &output {
                self.checkers.acted_on_paper(id)?;
            }
            self.output(output, answers, told);
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        self.checkers.after(&process.core, step)?;
        let standing = process.core.standing();
        let well = standing.state.is_live() && !matches!(standing.route.venue, Venue::Blocked(_));
        let fair = if well { None } else { self.fair_since() };
        if let Some(process) = &self.process {
            self.checkers.recovers(&process.core, fair, step)?;
        }
        Ok(())
    }

    /// Since when the world is fair: nothing goes wrong, there is a good token that was offered or is in use, and the feed
    /// delivers if the market is open.
    fn fair_since(&self) -> Option<Instant> {
        let process = self.process.as_ref()?;
        if self.now < self.clear_at || self.asleep_until.is_some() {
            return None;
        }
        let in_use = process.core.standing().token.is_some_and(|token| self.broker.is_good(token, self.now));
        let offered = self.offered.filter(|(at, token)| *at >= self.clear_at && self.broker.is_good(*token, self.now));
        let token = if in_use { self.clear_at } else { offered?.0 };
        let feed = if process.core.market_is_open() { process.feed_live_since? } else { self.clear_at };
        Some(token.max(feed).max(self.clear_at))
    }

    fn output(&mut self, output: Output, answers: &mut VecDeque<Input>, told: &mut VecDeque<Event>) {
        let (now, who) = (self.now, self.who);
        let Some(process) = &mut self.process else { return };
        match output {
            Output::Publish { standing, epoch } => {
                let token = standing.token.and_then(|token| process.vault.live(token));
                let Route { venue, reduce_only, generation } = standing.route;
                process.cell.publish(Snapshot { generation, state: standing.state, venue, reduce_only, token });
                if let Some(epoch) = epoch {
                    process.epoch = epoch;
                    if process.gate.inside() == 0 {
                        answers.push_back(Input::Settled { epoch });
                    } else {
                        process.settling = Some(epoch);
                    }
                }
                if venue == Venue::Live && reduce_only && self.policy.resume == Resume::Confirm {
                    let confirm = Input::Operator(Operator::Confirm);
                    self.queue.put(now + OPERATOR_TAKES, Happening::Tell(who, confirm));
                }
            }
            Output::Probe { probe, fingerprint } => {
                if process.vault.live(fingerprint).is_some() {
                    self.ask(Question::Probe(probe, fingerprint));
                }
            }
            Output::Attempt { attempt, way } => self.ask(Question::Renewal(attempt, way)),
            Output::Abandon { attempt } => drop(process.given_up.insert(attempt)),
            Output::Journal(record) => {
                self.counts.records += 1;
                self.disk.busy_until = now + Duration::from_millis(1);
                if self.keeps_records {
                    self.disk.records.push(record);
                } else {
                    self.disk.dropped += 1;
                }
            }
            Output::Send { send, id, book: Book::Paper, command, .. } => {
                let wall = self.clock.now(now).wall;
                self.counts.paper += 1;
                let at = self.market.at;
                if !std::mem::replace(&mut process.priced, true) {
                    process.price_paper(&self.market, at);
                }
                let outcome = broker::act(&mut process.paper, &id, &command, wall);
                answers.push_back(Input::Reply { send, outcome });
                answers.extend(paper_updates(&mut process.paper));
            }
            Output::Send { send, id, route, command, .. } => {
                let ticket = self.disk.dropped + self.disk.records.len();
                process.messages.insert(send, Message { id, route, command, ticket });
                let disk = Duration::from_micros(80 + self.dice.disk.next_u64() % 400);
                self.queue.put(now + disk, Happening::AtGate(who, send));
            }
            Output::Read { read, generation } => {
                let shown = process.cell.load();
                match shown.token.as_ref().filter(|_| shown.generation == generation) {
                    Some(token) => {
                        let token = token.token().fingerprint();
                        drop(shown);
                        self.ask(Question::Read(read, generation, token));
                    }
                    None => answers.push_back(Input::NotRead { read }),
                }
            }
            Output::Quote { generation, .. } => {
                // Nothing that is simulated reads a snapshot.
                let way = self.way();
                let none = Input::Quoted { generation, quotes: Ok(Vec::new()) };
                self.queue.put(self.now + way, Happening::Tell(self.who, none));
            }
            Output::Snapshot { .. } => {}
            Output::List(instruments) => process.paper.list(instruments),
            Output::FetchInstruments(exchanges) => self.ask(Question::Lists(exchanges)),
            Output::Feed(output) => self.feed(output),
            Output::Tell(event) => {
                self.hear(&event);
                if self.strategy.listens() {
                    told.push_back(event);
                }
            }
        }
    }

    fn feed(&mut self, output: feed::Output) {
        let (now, who) = (self.now, self.who);
        let Some(process) = &mut self.process else { return };
        match output {
            feed::Output::Connect { socket, .. } => {
                let Some(token) = process.core.standing().token else { return };
                process.sockets.insert(socket, Socket { token, open: false, instruments: 0 });
                self.ask(Question::Connect(socket, token));
            }
            feed::Output::Disconnect { socket } => {
                process.sockets.remove(&socket);
                let closed = Input::Feed(feed::Input::Closed { socket });
                let way = self.way();
                self.queue.put(now + way, Happening::Tell(who, closed));
            }
            feed::Output::Subscribe { socket, instruments, .. } => {
                if let Some(open) = process.sockets.get_mut(&socket) {
                    // Modes are asked for again for the same instruments; here each is asked for in one.
                    open.instruments = (open.instruments + instruments.len()).min(self.market.quoted.len());
                    let (count, way) = (open.instruments, self.way());
                    self.queue.put(now + way, Happening::Frame(who, socket, count));
                }
            }
            feed::Output::Unsubscribe { socket, instruments } => {
                if let Some(open) = process.sockets.get_mut(&socket) {
                    open.instruments = open.instruments.saturating_sub(instruments.len());
                }
            }
            feed::Output::Failed { .. }
            | feed::Output::FeedRefused(_)
            | feed::Output::LeftOut { .. }
            | feed::Output::Probe { .. }
            | feed::Output::Gap(_)
            | feed::Output::Status(_) => {}
        }
    }

    /// What the people and files around the engine make of what it tells.
    fn hear(&mut self, event: &Event) {
        let (now, who) = (self.now, self.who);
        match event {
            Event::LoginNeeded { .. } => self.call_human(),
            Event::Token { fingerprint, .. } => self.keep(*fingerprint),
            Event::Notice {
                notice: Notice::NotTaken { source: Source::Store, why: NotTaken::Replaced, .. }, ..
            } => {
                self.put_back();
            }
            Event::Notice { notice: Notice::Misconfigured { .. }, .. } => {
                self.queue.put(now + OPERATOR_TAKES, Happening::Tell(who, Input::Operator(Operator::Mended)));
            }
            Event::Feed { status, .. } => {
                if let Some(process) = &mut self.process {
                    let live = matches!(status, FeedStatus::Live { .. });
                    process.feed_live_since = live.then_some(process.feed_live_since.unwrap_or(now));
                }
            }
            Event::Order { order, .. } if order.status == OrderStatus::Unresolved && !order.acknowledged => {
                let looked = Happening::Acknowledged(who, order.id.clone());
                self.queue.put(now + OPERATOR_TAKES, looked);
            }
            Event::Transition(_) => self.counts.transitions += 1,
            Event::Gap { gap, .. } => self.counts.gaps += u64::from(gap.to.is_none()),
            _ => {}
        }
    }

    fn ask(&mut self, question: Question) {
        let way = self.way();
        self.queue.put(self.now + way, Happening::Asks(self.who, question));
    }

    // --- the gate ----------------------------------------------------------------------------------------------

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
        let token = pass.token.as_ref().map(|token| token.token().fingerprint());
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

    // --- ticks and paper ---------------------------------------------------------------------------------------

    /// A frame arrives on a socket.
    pub(super) fn frame(&mut self, socket: SocketId, ticks: usize) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.sockets.get(&socket).is_none_or(|socket| !socket.open) {
            return Ok(());
        }
        let accepted = process.core.accepts(socket);
        self.tell(Input::Feed(feed::Input::Frame { socket, ticks }))?;
        if accepted && ticks > 0 { self.hand_on(true) } else { Ok(()) }
    }

    /// The prices of now, to the paper exchange, the desk and the strategy.
    pub(super) fn hand_on(&mut self, live: bool) -> Result<(), Violation> {
        const BOTH: &[Book] = &[Book::Live, Book::Paper];
        let books = if live { BOTH } else { &[Book::Paper] };
        let now = self.clock.now(self.now);
        let Some(process) = &mut self.process else { return Ok(()) };
        process.priced = false;
        // Where nothing works on paper nobody can tell whether its prices came now or with the next order.
        if process.paper.next_wake(now.wall).is_some() {
            process.price_paper(&self.market, now.wall);
        }
        let mut passed = false;
        for quoted in &self.market.quoted {
            passed |= process.core.watches(books, &quoted.key)
                && process.core.mark(books, &quoted.key, quoted.price, now.wall);
        }
        self.drain_paper()?;
        if passed {
            self.tell(Input::Wake)?;
        }
        let at = self.market.at;
        for index in 0..self.market.quoted.len() {
            let Some(quoted) = self.market.quoted.get(index) else { break };
            let (instrument, price) = (Arc::clone(&quoted.key), quoted.price);
            let tick = SimulatedTick { instrument: &instrument, price, at, live };
            self.with_strategy(|strategy, trader| strategy.on_tick(tick, trader))?;
        }
        Ok(())
    }

    /// Prices are played to paper while the live feed is missed.
    pub(super) fn plays_fallback(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            let live = matches!(process.core.feed().status(), FeedStatus::Live { .. });
            process.core.standing().state == State::Fallback && !live
        })
    }

    fn drain_paper(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        for update in paper_updates(&mut process.paper) {
            self.tell(update)?;
        }
        Ok(())
    }

    /// Lets the strategy act, and performs what it asked for.
    pub(super) fn with_strategy(
        &mut self,
        act: impl FnOnce(&mut dyn super::Strategy, &mut Trader<'_>),
    ) -> Result<(), Violation> {
        let mut out = Vec::new();
        self.with_trader(&mut out, act);
        if out.is_empty() { Ok(()) } else { self.perform(out) }
    }

    fn with_trader(&mut self, out: &mut Vec<Output>, act: impl FnOnce(&mut dyn super::Strategy, &mut Trader<'_>)) {
        let now = self.clock.now(self.now);
        let Some(process) = &mut self.process else { return };
        let before = out.len();
        let mut trader = Trader {
            core: &mut process.core,
            now,
            out,
            story: &mut self.story,
            taken: &mut self.counts.orders,
            refused: &mut self.counts.refused,
        };
        act(&mut *self.strategy, &mut trader);
        if trader.out.len() > before {
            process.wake_at = None;
        }
    }
}

fn paper_updates(paper: &mut MockExchange) -> Vec<Input> {
    let rows = paper.drain().into_iter().filter_map(|update| match update {
        Update::Order(row) => Some(Input::Update { book: Book::Paper, row: Box::new(row) }),
        Update::Trade(_) | Update::Expired(_) => None,
    });
    rows.collect()
}
