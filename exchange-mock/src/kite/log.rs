//! The server's own record of what it did, against which an engine's journal and feed are checked.
//!
//! Every market tick of an instrument has a running number from 1. For every socket, known by the client's TCP port,
//! the record holds each packet sent, in order, with the number of the tick it carried. A packet that repeats a known
//! state (after a subscribe or a mode message) is marked as a snapshot and is no tick: its number is that of the last
//! tick before it, 0 if there was none yet.

use std::collections::BTreeMap;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerToken, Fingerprint};
use serde_json::{Value, json};

/// Everything recorded since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLog {
    /// When each tick of an instrument happened at the exchange: tick number `n` is at index `n - 1`.
    pub ticks: BTreeMap<BrokerToken, Vec<Timestamp>>,
    /// Every socket that was ever open, in the order they opened.
    pub sockets: Vec<SocketLog>,
    /// Every order request, in the order they came.
    pub orders: Vec<OrderLog>,
    /// REST requests, refused ones included, without `/nirantar/*`.
    pub requests: u64,
    /// `GET /user/profile` calls that were answered 200.
    pub probes_accepted: u64,
    /// `GET /user/profile` calls that were answered anything else.
    pub probes_refused: u64,
    /// Every session handed out, in order.
    pub sessions: Vec<SessionLog>,
    /// Renewals that brought nothing: the refresh token was no good, or the grant is withdrawn.
    pub renewals_refused: u64,
    /// Reads of the account (margins, book, trades, positions, holdings) by the token they came under.
    pub reads: BTreeMap<Fingerprint, Reads>,
    /// WebSocket handshakes that became sockets.
    pub handshakes_accepted: u64,
    /// WebSocket handshakes that were refused.
    pub handshakes_refused: u64,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketLog {
    /// The client's TCP port.
    pub port: u16,
    /// The token it was opened under.
    pub token: Fingerprint,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it was closed, by whomever.
    pub closed: Option<Timestamp>,
    /// When it was last muted. Stays when a muting fault is cleared.
    pub muted: Option<Timestamp>,
    /// The packets sent on it, in order.
    pub packets: Vec<Packet>,
}

/// One packet of market data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Of which instrument.
    pub token: BrokerToken,
    /// Number of the tick it carries.
    pub tick: u64,
    /// Whether it repeats a state instead of bringing a tick.
    pub snapshot: bool,
}

/// What an order request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAction {
    /// `POST /orders/{variety}`.
    Place,
    /// `PUT /orders/{variety}/{id}`.
    Modify,
    /// `DELETE /orders/{variety}/{id}`.
    Cancel,
}

/// One order request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLog {
    /// When it came, in market time.
    pub at: Timestamp,
    /// What it asked for.
    pub action: OrderAction,
    /// Its tag, if it brought one.
    pub tag: Option<String>,
    /// The order's number: the new one of an accepted placement, the one named by a change or cancel.
    pub order_id: Option<String>,
    /// Whether the exchange acted on it, whatever was answered.
    pub accepted: bool,
    /// The token it came under, alive or not; `None` if it brought none.
    pub token: Option<Fingerprint>,
    /// The HTTP status of the answer; `None` if no answer was sent.
    pub status: Option<u16>,
}

/// How a session came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A human logged in, or control did.
    Login,
    /// A refresh token bought it.
    Renewal,
}

/// A session as it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLog {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: How,
    /// Its access token.
    pub token: Fingerprint,
}

/// What became of the reads under one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Answered 200.
    pub accepted: u64,
    /// Answered anything else.
    pub refused: u64,
}

impl ServerLog {
    /// Ticks of all instruments so far.
    #[must_use]
    pub fn tick_count(&self) -> usize {
        self.ticks.values().map(Vec::len).sum()
    }

    /// Numbers the next tick of `token`.
    /// How many renewals brought a session.
    #[must_use]
    pub fn renewals(&self) -> usize {
        self.sessions.iter().filter(|session| session.how == How::Renewal).count()
    }

    pub(super) fn tick(&mut self, token: BrokerToken, at: Timestamp) -> u64 {
        let ticks = self.ticks.entry(token).or_default();
        ticks.push(at);
        u64::try_from(ticks.len()).unwrap_or(u64::MAX)
    }

    /// Number of the last tick of `token`, 0 before the first.
    pub(super) fn last_tick(&self, token: BrokerToken) -> u64 {
        self.ticks.get(&token).map_or(0, |ticks| u64::try_from(ticks.len()).unwrap_or(u64::MAX))
    }

    /// As `GET /nirantar/log` shows it. Times are IST texts; ticks are counts and packets are
    /// `[instrument, tick, snapshot]`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let time = |at: &Timestamp| at.to_string();
        let sockets: Vec<Value> = self
            .sockets
            .iter()
            .map(|socket| {
                json!({
                    "port": socket.port,
                    "token": socket.token.to_string(),
                    "opened": time(&socket.opened),
                    "closed": socket.closed.as_ref().map(time),
                    "muted": socket.muted.as_ref().map(time),
                    "packets": socket.packets.iter().map(|p| json!([p.token.0, p.tick, p.snapshot])).collect::<Vec<_>>(),
                })
            })
            .collect();
        let orders: Vec<Value> = self
            .orders
            .iter()
            .map(|order| {
                json!({
                    "at": time(&order.at),
                    "action": match order.action {
                        OrderAction::Place => "place",
                        OrderAction::Modify => "modify",
                        OrderAction::Cancel => "cancel",
                    },
                    "tag": order.tag,
                    "order_id": order.order_id,
                    "accepted": order.accepted,
                    "token": order.token.map(|token| token.to_string()),
                    "status": order.status,
                })
            })
            .collect();
        let ticks: serde_json::Map<String, Value> =
            self.ticks.iter().map(|(token, ticks)| (token.to_string(), json!(ticks.len()))).collect();
        json!({
            "ticks": ticks,
            "sockets": sockets,
            "orders": orders,
            "requests": self.requests,
            "probes": { "accepted": self.probes_accepted, "refused": self.probes_refused },
            "sessions": self.sessions.iter().map(|session| json!({
                "at": time(&session.at),
                "how": match session.how {
                    How::Login => "login",
                    How::Renewal => "renewal",
                },
                "token": session.token.to_string(),
            })).collect::<Vec<_>>(),
            "renewals": { "accepted": self.renewals(), "refused": self.renewals_refused },
            "handshakes": { "accepted": self.handshakes_accepted, "refused": self.handshakes_refused },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_numbered_from_one_for_each_instrument() {
        let mut log = ServerLog::default();
        let (one, two, at) = (BrokerToken(1), BrokerToken(2), Timestamp::from_unix_seconds(5));
        assert_eq!(log.last_tick(one), 0);
        assert_eq!([log.tick(one, at), log.tick(one, at), log.tick(two, at)], [1, 2, 1]);
        assert_eq!((log.last_tick(one), log.tick_count()), (2, 3));
        assert_eq!(log.to_json()["ticks"], json!({ "1": 2, "2": 1 }));
    }
}
