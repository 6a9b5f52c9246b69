//! The broker as its callers see it: what a call sends, and what each answer means.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::time::Timestamp;
use crate::{
    AccessToken, Auth as _, BadRedirect, Body, Call, Cause, Form, HttpResponse, Lost, Outcome, Refusal, Session, jwt,
};

const CLIENT_ID: &str = "ABCDE12345-100";
/// `fyers.md` 1.2: made by the official SDKs for that client and the secret `SEC`.
const HASH: &str = "c4d2b4c2d29b023b4f614561b41504e4357eadc9be1047bd70e4c5a600a55120";

fn fyers() -> Fyers {
    let (secret, pin) = (Some(Secret::new("SEC")), Some(Secret::new("4711")));
    Fyers::new(App::RefreshGrant, CLIENT_ID, secret, pin, "http://127.0.0.1:8000/api/fyers/callback")
}

fn sent<T>(call: &Call<T>) -> &HttpRequest {
    match call {
        Call::Http { request, .. } => request,
        Call::Ready(_) => panic!("nothing is sent"),
    }
}

fn fields<T>(call: &Call<T>) -> Value {
    match &sent(call).body {
        Body::Json(json) => serde_json::from_str(json.expose()).unwrap(),
        other => panic!("no JSON: {other:?}"),
    }
}

fn answered<T>(call: Call<T>, answer: Result<HttpResponse, Lost>) -> Outcome<T> {
    match call {
        Call::Http { decode, .. } => decode(answer),
        Call::Ready(outcome) => outcome,
    }
}

fn response(status: u16, body: impl Into<Vec<u8>>) -> Result<HttpResponse, Lost> {
    Ok(HttpResponse { status, body: body.into(), ..HttpResponse::default() })
}

fn said<T>(call: Call<T>, status: u16, body: &Value) -> Outcome<T> {
    answered(call, response(status, body.to_string()))
}

fn token(claims: &Value) -> String {
    jwt::token(claims, b"mac")
}

#[test]
fn the_login_page_is_told_the_app_and_gives_the_state_back() {
    let here = fyers().with_login_root("http://127.0.0.1:8080");
    assert_eq!(
        here.login_url(Some("a b&c")).unwrap(),
        "http://127.0.0.1:8080/api/v3/generate-authcode?client_id=ABCDE12345-100\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fapi%2Ffyers%2Fcallback&response_type=code&state=a+b%26c"
    );
    assert!(fyers().login_url(None).unwrap().starts_with("https://api-t1.fyers.in/api/v3/generate-authcode?"));
}

#[test]
fn the_code_of_a_redirect_is_its_auth_code_and_not_its_code() {
    let code = |query: &str| fyers().code(&Form::parse(query.as_bytes()));
    assert_eq!(code("s=ok&code=200&auth_code=eyJ.a.b&state=x").unwrap().expose(), "eyJ.a.b");
    assert_eq!(code("s=ok&code=200&auth_code=&state=x"), Err(BadRedirect::NoCode { expected: "auth_code" }));
    assert_eq!(code("request_token=kite"), Err(BadRedirect::NoCode { expected: "auth_code" }));
    let refused = Err(BadRedirect::Refused { said: Some("invalid app id".to_owned()) });
    assert_eq!(code("s=error&code=-352&message=invalid+app+id&auth_code=x"), refused);
    assert_eq!(code("s=error"), Err(BadRedirect::Refused { said: Some("error".to_owned()) }));
}

#[test]
fn a_login_is_exchanged_with_the_hash_of_app_and_secret() {
    assert_eq!(app_id_hash(CLIENT_ID, &Secret::new("SEC")), HASH);
    let call = fyers().exchange(&Secret::new("code"));
    let request = sent(&call);
    assert_eq!((request.method, request.path.as_str()), (Method::Post, "/api/v3/validate-authcode"));
    assert!(!request.authorized, "no token goes with a login");
    assert_eq!(fields(&call), json!({"grant_type": "authorization_code", "appIdHash": HASH, "code": "code"}));

    let access = token(&json!({"fy_id": "XA00001", "iat": 1_790_000_000, "exp": 1_790_050_000}));
    let body = json!({"s": "ok", "code": 200, "message": "", "access_token": access, "refresh_token": "next"});
    let session = said(call, 200, &body).unwrap();
    assert_eq!((session.user_id.as_str(), session.access_token.expose()), ("XA00001", access.as_str()));
    assert_eq!(session.refresh_token, Some(Secret::new("next")));
    assert_eq!(session.login_time, Some(Timestamp::from_unix_seconds(1_790_000_000)));
    let life = fyers().life(session.access_token.secret());
    assert_eq!(life.expires_at, Some(Timestamp::from_unix_seconds(1_790_050_000)));
}

#[test]
fn a_renewal_carries_the_pin_and_need_not_bring_a_new_refresh_token() {
    let call = fyers().renew(&Secret::new("refresh"));
    assert_eq!(sent(&call).path, "/api/v3/validate-refresh-token");
    assert_eq!(
        fields(&call),
        json!({"grant_type": "refresh_token", "appIdHash": HASH, "refresh_token": "refresh", "pin": "4711"})
    );
    let session = said(call, 200, &json!({"s": "ok", "code": 200, "message": "", "access_token": "opaque"})).unwrap();
    assert_eq!((session.user_id.as_str(), session.refresh_token, session.login_time), ("", None, None));
}

#[test]
fn what_is_missing_is_named_and_nothing_is_sent() {
    let bare = |secret: Option<&str>, pin: Option<&str>| {
        Fyers::new(App::RefreshGrant, CLIENT_ID, secret.map(Secret::new), pin.map(Secret::new), "http://h/")
    };
    let refused = |call: Call<Session>| match call {
        Call::Ready(Err(failure)) if failure.cause == Cause::Rejected => failure.message,
        other => panic!("{other:?}"),
    };
    let token = Secret::new("t");
    assert!(refused(bare(Some("SEC"), None).renew(&token)).contains("FYERS_PIN"));
    assert!(refused(bare(Some("SEC"), Some("")).renew(&token)).contains("FYERS_PIN"), "an empty PIN is none");
    assert!(refused(bare(None, Some("1")).renew(&token)).contains("FYERS_SECRET_KEY"));
    assert!(refused(bare(None, None).exchange(&token)).contains("FYERS_SECRET_KEY"));
    assert!(matches!(bare(Some("SEC"), None).exchange(&token), Call::Http { .. }), "a login needs no PIN");
}

#[test]
fn a_probe_asks_whose_token_it_is() {
    let call = fyers().probe();
    assert_eq!((sent(&call).path.as_str(), sent(&call).authorized), ("/api/v3/profile", true));
    let profile =
        |data: Value| said(fyers().probe(), 200, &json!({"s": "ok", "code": 200, "message": "", "data": data}));
    let owner = profile(json!({"fy_id": "XA00001", "name": "A TRADER", "PAN": null, "totp": true})).unwrap();
    assert_eq!((owner.user_id.as_str(), owner.user_name.as_str()), ("XA00001", "A TRADER"));
    assert_eq!(profile(json!({"fy_id": "XA00001", "name": null})).unwrap().user_name, "");
    for nobody in [json!({"fy_id": ""}), json!({"name": "A TRADER"}), json!(null)] {
        assert_eq!(profile(nobody).unwrap_err().cause, Cause::Unknown, "it proves nothing");
    }
}

#[test]
fn a_logout_goes_under_the_token_it_ends() {
    let call = fyers().invalidate(&AccessToken::new("t"));
    assert_eq!((sent(&call).method, sent(&call).path.as_str()), (Method::Post, "/api/v3/logout"));
    let own = sent(&call).own_authorization.as_ref().map(Secret::expose);
    assert_eq!((own, sent(&call).authorized), (Some("ABCDE12345-100:t"), false), "whichever token is the living one");
    assert_eq!(fyers().authorization(&AccessToken::new("t")).expose(), "ABCDE12345-100:t");
    let body = json!({"s": "ok", "code": 200, "message": "you are successfully logged out"});
    assert_eq!(said(call, 200, &body), Ok(()));
    let dead = json!({"s": "error", "code": -16, "message": "Token is Invalid or Expired"});
    assert_eq!(said(fyers().invalidate(&AccessToken::new("t")), 401, &dead).unwrap_err().cause, Cause::Rejected);
}

#[test]
fn a_refusal_under_http_200_is_a_refusal_whatever_the_order_of_its_keys() {
    for body in [
        r#"{"s":"error","code":-16,"message":"Could not authenticate the user"}"#,
        r#"{"code":-16,"message":"Could not authenticate the user","s":"error"}"#,
        r#"{"code":"-16","s":"error"}"#,
        r#"{"code":-16,"data":{"fy_id":"XA00001"}}"#,
        r#"{"s":"ok","code":-16,"data":{"fy_id":"XA00001"}}"#,
    ] {
        let failure = answered(fyers().probe(), response(200, body)).unwrap_err();
        assert_eq!(failure.cause, Cause::Refused(Refusal::Conclusive), "{body}");
        assert!(failure.message.contains("-16"), "{}", failure.message);
    }
}

#[test]
fn the_brokers_words_are_passed_on_with_their_code() {
    let body = json!({"code": -501, "message": "Please provide valid refresh token", "s": "error"});
    let failure = said(fyers().renew(&Secret::new("r")), 400, &body).unwrap_err();
    assert_eq!(failure.cause, Cause::Rejected);
    assert_eq!(failure.to_string(), "session: Please provide valid refresh token (code -501)");
}

#[test]
fn a_lost_or_unreadable_answer_to_a_renewal_is_unknown() {
    let renew = || fyers().renew(&Secret::new("r"));
    let lost = answered(renew(), Err(Lost::NoReply("reset".to_owned())));
    assert_eq!(lost.unwrap_err().cause, Cause::Unknown);
    assert_eq!(answered(renew(), Err(Lost::NotSent("no route".to_owned()))).unwrap_err().cause, Cause::NotSent);
    for (status, body) in [
        (200, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, r#"{"access_token":"t"}"#),
        (200, r#"{"s":"ok","code":200}"#),
        (200, r#"{"s":"ok","code":200,"access_token":""}"#),
        (200, r#"{"s":"ok","code":200,"access_token":7}"#),
        (502, "<html>bad gateway"),
        (403, "<html>error 1015"),
    ] {
        assert_eq!(answered(renew(), response(status, body)).unwrap_err().cause, Cause::Unknown, "{status} {body}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let broker =
        Fyers::new(App::RefreshGrant, CLIENT_ID, Some(Secret::new("hunter2")), Some(Secret::new("hunter3")), "");
    let refresh = Secret::new("hunter4");
    let broken = answered(broker.renew(&refresh), response(200, r#"{"s":"ok","access_token":{"x":"hunter5"}}"#));
    let shown = format!("{broker:?} {:?} {:?} {broken:?}", broker.renew(&refresh), broker.exchange(&refresh));
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn no_order_can_go_to_it() {
    assert!(fyers().trading().is_none());
}

proptest! {
    #[test]
    fn any_bytes_under_any_code_are_an_outcome_and_never_a_panic(
        status in any::<u16>(),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            r#"\{"s":"(ok|error|no_data)","code":(-?[0-9]{1,20}|"-?[0-9]{1,3}"|null|1e9),"[a-z_]{1,12}":(\{.{0,20}|null|"x"|\[\])\}"#
                .prop_map(String::into_bytes),
            r#"\{"s":"ok","code":200,"access_token":"[a-z.]{0,20}","refresh_token":(null|""|"r"),"data":\{"fy_id":"[A-Z]{0,3}"\}\}"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let answer = || response(status, body.clone());
        let (secret, token) = (Secret::new("t"), AccessToken::new("t"));
        let causes = [
            answered(fyers().exchange(&secret), answer()).err().map(|failure| failure.cause),
            answered(fyers().renew(&secret), answer()).err().map(|failure| failure.cause),
            answered(fyers().invalidate(&token), answer()).err().map(|failure| failure.cause),
            answered(fyers().probe(), answer()).err().map(|failure| failure.cause),
        ];
        if !(200..300).contains(&status) {
            prop_assert!(causes.iter().all(Option::is_some), "a failure's code is no success: {causes:?}");
        }
        prop_assert!(!causes.contains(&Some(Cause::NotSent)));
    }
}
