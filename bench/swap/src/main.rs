//! How long a token swap keeps an instrument waiting, by the wall clock.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml --bin swap`
//!
//! 1,000 instruments tick 20 times a second each (20,000 ticks/s in all, full packets) on the Kite wire server, over
//! loopback, in this process. The feed's own supervisor and sockets take them over two connections and swap 50 tokens,
//! each while a third slot is free. An instrument's silence is the time between two of its ticks; its interval is 50 ms,
//! so what is above that is the swap's, the server's or the machine's: the same figure without a swap stands beside it.
//! What was lost, repeated or disordered is counted by the server's own numbering of its ticks; it ends with a failure if
//! anything was that no gap declares.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's own time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may fail")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nirantar::feed::{
    Admission, FeedPolicy, FeedStatus, Gap, Input, Output, SocketEvent, SocketHandle, SocketId, SocketNews, SocketPlan,
    Supervisor, open_socket,
};
use nirantar::session::Generation;
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Clock, Monotonic, OffsetClock, Timestamp};
use nirantar_brokers::{
    AccessToken, BrokerToken, Exchange, Feed as _, FeedLimits, Instrument, InstrumentKey, InstrumentKind, Mode, Price,
    Quantity, Redactor, Secret,
};
use nirantar_exchange_mock::kite::{KiteServer, NewLogin, OldSocket, Settings};
use nirantar_exchange_mock::prices::{PriceEvent, PriceSource};
use tokio::sync::mpsc;

const INSTRUMENTS: u32 = 1_000;
const EACH_MILLISECOND: u32 = 20;
const INTERVAL: Duration = Duration::from_millis(50);
const SWAPS: usize = 50;
const BETWEEN: Duration = Duration::from_millis(300);

/// Twenty instruments each millisecond, in turn.
struct Metronome {
    keys: Vec<InstrumentKey>,
    turn: usize,
    left: u32,
    at: Timestamp,
    round: u64,
}

impl PriceSource for Metronome {
    fn peek(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let instrument = self.keys[self.turn].clone();
        let ltp = Price::from_paise(100_000 + (self.round % 50) as i64);
        let event = PriceEvent { at: self.at, instrument, ltp, volume: Quantity::new(self.round) };
        self.left -= 1;
        if self.left == 0 {
            (self.left, self.at) = (EACH_MILLISECOND, self.at + Duration::from_millis(1));
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

/// The feed as an engine drives it (`engine/src/engine/feeding.rs`), and a stop watch.
struct Client {
    feed: Supervisor,
    kite: Arc<Kite>,
    clock: Arc<dyn Clock>,
    address: String,
    tokens: BTreeMap<Generation, AccessToken>,
    sockets: BTreeMap<SocketId, SocketHandle>,
    events: mpsc::Sender<SocketEvent>,
    gaps: Vec<Gap>,
    last: BTreeMap<BrokerToken, Monotonic>,
    silence: Duration,
    /// Our side's port of each socket, and how many ticks have come on it.
    came: BTreeMap<SocketId, (u16, usize)>,
    taken: Vec<Taken>,
}

/// A tick that was handed on: which of its socket's, from 0.
struct Taken {
    socket: SocketId,
    place: usize,
    at: Timestamp,
}

/// What the server's log says of the ticks that were handed on.
#[derive(Default)]
struct Verdict {
    declared: u64,
    lost: u64,
    twice: u64,
    disordered: u64,
}

impl Client {
    fn tell(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.feed.on(input, self.clock.now(), &mut outputs);
        for output in outputs {
            match output {
                Output::Connect { socket, generation } => {
                    let token = &self.tokens[&generation];
                    let plan = SocketPlan {
                        socket,
                        address: self.address.parse().unwrap(),
                        request: self.kite.connect(token),
                        codec: self.kite.clone(),
                        redactor: Redactor::new([Secret::new(token.expose())]),
                        clock: Arc::clone(&self.clock),
                        tap: None,
                        io_timeout: SocketPlan::IO_TIMEOUT,
                    };
                    self.sockets.insert(socket, open_socket(plan, self.events.clone()));
                }
                Output::Disconnect { socket } => drop(self.sockets.remove(&socket)),
                Output::Subscribe { socket, instruments, mode } => {
                    self.sockets[&socket].send(self.kite.subscribe(&instruments, mode)).unwrap();
                }
                Output::Gap(gap) if gap.to.is_some() => self.gaps.push(gap),
                _ => {}
            }
        }
    }

    fn hear(&mut self, event: SocketEvent) {
        let SocketEvent { socket, port, received, what, .. } = event;
        match what {
            SocketNews::Connected => {
                self.came.insert(socket, (port, 0));
                self.tell(Input::Connected { socket });
            }
            SocketNews::Refused(failure) => self.tell(Input::Refused { socket, failure }),
            SocketNews::Lost(why) => self.tell(Input::Lost { socket, why }),
            SocketNews::Closed => self.tell(Input::Closed { socket }),
            SocketNews::Events { events, .. } => {
                let (_, came) = self.came.get_mut(&socket).unwrap();
                let first = *came;
                events.stamps(|stamp| {
                    if self.feed.admit(socket, stamp) == Admission::Tick {
                        self.taken.push(Taken { socket, place: *came, at: received.wall });
                        if let Some(before) = self.last.insert(stamp.token, received.mono) {
                            self.silence = self.silence.max(received.mono.since(before));
                        }
                    }
                    *came += 1;
                });
                let ticks = *came - first;
                self.tell(Input::Frame { socket, ticks });
            }
        }
    }

    /// Takes what comes for so long, or until the feed is live under that token. Returns how long it took.
    async fn run(
        &mut self,
        heard: &mut mpsc::Receiver<SocketEvent>,
        span: Duration,
        until: Option<Generation>,
    ) -> Duration {
        let begin = self.clock.now().mono;
        let end = begin + span;
        loop {
            let now = self.clock.now().mono;
            let done = until.is_some_and(|generation| self.feed.status() == FeedStatus::Live { generation });
            if done || now >= end {
                assert!(until.is_none() || done, "{}", self.feed.status());
                return now.since(begin);
            }
            let wake = self.feed.next_wake().map_or(end, |at| at.min(end));
            tokio::select! {
                biased;
                event = heard.recv() => self.hear(event.unwrap()),
                _ = self.clock.sleep_until(wake) => self.tell(Input::Wake),
            }
        }
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let start = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(OffsetClock::starting_at(start));
    let listed: Vec<Instrument> = (1..=INSTRUMENTS).map(instrument).collect();
    let keys = listed.iter().map(|listed| listed.key.clone()).collect();
    let prices = Metronome { keys, turn: 0, left: EACH_MILLISECOND, at: start, round: 1 };
    let settings = Settings {
        new_login: NewLogin::Keeps,
        old_socket: OldSocket::Lives,
        instruments: Some(listed),
        ..Settings::default()
    };
    let kite = Arc::new(Kite::new(App::Individual, settings.api_key.clone(), None));
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = KiteServer::start(anywhere, settings, Arc::clone(&clock), Box::new(prices)).await.unwrap();
    let control = server.control();
    let limits = FeedLimits { connections: 3, instruments: INSTRUMENTS / 2, heartbeat: Duration::from_secs(5) };
    let (events, mut heard) = mpsc::channel(1024);
    let mut client = Client {
        feed: Supervisor::within(FeedPolicy::default(), limits, 1),
        kite,
        clock: Arc::clone(&clock),
        address: format!("ws://{}", server.addr()),
        tokens: BTreeMap::new(),
        sockets: BTreeMap::new(),
        events,
        gaps: Vec::new(),
        last: BTreeMap::new(),
        silence: Duration::ZERO,
        came: BTreeMap::new(),
        taken: Vec::new(),
    };
    client.tell(Input::Market { expected: true });
    client.tell(Input::Subscribe((1..=INSTRUMENTS).map(|number| (instrument(number).token, Mode::Full)).collect()));

    let (mut quiet, mut swapping, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..=SWAPS {
        let generation = Generation(u64::try_from(number).unwrap() + 1);
        client.tokens.insert(generation, control.login().access_token);
        client.silence = Duration::ZERO;
        client.tell(Input::Open { generation });
        let span = client.run(&mut heard, Duration::from_secs(30), Some(generation)).await;
        client.run(&mut heard, INTERVAL * 2, None).await;
        if number > 0 {
            took.push(span);
            swapping.push(client.silence);
        }
        client.silence = Duration::ZERO;
        client.run(&mut heard, BETWEEN, None).await;
        quiet.push(client.silence);
    }
    let Verdict { declared, lost, twice, disordered } = judged(&control, &client);
    println!("{SWAPS} token swaps, {INSTRUMENTS} instruments, 20,000 ticks/s over loopback, 2 of 3 connections");
    println!("                                      p50       p99       max");
    line("longest silence of any instrument", &mut swapping);
    line("the same without a swap          ", &mut quiet);
    line("token to all under it            ", &mut took);
    println!(
        "ticks lost in silence {lost}, twice {twice}, disordered {disordered}; in {} declared gaps {declared}",
        client.gaps.len()
    );
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".to_owned());
    println!("machine: {cores} cores, load {}", load.trim());
    if (lost, twice, disordered) == (0, 0, 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of the ticks between the first and the last that were taken of an instrument. One is declared if a gap is open at some
/// moment between its neighbours.
fn judged(control: &nirantar_exchange_mock::kite::Control, client: &Client) -> Verdict {
    control.with_log(|log| {
        // A port may be used again: the sockets of each come in the same order on both sides.
        let mut by_port: BTreeMap<u16, VecDeque<_>> = BTreeMap::new();
        for socket in &log.sockets {
            by_port.entry(socket.port).or_default().push_back(socket);
        }
        let log_of = |(socket, (port, _)): (&SocketId, &(u16, usize))| {
            (*socket, by_port.get_mut(port).and_then(VecDeque::pop_front).expect("a socket the server knows"))
        };
        let sockets: BTreeMap<SocketId, _> = client.came.iter().map(log_of).collect();
        let mut verdict = Verdict::default();
        let mut last: BTreeMap<BrokerToken, (u64, Timestamp)> = BTreeMap::new();
        for Taken { socket, place, at } in &client.taken {
            // A state that was news stands for the tick that made it so.
            let sent = sockets[socket].packets[*place];
            let known = last.get(&sent.token).is_some_and(|(known, _)| *known >= sent.tick);
            if sent.snapshot && known {
                continue; // said again
            }
            let Some((before, since)) = last.insert(sent.token, (sent.tick, *at)) else { continue };
            let missing = sent.tick.saturating_sub(before).saturating_sub(1);
            let covers = |gap: &Gap| gap.from <= *at && gap.to.is_some_and(|to| to >= since);
            *(if client.gaps.iter().any(covers) { &mut verdict.declared } else { &mut verdict.lost }) += missing;
            verdict.twice += u64::from(sent.tick == before);
            verdict.disordered += u64::from(sent.tick < before);
        }
        verdict
    })
}

fn line(what: &str, spans: &mut [Duration]) {
    spans.sort_unstable();
    let at = |percent: usize| spans[(spans.len() * percent).div_ceil(100).clamp(1, spans.len()) - 1];
    let ms = |span: Duration| format!("{:>7.1} ms", span.as_secs_f64() * 1e3);
    println!("{what} {}{}{}", ms(at(50)), ms(at(99)), ms(at(100)));
}
