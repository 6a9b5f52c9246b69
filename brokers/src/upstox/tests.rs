//! The broker as its callers see it: what a call sends, and what each answer means.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::time::Timestamp;
use crate::{
    AccessToken, Auth as _, BadNotice, BadRedirect, Body, Call, Cause, Form, HttpResponse, Lost, Outcome, Refusal,
    TokenLife, jwt,
};

const REDIRECT: &str = "https://engine.example/callback";

fn upstox() -> Upstox {
    Upstox::new(App::Guide, "key-1", Some(Secret::new("the secret")), REDIRECT)
}

fn sent<T>(call: &Call<T>) -> &HttpRequest {
    match call {
        Call::Http { request, .. } => request,
        Call::Ready(_) => panic!("nothing is sent"),
    }
}

fn answered<T>(call: Call<T>, answer: Result<HttpResponse, Lost>) -> Outcome<T> {
    match call {
        Call::Http { decode, .. } => decode(answer),
        Call::Ready(outcome) => outcome,
    }
}

fn response(status: u16, body: impl Into<Vec<u8>>) -> HttpResponse {
    HttpResponse { status, content_type: Some("application/json".to_owned()), retry_after: None, body: body.into() }
}

fn ok<T>(call: Call<T>, body: &Value) -> Outcome<T> {
    answered(call, Ok(response(200, body.to_string())))
}

fn refusal<T>(call: Call<T>, status: u16, code: &str) -> Cause {
    let error = wire::ApiError { code: code.to_owned(), message: "No.".to_owned() };
    answered(call, Ok(response(status, wire::refusal(&error)))).map(drop).unwrap_err().cause
}

fn form(request: &HttpRequest) -> String {
    let Body::Form(form) = &request.body else { panic!("no form") };
    form.encode()
}

fn notice() -> Value {
    json!({
        "client_id": "key-1", "user_id": "AB1234", "access_token": "new", "token_type": "Bearer",
        "expires_at": "1731448800000", "issued_at": "1731412800000", "message_type": "access_token",
    })
}

#[test]
fn the_login_page_is_told_the_app_and_where_to_go_back_to() {
    assert_eq!(
        upstox().login_url(None).unwrap(),
        "https://api.upstox.com/v2/login/authorization/dialog?response_type=code&client_id=key-1\
         &redirect_uri=https%3A%2F%2Fengine.example%2Fcallback"
    );
    let here = upstox().with_login_root("http://127.0.0.1:8080").login_url(Some("a b&c")).unwrap();
    assert!(here.starts_with("http://127.0.0.1:8080/v2/login/") && here.ends_with("&state=a+b%26c"), "{here}");
}

#[test]
fn a_redirect_brings_a_code_or_says_why_not() {
    let code = |query: &str| upstox().code(&Form::parse(query.as_bytes()));
    assert_eq!(code("code=mk404x&state=s"), Ok(Secret::new("mk404x")));
    assert_eq!(code("state=s&code="), Err(BadRedirect::NoCode { expected: "code" }));
    let refused = Err(BadRedirect::Refused { said: Some("access_denied".to_owned()) });
    assert_eq!(code("error=access_denied&state=s"), refused);
    assert_eq!(code("code=mk404x&error=access_denied"), refused, "a no is a no, whatever stands beside it");
}

#[test]
fn a_code_is_exchanged_for_a_session() {
    let call = upstox().exchange(&Secret::new("mk404x"));
    let request = sent(&call);
    assert_eq!(
        (request.method, request.path.as_str(), request.authorized),
        (Method::Post, "/v2/login/authorization/token", false)
    );
    assert_eq!(
        form(request),
        "code=mk404x&client_id=key-1&client_secret=the+secret\
         &redirect_uri=https%3A%2F%2Fengine.example%2Fcallback&grant_type=authorization_code"
    );
    let session = ok(call, &json!({ "user_id": "AB1234", "access_token": "new", "extended_token": "long" })).unwrap();
    assert_eq!((session.user_id.as_str(), session.access_token.expose()), ("AB1234", "new"));
    assert_eq!(session.refresh_token, None, "the long-lived token is no refresh token");
}

#[test]
fn the_grant_of_the_old_guide_brings_the_next_refresh_token() {
    let call = upstox().renew(&Secret::new("old"));
    let sent = form(sent(&call));
    assert!(sent.starts_with("refresh_token=old&") && sent.ends_with("&grant_type=refresh_token"), "{sent}");
    let session = ok(call, &json!({ "user_id": "AB1234", "access_token": "new", "refresh_token": "next" })).unwrap();
    assert_eq!(session.refresh_token, Some(Secret::new("next")));
    for none in [json!(""), json!(null)] {
        let body = json!({ "user_id": "AB1234", "access_token": "new", "refresh_token": none });
        assert_eq!(ok(upstox().renew(&Secret::new("old")), &body).unwrap().refresh_token, None);
    }
}

#[test]
fn an_approval_is_asked_for_with_the_apps_secret() {
    let upstox = Upstox::new(App::Current, "key/1", Some(Secret::new("a\"b")), REDIRECT);
    let call = upstox.ask_approval();
    let request = sent(&call);
    assert_eq!((request.method, request.path.as_str()), (Method::Post, "/v3/login/auth/token/request/key%2F1"));
    assert_eq!(request.body, Body::Json(Secret::new(r#"{"client_secret":"a\"b"}"#)));
    let data = json!({ "authorization_expiry": "1731448800000", "notifier_url": "https://engine.example/n" });
    let approval = ok(call, &json!({ "status": "success", "data": data })).unwrap();
    assert_eq!(approval.lapses_at, Some(Timestamp::from_unix_seconds(1_731_448_800)));
    let asked = ok(upstox.ask_approval(), &json!({ "status": "success", "data": {} })).unwrap();
    assert_eq!(asked.lapses_at, None, "asked for is asked for, even if nobody says until when");
}

#[test]
fn a_notice_is_a_session_with_its_times() {
    let session = upstox().read_notice(notice().to_string().as_bytes()).unwrap();
    assert_eq!((session.user_id.as_str(), session.access_token.expose()), ("AB1234", "new"));
    assert_eq!(session.login_time, Some(Timestamp::from_unix_seconds(1_731_412_800)));
    assert_eq!(session.expires_at, Some(Timestamp::from_unix_seconds(1_731_448_800)));
}

#[test]
fn a_notice_that_is_not_ours_or_not_whole_is_no_notice() {
    let read = |body: &Value| upstox().read_notice(body.to_string().as_bytes()).unwrap_err();
    let changed = |field: &str, value: Value| {
        let mut body = notice();
        body[field] = value;
        body
    };
    assert_eq!(read(&changed("client_id", json!("other"))), BadNotice::OtherApp);
    for (field, value) in [
        ("message_type", json!("order")),
        ("token_type", json!("MAC")),
        ("user_id", json!("")),
        ("access_token", json!("")),
        ("access_token", json!(7)),
        ("expires_at", json!("tomorrow")),
        ("expires_at", json!("1731412800000")),
        ("issued_at", json!(null)),
    ] {
        assert!(matches!(read(&changed(field, value)), BadNotice::Malformed(_)), "{field}");
    }
    for (field, _) in notice().as_object().unwrap() {
        let mut short = notice();
        short.as_object_mut().unwrap().remove(field);
        assert!(matches!(read(&short), BadNotice::Malformed(_)), "without {field}");
    }
}

#[test]
fn a_logout_speaks_for_the_token_it_ends() {
    let call = upstox().invalidate(&AccessToken::new("old"));
    let request = sent(&call);
    assert_eq!((request.method, request.path.as_str(), request.authorized), (Method::Delete, "/v2/logout", false));
    assert_eq!(request.own_authorization, Some(Secret::new("Bearer old")));
    assert_eq!(ok(call, &json!({ "status": "success", "data": true })), Ok(()));
    assert_eq!(refusal(upstox().invalidate(&AccessToken::new("old")), 401, "UDAPI100050"), Cause::Rejected);
}

#[test]
fn the_probe_says_whose_token_it_is_or_that_it_is_dead() {
    let call = upstox().probe();
    let request = sent(&call);
    assert_eq!((request.method, request.path.as_str(), request.authorized), (Method::Get, "/v2/user/profile", true));
    let profile =
        ok(call, &json!({ "status": "success", "data": { "user_id": "AB1234", "user_name": "A B" } })).unwrap();
    assert_eq!((profile.user_id.as_str(), profile.user_name.as_str()), ("AB1234", "A B"));
    for code in ["UDAPI100050", "UDAPI100067"] {
        assert_eq!(refusal(upstox().probe(), 401, code), Cause::Refused(Refusal::Conclusive), "{code}");
    }
    let banned = response(403, "<html>Error 1010</html>");
    assert_eq!(answered(upstox().probe(), Ok(banned)).unwrap_err().cause, Cause::Misconfigured);
    for nobody in [json!({ "user_id": "" }), json!({}), json!(null)] {
        let outcome = ok(upstox().probe(), &json!({ "status": "success", "data": nobody }));
        assert_eq!(outcome.unwrap_err().cause, Cause::Unknown);
    }
}

#[test]
fn a_field_nobody_needs_may_look_as_it_likes() {
    let odd = json!({ "user_id": "AB1234", "user_name": null, "email": null, "exchanges": null, "products": "all",
        "poa": null, "is_active": "yes", "order_types": [7] });
    let profile = ok(upstox().probe(), &json!({ "status": "success", "data": odd })).unwrap();
    assert_eq!((profile.user_id.as_str(), profile.user_name.as_str()), ("AB1234", ""));
    let mut token = odd;
    token["access_token"] = json!("new");
    token["extended_token"] = json!({ "token": "long" });
    token["refresh_token"] = json!(7);
    let session = ok(upstox().exchange(&Secret::new("mk404x")), &token).unwrap();
    assert_eq!((session.access_token.expose(), session.refresh_token), ("new", None));
}

#[test]
fn a_refusal_under_a_200_is_still_one() {
    let error = wire::ApiError { code: "UDAPI100050".to_owned(), message: "Invalid token used".to_owned() };
    let failure = answered(upstox().probe(), Ok(response(200, wire::refusal(&error)))).unwrap_err();
    assert_eq!(failure.cause, Cause::Refused(Refusal::Conclusive));
    assert_eq!(failure.message, "Invalid token used (UDAPI100050)");
}

#[test]
fn a_wrong_code_says_nothing_about_the_living_token_and_a_lost_answer_may_have_spent_it() {
    let call = || upstox().exchange(&Secret::new("used"));
    assert_eq!(refusal(call(), 401, "UDAPI100057"), Cause::Rejected);
    let lost = answered(call(), Err(Lost::NoReply("timeout".to_owned()))).unwrap_err();
    assert_eq!(lost.cause, Cause::Unknown);
    let unsent = answered(call(), Err(Lost::NotSent("refused".to_owned()))).unwrap_err();
    assert_eq!(unsent.cause, Cause::NotSent);
}

#[test]
fn without_the_apps_secret_the_failure_names_the_key_to_set() {
    for secret in [None, Some(Secret::new(""))] {
        let upstox = Upstox::new(App::Current, "key", secret, REDIRECT);
        let token = Secret::new("token");
        let failures =
            [upstox.exchange(&token), upstox.renew(&token)].map(|call| answered(call, Ok(response(200, ""))).err());
        let asked = answered(upstox.ask_approval(), Ok(response(200, ""))).err();
        for failure in failures.into_iter().chain([asked]) {
            let failure = failure.unwrap();
            assert!(failure.cause == Cause::Rejected && failure.message.contains("UPSTOX_API_SECRET"), "{failure}");
        }
    }
}

#[test]
fn a_token_says_when_it_dies_where_it_is_a_jwt() {
    let token = jwt::token(&json!({ "sub": "AB1234", "iat": 1_731_412_800, "exp": 1_731_448_800 }), b"mac");
    let life = upstox().life(&Secret::new(token));
    assert_eq!(life.expires_at, Some(Timestamp::from_unix_seconds(1_731_448_800)));
    assert_eq!(upstox().life(&Secret::new("opaque")), TokenLife::default());
}

#[test]
fn no_order_can_go_to_it() {
    assert!(upstox().trading().is_none());
}

#[test]
fn nothing_printed_holds_a_secret() {
    let upstox = Upstox::new(App::Guide, "sentinel-key", Some(Secret::new("sentinel-secret")), REDIRECT);
    let token = AccessToken::new("sentinel-token");
    let mut shown = format!("{upstox:?} {:?} {:?}", upstox.authorization(&token), upstox.invalidate(&token));
    shown += &format!("{:?} {:?}", upstox.exchange(token.secret()), upstox.renew(token.secret()));
    // A token where something else belongs must not come back in the words of the failure.
    let answer = json!({ "user_id": 7, "access_token": "sentinel-new", "poa": "sentinel-new" }).to_string();
    shown += &format!("{:?}", answered(upstox.exchange(token.secret()), Ok(response(200, answer))).unwrap_err());
    let mut bad = notice();
    bad["client_id"] = json!("sentinel-key");
    bad["user_id"] = json!(["sentinel-user"]);
    bad["access_token"] = json!("sentinel-notice");
    shown += &format!("{:?}", upstox.read_notice(bad.to_string().as_bytes()).unwrap_err());
    bad["user_id"] = json!("AB1234");
    shown += &format!("{:?}", upstox.read_notice(bad.to_string().as_bytes()).unwrap());
    assert!(!shown.contains("sentinel"), "{shown}");
}

/// Every call's cause, given one answer.
fn causes(answer: &Result<HttpResponse, Lost>) -> Vec<Option<Cause>> {
    fn cause<T>(call: Call<T>, answer: &Result<HttpResponse, Lost>) -> Option<Cause> {
        answered(call, answer.clone()).err().map(|failure| failure.cause)
    }
    let (upstox, token) = (upstox(), AccessToken::new("t"));
    vec![
        cause(upstox.exchange(token.secret()), answer),
        cause(upstox.renew(token.secret()), answer),
        cause(upstox.ask_approval(), answer),
        cause(upstox.invalidate(&token), answer),
        cause(upstox.probe(), answer),
    ]
}

proptest! {
    #[test]
    fn any_bytes_under_any_code_are_an_outcome_and_never_a_panic(
        status in any::<u16>(),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            r#"\{"status":"(success|error)","data":(\{"[a-z_]{1,9}":.{0,9}|null|true|\[\])\}"#.prop_map(String::into_bytes),
            r#"\{"errors":\[\{"error_?[cC]ode":("UDAPI[0-9]{4,6}"|null|7)\}\]\}"#.prop_map(String::into_bytes),
        ],
    ) {
        let causes = causes(&Ok(response(status, body)));
        if !(200..300).contains(&status) {
            prop_assert!(causes.iter().all(Option::is_some), "a failure's code is no success: {:?}", causes);
        }
        prop_assert!(!causes.contains(&Some(Cause::NotSent)));
    }

    #[test]
    fn any_notice_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        field in 0..7_usize,
        text in ".{0,40}",
        number in any::<i64>(),
        is_text: bool,
    ) {
        prop_assert!(upstox().read_notice(&bytes).is_err());
        let mut body = notice();
        let name = body.as_object().unwrap().keys().nth(field).unwrap().clone();
        body[&name] = if is_text { json!(text) } else { json!(number) };
        if let Ok(session) = upstox().read_notice(body.to_string().as_bytes()) {
            prop_assert!(session.expires_at > session.login_time && !session.user_id.is_empty());
        }
    }

    #[test]
    fn any_redirect_is_read_without_a_panic(query in ".{0,60}") {
        let _ = upstox().code(&Form::parse(query.as_bytes()));
    }
}
