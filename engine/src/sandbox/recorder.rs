//! What came out of the engine, written down for the report.

use nirantar_brokers::Fingerprint;
use nirantar_brokers::time::Timestamp;

use super::{Line, Progress, Teller, Who};
use crate::core::Event;
use crate::engine::{EventMessage, Events};
use crate::feed::{FeedStatus, Gap, Source, TickMessage, Ticks};
use crate::orders::Comparison;
use crate::session::{Notice, Transition};

/// Every tick handed to a subscriber, by where it came from.
#[derive(Debug, Default)]
pub(super) struct TickRecord {
    /// Port of the socket and number of the packet on it, in the order of delivery.
    pub(super) live: Vec<(u16, u64, Timestamp)>,
    pub(super) fallback: u64,
    pub(super) lagged: u64,
}

pub(super) async fn record_ticks(
    mut ticks: Ticks,
    (open, close): (Timestamp, Timestamp),
    progress: Progress,
) -> TickRecord {
    let mut record = TickRecord::default();
    let mut minute = None;
    while let Some(message) = ticks.next().await {
        if let TickMessage::Tick(event) = &message {
            let at = event.received.wall;
            if minute.replace(at.as_unix_seconds() / 60) != Some(at.as_unix_seconds() / 60) {
                progress(at, at.since(open).as_secs_f32() / close.since(open).as_secs_f32().max(1.0));
            }
        }
        match message {
            TickMessage::Tick(event) => match event.source {
                // A quote comes on no socket, and is no tick.
                Source::Snapshot { .. } if event.socket_port == 0 => {}
                Source::Live { .. } | Source::Snapshot { .. } => {
                    record.live.push((event.socket_port, event.packet, event.received.wall))
                }
                Source::Paper(_) | Source::OtherAccount => record.fallback += 1,
            },
            TickMessage::Lagged(count) => record.lagged += count,
        }
    }
    record
}

/// Every event but the orders', which are in the journal.
#[derive(Debug, Default)]
pub(super) struct EventRecord {
    pub(super) transitions: Vec<Transition>,
    pub(super) gaps: Vec<Gap>,
    pub(super) feed: Vec<(Timestamp, FeedStatus)>,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) candidates: Vec<(Timestamp, Fingerprint)>,
    pub(super) tokens: Vec<Fingerprint>,
    pub(super) not_taken: u64,
    pub(super) lagged: u64,
}

pub(super) async fn record_events(mut events: Events, tell: Teller) -> EventRecord {
    let mut record = EventRecord::default();
    while let Some(message) = events.next().await {
        let event = match message {
            EventMessage::Event(event) => event,
            EventMessage::Lagged(count) => {
                record.lagged += count;
                continue;
            }
        };
        if let Some(line) = in_words(&event) {
            tell(line);
        }
        match event {
            Event::Transition(transition) => record.transitions.push(transition),
            Event::Gap { gap, .. } if gap.to.is_some() => record.gaps.push(gap),
            Event::Candidate { at, candidate } => record.candidates.push((at, candidate.fingerprint)),
            Event::Feed { at, status } => record.feed.push((at, status)),
            Event::Compared { comparison, .. } if comparison.complete => record.comparisons.push(comparison),
            Event::Token { fingerprint, .. } => record.tokens.push(fingerprint),
            Event::Notice { notice: Notice::NotTaken { .. }, .. } => record.not_taken += 1,
            _ => {}
        }
    }
    record
}

/// The line that tells an event, for those worth one.
fn in_words(event: &Event) -> Option<Line> {
    let who = match event {
        Event::Transition(_) => Who::State,
        Event::Feed { .. } | Event::Order { .. } | Event::Answered { .. } => return None,
        Event::Compared { comparison, .. } if !comparison.complete => return None,
        _ => Who::Engine,
    };
    Some(Line { at: event.at(), who, words: event.to_string() })
}
