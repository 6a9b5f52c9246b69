//! How long a token swap keeps an instrument waiting, by the wall clock.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml --bin swap`
//!
//! 1,000 instruments tick 20 times a second each (20,000 ticks/s in all, full packets) on the Kite wire server, over
//! loopback, in this process. The feed's own supervisor and sockets take them over two connections and swap 50 tokens,
//! each while a third slot is free. An instrument's silence is the time between two of its ticks; its interval is 50 ms,
//! so what is above that is the swap's, the server's or the machine's: the same figure without a swap stands beside it.
//! What was lost, repeated or disordered is counted by the server's own numbering of its packets.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's own time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may fail")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
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
    AccessToken, BrokerToken, Exchange, Feed as _, FeedEvent, FeedLimits, Instrument, InstrumentKey, InstrumentKind,
    Mode, Price, Quantity, Redactor, Secret,
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
    taken: Vec<(u16, u64)>,
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
            SocketNews::Connected => self.tell(Input::Connected { socket }),
            SocketNews::Refused(failure) => self.tell(Input::Refused { socket, failure }),
            SocketNews::Lost(why) => self.tell(Input::Lost { socket, why }),
            SocketNews::Closed => self.tell(Input::Closed { socket }),
            SocketNews::Events { first_packet, events, .. } => {
                let mut packet = first_packet;
                for event in events {
                    let FeedEvent::Tick(tick) = event else { continue };
                    let judged = self.feed.admit(socket, &tick);
                    if judged != Admission::Drop {
                        self.taken.push((port, packet));
                    }
                    if judged == Admission::Tick
                        && let Some(before) = self.last.insert(tick.token, received.mono)
                    {
                        self.silence = self.silence.max(received.mono.since(before));
                    }
                    packet += 1;
                }
                self.tell(Input::Frame { socket, ticks: usize::try_from(packet - first_packet).unwrap() });
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
async fn main() {
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
    let (lost, twice, disordered) = judged(&control, &client.taken);
    println!("{SWAPS} token swaps, {INSTRUMENTS} instruments, 20,000 ticks/s over loopback, 2 of 3 connections");
    println!("                                      p50       p99       max");
    line("longest silence of any instrument", &mut swapping);
    line("the same without a swap          ", &mut quiet);
    line("token to all under it            ", &mut took);
    println!("lost {lost}, twice {twice}, disordered {disordered}, gaps declared {}", client.gaps.len());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".to_owned());
    println!("machine: {cores} cores, load {}", load.trim());
}

/// Of the ticks between the first and the last that were taken of an instrument.
fn judged(control: &nirantar_exchange_mock::kite::Control, taken: &[(u16, u64)]) -> (u64, u64, u64) {
    control.with_log(|log| {
        let (mut lost, mut twice, mut disordered) = (0, 0, 0);
        // Ports are used again: the numbers of one port's sockets follow each other.
        let mut sockets: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        for socket in &log.sockets {
            sockets.entry(socket.port).or_default().push(socket);
        }
        let mut last: BTreeMap<BrokerToken, u64> = BTreeMap::new();
        for (port, packet) in taken {
            let sent = sockets[port][0].packets[usize::try_from(*packet - 1).unwrap()];
            if sent.snapshot {
                continue;
            }
            if let Some(before) = last.insert(sent.token, sent.tick) {
                lost += (sent.tick.saturating_sub(before)).saturating_sub(1);
                twice += u64::from(sent.tick == before);
                disordered += u64::from(sent.tick < before);
            }
        }
        (lost, twice, disordered)
    })
}

fn line(what: &str, spans: &mut [Duration]) {
    spans.sort_unstable();
    let at = |percent: usize| spans[(spans.len() * percent).div_ceil(100).clamp(1, spans.len()) - 1];
    let ms = |span: Duration| format!("{:>7.1} ms", span.as_secs_f64() * 1e3);
    println!("{what} {}{}{}", ms(at(50)), ms(at(99)), ms(at(100)));
}
