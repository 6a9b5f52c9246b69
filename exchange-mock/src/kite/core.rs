//! The server without its sockets: requests, handshakes and messages in with the market time, replies and frames out.
//!
//! The driver in this folder and a deterministic simulator use it alike. Every input first brings the market up to its
//! time, instant by instant, so an order never arrives before a price of the same or an earlier moment. After every
//! input, [`KiteExchange::drain`] has the frames to send, in order, and [`KiteExchange::next_wake`] the time at which
//! [`KiteExchange::advance`] must be called next. Time that goes back is taken as standing still. Total: no input makes
//! it panic.

use std::collections::BTreeMap;
use std::fmt;

use nirantar_brokers::kite::wire::text::{ClientText, ServerText};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{AccessToken, BrokerOrderId, BrokerToken, Form, OrderRow, Tick, WireMessage};
use serde_json::json;

use super::candles::Candles;
use super::fault::Faults;
use super::feed::{MAX_INSTRUMENTS, Mute, Sockets, full_tick};
use super::limits::RateLimits;
use super::orders::Note;
use super::tokens::Tokens;
use super::{Fault, FaultRule, OldSocket, Reply, ServerLog, Settings};
use crate::prices::{PriceEvent, PriceSource};
use crate::{Calendar, Config, MarketState, MockExchange, Update, universe};

/// A socket, numbered from 1 in the order they open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Something to do on a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame.
    Send {
        /// Where.
        socket: SocketId,
        /// What.
        message: WireMessage,
    },
    /// End it. Nothing more follows for this socket, and the core has forgotten it.
    Close {
        /// Which.
        socket: SocketId,
        /// In which manner.
        how: CloseHow,
    },
}

/// How the server ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// With a close frame: a token died.
    Politely,
    /// The connection is dropped: a fault.
    Abruptly,
}

/// A Kite Connect server as a value.
pub struct KiteExchange {
    pub(super) settings: Settings,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) limits: RateLimits,
    pub(super) log: ServerLog,
    pub(super) exchange: MockExchange,
    pub(super) candles: Candles,
    pub(super) sockets: Sockets,
    pub(super) notes: BTreeMap<BrokerOrderId, Note>,
    pub(super) slices: u64,
    prices: Box<dyn PriceSource + Send>,
    /// Sockets still to be cut or muted as soon as they open.
    cut_next: u32,
    mute_next: u32,
    /// With that order request of the log every living token dies.
    fatal_order: Option<usize>,
    pub(super) now: Timestamp,
}

impl fmt::Debug for KiteExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KiteExchange").field("settings", &self.settings).field("now", &self.now).finish_non_exhaustive()
    }
}

impl KiteExchange {
    /// A server with these prices to come, whose time stands before the first of them.
    #[must_use]
    pub fn new(settings: Settings, prices: Box<dyn PriceSource + Send>) -> Self {
        let instruments = match &settings.instruments {
            Some(instruments) => instruments.clone(),
            None => universe::instruments(prices.date()),
        };
        let config = Config {
            seed: settings.seed,
            user_id: settings.user_id.clone(),
            cash: settings.cash,
            holdings: settings.holdings.clone(),
            square_off: settings.square_off,
            latency: settings.latency,
            ..Config::default()
        };
        let mut this = Self {
            tokens: Tokens::new(&settings),
            faults: Faults::default(),
            limits: RateLimits::default(),
            log: ServerLog::default(),
            exchange: MockExchange::new(config, instruments, settings.calendar.clone()),
            candles: Candles::default(),
            sockets: Sockets::default(),
            notes: BTreeMap::new(),
            slices: 0,
            prices,
            cut_next: 0,
            mute_next: 0,
            fatal_order: None,
            now: Timestamp::from_nanos(i64::MIN),
            settings,
        };
        for rule in this.settings.faults.clone() {
            this.put_fault(rule);
        }
        this
    }

    /// Brings the market up to `now`: prices, matching, expiring orders, dying tokens, heartbeats.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            self.instant(at.max(self.now));
        }
        self.now = self.now.max(now);
        // A new day may have begun without an event.
        self.exchange.wake(self.now);
        self.sockets.heartbeat(self.now);
    }

    /// When [`advance`](Self::advance) has something to do next; `None` if nothing ever happens by itself.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.next_event().into_iter().chain(self.sockets.next_heartbeat()).min()
    }

    /// What to do on the sockets since the last call.
    pub fn drain(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.sockets.out)
    }

    /// A WebSocket handshake from the client's TCP port.
    ///
    /// # Errors
    /// The reply with which it is refused: 403 for a bad token or a missing plan, 429 when the api key has as many
    /// sockets as [`Settings::connections`] allows: what the broker answers to a fourth is not documented.
    pub fn open(&mut self, query: &Form, port: u16, now: Timestamp) -> Result<SocketId, Reply> {
        self.advance(now);
        let living = self
            .tokens
            .living_token(query.get("api_key").unwrap_or_default(), query.get("access_token").unwrap_or_default());
        let refused = |status, message| Reply::json(status, &json!({ "status": "error", "message": message }));
        let token = match living {
            Some(token) if self.tokens.stranger(&token).is_none() && !self.faults.hit(Fault::PermissionData) => token,
            _ => {
                self.log.handshakes_refused += 1;
                return Err(refused(403, "Authentication failed."));
            }
        };
        if self.sockets.ids().len() >= self.settings.connections {
            self.log.handshakes_refused += 1;
            return Err(refused(429, "Too many connections."));
        }
        self.log.handshakes_accepted += 1;
        let socket = self.sockets.open(token, port, &mut self.log, self.now);
        if self.cut_next > 0 {
            self.cut_next -= 1;
            self.sockets.close(socket, CloseHow::Abruptly, &mut self.log, self.now);
        } else if self.mute_next > 0 {
            self.mute_next -= 1;
            self.sockets.mute(socket, Mute::Fault, &mut self.log, self.now);
        }
        Ok(socket)
    }

    /// A text message of a client. One that makes no sense is answered with an `error` text.
    pub fn message(&mut self, socket: SocketId, message: &str, now: Timestamp) {
        self.advance(now);
        match ClientText::decode(message) {
            Ok(ClientText::Subscribe(tokens)) => {
                let known: Vec<BrokerToken> =
                    tokens.into_iter().filter(|token| self.exchange.instrument_by_token(*token).is_some()).collect();
                if !self.sockets.subscribe(socket, known.iter().copied()) {
                    let words = format!("At most {MAX_INSTRUMENTS} instruments can be subscribed on one connection.");
                    self.complain(socket, &words);
                }
                self.snapshot(socket, &known);
            }
            Ok(ClientText::Unsubscribe(tokens)) => self.sockets.unsubscribe(socket, &tokens),
            Ok(ClientText::Mode(mode, tokens)) => {
                self.sockets.set_mode(socket, mode, &tokens);
                self.snapshot(socket, &tokens);
            }
            Err(error) => self.complain(socket, &format!("Invalid message: {error}.")),
        }
    }

    /// A client is gone. Harmless if the core closed the socket itself.
    pub fn closed(&mut self, socket: SocketId, now: Timestamp) {
        self.advance(now);
        self.sockets.closed(socket, &mut self.log, self.now);
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &ServerLog {
        &self.log
    }

    /// Puts a fault in force.
    pub fn set_fault(&mut self, rule: FaultRule, now: Timestamp) {
        self.advance(now);
        self.put_fault(rule);
    }

    /// Ends the fault of that name, or every one for `all`. False if there was none. Sockets that were muted by
    /// `socket-mute` are heard again.
    pub fn clear_fault(&mut self, name: &str, now: Timestamp) -> bool {
        self.advance(now);
        let mut ended = self.faults.clear(name);
        if matches!(name, "halt" | "all") {
            self.exchange.halt(None, false);
        }
        if matches!(name, "widen" | "all") {
            self.exchange.widen(None, 0);
        }
        if matches!(name, "socket-cut" | "all") {
            ended |= std::mem::take(&mut self.cut_next) > 0;
        }
        if matches!(name, "socket-mute" | "all") {
            ended |= std::mem::take(&mut self.mute_next) > 0 || self.sockets.audible() != self.sockets.ids();
            self.sockets.unmute(self.now);
        }
        ended
    }

    /// Replaces the calendar, say for a holiday announced late.
    pub fn set_calendar(&mut self, calendar: Calendar, now: Timestamp) {
        self.advance(now);
        self.exchange.set_calendar(calendar);
    }

    /// The faults in force, without those of sockets, which act at once or on the next socket.
    #[must_use]
    pub fn faults(&self) -> &[FaultRule] {
        self.faults.in_force()
    }

    /// Every living token dies. How many there were.
    pub fn kill_tokens(&mut self, now: Timestamp) -> usize {
        self.advance(now);
        self.end_tokens()
    }

    /// Every living token dies with the last of so many order requests from now on: that one is still answered as if it
    /// lived, and the next is refused.
    pub fn kill_tokens_after(&mut self, orders: usize) {
        self.fatal_order = Some(self.log.orders.len().saturating_add(orders));
    }

    /// An order request has been noted.
    pub(super) fn order_noted(&mut self) {
        if self.fatal_order.is_some_and(|last| self.log.orders.len() >= last) {
            self.fatal_order = None;
            self.end_tokens();
        }
    }

    fn end_tokens(&mut self) -> usize {
        let dead = self.tokens.kill_all();
        for token in &dead {
            self.bury(token);
        }
        dead.len()
    }

    /// What becomes of the sockets of a token that died.
    pub(super) fn bury(&mut self, token: &AccessToken) {
        for socket in self.sockets.of_token(token) {
            match self.settings.old_socket {
                OldSocket::Cut => self.sockets.close(socket, CloseHow::Politely, &mut self.log, self.now),
                OldSocket::Mute => self.sockets.mute(socket, Mute::TokenDied, &mut self.log, self.now),
                OldSocket::Lives => {}
            }
        }
    }

    /// Tells the sockets what became of orders since the last call.
    pub(super) fn publish_orders(&mut self) {
        let mut updates = self.exchange.drain();
        if updates.len() > 1 && self.faults.hit(Fault::Reorder) {
            updates.reverse();
        }
        for update in updates {
            // A trade is told by the row before it.
            if let Update::Order(row) = update {
                self.publish_order(&row);
            }
        }
    }

    fn publish_order(&mut self, row: &OrderRow) {
        if let Some(postback) = self.postback(row) {
            self.sockets.text(None, &postback, self.now);
            if self.faults.hit(Fault::Duplicate) {
                self.sockets.text(None, &postback, self.now);
            }
        }
    }

    fn put_fault(&mut self, rule: FaultRule) {
        match rule.fault {
            Fault::SocketCut => {
                let open = self.sockets.ids();
                self.cut_next = hits_left(rule, open.len());
                for socket in open.into_iter().take(count(rule)) {
                    self.sockets.close(socket, CloseHow::Abruptly, &mut self.log, self.now);
                }
            }
            Fault::SocketMute => {
                let open = self.sockets.audible();
                self.mute_next = hits_left(rule, open.len());
                for socket in open.into_iter().take(count(rule)) {
                    self.sockets.mute(socket, Mute::Fault, &mut self.log, self.now);
                }
            }
            Fault::Halt(token) => {
                let key = token.and_then(|token| self.exchange.instrument_by_token(BrokerToken(token)));
                let key = key.map(|instrument| instrument.key.clone());
                // A number that names nothing stops nothing.
                if token.is_none() || key.is_some() {
                    self.exchange.halt(key.as_ref(), true);
                }
                self.faults.set(rule);
            }
            Fault::Widen { ticks, token } => {
                // One in place of another.
                self.exchange.widen(None, 0);
                let key = token.and_then(|token| self.exchange.instrument_by_token(BrokerToken(token)));
                let key = key.map(|instrument| instrument.key.clone());
                if token.is_none() || key.is_some() {
                    self.exchange.widen(key.as_ref(), ticks);
                }
                self.faults.set(rule);
            }
            _ => self.faults.set(rule),
        }
    }

    /// The next thing that happens whether or not anyone is connected.
    fn next_event(&self) -> Option<Timestamp> {
        let events = [self.tokens.next_death(), self.exchange.next_wake(self.now), self.prices.peek()];
        events.into_iter().flatten().min()
    }

    /// All that happens at one moment: tokens die, orders expire, prices come, in this order.
    fn instant(&mut self, at: Timestamp) {
        self.now = at;
        for token in self.tokens.expire(at) {
            self.bury(&token);
        }
        self.exchange.wake(at);
        self.publish_orders();
        while self.prices.peek().is_some_and(|next| next <= at) {
            match self.prices.next() {
                Some(event) => self.tick(&event),
                None => break,
            }
        }
        self.sockets.flush(at);
        self.publish_orders();
    }

    fn tick(&mut self, event: &PriceEvent) {
        if self.faults.hit(Fault::Freeze) {
            return;
        }
        let before = self.exchange.market(&event.instrument).map_or(0, |market| market.volume.get());
        self.exchange.price(&event.instrument, event.ltp, event.volume, self.now);
        let Some((token, kind)) = self.exchange.instrument(&event.instrument).map(|known| (known.token, known.kind))
        else {
            return;
        };
        self.count_wide(token);
        // A price the exchange does not take, like one of zero, is no tick.
        let taken = |market: &MarketState| market.last_price == event.ltp && market.at == self.now;
        if let Some(market) = self.exchange.market(&event.instrument).filter(taken) {
            let traded = market.volume.get().saturating_sub(before);
            self.candles.tick(token, self.now, event.ltp, traded);
            let tick = full_tick(token, kind, &market);
            let number = self.log.tick(token, self.now);
            self.sockets.tick(tick, number, &mut self.log);
        }
    }

    /// A tick came in a spread that is widened for so many of them: the last one ends it.
    fn count_wide(&mut self, token: BrokerToken) {
        let concerned = |fault| match fault {
            Fault::Widen { token: one, .. } => one.is_none_or(|one| one == token.0).then_some(()),
            _ => None,
        };
        let counted = self.faults.take(concerned).is_some();
        if counted && !self.faults.in_force().iter().any(|rule| matches!(rule.fault, Fault::Widen { .. })) {
            self.exchange.widen(None, 0);
        }
    }

    fn snapshot(&mut self, socket: SocketId, tokens: &[BrokerToken]) {
        let states: Vec<Tick> = tokens
            .iter()
            .filter_map(|token| {
                let instrument = self.exchange.instrument_by_token(*token)?;
                let market = self.exchange.market(&instrument.key)?;
                Some(full_tick(*token, instrument.kind, &market))
            })
            .collect();
        self.sockets.snapshot(socket, &states, &mut self.log, self.now);
    }

    fn complain(&mut self, socket: SocketId, words: &str) {
        self.sockets.text(Some(socket), &ServerText::Error(words.to_owned()).encode(), self.now);
    }
}

/// How many open sockets a rule may hit.
fn count(rule: FaultRule) -> usize {
    rule.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// How many sockets a rule still has to hit after it hit as many of the open ones as it may.
fn hits_left(rule: FaultRule, open: usize) -> u32 {
    match rule.count {
        Some(count) => count.saturating_sub(u32::try_from(open).unwrap_or(u32::MAX)),
        None => u32::from(open == 0),
    }
}
