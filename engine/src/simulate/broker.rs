//! A model of the broker: whose tokens live, which grants are spent, and the exchange behind it all.
//!
//! It keeps the broker's rules (a daily cut-off or a life of hours, a new login that replaces or not, refresh tokens for
//! one use) and the truth that checkers hold the engine against. The wire is not simulated: see `docs/simulate.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{
    AccessToken, BrokerOrderId, Cause, ClientOrderId, Endpoint, Expiry, Failure, Fingerprint, Money, Outcome, Quantity,
    Secret, Sessions,
};
use nirantar_exchange_mock::{Calendar, Config, MockExchange, Rejection, universe};

use super::time::{EngineClock, Instant};
use crate::orders::{Command, LiveState};
use crate::session::{Candidate, Source};
use crate::token::LiveToken;

/// Whose a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The account's own user.
    Own,
    /// Somebody else.
    Stranger,
    /// Nobody: the broker never issued it.
    Nobody,
}

impl Owner {
    /// The user id the broker names.
    pub(super) const fn user_id(self) -> &'static str {
        match self {
            Self::Own => super::OWN_USER,
            Self::Stranger | Self::Nobody => "ZZ9999",
        }
    }
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) live: Arc<LiveToken>,
    pub(super) owner: Owner,
    issued: Timestamp,
    pub(super) dies: Instant,
    pub(super) refresh: Option<Fingerprint>,
}

/// The broker of one account.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) exchange: MockExchange,
    tokens: BTreeMap<Fingerprint, Issued>,
    /// Refresh tokens, and whether they are spent.
    grants: BTreeMap<Fingerprint, bool>,
    expiry: Expiry,
    sessions: Sessions,
    rng: Rng,
    made: u64,
}

/// Cash of the account: never what a run is about.
const CASH: i64 = 100_000_000;

/// An exchange for that day. Prices fill orders for as long as `freshness`.
pub(super) fn exchange(seed: u64, date: NaiveDate, calendar: &Calendar, freshness: Duration) -> MockExchange {
    let config = Config { seed, cash: Money::from_rupees(CASH), freshness, ..Config::default() };
    MockExchange::new(config, universe::instruments(date), calendar.clone())
}

impl Broker {
    pub(super) fn new(seed: u64, expiry: Expiry, sessions: Sessions, exchange: MockExchange) -> Self {
        let rng = Rng::from_seed(seed ^ 0xb0_6e12);
        Self { exchange, tokens: BTreeMap::new(), grants: BTreeMap::new(), expiry, sessions, rng, made: 0 }
    }

    /// Makes a token. Where a new login replaces, the owner's others die.
    pub(super) fn issue(&mut self, owner: Owner, at: Instant, clock: EngineClock) -> Option<Fingerprint> {
        if owner == Owner::Own && self.sessions == Sessions::Replace {
            for issued in self.tokens.values_mut().filter(|issued| issued.owner == Owner::Own) {
                issued.dies = issued.dies.min(at);
            }
        }
        self.made += 1;
        let token = AccessToken::new(format!("tok{:016x}{:08}", self.rng.next_u64(), self.made));
        let fingerprint = token.fingerprint();
        let authorization = Secret::new(format!("token simulated:{}", token.expose()));
        let live = Arc::new(LiveToken::new(token, &authorization).ok()?);
        let issued = clock.right(at);
        let refresh = (owner == Owner::Own).then_some(Fingerprint(fingerprint.0 ^ 0x5eed_5eed));
        self.grants.extend(refresh.map(|refresh| (refresh, false)));
        let dies = if owner == Owner::Nobody { Instant::START } else { clock.at(self.death_of(issued)) };
        self.tokens.insert(fingerprint, Issued { live, owner, issued, dies, refresh });
        Some(fingerprint)
    }

    /// When a token issued at `since` dies: at a moment of the band that nobody knows before, or when its hours are over.
    fn death_of(&mut self, since: Timestamp) -> Timestamp {
        match self.expiry {
            Expiry::Ttl(ttl) => since + ttl,
            Expiry::Cutoff { suspect_from, dead_by, .. } => {
                let date = since.ist_date();
                let first = Timestamp::from_ist_parts(date, suspect_from);
                let (first, last) = if since < first {
                    (first, Timestamp::from_ist_parts(date, dead_by))
                } else {
                    let next = date.succ_opt().unwrap_or(date);
                    (Timestamp::from_ist_parts(next, suspect_from), Timestamp::from_ist_parts(next, dead_by))
                };
                first + Duration::from_secs(self.rng.below(last.since(first).as_secs() + 1))
            }
        }
    }

    pub(super) fn token(&self, fingerprint: Fingerprint) -> Option<&Issued> {
        self.tokens.get(&fingerprint)
    }

    /// Whether the broker accepts that token.
    pub(super) fn accepts(&self, fingerprint: Fingerprint, at: Instant) -> bool {
        self.tokens.get(&fingerprint).is_some_and(|issued| at < issued.dies)
    }

    /// Whether that is a living token of the account's own user.
    pub(super) fn is_good(&self, fingerprint: Fingerprint, at: Instant) -> bool {
        self.tokens.get(&fingerprint).is_some_and(|issued| issued.owner == Owner::Own && at < issued.dies)
    }

    /// Ends a session now.
    pub(super) fn end(&mut self, fingerprint: Fingerprint, at: Instant) {
        if let Some(issued) = self.tokens.get_mut(&fingerprint) {
            issued.dies = issued.dies.min(at);
        }
    }

    /// Lets a session go on for longer than it should.
    pub(super) fn prolong(&mut self, fingerprint: Fingerprint, span: Duration) {
        if let Some(issued) = self.tokens.get_mut(&fingerprint) {
            issued.dies = issued.dies + span;
        }
    }

    /// Spends a refresh token. False if it buys nothing.
    pub(super) fn spend(&mut self, grant: Fingerprint) -> bool {
        self.grants.get_mut(&grant).is_some_and(|spent| !std::mem::replace(spent, true))
    }

    /// What an engine makes of a token it is given.
    pub(super) fn candidate(&self, fingerprint: Fingerprint, source: Source) -> Candidate {
        let issued = self.tokens.get(&fingerprint);
        Candidate {
            fingerprint,
            source,
            issued_at: issued.map(|issued| issued.issued),
            expires_at: None,
            refresh: issued.and_then(|issued| issued.refresh),
            refresh_dies: None,
        }
    }

    /// Does what a message asks for.
    pub(super) fn act(&mut self, id: &ClientOrderId, command: &Command, wall: Timestamp) -> Outcome<BrokerOrderId> {
        act(&mut self.exchange, id, command, wall)
    }

    /// Positions, orders and trades, read together.
    pub(super) fn state(&mut self, wall: Timestamp) -> LiveState {
        self.exchange.wake(wall);
        LiveState {
            positions: self.exchange.positions(),
            orders: self.exchange.book().cloned().collect(),
            trades: self.exchange.trades().to_vec(),
        }
    }

    /// What is open there, as a broker's risk desk sees it shortly before the close.
    pub(super) fn open_positions(&self) -> Vec<nirantar_brokers::Position> {
        self.exchange.positions().into_iter().filter(|position| position.quantity != 0).collect()
    }
}

/// One message at an exchange, live or paper.
pub(super) fn act(
    exchange: &mut MockExchange,
    id: &ClientOrderId,
    command: &Command,
    wall: Timestamp,
) -> Outcome<BrokerOrderId> {
    let (endpoint, done) = match command {
        Command::Place(request) => (Endpoint::Place, exchange.place(request, Some(id), wall)),
        Command::Modify(order, change) => (Endpoint::Modify, exchange.modify(order, change, wall)),
        Command::Cancel(order) => (Endpoint::Cancel, exchange.cancel(order, wall)),
    };
    done.map_err(|Rejection { message, .. }| Failure::new(Cause::Rejected, endpoint, message))
}

/// A position's size as an order's quantity.
pub(super) const fn units(quantity: i64) -> Quantity {
    Quantity::new(quantity.unsigned_abs())
}
