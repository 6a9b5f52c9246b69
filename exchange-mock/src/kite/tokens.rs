//! Logins and tokens: who may come in, and when a token dies.
//!
//! Promises: a request token works once and for five minutes of market time; a dead token never lives again; nothing
//! here prints a token.

use std::time::Duration;

use chrono::Days;
use nirantar_brokers::kite::wire::rest::checksum;
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{AccessToken, Form, Secret};

use super::reply::ApiError;
use super::{NewLogin, Refresh, Settings};

/// How long a request token lives: "a few minutes" in the documentation, five by a maintainer's word (kite.md 1.1).
const REQUEST_TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);
/// Logins that may wait for their exchange at once; the oldest is forgotten beyond that.
const MAX_REQUEST_TOKENS: usize = 64;
/// Living tokens under [`NewLogin::Keeps`]; the oldest dies beyond that.
const MAX_TOKENS: usize = 64;

/// A session as it was issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// The new token.
    pub(super) access: AccessToken,
    /// For one renewal, where renewal works.
    pub(super) refresh: Option<Secret>,
    /// When.
    pub(super) at: Timestamp,
    /// Tokens that died of it.
    pub(super) killed: Vec<AccessToken>,
}

#[derive(Clone, Debug)]
struct Living {
    token: AccessToken,
    /// Another user of the same app; `None` for the account's owner.
    stranger: Option<String>,
    dies: Option<Timestamp>,
}

/// The login desk.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    api_key: String,
    api_secret: Secret,
    rng: Rng,
    new_login: NewLogin,
    dies_at: Option<chrono::NaiveTime>,
    ttl: Option<Duration>,
    /// Whether a renewal works, changed by control.
    pub(super) refresh: Refresh,
    requests: Vec<(Secret, Timestamp)>,
    living: Vec<Living>,
    refreshes: Vec<Secret>,
}

impl Tokens {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            api_key: settings.api_key.clone(),
            api_secret: settings.api_secret.clone(),
            rng: Rng::from_seed(settings.seed),
            new_login: settings.new_login,
            dies_at: settings.token_dies_at,
            ttl: settings.token_ttl,
            refresh: settings.refresh,
            requests: Vec::new(),
            living: Vec::new(),
            refreshes: Vec::new(),
        }
    }

    /// A human logged in: the request token of the redirect.
    ///
    /// # Errors
    /// The api key is not this app's.
    pub(super) fn approve(&mut self, api_key: Option<&str>, now: Timestamp) -> Result<Secret, ApiError> {
        self.check_key(api_key)?;
        if self.requests.len() >= MAX_REQUEST_TOKENS {
            self.requests.remove(0);
        }
        let token = self.random();
        self.requests.push((token.clone(), now));
        Ok(token)
    }

    /// `POST /session/token`.
    ///
    /// # Errors
    /// TokenException for a wrong checksum (which leaves the request token usable) and for a request token that is
    /// unknown, used or too old; InputException for a wrong key or a missing field.
    pub(super) fn exchange(&mut self, form: &Form, now: Timestamp) -> Result<Issued, ApiError> {
        self.check_key(form.get("api_key"))?;
        let request = required(form, "request_token")?;
        self.check_sum(request, required(form, "checksum")?)?;
        let known = self.requests.iter().position(|(token, _)| token.expose() == request);
        match known.map(|index| self.requests.remove(index)) {
            Some((_, issued)) if now.since(issued) <= REQUEST_TOKEN_LIFE => Ok(self.issue(now)),
            _ => Err(ApiError::token("Token is invalid or has expired.")),
        }
    }

    /// `POST /session/refresh_token`.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange); with renewal withdrawn every refresh token is invalid, and is kept for the case
    /// that renewal works again.
    pub(super) fn renew(&mut self, form: &Form, now: Timestamp) -> Result<Issued, ApiError> {
        self.check_key(form.get("api_key"))?;
        let refresh = required(form, "refresh_token")?;
        self.check_sum(refresh, required(form, "checksum")?)?;
        let known = self.refreshes.iter().position(|token| token.expose() == refresh);
        match known {
            Some(index) if self.refresh == Refresh::Works => {
                self.refreshes.remove(index);
                Ok(self.issue(now))
            }
            _ => Err(ApiError::token("Token is invalid or has expired.")),
        }
    }

    /// `DELETE /session/token`: the access tokens that died, none if a refresh token was given back.
    ///
    /// # Errors
    /// TokenException if there is no such token.
    pub(super) fn invalidate(&mut self, form: &Form) -> Result<Vec<AccessToken>, ApiError> {
        self.check_key(form.get("api_key"))?;
        if let Some(refresh) = form.get("refresh_token") {
            let before = self.refreshes.len();
            self.refreshes.retain(|token| token.expose() != refresh);
            return if self.refreshes.len() < before { Ok(Vec::new()) } else { Err(ApiError::dead_token()) };
        }
        let token = required(form, "access_token")?;
        match self.living.iter().position(|living| living.token.expose() == token) {
            Some(index) => Ok(vec![self.living.remove(index).token]),
            None => Err(ApiError::dead_token()),
        }
    }

    /// A session without a login page: what control hands out. Works as a login in every other way.
    pub(super) fn issue(&mut self, now: Timestamp) -> Issued {
        self.issue_to(None, now)
    }

    /// The same for another user of the app, whose logins do nothing to the owner's tokens.
    pub(super) fn issue_to(&mut self, stranger: Option<String>, now: Timestamp) -> Issued {
        let mut killed = Vec::new();
        if self.new_login == NewLogin::Kills {
            killed = self.kill(|living| living.stranger == stranger);
        } else if self.living.len() >= MAX_TOKENS {
            killed.push(self.living.remove(0).token);
        }
        let access = AccessToken::new(self.random().expose());
        let renewable = self.refresh == Refresh::Works && stranger.is_none();
        self.living.push(Living { token: access.clone(), stranger, dies: self.death_of_one_issued(now) });
        let refresh = renewable.then(|| self.random());
        if let Some(refresh) = &refresh {
            self.refreshes.truncate(MAX_TOKENS - 1);
            self.refreshes.insert(0, refresh.clone());
        }
        Issued { access, refresh, at: now, killed }
    }

    /// Every living token dies.
    pub(super) fn kill_all(&mut self) -> Vec<AccessToken> {
        self.living.drain(..).map(|living| living.token).collect()
    }

    /// The tokens whose time has come.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<AccessToken> {
        self.kill(|living| living.dies.is_some_and(|dies| dies <= now))
    }

    /// When the next token dies of its age.
    pub(super) fn next_death(&self) -> Option<Timestamp> {
        self.living.iter().filter_map(|living| living.dies).min()
    }

    /// The token of an `Authorization: token KEY:TOKEN` header.
    ///
    /// # Errors
    /// TokenException if it is missing, malformed, of another app or dead.
    pub(super) fn authorize(&self, header: Option<&Secret>) -> Result<AccessToken, ApiError> {
        let (key, token) = header
            .and_then(|header| header.expose().strip_prefix("token "))
            .and_then(|pair| pair.split_once(':'))
            .ok_or_else(ApiError::dead_token)?;
        self.living_token(key, token).ok_or_else(ApiError::dead_token)
    }

    /// The token of that text, if it is this app's and alive.
    pub(super) fn living_token(&self, api_key: &str, token: &str) -> Option<AccessToken> {
        let living = self.living.iter().find(|living| living.token.expose() == token)?;
        (api_key == self.api_key).then(|| living.token.clone())
    }

    /// Whose token that is, if not the account owner's.
    pub(super) fn stranger(&self, token: &AccessToken) -> Option<&str> {
        self.living.iter().find(|living| living.token == *token)?.stranger.as_deref()
    }

    fn kill(&mut self, which: impl Fn(&Living) -> bool) -> Vec<AccessToken> {
        let (dead, living): (Vec<_>, _) = self.living.drain(..).partition(which);
        self.living = living;
        dead.into_iter().map(|dead| dead.token).collect()
    }

    fn check_key(&self, api_key: Option<&str>) -> Result<(), ApiError> {
        match api_key {
            Some(key) if key == self.api_key => Ok(()),
            Some(_) => Err(ApiError::input("Invalid `api_key`.")),
            None => Err(ApiError::input("Missing `api_key`.")),
        }
    }

    fn check_sum(&self, token: &str, claimed: &str) -> Result<(), ApiError> {
        if claimed == checksum(&self.api_key, &Secret::new(token), &self.api_secret) {
            Ok(())
        } else {
            Err(ApiError::token("Invalid `checksum`."))
        }
    }

    fn death_of_one_issued(&self, now: Timestamp) -> Option<Timestamp> {
        let by_age = self.ttl.map(|ttl| now + ttl);
        let by_time = self.dies_at.map(|time| {
            let today = Timestamp::from_ist_parts(now.ist_date(), time);
            let tomorrow = now.ist_date().checked_add_days(Days::new(1)).unwrap_or(now.ist_date());
            if today > now { today } else { Timestamp::from_ist_parts(tomorrow, time) }
        });
        by_age.into_iter().chain(by_time).min()
    }

    /// 32 letters and digits.
    fn random(&mut self) -> Secret {
        let letter = |number: u64| char::from_digit(u32::try_from(number).unwrap_or(0), 36).unwrap_or('0');
        Secret::new((0..32).map(|_| letter(self.rng.below(36))).collect::<String>())
    }
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, ApiError> {
    form.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::input(format!("Missing `{name}`.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        Timestamp::parse_ist(&format!("2021-04-12 {time}")).unwrap()
    }

    fn form(token: &Secret, secret: &str) -> Form {
        Form::new()
            .with("api_key", "nirantar")
            .with_secret("request_token", token)
            .with_secret("refresh_token", token)
            .with("checksum", checksum("nirantar", token, &Secret::new(secret)))
    }

    fn header(token: &AccessToken) -> Secret {
        Secret::new(format!("token nirantar:{}", token.expose()))
    }

    #[test]
    fn a_request_token_works_once_and_not_after_five_minutes() {
        let mut tokens = Tokens::new(&Settings::default());
        let request = tokens.approve(Some("nirantar"), at("10:00:00")).unwrap();
        let issued = tokens.exchange(&form(&request, "nirantar-secret"), at("10:04:00")).unwrap();
        assert_eq!(tokens.authorize(Some(&header(&issued.access))).unwrap(), issued.access);
        let again = tokens.exchange(&form(&request, "nirantar-secret"), at("10:04:01")).unwrap_err();
        assert_eq!((again.status, again.error_type), (403, "TokenException"));
        let late = tokens.approve(Some("nirantar"), at("10:00:00")).unwrap();
        assert!(tokens.exchange(&form(&late, "nirantar-secret"), at("10:06:00")).is_err());
    }

    #[test]
    fn a_wrong_checksum_is_refused_and_does_not_spend_the_request_token() {
        let mut tokens = Tokens::new(&Settings::default());
        let request = tokens.approve(Some("nirantar"), at("10:00:00")).unwrap();
        let wrong = tokens.exchange(&form(&request, "other"), at("10:00:01")).unwrap_err();
        assert_eq!(wrong, ApiError::token("Invalid `checksum`."));
        assert!(tokens.exchange(&form(&request, "nirantar-secret"), at("10:00:02")).is_ok());
    }

    #[test]
    fn a_new_login_kills_or_keeps_the_old_token() {
        for (choice, old_lives) in [(NewLogin::Kills, false), (NewLogin::Keeps, true)] {
            let mut tokens = Tokens::new(&Settings { new_login: choice, ..Settings::default() });
            let old = tokens.issue(at("10:00:00")).access;
            let issued = tokens.issue(at("10:00:01"));
            assert_eq!(tokens.authorize(Some(&header(&old))).is_ok(), old_lives);
            assert_eq!(issued.killed.is_empty(), old_lives);
            assert!(tokens.authorize(Some(&header(&issued.access))).is_ok());
        }
    }

    #[test]
    fn a_token_dies_at_the_set_time_and_one_made_later_lives_until_the_next_day() {
        let mut tokens = Tokens::new(&Settings {
            token_dies_at: Some("11:00:00".parse().unwrap()),
            new_login: NewLogin::Keeps,
            ..Settings::default()
        });
        let first = tokens.issue(at("10:00:00")).access;
        assert_eq!(tokens.next_death(), Some(at("11:00:00")));
        assert!(tokens.expire(at("10:59:59")).is_empty());
        assert_eq!(tokens.expire(at("11:00:00")), vec![first.clone()]);
        assert!(tokens.authorize(Some(&header(&first))).is_err());
        tokens.issue(at("11:00:00"));
        assert_eq!(tokens.next_death(), Some(at("11:00:00") + Duration::from_secs(86_400)));
    }

    #[test]
    fn a_renewal_works_once_and_not_at_all_when_withdrawn() {
        let mut tokens = Tokens::new(&Settings { refresh: Refresh::Works, ..Settings::default() });
        let refresh = tokens.issue(at("10:00:00")).refresh.unwrap();
        tokens.refresh = Refresh::Withdrawn;
        assert!(tokens.renew(&form(&refresh, "nirantar-secret"), at("10:00:01")).is_err());
        tokens.refresh = Refresh::Works;
        let renewed = tokens.renew(&form(&refresh, "nirantar-secret"), at("10:00:02")).unwrap();
        assert!(renewed.refresh.is_some_and(|next| next != refresh));
        assert!(tokens.renew(&form(&refresh, "nirantar-secret"), at("10:00:03")).is_err(), "one use");
        assert_eq!(Tokens::new(&Settings::default()).issue(at("10:00:00")).refresh, None);
    }

    #[test]
    fn a_header_of_another_shape_or_app_is_a_dead_token() {
        let mut tokens = Tokens::new(&Settings::default());
        let token = tokens.issue(at("10:00:00")).access;
        for bad in [
            String::new(),
            token.expose().to_owned(),
            format!("token {}", token.expose()),
            format!("token other:{}", token.expose()),
            format!("Bearer nirantar:{}", token.expose()),
        ] {
            assert_eq!(tokens.authorize(Some(&Secret::new(bad))), Err(ApiError::dead_token()));
        }
        assert_eq!(tokens.authorize(None), Err(ApiError::dead_token()));
    }
}
