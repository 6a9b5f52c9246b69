//! The broker's codec against the server it will meet: sessions made, renewed, lost and killed.

use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::fyers::{App, Fyers};
use nirantar_brokers::time::{SteppedClock, Timestamp};
use nirantar_brokers::{
    AccessToken, Auth as _, BadRedirect, Body, Call, Cause, Form, HttpRequest, HttpResponse, Lost, Method, Outcome,
    Profile, Refusal, Secret, Session,
};
use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::rest::{Reply, Request, RestCore as _, Transport, answer};

const DEAD: Cause = Cause::Refused(Refusal::Conclusive);

/// A client and a server with nothing but the wire between them.
struct Wire {
    server: FyersExchange,
    client: Fyers,
    now: Timestamp,
}

impl Wire {
    fn new(switches: Switches) -> Self {
        let settings = Settings { switches, ..Settings::default() };
        let client = Fyers::new(
            App::RefreshGrant,
            settings.client_id.clone(),
            Some(settings.secret.clone()),
            Some(settings.pin.clone()),
            "http://127.0.0.1:8000/api/fyers/callback?a=1",
        );
        Self {
            server: FyersExchange::new(settings),
            client: client.with_login_root("http://h"),
            now: at("2026-11-20 08:45:00"),
        }
    }

    fn with_grant(change: impl FnOnce(&mut Switches)) -> Self {
        let mut switches = Switches { grant: Grant::Works, ..Switches::default() };
        change(&mut switches);
        Self::new(switches)
    }

    fn send<T>(&mut self, call: Call<T>, token: Option<&AccessToken>) -> Outcome<T> {
        let Call::Http { request, decode } = call else { panic!("nothing is sent") };
        let living = token.filter(|_| request.authorized).map(|token| self.client.authorization(token));
        let authorization = request.own_authorization.clone().or(living);
        decode(arrived(&answer(&mut self.server, &as_received(&request, authorization), self.now)))
    }

    fn login(&mut self) -> Session {
        self.server.log_in_as("XN00001", self.now)
    }

    fn renew(&mut self, session: &Session) -> Outcome<Session> {
        let call = self.client.renew(session.refresh_token.as_ref().unwrap());
        self.send(call, None)
    }

    fn probe(&mut self, session: &Session) -> Outcome<Profile> {
        let call = self.client.probe();
        self.send(call, Some(&session.access_token))
    }

    fn lives(&mut self, session: &Session) -> bool {
        self.probe(session).map_err(|failure| assert_eq!(failure.cause, DEAD)).is_ok()
    }
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(time).unwrap()
}

fn as_received(request: &HttpRequest, authorization: Option<Secret>) -> Request {
    let body = match &request.body {
        Body::Empty => Secret::new(""),
        Body::Form(form) => Secret::new(form.encode()),
        Body::Json(json) => json.clone(),
    };
    Request { query: request.query.clone(), body, authorization, ..Request::new(request.method, request.path.clone()) }
}

fn arrived(reply: &Reply) -> Result<HttpResponse, Lost> {
    match reply.transport {
        Transport::Normal | Transport::Delay(_) => {
            let content_type = Some(reply.content_type.to_owned());
            Ok(HttpResponse { status: reply.status, content_type, retry_after: None, body: reply.body.clone() })
        }
        Transport::Hang | Transport::Cut | Transport::Reset => Err(Lost::NoReply("nothing came".to_owned())),
    }
}

fn get(url: &str) -> Request {
    let (path, query) = url.strip_prefix("http://h").unwrap_or(url).split_once('?').unwrap();
    Request { query: Form::parse(query.as_bytes()), ..Request::new(Method::Get, path) }
}

/// The address a link of the page leads to.
fn link(page: &Reply, id: &str) -> String {
    let page = String::from_utf8(page.body.clone()).unwrap();
    let (_, link) = page.split_once(&format!("id=\"{id}\" href=\"")).unwrap();
    link.split('"').next().unwrap().replace("&amp;", "&")
}

/// What a browser is sent back with.
fn redirected(reply: &Reply) -> Form {
    let location = reply.header("Location").unwrap();
    Form::parse(location.split_once('?').unwrap().1.as_bytes())
}

#[test]
fn a_login_is_a_page_a_click_a_code_and_a_session() {
    let mut wire = Wire::new(Switches::default());
    let url = wire.client.login_url(Some("st&te")).unwrap();
    let page = wire.server.answer(&get(&url), wire.now);
    assert_eq!((page.status, page.content_type), (200, "text/html; charset=utf-8"));
    let back = redirected(&wire.server.answer(&get(&link(&page, "allow")), wire.now));
    assert_eq!((back.get("a"), back.get("s"), back.get("state")), (Some("1"), Some("ok"), Some("st&te")));

    let code = wire.client.code(&back).unwrap();
    let exchange = |wire: &mut Wire| {
        let call = wire.client.exchange(&code);
        wire.send(call, None)
    };
    let session = exchange(&mut wire).unwrap();
    assert_eq!((session.user_id.as_str(), session.login_time), ("XN00001", Some(wire.now)));
    assert!(session.refresh_token.is_some(), "they are handed out although they buy nothing");
    assert_eq!(wire.probe(&session).unwrap().user_name, "NIRANTAR SANDBOX");
    let again = exchange(&mut wire).unwrap_err();
    assert_eq!((again.cause, again.message.contains("-437")), (Cause::Rejected, true), "a code works once");
    assert!(wire.lives(&session), "and spending it twice costs the session nothing");
    assert_eq!(wire.server.server_log().sessions()[0].how, How::Login);
}

#[test]
fn a_cancelled_login_brings_no_code() {
    let mut wire = Wire::new(Switches::default());
    let url = wire.client.login_url(None).unwrap();
    let page = wire.server.answer(&get(&url), wire.now);
    let back = redirected(&wire.server.answer(&get(&link(&page, "cancel")), wire.now));
    let said = Some("the login was cancelled".to_owned());
    assert_eq!(wire.client.code(&back), Err(BadRedirect::Refused { said }));
}

#[test]
fn a_login_is_for_this_app_and_its_registered_address_only() {
    let registered = Some("http://127.0.0.1:1/".to_owned());
    let mut server = FyersExchange::new(Settings { redirect_uri: registered, ..Settings::default() });
    let mut ask = |client: &str, uri: &str| {
        let query = format!("client_id={client}&redirect_uri={uri}&response_type=code");
        server.answer(&get(&format!("/api/v3/generate-authcode?{query}")), at("2026-11-20 08:45:00")).status
    };
    assert_eq!(ask("NIRANTAR01-100", "http://127.0.0.1:1/"), 200);
    assert_eq!(ask("NIRANTAR01-100", "http://127.0.0.1:2/"), 400);
    assert_eq!(ask("OTHERAPP01-100", "http://127.0.0.1:1/"), 400);
}

#[test]
fn a_wrong_secret_spends_no_code() {
    let mut wire = Wire::new(Switches::default());
    let code = wire.server.tokens.approve("XN00001", wire.now);
    let wrong = Fyers::new(App::DailyLogin, "NIRANTAR01-100", Some(Secret::new("other")), None, "http://h/");
    assert!(wire.send(wrong.exchange(&code), None).is_err());
    let call = wire.client.exchange(&code);
    assert!(wire.send(call, None).is_ok());
}

#[test]
fn a_token_dies_at_six_as_it_says_itself() {
    let mut wire = Wire::new(Switches::default());
    let session = wire.login();
    let says = wire.client.life(session.access_token.secret()).expires_at;
    assert_eq!((says, session.expires_at), (Some(at("2026-11-21 06:00:00")), says));
    wire.now = at("2026-11-21 05:59:59");
    assert!(wire.lives(&session));
    wire.now = at("2026-11-21 06:00:00");
    assert!(!wire.lives(&session));
    let next = wire.login();
    assert_eq!(next.expires_at, Some(at("2026-11-22 06:00:00")));
}

#[test]
fn a_token_lives_for_twelve_hours_where_the_guides_world_is_asked_for() {
    let mut wire = Wire::with_grant(|switches| switches.token_end = TokenEnd::After(Duration::from_secs(12 * 3_600)));
    let session = wire.login();
    assert_eq!(session.expires_at, Some(at("2026-11-20 20:45:00")));
    wire.now = at("2026-11-20 20:45:00");
    assert!(!wire.lives(&session));
    let renewed = wire.renew(&session).unwrap();
    assert!(wire.lives(&renewed), "a refresh token outlives its access token");
}

#[test]
fn a_renewal_kills_or_keeps_the_token_before_it_and_its_refresh_token_stays_good() {
    for (renewal, old_lives) in [(NewToken::Kills, false), (NewToken::Keeps, true)] {
        let mut wire = Wire::with_grant(|switches| switches.renewal = renewal);
        let old = wire.login();
        let renewed = wire.renew(&old).unwrap();
        assert_eq!(renewed.refresh_token, None, "none is documented to come");
        assert_eq!((wire.lives(&old), wire.lives(&renewed)), (old_lives, true));
        assert!(wire.renew(&old).is_ok(), "the old refresh token is still good");
    }
}

#[test]
fn a_rotating_grant_takes_each_refresh_token_once() {
    let mut wire = Wire::with_grant(|switches| switches.rotates = true);
    let first = wire.login();
    let second = wire.renew(&first).unwrap();
    assert!(second.refresh_token.is_some());
    assert_eq!(wire.renew(&first).unwrap_err().cause, Cause::Rejected);
    assert!(wire.renew(&second).is_ok());
}

#[test]
fn a_withdrawn_grant_refuses_and_leaves_the_living_token_alone() {
    let mut wire = Wire::new(Switches::default());
    let session = wire.login();
    let refused = wire.renew(&session).unwrap_err();
    assert_eq!((refused.cause, refused.message.contains("-501")), (Cause::Rejected, true));
    assert!(wire.lives(&session));
    wire.server.switches_mut().grant = Grant::Works;
    assert!(wire.renew(&session).is_ok(), "the refresh token was only waiting");
}

#[test]
fn a_renewal_needs_the_right_pin_where_the_switch_says_so() {
    let mut wire = Wire::with_grant(|_| ());
    let session = wire.login();
    let (secret, pin) = (Some(Secret::new("nirantar-secret")), Some(Secret::new("9999")));
    let guessing = Fyers::new(App::RefreshGrant, "NIRANTAR01-100", secret, pin, "http://h/");
    let renew = || guessing.renew(session.refresh_token.as_ref().unwrap());
    let refused = wire.send(renew(), None).unwrap_err();
    assert_eq!((refused.cause, refused.message.contains("pin")), (Cause::Rejected, true));
    wire.server.switches_mut().needs_pin = false;
    assert!(wire.send(renew(), None).is_ok());
}

#[test]
fn a_refresh_token_dies_after_its_days_at_six() {
    for (days, last) in [(15, "2026-12-05"), (30, "2026-12-20")] {
        let mut wire = Wire::with_grant(|switches| switches.refresh_days = days);
        let session = wire.login();
        let death = at(&format!("{last} 06:00:00"));
        assert_eq!(wire.client.life(session.refresh_token.as_ref().unwrap()).expires_at, Some(death));
        wire.now = death - Duration::from_secs(1);
        assert!(wire.renew(&session).is_ok());
        wire.now = death;
        assert_eq!(wire.renew(&session).unwrap_err().cause, Cause::Rejected);
    }
}

#[test]
fn a_lost_reply_leaves_the_client_not_knowing_what_the_server_did() {
    let mut wire = Wire::with_grant(|switches| switches.rotates = true);
    let session = wire.login();
    wire.server.faults.set(FaultRule::times(Route::Renew, Fault::LostReply, 1));
    assert_eq!(wire.renew(&session).unwrap_err().cause, Cause::Unknown);
    assert!(!wire.lives(&session), "the renewal happened");
    assert_eq!(wire.renew(&session).unwrap_err().cause, Cause::Rejected, "and spent the refresh token");
    let log = wire.server.server_log();
    assert_eq!((log.requests(Route::Renew), log.count(Route::Renew, Done::AnswerLost)), (2, 1));
    assert_eq!(log.count(Route::Renew, Done::Refused), 1);
    assert_eq!(log.sessions().last().unwrap().how, How::Renewal);
}

#[test]
fn a_grant_in_its_decline_hands_out_a_token_that_only_looks_alive() {
    let mut wire = Wire::with_grant(|switches| {
        switches.dead_token = true;
        switches.renewal = NewToken::Keeps;
    });
    let session = wire.login();
    let renewed = wire.renew(&session).unwrap();
    assert!(wire.client.life(renewed.access_token.secret()).expires_at > Some(wire.now));
    assert_eq!((wire.lives(&renewed), wire.lives(&session)), (false, true));
}

#[test]
fn tokens_die_by_logout_by_control_and_by_a_new_login_of_the_same_user() {
    let mut wire = Wire::new(Switches::default());
    let first = wire.login();
    let stranger = wire.server.log_in_as("XZ99999", wire.now);
    assert!(wire.lives(&first), "somebody else's login is none of ours");
    assert_eq!(wire.probe(&stranger).unwrap().user_id, "XZ99999");
    let second = wire.login();
    assert_eq!((wire.lives(&first), wire.lives(&second), wire.lives(&stranger)), (false, true, true));
    let log_out = |wire: &mut Wire| {
        let call = wire.client.invalidate(&second.access_token);
        wire.send(call, None)
    };
    assert_eq!(log_out(&mut wire), Ok(()));
    assert!(!wire.lives(&second));
    assert_eq!(log_out(&mut wire).unwrap_err().cause, Cause::Rejected, "it was dead already");
    assert_eq!(wire.server.tokens.kill_access(wire.now), 1, "the stranger's was left");
    assert!(!wire.lives(&stranger));
}

#[test]
fn faults_answer_in_the_brokers_envelope_or_as_a_gateways_page() {
    let mut wire = Wire::new(Switches::default());
    let session = wire.login();
    for (fault, cause) in [
        ("profile=401:-16@1", DEAD),
        ("profile=200:-8@1", DEAD),
        ("profile=403:-373@1", Cause::Misconfigured),
        ("profile=429:-429@1", Cause::Throttled { retry_after: None }),
        ("all=503@1", Cause::Unknown),
        ("profile=403@1", Cause::Refused(Refusal::Suspect)),
        ("profile=hang@1", Cause::Unknown),
        ("profile=lost-reply@1", Cause::Unknown),
    ] {
        wire.server.faults.set(fault.parse().unwrap());
        assert_eq!(wire.probe(&session).unwrap_err().cause, cause, "{fault}");
        assert!(wire.lives(&session), "{fault} is over");
    }
    assert_eq!(wire.server.server_log().count(Route::Profile, Done::Faulted), 7);
}

#[test]
fn funds_are_numbers_and_for_a_living_token_only() {
    let mut wire = Wire::new(Switches::default());
    let session = wire.login();
    let mut ask = |authorization| {
        let request = Request { authorization, ..Request::new(Method::Get, "/api/v3/funds") };
        let reply = wire.server.answer(&request, wire.now);
        (reply.status, serde_json::from_slice::<Value>(&reply.body).unwrap())
    };
    let (status, body) = ask(Some(wire.client.authorization(&session.access_token)));
    assert_eq!((status, body["fund_limit"][9]["equityAmount"].as_f64()), (200, Some(1_000_000.0)));
    for bad in [None, Some("Bearer x"), Some(""), Some("NIRANTAR01-100:"), Some(session.access_token.expose())] {
        let (status, body) = ask(bad.map(Secret::new));
        assert_eq!((status, &body["code"]), (401, &Value::from(-16)), "{bad:?}");
    }
}

#[test]
fn control_throws_every_switch_and_one_bad_field_throws_none() {
    let mut wire = Wire::new(Switches::default());
    let mut control = |form: &str| {
        let request = Request { body: Secret::new(form), ..Request::new(Method::Post, "/nirantar/control") };
        let reply = answer(&mut wire.server, &request, wire.now);
        (reply.status, serde_json::from_slice::<Value>(&reply.body).unwrap())
    };
    let all = "grant=works&needs-pin=0&renewal=keeps&new-login=keeps&rotate=1&dead-token=1&refresh-days=30\
               &token-end=43200s&fault=renew=503@2&login=1";
    let (status, body) = control(all);
    assert_eq!((status, &body["faults"][0], &body["killed"]), (200, &Value::from("renew=503@2"), &Value::from(0)));
    assert_eq!(body["switches"]["token-end"], "43200s");
    assert!(body["session"]["access_token"].is_string());
    for bad in ["grants=works", "grant=work", "rotate=yes", "refresh-days=-1", "clear=renews", "fault=renew", "login=2"]
    {
        let (status, body) = control(&format!("{bad}&kill-token=1"));
        assert!(status == 400 && body["error"].is_string(), "{bad}: {body}");
    }
    assert_eq!(control("").0, 400, "nothing was asked for");
    let (_, body) = control("clear=all&kill-token=1&kill-refresh=1&login=1&user=XZ99999");
    assert_eq!([&body["killed"], &body["killed-refresh"]], [1, 1], "no bad request had killed any");
    assert_eq!(body["faults"], serde_json::json!([]));
    let expected = Switches {
        grant: Grant::Works,
        needs_pin: false,
        renewal: NewToken::Keeps,
        new_login: NewToken::Keeps,
        rotates: true,
        dead_token: true,
        refresh_days: 30,
        token_end: TokenEnd::After(Duration::from_secs(43_200)),
    };
    assert_eq!(*wire.server.switches(), expected);
}

#[test]
fn the_server_prints_no_token() {
    let mut wire = Wire::with_grant(|_| ());
    let session = wire.login();
    wire.renew(&session).unwrap();
    let shown = format!("{:?} {}", wire.server, wire.server.log());
    for secret in [session.access_token.expose(), session.refresh_token.as_ref().unwrap().expose(), "nirantar-secret"] {
        assert!(!shown.contains(secret));
    }
    assert!(!shown.contains("eyJ"), "no JWT at all");
}

#[tokio::test]
async fn over_loopback_a_login_is_probed_a_reply_is_lost_and_the_date_is_the_given_clocks() {
    let clock = Arc::new(SteppedClock::starting_at(at("2026-11-20 08:45:00")));
    let server = FyersServer::start("127.0.0.1:0".parse().unwrap(), Settings::default(), clock).await.unwrap();
    let control = server.control();
    let session = control.login();
    let ask = async |head: String, body: &str| {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let length = body.len();
        let request = format!("{head} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n");
        let token = session.access_token.expose();
        let request = format!("{request}Authorization: NIRANTAR01-100:{token}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A cut connection may end as an error: what counts is what came before it.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    let profile = ask("GET /api/v3/profile".to_owned(), "").await;
    assert!(profile.starts_with("HTTP/1.1 200") && profile.contains("XN00001"), "{profile}");
    assert!(profile.to_lowercase().contains("date: fri, 20 nov 2026 03:15:00 gmt"), "{profile}");
    let switched = ask("POST /nirantar/control".to_owned(), "grant=works&fault=logout=lost-reply@1").await;
    assert!(switched.starts_with("HTTP/1.1 200"), "{switched}");
    assert_eq!(control.switches().grant, Grant::Works);
    assert_eq!(ask("POST /api/v3/logout".to_owned(), "null").await, "");
    assert!(ask("GET /api/v3/profile".to_owned(), "").await.starts_with("HTTP/1.1 401"), "it was acted on");
    assert_eq!(control.with_log(|log| log.count(Route::Logout, Done::AnswerLost)), 1);
    server.shutdown().await;
}

fn request() -> impl Strategy<Value = Request> {
    let path = prop_oneof![
        prop::sample::select(vec![
            "generate-authcode",
            "validate-authcode",
            "validate-refresh-token",
            "profile",
            "funds",
            "logout"
        ])
        .prop_map(|name| format!("/api/v3/{name}")),
        Just("/nirantar/control".to_owned()),
        ".{0,20}",
    ];
    let text = prop_oneof![
        ".{0,40}",
        r#"\{"grant_type":"(authorization_code|refresh_token)","appIdHash":(".{0,8}"|7|null)\}"#,
        "(client_id|grant|fault|login|token-end|refresh-days|redirect_uri|response_type|answer)=[a-zA-Z0-9:/@-]{0,16}(&[a-z-]{1,12}=[0-9a-z:]{0,9}){0,3}",
    ];
    let method = prop::sample::select(vec![Method::Get, Method::Post, Method::Put, Method::Delete]);
    (method, path, text.clone(), text, prop::option::of(".{0,20}"), any::<bool>()).prop_map(
        |(method, path, query, body, authorization, local)| Request {
            method,
            path,
            query: Form::parse(query.as_bytes()),
            body: Secret::new(body),
            authorization: authorization.map(Secret::new),
            local,
        },
    )
}

proptest! {
    #[test]
    fn any_request_at_any_time_has_an_answer_and_nobody_comes_in_without_a_token(
        requests in prop::collection::vec((request(), any::<i64>()), 1..12),
    ) {
        let mut server = FyersExchange::new(Settings::default());
        for (request, nanos) in requests {
            let reply = answer(&mut server, &request, Timestamp::from_nanos(nanos));
            let private = request.path.starts_with("/api/v3/") && !request.path.ends_with("/generate-authcode");
            prop_assert!(!private || reply.status >= 400, "{request:?} {reply:?}");
        }
    }

    #[test]
    fn a_token_found_dead_never_lives_again(steps in prop::collection::vec((0..8_u8, 0..90_000_u64), 1..40), rotates: bool, keeps: bool) {
        let mut wire = Wire::with_grant(|switches| {
            switches.rotates = rotates;
            switches.renewal = if keeps { NewToken::Keeps } else { NewToken::Kills };
        });
        let mut sessions = vec![wire.login()];
        let mut dead = Vec::new();
        for (step, seconds) in steps {
            match step {
                0 => sessions.push(wire.login()),
                1 | 2 => {
                    let from = sessions.iter().rfind(|session| session.refresh_token.is_some()).unwrap().clone();
                    sessions.extend(wire.renew(&from));
                }
                3 => wire.server.switches_mut().grant = Grant::Withdrawn,
                4 => wire.server.switches_mut().grant = Grant::Works,
                5 => wire.server.faults.set(FaultRule::times(Route::Renew, Fault::LostReply, 1)),
                6 => drop(wire.server.tokens.kill_access(wire.now)),
                _ => wire.now = wire.now + Duration::from_secs(seconds),
            }
            for (index, session) in sessions.iter().enumerate() {
                let lives = wire.lives(session);
                prop_assert!(!(lives && dead.contains(&index)), "token {index} of {}", sessions.len());
                if !lives && !dead.contains(&index) {
                    dead.push(index);
                }
            }
        }
    }
}
