//! Logins and tokens: who may come in, and when a token dies.
//!
//! Promises: a code works once, even for an exchange that fails; a dead token never lives again; nothing here prints a
//! token.

use std::time::Duration;

use chrono::{Days, NaiveTime};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{AccessToken, Secret, jwt};
use serde_json::json;

use super::{Grant, NewLogin, Settings};

/// How long a code lives: "one or two minutes" by a third party's note, nobody documents it.
const CODE_LIFE: Duration = Duration::from_secs(120);
/// A year, which the read-only token lives.
const EXTENDED_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// Of codes, tokens and refresh tokens each: the oldest is forgotten, or dies, beyond that.
const MOST: usize = 64;

/// A session as it was issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) user: String,
    pub(super) access: AccessToken,
    pub(super) extended: AccessToken,
    /// Where the grant works.
    pub(super) refresh: Option<Secret>,
    pub(super) at: Timestamp,
    pub(super) dies: Timestamp,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    /// The extended one.
    ReadOnly,
}

#[derive(Clone, Debug)]
struct Living {
    token: AccessToken,
    user: String,
    dies: Timestamp,
    kind: Kind,
}

/// The login desk.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    rng: Rng,
    owner: String,
    dies_at: NaiveTime,
    ttl: Option<Duration>,
    pub(super) new_login: NewLogin,
    pub(super) grant: Grant,
    pub(super) rotates: bool,
    /// So many of the next sessions of the token endpoint are dead before they are answered.
    pub(super) dead_next: u32,
    codes: Vec<(Secret, Timestamp)>,
    refreshes: Vec<Secret>,
    living: Vec<Living>,
}

impl Tokens {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            rng: Rng::from_seed(settings.seed),
            owner: settings.user_id.clone(),
            dies_at: settings.token_dies_at,
            ttl: settings.token_ttl,
            new_login: settings.new_login,
            grant: settings.grant,
            rotates: settings.rotates,
            dead_next: 0,
            codes: Vec::new(),
            refreshes: Vec::new(),
            living: Vec::new(),
        }
    }

    /// A human logged in: the code of the redirect.
    pub(super) fn approve_login(&mut self, now: Timestamp) -> Secret {
        let code = self.random(6);
        push(&mut self.codes, (code.clone(), now));
        code
    }

    /// Takes a code: whether it was good. It is spent in any case.
    pub(super) fn spend_code(&mut self, code: &str, now: Timestamp) -> bool {
        let known = self.codes.iter().position(|(known, _)| known.expose() == code);
        known.is_some_and(|at| now.since(self.codes.remove(at).1) <= CODE_LIFE)
    }

    /// Takes a refresh token: whether it was good. It is spent only where it rotates, and kept where the grant is
    /// withdrawn, for the case that it works again.
    pub(super) fn spend_refresh(&mut self, refresh: &str) -> bool {
        let known = self.refreshes.iter().position(|known| known.expose() == refresh);
        match known {
            Some(at) if self.grant == Grant::Works => {
                if self.rotates {
                    self.refreshes.remove(at);
                }
                true
            }
            _ => false,
        }
    }

    /// A session of the account's owner, by login or approval.
    pub(super) fn issue(&mut self, now: Timestamp) -> Issued {
        let owner = self.owner.clone();
        let refreshable = self.grant == Grant::Works;
        self.issue_to(owner, refreshable, now)
    }

    /// A session by the refresh grant.
    pub(super) fn issue_renewed(&mut self, now: Timestamp) -> Issued {
        let owner = self.owner.clone();
        self.issue_to(owner, self.rotates, now)
    }

    /// A session of any user of the app. It does nothing to another user's tokens.
    pub(super) fn issue_to(&mut self, user: String, refreshable: bool, now: Timestamp) -> Issued {
        self.expire(now);
        if self.new_login == NewLogin::Kills {
            self.living.retain(|living| living.user != user || living.kind == Kind::ReadOnly);
        }
        let dies = self.death_of_one_issued(now);
        let access = self.mint(&user, now, dies);
        let extended = match self.living.iter().find(|living| living.kind == Kind::ReadOnly && living.user == user) {
            Some(living) => living.token.clone(),
            None => {
                let dies = now + EXTENDED_LIFE;
                let token = self.mint(&user, now, dies);
                push(&mut self.living, Living { token: token.clone(), user: user.clone(), dies, kind: Kind::ReadOnly });
                token
            }
        };
        push(&mut self.living, Living { token: access.clone(), user: user.clone(), dies, kind: Kind::Full });
        let refresh = refreshable.then(|| self.random(40));
        if let Some(refresh) = &refresh {
            push(&mut self.refreshes, refresh.clone());
        }
        Issued { user, access, extended, refresh, at: now, dies }
    }

    /// Every living access token dies; the read-only ones are no access tokens. How many there were.
    pub(super) fn kill_all(&mut self) -> usize {
        let before = self.living.len();
        self.living.retain(|living| living.kind == Kind::ReadOnly);
        before.saturating_sub(self.living.len())
    }

    /// That token dies.
    pub(super) fn kill(&mut self, token: &AccessToken) {
        self.living.retain(|living| living.token != *token);
    }

    /// The tokens die whose time has come, for good.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.living.retain(|living| living.dies > now);
    }

    /// Whose token is in an `Authorization: Bearer` header, and of which kind it is. `None` if it is missing, malformed
    /// or dead.
    pub(super) fn bearer(&self, header: Option<&Secret>) -> Option<(AccessToken, String, Kind)> {
        let token = header?.expose().strip_prefix("Bearer ")?;
        let living = self.living.iter().find(|living| living.token.expose() == token)?;
        Some((living.token.clone(), living.user.clone(), living.kind))
    }

    /// The next time of day at which tokens die.
    pub(super) fn next_cutoff(&self, now: Timestamp) -> Timestamp {
        let today = Timestamp::from_ist_parts(now.ist_date(), self.dies_at);
        let tomorrow = now.ist_date().checked_add_days(Days::new(1)).unwrap_or(now.ist_date());
        if today > now { today } else { Timestamp::from_ist_parts(tomorrow, self.dies_at) }
    }

    fn death_of_one_issued(&self, now: Timestamp) -> Timestamp {
        let by_age = self.ttl.map(|ttl| now + ttl);
        by_age.into_iter().chain([self.next_cutoff(now)]).min().unwrap_or(now)
    }

    /// A JWT as seen in the field (`upstox.md` 2.3), with random bytes where the MAC would stand.
    fn mint(&mut self, user: &str, now: Timestamp, dies: Timestamp) -> AccessToken {
        let claims = json!({
            "sub": user, "isMultiClient": false, "isPlusPlan": false, "iat": now.as_unix_seconds(),
            "iss": "udapi-gateway-service", "exp": dies.as_unix_seconds(),
        });
        let signature: Vec<u8> = (0..4).flat_map(|_| self.rng.next_u64().to_be_bytes()).collect();
        AccessToken::new(jwt::token(&claims, &signature))
    }

    /// That many letters and digits.
    fn random(&mut self, length: usize) -> Secret {
        let letter = |number: u64| char::from_digit(u32::try_from(number).unwrap_or(0), 36).unwrap_or('0');
        Secret::new((0..length).map(|_| letter(self.rng.below(36))).collect::<String>())
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= MOST {
        list.remove(0);
    }
    list.push(item);
}
