//! The engine's core and a Kite server on one heap of deadlines: no socket, no task, no clock but the heap's own.
//!
//! What the tokio driver does with the core's outputs is done here (`engine/src/engine/{task,asking,feeding}.rs` are the
//! model): a message becomes the codec's request, travels for a while, is acted on or lost at the server, and what comes
//! back, or nothing within the client's timeout, is decoded by the codec. The same seed gives the same story.

#[path = "wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use nirantar::core::{Core, Event, Input, Output, Standing};
use nirantar::feed::{FeedPolicy, SocketId, Supervisor};
use nirantar::orders::{Command, Desk, DeskPolicy, Journal as _, LiveState, MemoryJournal, SendId};
use nirantar::session::{AttemptEnd, Candidate, Generation, Machine, Policy, Source, Verdict};
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Monotonic, Now, Rng, Timestamp};
use nirantar_brokers::{
    AccessToken, Auth as _, Book, Broker as _, Call, Cause, ClientOrderId, Exchange, Failure, Fingerprint,
    InstrumentKey, MarketData as _, Mode, Money, Orders as _, Refusal,
};
use nirantar_exchange_mock::Calendar;
use nirantar_exchange_mock::kite::{self as server, KiteExchange, OrderLog, Settings};

use super::prices::{self, Prices};
use super::weather::Weather;
use wire::{Happening, Heard};

/// So often the core may be woken at one moment before it is taken to spin.
const MOST_WAKES: u32 = 1_000;

/// One day's server.
struct Day {
    exchange: KiteExchange,
    /// The engine's sockets that are open there, and until when what was sent on them is on its way.
    sockets: BTreeMap<SocketId, (server::SocketId, Monotonic)>,
    open: bool,
}

/// A core and its broker.
pub struct World {
    pub core: Core,
    pub now: Now,
    pub journal: MemoryJournal,
    pub weather: Weather,
    pub rng: Rng,
    /// Order requests of the days before.
    pub log: Vec<OrderLog>,
    /// How often each fault befell a request.
    pub struck: BTreeMap<String, usize>,
    /// What the engine complained of.
    pub alarms: Vec<String>,
    broker: Kite,
    day: Day,
    heap: BTreeMap<(Monotonic, u64), Happening>,
    happenings: u64,
    vault: BTreeMap<Fingerprint, AccessToken>,
    shown: Standing,
    ports: u16,
    wakes: (Monotonic, u32),
}

impl World {
    /// A core that was just started, at `now`; the server's day comes with [`morning`](Self::morning).
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let settings = Settings::default();
        let broker = Kite::new(App::Individual, settings.api_key.clone(), Some(settings.api_secret.clone()));
        let facts = broker.facts().clone();
        let policy = Policy { user_id: Some(settings.user_id), ..Policy::for_broker(&facts) };
        let desk = Desk::new(DeskPolicy {
            limits: facts.limits.orders.to_vec(),
            reads_share_limits: facts.limits.reads_share,
            modifications_per_order: facts.limits.modifications_per_order,
            propagation: facts.propagation,
            // Three times the engine's own: each look reads whole books, which takes its time in a debug build.
            look_again: Duration::from_secs(3),
            ..DeskPolicy::default()
        });
        let feed = Supervisor::new(FeedPolicy::default(), facts.limits.feed.heartbeat, seed);
        let core = Core::new(Machine::new(policy), desk, feed, Calendar::nse(), true);
        let now = Now { mono: Monotonic::from_nanos(1), wall: now };
        let mut this = Self {
            shown: core.standing(),
            core,
            now,
            journal: MemoryJournal::default(),
            weather: Weather::default(),
            rng: Rng::from_seed(seed),
            log: Vec::new(),
            struck: BTreeMap::new(),
            alarms: Vec::new(),
            broker,
            day: Day { exchange: exchange(seed, now.wall, now.wall), sockets: BTreeMap::new(), open: false },
            heap: BTreeMap::new(),
            happenings: 0,
            vault: BTreeMap::new(),
            ports: 0,
            wakes: (now.mono, 0),
        };
        let wanted = prices::listed(now.wall.ist_date()).into_iter().map(|(listed, _)| listed.key);
        this.tell(Input::Subscribe(wanted.collect::<BTreeSet<InstrumentKey>>(), Mode::Full));
        this.tell(Input::Started);
        this
    }

    /// A new day at the broker: an empty book, no positions, a market that is busy until `busy_until`; and a human logs
    /// in.
    pub fn morning(&mut self, busy_until: Timestamp) {
        let seed = self.rng.next_u64();
        let exchange = exchange(seed, self.now.wall, busy_until);
        self.day = Day { exchange, sockets: BTreeMap::new(), open: true };
        let token = self.day.exchange.log_in(self.now.wall).access_token;
        let fingerprint = token.fingerprint();
        self.vault.insert(fingerprint, token);
        let (issued_at, source) = (Some(self.now.wall), Source::Login);
        let (expires_at, refresh, refresh_dies) = (None, None, None);
        self.tell(Input::Candidate(Candidate { fingerprint, source, issued_at, expires_at, refresh, refresh_dies }));
    }

    /// The broker's servers go down for the night.
    pub fn evening(&mut self) {
        self.log.extend(self.day.exchange.log().orders.iter().cloned());
        self.day.open = false;
        for socket in std::mem::take(&mut self.day.sockets).into_keys() {
            self.later(Duration::from_millis(5), Happening::Heard { socket, what: Heard::Lost });
        }
    }

    /// The day's order requests so far, as the server saw them.
    pub fn requests_of_the_day(&self) -> &[OrderLog] {
        &self.day.exchange.log().orders
    }

    /// What the server itself says, whatever the weather.
    pub fn ask_the_server<T>(&mut self, call: impl FnOnce(&Kite, Now) -> Call<T>) -> T {
        let hidden = std::mem::take(&mut self.weather);
        self.day.exchange.clear_fault("all", self.now.wall);
        let Call::Http { request, decode } = call(&self.broker, self.now) else { panic!("Kite answers over HTTP") };
        let token = self.shown.token.map(|token| self.vault[&token].clone());
        let parts = self.parts(&request, token.as_ref());
        let reply = self.day.exchange.handle(&parts, self.now.wall);
        self.weather = hidden;
        decode(Ok(wire::response(reply))).unwrap()
    }

    /// Lets time pass, and everything happen that is due.
    pub fn run_until(&mut self, until: Timestamp) {
        let end = self.now.mono_at(until);
        loop {
            let core = self.core.next_wake(self.now);
            let server = self.day.exchange.next_wake().filter(|_| self.day.open).map(|at| self.now.mono_at(at));
            let heap = self.heap.first_key_value().map(|((at, _), _)| *at);
            let next = [Some(core), server, heap].into_iter().flatten().min().unwrap_or(end);
            if next > end {
                return self.stand_at(end);
            }
            self.stand_at(next.max(self.now.mono));
            if server == Some(next) {
                self.day.exchange.advance(self.now.wall);
                self.collect_frames();
            } else if heap == Some(next) {
                let (_, happening) = self.heap.pop_first().unwrap();
                self.happen(happening);
            } else {
                let (at, times) = self.wakes;
                self.wakes = if at == self.now.mono { (at, times + 1) } else { (self.now.mono, 0) };
                assert!(self.wakes.1 < MOST_WAKES, "the core spins at {}", self.now.wall);
                self.tell(Input::Wake);
            }
        }
    }

    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now.wall + span);
    }

    /// Asks the core to do something at once, and performs what it says.
    pub fn ask<T>(&mut self, ask: impl FnOnce(&mut Core, Now, &mut Vec<Output>) -> T) -> T {
        let mut outputs = Vec::new();
        let answer = ask(&mut self.core, self.now, &mut outputs);
        self.perform(outputs);
        answer
    }

    // --- the driver --------------------------------------------------------------------------------------------

    fn stand_at(&mut self, at: Monotonic) {
        let passed = at.since(self.now.mono);
        self.now = self.now + passed;
    }

    fn tell(&mut self, input: Input) {
        self.ask(|core, now, out| core.on(input, now, out));
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        let mut todo: VecDeque<Output> = outputs.into();
        let mut answers: VecDeque<Input> = VecDeque::new();
        loop {
            while let Some(output) = todo.pop_front() {
                self.output(output, &mut answers);
            }
            let Some(answer) = answers.pop_front() else { return };
            let mut more = Vec::new();
            self.core.on(answer, self.now, &mut more);
            todo.extend(more);
        }
    }

    fn output(&mut self, output: Output, answers: &mut VecDeque<Input>) {
        match output {
            Output::Publish { standing, epoch } => {
                self.shown = standing;
                answers.extend(epoch.map(|epoch| Input::Settled { epoch }));
            }
            Output::Probe { probe, fingerprint } => {
                let token = self.vault[&fingerprint].clone();
                self.call(self.broker.probe(), Some(&token), move |world, found| {
                    let verdict = match found {
                        Ok(profile) => Verdict::Accepted { user_id: profile.user_id },
                        Err(Failure { cause: Cause::Refused(Refusal::Conclusive), .. }) => Verdict::Refused,
                        Err(_) => Verdict::Inconclusive,
                    };
                    world.tell(Input::Probed { probe, verdict });
                });
            }
            Output::Attempt { attempt, .. } => {
                answers.push_back(Input::Attempted { attempt, end: AttemptEnd::Failed });
            }
            Output::Abandon { .. } => {}
            Output::Journal(record) => self.journal.append(&record).unwrap(),
            Output::Send { send, id, book, route, command } => {
                assert_eq!(book, Book::Live, "nobody trades on paper here");
                let token = self.shown.token.filter(|_| {
                    let shown = self.shown.route;
                    (shown.generation, shown.venue) == (route.generation, route.venue)
                });
                match token {
                    Some(token) => self.send(send, &id, &command, token),
                    None => answers.push_back(Input::GateShut { send }),
                }
            }
            Output::Read { read, generation } => self.read(read, generation, answers),
            Output::FetchInstruments(exchanges) => {
                for exchange in exchanges {
                    self.fetch(exchange);
                }
            }
            Output::Feed(output) => self.feed(output),
            Output::Tell(Event::Alarm { at, words }) => self.alarms.push(format!("{at}: {words}")),
            Output::Tell(_) => {}
            // What is new since this was written concerns paper and operators: nothing here depends on it.
            #[allow(unreachable_patterns, reason = "other parts of the issue add outputs")]
            _ => {}
        }
    }

    fn send(&mut self, send: SendId, id: &ClientOrderId, command: &Command, token: Fingerprint) {
        let (broker, now) = (&self.broker, self.now);
        let call = match command {
            Command::Place(request) => broker.place(request, id, now),
            Command::Modify(order, change) => broker.modify(order, change, now),
            Command::Cancel(order) => broker.cancel(order, now),
        };
        let token = self.vault[&token].clone();
        self.call(call, Some(&token), move |world, outcome| world.tell(Input::Reply { send, outcome }));
    }

    fn read(&mut self, read: u64, generation: Generation, answers: &mut VecDeque<Input>) {
        let token = self.shown.token.filter(|_| self.shown.route.generation == generation);
        let Some(token) = token.map(|token| self.vault[&token].clone()) else {
            answers.push_back(Input::NotRead { read });
            return;
        };
        let end = move |world: &mut Self, state| world.tell(Input::Read { read, generation, state });
        let positions = self.broker.positions(self.now);
        self.call(positions, Some(&token.clone()), move |world, positions| {
            let positions = match positions {
                Ok(positions) => positions,
                Err(failure) => return end(world, Err(failure)),
            };
            let book = world.broker.book(world.now);
            world.call(book, Some(&token.clone()), move |world, orders| {
                let orders = match orders {
                    Ok(orders) => orders,
                    Err(failure) => return end(world, Err(failure)),
                };
                let trades = world.broker.trades(world.now);
                world.call(trades, Some(&token), move |world, trades| {
                    end(world, trades.map(|trades| LiveState::new(positions, orders, trades)));
                });
            });
        });
    }

    fn fetch(&mut self, exchange: Exchange) {
        let call = self.broker.instruments(Some(exchange));
        self.call(call, None, move |world, instruments| match instruments {
            Ok(instruments) => world.tell(Input::Instruments(instruments)),
            Err(_) => world.fetch(exchange),
        });
    }
}

fn exchange(seed: u64, open: Timestamp, busy_until: Timestamp) -> KiteExchange {
    let close = Calendar::nse().continuous_on(Exchange::Nse, open.ist_date()).map_or(open, |(_, close)| close);
    let settings = Settings {
        seed,
        cash: Money::from_rupees(400_000_000),
        instruments: Some(prices::listed(open.ist_date()).into_iter().map(|(listed, _)| listed).collect()),
        ..Settings::default()
    };
    KiteExchange::new(settings, Box::new(Prices::new(seed, open, busy_until, close)))
}
