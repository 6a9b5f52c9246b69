//! What is on its way between the core and the server: requests and their answers, and the feed's frames.

use std::time::Duration;

use nirantar::core::Input;
use nirantar::feed::{self, SocketId, count_ticks};
use nirantar_brokers::time::Now;
use nirantar_brokers::{
    AccessToken, Auth as _, Body, Book, Call, Feed as _, FeedEvent, Form, HttpRequest, HttpResponse, Lost, Outcome,
    WireMessage,
};
use nirantar_exchange_mock::kite::{self as server, FaultRule, HttpParts, Reply, Transport};

use super::super::weather::Strike;
use super::World;

/// How long the client waits for an answer: what `transport.rs` waits.
const CALL_TIMEOUT: Duration = Duration::from_secs(7);

/// What becomes of an answer.
pub(super) type Then = Box<dyn FnOnce(&mut World, Result<HttpResponse, Lost>)>;

/// Something on its way.
pub(super) enum Happening {
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

pub(super) enum Heard {
    Connected,
    Refused(u16),
    Lost,
    Closed,
    Frame(WireMessage),
}

impl World {
    // --- requests ----------------------------------------------------------------------------------------------

    pub(super) fn call<T: 'static>(
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

    pub(super) fn parts(&self, request: &HttpRequest, token: Option<&AccessToken>) -> HttpParts {
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

    pub(super) fn happen(&mut self, happening: Happening) {
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
    pub(super) fn serve(&mut self, parts: &HttpParts, changes_orders: bool) -> Reply {
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

    pub(super) fn later(&mut self, span: Duration, happening: Happening) {
        self.happenings += 1;
        self.heap.insert((self.now.mono + span, self.happenings), happening);
    }

    // --- the feed ----------------------------------------------------------------------------------------------

    pub(super) fn feed(&mut self, output: feed::Output) {
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
                self.later(travel, Happening::Heard { socket, what: Heard::Closed });
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

    pub(super) fn say(&mut self, socket: SocketId, frames: Vec<WireMessage>) {
        for frame in frames {
            let WireMessage::Text(message) = frame else { panic!("clients of Kite speak in text") };
            self.later(Duration::from_millis(3), Happening::Said { socket, message });
        }
    }

    pub(super) fn shake_hands(&mut self, socket: SocketId, query: &Form) {
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
    pub(super) fn collect_frames(&mut self) {
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

    pub(super) fn hear(&mut self, socket: SocketId, what: Heard) {
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
            Heard::Closed => self.tell(Input::Feed(feed::Input::Closed { socket })),
            Heard::Frame(message) => {
                let mut events = Vec::new();
                self.broker.decode(&message, &mut events);
                let accepted = self.core.accepts(socket);
                self.tell(Input::Feed(feed::Input::Frame { socket, ticks: count_ticks(&events) }));
                for event in events.into_iter().filter(|_| accepted) {
                    if let FeedEvent::Order(row) = event {
                        self.tell(Input::Update { book: Book::Live, row: row.into() });
                    }
                }
            }
        }
    }
}

pub(super) fn response(reply: Reply) -> HttpResponse {
    let retry_after = reply.header("Retry-After").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    HttpResponse {
        status: reply.status,
        content_type: Some(reply.content_type.to_owned()),
        retry_after,
        body: reply.body,
    }
}
