//! Making things go wrong: a handle for Rust, and `/nirantar/*` for everyone else on this machine.
//!
//! `POST /nirantar/control` takes a form, all fields optional, done in this order: `clear=NAME|all`,
//! `fault=NAME[=ARG][@COUNT]` (repeatable), `refresh=works|withdrawn`, `kill-token=1`, `login=1` (with `user=ID` for
//! somebody else's). It answers with the faults now in force, how many tokens died, and, for a login, the session as
//! the broker writes it. One bad field and nothing is done. `GET /nirantar/log` is the [`ServerLog`] as JSON.

use std::sync::Arc;

use nirantar_brokers::{Method, Session};
use serde_json::json;

use super::core::KiteExchange;
use super::driver::Driver;
use super::reply::{ApiError, HttpParts, Reply};
use super::{FaultRule, Refresh, ServerLog};
use crate::Calendar;

/// A handle on a running server. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control {
    driver: Arc<Driver>,
}

impl Control {
    pub(super) const fn new(driver: Arc<Driver>) -> Self {
        Self { driver }
    }

    /// Puts a fault in force, in place of one of the same name.
    pub fn fault(&self, rule: impl Into<FaultRule>) {
        let rule = rule.into();
        self.driver.with(|exchange, now| exchange.set_fault(rule, now));
    }

    /// Ends the fault of that name, or every one for `all`. False if there was none.
    pub fn clear(&self, name: &str) -> bool {
        self.driver.with(|exchange, now| exchange.clear_fault(name, now))
    }

    /// Every living token dies now. How many there were.
    pub fn kill_tokens(&self) -> usize {
        self.driver.with(KiteExchange::kill_tokens)
    }

    /// Every living token dies when so many more order requests have been answered, whoever is how fast then.
    pub fn kill_tokens_after(&self, orders: usize) {
        self.driver.with(|exchange, _| exchange.kill_tokens_after(orders));
    }

    /// A session as after a login by a human, with all that a login does to older tokens.
    #[must_use]
    pub fn login(&self) -> Session {
        self.driver.with(KiteExchange::log_in)
    }

    /// A session of another user of the same app: a living token that is not this account's.
    #[must_use]
    pub fn login_as(&self, user: &str) -> Session {
        self.driver.with(|exchange, now| exchange.log_in_as(user, now))
    }

    /// Says whether renewal works from now on.
    pub fn refresh(&self, refresh: Refresh) {
        self.driver.with(|exchange, _| exchange.set_refresh(refresh));
    }

    /// Replaces the calendar, say for a holiday announced late.
    pub fn set_calendar(&self, calendar: Calendar) {
        self.driver.with(|exchange, now| exchange.set_calendar(calendar, now));
    }

    /// A copy of the log.
    #[must_use]
    pub fn log(&self) -> ServerLog {
        self.with_log(ServerLog::clone)
    }

    /// Looks at the log in place. The server waits meanwhile.
    pub fn with_log<T>(&self, look: impl FnOnce(&ServerLog) -> T) -> T {
        self.driver.look(|exchange| look(exchange.log()))
    }
}

impl KiteExchange {
    /// Says whether renewal works from now on. Refresh tokens out there are kept.
    pub const fn set_refresh(&mut self, refresh: Refresh) {
        self.tokens.refresh = refresh;
    }

    /// `/nirantar/*`.
    pub(super) fn handle_control(&mut self, parts: &HttpParts) -> Reply {
        if !parts.local {
            return ApiError::new(403, "PermissionException", "Control is for this machine only.").into();
        }
        match (parts.method, parts.path.as_str()) {
            (Method::Get, "/nirantar/log") => Reply::json(200, &self.log.to_json()),
            (Method::Post, "/nirantar/control") => self.command(parts).unwrap_or_else(Reply::from),
            (_, "/nirantar/log" | "/nirantar/control") => ApiError::wrong_method().into(),
            _ => ApiError::no_route().into(),
        }
    }

    fn command(&mut self, parts: &HttpParts) -> Result<Reply, ApiError> {
        let form = &parts.body;
        if form.is_empty() {
            return Err(ApiError::input(format!("nothing was asked for: expected some of {}", FIELDS.join(", "))));
        }
        if let Some(unknown) = form.names().find(|name| !FIELDS.contains(name)) {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(ApiError::input(format!("`{unknown}` is no field: expected some of {}", FIELDS.join(", "))));
        }
        let faults = form
            .all("fault")
            .map(|text| text.parse::<FaultRule>().map_err(|error| ApiError::input(error.to_string())))
            .collect::<Result<Vec<_>, _>>()?;
        let refresh = form.get("refresh").map(str::parse::<Refresh>).transpose().map_err(ApiError::input)?;
        let [kill, login] = [said(form.get("kill-token"), "kill-token")?, said(form.get("login"), "login")?];

        for name in form.all("clear") {
            self.clear_fault(name, self.now);
        }
        for rule in faults {
            self.set_fault(rule, self.now);
        }
        if let Some(refresh) = refresh {
            self.set_refresh(refresh);
        }
        let killed = if kill { self.kill_tokens(self.now) } else { 0 };
        let session = if login {
            let user = form.get("user").unwrap_or(&self.settings.user_id).to_owned();
            let Session { access_token, refresh_token, .. } = self.log_in_as(&user, self.now);
            let stranger = (user != self.settings.user_id).then_some(user.as_str());
            Some(self.session_json(stranger, access_token, refresh_token)?)
        } else {
            None
        };
        let in_force: Vec<String> = self.faults().iter().map(ToString::to_string).collect();
        Ok(Reply::success(json!({ "faults": in_force, "killed": killed, "session": session })))
    }
}

/// What a control request may say.
const FIELDS: [&str; 6] = ["clear", "fault", "refresh", "kill-token", "login", "user"];

/// Whether a switch is thrown: `1` or `true`.
fn said(value: Option<&str>, name: &str) -> Result<bool, ApiError> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(ApiError::input(format!("`{name}` is a switch: expected 1"))),
    }
}
