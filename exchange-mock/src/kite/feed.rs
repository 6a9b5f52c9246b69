//! The sockets of the feed: who subscribed to what, and which frames that gives.
//!
//! Decisions where the broker's behaviour is not documented (kite.md 9):
//! * A subscription starts in quote mode; a mode message for an instrument that is not subscribed is ignored, and
//!   subscribing again leaves the mode as it is.
//! * Every subscribe and every mode message is answered at once with the last state of its instruments, where there is
//!   one, in the mode now in force. These packets are snapshots: the log marks them, and they are no ticks.
//! * All packets due at one market instant travel in one frame, several of one instrument in the order they happened.
//! * Instruments beyond 3,000 on one socket are refused with an `error` text; sockets beyond the limit of an api key
//!   with 429.
//! * Heartbeats are one byte, sent when nothing else was for a second of market time.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    AccessToken, BrokerToken, Depth, Detail, Full, InstrumentKind, Mode, OpenInterest, Tick, TickQuote, TradeStats,
    WireMessage,
};

use super::core::{CloseHow, Output, SocketId};
use super::log::{Packet, ServerLog, SocketLog};
use crate::MarketState;

/// Most instruments on one socket.
pub(super) const MAX_INSTRUMENTS: usize = 3_000;
/// After how long a silence a heartbeat is due, in market time. SDKs give up after 5 s.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Packets in one frame: its count is 16 bits wide.
const MAX_PACKETS: usize = 3_000;

/// Every open socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    opened: u64,
    open: BTreeMap<SocketId, Socket>,
    /// Frames and closings to be done, in order.
    pub(super) out: Vec<Output>,
}

#[derive(Clone, Debug)]
struct Socket {
    token: AccessToken,
    /// Its place in the log.
    logged: usize,
    modes: BTreeMap<BrokerToken, Mode>,
    muted: Option<Mute>,
    last_sent: Timestamp,
    /// Packets of the present instant.
    due: Vec<Tick>,
}

/// Why a socket is mute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mute {
    /// Its token died: for good.
    TokenDied,
    /// A fault, which can be cleared.
    Fault,
}

impl Sockets {
    pub(super) fn open(&mut self, token: AccessToken, port: u16, log: &mut ServerLog, now: Timestamp) -> SocketId {
        self.opened += 1;
        let id = SocketId(self.opened);
        let logged = log.sockets.len();
        log.sockets.push(SocketLog {
            port,
            token: token.fingerprint(),
            opened: now,
            closed: None,
            muted: None,
            packets: Vec::new(),
        });
        let modes = BTreeMap::new();
        self.open.insert(id, Socket { token, logged, modes, muted: None, last_sent: now, due: Vec::new() });
        id
    }

    /// The socket is gone. Nothing if it was closed before.
    pub(super) fn closed(&mut self, id: SocketId, log: &mut ServerLog, now: Timestamp) {
        if let Some(socket) = self.open.remove(&id)
            && let Some(logged) = log.sockets.get_mut(socket.logged)
        {
            logged.closed = Some(now);
        }
    }

    /// The server ends a socket.
    pub(super) fn close(&mut self, id: SocketId, how: CloseHow, log: &mut ServerLog, now: Timestamp) {
        if self.open.contains_key(&id) {
            self.closed(id, log, now);
            self.out.push(Output::Close { socket: id, how });
        }
    }

    /// Sends nothing more on a socket.
    pub(super) fn mute(&mut self, id: SocketId, why: Mute, log: &mut ServerLog, now: Timestamp) {
        if let Some(socket) = self.open.get_mut(&id) {
            if socket.muted.is_none()
                && let Some(logged) = log.sockets.get_mut(socket.logged)
            {
                logged.muted = Some(now);
            }
            // What the dead token muted, no fault's end brings back.
            if socket.muted != Some(Mute::TokenDied) {
                socket.muted = Some(why);
            }
        }
    }

    /// Ends the muting by a fault. The log keeps when it began last.
    pub(super) fn unmute(&mut self, now: Timestamp) {
        for socket in self.open.values_mut().filter(|socket| socket.muted == Some(Mute::Fault)) {
            socket.muted = None;
            socket.last_sent = now;
        }
    }

    /// The open sockets, oldest first.
    pub(super) fn ids(&self) -> Vec<SocketId> {
        self.open.keys().copied().collect()
    }

    /// Those that are not mute.
    pub(super) fn audible(&self) -> Vec<SocketId> {
        self.open.iter().filter(|(_, socket)| socket.muted.is_none()).map(|(id, _)| *id).collect()
    }

    /// The open sockets of a token.
    pub(super) fn of_token(&self, token: &AccessToken) -> Vec<SocketId> {
        self.open.iter().filter(|(_, socket)| socket.token == *token).map(|(id, _)| *id).collect()
    }

    /// Subscribes in quote mode where there is no mode yet. False if some were too many.
    pub(super) fn subscribe(&mut self, id: SocketId, tokens: impl IntoIterator<Item = BrokerToken>) -> bool {
        let Some(socket) = self.open.get_mut(&id) else {
            return true;
        };
        for token in tokens {
            if socket.modes.len() >= MAX_INSTRUMENTS && !socket.modes.contains_key(&token) {
                return false;
            }
            socket.modes.entry(token).or_insert(Mode::Quote);
        }
        true
    }

    pub(super) fn unsubscribe(&mut self, id: SocketId, tokens: &[BrokerToken]) {
        if let Some(socket) = self.open.get_mut(&id) {
            socket.modes.retain(|token, _| !tokens.contains(token));
        }
    }

    pub(super) fn set_mode(&mut self, id: SocketId, mode: Mode, tokens: &[BrokerToken]) {
        if let Some(socket) = self.open.get_mut(&id) {
            for token in tokens {
                if let Some(known) = socket.modes.get_mut(token) {
                    *known = mode;
                }
            }
        }
    }

    /// Sends a state that is no tick.
    pub(super) fn snapshot(&mut self, id: SocketId, states: &[Tick], log: &mut ServerLog, now: Timestamp) {
        if let Some(socket) = self.open.get_mut(&id) {
            for state in states {
                if let Some(mode) = socket.modes.get(&state.token) {
                    socket.put(at_mode(*state, *mode), log.last_tick(state.token), true, log);
                }
            }
        }
        self.flush(now);
    }

    /// Notes a tick for everyone who wants it; [`flush`](Self::flush) sends it.
    pub(super) fn tick(&mut self, tick: Tick, number: u64, log: &mut ServerLog) {
        for socket in self.open.values_mut() {
            if let Some(mode) = socket.modes.get(&tick.token) {
                socket.put(at_mode(tick, *mode), number, false, log);
            }
        }
    }

    /// Sends what is due, in one frame for each socket.
    pub(super) fn flush(&mut self, now: Timestamp) {
        for (id, socket) in &mut self.open {
            if socket.due.is_empty() {
                continue;
            }
            for packets in std::mem::take(&mut socket.due).chunks(MAX_PACKETS) {
                let message = WireMessage::Binary(packet::encode(packets));
                self.out.push(Output::Send { socket: *id, message });
            }
            socket.last_sent = now;
        }
    }

    /// Sends a text on every socket, or on one.
    pub(super) fn text(&mut self, only: Option<SocketId>, text: &str, now: Timestamp) {
        for (id, socket) in &mut self.open {
            if socket.muted.is_none() && only.is_none_or(|only| only == *id) {
                socket.last_sent = now;
                self.out.push(Output::Send { socket: *id, message: WireMessage::Text(text.to_owned()) });
            }
        }
    }

    /// When the next heartbeat is due.
    pub(super) fn next_heartbeat(&self) -> Option<Timestamp> {
        self.open.values().filter(|socket| socket.muted.is_none()).map(|socket| socket.last_sent + HEARTBEAT).min()
    }

    /// Sends heartbeats where they are due.
    pub(super) fn heartbeat(&mut self, now: Timestamp) {
        for (id, socket) in &mut self.open {
            if socket.muted.is_none() && socket.last_sent + HEARTBEAT <= now {
                socket.last_sent = now;
                let message = WireMessage::Binary(packet::HEARTBEAT.to_vec());
                self.out.push(Output::Send { socket: *id, message });
            }
        }
    }
}

impl Socket {
    fn put(&mut self, tick: Tick, number: u64, snapshot: bool, log: &mut ServerLog) {
        if self.muted.is_some() {
            return;
        }
        if let Some(logged) = log.sockets.get_mut(self.logged) {
            logged.packets.push(Packet { token: tick.token, tick: number, snapshot });
        }
        self.due.push(tick);
    }
}

/// The market in one instrument as a full tick. The paper exchange has no book of others' orders, so the depth is empty;
/// an index has neither trades nor depth.
pub(super) fn full_tick(token: BrokerToken, kind: InstrumentKind, market: &MarketState) -> Tick {
    let traded = kind != InstrumentKind::Index;
    let trades = traded.then(|| TradeStats {
        last_quantity: market.last_quantity,
        average_price: market.average_price(),
        volume: market.volume,
        buy_quantity: Default::default(),
        sell_quantity: Default::default(),
    });
    let full = Full {
        exchange_time: Some(market.at),
        last_trade_time: market.traded_at.filter(|_| traded),
        open_interest: traded.then(OpenInterest::default),
        depth: traded.then(Depth::default),
    };
    Tick { token, last_price: market.last_price, detail: Detail::Full(TickQuote { ohlc: market.ohlc, trades }, full) }
}

/// As much of a full tick as the mode sends.
fn at_mode(tick: Tick, mode: Mode) -> Tick {
    let detail = match (mode, tick.detail) {
        (Mode::Ltp, _) => Detail::Ltp,
        (Mode::Quote, Detail::Full(quote, _)) => Detail::Quote(quote),
        (_, detail) => detail,
    };
    Tick { detail, ..tick }
}
