//! Sockets without sockets: modes, numbering, order updates, heartbeats, dead tokens, cuts and mutes.

use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::{BrokerToken, Detail, FeedEvent, Tick, WireMessage};

use super::*;
use crate::kite::{CloseHow, NewLogin, OldSocket, Packet};

/// What was sent on a socket: ticks and heartbeats by frame, texts as JSON.
#[derive(Debug, PartialEq)]
enum Seen {
    Ticks(Vec<Tick>),
    Heartbeat,
    Text(Value),
    Closed(CloseHow),
}

fn seen(desk: &mut Desk, socket: SocketId) -> Vec<Seen> {
    let of_socket = |output: Output| match output {
        Output::Send { socket: to, message } if to == socket => Some(read(message)),
        Output::Close { socket: to, how } if to == socket => Some(Seen::Closed(how)),
        _ => None,
    };
    desk.sent().into_iter().filter_map(of_socket).collect()
}

fn read(message: WireMessage) -> Seen {
    let bytes = match message {
        WireMessage::Text(text) => return Seen::Text(serde_json::from_str(&text).unwrap()),
        WireMessage::Binary(bytes) => bytes,
    };
    let mut events = Vec::new();
    packet::decode(&bytes, &mut events);
    if events == [FeedEvent::Heartbeat] {
        assert_eq!(bytes.len(), 1);
        return Seen::Heartbeat;
    }
    let tick = |event| if let FeedEvent::Tick(tick) = event { tick } else { panic!("{event:?}") };
    Seen::Ticks(events.into_iter().map(tick).collect())
}

fn ticks(seen: Vec<Seen>) -> Vec<Tick> {
    seen.into_iter().flat_map(|seen| if let Seen::Ticks(ticks) = seen { ticks } else { Vec::new() }).collect()
}

/// A desk with a socket that is subscribed to RELIANCE, its snapshot taken off.
fn subscribed(settings: Settings) -> (Desk, SocketId) {
    let mut desk = Desk::with(settings);
    let socket = desk.socket(4001).unwrap();
    desk.tell(socket, r#"{"a":"subscribe","v":[738561]}"#);
    desk.sent();
    (desk, socket)
}

#[test]
fn a_subscription_starts_with_a_snapshot_in_quote_mode_and_a_mode_message_with_another() {
    let mut desk = Desk::open();
    let socket = desk.socket(4001).unwrap();
    desk.tell(socket, r#"{"a":"subscribe","v":[738561,4]}"#);
    let [Seen::Ticks(first)] = &seen(&mut desk, socket)[..] else { panic!("one frame") };
    assert_eq!(first.len(), 1, "nobody knows instrument 4");
    assert!(matches!(first[0].detail, Detail::Quote(_)));
    for (mode, wanted) in [("ltp", "Ltp"), ("full", "Full"), ("quote", "Quote")] {
        desk.tell(socket, &format!(r#"{{"a":"mode","v":["{mode}",[738561]]}}"#));
        let snapshot = ticks(seen(&mut desk, socket));
        desk.now = desk.now + std::time::Duration::from_secs(1);
        desk.exchange.advance(desk.now);
        let tick = ticks(seen(&mut desk, socket));
        for got in [snapshot, tick] {
            assert_eq!(got.len(), 1, "{mode}");
            assert!(format!("{:?}", got[0].detail).starts_with(wanted), "{mode}: {got:?}");
        }
    }
}

#[test]
fn every_packet_is_numbered_in_the_log_and_snapshots_are_marked() {
    let (mut desk, socket) = subscribed(Settings::default());
    desk.wait_until("10:00:08");
    assert_eq!(ticks(seen(&mut desk, socket)).len(), 3);
    desk.tell(socket, r#"{"a":"mode","v":["full",[738561]]}"#);
    desk.exchange.closed(socket, desk.now);
    let log = desk.exchange.log();
    let packet = |tick, snapshot| Packet { token: BrokerToken(RELIANCE), tick, snapshot };
    assert_eq!(
        log.sockets[0].packets,
        [packet(5, true), packet(6, false), packet(7, false), packet(8, false), packet(8, true)]
    );
    assert_eq!(log.ticks[&BrokerToken(RELIANCE)].len(), 8);
    assert_eq!((log.sockets[0].port, log.sockets[0].closed), (4001, Some(at("10:00:08"))));
    assert_eq!(log.handshakes_accepted, 1);
}

#[test]
fn all_packets_of_one_moment_travel_in_one_frame() {
    let (mut desk, socket) = subscribed(Settings::default());
    desk.tell(socket, r#"{"a":"subscribe","v":[256265]}"#);
    desk.wait_until("10:00:09");
    desk.sent();
    desk.wait_until("10:00:10");
    let frames = seen(&mut desk, socket);
    let [Seen::Ticks(both)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(both.iter().map(|tick| tick.token.0).collect::<Vec<_>>(), [RELIANCE, NIFTY]);
    desk.tell(socket, r#"{"a":"unsubscribe","v":[738561]}"#);
    desk.wait_until("10:00:20");
    assert_eq!(ticks(seen(&mut desk, socket)).iter().map(|tick| tick.token.0).collect::<Vec<_>>(), [NIFTY]);
}

#[test]
fn a_silent_socket_gets_a_heartbeat_every_second_and_a_busy_one_none() {
    let mut desk = Desk::open();
    let silent = desk.socket(4001).unwrap();
    let busy = desk.socket(4002).unwrap();
    desk.tell(busy, r#"{"a":"subscribe","v":[738561]}"#);
    desk.sent();
    for second in 6..9 {
        assert_eq!(desk.exchange.next_wake(), Some(at(&format!("10:00:0{second}"))));
        desk.wait_until(&format!("10:00:0{second}"));
        let sent = desk.sent();
        let of = |socket| {
            let to = |output: &Output| matches!(output, Output::Send { socket: to, .. } if *to == socket);
            sent.iter().filter(|output| to(output)).count()
        };
        assert_eq!((of(silent), of(busy)), (1, 1));
    }
    desk.wait_until("10:00:09");
    assert_eq!(seen(&mut desk, silent), [Seen::Heartbeat]);
}

#[test]
fn order_updates_go_to_every_socket_and_partial_fills_are_updates() {
    let (mut desk, socket) = subscribed(Settings::default());
    let id = desk.place("transaction_type=BUY&order_type=LIMIT&price=1990&tag=N1");
    let texts = |seen: Vec<Seen>| -> Vec<Value> {
        seen.into_iter().filter_map(|seen| if let Seen::Text(text) = seen { Some(text) } else { None }).collect()
    };
    let [open] = &texts(seen(&mut desk, socket))[..] else { panic!("one text") };
    assert_eq!((&open["type"], &open["data"]["status"]), (&"order".into(), &"OPEN".into()));
    assert_eq!((&open["data"]["tag"], &open["data"]["order_id"]), (&"N1".into(), &id.as_str().into()));
    assert_eq!((&open["data"]["user_id"], open["data"].get("modified")), (&"NR0001".into(), None));
    desk.data(Method::Put, &format!("/orders/regular/{id}"), "", "price=2010&quantity=1500");
    desk.wait_until("10:00:08");
    let told = texts(seen(&mut desk, socket));
    let words: Vec<&str> = told.iter().filter_map(|text| text["data"]["status"].as_str()).collect();
    assert_eq!((words.first(), words.last()), (Some(&"UPDATE"), Some(&"COMPLETE")), "{words:?}");
}

#[test]
fn a_dead_token_cuts_mutes_or_leaves_its_sockets() {
    for old_socket in [OldSocket::Cut, OldSocket::Mute, OldSocket::Lives] {
        let dies = Some("10:00:08".parse().unwrap());
        let (mut desk, socket) = subscribed(Settings { old_socket, token_dies_at: dies, ..Settings::default() });
        desk.wait_until("10:00:12");
        let mut got = seen(&mut desk, socket);
        let close = matches!(got.last(), Some(Seen::Closed(_))).then(|| got.pop()).flatten();
        let (count, log) = (ticks(got).len(), &desk.exchange.log().sockets[0]);
        match old_socket {
            OldSocket::Cut => {
                assert_eq!((count, close), (2, Some(Seen::Closed(CloseHow::Politely))));
                assert_eq!(log.closed, Some(at("10:00:08")));
            }
            OldSocket::Mute => {
                assert_eq!((count, close), (2, None));
                assert_eq!((log.muted, log.closed), (Some(at("10:00:08")), None));
            }
            OldSocket::Lives => assert_eq!((count, close), (7, None)),
        }
        assert_eq!(desk.socket(4002).unwrap_err().status, 403, "no new socket under a dead token");
    }
}

#[test]
fn a_new_login_ends_the_sockets_of_the_token_it_kills_and_no_other() {
    let (mut desk, old) = subscribed(Settings::default());
    desk.token = desk.exchange.log_in(desk.now).access_token.expose().to_owned();
    assert_eq!(seen(&mut desk, old), [Seen::Closed(CloseHow::Politely)]);
    assert!(desk.socket(4002).is_ok());
    let (mut desk, old) = subscribed(Settings { new_login: NewLogin::Keeps, ..Settings::default() });
    let _ = desk.exchange.log_in(desk.now);
    assert_eq!(seen(&mut desk, old), []);
}

#[test]
fn a_refused_handshake_says_so_before_the_upgrade() {
    let mut desk = Desk::open();
    let query = Form::new().with("api_key", "nirantar").with("access_token", "dead");
    let reply = desk.exchange.open(&query, 4001, desk.now).unwrap_err();
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply.status, 403);
    assert_eq!(body, serde_json::json!({ "status": "error", "message": "Authentication failed." }));
    assert_eq!(desk.exchange.log().handshakes_refused, 1);
}

#[test]
fn a_socket_cut_hits_the_open_ones_or_the_next_and_is_spent() {
    let (mut desk, socket) = subscribed(Settings::default());
    desk.exchange.set_fault("socket-cut".parse().unwrap(), desk.now);
    assert_eq!(seen(&mut desk, socket), [Seen::Closed(CloseHow::Abruptly)]);
    desk.exchange.set_fault("socket-cut".parse().unwrap(), desk.now);
    let next = desk.socket(4002).unwrap();
    assert_eq!(seen(&mut desk, next), [Seen::Closed(CloseHow::Abruptly)]);
    let third = desk.socket(4003).unwrap();
    assert_eq!(seen(&mut desk, third), []);
    desk.exchange.set_fault("socket-cut@3".parse().unwrap(), desk.now);
    assert_eq!(desk.exchange.log().sockets.iter().filter(|socket| socket.closed.is_some()).count(), 3);
    assert!(desk.exchange.clear_fault("socket-cut", desk.now), "two cuts were still owed");
}

#[test]
fn a_muted_socket_gets_nothing_until_the_fault_is_cleared() {
    let (mut desk, socket) = subscribed(Settings::default());
    desk.exchange.set_fault("socket-mute".parse().unwrap(), desk.now);
    desk.place("transaction_type=BUY&order_type=LIMIT&price=1990");
    desk.wait_until("10:00:10");
    assert_eq!(seen(&mut desk, socket), []);
    assert_eq!(desk.exchange.log().sockets[0].muted, Some(at("10:00:05")));
    assert!(desk.exchange.clear_fault("socket-mute", desk.now));
    desk.wait_until("10:00:12");
    assert_eq!(ticks(seen(&mut desk, socket)).len(), 2);
}

#[test]
fn nonsense_on_a_socket_is_answered_with_an_error_text() {
    let mut desk = Desk::open();
    let socket = desk.socket(4001).unwrap();
    desk.tell(socket, "hello");
    let got = seen(&mut desk, socket);
    let [Seen::Text(text)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(text["type"], "error");
    assert!(text["data"].is_string(), "anything else makes Go panic");
}

#[test]
fn the_instrument_after_the_last_allowed_is_refused() {
    let mut desk = Desk::open();
    let instruments = (1..=3_001u32).map(|token| {
        let mut row = crate::universe::instruments(at("10:00:00").ist_date()).remove(0);
        (row.token, row.key.symbol) = (BrokerToken(token * 256 + 1), format!("S{token}").into());
        row
    });
    let settings = Settings { instruments: Some(instruments.collect()), ..Settings::default() };
    desk.exchange = KiteExchange::new(settings, prices());
    desk.token = desk.exchange.log_in(desk.now).access_token.expose().to_owned();
    let socket = desk.socket(4001).unwrap();
    let tokens: Vec<u32> = (1..=3_001).map(|token| token * 256 + 1).collect();
    desk.tell(socket, &serde_json::json!({ "a": "subscribe", "v": tokens }).to_string());
    let got = seen(&mut desk, socket);
    assert!(matches!(&got[..], [Seen::Text(text)] if text["type"] == "error"), "{got:?}");
}
