//! The same over real sockets and a stepped clock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::time::{Clock, SteppedClock};
use nirantar_brokers::{FeedEvent, Tick};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::kite::{Control, Fault, KiteServer, OldSocket};

/// How long a test waits for what must come, in real time.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    server: KiteServer,
    control: Control,
    clock: SteppedClock,
    token: String,
}

impl Rig {
    /// A server at 10:00:05 with a living token.
    async fn start(settings: Settings) -> Self {
        Self::start_at("10:00:05", settings, prices()).await
    }

    async fn start_at(time: &str, settings: Settings, prices: Box<dyn PriceSource + Send>) -> Self {
        let clock = SteppedClock::starting_at(at(time));
        let listen = "127.0.0.1:0".parse().unwrap();
        let server = KiteServer::start(listen, settings, Arc::new(clock.clone()), prices).await.unwrap();
        let control = server.control();
        let token = control.login().access_token.expose().to_owned();
        Self { server, control, clock, token }
    }

    /// Moves the clock to that time, step by step.
    async fn run_until(&self, time: &str) {
        let target = self.clock.now().mono_at(at(time));
        let steps = async { while self.clock.step(target).await {} };
        tokio::time::timeout(PATIENCE, steps).await.expect("the clock stands still: a frame or a Busy was lost");
    }

    /// The raw answer to a raw request; an empty one if the connection was dropped.
    async fn raw(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.server.addr()).await.unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nauthorization: token nirantar:{}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}",
            self.token
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn place(&self) -> String {
        let form = "exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&transaction_type=BUY\
                    &order_type=LIMIT&price=1990&tag=N1";
        self.raw("POST /orders/regular", form).await
    }

    async fn connect(&self) -> Result<Client, Error> {
        let stream = TcpStream::connect(self.server.addr()).await.unwrap();
        let port = stream.local_addr().unwrap().port();
        self.clock.socket_opened(port);
        let address = format!("ws://{}/?api_key=nirantar&access_token={}", self.server.addr(), self.token);
        match client_async(address, stream).await {
            Ok((socket, _)) => Ok(Client::listen(socket, port, self.clock.clone())),
            Err(error) => {
                self.clock.socket_closed(port);
                Err(error)
            }
        }
    }
}

/// A client that keeps its side of the stepped clock's contract.
struct Client {
    port: u16,
    clock: SteppedClock,
    say: tokio::sync::mpsc::UnboundedSender<String>,
    hear: tokio::sync::mpsc::UnboundedReceiver<Heard>,
}

#[derive(Debug)]
enum Heard {
    Ticks(Vec<Tick>),
    Heartbeat,
    Text(Value),
    /// A close frame, or none and the connection dropped.
    End {
        politely: bool,
    },
}

impl Client {
    fn listen(mut socket: WebSocketStream<TcpStream>, port: u16, clock: SteppedClock) -> Self {
        let (say, mut to_say) = tokio::sync::mpsc::unbounded_channel::<String>();
        let (tell, hear) = tokio::sync::mpsc::unbounded_channel();
        let counted = clock.clone();
        tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    text = to_say.recv() => {
                        let Some(text) = text else { break };
                        socket.send(Message::text(text)).await.unwrap();
                        continue;
                    }
                    message = socket.next() => match message {
                        Some(Ok(Message::Binary(bytes))) => {
                            let mut events = Vec::new();
                            packet::decode(&bytes, &mut events);
                            if events == [FeedEvent::Heartbeat] {
                                Heard::Heartbeat
                            } else {
                                let tick = |event| if let FeedEvent::Tick(tick) = event { tick } else { panic!("{event:?}") };
                                Heard::Ticks(events.into_iter().map(tick).collect())
                            }
                        }
                        Some(Ok(Message::Text(text))) => Heard::Text(serde_json::from_str(&text).unwrap()),
                        Some(Ok(Message::Close(_))) => Heard::End { politely: true },
                        Some(Ok(other)) => panic!("{other:?}"),
                        Some(Err(_)) | None => Heard::End { politely: false },
                    },
                };
                let end = matches!(heard, Heard::End { .. });
                tell.send(heard).unwrap();
                counted.frame_received(port);
                if end {
                    break;
                }
            }
            counted.socket_closed(port);
        });
        Self { port, clock, say, hear }
    }

    /// Sends a text.
    fn say(&self, text: &str) {
        self.clock.frame_sent(self.port);
        self.say.send(text.to_owned()).unwrap();
    }

    async fn hear(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.hear.recv()).await.expect("nothing came").expect("the client ended")
    }

    /// All that has come so far.
    fn heard(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.hear.try_recv().ok()).collect()
    }
}

fn tick_count(heard: &[Heard]) -> usize {
    heard.iter().map(|heard| if let Heard::Ticks(ticks) = heard { ticks.len() } else { 0 }).sum()
}

#[tokio::test]
async fn rest_and_the_feed_work_over_real_sockets_in_all_three_modes() {
    let rig = Rig::start(Settings::default()).await;
    let profile = rig.raw("GET /user/profile", "").await;
    assert!(profile.starts_with("HTTP/1.1 200") && profile.contains("content-type: application/json\r\n"), "{profile}");
    let dump = rig.raw("GET /instruments", "").await;
    assert!(dump.contains("content-type: text/csv\r\n"), "{dump}");

    let mut client = rig.connect().await.unwrap();
    client.say(r#"{"a":"subscribe","v":[738561]}"#);
    assert!(matches!(client.hear().await, Heard::Ticks(ticks) if ticks[0].token.0 == RELIANCE), "the snapshot");
    for (mode, time) in [("ltp", "10:00:07"), ("full", "10:00:09"), ("quote", "10:00:11")] {
        client.say(&format!(r#"{{"a":"mode","v":["{mode}",[738561]]}}"#));
        assert!(matches!(client.hear().await, Heard::Ticks(_)), "the snapshot in {mode}");
        rig.run_until(time).await;
        assert_eq!(tick_count(&client.heard()), 2, "{mode}");
    }
    let log = rig.control.log();
    let numbers: Vec<u64> = log.sockets[0].packets.iter().filter(|p| !p.snapshot).map(|p| p.tick).collect();
    assert_eq!(numbers, (6..=11).collect::<Vec<_>>(), "no tick lost, repeated or out of order");
    assert_eq!(log.sockets[0].port, client.port);

    assert!(rig.place().await.contains("order_id"));
    assert!(matches!(client.hear().await, Heard::Text(text) if text["data"]["tag"] == "N1"));
    client.say(r#"{"a":"unsubscribe","v":[738561]}"#);
    rig.run_until("10:00:14").await;
    let heard = client.heard();
    assert!(!heard.is_empty() && heard.iter().all(|heard| matches!(heard, Heard::Heartbeat)), "{heard:?}");
    tokio::time::timeout(PATIENCE, rig.server.shutdown()).await.unwrap();
    assert!(matches!(client.hear().await, Heard::End { .. }));
}

#[tokio::test]
async fn a_token_that_dies_cuts_mutes_or_leaves_its_socket() {
    for old_socket in [OldSocket::Cut, OldSocket::Mute, OldSocket::Lives] {
        let dies = Some("10:00:08".parse().unwrap());
        let rig = Rig::start(Settings { old_socket, token_dies_at: dies, ..Settings::default() }).await;
        let mut client = rig.connect().await.unwrap();
        client.say(r#"{"a":"subscribe","v":[738561]}"#);
        client.hear().await;
        rig.run_until("10:00:12").await;
        let heard = client.heard();
        let ended = matches!(heard.last(), Some(Heard::End { politely: true }));
        let expected = match old_socket {
            OldSocket::Cut => (2, true),
            OldSocket::Mute => (2, false),
            OldSocket::Lives => (7, false),
        };
        assert_eq!((tick_count(&heard), ended), expected, "{old_socket}: {heard:?}");
        let Err(Error::Http(refusal)) = rig.connect().await else { panic!("a dead token was let in") };
        assert_eq!(refusal.status(), 403);
        let body = String::from_utf8(refusal.into_body().unwrap()).unwrap();
        assert!(body.contains("Authentication failed."), "{body}");
        assert!(rig.raw("GET /user/profile", "").await.contains("TokenException"));
        assert_eq!(rig.control.with_log(|log| log.handshakes_refused), 1);
    }
}

#[tokio::test]
async fn a_lost_reply_leaves_the_order_and_no_answer() {
    let rig = Rig::start(Settings::default()).await;
    rig.control.fault("reply-cut@1".parse::<crate::kite::FaultRule>().unwrap());
    assert_eq!(rig.place().await, "", "dropped without a byte");
    rig.control.fault(Fault::NoReply);
    let unanswered = tokio::time::timeout(Duration::from_millis(200), rig.place()).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert!(rig.control.clear("no-reply"));
    let book = rig.raw("GET /orders", "").await;
    assert_eq!(book.matches("\"order_id\"").count(), 2, "{book}");
    assert!(rig.control.with_log(|log| log.orders.iter().all(|order| order.accepted && order.status.is_none())));
}

#[tokio::test]
async fn a_reset_before_the_body_needs_no_body_and_is_a_reset_on_the_wire() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rig = Rig::start(Settings::default()).await;
    for (fault, placed) in [("reset=before@1", 0), ("reset=after@1", 0), ("reset=accepted@1", 1)] {
        rig.control.fault(fault.parse::<crate::kite::FaultRule>().unwrap());
        let body = "exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=1&transaction_type=BUY&order_type=LIMIT&price=1990";
        let sent = if fault == "reset=before@1" { "" } else { body };
        let head = format!(
            "POST /orders/regular HTTP/1.1\r\nHost: h\r\nAuthorization: token nirantar:{}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{sent}",
            rig.token,
            body.len()
        );
        let mut stream = TcpStream::connect(rig.server.addr()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect(fault);
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{fault}");
        assert_eq!(heard, b"", "{fault}");
        let book = rig.raw("GET /orders", "").await;
        assert_eq!(book.matches("\"order_id\"").count(), placed, "{fault}: {book}");
    }
}

#[tokio::test]
async fn a_slow_reply_takes_real_time_and_a_5xx_is_a_5xx() {
    let rig = Rig::start(Settings::default()).await;
    rig.control.fault("slow=150ms@1".parse::<crate::kite::FaultRule>().unwrap());
    let slow = rig.raw("GET /user/profile", "");
    tokio::pin!(slow);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut slow).await.is_err());
    assert!(slow.await.starts_with("HTTP/1.1 200"));
    rig.control.fault("503".parse::<crate::kite::FaultRule>().unwrap());
    assert!(rig.raw("GET /user/profile", "").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_ping_is_answered_even_on_a_mute_socket_and_no_pong_comes_unasked() {
    let rig = Rig::start(Settings { faults: vec![Fault::SocketMute.into()], ..Settings::default() }).await;
    let address = format!("ws://{}/?api_key=nirantar&access_token={}", rig.server.addr(), rig.token);
    let stream = TcpStream::connect(rig.server.addr()).await.unwrap();
    let (mut socket, _) = client_async(address, stream).await.unwrap();
    rig.run_until("10:00:09").await;
    socket.send(Message::Ping("7".into())).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap(), Message::Pong("7".into()));
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_answered_and_logged() {
    let rig = Rig::start(Settings::default()).await;
    let address = format!("ws://{}/?api_key=nirantar&access_token={}", rig.server.addr(), rig.token);
    let stream = TcpStream::connect(rig.server.addr()).await.unwrap();
    let (mut socket, _) = client_async(address, stream).await.unwrap();
    socket.close(None).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
    assert!(rig.control.with_log(|log| log.sockets[0].closed.is_some()));
}

#[tokio::test]
async fn a_cut_socket_ends_without_a_close_frame_and_a_new_one_may_come() {
    let rig = Rig::start(Settings::default()).await;
    let mut client = rig.connect().await.unwrap();
    rig.control.fault(Fault::SocketCut);
    assert!(matches!(client.hear().await, Heard::End { politely: false }));
    let mut next = rig.connect().await.unwrap();
    rig.run_until("10:00:07").await;
    assert_eq!(next.heard().len(), 2, "two heartbeats");
}

#[tokio::test]
async fn control_over_http_makes_a_login_and_shows_the_log() {
    let rig = Rig::start(Settings::default()).await;
    let answer = rig.raw("POST /nirantar/control", "kill-token=1&login=1").await;
    assert!(answer.contains("access_token"), "{answer}");
    assert!(rig.raw("GET /user/profile", "").await.starts_with("HTTP/1.1 403"));
    let log = rig.raw("GET /nirantar/log", "").await;
    assert!(log.contains(r#""probes":{"accepted":0,"refused":1}"#), "{log}");
    assert!(!log.contains(&rig.token));
    let login = rig.raw("GET /connect/login?v=3&api_key=nirantar", "").await;
    assert!(
        login.starts_with("HTTP/1.1 302") && login.contains("location: http://127.0.0.1/?request_token="),
        "{login}"
    );
}

#[tokio::test]
async fn an_hour_of_real_ticks_arrives_whole_and_in_order() {
    let Some(folder) = std::env::var_os("NIRANTAR_FIXTURES").map(std::path::PathBuf::from) else {
        assert_ne!(std::env::var("NIRANTAR_REQUIRE_FIXTURES").as_deref(), Ok("1"), "NIRANTAR_FIXTURES is not set");
        println!("skipped: NIRANTAR_FIXTURES is not set");
        return;
    };
    let replay = |file: &str, symbol: &str| -> Box<dyn PriceSource + Send> {
        let key = InstrumentKey::new(Exchange::Nse, symbol);
        Box::new(Replay::load(&folder.join("market").join(file), key).unwrap())
    };
    let sources = vec![replay("2021-04-12_NIFTY.csv", "NIFTY 50"), replay("2021-04-12_RELIANCE.csv", "RELIANCE")];
    let rig = Rig::start_at("09:00:00", Settings::default(), Box::new(Merge::new(sources).unwrap())).await;
    let mut client = rig.connect().await.unwrap();
    client.say(r#"{"a":"subscribe","v":[738561,256265]}"#);
    client.say(r#"{"a":"mode","v":["full",[738561,256265]]}"#);
    rig.run_until("10:15:00").await;
    let received: Vec<u32> = client
        .heard()
        .into_iter()
        .flat_map(|heard| if let Heard::Ticks(ticks) = heard { ticks } else { Vec::new() })
        .map(|tick| tick.token.0)
        .collect();
    let log = rig.control.log();
    let sent: Vec<u32> = log.sockets[0].packets.iter().map(|packet| packet.token.0).collect();
    assert_eq!(received, sent);
    assert_eq!(received.len(), log.tick_count());
    assert!(received.len() > 6_000, "{}", received.len());
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let rig = Rig::start(Settings::default()).await;
    let clock = Arc::new(rig.clock.clone());
    let again = KiteServer::start(rig.server.addr(), Settings::default(), clock, prices()).await;
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}
