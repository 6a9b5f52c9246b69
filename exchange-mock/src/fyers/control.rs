//! Making things go wrong: a handle for Rust, and `POST /nirantar/control` for everyone else on this machine.
//!
//! The request is a form, all fields optional, done in this order: `clear=ROUTE|all` (faults), `fault=ROUTE=WHAT[@COUNT]`
//! (repeatable), the switches `grant=works|withdrawn`, `needs-pin=0|1`, `renewal=kills|keeps`, `new-login=kills|keeps`,
//! `rotate=0|1`, `dead-token=0|1`, `refresh-days=N`, `token-end=06:00:00` (or `43200s`), then `kill-token=1`,
//! `kill-refresh=1`, and `login=1` (with `user=ID` for somebody else's). It answers with what is in force now, how many
//! tokens died, and, for a login, the session as the broker writes it. One bad field and nothing is done.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Form, Session};
use serde_json::{Value, json};

use super::core::{FyersExchange, to_json};
use super::{FaultRule, Route, ServerLog, Switches};
use crate::rest::Handle;

/// A handle on a running server. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control {
    handle: Handle<FyersExchange>,
}

impl Control {
    pub(super) const fn new(handle: Handle<FyersExchange>) -> Self {
        Self { handle }
    }

    /// Throws switches. What has been issued already keeps its end.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.handle.with(|exchange, _| change(exchange.switches_mut()));
    }

    /// The switches as they stand.
    #[must_use]
    pub fn switches(&self) -> Switches {
        self.handle.look(|exchange| *exchange.switches())
    }

    /// Puts a fault in force, behind those that are.
    pub fn fault(&self, rule: FaultRule) {
        self.handle.with(|exchange, _| exchange.faults.set(rule));
    }

    /// Ends the faults of that route, or every one.
    pub fn clear(&self, route: Option<Route>) {
        self.handle.with(|exchange, _| exchange.faults.clear(route));
    }

    /// Every living access token dies now. How many there were.
    pub fn kill_tokens(&self) -> usize {
        self.handle.with(|exchange, now| exchange.tokens.kill_access(now))
    }

    /// Every living refresh token dies now. How many there were.
    pub fn kill_refresh_tokens(&self) -> usize {
        self.handle.with(|exchange, now| exchange.tokens.kill_refresh(now))
    }

    /// A session as after a login by a human, with all that a login does to older tokens.
    #[must_use]
    pub fn login(&self) -> Session {
        self.handle.with(|exchange, now| {
            let user_id = exchange.settings.user_id.clone();
            exchange.log_in_as(&user_id, now)
        })
    }

    /// A session of another user of the same app: a living token that is not this account's.
    #[must_use]
    pub fn login_as(&self, user_id: &str) -> Session {
        self.handle.with(|exchange, now| exchange.log_in_as(user_id, now))
    }

    /// A copy of the log.
    #[must_use]
    pub fn log(&self) -> ServerLog {
        self.with_log(ServerLog::clone)
    }

    /// Looks at the log in place. The server waits meanwhile.
    pub fn with_log<T>(&self, look: impl FnOnce(&ServerLog) -> T) -> T {
        self.handle.look(|exchange| look(exchange.server_log()))
    }
}

/// What a control request may say.
const FIELDS: [&str; 14] = [
    "clear",
    "fault",
    "grant",
    "needs-pin",
    "renewal",
    "new-login",
    "rotate",
    "dead-token",
    "refresh-days",
    "token-end",
    "kill-token",
    "kill-refresh",
    "login",
    "user",
];

impl FyersExchange {
    /// `POST /nirantar/control`.
    pub(super) fn control(&mut self, form: &Form, now: Timestamp) -> Result<Value, String> {
        if form.is_empty() {
            return Err(format!("nothing was asked for: expected some of {}", FIELDS.join(", ")));
        }
        if let Some(unknown) = form.names().find(|name| !FIELDS.contains(name)) {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(format!("`{unknown}` is no field: expected some of {}", FIELDS.join(", ")));
        }
        let clear = form.get("clear").map(which).transpose()?;
        let faults = form.all("fault").map(|text| text.parse::<FaultRule>().map_err(|error| error.to_string()));
        let faults = faults.collect::<Result<Vec<_>, _>>()?;
        let switches = switched(self.settings.switches, form)?;
        let [kill, kill_refresh, login] =
            [said(form, "kill-token")?, said(form, "kill-refresh")?, said(form, "login")?]
                .map(Option::unwrap_or_default);

        if let Some(route) = clear {
            self.faults.clear(route);
        }
        for rule in faults {
            self.faults.set(rule);
        }
        self.settings.switches = switches;
        let killed = if kill { self.tokens.kill_access(now) } else { 0 };
        let killed_refresh = if kill_refresh { self.tokens.kill_refresh(now) } else { 0 };
        let session = login.then(|| {
            let user_id = form.get("user").unwrap_or(&self.settings.user_id).to_owned();
            to_json(&self.log_in_as(&user_id, now))
        });
        let in_force: Vec<String> = self.faults.all().iter().map(ToString::to_string).collect();
        Ok(json!({
            "faults": in_force,
            "switches": {
                "grant": switches.grant.to_string(),
                "needs-pin": switches.needs_pin,
                "renewal": switches.renewal.to_string(),
                "new-login": switches.new_login.to_string(),
                "rotate": switches.rotates,
                "dead-token": switches.dead_token,
                "refresh-days": switches.refresh_days,
                "token-end": switches.token_end.to_string(),
            },
            "killed": killed,
            "killed-refresh": killed_refresh,
            "session": session,
        }))
    }
}

/// The switches with what the form says otherwise.
fn switched(now: Switches, form: &Form) -> Result<Switches, String> {
    let days = |text: &str| text.parse::<u32>().map_err(|_| "`refresh-days` is a number of days".to_owned());
    Ok(Switches {
        grant: form.get("grant").map(str::parse).transpose()?.unwrap_or(now.grant),
        needs_pin: said(form, "needs-pin")?.unwrap_or(now.needs_pin),
        renewal: form.get("renewal").map(str::parse).transpose()?.unwrap_or(now.renewal),
        new_login: form.get("new-login").map(str::parse).transpose()?.unwrap_or(now.new_login),
        rotates: said(form, "rotate")?.unwrap_or(now.rotates),
        dead_token: said(form, "dead-token")?.unwrap_or(now.dead_token),
        refresh_days: form.get("refresh-days").map(days).transpose()?.unwrap_or(now.refresh_days),
        token_end: form.get("token-end").map(str::parse).transpose()?.unwrap_or(now.token_end),
    })
}

/// Which route's faults end; `None` for all.
fn which(name: &str) -> Result<Option<Route>, String> {
    if name == "all" {
        return Ok(None);
    }
    let route = Route::ALL.into_iter().find(|route| route.as_str() == name);
    route
        .map(Some)
        .ok_or_else(|| format!("`clear` names a route ({}) or all", Route::ALL.map(Route::as_str).join(", ")))
}

/// Whether a switch is thrown, if it is touched at all.
fn said(form: &Form, name: &str) -> Result<Option<bool>, String> {
    match form.get(name) {
        None => Ok(None),
        Some("0" | "false") => Ok(Some(false)),
        Some("1" | "true") => Ok(Some(true)),
        Some(_) => Err(format!("`{name}` is a switch: expected 1 or 0")),
    }
}
