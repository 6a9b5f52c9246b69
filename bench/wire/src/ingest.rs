//! What taking frames from a socket costs a client's processor, from the bare read up to decoded ticks.
//!
//! `cargo run --release --manifest-path bench/wire/Cargo.toml --bin ingest`
//!
//! A server thread writes the same frames of 100 full packets over loopback, as fast as they are taken. Every peer reads
//! as many of them in its turn, several rounds in one process, on a thread of its own with tokio's single-threaded
//! runtime; counted is that thread's own time on the processor, in the kernel and out of it. The middle round counts.
//!
//! Nirantar's is the whole way that a live frame goes: the socket's task, the channel, and the engine's side of it, once
//! with every packet decoded (as in `decode`: every number an integer in memory) and once as the engine does it, which
//! judges every packet by its place in the day and then makes a tick of it. The other libraries are shown twice: reading
//! only, and with our decoder behind them. No client can take less than the bare read, so no ratio to the official parser
//! can be above the bare read's own, which stands in the last column.
//!
//! With words as arguments, only the peers with one of them in their names run: for a profiler.

mod common;

use std::future::Future;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use common::{PACKETS, frame, load, machine, spread, thread_time};
use futures_util::StreamExt as _;
use nirantar::feed::{Events, SocketId, SocketNews, SocketPlan, open_socket};
use nirantar_brokers::kite::wire::packet::{self, Part};
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::SystemClock;
use nirantar_brokers::{AccessToken, Feed as _, FeedEvent, Redactor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

const ROUNDS: usize = 21;
/// Frames of a round: 37 MB.
const FRAMES: usize = 2_000;
/// As many socket events may wait as in the engine.
const SOCKET_EVENTS: usize = 8;

type Reading = Pin<Box<dyn Future<Output = usize>>>;

/// Reads all frames from a server and says how many packets it found; 0 where it does not look into them.
struct Peer {
    name: &'static str,
    read: fn(SocketAddr) -> Reading,
}

const BARE: usize = 0;
const OFFICIAL: usize = 2;
const NIRANTAR: usize = 3;

const PEERS: [Peer; 11] = [
    Peer { name: "bare read of the same bytes", read: |server| Box::pin(bare(server)) },
    Peer { name: "tokio-tungstenite 0.30, reading only", read: |server| Box::pin(tungstenite(server, None, |_| 0)) },
    Peer { name: "tokio-tungstenite, official parser", read: |server| Box::pin(tungstenite(server, None, official)) },
    Peer { name: "nirantar, socket to packets", read: |server| Box::pin(nirantar(server, packets)) },
    Peer { name: "nirantar, socket to judged ticks", read: |server| Box::pin(nirantar(server, ticks)) },
    Peer { name: "tokio-tungstenite, 16 kB buffer", read: |server| Box::pin(tungstenite(server, SMALL, |_| 0)) },
    Peer { name: "the same, our packets", read: |server| Box::pin(tungstenite(server, SMALL, ours)) },
    Peer { name: "yawc 0.5, reading only", read: |server| Box::pin(yawc(server, |_| 0)) },
    Peer { name: "yawc, our packets", read: |server| Box::pin(yawc(server, ours)) },
    Peer { name: "fastwebsockets 0.10, reading only", read: |server| Box::pin(fastwebsockets(server, |_| 0)) },
    Peer { name: "fastwebsockets, our packets", read: |server| Box::pin(fastwebsockets(server, ours)) },
];

const SMALL: Option<usize> = Some(16 * 1024);

fn main() {
    println!("{}", machine());
    let frame = message(&frame());
    let bytes = frame.len();
    let server = serve(frame);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |peer: &Peer| words.is_empty() || words.iter().any(|word| peer.name.contains(word));
    let mut times: Vec<Vec<f64>> = PEERS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (peer, times) in PEERS.iter().zip(&mut times).filter(|(peer, _)| wanted(peer)) {
            times.push(round(peer, server).as_secs_f64() * 1e6 / FRAMES as f64);
        }
    }

    let times: Vec<_> = times.into_iter().map(spread).collect();
    println!("\nframes of {bytes} bytes, {ROUNDS} rounds of {FRAMES} frames, the middle round (least to most):");
    println!("{:<40} {:>9}  {:>17} {:>8} {:>12}", "", "us/frame", "", "x bare", "official is");
    for (peer, (time, least, most)) in PEERS.iter().zip(&times) {
        let (of_bare, official) = (time / times[BARE].0, times[OFFICIAL].0 / time);
        let range = format!("({least:.2} to {most:.2})");
        println!("{:<40} {time:>9.2}  {range:>17} {of_bare:>8.2} {official:>11.1}x", peer.name);
    }
    let (bare, official, ours) = (times[BARE].0, times[OFFICIAL].0, times[NIRANTAR].0);
    println!(
        "\nnirantar, socket to packets: {:.2}x a bare read (asked: at most 1.8x), {:.2}x less than tokio-tungstenite with the \
         official parser\n(asked: at least 5x; the bare read itself: {:.2}x); load after: {}",
        ours / bare,
        official / ours,
        official / bare,
        load()
    );
}

/// One peer's processor time for all frames.
fn round(peer: &Peer, server: SocketAddr) -> Duration {
    let read = peer.read;
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let began = thread_time();
        let packets = runtime.block_on(read(server));
        (thread_time() - began, packets)
    });
    let (time, packets) = client.join().expect("a client that ends");
    assert!(packets == 0 || packets == FRAMES * PACKETS, "{}: {packets} packets", peer.name);
    time
}

/// A binary message as a server sends it: not masked.
fn message(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82, 126];
    bytes.extend(u16::try_from(payload.len()).expect("a frame below 64 kB").to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Greets every client and writes the frames; then it is gone.
fn serve(message: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut greeted) = tungstenite::accept(stream) else { continue };
            for _ in 0..FRAMES {
                // A client that has read enough may close.
                if greeted.get_mut().write_all(&message).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// The handshake of those who bring none, up to the last byte of the answer.
async fn greet(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    let request = "GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "an upgrade");
    stream
}

fn official(frame: &[u8]) -> usize {
    black_box(&kiteconnect::ticker::parse_binary(frame)).len()
}

fn ours(frame: &[u8]) -> usize {
    let mut packets = 0;
    packet::visit(frame, |part| {
        if let Part::Packet(packet) = part {
            black_box(packet);
            packets += 1;
        }
    });
    packets
}

async fn bare(server: SocketAddr) -> usize {
    let mut stream = greet(server).await;
    let mut buffer = vec![0; 64 * 1024];
    let mut left = FRAMES * message(&[0; 2 + PACKETS * 186]).len();
    while left > 0 {
        let read = stream.read(&mut buffer).await.expect("bytes");
        assert_ne!(read, 0, "bytes");
        black_box(&buffer);
        left = left.saturating_sub(read);
    }
    0
}

async fn tungstenite(server: SocketAddr, buffer: Option<usize>, decode: fn(&[u8]) -> usize) -> usize {
    let mut config = WebSocketConfig::default();
    if let Some(buffer) = buffer {
        config = config.read_buffer_size(buffer);
    }
    let url = format!("ws://{server}/");
    let stream = TcpStream::connect(server).await.expect("a connection");
    let (mut socket, _) =
        tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await.expect("an upgrade");
    let mut packets = 0;
    for _ in 0..FRAMES {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => packets += decode(black_box(&bytes)),
            other => panic!("no frame: {other:?}"),
        }
    }
    packets
}

/// Every packet of a frame, decoded.
fn packets(events: Events) -> usize {
    events.frame().map_or(0, ours)
}

/// Every packet judged, and then every tick, as the engine does it.
fn ticks(events: Events) -> usize {
    let mut packets = 0;
    events.stamps(|stamp| _ = black_box(stamp));
    events.visit(|event| {
        if let FeedEvent::Tick(tick) = &event {
            black_box(tick);
            packets += 1;
        }
    });
    packets
}

async fn nirantar(server: SocketAddr, decode: fn(Events) -> usize) -> usize {
    let kite = Kite::new(App::Individual, "key", None);
    let (events, mut met) = tokio::sync::mpsc::channel(SOCKET_EVENTS);
    let plan = SocketPlan {
        tap: None,
        socket: SocketId(1),
        address: format!("ws://{server}").parse().expect("an address"),
        request: kite.connect(&AccessToken::new("token")),
        codec: Arc::new(kite),
        redactor: Redactor::default(),
        clock: Arc::new(SystemClock::start()),
        io_timeout: SocketPlan::IO_TIMEOUT,
    };
    let _socket = open_socket(plan, events);
    let (mut frames, mut packets) = (0, 0);
    while frames < FRAMES {
        match met.recv().await.map(|event| event.what) {
            Some(SocketNews::Connected) => {}
            Some(SocketNews::Events { events, .. }) => {
                frames += 1;
                packets += decode(events);
            }
            other => panic!("no frame: {other:?}"),
        }
    }
    packets
}

async fn yawc(server: SocketAddr, decode: fn(&[u8]) -> usize) -> usize {
    let stream = greet(server).await;
    let mut socket =
        yawc::WebSocket::from_stream(stream, yawc::Role::Client, yawc::Options::default()).expect("a socket");
    let mut packets = 0;
    for _ in 0..FRAMES {
        let frame = socket.next_frame().await.expect("a frame");
        packets += decode(black_box(frame.payload()));
    }
    packets
}

async fn fastwebsockets(server: SocketAddr, decode: fn(&[u8]) -> usize) -> usize {
    let stream = greet(server).await;
    let mut socket = fastwebsockets::WebSocket::after_handshake(stream, fastwebsockets::Role::Client);
    let mut packets = 0;
    for _ in 0..FRAMES {
        let frame = socket.read_frame().await.expect("a frame");
        packets += decode(black_box(&frame.payload));
    }
    packets
}
