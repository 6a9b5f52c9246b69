//! What the day came to, counted from the two sides' own records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, BrokerToken, InstrumentKey, OrderStatus};
use nirantar_exchange_mock::kite::{OrderAction, Packet, ServerLog, SocketLog};
use serde_json::{Value, json};

use super::recorder::{EventRecord, TickRecord};
use crate::core::Standing;
use crate::feed::{FeedStatus, Gap};
use crate::orders::{Desk, Record, What};
use crate::session::{State, Transition};

/// Everything the report is counted from.
pub(super) struct Evidence {
    pub(super) replays: Vec<(PathBuf, InstrumentKey)>,
    pub(super) ticks: TickRecord,
    pub(super) events: EventRecord,
    pub(super) journal: Vec<Record>,
    pub(super) server: ServerLog,
    pub(super) desk: Desk,
    pub(super) standing: Standing,
}

/// What became of a book's orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Asked for.
    pub submitted: u64,
    /// Filled to the last unit.
    pub filled: u64,
    /// Cancelled, perhaps after a part was filled.
    pub cancelled: u64,
    /// Rejected by the broker, or refused before it was acted on.
    pub rejected: u64,
}

/// What became of the ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickCounts {
    /// Ticks of the exchange.
    pub sent: u64,
    /// Of these, received over the live feed.
    pub received: u64,
    /// Not received although the feed claimed to be live.
    pub lost: u64,
    /// Received more than once.
    pub duplicated: u64,
    /// Received after a later one of the same instrument.
    pub out_of_order: u64,
    /// Prices of the fallback source, marked as such.
    pub fallback: u64,
}

/// The finished day in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether everything is as promised.
    pub ok: bool,
    /// What was replayed; empty for a synthetic day.
    pub replays: Vec<(PathBuf, InstrumentKey)>,
    /// Every change of the session's state.
    pub transitions: Vec<Transition>,
    /// Probes answered, tokens taken into use after the first, candidates not taken.
    pub tokens: (u64, u64, u64),
    /// The ticks.
    pub ticks: TickCounts,
    /// Closed gaps of the feed.
    pub gaps: Vec<Gap>,
    /// Milliseconds of market time from the good token turning up to the first tick over its socket.
    pub live_after_new_token_ms: Option<u64>,
    /// Live orders.
    pub live: OrderCounts,
    /// Paper orders.
    pub paper: OrderCounts,
    /// Live orders of which nobody knows what became.
    pub unknown: u64,
    /// Orders the exchange took more than once.
    pub duplicated: u64,
    /// Orders that one side has and the other has not.
    pub lost: u64,
    /// Orders, positions and differences of the comparisons with the live book.
    pub reconciled: (u64, u64, u64),
}

impl Report {
    pub(super) fn count(evidence: &Evidence) -> Self {
        let ticks = count_ticks(evidence);
        let (live, paper) = (count_orders(evidence, Book::Live), count_orders(evidence, Book::Paper));
        let (duplicated, lost) = hold_against(evidence);
        let unsure = |status| matches!(status, OrderStatus::Unknown | OrderStatus::Unresolved | OrderStatus::Sent);
        let unknown = evidence.desk.orders().filter(|order| unsure(order.status)).count();
        let comparisons = &evidence.events.comparisons;
        let last = comparisons.last();
        let mut report = Self {
            ok: false,
            replays: evidence.replays.clone(),
            transitions: evidence.events.transitions.clone(),
            tokens: (
                evidence.server.probes_accepted + evidence.server.probes_refused,
                to_u64(evidence.events.tokens.len()).saturating_sub(1),
                evidence.events.not_taken,
            ),
            ticks,
            gaps: evidence.events.gaps.clone(),
            live_after_new_token_ms: first_live_tick(evidence).map(|(turned_up, at)| millis(at, turned_up)),
            live,
            paper,
            unknown: to_u64(unknown),
            duplicated,
            lost,
            reconciled: (
                last.map_or(0, |comparison| to_u64(comparison.orders)),
                last.map_or(0, |comparison| to_u64(comparison.positions)),
                to_u64(comparisons.iter().map(|comparison| comparison.differences.len()).sum()),
            ),
        };
        let nothing_wrong = [ticks.lost, ticks.duplicated, ticks.out_of_order, report.unknown, duplicated, lost]
            .iter()
            .all(|count| *count == 0);
        let nothing_missed = evidence.ticks.lagged == 0 && evidence.events.lagged == 0;
        report.ok = nothing_wrong
            && nothing_missed
            && report.reconciled.2 == 0
            && report.states_visited().len() == State::ALL.len()
            && evidence.standing.state == State::Valid
            && report.live_after_new_token_ms.is_some()
            && live.submitted > 0
            && paper.submitted > 0;
        report
    }

    /// The states the session was in.
    #[must_use]
    pub fn states_visited(&self) -> BTreeSet<State> {
        self.transitions.iter().flat_map(|step| [step.from, step.to]).collect()
    }

    /// Longest gap of the feed, in milliseconds of market time.
    #[must_use]
    pub fn longest_gap_ms(&self) -> u64 {
        self.gaps.iter().filter_map(|gap| gap.to.map(|to| millis(to, gap.from))).max().unwrap_or(0)
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let orders = |counts: &OrderCounts| {
            json!({
                "submitted": counts.submitted, "filled": counts.filled,
                "cancelled": counts.cancelled, "rejected": counts.rejected,
            })
        };
        json!({
            "ok": self.ok,
            "broker": "kite",
            "replay": self.replays.iter().map(|(file, instrument)| json!({
                "file": file.display().to_string(), "instrument": instrument.to_string(),
            })).collect::<Vec<_>>(),
            "states_visited": self.states_visited().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "transitions": self.transitions.iter().map(|step| json!({
                "at": step.at.to_string(), "from": step.from.to_string(),
                "to": step.to.to_string(), "why": step.why.to_string(),
            })).collect::<Vec<_>>(),
            "tokens": { "probed": self.tokens.0, "swapped": self.tokens.1, "refused": self.tokens.2 },
            "ticks": {
                "sent": self.ticks.sent, "received": self.ticks.received, "lost": self.ticks.lost,
                "duplicated": self.ticks.duplicated, "out_of_order": self.ticks.out_of_order,
                "fallback": self.ticks.fallback,
            },
            "feed": {
                "gaps": self.gaps.iter().map(|gap| json!({
                    "from": gap.from.to_string(), "to": gap.to.map(|to| to.to_string()), "why": gap.why.to_string(),
                })).collect::<Vec<_>>(),
                "longest_gap_ms": self.longest_gap_ms(),
                "live_after_new_token_ms": self.live_after_new_token_ms,
            },
            "orders": {
                "live": orders(&self.live), "paper": orders(&self.paper),
                "unknown": self.unknown, "duplicated": self.duplicated, "lost": self.lost,
            },
            "reconciled": {
                "orders": self.reconciled.0, "positions": self.reconciled.1, "differences": self.reconciled.2,
            },
        })
    }
}

impl fmt::Display for Report {
    /// The summary that ends the day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<String> = self.states_visited().iter().map(ToString::to_string).collect();
        let row = |counts: &OrderCounts| {
            format!(
                "{:>5} submitted  {:>5} filled  {:>5} cancelled  {:>5} rejected",
                counts.submitted, counts.filled, counts.cancelled, counts.rejected
            )
        };
        let TickCounts { sent, received, lost, duplicated, out_of_order, fallback } = self.ticks;
        writeln!(f, "session   {}", states.join(", "))?;
        writeln!(
            f,
            "tokens    {} probes, {} new tokens taken, {} refused",
            self.tokens.0, self.tokens.1, self.tokens.2
        )?;
        writeln!(f, "ticks     {sent} at the exchange, {received} received live, {fallback} from the fallback source")?;
        writeln!(
            f,
            "          {lost} lost, {duplicated} duplicated, {out_of_order} out of order while the feed was live"
        )?;
        writeln!(
            f,
            "feed      {} gaps, the longest {} s of market time",
            self.gaps.len(),
            self.longest_gap_ms() / 1000
        )?;
        if let Some(after) = self.live_after_new_token_ms {
            writeln!(f, "          live again {after} ms of market time after the new token")?;
        }
        writeln!(f, "orders    live  {}", row(&self.live))?;
        writeln!(f, "          paper {}", row(&self.paper))?;
        writeln!(f, "          {} unknown, {} duplicated, {} lost", self.unknown, self.duplicated, self.lost)?;
        let (orders, positions, differences) = self.reconciled;
        writeln!(f, "books     {orders} orders and {positions} positions compared, {differences} differences")?;
        if self.ok {
            f.write_str("All is as promised: nothing lost, nothing repeated, nothing mixed up.")
        } else {
            f.write_str("NOT as promised: see the figures above that should be zero, and the states.")
        }
    }
}

fn count_ticks(evidence: &Evidence) -> TickCounts {
    let server = &evidence.server;
    let mut counts =
        TickCounts { sent: to_u64(server.tick_count()), fallback: evidence.ticks.fallback, ..TickCounts::default() };
    let mut seen: BTreeSet<(BrokerToken, u64)> = BTreeSet::new();
    let mut latest: BTreeMap<BrokerToken, u64> = BTreeMap::new();
    for (port, number, at) in &evidence.ticks.live {
        let Some(packet) = socket_of(server, *port, *at).and_then(|socket| packet(socket, *number)) else {
            // A packet the server never sent: as wrong as a packet can be.
            counts.out_of_order += 1;
            continue;
        };
        if packet.snapshot {
            continue;
        }
        counts.received += 1;
        if !seen.insert((packet.token, packet.tick)) {
            counts.duplicated += 1;
        }
        let latest = latest.entry(packet.token).or_default();
        if packet.tick < *latest {
            counts.out_of_order += 1;
        }
        *latest = packet.tick.max(*latest);
    }
    for (token, times) in &server.ticks {
        for (index, at) in times.iter().enumerate() {
            let received = seen.contains(&(*token, to_u64(index + 1)));
            if !received && claimed_live(&evidence.events, *at) {
                counts.lost += 1;
            }
        }
    }
    counts
}

/// Whether the feed said at that moment that it delivers, and declared no gap over it.
fn claimed_live(events: &EventRecord, at: Timestamp) -> bool {
    let status = events.feed.iter().rev().find(|(since, _)| *since <= at).map(|(_, status)| *status);
    let in_a_gap = events.gaps.iter().any(|gap| gap.from < at && gap.to.is_none_or(|to| at < to));
    matches!(status, Some(FeedStatus::Live { .. })) && !in_a_gap
}

/// When the token that is in use at the end turned up, and the first tick of the exchange (no repeated state) that was
/// received over a socket opened under it.
fn first_live_tick(evidence: &Evidence) -> Option<(Timestamp, Timestamp)> {
    let token = evidence.events.tokens.last()?;
    let (turned_up, _) = evidence.events.candidates.iter().find(|(_, candidate)| candidate == token)?;
    let of_it = |(port, number, at): &&(u16, u64, Timestamp)| {
        let socket = socket_of(&evidence.server, *port, *at).filter(|socket| socket.token == *token);
        socket.and_then(|socket| packet(socket, *number)).is_some_and(|packet| !packet.snapshot)
    };
    evidence.ticks.live.iter().find(of_it).map(|(_, _, at)| (*turned_up, *at))
}

/// The socket that had that client port at that time.
fn socket_of(server: &ServerLog, port: u16, at: Timestamp) -> Option<&SocketLog> {
    server
        .sockets
        .iter()
        .find(|socket| socket.port == port && socket.opened <= at && socket.closed.is_none_or(|closed| at <= closed))
}

/// The packet of that number, from 1, on a socket.
fn packet(socket: &SocketLog, number: u64) -> Option<&Packet> {
    socket.packets.get(usize::try_from(number.checked_sub(1)?).ok()?)
}

fn count_orders(evidence: &Evidence, book: Book) -> OrderCounts {
    let mut counts = OrderCounts::default();
    for status in journalled(evidence, book).values() {
        counts.submitted += 1;
        match status {
            OrderStatus::Filled => counts.filled += 1,
            OrderStatus::Cancelled => counts.cancelled += 1,
            OrderStatus::Rejected | OrderStatus::Refused => counts.rejected += 1,
            _ => {}
        }
    }
    counts
}

/// Every order of a book as the journal leaves it.
fn journalled(evidence: &Evidence, book: Book) -> BTreeMap<String, OrderStatus> {
    let mut orders = BTreeMap::new();
    for record in evidence.journal.iter().filter(|record| record.book == book) {
        let Some(id) = record.id.as_ref().map(ToString::to_string) else { continue };
        match &record.what {
            What::Intent(_) => {
                orders.insert(id, OrderStatus::Journalled);
            }
            What::State { status, .. } => {
                orders.insert(id, *status);
            }
            What::External { .. }
            | What::Sending { .. }
            | What::NotSent
            | What::RefusedForToken { .. }
            | What::Answer(_)
            | What::CancelWanted
            | What::Acknowledged
            | What::Holds { .. }
            | What::Settled { .. } => {}
        }
    }
    orders
}

/// Orders the exchange took twice, and orders that one side has and the other has not.
fn hold_against(evidence: &Evidence) -> (u64, u64) {
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    for order in &evidence.server.orders {
        if order.action == OrderAction::Place && order.accepted {
            *taken.entry(order.tag.as_deref().unwrap_or("")).or_default() += 1;
        }
    }
    let ours = journalled(evidence, Book::Live);
    let duplicated = taken.values().filter(|times| **times > 1).count();
    let believed = |status: OrderStatus| {
        !matches!(
            status,
            OrderStatus::Journalled | OrderStatus::Refused | OrderStatus::NotPlaced | OrderStatus::Unknown
        )
    };
    let not_there = ours
        .iter()
        .filter(|(id, status)| {
            believed(**status) && **status != OrderStatus::Rejected && !taken.contains_key(id.as_str())
        })
        .count();
    let not_ours = taken.keys().filter(|tag| !ours.get(**tag).is_some_and(|status| believed(*status))).count();
    (to_u64(duplicated), to_u64(not_there + not_ours))
}

fn millis(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
