//! The socket's task over real TCP on loopback, against a server that speaks WebSocket.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use nirantar_brokers::time::{Monotonic, SteppedClock, SystemClock, Timestamp};
use nirantar_brokers::{
    AccessToken, BrokerToken, Cause, Detail, Endpoint, FeedEvent, Form, HttpResponse, Mode, Price, Refusal, Secret,
    Tick,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async};

use super::*;
use crate::feed::count_ticks;

const TOKEN: &str = "s3cr3t/token+";

/// A wire of the test's own: four bytes are a tick of that instrument, one byte is a heartbeat, text is a notice.
struct Plain;

impl Feed for Plain {
    fn connect(&self, token: &AccessToken) -> SocketRequest {
        let query = Form::new().with_secret("access_token", &Secret::new(token.expose()));
        SocketRequest { path: "/".into(), query, headers: vec![("X-Kite-Version", "3".into())] }
    }

    fn refused(&self, response: &HttpResponse) -> Failure {
        let mut failure =
            Failure::new(Cause::Refused(Refusal::Suspect), Endpoint::Feed, String::from_utf8_lossy(&response.body));
        failure.status = Some(response.status);
        failure
    }

    fn subscribe(&self, instruments: &[BrokerToken], mode: Mode) -> Vec<WireMessage> {
        instruments.iter().map(|token| WireMessage::Text(format!("{} {token}", mode.as_str()))).collect()
    }

    fn unsubscribe(&self, _: &[BrokerToken]) -> Vec<WireMessage> {
        Vec::new()
    }

    fn decode(&self, message: &WireMessage, out: &mut Vec<FeedEvent>) {
        match message {
            WireMessage::Text(text) => out.push(FeedEvent::Notice(text.clone())),
            WireMessage::Binary(bytes) if bytes.len() == 1 => out.push(FeedEvent::Heartbeat),
            WireMessage::Binary(bytes) => out.extend(bytes.as_chunks().0.iter().map(|chunk| {
                let token = BrokerToken(u32::from_be_bytes(*chunk));
                FeedEvent::Tick(Tick { token, last_price: Price::default(), detail: Detail::Ltp })
            })),
        }
    }
}

/// A frame of ticks of these instruments.
fn ticks(instruments: &[u32]) -> Message {
    Message::Binary(instruments.iter().flat_map(|token| token.to_be_bytes()).collect::<Vec<_>>().into())
}

fn system() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

fn plan(server: SocketAddr, clock: Arc<dyn Clock>) -> SocketPlan {
    SocketPlan {
        socket: SocketId(1),
        address: format!("ws://{server}").parse().unwrap(),
        request: Plain.connect(&AccessToken::new(TOKEN)),
        codec: Arc::new(Plain),
        redactor: Redactor::new([Secret::new(TOKEN)]),
        clock,
        io_timeout: SocketPlan::IO_TIMEOUT,
        tap: None,
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn serve(listener: TcpListener) -> (WebSocketStream<TcpStream>, u16) {
    let (stream, client) = listener.accept().await.unwrap();
    (accept_async(stream).await.unwrap(), client.port())
}

#[tokio::test]
async fn frames_are_numbered_from_one_in_the_order_they_came() {
    let (listener, address) = listen().await;
    let (events, mut met) = mpsc::channel(16);
    let handle = open_socket(plan(address, system()), events);
    let (mut server, port) = serve(listener).await;
    let connected = met.recv().await.unwrap();
    assert_eq!((connected.what, connected.port, connected.socket), (SocketNews::Connected, port, handle.socket()));

    handle.send(Plain.subscribe(&[BrokerToken(7), BrokerToken(8)], Mode::Full)).unwrap();
    for wanted in ["full 7", "full 8"] {
        assert_eq!(server.next().await.unwrap().unwrap(), Message::text(wanted));
    }
    for message in [ticks(&[7]), Message::binary(vec![0]), Message::Ping(vec![1].into()), ticks(&[8, 7]), ticks(&[7])] {
        server.send(message).await.unwrap();
    }
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let SocketNews::Events { frame, events } = met.recv().await.unwrap().what else {
            panic!("expected a frame");
        };
        let mut stamps = Vec::new();
        events.stamps(|stamp| stamps.push(stamp.token.0));
        assert_eq!(count_ticks(&events.into_vec()), stamps.len());
        numbers.push((frame, stamps));
    }
    assert_eq!(numbers, [(1, vec![7]), (2, vec![]), (3, vec![8, 7]), (4, vec![7])]);
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Pong(vec![1].into()), "a ping is answered");

    server.close(None).await.unwrap();
    let last = met.recv().await.unwrap().what;
    assert!(matches!(&last, SocketNews::Lost(why) if why.contains("closed")), "{last:?}");
    assert!(met.recv().await.is_none(), "nothing after the end");
    assert_eq!(handle.send(Vec::new()), Err(NotQueued::Ended));
}

#[tokio::test]
async fn a_refused_handshake_brings_the_servers_words_without_the_token() {
    let (listener, address) = listen().await;
    let (events, mut met) = mpsc::channel(16);
    let _handle = open_socket(plan(address, system()), events);
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let refuse = |request: &Request, _: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.headers()["x-kite-version"], "3");
        let query = request.uri().query().unwrap_or_default();
        assert_eq!(Form::parse(query.as_bytes()).get("access_token"), Some(TOKEN), "the token is on the wire");
        let mut refusal = ErrorResponse::new(Some(format!("Authentication failed for {TOKEN} in {query}")));
        *refusal.status_mut() = http::StatusCode::FORBIDDEN;
        Err(refusal)
    };
    let (stream, _) = listener.accept().await.unwrap();
    assert!(accept_hdr_async(stream, refuse).await.is_err());
    let SocketNews::Refused(failure) = met.recv().await.unwrap().what else {
        panic!("expected a refusal");
    };
    assert_eq!((failure.status, failure.cause), (Some(403), Cause::Refused(Refusal::Suspect)));
    assert!(failure.message.starts_with("Authentication failed for #"), "{failure}");
    assert!(!failure.message.contains("s3cr3t"), "{failure}");
    assert!(met.recv().await.is_none(), "nothing after the end");
}

#[tokio::test]
async fn no_server_a_mute_server_and_a_cut_are_losses() {
    let (listener, address) = listen().await;
    drop(listener);
    let (events, mut met) = mpsc::channel(16);
    let _nobody = open_socket(plan(address, system()), events.clone());
    let lost = met.recv().await.unwrap();
    assert_eq!(lost.port, 0);
    assert!(matches!(&lost.what, SocketNews::Lost(why) if !why.contains("s3cr3t")), "{lost:?}");

    let (listener, address) = listen().await;
    let _mute =
        open_socket(SocketPlan { io_timeout: Duration::from_millis(50), ..plan(address, system()) }, events.clone());
    assert!(matches!(met.recv().await.unwrap().what, SocketNews::Lost(why) if why.contains("does not answer")));

    let _cut = open_socket(plan(address, system()), events);
    drop(listener.accept().await.unwrap()); // the mute one's
    let (server, _) = serve(listener).await;
    assert_eq!(met.recv().await.unwrap().what, SocketNews::Connected);
    drop(server);
    assert!(matches!(met.recv().await.unwrap().what, SocketNews::Lost(_)));
}

#[tokio::test]
async fn dropping_the_handle_closes_the_socket_and_says_when_its_slot_is_free() {
    let (listener, address) = listen().await;
    let (events, mut met) = mpsc::channel(16);
    let handle = open_socket(plan(address, system()), events);
    let (mut server, _) = serve(listener).await;
    assert_eq!(met.recv().await.unwrap().what, SocketNews::Connected);
    drop(handle);
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    assert!(server.next().await.is_none());
    assert_eq!(met.recv().await.unwrap().what, SocketNews::Closed);
    assert!(met.recv().await.is_none());
}

#[tokio::test]
async fn a_slow_reader_slows_the_server_and_loses_nothing() {
    const FRAMES: u32 = 2_000;
    let (listener, address) = listen().await;
    let (events, mut met) = mpsc::channel(1);
    let _handle = open_socket(plan(address, system()), events);
    let (mut server, _) = serve(listener).await;
    let sending = tokio::spawn(async move {
        for number in 1..=FRAMES {
            server.send(ticks(&vec![number; 500])).await.unwrap();
        }
        server
    });
    assert_eq!(met.recv().await.unwrap().what, SocketNews::Connected);
    for number in 1..=FRAMES {
        let SocketNews::Events { frame, events } = met.recv().await.unwrap().what else {
            panic!("expected a frame");
        };
        assert_eq!(frame, u64::from(number));
        let events = events.into_vec();
        assert_eq!(count_ticks(&events), 500);
        assert!(matches!(events.first(), Some(FeedEvent::Tick(tick)) if tick.token.0 == number));
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn market_time_stands_still_while_a_frame_is_on_its_way_or_being_handled() {
    let clock = SteppedClock::starting_at(Timestamp::from_unix_seconds(1_618_199_109));
    let (listener, address) = listen().await;
    let (events, mut met) = mpsc::channel(16);
    let sleeper = clock.sleep(Duration::from_secs(1));
    let handle = open_socket(plan(address, Arc::new(clock.clone())), events);
    let stepping = {
        let clock = clock.clone();
        tokio::spawn(async move { clock.step(Monotonic::from_nanos(u64::MAX)).await })
    };
    let (mut server, port) = serve(listener).await;
    let connected = met.recv().await.unwrap();
    clock.frame_sent(port);
    drop(connected); // from here on only the frame holds the clock
    server.send(ticks(&[7])).await.unwrap();
    let frame = met.recv().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(clock.now().mono, Monotonic::default(), "the frame is being handled");

    handle.send(vec![WireMessage::Text("hello".into())]).unwrap();
    drop(frame);
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("hello"));
    tokio::task::yield_now().await;
    assert_eq!(clock.now().mono, Monotonic::default(), "the server has not handled what was sent");
    clock.frame_received(port);
    assert!(stepping.await.unwrap());
    drop(sleeper.await);

    // A closed socket holds nothing, whatever was on its way.
    let _next = clock.sleep(Duration::from_secs(1));
    clock.frame_sent(port);
    drop(handle);
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    drop(server);
    assert_eq!(met.recv().await.unwrap().what, SocketNews::Closed);
    assert!(clock.step(Monotonic::from_nanos(u64::MAX)).await);
}
