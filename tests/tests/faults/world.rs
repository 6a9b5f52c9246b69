//! The engine's core and a Kite server on one heap of deadlines: no socket, no task, no clock but the heap's own.
//!
//! What the tokio driver does with the core's outputs is done here (`engine/src/engine/{task,asking,feeding}.rs` are the
//! model): a message becomes the codec's request, travels for a while, is acted on or lost at the server, and what comes
//! back, or nothing within the client's timeout, is decoded by the codec. The same seed gives the same story.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use nirantar::core::{Core, Event, Input, Output, Standing};
use nirantar::feed::{self, FeedPolicy, SocketId, Supervisor, count_ticks};
use nirantar::orders::{Command, Desk, DeskPolicy, Journal as _, LiveState, MemoryJournal, SendId};
use nirantar::session::{AttemptEnd, Candidate, Generation, Machine, Policy, Source, Verdict};
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Monotonic, Now, Rng, Timestamp};
use nirantar_brokers::{
    AccessToken, Auth as _, Body, Book, Broker as _, Call, Cause, ClientOrderId, Endpoint, Exchange, Failure,
    Feed as _, FeedEvent, Fingerprint, Form, HttpRequest, HttpResponse, InstrumentKey, Lost, MarketData as _, Mode,
    Money, Orders as _, Outcome, Refusal, WireMessage,
};
use nirantar_exchange_mock::Calendar;
use nirantar_exchange_mock::kite::{
    self as server, FaultRule, HttpParts, KiteExchange, OrderLog, Reply, Settings, Transport,
};

use super::prices::{self, Prices};
use super::weather::{Strike, Weather};

/// How long the client waits for an answer: what `transport.rs` waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(7);
/// So often the core may be woken at one moment before it is taken to spin.
const MOST_WAKES: u32 = 1_000;

/// What becomes of an answer.
type Then = Box<dyn FnOnce(&mut World, Result<HttpResponse, Lost>)>;

/// Something on its way.
enum Happening {
    /// A request reaches the server.
    Request { parts: HttpParts, changes_orders: bool, left: Now, then: Then },
    /// An answer, or the certainty that there is none, reaches the client.
    Answer { answer: Result<HttpResponse, Lost>, then: Then },
    /// A handshake reaches the server.
    Handshake { socket: SocketId, query: Form },
    /// The engine hears of a socket of its own.
    Heard { socket: SocketId, what: Heard },
    /// The server hears a message on a socket.
    Said { socket: SocketId, message: String },
}

enum Heard {
    Connected,
    Refused(u16),
    Lost,
    Frame(WireMessage),
}

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
        decode(Ok(response(reply))).unwrap()
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
            let failure = Failure::new(Cause::NotSent, Endpoint::Positions, "there is no token to read with");
            answers.push_back(Input::Read { read, generation, state: Err(failure) });
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
                    end(world, trades.map(|trades| LiveState { positions, orders, trades }));
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

    // --- requests ----------------------------------------------------------------------------------------------

    fn call<T: 'static>(
        &mut self,
        call: Call<T>,
        token: Option<&AccessToken>,
        then: impl FnOnce(&mut Self, Outcome<T>) + 'static,
    ) {
        let Call::Http { request, decode } = call else { panic!("Kite answers over HTTP") };
        let (parts, changes_orders) = (self.parts(&request, token), request.endpoint.changes_orders());
        let then: Then = Box::new(move |world, answer| then(world, decode(answer)));
        let refused = changes_orders && self.weather.refuses_connections(&mut self.rng);
        if refused {
            *self.struck.entry("connection refused".to_owned()).or_default() += 1;
        }
        if refused || !self.day.open {
            let answer = Err(Lost::NotSent("connection refused".to_owned()));
            return self.later(Duration::from_millis(1), Happening::Answer { answer, then });
        }
        // Less than the headroom of the engine's limits.
        let travel = Duration::from_millis(2 + self.rng.below(60));
        let left = self.now;
        self.later(travel, Happening::Request { parts, changes_orders, left, then });
    }

    fn parts(&self, request: &HttpRequest, token: Option<&AccessToken>) -> HttpParts {
        let token = token.filter(|_| request.authorized);
        let body = match &request.body {
            Body::Form(form) => form.clone(),
            Body::Empty => Form::new(),
            Body::Json(_) => panic!("Kite takes forms"),
        };
        HttpParts {
            query: request.query.clone(),
            body,
            authorization: token.map(|token| self.broker.authorization(token)),
            ..HttpParts::new(request.method, request.path.clone())
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Request { parts, changes_orders, left, then } => {
                let reply = self.serve(&parts, changes_orders);
                self.collect_frames();
                let back = Duration::from_millis(2 + self.rng.below(60));
                let (wait, answer) = match reply.transport {
                    Transport::Normal => (back, Ok(response(reply))),
                    Transport::Delay(span) => (span + back, Ok(response(reply))),
                    Transport::Hang => (CALL_TIMEOUT * 2, Err(Lost::NoReply("silence".to_owned()))),
                    Transport::Cut | Transport::Reset => (back, Err(Lost::NoReply("connection reset".to_owned()))),
                };
                let patience = (left + CALL_TIMEOUT).mono.since(self.now.mono);
                if wait > patience {
                    let answer = Err(Lost::NoReply("timed out".to_owned()));
                    self.later(patience, Happening::Answer { answer, then });
                } else {
                    self.later(wait, Happening::Answer { answer, then });
                }
            }
            Happening::Answer { answer, then } => then(self, answer),
            Happening::Handshake { socket, query } => self.shake_hands(socket, &query),
            Happening::Heard { socket, what } => self.hear(socket, what),
            Happening::Said { socket, message } => {
                if let Some((there, _)) = self.day.sockets.get(&socket) {
                    self.day.exchange.message(*there, &message, self.now.wall);
                    self.collect_frames();
                }
            }
        }
    }

    /// The server's answer, in the present weather.
    fn serve(&mut self, parts: &HttpParts, changes_orders: bool) -> Reply {
        let strike = self.weather.strike(changes_orders, &mut self.rng);
        let rule = strike.as_ref().map(|Strike { rule }| rule.parse::<FaultRule>().unwrap());
        if let Some(rule) = rule {
            self.day.exchange.set_fault(rule, self.now.wall);
        }
        let reply = self.day.exchange.handle(parts, self.now.wall);
        if let Some(rule) = rule {
            let spared = self.day.exchange.clear_fault(rule.fault.name(), self.now.wall);
            if !spared {
                *self.struck.entry(rule.fault.to_string()).or_default() += 1;
            }
        }
        reply
    }

    fn later(&mut self, span: Duration, happening: Happening) {
        self.happenings += 1;
        self.heap.insert((self.now.mono + span, self.happenings), happening);
    }

    // --- the feed ----------------------------------------------------------------------------------------------

    fn feed(&mut self, output: feed::Output) {
        let travel = Duration::from_millis(3);
        match output {
            feed::Output::Connect { socket, .. } => {
                let token = self.shown.token.map(|token| self.vault[&token].clone()).expect("a token to connect with");
                let query = self.broker.connect(&token).query;
                self.later(travel, Happening::Handshake { socket, query });
            }
            feed::Output::Disconnect { socket } => {
                if let Some((there, _)) = self.day.sockets.remove(&socket) {
                    self.day.exchange.closed(there, self.now.wall);
                }
            }
            feed::Output::Subscribe { socket, instruments, mode } => {
                self.say(socket, self.broker.subscribe(&instruments, mode));
            }
            feed::Output::Unsubscribe { socket, instruments } => {
                self.say(socket, self.broker.unsubscribe(&instruments))
            }
            _ => {}
        }
    }

    fn say(&mut self, socket: SocketId, frames: Vec<WireMessage>) {
        for frame in frames {
            let WireMessage::Text(message) = frame else { panic!("clients of Kite speak in text") };
            self.later(Duration::from_millis(3), Happening::Said { socket, message });
        }
    }

    fn shake_hands(&mut self, socket: SocketId, query: &Form) {
        self.ports = self.ports.wrapping_add(1);
        let what = if !self.day.open {
            Heard::Lost
        } else {
            match self.day.exchange.open(query, self.ports, self.now.wall) {
                Ok(there) => {
                    self.day.sockets.insert(socket, (there, self.now.mono));
                    Heard::Connected
                }
                Err(reply) => Heard::Refused(reply.status),
            }
        };
        self.later(Duration::from_millis(3), Happening::Heard { socket, what });
    }

    /// Frames leave the server and arrive in their order. Some are quicker than any answer, some slower.
    fn collect_frames(&mut self) {
        for output in self.day.exchange.drain() {
            let (there, what) = match output {
                server::Output::Send { socket, message } => (socket, Heard::Frame(message)),
                server::Output::Close { socket, .. } => (socket, Heard::Lost),
            };
            let delay = Duration::from_millis(3 + self.rng.below(80));
            let now = self.now.mono;
            let mine = self.day.sockets.iter_mut().find(|(_, (known, _))| *known == there);
            let Some((socket, (_, busy_until))) = mine else { continue };
            *busy_until = (*busy_until).max(now + delay);
            let (socket, wait) = (*socket, busy_until.since(now));
            self.later(wait, Happening::Heard { socket, what });
        }
    }

    fn hear(&mut self, socket: SocketId, what: Heard) {
        match what {
            Heard::Connected => self.tell(Input::Feed(feed::Input::Connected { socket })),
            Heard::Refused(status) => {
                let failure = self.broker.refused(&HttpResponse { status, ..HttpResponse::default() });
                self.tell(Input::Feed(feed::Input::Refused { socket, failure }));
            }
            Heard::Lost => {
                self.day.sockets.remove(&socket);
                self.tell(Input::Feed(feed::Input::Lost { socket, why: "closed".to_owned() }));
            }
            Heard::Frame(message) => {
                let mut events = Vec::new();
                self.broker.decode(&message, &mut events);
                let accepted = self.core.accepts(socket);
                self.tell(Input::Feed(feed::Input::Frame { socket, ticks: count_ticks(&events) }));
                for event in events.into_iter().filter(|_| accepted) {
                    if let FeedEvent::Order(row) = event {
                        self.tell(Input::Update { book: Book::Live, row });
                    }
                }
            }
        }
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

fn response(reply: Reply) -> HttpResponse {
    let retry_after = reply.header("Retry-After").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    HttpResponse {
        status: reply.status,
        content_type: Some(reply.content_type.to_owned()),
        retry_after,
        body: reply.body,
    }
}
