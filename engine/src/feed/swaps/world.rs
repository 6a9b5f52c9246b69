//! The supervisor and a Kite server with a network between them, in virtual time: every frame takes 2 ms either way, and
//! a socket keeps its order. What the driver does (`engine/feeding.rs`) is done here, tick by tick.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{
    AccessToken, BrokerToken, Exchange, Feed as _, FeedEvent, FeedLimits, Form, HttpResponse, Instrument,
    InstrumentKey, InstrumentKind, Mode, Price, Quantity, WireMessage,
};
use nirantar_exchange_mock::kite::{self as server, KiteExchange, ServerLog, Settings};
use nirantar_exchange_mock::prices::{PriceEvent, PriceSource};

use crate::feed::{Admission, FeedPolicy, FeedStatus, Gap, Input, Output, SocketId, Supervisor};
use crate::session::Generation;

/// One way.
pub(super) const TRAVEL: Duration = Duration::from_millis(2);
/// The heartbeat Kite declares.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Every instrument once an interval, a few of them each millisecond, each with a trade.
struct Metronome {
    keys: Vec<InstrumentKey>,
    a_time: usize,
    turn: usize,
    left: usize,
    at: Timestamp,
    round: u64,
}

impl PriceSource for Metronome {
    fn peek(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let turn = self.turn;
        let event = PriceEvent {
            at: self.at,
            instrument: self.keys[turn].clone(),
            ltp: Price::from_paise(100_000 + i64::try_from(self.round % 50).unwrap()),
            volume: Quantity::new(self.round),
        };
        self.left -= 1;
        if self.left == 0 {
            (self.left, self.at) = (self.a_time, self.at + Duration::from_millis(1));
        }
        self.turn += 1;
        if self.turn == self.keys.len() {
            (self.turn, self.round) = (0, self.round + 1);
        }
        Some(event)
    }

    fn date(&self) -> chrono::NaiveDate {
        self.at.ist_date()
    }
}

/// No price at all.
struct Nothing(Timestamp);

impl PriceSource for Nothing {
    fn peek(&self) -> Option<Timestamp> {
        None
    }

    fn next(&mut self) -> Option<PriceEvent> {
        None
    }

    fn date(&self) -> chrono::NaiveDate {
        self.0.ist_date()
    }
}

enum Travelling {
    Handshake(SocketId),
    Refused(SocketId, u16),
    Connected(SocketId),
    Lost(SocketId),
    Closed(SocketId),
    Said(SocketId, String),
    Goodbye(SocketId),
    Frame(SocketId, WireMessage),
}

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) instruments: u32,
    /// Every instrument ticks once in so many milliseconds.
    pub(super) interval_ms: u32,
    pub(super) connections: u32,
    /// Instruments on a connection.
    pub(super) room: u32,
    pub(super) new_login: server::NewLogin,
    pub(super) old_socket: server::OldSocket,
    /// How long after a login the engine has the new token, proven.
    pub(super) learns_after: Duration,
    /// How much longer the server's frames travel on every second socket.
    pub(super) slower: Duration,
}

pub(super) struct World {
    pub(super) exchange: KiteExchange,
    pub(super) feed: Supervisor,
    pub(super) now: Now,
    pub(super) gaps: Vec<Gap>,
    /// Every tick handed on: of which instrument, port of its socket, number on it, when.
    pub(super) taken: Vec<(BrokerToken, u16, u64, Now)>,
    /// An old socket was closed though its successor had not delivered.
    pub(super) closed_early: usize,
    pub(super) probes: usize,
    plan: Plan,
    kite: Kite,
    tokens: BTreeMap<Generation, AccessToken>,
    way: BTreeMap<(Monotonic, u64), Travelling>,
    sent: u64,
    attempts: BTreeMap<SocketId, Generation>,
    there: BTreeMap<SocketId, server::SocketId>,
    ports: BTreeMap<SocketId, u16>,
    packets: BTreeMap<SocketId, u64>,
    delivered: Option<SocketId>,
}

impl World {
    /// A market at ten, and nobody logged in.
    pub(super) fn new(plan: Plan) -> Self {
        let start = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        let listed: Vec<Instrument> = (1..=plan.instruments).map(instrument).collect();
        let a_time = usize::try_from(plan.instruments / plan.interval_ms).unwrap();
        let keys = listed.iter().map(|listed| listed.key.clone()).collect();
        let prices = Metronome { keys, a_time, turn: 0, left: a_time, at: start, round: 1 };
        let settings = Settings {
            new_login: plan.new_login,
            old_socket: plan.old_socket,
            connections: usize::try_from(plan.connections).unwrap(),
            instruments: Some(listed),
            ..Settings::default()
        };
        let kite = Kite::new(App::Individual, settings.api_key.clone(), None);
        let limits = FeedLimits { connections: plan.connections, instruments: plan.room, heartbeat: HEARTBEAT };
        let mut feed = Supervisor::within(FeedPolicy::default(), limits, 1);
        let now = Now { mono: Monotonic::from_nanos(1), wall: start };
        feed.on(Input::Market { expected: true }, now, &mut Vec::new());
        let wanted = (1..=plan.instruments).map(|number| (instrument(number).token, Mode::Full)).collect();
        feed.on(Input::Subscribe(wanted), now, &mut Vec::new());
        Self {
            exchange: KiteExchange::new(settings, Box::new(prices)),
            feed,
            now,
            gaps: Vec::new(),
            taken: Vec::new(),
            closed_early: 0,
            probes: 0,
            plan,
            kite,
            tokens: BTreeMap::new(),
            way: BTreeMap::new(),
            sent: 0,
            attempts: BTreeMap::new(),
            there: BTreeMap::new(),
            ports: BTreeMap::new(),
            packets: BTreeMap::new(),
            delivered: None,
        }
    }

    /// A market in which nothing happens, from then on.
    pub(super) fn quiet(plan: Plan, begins: &str) -> Self {
        let mut this = Self::new(plan);
        let start = Timestamp::parse_ist(begins).unwrap();
        let settings = Settings { new_login: plan.new_login, old_socket: plan.old_socket, ..Settings::default() };
        this.exchange = KiteExchange::new(settings, Box::new(Nothing(start)));
        this.now.wall = start;
        this.feed.on(Input::Market { expected: false }, this.now, &mut Vec::new());
        this
    }

    pub(super) fn kill_tokens(&mut self) {
        self.exchange.kill_tokens(self.now.wall);
        // Whatever a new login does, this is the end of the socket.
        self.exchange.set_fault("socket-cut".parse().unwrap(), self.now.wall);
        self.exchange.clear_fault("socket-cut", self.now.wall);
        self.collect();
    }

    /// The token is good, and the app has no market data.
    pub(super) fn refuse_data(&mut self) {
        self.exchange.set_fault("permission-data".parse().unwrap(), self.now.wall);
    }

    /// A human logs in, and a while later the engine has the token. Returns when it had it.
    pub(super) fn swap(&mut self) -> Timestamp {
        let token = self.exchange.log_in(self.now.wall).access_token;
        self.collect();
        let generation = Generation(u64::try_from(self.tokens.len()).unwrap() + 1);
        self.tokens.insert(generation, token);
        self.run(self.plan.learns_after);
        self.tell(Input::Open { generation });
        self.now.wall
    }

    /// Runs until the feed is live under the newest token.
    pub(super) fn settle(&mut self) {
        let newest = Generation(u64::try_from(self.tokens.len()).unwrap());
        let deadline = self.now + Duration::from_secs(60);
        while self.feed.status() != (FeedStatus::Live { generation: newest }) {
            assert!(self.now.mono < deadline.mono, "still {} at {}", self.feed.status(), self.now.wall);
            self.run(Duration::from_millis(1));
        }
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = (self.now + span).mono;
        loop {
            let server = self.exchange.next_wake().map(|at| self.now.mono_at(at));
            let network = self.way.first_key_value().map(|((at, _), _)| *at);
            let next = [server, network, self.feed.next_wake()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now + next.since(self.now.mono);
            if server == Some(next) {
                self.exchange.advance(self.now.wall);
                self.collect();
            } else if network == Some(next) {
                let (_, travelling) = self.way.pop_first().unwrap();
                self.arrives(travelling);
            } else {
                self.tell(Input::Wake);
            }
        }
        self.now = self.now + end.since(self.now.mono);
    }

    pub(super) fn log(&self) -> &ServerLog {
        self.exchange.log()
    }

    pub(super) fn tell(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.feed.on(input, self.now, &mut outputs);
        for output in outputs {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { socket, generation } => {
                self.attempts.insert(socket, generation);
                // TCP first: there and back, then the handshake.
                self.send(TRAVEL * 3, Travelling::Handshake(socket));
            }
            Output::Disconnect { socket } => {
                let bearing = self.packets.get(&socket).is_some_and(|packets| *packets > 0);
                if bearing && self.delivered.is_none_or(|last| last <= socket) {
                    self.closed_early += 1;
                }
                self.send(TRAVEL, Travelling::Goodbye(socket));
            }
            Output::Subscribe { socket, instruments, mode } => {
                self.say(socket, self.kite.subscribe(&instruments, mode))
            }
            Output::Unsubscribe { socket, instruments } => self.say(socket, self.kite.unsubscribe(&instruments)),
            Output::Gap(gap) if gap.to.is_some() => self.gaps.push(gap),
            Output::Probe { .. } => self.probes += 1,
            _ => {}
        }
    }

    fn say(&mut self, socket: SocketId, frames: Vec<WireMessage>) {
        for frame in frames {
            let WireMessage::Text(text) = frame else { panic!("clients of Kite speak in text") };
            self.send(TRAVEL, Travelling::Said(socket, text));
        }
    }

    fn send(&mut self, travel: Duration, travelling: Travelling) {
        self.sent += 1;
        self.way.insert((self.now.mono + travel, self.sent), travelling);
    }

    /// What the server has to say leaves it.
    fn collect(&mut self) {
        for output in self.exchange.drain() {
            let (there, message) = match output {
                server::Output::Send { socket, message } => (socket, Some(message)),
                server::Output::Close { socket, .. } => (socket, None),
            };
            let Some(socket) = self.there.iter().find(|(_, known)| **known == there).map(|(socket, _)| *socket) else {
                continue;
            };
            let travelling = match message {
                Some(message) => Travelling::Frame(socket, message),
                None => {
                    self.there.remove(&socket);
                    Travelling::Lost(socket)
                }
            };
            let slower = if socket.0 % 2 == 0 { self.plan.slower } else { Duration::ZERO };
            self.send(TRAVEL + slower, travelling);
        }
    }

    fn arrives(&mut self, travelling: Travelling) {
        match travelling {
            Travelling::Handshake(socket) => {
                let token = &self.tokens[&self.attempts[&socket]];
                let query: Form = self.kite.connect(token).query;
                let port = u16::try_from(socket.0).unwrap();
                let answer = match self.exchange.open(&query, port, self.now.wall) {
                    Ok(there) => {
                        self.there.insert(socket, there);
                        self.ports.insert(socket, port);
                        Travelling::Connected(socket)
                    }
                    Err(reply) => Travelling::Refused(socket, reply.status),
                };
                self.send(TRAVEL, answer);
                self.collect();
            }
            Travelling::Said(socket, text) => {
                if let Some(there) = self.there.get(&socket) {
                    self.exchange.message(*there, &text, self.now.wall);
                    self.collect();
                }
            }
            Travelling::Goodbye(socket) => {
                if let Some(there) = self.there.remove(&socket) {
                    self.exchange.closed(there, self.now.wall);
                }
                self.send(TRAVEL, Travelling::Closed(socket));
            }
            Travelling::Refused(socket, status) => {
                let failure = self.kite.refused(&HttpResponse { status, ..HttpResponse::default() });
                self.tell(Input::Refused { socket, failure });
            }
            Travelling::Connected(socket) => self.tell(Input::Connected { socket }),
            Travelling::Lost(socket) => self.tell(Input::Lost { socket, why: "closed".to_owned() }),
            Travelling::Closed(socket) => self.tell(Input::Closed { socket }),
            Travelling::Frame(socket, message) => self.hear(socket, &message),
        }
    }

    fn hear(&mut self, socket: SocketId, message: &WireMessage) {
        if !self.feed.accepts(socket) {
            return;
        }
        let mut events = Vec::new();
        self.kite.decode(message, &mut events);
        let (port, packets) = (self.ports[&socket], self.packets.entry(socket).or_default());
        let mut ticks = 0;
        for event in &events {
            let FeedEvent::Tick(tick) = event else { continue };
            (ticks, *packets) = (ticks + 1, *packets + 1);
            if self.feed.admit(socket, tick) != Admission::Drop {
                self.taken.push((tick.token, port, *packets, self.now));
                self.delivered = self.delivered.max(Some(socket));
            }
        }
        self.tell(Input::Frame { socket, ticks });
    }
}

fn instrument(number: u32) -> Instrument {
    Instrument {
        key: InstrumentKey::new(Exchange::Nse, format!("SHARE{number}")),
        token: BrokerToken(number * 256 + 1),
        exchange_token: number,
        name: String::new(),
        kind: InstrumentKind::Equity,
        segment: "NSE".to_owned(),
        lot: Quantity::new(1),
        tick: Price::from_paise(1),
        expiry: None,
        strike: Price::default(),
    }
}
