//! Which events are alerts, and which alerts are repetitions.
//!
//! Promises: the same thing is told once within [`Kind`]'s window; once it is over (a new token is in use, live trading
//! is back) the next time is news again; what is remembered is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::Venue;
use nirantar_brokers::time::{Monotonic, Now};

use super::words::{Finding, Standing, find};
use super::{Alert, Kind, Severity};
use crate::core::Event;

/// How long the same thing is not told again.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a login that is due is not told again: the session reminds more often than a human wants to be called.
const LOGIN_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Alerts that are remembered for an account; the oldest is forgotten.
const MOST_REMEMBERED: usize = 256;

/// Watches one account's events for what a human should know. A core: time is an argument.
///
/// ```
/// use nirantar::alerts::{Kind, Watch};
/// use nirantar::core::Event;
/// use nirantar_brokers::time::Now;
///
/// let mut watch = Watch::new("main");
/// let now = Now::default();
/// let due = Event::LoginNeeded { at: now.wall, link: Some("https://kite.zerodha.com/connect/login".to_owned()) };
/// let alert = watch.on(&due, now).unwrap();
/// assert_eq!((alert.kind, alert.account.as_str()), (Kind::LoginDue, "main"));
/// assert_eq!(watch.on(&due, now), None, "it was just said");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    account: String,
    standing: Standing,
    told: BTreeMap<(Kind, String), Monotonic>,
}

impl Watch {
    /// Watches an account of that name, from its start on.
    #[must_use]
    pub fn new(account: impl Into<String>) -> Self {
        Self { account: account.into(), standing: Standing::default(), told: BTreeMap::new() }
    }

    /// The broker's own login page, which an alert names beside a link that leads to this machine only: a human with a
    /// phone logs in there, and pastes where the browser ended.
    #[must_use]
    pub fn login_page(mut self, page: Option<String>) -> Self {
        self.standing.login_at(page, &self.account);
        self
    }

    /// An event happened: the alert it is, unless it is none, or was told a short while ago.
    pub fn on(&mut self, event: &Event, now: Now) -> Option<Alert> {
        self.forget_what_is_over(event);
        let finding = find(event, &self.standing);
        self.standing.note(event);
        let Finding { kind, severity, essence, words, link } = finding?;
        let alert = Alert { account: self.account.clone(), kind, severity, at: event.at(), words, link };
        self.is_news(kind, essence, now.mono).then_some(alert)
    }

    /// So many events were lost before they could be looked at.
    pub fn missed(&mut self, events: u64, now: Now) -> Option<Alert> {
        let words = format!(
            "{events} events of this account were lost before they could be looked at, and alerts with them perhaps. The \
             engine itself goes on. Look at the log, or at nirantar token status."
        );
        let (kind, severity) = (Kind::EventsMissed, Severity::Warning);
        let alert = Alert { account: self.account.clone(), kind, severity, at: now.wall, words, link: None };
        self.is_news(kind, String::new(), now.mono).then_some(alert)
    }

    fn forget_what_is_over(&mut self, event: &Event) {
        match event {
            Event::Transition(step) if Standing::leaves_fallback(step) => {
                self.told.retain(|(kind, _), _| *kind == Kind::FallbackLeft);
            }
            Event::Transition(step) if Standing::enters_fallback(step) => self.forget(&[Kind::FallbackLeft]),
            Event::Token { .. } => self.forget(&[
                Kind::LoginDue,
                Kind::ApprovalAsked,
                Kind::RenewalFailed,
                Kind::TokenNotTaken,
                Kind::FeedRefused,
            ]),
            // Blocked for a wrong IP, mended, and blocked again: that is news.
            Event::Venue { venue: Venue::Live, .. } => self.forget(&[Kind::Misconfigured]),
            Event::Notice { notice: crate::session::Notice::Outage, .. } => self.forget(&[Kind::OutageOver]),
            Event::Notice { notice: crate::session::Notice::OutageOver, .. } => self.forget(&[Kind::Outage]),
            _ => {}
        }
    }

    fn forget(&mut self, kinds: &[Kind]) {
        self.told.retain(|(kind, _), _| !kinds.contains(kind));
    }

    fn is_news(&mut self, kind: Kind, essence: String, now: Monotonic) -> bool {
        self.told.retain(|(kind, _), at| now.since(*at) < window(*kind));
        if self.told.contains_key(&(kind, essence.clone())) {
            return false;
        }
        if self.told.len() >= MOST_REMEMBERED {
            let oldest = self.told.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.told.remove(&oldest);
            }
        }
        self.told.insert((kind, essence), now);
        true
    }
}

const fn window(kind: Kind) -> Duration {
    match kind {
        Kind::LoginDue => LOGIN_WINDOW,
        _ => WINDOW,
    }
}
