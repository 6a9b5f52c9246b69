//! The sessions of FYERS and Upstox: any bytes are a session, an owner, a refusal or unknown, whatever was asked; and any
//! text is a notice, a redirect, a token or a date, or none.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::fyers::{self, Fyers};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::upstox::{self, Upstox};
use nirantar_brokers::{AccessToken, Auth, Call, Cause, Form, HttpResponse, Lost, Outcome, Secret, jwt};
use serde_json::Value;

/// The statuses that brokers are known to answer with, and one that nobody does.
const STATUSES: [u16; 9] = [200, 207, 302, 400, 401, 403, 423, 429, 502];
const LONGEST_MESSAGE: usize = 340;

/// What that call makes of that answer.
fn decoded<T>(call: Call<T>, answer: Result<HttpResponse, Lost>) -> Outcome<T> {
    match call {
        Call::Ready(outcome) => outcome,
        Call::Http { decode, .. } => decode(answer),
    }
}

/// An answer to a request that no token goes with, and so one that says nothing about the living token.
fn of_session<T>(status: u16, outcome: Outcome<T>) -> Option<T> {
    match outcome {
        Ok(answer) => {
            assert!((200..300).contains(&status), "a success under HTTP {status}");
            Some(answer)
        }
        Err(failure) => {
            assert!(!matches!(failure.cause, Cause::Refused(_)), "a session's refusal is laid on a token: {failure}");
            assert!(failure.message.chars().count() <= LONGEST_MESSAGE, "{failure}");
            None
        }
    }
}

fn replies(broker: &dyn Auth, body: &[u8]) {
    let (code, token) = (Secret::new("code"), AccessToken::new("token"));
    for status in STATUSES {
        let retry_after = (status == 429).then_some(Duration::from_secs(3));
        let response = HttpResponse { status, content_type: None, retry_after, body: body.to_vec() };
        let answer = || Ok(response.clone());
        for call in [broker.exchange(&code), broker.renew(&code)] {
            if let Some(session) = of_session(status, decoded(call, answer())) {
                assert!(!session.access_token.expose().is_empty(), "a session without a token");
                assert!(session.refresh_token.is_none_or(|token| !token.is_empty()), "an empty refresh token");
            }
        }
        of_session(status, decoded(broker.ask_approval(), answer()));
        of_session(status, decoded(broker.invalidate(&token), answer()));
        match decoded(broker.probe(), answer()) {
            Ok(owner) => assert!((200..300).contains(&status) && !owner.user_id.is_empty(), "nobody's token"),
            Err(failure) => assert!(failure.message.chars().count() <= LONGEST_MESSAGE, "{failure}"),
        }
    }
    let lost = decoded(broker.exchange(&code), Err(Lost::NoReply("cut".to_owned())));
    assert_eq!(lost.map_err(|failure| failure.cause), Err(Cause::Unknown), "the code may be spent");
}

fn texts(text: &str) {
    let life = jwt::life(text);
    for time in life.issued_at.into_iter().chain(life.expires_at) {
        assert_eq!(Timestamp::parse_http_date(&time.to_http_date()), Some(time));
    }
    if let Some(date) = Timestamp::parse_http_date(text) {
        assert_eq!(Timestamp::parse_http_date(&date.to_http_date()), Some(date));
    }
    // As the claims of a token they are read back, and say the same of its life however it is signed.
    if let Ok(claims) = serde_json::from_str::<Value>(text) {
        let token = jwt::token(&claims, b"mac");
        assert_eq!(jwt::payload(&token), serde_json::from_str(&claims.to_string()).ok());
        assert_eq!(jwt::life(&token), jwt::life(&jwt::token(&claims, b"")));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let secret = || Some(Secret::new("secret"));
    let redirect_uri = "http://127.0.0.1:5000/callback";
    let fyers = Fyers::new(fyers::App::RefreshGrant, "ABCDE12345-100", secret(), secret(), redirect_uri);
    let upstox = Upstox::new(upstox::App::Guide, "key", secret(), redirect_uri);
    let redirect = Form::parse(bytes);
    for broker in [&fyers as &dyn Auth, &upstox] {
        replies(broker, bytes);
        if let Ok(code) = broker.code(&redirect) {
            assert!(!code.is_empty(), "an empty code");
        }
    }
    if let Ok(session) = upstox.read_notice(bytes) {
        assert!(!session.user_id.is_empty() && !session.access_token.expose().is_empty(), "a notice of nothing");
        assert!(session.login_time < session.expires_at, "dead on arrival");
    }
    assert!(fyers.read_notice(bytes).is_err(), "FYERS posts no notices");
    if let Ok(text) = std::str::from_utf8(bytes) {
        texts(text);
    }
});
