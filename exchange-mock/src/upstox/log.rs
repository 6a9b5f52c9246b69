//! The server's own record of what came and what it did, against which renewals are counted. Holds no token.

use std::collections::BTreeMap;

use nirantar_brokers::time::Timestamp;
use serde_json::{Value, json};

use super::Route;

/// Renewals whose time is kept, beyond which only counts go on.
const MOST_TIMES: usize = 4096;

/// How often something was granted and how often refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done, whether or not the answer arrived.
    pub granted: u64,
    /// Not done.
    pub refused: u64,
}

impl Tally {
    pub(super) const fn count(&mut self, granted: bool) {
        let count = if granted { &mut self.granted } else { &mut self.refused };
        *count = count.saturating_add(1);
    }

    fn to_json(self) -> Value {
        json!({ "granted": self.granted, "refused": self.refused })
    }
}

/// Everything recorded since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLog {
    /// Requests by route, those answered by a fault included.
    pub requests: BTreeMap<Route, u64>,
    /// Requests to no route.
    pub unrouted: u64,
    /// Exchanges of a code.
    pub exchanges: Tally,
    /// Uses of a refresh token.
    pub renewals: Tally,
    /// When a refresh token was used, refused or not: the first few thousand.
    pub renewals_at: Vec<Timestamp>,
    /// Requests for an approval.
    pub approvals_asked: Tally,
    /// Approvals the human granted, or declined.
    pub approvals: Tally,
    /// Notices posted to the notifier: taken with a 2xx, or not.
    pub notices: Tally,
    /// Logouts.
    pub logouts: Tally,
    /// Probes: reads of the profile.
    pub probes: Tally,
    /// Answers of the token endpoint that were cut off after it had acted.
    pub replies_lost: u64,
}

impl ServerLog {
    /// How many requests came to that route.
    #[must_use]
    pub fn requests_of(&self, route: Route) -> u64 {
        self.requests.get(&route).copied().unwrap_or(0)
    }

    pub(super) fn request(&mut self, route: Route) {
        let count = self.requests.entry(route).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn renewal(&mut self, granted: bool, at: Timestamp) {
        self.renewals.count(granted);
        if self.renewals_at.len() < MOST_TIMES {
            self.renewals_at.push(at);
        }
    }

    /// As `GET /nirantar/log` has it; times are IST.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let requests: serde_json::Map<String, Value> =
            self.requests.iter().map(|(route, count)| (route.as_str().to_owned(), json!(count))).collect();
        let renewals_at: Vec<String> = self.renewals_at.iter().map(ToString::to_string).collect();
        json!({
            "requests": requests,
            "unrouted": self.unrouted,
            "exchanges": self.exchanges.to_json(),
            "renewals": self.renewals.to_json(),
            "renewals_at": renewals_at,
            "approvals_asked": self.approvals_asked.to_json(),
            "approvals": self.approvals.to_json(),
            "notices": self.notices.to_json(),
            "logouts": self.logouts.to_json(),
            "probes": self.probes.to_json(),
            "replies_lost": self.replies_lost,
        })
    }
}
