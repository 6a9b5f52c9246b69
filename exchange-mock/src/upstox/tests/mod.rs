//! The codec against the server: what one encodes, the other answers, and the first decodes.

mod loopback;
mod properties;
mod stories;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::upstox::{App, Upstox};
use nirantar_brokers::{
    AccessToken, Auth as _, Body, Call, Cause, Form, HttpRequest, HttpResponse, Lost, Method, Outcome, Secret, Session,
};

use super::*;
use crate::rest::{Reply, Request, RestCore as _, Transport};

fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap()
}

/// What reaches a server of a request, under the living token.
fn arrived(request: &HttpRequest, token: Option<&Secret>) -> Request {
    let body = match &request.body {
        Body::Empty => Secret::new(""),
        Body::Form(form) => Secret::new(form.encode()),
        Body::Json(json) => json.clone(),
    };
    let living = token.filter(|_| request.authorized).cloned();
    Request {
        query: request.query.clone(),
        body,
        authorization: request.own_authorization.clone().or(living),
        ..Request::new(request.method, request.path.clone())
    }
}

fn answer(reply: Reply) -> Result<HttpResponse, Lost> {
    match reply.transport {
        Transport::Normal | Transport::Delay(_) => Ok(HttpResponse {
            status: reply.status,
            content_type: Some(reply.content_type.to_owned()),
            retry_after: None,
            body: reply.body,
        }),
        Transport::Hang | Transport::Cut | Transport::Reset => Err(Lost::NoReply("cut".to_owned())),
    }
}

/// A client and a server, without a socket between them.
struct Rig {
    core: UpstoxCore,
    broker: Upstox,
    now: Timestamp,
}

impl Rig {
    /// At 09:00 on a trading day.
    fn new(settings: Settings) -> Self {
        let broker =
            Upstox::new(App::Guide, &*settings.api_key, Some(settings.api_secret.clone()), &*settings.redirect_url);
        Self { core: UpstoxCore::new(settings), broker, now: at("09:00:00") }
    }

    fn call<T>(&mut self, call: Call<T>, token: Option<&AccessToken>) -> Outcome<T> {
        let Call::Http { request, decode } = call else { panic!("nothing is sent") };
        let token = token.map(|token| self.broker.authorization(token));
        decode(answer(self.core.answer(&arrived(&request, token.as_ref()), self.now)))
    }

    /// What the login page does with that decision: the query of the redirect.
    fn decide(&mut self, decision: &str) -> Form {
        let url = self.broker.login_url(Some("state 1")).unwrap();
        let (page, query) = url.split_once('?').unwrap();
        let mut request = Request::new(Method::Get, page.strip_prefix("https://api.upstox.com").unwrap());
        request.query = Form::parse(format!("{query}&decision={decision}").as_bytes());
        let reply = self.core.answer(&request, self.now);
        assert_eq!(reply.status, 302, "{}", String::from_utf8_lossy(&reply.body));
        let location = reply.header("Location").unwrap();
        let (back, query) = location.split_once('?').unwrap();
        assert_eq!(back, "http://127.0.0.1/");
        Form::parse(query.as_bytes())
    }

    /// A login from the page to the session.
    fn login(&mut self) -> Session {
        let redirect = self.decide("approve");
        assert_eq!(redirect.get("state"), Some("state 1"));
        let code = self.broker.code(&redirect).unwrap();
        self.call(self.broker.exchange(&code), None).unwrap()
    }

    fn probe(&mut self, token: &AccessToken) -> Result<String, Cause> {
        self.call(self.broker.probe(), Some(token)).map(|profile| profile.user_id).map_err(|failure| failure.cause)
    }

    /// A read that no codec of ours makes yet: its status.
    fn status(&mut self, method: Method, path: &str, token: &AccessToken) -> u16 {
        let authorization = Some(self.broker.authorization(token));
        self.core.answer(&Request { authorization, ..Request::new(method, path) }, self.now).status
    }

    fn control(&mut self, fields: &str) -> serde_json::Value {
        self.core.command(&Form::parse(fields.as_bytes()), self.now).unwrap()
    }
}
