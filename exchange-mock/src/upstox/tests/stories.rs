//! Sessions from login to death, and everything that can be made to go wrong on the way.

use nirantar_brokers::{BadRedirect, Refusal};

use super::*;

const DEAD: Result<String, Cause> = Err(Cause::Refused(Refusal::Conclusive));

fn alive() -> Result<String, Cause> {
    Ok("NR0001".to_owned())
}

fn working() -> Settings {
    Settings { grant: Grant::Works, ..Settings::default() }
}

#[test]
fn a_login_brings_a_token_that_lives_until_half_past_three() {
    let mut rig = Rig::new(Settings::default());
    let session = rig.login();
    assert_eq!((session.user_id.as_str(), session.refresh_token.is_none()), ("NR0001", true));
    let life = rig.broker.life(session.access_token.secret());
    let death = Timestamp::parse_ist("2026-11-21 03:30:00").unwrap();
    assert_eq!((life.issued_at, life.expires_at), (Some(rig.now), Some(death)));
    rig.now = death - std::time::Duration::from_secs(1);
    assert_eq!(rig.probe(&session.access_token), alive());
    rig.now = death;
    assert_eq!(rig.probe(&session.access_token), DEAD);
    rig.now = death - std::time::Duration::from_secs(1);
    assert_eq!(rig.probe(&session.access_token), DEAD, "a clock that goes back wakes no dead token");
}

#[test]
fn a_token_made_in_the_night_dies_the_same_night() {
    let mut rig = Rig::new(Settings::default());
    rig.now = at("02:30:00");
    let session = rig.login();
    assert_eq!(rig.broker.life(session.access_token.secret()).expires_at, Some(at("03:30:00")));
}

#[test]
fn the_page_has_a_link_that_logs_in() {
    let mut rig = Rig::new(Settings::default());
    let url = rig.broker.login_url(Some("a\"b<c>&d")).unwrap();
    let (page, query) = url.split_once('?').unwrap();
    let mut request = Request::new(Method::Get, page.strip_prefix("https://api.upstox.com").unwrap());
    request.query = Form::parse(query.as_bytes());
    let html = String::from_utf8(rig.core.answer(&request, rig.now).body).unwrap();
    let href = html.split("id=\"approve\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    request.query = Form::parse(href.split_once('?').unwrap().1.as_bytes());
    let reply = rig.core.answer(&request, rig.now);
    let redirect = Form::parse(reply.headers[0].1.split_once('?').unwrap().1.as_bytes());
    assert_eq!(redirect.get("state"), Some("a\"b<c>&d"));
    assert!(rig.broker.code(&redirect).is_ok());
}

#[test]
fn a_human_who_refuses_brings_no_code() {
    let mut rig = Rig::new(Settings::default());
    let redirect = rig.decide("refuse");
    let refused = BadRedirect::Refused { said: Some("access_denied".to_owned()) };
    assert_eq!(rig.broker.code(&redirect), Err(refused));
}

#[test]
fn another_redirect_uri_or_app_is_not_let_in() {
    let mut rig = Rig::new(Settings::default());
    for broker in [
        Upstox::new(App::Guide, "other", Some(Secret::new("nirantar-secret")), "http://127.0.0.1/"),
        Upstox::new(App::Guide, "nirantar", Some(Secret::new("nirantar-secret")), "http://127.0.0.1"),
    ] {
        let url = broker.login_url(None).unwrap();
        let mut request = Request::new(Method::Get, "/v2/login/authorization/dialog");
        request.query = Form::parse(url.split_once('?').unwrap().1.as_bytes());
        assert_eq!(rig.core.answer(&request, rig.now).status, 400);
        assert_eq!(rig.call(broker.exchange(&Secret::new("code")), None).unwrap_err().cause, Cause::Rejected);
    }
}

#[test]
fn the_official_sdk_names_no_response_type_and_another_one_is_refused() {
    let mut rig = Rig::new(Settings::default());
    for (said, status) in [("", 200), ("&response_type=code", 200), ("&response_type=token", 400)] {
        let mut request = Request::new(Method::Get, "/v2/login/authorization/dialog");
        request.query = Form::parse(format!("client_id=nirantar&redirect_uri=http://127.0.0.1/{said}").as_bytes());
        assert_eq!(rig.core.answer(&request, rig.now).status, status, "{said}");
    }
}

#[test]
fn a_code_is_spent_by_an_exchange_that_fails_and_is_soon_too_old() {
    let mut rig = Rig::new(Settings::default());
    let redirect = rig.decide("approve");
    let code = rig.broker.code(&redirect).unwrap();
    let liar = Upstox::new(App::Current, "nirantar", Some(Secret::new("wrong")), "http://127.0.0.1/");
    assert_eq!(rig.call(liar.exchange(&code), None).unwrap_err().cause, Cause::Rejected);
    let failure = rig.call(rig.broker.exchange(&code), None).unwrap_err();
    assert!(failure.cause == Cause::Rejected && failure.message.contains("UDAPI100057"), "{failure}");
    let redirect = rig.decide("approve");
    let late = rig.broker.code(&redirect).unwrap();
    rig.now = at("09:02:01");
    assert!(rig.call(rig.broker.exchange(&late), None).is_err());
    assert_eq!(rig.core.log().exchanges, Tally { granted: 0, refused: 3 });
}

#[test]
fn a_new_login_kills_or_keeps_the_old_token() {
    for (new_login, old) in [(NewLogin::Kills, DEAD), (NewLogin::Keeps, alive())] {
        let mut rig = Rig::new(Settings { new_login, ..Settings::default() });
        let first = rig.login();
        rig.control("login=1&user=ZZ9999");
        assert_eq!(rig.probe(&first.access_token), alive(), "a stranger's login does nothing to it");
        let second = rig.login();
        assert_eq!(rig.probe(&first.access_token), old, "{new_login}");
        assert_eq!(rig.probe(&second.access_token), alive());
    }
}

#[test]
fn a_strangers_token_says_whose_it_is() {
    let mut rig = Rig::new(Settings::default());
    let answer = rig.control("login=1&user=ZZ9999");
    let token = AccessToken::new(answer["session"]["access_token"].as_str().unwrap());
    assert_eq!(rig.probe(&token), Ok("ZZ9999".to_owned()));
}

#[test]
fn the_old_guides_grant_renews_until_it_is_withdrawn() {
    let mut rig = Rig::new(working());
    let first = rig.login();
    let refresh = first.refresh_token.unwrap();
    let second = rig.call(rig.broker.renew(&refresh), None).unwrap();
    assert_eq!(rig.probe(&first.access_token), DEAD);
    assert_eq!(rig.probe(&second.access_token), alive());
    let next = second.refresh_token.unwrap();
    assert_eq!(rig.call(rig.broker.renew(&refresh), None).unwrap_err().cause, Cause::Rejected, "it rotates");
    rig.control("grant=withdrawn");
    assert_eq!(rig.call(rig.broker.renew(&next), None).unwrap_err().cause, Cause::Rejected);
    assert_eq!(rig.login().refresh_token, None);
    rig.control("grant=works&rotate=0");
    for _ in 0..2 {
        let renewed = rig.call(rig.broker.renew(&next), None).unwrap();
        assert_eq!(renewed.refresh_token, None, "the old one goes on working");
    }
    assert_eq!(rig.core.log().renewals, Tally { granted: 3, refused: 2 });
    assert_eq!(rig.core.log().renewals_at, vec![rig.now; 5]);
}

#[test]
fn a_lost_reply_was_acted_on() {
    let mut rig = Rig::new(working());
    let first = rig.login();
    let refresh = first.refresh_token.unwrap();
    rig.control("lose-replies=1");
    assert_eq!(rig.call(rig.broker.renew(&refresh), None).unwrap_err().cause, Cause::Unknown);
    assert_eq!(rig.probe(&first.access_token), DEAD, "the session nobody received has replaced it");
    assert_eq!(rig.call(rig.broker.renew(&refresh), None).unwrap_err().cause, Cause::Rejected, "and it is spent");
    assert_eq!((rig.core.log().renewals.granted, rig.core.log().replies_lost), (1, 1));
}

#[test]
fn a_dead_token_can_be_answered() {
    let mut rig = Rig::new(working());
    let refresh = rig.login().refresh_token.unwrap();
    rig.control("dead-tokens=1");
    let dead = rig.call(rig.broker.renew(&refresh), None).unwrap();
    assert_eq!(rig.probe(&dead.access_token), DEAD);
    assert!(rig.broker.life(dead.access_token.secret()).expires_at > Some(rig.now), "it does not say so itself");
    let living = rig.call(rig.broker.renew(&dead.refresh_token.unwrap()), None).unwrap();
    assert_eq!(rig.probe(&living.access_token), alive());
}

#[test]
fn an_approval_is_asked_for_granted_once_and_read_from_the_notice() {
    let mut rig = Rig::new(Settings::default());
    assert_eq!(rig.core.approve(rig.now), None, "nothing was asked for");
    let asked = rig.call(rig.broker.ask_approval(), None).unwrap();
    let lapses = Timestamp::parse_ist("2026-11-21 03:30:00").unwrap();
    assert_eq!(asked.lapses_at, Some(lapses));
    let notice = rig.core.approve(rig.now).unwrap();
    let session = rig.broker.read_notice(notice.expose().as_bytes()).unwrap();
    assert_eq!((session.login_time, session.expires_at), (Some(rig.now), Some(lapses)));
    assert_eq!(rig.probe(&session.access_token), alive());
    assert_eq!(rig.core.approve(rig.now), None, "granted once");
    rig.call(rig.broker.ask_approval(), None).unwrap();
    assert!(rig.core.decline(rig.now) && rig.core.approve(rig.now).is_none());
    rig.call(rig.broker.ask_approval(), None).unwrap();
    assert_eq!(rig.core.approve(lapses), None, "lapsed");
    assert_eq!(rig.core.log().approvals, Tally { granted: 1, refused: 1 });
}

#[test]
fn an_approval_needs_the_apps_secret() {
    let mut rig = Rig::new(Settings::default());
    for (key, secret) in [("nirantar", "wrong"), ("other", "nirantar-secret"), ("a/../b", "nirantar-secret")] {
        let liar = Upstox::new(App::Current, key, Some(Secret::new(secret)), "http://127.0.0.1/");
        assert_eq!(rig.call(liar.ask_approval(), None).unwrap_err().cause, Cause::Rejected, "{key}");
    }
    assert_eq!(rig.core.approve(rig.now), None);
}

#[test]
fn a_logout_ends_that_token_alone() {
    let mut rig = Rig::new(Settings { new_login: NewLogin::Keeps, ..Settings::default() });
    let [first, second] = [rig.login(), rig.login()];
    rig.call(rig.broker.invalidate(&first.access_token), Some(&second.access_token)).unwrap();
    assert_eq!(rig.probe(&first.access_token), DEAD);
    assert_eq!(rig.probe(&second.access_token), alive());
    let again = rig.call(rig.broker.invalidate(&first.access_token), Some(&second.access_token));
    assert_eq!(again.unwrap_err().cause, Cause::Rejected);
}

#[test]
fn the_read_only_token_reads_orders_and_does_not_pass_the_probe() {
    let mut rig = Rig::new(Settings::default());
    let answer = rig.control("login=1");
    let token = AccessToken::new(answer["session"]["extended_token"].as_str().unwrap());
    assert_eq!(rig.status(Method::Get, "/v2/order/retrieve-all", &token), 200);
    assert_eq!(rig.probe(&token), DEAD);
    assert_eq!(rig.status(Method::Post, "/v2/order/place", &token), 403);
}

#[test]
fn order_paths_can_refuse_a_token_that_is_good() {
    let mut rig = Rig::new(Settings::default());
    let token = rig.login().access_token;
    rig.control("fault=orders%3D401:UDAPI100050");
    assert_eq!(rig.status(Method::Get, "/v2/order/retrieve-all", &token), 401);
    assert_eq!(rig.status(Method::Post, "/v2/order/place", &token), 401);
    assert_eq!(rig.status(Method::Get, "/v2/user/get-funds-and-margin", &token), 200);
    assert_eq!(rig.probe(&token), alive());
    assert_eq!(rig.control("clear=orders")["faults"], serde_json::json!([]));
    assert_eq!(rig.status(Method::Get, "/v2/order/retrieve-all", &token), 200);
}

#[test]
fn at_night_funds_and_orders_are_closed_and_the_probe_is_not() {
    let mut rig = Rig::new(Settings::default());
    rig.now = at("03:30:00");
    let token = rig.login().access_token;
    for (time, status) in [("03:30:01", 423), ("05:29:59", 423), ("05:30:00", 200), ("23:59:59", 200)] {
        rig.now = at(time);
        assert_eq!(rig.status(Method::Get, "/v2/user/get-funds-and-margin", &token), status, "{time}");
        assert_eq!(rig.probe(&token), alive());
    }
    rig.now = at("04:00:00");
    assert_eq!(rig.status(Method::Post, "/v2/order/place", &token), 423);
}

#[test]
fn a_fault_is_answered_in_the_words_it_was_given() {
    let mut rig = Rig::new(Settings { faults: vec!["profile=403:page@1".parse().unwrap()], ..Settings::default() });
    let token = rig.login().access_token;
    assert_eq!(rig.probe(&token), Err(Cause::Misconfigured));
    assert_eq!(rig.probe(&token), alive());
    rig.control("fault=all%3D429:UDAPI10005@1&fault=token%3D503@1");
    assert_eq!(rig.probe(&token), Err(Cause::Throttled { retry_after: None }));
    assert_eq!(rig.call(rig.broker.exchange(&Secret::new("x")), None).unwrap_err().cause, Cause::Unknown);
    assert_eq!(rig.core.log().requests_of(Route::Profile), 3);
    assert_eq!(rig.core.log().probes, Tally { granted: 1, refused: 2 });
}

#[test]
fn tokens_are_killed_on_demand_and_by_age() {
    let ttl = Some(std::time::Duration::from_secs(600));
    let mut rig = Rig::new(Settings { token_ttl: ttl, ..Settings::default() });
    let first = rig.login();
    assert_eq!(rig.control("kill-token=1")["killed"], 1);
    assert_eq!(rig.probe(&first.access_token), DEAD);
    let second = rig.login();
    assert_eq!(rig.broker.life(second.access_token.secret()).expires_at, Some(at("09:10:00")));
    rig.now = at("09:10:00");
    assert_eq!(rig.probe(&second.access_token), DEAD);
}

#[test]
fn a_bad_command_does_nothing_and_names_what_it_expects() {
    let mut rig = Rig::new(Settings::default());
    let token = rig.login().access_token;
    for (fields, words) in [
        ("", "notifier-url"),
        ("kill-token=1&kill=1", "`kill`"),
        ("kill-token=1&fault=tokens", "TARGET=STATUS"),
        ("kill-token=1&grant=maybe", "works or withdrawn"),
        ("kill-token=1&rotate=x", "expected 1 or 0"),
        ("kill-token=1&lose-replies=-1", "a number"),
        ("kill-token=1&notifier-url=https://h/", "plain HTTP"),
        ("kill-token=1&approve=1", "no approval"),
    ] {
        let error = rig.core.command(&Form::parse(fields.as_bytes()), rig.now).unwrap_err();
        assert!(error.contains(words), "{fields}: {error}");
    }
    assert_eq!(rig.probe(&token), alive());
}

#[test]
fn nothing_printed_or_logged_holds_a_token() {
    let mut rig = Rig::new(working());
    let session = rig.login();
    rig.call(rig.broker.ask_approval(), None).unwrap();
    let notice = rig.core.approve(rig.now).unwrap();
    let granted = rig.broker.read_notice(notice.expose().as_bytes()).unwrap();
    let shown = format!("{:?} {} {:?} {session:?}", rig.core, rig.core.log().to_json(), rig.core.tokens);
    let refresh = session.refresh_token.unwrap();
    for secret in [session.access_token.expose(), refresh.expose(), granted.access_token.expose(), "nirantar-secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
