//! What waits to be sent to one sink: in which order, how many an hour, when again after a failure, and what is given up.
//!
//! A core: time is an argument. Promises: at most [`MOST_AN_HOUR`] alerts within any hour; the queue is bounded, and of a
//! full one the oldest of the least severe goes; whatever is not delivered is counted, and the count is delivered.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};

use super::{Alert, Kind, Severity};
use crate::waiting::doubled;

/// Alerts that a sink gets within any hour, at most. The least severe may use 12 of them and warnings 16, so that noise
/// never keeps the urgent ones from a human.
pub const MOST_AN_HOUR: usize = 20;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Alerts that may wait.
const MOST_WAITING: usize = 64;
/// The wait after a first failure; it doubles from one failure to the next.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest wait between two tries, unless the sink asks for more.
const LONGEST_RETRY: Duration = Duration::from_secs(120);
/// An alert that could not be delivered for so long is given up, and counted.
const GIVE_UP: Duration = HOUR;
/// How long alerts that were held back are gathered before their number is sent.
const GATHER: Duration = Duration::from_secs(15 * 60);

/// One sink's outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outbox {
    waiting: VecDeque<Alert>,
    current: Option<Current>,
    /// When the alerts of the last hour went, the oldest first. The current one counts.
    sent: VecDeque<Monotonic>,
    held: Held,
    closing: bool,
}

/// What is being delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Current {
    alert: Alert,
    /// How many alerts it says were held back; 0 for any other.
    tells_of: u64,
    first_tried: Monotonic,
    failures: u32,
    not_before: Monotonic,
}

/// What was not sent, until its number was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    count: u64,
    accounts: BTreeSet<String>,
    worst: Option<Severity>,
    since: Option<Monotonic>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this; answer with [`Outbox::done`].
    Send(Alert),
    /// Nothing before then, unless something is pushed.
    Wait(Monotonic),
    /// Nothing, until something is pushed.
    Idle,
}

/// How sending went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The sink has it.
    Delivered,
    /// Worth another try.
    Failed {
        /// How long the sink asks to wait.
        after: Option<Duration>,
        /// Why, free of secrets.
        words: String,
    },
    /// The sink will never take it.
    Refused {
        /// Why, free of secrets.
        words: String,
    },
}

impl Outbox {
    /// Takes an alert.
    pub(super) fn push(&mut self, alert: Alert, now: Monotonic) {
        self.waiting.push_back(alert);
        if self.waiting.len() > MOST_WAITING {
            // The first of equals: the oldest.
            let least = self.waiting.iter().enumerate().min_by_key(|(_, alert)| alert.severity).map(|(index, _)| index);
            if let Some(dropped) = least.and_then(|index| self.waiting.remove(index)) {
                self.held.add(&dropped, now);
            }
        }
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Now) -> Next {
        if let Some(current) = &self.current {
            return if now.mono >= current.not_before {
                Next::Send(current.alert.clone())
            } else {
                Next::Wait(current.not_before)
            };
        }
        while self.sent.front().is_some_and(|at| now.mono.since(*at) >= HOUR) {
            self.sent.pop_front();
        }
        while let Some(alert) = self.waiting.pop_front() {
            if self.sent.len() < most_an_hour(alert.severity) {
                return self.begin(alert, 0, now.mono);
            }
            self.held.add(&alert, now.mono);
        }
        let Some(since) = self.held.since else { return Next::Idle };
        let gathered = if self.closing { now.mono } else { since + GATHER };
        let room = self.sent.front().filter(|_| self.sent.len() >= MOST_AN_HOUR).map(|oldest| *oldest + HOUR);
        let due = room.map_or(gathered, |room| room.max(gathered));
        if now.mono < due {
            return if self.closing { Next::Idle } else { Next::Wait(due) };
        }
        let summary = self.held.summary(now);
        self.begin(summary, self.held.count, now.mono)
    }

    /// The alert that [`Outbox::next`] gave was sent, or not.
    pub(super) fn done(&mut self, delivery: &Delivery, now: Monotonic) {
        let Some(mut current) = self.current.take() else { return };
        match delivery {
            Delivery::Delivered => {
                // It counts from now: the rate is one of arrivals.
                if let Some(last) = self.sent.back_mut() {
                    *last = now;
                }
                if current.tells_of > 0 {
                    self.held.told(current.tells_of, now);
                }
            }
            Delivery::Failed { after, .. } => {
                let ours = doubled(FIRST_RETRY, current.failures, LONGEST_RETRY);
                let wait = after.map_or(ours, |asked| asked.clamp(FIRST_RETRY, HOUR));
                current.failures = current.failures.saturating_add(1).min(30);
                current.not_before = now + wait;
                if self.closing || current.not_before.since(current.first_tried) > GIVE_UP {
                    self.give_up(&current, now);
                } else {
                    self.current = Some(current);
                }
            }
            Delivery::Refused { .. } => self.give_up(&current, now),
        }
    }

    /// There is no more time: what waits is tried once, at once.
    pub(super) fn close(&mut self, now: Monotonic) {
        self.closing = true;
        if let Some(current) = &mut self.current {
            current.not_before = now;
        }
    }

    /// Whether what is there is sent and no more is waited for.
    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Alerts that were not delivered and of which no number was either.
    pub(super) fn undelivered(&self) -> u64 {
        let current = u64::from(self.current.as_ref().is_some_and(|current| current.tells_of == 0));
        self.held.count.saturating_add(self.waiting.len() as u64).saturating_add(current)
    }

    fn begin(&mut self, alert: Alert, tells_of: u64, now: Monotonic) -> Next {
        self.sent.push_back(now);
        self.current = Some(Current { alert: alert.clone(), tells_of, first_tried: now, failures: 0, not_before: now });
        Next::Send(alert)
    }

    fn give_up(&mut self, current: &Current, now: Monotonic) {
        if current.tells_of == 0 {
            self.held.add(&current.alert, now);
        } else if self.closing {
            // Its number is in the log; there is no later.
            self.held.since = None;
        } else {
            self.held.since = Some(now);
        }
    }
}

impl Held {
    fn add(&mut self, alert: &Alert, now: Monotonic) {
        self.count = self.count.saturating_add(1);
        self.accounts.insert(alert.account.clone());
        self.worst = self.worst.max(Some(alert.severity));
        self.since.get_or_insert(now);
    }

    fn told(&mut self, count: u64, now: Monotonic) {
        self.count = self.count.saturating_sub(count);
        if self.count == 0 {
            *self = Self::default();
        } else {
            self.since = Some(now);
        }
    }

    fn summary(&self, now: Now) -> Alert {
        let (alerts, were) = if self.count == 1 { ("alert", "was") } else { ("alerts", "were") };
        let accounts: Vec<&str> = self.accounts.iter().map(String::as_str).collect();
        Alert {
            account: accounts.join(", "),
            kind: Kind::HeldBack,
            severity: self.worst.unwrap_or(Severity::Warning),
            at: now.wall,
            words: format!(
                "{} more {alerts} {were} held back: too many at a time, or they could not be delivered. The log has what \
                 they told of.",
                self.count
            ),
            link: None,
        }
    }
}

const fn most_an_hour(severity: Severity) -> usize {
    match severity {
        Severity::Info => 12,
        Severity::Warning => 16,
        Severity::Urgent => MOST_AN_HOUR,
    }
}
