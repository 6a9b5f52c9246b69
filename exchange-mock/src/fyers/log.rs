//! The server's own record of what it did, against which an engine is checked. Holds fingerprints, no tokens.

use std::collections::BTreeMap;
use std::fmt;

use nirantar_brokers::Fingerprint;
use nirantar_brokers::time::Timestamp;
use serde_json::{Value, json};

/// Sessions that are remembered; the oldest are forgotten beyond that.
const MAX_SESSIONS: usize = 1_000;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// `GET /generate-authcode`: the page, and the answer to it.
    Login,
    /// `POST /validate-authcode`.
    Exchange,
    /// `POST /validate-refresh-token`.
    Renew,
    /// `GET /profile`.
    Profile,
    /// `GET /funds`.
    Funds,
    /// `POST /logout`.
    Logout,
}

impl Route {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Login, Self::Exchange, Self::Renew, Self::Profile, Self::Funds, Self::Logout];

    /// As it is written in faults and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Exchange => "exchange",
            Self::Renew => "renew",
            Self::Profile => "profile",
            Self::Funds => "funds",
            Self::Logout => "logout",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Done {
    /// Acted on and answered.
    Accepted,
    /// Acted on, and the answer was lost on purpose.
    AnswerLost,
    /// Not acted on, and answered so: by the broker's rules.
    Refused,
    /// Not acted on: a fault answered, or nobody did.
    Faulted,
}

impl Done {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AnswerLost => "answer-lost",
            Self::Refused => "refused",
            Self::Faulted => "faulted",
        }
    }
}

/// How a token came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// The code of a login was exchanged.
    Login,
    /// It was bought with a refresh token.
    Renewal,
    /// Control handed it out, as after a login.
    Control,
}

impl How {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Renewal => "renewal",
            Self::Control => "control",
        }
    }
}

/// A token that was handed out, whether or not the answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLog {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: How,
    /// Which.
    pub token: Fingerprint,
}

/// Everything recorded since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLog {
    counts: BTreeMap<(Route, Done), u64>,
    sessions: Vec<SessionLog>,
}

impl ServerLog {
    /// Requests of that kind, whatever became of them.
    #[must_use]
    pub fn requests(&self, route: Route) -> u64 {
        self.counts.iter().filter(|((of, _), _)| *of == route).map(|(_, count)| *count).sum()
    }

    /// Requests of that kind of which that became.
    #[must_use]
    pub fn count(&self, route: Route, done: Done) -> u64 {
        self.counts.get(&(route, done)).copied().unwrap_or(0)
    }

    /// The last thousand tokens handed out, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> &[SessionLog] {
        &self.sessions
    }

    /// As `GET /nirantar/log` shows it. Times are IST texts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut requests = json!({});
        for ((route, done), count) in &self.counts {
            requests[route.as_str()][done.as_str()] = json!(count);
        }
        let session = |session: &SessionLog| {
            let SessionLog { at, how, token } = session;
            json!({ "at": at.to_string(), "how": how.as_str(), "token": token.to_string() })
        };
        json!({ "requests": requests, "sessions": self.sessions.iter().map(session).collect::<Vec<_>>() })
    }

    pub(super) fn request(&mut self, route: Route, done: Done) {
        let count = self.counts.entry((route, done)).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn session(&mut self, session: SessionLog) {
        if self.sessions.len() >= MAX_SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let mut log = ServerLog::default();
        for done in [Done::Refused, Done::AnswerLost, Done::Refused] {
            log.request(Route::Renew, done);
        }
        assert_eq!((log.requests(Route::Renew), log.requests(Route::Profile)), (3, 0));
        assert_eq!((log.count(Route::Renew, Done::Refused), log.count(Route::Renew, Done::Accepted)), (2, 0));
        assert_eq!(log.to_json()["requests"], json!({ "renew": { "answer-lost": 1, "refused": 2 } }));
    }

    #[test]
    fn a_server_that_runs_for_months_forgets_its_oldest_sessions() {
        let mut log = ServerLog::default();
        for second in 0..=MAX_SESSIONS {
            let at = Timestamp::from_unix_seconds(i64::try_from(second).unwrap());
            log.session(SessionLog { at, how: How::Renewal, token: Fingerprint(0) });
        }
        assert_eq!((log.sessions().len(), log.sessions()[0].at), (MAX_SESSIONS, Timestamp::from_unix_seconds(1)));
    }
}
