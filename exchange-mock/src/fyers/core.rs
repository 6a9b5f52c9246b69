//! The server as a value: requests in with the time, replies out.

use nirantar_brokers::fyers::API;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Form, Method, Money, Secret, Session};
use serde_json::{Value, json};

use super::fault::Faults;
use super::log::{How, SessionLog};
use super::page::Login;
use super::reply::{self, ApiError};
use super::tokens::{Issued, Tokens};
use super::{Done, Fault, Route, ServerLog, Settings, Switches};
use crate::rest::{Reply, Request, RestCore, Transport};

/// FYERS' sessions as a server answers for them. The same requests at the same times have the same answers.
#[derive(Clone, Debug)]
pub struct FyersExchange {
    pub(super) settings: Settings,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) log: ServerLog,
}

impl FyersExchange {
    /// A server with nobody logged in.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut faults = Faults::default();
        for rule in &settings.faults {
            faults.set(*rule);
        }
        Self { tokens: Tokens::new(&settings), faults, log: ServerLog::default(), settings }
    }

    /// How sessions are made and end now.
    #[must_use]
    pub const fn switches(&self) -> &Switches {
        &self.settings.switches
    }

    /// The same, to be changed. What has been issued already keeps its end.
    pub const fn switches_mut(&mut self) -> &mut Switches {
        &mut self.settings.switches
    }

    /// What was done so far.
    #[must_use]
    pub const fn server_log(&self) -> &ServerLog {
        &self.log
    }

    /// A session as after a login by a human, with all that a login does to the user's older tokens.
    pub fn log_in_as(&mut self, user_id: &str, now: Timestamp) -> Session {
        let issued = self.tokens.log_in(user_id, &self.settings.switches, now);
        self.record(How::Control, &issued);
        Session {
            user_id: issued.user_id,
            access_token: issued.access,
            refresh_token: issued.refresh,
            login_time: Some(issued.at),
            expires_at: Some(issued.dies),
        }
    }

    fn act(&mut self, route: Route, request: &Request, now: Timestamp) -> Result<Reply, ApiError> {
        let header = request.authorization.as_ref();
        let fields = || request.json().ok_or_else(|| ApiError::bad("the body is no JSON"));
        match route {
            Route::Login => self.login(&request.query, now),
            Route::Exchange => {
                let issued = self.tokens.exchange(&fields()?, &self.settings.switches, now)?;
                Ok(self.handed_out(How::Login, &issued))
            }
            Route::Renew => {
                let issued = self.tokens.renew(&fields()?, &self.settings.switches, now)?;
                Ok(self.handed_out(How::Renewal, &issued))
            }
            Route::Profile => self.tokens.authorize(header, now).map(|user_id| self.profile(user_id)),
            Route::Funds => self.tokens.authorize(header, now).map(|_| funds(self.settings.cash)),
            Route::Logout => {
                self.tokens.log_out(header, now)?;
                Ok(reply::with_words("you are successfully logged out", json!({})))
            }
        }
    }

    fn login(&mut self, query: &Form, now: Timestamp) -> Result<Reply, ApiError> {
        let login = Login::read(query).map_err(ApiError::bad)?;
        if login.client_id != self.settings.client_id {
            return Err(ApiError::bad_app());
        }
        if self.settings.redirect_uri.as_deref().is_some_and(|registered| registered != login.redirect_uri) {
            return Err(ApiError::bad("redirect_uri"));
        }
        Ok(match login.answer {
            None => login.page(&self.settings.user_id),
            Some("allow") => login.back(Some(&self.tokens.approve(&self.settings.user_id, now))),
            Some(_) => login.back(None),
        })
    }

    fn handed_out(&mut self, how: How, issued: &Issued) -> Reply {
        self.record(how, issued);
        let mut payload = json!({ "access_token": issued.access.expose() });
        if let Some(refresh) = &issued.refresh {
            payload["refresh_token"] = json!(refresh.expose());
        }
        reply::success(payload)
    }

    fn record(&mut self, how: How, issued: &Issued) {
        self.log.session(SessionLog { at: issued.at, how, token: issued.access.fingerprint() });
    }

    fn profile(&self, user_id: &str) -> Reply {
        let own = user_id == self.settings.user_id;
        let name = if own { &self.settings.user_name } else { "SOMEBODY ELSE" };
        reply::success(json!({ "data": {
            "fy_id": user_id,
            "name": name,
            "image": null,
            "display_name": null,
            "email_id": null,
            "PAN": null,
            "mobile_number": null,
            "totp": true,
            "pin_change_date": null,
            "pwd_change_date": null,
            "pwd_to_expire": null,
            "ddpi_enabled": false,
            "mtf_enabled": false,
        }}))
    }
}

impl RestCore for FyersExchange {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply {
        let route = match route(request.method, &request.path) {
            Ok(route) => route,
            Err(error) => return error.into(),
        };
        let fault = self.faults.strike(route);
        match fault {
            Some(Fault::Hang) => {
                self.log.request(route, Done::Faulted);
                return Reply::new(504, "text/plain", "").by(Transport::Hang);
            }
            Some(Fault::Answer { status, code }) => {
                self.log.request(route, Done::Faulted);
                return reply::faulty(status, code);
            }
            Some(Fault::LostReply) | None => {}
        }
        let lost = fault.is_some();
        let acted = self.act(route, request, now);
        self.log.request(
            route,
            match (&acted, lost) {
                (Err(_), _) => Done::Refused,
                (Ok(_), true) => Done::AnswerLost,
                (Ok(_), false) => Done::Accepted,
            },
        );
        let reply = acted.unwrap_or_else(Reply::from);
        if lost { reply.by(Transport::Cut) } else { reply }
    }

    fn command(&mut self, fields: &Form, now: Timestamp) -> Result<Value, String> {
        self.control(fields, now)
    }

    fn log(&self) -> Value {
        self.log.to_json()
    }
}

/// Reads a method and path. A closing slash is part of no path here.
fn route(method: Method, path: &str) -> Result<Route, ApiError> {
    let (wanted, route) = match path.strip_prefix(API).unwrap_or_default() {
        "/generate-authcode" => (Method::Get, Route::Login),
        "/validate-authcode" => (Method::Post, Route::Exchange),
        "/validate-refresh-token" => (Method::Post, Route::Renew),
        "/profile" => (Method::Get, Route::Profile),
        "/funds" => (Method::Get, Route::Funds),
        "/logout" => (Method::Post, Route::Logout),
        _ => return Err(ApiError::no_route(404)),
    };
    if method == wanted { Ok(route) } else { Err(ApiError::no_route(405)) }
}

/// `fund_limit`, with all the money in it: nothing is traded here.
fn funds(cash: Money) -> Reply {
    let titles = [
        "Total Balance",
        "Utilized Amount",
        "Clear Balance",
        "Realized Profit and Loss",
        "Collaterals",
        "Fund Transfer",
        "Receivables",
        "Adhoc Limit",
        "Limit at start of the day",
        "Available Balance",
    ];
    let rows = (1..).zip(titles).map(|(id, title)| {
        let there =
            matches!(title, "Total Balance" | "Clear Balance" | "Limit at start of the day" | "Available Balance");
        let amount = if there { number(cash) } else { json!(0) };
        json!({ "id": id, "title": title, "equityAmount": amount, "commodityAmount": 0 })
    });
    reply::success(json!({ "fund_limit": rows.collect::<Vec<_>>() }))
}

/// Rupees as a JSON number.
fn number(money: Money) -> Value {
    serde_json::from_str(&money.to_string()).unwrap_or(Value::Null)
}

/// The session as the broker writes it.
pub(super) fn to_json(session: &Session) -> Value {
    json!({
        "access_token": session.access_token.expose(),
        "refresh_token": session.refresh_token.as_ref().map(Secret::expose),
    })
}
