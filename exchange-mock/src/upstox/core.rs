//! The server without its socket: a request and the time in, a reply out. Total: no request makes it panic.
//!
//! Tokens die lazily: whatever is asked first looks at the time, so nothing needs to be woken.

use std::fmt;

use chrono::NaiveTime;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::upstox::wire::Profile;
use nirantar_brokers::{AccessToken, Form, Method, Secret};
use serde_json::{Value, json};

use super::fault::Faults;
use super::refused::Refused;
use super::tokens::{Kind, Tokens};
use super::{Fault, NotifierUrl, ServerLog, Settings};
use crate::rest::{Reply, Request, RestCore};

/// What this server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// `GET /v2/login/authorization/dialog`: the login page.
    Login,
    /// `POST /v2/login/authorization/token`: a code, or a refresh token, buys a session.
    Token,
    /// `POST /v3/login/auth/token/request/{client_id}`: asks the human on the phone.
    Approval,
    /// `DELETE /v2/logout`.
    Logout,
    /// `GET /v2/user/profile`.
    Profile,
    /// `GET /v2/user/get-funds-and-margin`.
    Funds,
    /// `GET /v2/order/retrieve-all`.
    Book,
    /// `POST /v2/order/place`.
    Place,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Login, Self::Token, Self::Approval, Self::Logout, Self::Profile, Self::Funds, Self::Book, Self::Place];

    /// The name in faults and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Token => "token",
            Self::Approval => "approval",
            Self::Logout => "logout",
            Self::Profile => "profile",
            Self::Funds => "funds",
            Self::Book => "book",
            Self::Place => "place",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A notice on its way to the notifier.
pub(super) type Post = Box<dyn Fn(NotifierUrl, Secret) + Send>;

/// An Upstox server as a value.
pub struct UpstoxCore {
    pub(super) settings: Settings,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) log: ServerLog,
    /// Until when the human may grant what was asked for; `None` if nothing is.
    pub(super) asked_until: Option<Timestamp>,
    /// So many of the next sessions of the token endpoint are issued and their answers cut off.
    pub(super) lose_next: u32,
    /// Sends a notice off; `None` where there is no socket.
    pub(super) post: Option<Post>,
}

impl fmt::Debug for UpstoxCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstoxCore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl UpstoxCore {
    /// A server with nobody logged in.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut faults = Faults::default();
        for fault in settings.faults.clone() {
            faults.set(fault);
        }
        let (tokens, log) = (Tokens::new(&settings), ServerLog::default());
        Self { settings, tokens, faults, log, asked_until: None, lose_next: 0, post: None }
    }

    /// Puts a fault in force, in place of one of the same target.
    pub fn set_fault(&mut self, fault: Fault) {
        self.faults.set(fault);
    }

    /// The record of what came.
    #[must_use]
    pub const fn log(&self) -> &ServerLog {
        &self.log
    }

    fn serve(&mut self, route: Route, request: &Request, now: Timestamp) -> Result<Reply, Refused> {
        if let Some(reply) = self.faults.take(route) {
            return Ok(reply);
        }
        match route {
            Route::Login => self.login(&request.query, now),
            Route::Token => self.token(&request.form(), now),
            Route::Approval => self.ask(request, now),
            Route::Logout => {
                let (token, _) = self.authorize(request, &[Kind::Full])?;
                self.tokens.kill(&token);
                Ok(success(&json!(true)))
            }
            Route::Profile => {
                let (_, user) = self.authorize(request, &[Kind::Full])?;
                Ok(success(&json!(self.profile_of(&user))))
            }
            Route::Funds => {
                self.authorize(request, &[Kind::Full])?;
                if is_night(now) {
                    let words = "The Funds service is accessible from 5:30 AM to 12:00 AM IST daily.";
                    return Err(Refused::new(423, "UDAPI100072", words));
                }
                Ok(success(&funds()))
            }
            Route::Book => {
                self.authorize(request, &[Kind::Full, Kind::ReadOnly])?;
                Ok(success(&json!([])))
            }
            Route::Place => {
                self.authorize(request, &[Kind::Full])?;
                if is_night(now) {
                    let words = "The Order API is accessible from 5:30 AM to 12:00 AM IST daily.";
                    return Err(Refused::new(423, "UDAPI100074", words));
                }
                // No order is taken here, and none is pretended to be.
                Err(Refused::input("UDAPI100049", "This simulator keeps sessions only: it takes no order."))
            }
        }
    }

    /// The token of a request and whose it is.
    fn authorize(&self, request: &Request, kinds: &[Kind]) -> Result<(AccessToken, String), Refused> {
        let living = self.tokens.bearer(request.authorization.as_ref());
        let (token, user, kind) = living.ok_or_else(Refused::dead_token)?;
        if kinds.contains(&kind) { Ok((token, user)) } else { Err(Refused::read_only_token()) }
    }

    pub(super) fn profile_of(&self, user: &str) -> Profile {
        let name = if user == self.settings.user_id { &self.settings.user_name } else { "Somebody Else" };
        Profile::individual(user, name)
    }

    fn note(&mut self, route: Route, request: &Request, granted: bool, now: Timestamp) {
        self.log.request(route);
        match route {
            Route::Token if request.form().get("grant_type") == Some("refresh_token") => {
                self.log.renewal(granted, now);
            }
            Route::Token => self.log.exchanges.count(granted),
            Route::Approval => self.log.approvals_asked.count(granted),
            Route::Logout => self.log.logouts.count(granted),
            Route::Profile => self.log.probes.count(granted),
            Route::Login | Route::Funds | Route::Book | Route::Place => {}
        }
    }
}

impl RestCore for UpstoxCore {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.tokens.expire(now);
        let route = match route(request.method, &request.path) {
            Ok(route) => route,
            Err(refused) => {
                self.log.unrouted = self.log.unrouted.saturating_add(1);
                return refused.into();
            }
        };
        let reply = self.serve(route, request, now).unwrap_or_else(Reply::from);
        self.note(route, request, reply.status == 200, now);
        reply
    }

    fn command(&mut self, fields: &Form, now: Timestamp) -> Result<Value, String> {
        self.obey(fields, now)
    }

    fn log(&self) -> Value {
        self.log.to_json()
    }
}

/// 200 with `data` in the broker's envelope.
pub(super) fn success(data: &Value) -> Reply {
    Reply::json(200, &json!({ "status": "success", "data": data }))
}

/// Funds and orders are closed from midnight to 05:30 IST.
fn is_night(now: Timestamp) -> bool {
    NaiveTime::from_hms_opt(5, 30, 0).is_some_and(|morning| now.ist_time() < morning)
}

/// An account in which nothing is used. The combined balance stands under equity (`upstox.md` 5).
fn funds() -> Value {
    let segment = |available: u32| {
        json!({
            "used_margin": 0, "payin_amount": 0, "span_margin": 0, "adhoc_margin": 0, "notional_cash": 0,
            "available_margin": available, "exposure_margin": 0,
        })
    };
    json!({ "equity": segment(1_000_000), "commodity": segment(0) })
}

/// Reads a method and path.
fn route(method: Method, path: &str) -> Result<Route, Refused> {
    let (wanted, route) = match path {
        "/v2/login/authorization/dialog" => (Method::Get, Route::Login),
        "/v2/login/authorization/token" => (Method::Post, Route::Token),
        "/v2/logout" => (Method::Delete, Route::Logout),
        "/v2/user/profile" => (Method::Get, Route::Profile),
        "/v2/user/get-funds-and-margin" => (Method::Get, Route::Funds),
        "/v2/order/retrieve-all" => (Method::Get, Route::Book),
        "/v2/order/place" => (Method::Post, Route::Place),
        _ if asked_client(path).is_some() => (Method::Post, Route::Approval),
        _ => return Err(Refused::no_route()),
    };
    if method == wanted { Ok(route) } else { Err(Refused::new(405, "UDAPI10000", "Method not allowed.")) }
}

/// The last segment of a request for an approval, as sent.
pub(super) fn asked_client(path: &str) -> Option<&str> {
    path.strip_prefix("/v3/login/auth/token/request/").filter(|client| !client.is_empty() && !client.contains('/'))
}
