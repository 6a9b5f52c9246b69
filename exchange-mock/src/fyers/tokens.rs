//! Logins and tokens: who may come in, and when a token dies.
//!
//! Promises: a login's code works once; a dead token never lives again; nothing here prints a token.

use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveTime};
use nirantar_brokers::fyers::app_id_hash;
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{AccessToken, Secret, jwt};
use serde_json::{Value, json};

use super::reply::ApiError;
use super::settings::six;
use super::{Grant, NewToken, Settings, Switches, TokenEnd};

/// How long a login's code lives: what the one public sample says of itself (fyers.md 1.1).
const CODE_LIFE: Duration = Duration::from_secs(30_000);
/// Codes, tokens and refresh tokens that may live at once, each; the oldest dies beyond that.
const MAX_LIVING: usize = 64;

/// A session as it was issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) access: AccessToken,
    /// The refresh token, where a new one is handed out.
    pub(super) refresh: Option<Secret>,
    pub(super) user_id: String,
    pub(super) at: Timestamp,
    /// What the access token's `exp` says.
    pub(super) dies: Timestamp,
}

/// A text that is good until then.
#[derive(Clone, Debug)]
struct Living {
    text: Secret,
    user_id: String,
    dies: Timestamp,
}

/// The login desk.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    client_id: String,
    secret: Secret,
    pin: Secret,
    rng: Rng,
    codes: Vec<Living>,
    access: Vec<Living>,
    refresh: Vec<Living>,
}

impl Tokens {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            client_id: settings.client_id.clone(),
            secret: settings.secret.clone(),
            pin: settings.pin.clone(),
            rng: Rng::from_seed(settings.seed),
            codes: Vec::new(),
            access: Vec::new(),
            refresh: Vec::new(),
        }
    }

    /// A human logged in: the code of the redirect.
    pub(super) fn approve(&mut self, user_id: &str, now: Timestamp) -> Secret {
        let dies = now + CODE_LIFE;
        let app_id = self.client_id.split('-').next().unwrap_or_default().to_owned();
        let code = self.sign(&json!({
            "iss": "api.login.fyers.in",
            "iat": now.as_unix_seconds(),
            "exp": dies.as_unix_seconds(),
            "sub": "auth_code",
            "app_id": app_id,
        }));
        add(&mut self.codes, Living { text: code.clone(), user_id: user_id.to_owned(), dies });
        code
    }

    /// `POST /validate-authcode`.
    ///
    /// # Errors
    /// A wrong hash leaves the code usable; a code that is unknown, used or too old is -437.
    pub(super) fn exchange(&mut self, fields: &Value, rules: &Switches, now: Timestamp) -> Result<Issued, ApiError> {
        self.check(fields, "authorization_code")?;
        let code = required(fields, "code")?;
        let index = position(&self.codes, code, now).ok_or_else(ApiError::bad_code)?;
        let user_id = self.codes.remove(index).user_id;
        Ok(self.log_in(&user_id, rules, now))
    }

    /// `POST /validate-refresh-token`.
    ///
    /// # Errors
    /// -501 for a refresh token that is unknown or dead and, once the grant is withdrawn, for every one (which is kept
    /// for the case that it works again); -50 for a wrong PIN.
    pub(super) fn renew(&mut self, fields: &Value, rules: &Switches, now: Timestamp) -> Result<Issued, ApiError> {
        self.check(fields, "refresh_token")?;
        if rules.grant == Grant::Withdrawn {
            return Err(ApiError::bad_refresh_token());
        }
        let token = required(fields, "refresh_token")?;
        if rules.needs_pin && required(fields, "pin")? != self.pin.expose() {
            return Err(ApiError::bad("pin"));
        }
        let index = position(&self.refresh, token, now).ok_or_else(ApiError::bad_refresh_token)?;
        let user_id = self.refresh.get(index).map(|living| living.user_id.clone()).unwrap_or_default();
        if rules.rotates {
            self.refresh.remove(index);
        }
        let mut issued = self.issue(&user_id, rules.renewal, rules, now);
        if rules.rotates {
            issued.refresh = Some(self.refresh_token(&user_id, rules, now));
        }
        if rules.dead_token {
            self.access.retain(|living| living.text != *issued.access.secret());
        }
        Ok(issued)
    }

    /// A session as after a login.
    pub(super) fn log_in(&mut self, user_id: &str, rules: &Switches, now: Timestamp) -> Issued {
        let refresh = Some(self.refresh_token(user_id, rules, now));
        Issued { refresh, ..self.issue(user_id, rules.new_login, rules, now) }
    }

    /// Whose token that `Authorization: CLIENT_ID:TOKEN` header has.
    ///
    /// # Errors
    /// -16 if it is missing, malformed, of another app or dead.
    pub(super) fn authorize(&self, header: Option<&Secret>, now: Timestamp) -> Result<&str, ApiError> {
        let pair = header.and_then(|header| header.expose().split_once(':'));
        let (_, token) = pair.filter(|(app, _)| *app == self.client_id).ok_or_else(ApiError::dead_token)?;
        let index = position(&self.access, token, now).ok_or_else(ApiError::dead_token)?;
        self.access.get(index).map(|living| living.user_id.as_str()).ok_or_else(ApiError::dead_token)
    }

    /// `POST /logout`: the header's token dies.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize), in the words recorded there.
    pub(super) fn log_out(&mut self, header: Option<&Secret>, now: Timestamp) -> Result<(), ApiError> {
        let refused = |error| ApiError { message: "Token is Invalid or Expired".to_owned(), ..error };
        self.authorize(header, now).map_err(refused)?;
        let token = header.and_then(|header| header.expose().split_once(':')).map(|(_, token)| token);
        self.access.retain(|living| Some(living.text.expose()) != token);
        Ok(())
    }

    /// Every living access token dies. How many there were.
    pub(super) fn kill_access(&mut self, now: Timestamp) -> usize {
        self.access.drain(..).filter(|living| now < living.dies).count()
    }

    /// Every living refresh token dies. How many there were.
    pub(super) fn kill_refresh(&mut self, now: Timestamp) -> usize {
        self.refresh.drain(..).filter(|living| now < living.dies).count()
    }

    fn issue(&mut self, user_id: &str, older: NewToken, rules: &Switches, now: Timestamp) -> Issued {
        if older == NewToken::Kills {
            self.access.retain(|living| living.user_id != user_id);
        }
        let dies = match rules.token_end {
            TokenEnd::At(time) => next(time, now),
            // A token says its end in whole seconds, and means it.
            TokenEnd::After(life) => Timestamp::from_unix_seconds((now + life).as_unix_seconds()),
        };
        let (at_hash, hsm_key) = (self.hex(32), self.hex(56));
        let iat = now.as_unix_seconds();
        let access = self.sign(&json!({
            "iss": "api.fyers.in",
            "iat": iat,
            "exp": dies.as_unix_seconds(),
            "nbf": iat,
            "aud": ["x:0"],
            "sub": "access_token",
            "at_hash": at_hash,
            "display_name": user_id,
            "oms": "K1",
            "hsm_key": hsm_key,
            "isDdpiEnabled": "N",
            "isMtfEnabled": "N",
            "fy_id": user_id,
            "appType": 100,
            "poa_flag": "N",
        }));
        add(&mut self.access, Living { text: access.clone(), user_id: user_id.to_owned(), dies });
        let access = AccessToken::new(access.expose());
        Issued { access, refresh: None, user_id: user_id.to_owned(), at: now, dies }
    }

    fn refresh_token(&mut self, user_id: &str, rules: &Switches, now: Timestamp) -> Secret {
        let last = now.ist_date().checked_add_days(Days::new(u64::from(rules.refresh_days))).unwrap_or(NaiveDate::MAX);
        let dies = Timestamp::from_ist_parts(last, six());
        let token = self.sign(&json!({
            "iss": "api.fyers.in",
            "iat": now.as_unix_seconds(),
            "exp": dies.as_unix_seconds(),
            "sub": "refresh_token",
            "fy_id": user_id,
        }));
        add(&mut self.refresh, Living { text: token.clone(), user_id: user_id.to_owned(), dies });
        token
    }

    /// The grant and the hash of a session request.
    fn check(&self, fields: &Value, grant: &str) -> Result<(), ApiError> {
        if required(fields, "grant_type")? != grant {
            return Err(ApiError::bad("grant_type"));
        }
        let hash = app_id_hash(&self.client_id, &self.secret);
        if required(fields, "appIdHash")? == hash { Ok(()) } else { Err(ApiError::bad_app()) }
    }

    /// A token with those claims that is like no other.
    fn sign(&mut self, claims: &Value) -> Secret {
        let signature: Vec<u8> = (0..4).flat_map(|_| self.rng.next_u64().to_be_bytes()).collect();
        Secret::new(jwt::token(claims, &signature))
    }

    fn hex(&mut self, digits: usize) -> String {
        let digit = |number: u64| char::from_digit(u32::try_from(number).unwrap_or(0), 16).unwrap_or('0');
        (0..digits).map(|_| digit(self.rng.below(16))).collect()
    }
}

/// The next time it is that time of day in India.
fn next(time: NaiveTime, now: Timestamp) -> Timestamp {
    let today = Timestamp::from_ist_parts(now.ist_date(), time);
    let tomorrow = now.ist_date().checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    if today > now { today } else { Timestamp::from_ist_parts(tomorrow, time) }
}

fn add(living: &mut Vec<Living>, new: Living) {
    if living.len() >= MAX_LIVING {
        living.remove(0);
    }
    living.push(new);
}

fn position(living: &[Living], text: &str, now: Timestamp) -> Option<usize> {
    living.iter().position(|living| living.text.expose() == text && now < living.dies)
}

fn required<'a>(fields: &'a Value, name: &str) -> Result<&'a str, ApiError> {
    fields.get(name).and_then(Value::as_str).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::bad(name))
}
