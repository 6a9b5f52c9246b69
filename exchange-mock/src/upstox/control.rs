//! Throwing switches and making things go wrong: a handle for Rust, and `/nirantar/*` for all others on this machine.
//!
//! `POST /nirantar/control` takes a form, all fields optional, done in this order: `clear=TARGET|all`, `fault=FAULT`
//! (repeatable), `grant=works|withdrawn`, `new-login=kills|keeps`, `rotate=1|0`, `lose-replies=N`, `dead-tokens=N`,
//! `notifier-url=URL` (empty for none), `kill-token=1`, `login=1` (with `user=ID` for somebody else's), `approve=1`,
//! `decline=1`. It answers with the faults now in force, how many tokens died, and, for a login, the session and,
//! for an approval, the notice as the broker writes them. One bad field and nothing is done.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Form, Secret, Session};
use serde_json::{Value, json};

use super::tokens::Issued;
use super::{Fault, Grant, NewLogin, NotifierUrl, ServerLog, UpstoxCore};
use crate::rest::Handle;

/// A handle on a running server. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control {
    handle: Handle<UpstoxCore>,
}

/// No approval has been asked for, or it has lapsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no approval has been asked for, or it has lapsed")]
pub struct NothingAsked;

impl Control {
    pub(super) const fn new(handle: Handle<UpstoxCore>) -> Self {
        Self { handle }
    }

    /// The human grants what was asked for: the notice as it is posted to the notifier, if there is one.
    ///
    /// # Errors
    /// [`NothingAsked`].
    pub fn approve(&self) -> Result<Secret, NothingAsked> {
        self.handle.with(UpstoxCore::approve).ok_or(NothingAsked)
    }

    /// The human declines: nothing is sent to anybody.
    ///
    /// # Errors
    /// [`NothingAsked`].
    pub fn decline(&self) -> Result<(), NothingAsked> {
        if self.handle.with(UpstoxCore::decline) { Ok(()) } else { Err(NothingAsked) }
    }

    /// Where the token goes after an approval from now on.
    pub fn notifier(&self, to: Option<NotifierUrl>) {
        self.handle.with(|core, _| core.settings.notifier_url = to);
    }

    /// Puts a fault in force, in place of one of the same target.
    pub fn fault(&self, fault: Fault) {
        self.handle.with(|core, _| core.set_fault(fault));
    }

    /// Ends the fault of the target of that name, or every one for `all`. False if there was none.
    pub fn clear(&self, name: &str) -> bool {
        self.handle.with(|core, _| core.faults.clear(name))
    }

    /// Says whether the refresh grant works from now on. Refresh tokens out there are kept.
    pub fn grant(&self, grant: Grant) {
        self.handle.with(|core, _| core.tokens.grant = grant);
    }

    /// Says what a new session does to the living token from now on.
    pub fn new_login(&self, new_login: NewLogin) {
        self.handle.with(|core, _| core.tokens.new_login = new_login);
    }

    /// Says whether a renewal brings a new refresh token from now on.
    pub fn rotates(&self, rotates: bool) {
        self.handle.with(|core, _| core.tokens.rotates = rotates);
    }

    /// So many of the next sessions of the token endpoint are issued and their answers cut off.
    pub fn lose_replies(&self, count: u32) {
        self.handle.with(|core, _| core.lose_next = count);
    }

    /// So many of the next sessions of the token endpoint are dead when they are answered.
    pub fn dead_tokens(&self, count: u32) {
        self.handle.with(|core, _| core.tokens.dead_next = count);
    }

    /// Every living access token dies now. How many there were.
    pub fn kill_tokens(&self) -> usize {
        self.handle.with(|core, now| {
            core.tokens.expire(now);
            core.tokens.kill_all()
        })
    }

    /// A session as after a login by a human, with all that a login does to older tokens.
    #[must_use]
    pub fn login(&self) -> Session {
        self.handle.with(|core, now| session(core.tokens.issue(now)))
    }

    /// A session of another user of the same app: a living token that is not this account's.
    #[must_use]
    pub fn login_as(&self, user: &str) -> Session {
        self.handle.with(|core, now| session(core.tokens.issue_to(user.to_owned(), false, now)))
    }

    /// A copy of the log.
    #[must_use]
    pub fn log(&self) -> ServerLog {
        self.with_log(ServerLog::clone)
    }

    /// Looks at the log in place. The server waits meanwhile.
    pub fn with_log<T>(&self, look: impl FnOnce(&ServerLog) -> T) -> T {
        self.handle.look(|core| look(&core.log))
    }
}

impl UpstoxCore {
    /// What a form says is to be done, after all of it has been read.
    pub(super) fn obey(&mut self, form: &Form, now: Timestamp) -> Result<Value, String> {
        let asked = Asked::read(form)?;
        if asked.approve && !self.is_asked(now) {
            return Err(NothingAsked.to_string());
        }
        for name in form.all("clear") {
            self.faults.clear(name);
        }
        for fault in asked.faults {
            self.set_fault(fault);
        }
        self.tokens.grant = asked.grant.unwrap_or(self.tokens.grant);
        self.tokens.new_login = asked.new_login.unwrap_or(self.tokens.new_login);
        self.tokens.rotates = asked.rotates.unwrap_or(self.tokens.rotates);
        self.lose_next = asked.lose.unwrap_or(self.lose_next);
        self.tokens.dead_next = asked.dead.unwrap_or(self.tokens.dead_next);
        if let Some(notifier) = asked.notifier {
            self.settings.notifier_url = notifier;
        }
        self.tokens.expire(now);
        let killed = if asked.kill { self.tokens.kill_all() } else { 0 };
        let session = asked.login.then(|| {
            let issued = match form.get("user").filter(|user| *user != self.settings.user_id) {
                Some(stranger) => self.tokens.issue_to(stranger.to_owned(), false, now),
                None => self.tokens.issue(now),
            };
            json!(self.token_answer(&issued))
        });
        let notice = if asked.approve { self.approve(now) } else { None };
        let notice: Option<Value> = notice.and_then(|notice| serde_json::from_str(notice.expose()).ok());
        if asked.decline {
            self.decline(now);
        }
        Ok(json!({ "faults": self.faults.in_force(), "killed": killed, "session": session, "notice": notice }))
    }
}

/// What a control request may say.
const FIELDS: [&str; 13] = [
    "clear",
    "fault",
    "grant",
    "new-login",
    "rotate",
    "lose-replies",
    "dead-tokens",
    "notifier-url",
    "kill-token",
    "login",
    "user",
    "approve",
    "decline",
];

/// A control request, read.
struct Asked {
    faults: Vec<Fault>,
    grant: Option<Grant>,
    new_login: Option<NewLogin>,
    rotates: Option<bool>,
    lose: Option<u32>,
    dead: Option<u32>,
    notifier: Option<Option<NotifierUrl>>,
    kill: bool,
    login: bool,
    approve: bool,
    decline: bool,
}

impl Asked {
    fn read(form: &Form) -> Result<Self, String> {
        let expected = || format!("expected some of {}", FIELDS.join(", "));
        if form.is_empty() {
            return Err(format!("nothing was asked for: {}", expected()));
        }
        if let Some(unknown) = form.names().find(|name| !FIELDS.contains(name)) {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(format!("`{unknown}` is no field: {}", expected()));
        }
        let is_set = |name| Ok::<_, String>(switch(form, name)?.unwrap_or(false));
        let notifier = match form.get("notifier-url") {
            None => None,
            Some("") => Some(None),
            Some(url) => Some(Some(url.parse().map_err(|error: super::BadNotifier| error.to_string())?)),
        };
        Ok(Self {
            faults: form
                .all("fault")
                .map(|text| text.parse().map_err(|error: super::BadFault| error.to_string()))
                .collect::<Result<_, _>>()?,
            grant: form.get("grant").map(str::parse).transpose()?,
            new_login: form.get("new-login").map(str::parse).transpose()?,
            rotates: switch(form, "rotate")?,
            lose: number(form, "lose-replies")?,
            dead: number(form, "dead-tokens")?,
            notifier,
            kill: is_set("kill-token")?,
            login: is_set("login")?,
            approve: is_set("approve")?,
            decline: is_set("decline")?,
        })
    }
}

fn session(issued: Issued) -> Session {
    Session {
        user_id: issued.user,
        access_token: issued.access,
        refresh_token: issued.refresh,
        login_time: Some(issued.at),
        expires_at: Some(issued.dies),
    }
}

fn switch(form: &Form, name: &str) -> Result<Option<bool>, String> {
    match form.get(name) {
        None => Ok(None),
        Some("0" | "false") => Ok(Some(false)),
        Some("1" | "true") => Ok(Some(true)),
        Some(_) => Err(format!("`{name}` is a switch: expected 1 or 0")),
    }
}

fn number(form: &Form, name: &str) -> Result<Option<u32>, String> {
    let read = |text: &str| text.parse().map_err(|_| format!("`{name}` is a count: expected a number like 1"));
    form.get(name).map(read).transpose()
}
