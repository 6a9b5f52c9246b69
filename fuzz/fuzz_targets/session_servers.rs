//! The servers of FYERS' and Upstox' sessions: any requests in a row have an answer each, nobody comes in without a token
//! that was issued, and no log shows one.
//!
//! A line is a request: method, path with query, `Authorization` and body, with tabs between. `{token}` stands for the
//! last access token that was handed out, `{refresh}` for the last refresh token, `{code}` for the last code of a login.
//! Requests are a minute apart; an empty line is six hours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Form, Method, Secret};
use nirantar_exchange_mock::fyers::{self, FyersExchange};
use nirantar_exchange_mock::rest::{self, Reply, Request, RestCore};
use nirantar_exchange_mock::upstox::{self, UpstoxCore};
use serde_json::Value;

/// Requests in a row; more teach nothing new and cost time.
const MOST: usize = 24;
const MINUTE: i64 = 60;
const SIX_HOURS: i64 = 21_600;

/// What a client has been given so far.
#[derive(Default)]
struct Purse {
    token: Option<String>,
    refresh: Option<String>,
    code: Option<String>,
}

impl Purse {
    fn fill(&self, text: &str) -> String {
        let value = |held: &Option<String>| held.clone().unwrap_or_default();
        text.replace("{token}", &value(&self.token))
            .replace("{refresh}", &value(&self.refresh))
            .replace("{code}", &value(&self.code))
    }

    /// Keeps what a reply hands out, from a body or a control answer's session.
    fn take(&mut self, reply: &Reply) {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        for holder in [Some(&body), body.get("session"), body.get("notice")].into_iter().flatten() {
            let field = |name: &str| holder.get(name).and_then(Value::as_str).map(str::to_owned);
            self.token = field("access_token").or(self.token.take());
            self.refresh = field("refresh_token").or(self.refresh.take());
        }
        let location = reply.header("Location");
        if let Some((_, query)) = location.and_then(|location| location.split_once('?')) {
            let query = Form::parse(query.as_bytes());
            // FYERS' own `code` is a status.
            let code = query.get("auth_code").or(query.get("code")).filter(|code| !code.is_empty());
            self.code = code.map(str::to_owned).or(self.code.take());
        }
    }
}

fn request(line: &str, purse: &Purse) -> Request {
    let mut parts = line.splitn(4, '\t');
    let mut next = || purse.fill(parts.next().unwrap_or_default());
    let method = match next().as_str() {
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Get,
    };
    let target = next();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (query, authorization) = (Form::parse(query.as_bytes()), next());
    Request {
        query,
        authorization: Some(authorization).filter(|header| !header.is_empty()).map(Secret::new),
        body: Secret::new(next()),
        ..Request::new(method, path)
    }
}

fn serve(mut server: impl RestCore, probe: &str, stranger: &str, text: &str) {
    let (mut purse, mut now) = (Purse::default(), 1_790_000_000);
    for line in text.lines().take(MOST) {
        if line.is_empty() {
            now += SIX_HOURS;
            continue;
        }
        let at = Timestamp::from_unix_seconds(now);
        let reply = rest::answer(&mut server, &request(line, &purse), at);
        assert!((200..600).contains(&reply.status), "{reply:?}");
        purse.take(&reply);
        let log = server.log().to_string();
        for secret in [&purse.token, &purse.refresh].into_iter().flatten().filter(|secret| secret.len() > 20) {
            assert!(!log.contains(secret.as_str()), "the log holds a token");
            assert!(!format!("{reply:?}{server:?}").contains(secret.as_str()), "a token prints");
        }
        now += MINUTE;
    }
    // Faults may answer anything, so they end first.
    let clear = Request { body: Secret::new("clear=all"), ..Request::new(Method::Post, "/nirantar/control") };
    rest::answer(&mut server, &clear, Timestamp::from_unix_seconds(now));
    let knock = Request { authorization: Some(Secret::new(stranger)), ..Request::new(Method::Get, probe) };
    assert_eq!(rest::answer(&mut server, &knock, Timestamp::from_unix_seconds(now)).status, 401, "a stranger is in");
}

fuzz_target!(|text: &str| {
    let settings = fyers::Settings { client_id: "ABCDE12345-100".to_owned(), ..fyers::Settings::default() };
    serve(FyersExchange::new(settings), "/api/v3/profile", "ABCDE12345-100:made.up.token", text);
    let settings = upstox::Settings { grant: upstox::Grant::Works, ..upstox::Settings::default() };
    serve(UpstoxCore::new(settings), "/v2/user/profile", "Bearer made.up.token", text);
});
