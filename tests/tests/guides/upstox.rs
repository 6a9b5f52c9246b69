//! The Upstox guide: a token manager that looks every five minutes, with its tokens in JSON and Streamlit's secrets; and
//! what is left of it since April 2026.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nirantar::core::Event;
use nirantar::engine::ReadError;
use nirantar::session::{NotTaken, Notice, Operator, State};
use nirantar_brokers::time::{SteppedClock, Timestamp};
use nirantar_brokers::upstox::errors::{self, Answer, Said};
use nirantar_brokers::upstox::wire;
use nirantar_brokers::{
    Block, Call, Cause, Endpoint, Failure, Fingerprint, HttpRequest, Method, Refusal, Session, Venue,
};
use nirantar_exchange_mock::upstox::{Grant, NewLogin, Route, ServerLog, Settings, UpstoxServer};
use serde_json::{Value, json};

use super::harness::{Desk, World, at};

const JSON: &str = "data/upstox_tokens.json";
const TOML: &str = ".streamlit/secrets.toml";
/// The notifier's path, as its owner made it.
const NOTIFIER: &str = "kqzvw3hf7cx20d5m";
/// What a human clicks on the broker's page.
const ALLOW: &str = "decision=approve";
const TWO_HOURS: Duration = Duration::from_secs(2 * 3600);

/// The broker on a stepped clock, and the user's desk; nothing runs yet.
struct Start {
    clock: SteppedClock,
    broker: UpstoxServer,
    desk: Desk,
}

/// The world of the guide: a refresh token buys the next token, and tokens live two hours.
async fn of_the_guide(time: &str) -> Start {
    let mut start =
        start(time, Settings { grant: Grant::Works, token_ttl: Some(TWO_HOURS), ..Settings::default() }).await;
    start.desk.say("refresh = \"withdrawn\"", "refresh = \"works\"");
    start
}

/// The world of 2026, with the notifier registered and the approval asked for by ourselves.
async fn of_2026(time: &str) -> Start {
    let mut start = start(time, Settings::default()).await;
    let notifier = start.desk.url(&format!("/api/auth/notify/{NOTIFIER}"));
    start.broker.control().notifier(Some(notifier.parse().unwrap()));
    start.desk.variable("NIRANTAR_NOTIFIER_PATH", NOTIFIER);
    start.desk.say("#approval = true", "approval = true");
    start
}

async fn start(time: &str, settings: Settings) -> Start {
    let clock = SteppedClock::starting_at(at(time));
    let mut desk = Desk::init("upstox");
    let settings = Settings { redirect_url: desk.url("/api/upstox/callback"), ..settings };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let broker = UpstoxServer::start(anywhere, settings, Arc::new(clock.clone())).await.unwrap();
    desk.at_broker(broker.addr());
    for (name, value) in [("API_KEY", "nirantar"), ("API_SECRET", "nirantar-secret"), ("USER_ID", "NR0001")] {
        desk.variable(&format!("UPSTOX_{name}"), value);
    }
    Start { clock, broker, desk }
}

/// The guide's token file, between keys of its own program.
fn tokens(access: &str, refresh: &str, expires_at: &str) -> String {
    format!(
        "{{\n  \"client\": \"token manager\",\n  \"access_token\": \"{access}\",\n  \"refresh_token\": \"{refresh}\",\n  \
         \"expires_at\": \"{expires_at}\",\n  \"fetches\": 1.50\n}}\n"
    )
}

fn tokens_of(session: &Session) -> String {
    let refresh = session.refresh_token.as_ref().map(|refresh| refresh.expose()).unwrap_or_default();
    tokens(session.access_token.expose(), refresh, &session.expires_at.unwrap().to_string())
}

/// Streamlit's secrets, of which one table is ours.
fn secrets(access: &str) -> String {
    format!(
        "# for the dashboard\ntheme = \"dark\"\n\n[upstox]\naccess_token = \"{access}\" # pasted\n\n[mail]\nto = 'me'\n"
    )
}

fn value(text: &str, key: &str) -> String {
    let document: Value = serde_json::from_str(text).unwrap();
    document[key].as_str().unwrap_or_default().to_owned()
}

/// The JSON without our values: what must not change by a byte.
fn others(text: &str) -> String {
    let ours = ["access_token", "refresh_token", "expires_at"].map(|key| value(text, key));
    ours.iter().filter(|value| !value.is_empty()).fold(text.to_owned(), |text, ours| text.replace(ours.as_str(), ""))
}

/// Whether the broker accepts a token, asked without the engine.
async fn lives(world: &World, broker: &UpstoxServer, token: &str) -> bool {
    let url = format!("http://{}/v2/user/profile", broker.addr());
    world.ask(|client| client.get(url).bearer_auth(token)).await.0 == 200
}

/// The token in the JSON is in use, the broker accepts it, and orders go there.
async fn assert_stored_in_use(world: &World, broker: &UpstoxServer) {
    world.assert_trading();
    let stored = value(&world.read(JSON), "access_token");
    assert_eq!(world.token(), Some(Fingerprint::of(&stored)), "{world}");
    assert!(lives(world, broker, &stored).await, "{world}");
}

fn log<T>(broker: &UpstoxServer, look: impl FnOnce(&ServerLog) -> T) -> T {
    broker.control().with_log(look)
}

fn renewals_at(broker: &UpstoxServer) -> Vec<Timestamp> {
    log(broker, |log| log.renewals_at.clone())
}

/// A read as the user's own program makes it: the broker's answer as it came.
async fn read(world: &mut World, endpoint: Endpoint, path: &'static str) -> Result<Value, ReadError> {
    let call = move |_| {
        let request = HttpRequest { authorized: true, ..HttpRequest::new(endpoint, Method::Get, path) };
        Call::http(request, move |answer| {
            let response = answer.map_err(|lost| Failure::new(Cause::Unknown, endpoint, lost.to_string()))?;
            let Some(refused) = wire::refused(&response.body) else {
                return Ok(serde_json::from_slice(&response.body).unwrap());
            };
            let answer = Answer { status: response.status, said: Said::Code(&refused.code), retry_after: None };
            Err(Failure::new(errors::cause(endpoint, &answer), endpoint, refused.message))
        })
    };
    let engine = Arc::clone(&world.engine);
    world.while_passing(engine.read(call)).await
}

const FUNDS: (Endpoint, &str) = (Endpoint::Margins, "/v2/user/get-funds-and-margin");
const BOOK: (Endpoint, &str) = (Endpoint::OrderBook, "/v2/order/retrieve-all");

/// A running engine of the guide's world, with a session of that morning in its JSON.
async fn trading_by_the_guide(time: &str) -> (World, UpstoxServer) {
    let Start { clock, broker, desk } = of_the_guide(time).await;
    desk.write(JSON, &tokens_of(&broker.control().login()));
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_stored_in_use(&world, &broker).await;
    (world, broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_renews_five_minutes_before_the_end_at_a_look_every_five_minutes() {
    let (mut world, broker) = trading_by_the_guide("2026-11-20 08:12:30").await;
    let before = world.read(JSON);
    let (mut due, mut generation, mut token) = (Vec::new(), world.generation(), value(&before, "access_token"));
    // The first token dies at 10:12:30: the first look within five minutes of that is at 10:10.
    for (renewed, dies) in [
        ("2026-11-20 10:10:00", "2026-11-20 12:10:00"),
        ("2026-11-20 12:05:00", "2026-11-20 14:05:00"),
        ("2026-11-20 14:00:00", "2026-11-20 16:00:00"),
    ] {
        world.pass_until(at(renewed) - Duration::from_secs(1)).await;
        assert_eq!(renewals_at(&broker), due, "{world}");
        world.pass_until(at(renewed) + Duration::from_secs(30)).await;
        due.push(at(renewed));
        generation += 1;
        assert_eq!((renewals_at(&broker), world.generation()), (due.clone(), generation), "{world}");
        assert_stored_in_use(&world, &broker).await;
        let text = world.read(JSON);
        assert_eq!((value(&text, "expires_at"), others(&text)), (dies.to_owned(), others(&before)));
        assert!(!lives(&world, &broker, &token).await, "the one before was replaced");
        token = value(&text, "access_token");
    }
    // From then on the looks cost nothing, to the end of the day, through the weekend, to the hour people get up.
    let requests = log(&broker, |log| log.requests.clone());
    world.pass_until(at("2026-11-20 15:59:00")).await;
    world.assert_trading();
    world.pass_until(at("2026-11-20 16:01:00")).await;
    assert_eq!((world.state(), world.venue()), (State::Fallback, Venue::Paper), "nobody needs one in the evening");
    world.pass_until(at("2026-11-23 07:44:59")).await;
    assert_eq!(log(&broker, |log| log.requests.clone()), requests, "{world}");
    world.pass_until(at("2026-11-23 07:46:00")).await;
    due.push(at("2026-11-23 07:45:00"));
    assert_eq!(renewals_at(&broker), due);
    assert_stored_in_use(&world, &broker).await;
    assert_eq!(log(&broker, |log| (log.renewals.granted, log.renewals.refused)), (4, 0));
    world.assert_quiet(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_a_token_found_dead_in_mid_session_is_renewed_and_the_read_repeated_once() {
    let (mut world, broker) = trading_by_the_guide("2026-11-20 10:30:00").await;
    let (generation, mark) = (world.generation(), world.mark().await);
    let before = log(&broker, |log| (log.probes, log.requests_of(Route::Funds)));
    assert_eq!(before.1, 0);
    assert_eq!(broker.control().kill_tokens(), 1);
    let funds = read(&mut world, FUNDS.0, FUNDS.1).await.unwrap();
    assert_eq!(funds["status"], "success");
    assert!(world.notices(mark).contains(&Notice::Suspect { endpoint: FUNDS.0 }), "UDAPI100050 alone proves nothing");
    log(&broker, |log| {
        assert_eq!(log.requests_of(Route::Funds), 2, "refused, and once more");
        assert_eq!(log.probes.refused, before.0.refused + 1, "the probe found it dead");
        assert_eq!((log.renewals.granted, log.renewals.refused), (1, 0));
    });
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(world.generation(), generation + 1, "{world}");
    assert_stored_in_use(&world, &broker).await;
    world.assert_quiet(mark);
    assert_eq!(read(&mut world, FUNDS.0, FUNDS.1).await.unwrap()["status"], "success");
    assert_eq!(log(&broker, |log| (log.requests_of(Route::Funds), log.renewals.granted)), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_the_udapi100050_of_a_good_token_blocks_orders_tells_the_human_and_renews_nothing() {
    let (mut world, broker) = trading_by_the_guide("2026-11-20 10:30:00").await;
    let (token, mark) = (world.token(), world.mark().await);
    broker.control().fault("orders=401:UDAPI100050".parse().unwrap());
    let refused = read(&mut world, BOOK.0, BOOK.1).await.unwrap_err();
    let ReadError::Broker(failure) = refused else { panic!("{refused}") };
    assert_eq!(failure.cause, Cause::Refused(Refusal::Suspect));
    world.pass(Duration::from_secs(60)).await;
    assert_eq!((world.state(), world.venue()), (State::Valid, Venue::Blocked(Block::Misconfigured)), "{world}");
    assert_eq!(world.token(), token, "the token is good and stays");
    let words: String = world.notices(mark).iter().map(ToString::to_string).collect();
    assert!(words.contains("the token is good but the broker refuses") && words.contains("static IP"), "{words}");
    // Reads that are not refused go on under it.
    assert_eq!(read(&mut world, FUNDS.0, FUNDS.1).await.unwrap()["status"], "success");
    log(&broker, |log| {
        assert_eq!(log.requests_of(Route::Book), 1, "what was refused is not repeated");
        assert_eq!((log.renewals.granted, log.renewals.refused, log.exchanges.granted), (0, 0, 0));
    });
    world.assert_quiet(mark);
    // The human has looked, and says so.
    assert!(broker.control().clear("orders"));
    world.engine.operator(Operator::Resume).await.unwrap();
    world.pass(Duration::from_secs(30)).await;
    assert_stored_in_use(&world, &broker).await;
    assert_eq!(renewals_at(&broker), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_an_expiry_set_to_the_past_in_the_file_is_followed_by_a_renewal() {
    let (mut world, broker) = trading_by_the_guide("2026-11-20 10:30:00").await;
    world.pass_until(at("2026-11-20 11:00:00")).await;
    let (text, generation) = (world.read(JSON), world.generation());
    let (access, refresh) = (value(&text, "access_token"), value(&text, "refresh_token"));
    world.write(JSON, &tokens(&access, &refresh, "2026-11-20 09:00:00")).await;
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(renewals_at(&broker), [at("2026-11-20 11:00:00")], "{world}");
    assert_eq!(world.generation(), generation + 1);
    assert_stored_in_use(&world, &broker).await;
    let text = world.read(JSON);
    assert_eq!(value(&text, "expires_at"), "2026-11-20 13:00:00");
    assert_eq!(others(&text), others(&tokens_of(&broker.control().login())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_reads_its_json_then_streamlits_secrets_and_takes_a_later_edit_of_either() {
    let Start { clock, broker, desk } = of_the_guide("2026-11-20 09:30:00").await;
    broker.control().new_login(NewLogin::Keeps);
    let [first, second, third, fourth] = std::array::from_fn(|_| broker.control().login());
    let token = |session: &Session| Some(session.access_token.fingerprint());
    // The JSON has no token: the other file's is used, and that file is not ours to write.
    desk.write(JSON, &tokens("", "", ""));
    desk.write(TOML, &secrets(first.access_token.expose()));
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    world.assert_trading();
    assert_eq!(world.token(), token(&first), "{world}");
    // A dashboard puts a newer one there, then the token manager writes its own, then the dashboard again.
    for (file, text, session) in [
        (TOML, secrets(second.access_token.expose()), &second),
        (JSON, tokens_of(&third), &third),
        (TOML, secrets(fourth.access_token.expose()), &fourth),
    ] {
        world.write(file, &text).await;
        world.pass(Duration::from_secs(30)).await;
        world.assert_trading();
        assert_eq!(world.token(), token(session), "{file}: {world}");
    }
    assert_eq!(world.read(TOML), secrets(fourth.access_token.expose()));
    assert_eq!(log(&broker, |log| (log.probes.refused, log.renewals.granted)), (0, 0));
    world.assert_quiet(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_a_refresh_token_that_stands_in_streamlits_secrets_alone_renews_into_the_json() {
    let Start { clock, broker, desk } = of_the_guide("2026-11-20 10:00:00").await;
    let session = broker.control().login();
    let refresh = session.refresh_token.as_ref().unwrap().expose();
    let text = secrets(session.access_token.expose()).replace("# pasted", &format!("\nrefresh_token = \"{refresh}\""));
    desk.write(TOML, &text);
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.token(), Some(session.access_token.fingerprint()), "{world}");
    assert!(!world.has(JSON), "a token that is good is left where it is");
    world.pass_until(at("2026-11-20 11:56:00")).await;
    assert_eq!(renewals_at(&broker), [at("2026-11-20 11:55:00")], "{world}");
    assert_stored_in_use(&world, &broker).await;
    // From now on the JSON goes first, with the refresh token that came with it.
    world.pass_until(at("2026-11-20 13:51:00")).await;
    assert_eq!(renewals_at(&broker), ["2026-11-20 11:55:00", "2026-11-20 13:50:00"].map(at), "{world}");
    assert_stored_in_use(&world, &broker).await;
    assert_eq!(world.read(TOML), text, "that file is not ours to write");
    world.assert_quiet(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_where_both_files_have_a_token_the_json_goes_first() {
    let Start { clock, broker, desk } = of_the_guide("2026-11-20 09:30:00").await;
    broker.control().new_login(NewLogin::Keeps);
    let [older, newer] = std::array::from_fn(|_| broker.control().login());
    desk.write(JSON, &tokens_of(&older));
    desk.write(TOML, &secrets(newer.access_token.expose()));
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_stored_in_use(&world, &broker).await;
    assert_eq!(world.token(), Some(older.access_token.fingerprint()));
    assert_eq!(log(&broker, |log| log.requests_of(Route::Profile)), 2, "one of ours, one of this test's");
}

/// A running engine of 2026, with the token of a login by hand in its JSON.
async fn trading_in_2026(time: &str) -> (World, UpstoxServer) {
    let Start { clock, broker, desk } = of_2026(time).await;
    desk.write(JSON, &tokens_of(&broker.control().login()));
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_stored_in_use(&world, &broker).await;
    (world, broker)
}

/// From wherever the story stands through the death of the token, and in silence to one second before people get up.
async fn sleep_until_the_morning_of(world: &mut World, broker: &UpstoxServer, died: &str, morning: &str) {
    let mark = world.mark().await;
    world.pass_until(at(&format!("{died} 03:29:59"))).await;
    world.assert_trading();
    let requests = log(broker, |log| log.requests.clone());
    world.pass_until(at(&format!("{died} 03:30:01"))).await;
    assert_eq!((world.state(), world.venue(), world.token()), (State::Fallback, Venue::Paper, None), "{world}");
    world.pass_until(at(&format!("{morning} 07:44:59"))).await;
    world.assert_quiet(mark);
    assert_eq!(log(broker, |log| log.requests.clone()), requests, "nothing is asked at night");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_2026_dies_at_half_past_three_in_silence_and_a_yes_on_the_phone_mends_it() {
    let (mut world, broker) = trading_in_2026("2026-11-19 10:00:00").await;
    let before = world.read(JSON);
    // A night, and a weekend.
    for (count, (died, morning)) in [(1, ("2026-11-20", "2026-11-20")), (2, ("2026-11-21", "2026-11-23"))] {
        sleep_until_the_morning_of(&mut world, &broker, died, morning).await;
        assert_eq!(log(&broker, |log| log.approvals_asked.granted), count - 1);
        let asked = world.wait_for("the phone to be asked", |event| matches!(event, Event::ApprovalAsked { .. })).await;
        assert_eq!(asked.at(), at(&format!("{morning} 07:45:00")), "{world}");
        world.pass(Duration::from_secs(300)).await;
        assert_eq!(log(&broker, |log| log.approvals_asked.granted), count, "asked once");
        assert_eq!(world.state(), State::Fallback);
        // The yes reaches the notifier over HTTP.
        let generation = world.generation();
        world.mark().await;
        broker.control().approve().unwrap();
        world.sees().await;
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(world.generation(), generation + 1, "{world}");
        assert_stored_in_use(&world, &broker).await;
        assert_eq!(others(&world.read(JSON)), others(&before));
        assert_eq!(log(&broker, |log| (log.approvals.granted, log.notices.granted)), (count, count));
    }
    assert_eq!(renewals_at(&broker), [], "the grant is gone and not even tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_2026_a_login_in_the_browser_mends_it_too() {
    // Nothing but the keys: the files and their folders are still to be made.
    let Start { clock, broker, desk } = of_2026("2026-11-22 12:00:00").await;
    let mut world = desk.run(&clock).await;
    world.pass_until(at("2026-11-23 07:44:59")).await;
    world.assert_quiet(0);
    assert!(!world.has(JSON));
    let asked = world.wait_for("a login to be asked for", |event| matches!(event, Event::LoginNeeded { .. })).await;
    assert_eq!(asked.at(), at("2026-11-23 07:45:00"));
    let Event::LoginNeeded { link: Some(link), .. } = asked else { panic!("{asked:?}") };
    let back = world.log_in_at_broker(&link, ALLOW).await;
    let page = world.come_back(&back).await;
    assert!(page.contains("Connected") && page.contains("orders go to the broker"), "{page}");
    assert_stored_in_use(&world, &broker).await;
    assert_eq!(log(&broker, |log| (log.exchanges.granted, log.exchanges.refused)), (1, 0));
    let day = world.mark().await;
    world.pass_until(at("2026-11-23 23:59:00")).await;
    assert_stored_in_use(&world, &broker).await;
    world.assert_quiet(day);
    assert_eq!(renewals_at(&broker), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_2026_a_read_only_token_in_the_file_is_refused_by_the_probe() {
    let Start { clock, broker, desk } = of_2026("2026-11-20 09:00:00").await;
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.state(), State::Fallback);
    // The broker's answer to a login holds both, and they look alike.
    let url = format!("http://{}/nirantar/control", broker.addr());
    let (status, _, answer) = world.ask(|client| client.post(url).body("login=1")).await;
    assert_eq!(status, 200, "{answer}");
    let session: Value = serde_json::from_str::<Value>(&answer).unwrap()["session"].take();
    let [full, read_only] = ["access_token", "extended_token"].map(|key| session[key].as_str().unwrap().to_owned());
    let mistaken = tokens(&read_only, "", "2027-11-20 09:00:00");
    let refused = Notice::NotTaken {
        fingerprint: Fingerprint::of(&read_only),
        source: nirantar::session::Source::Store,
        why: NotTaken::Refused,
    };

    let mark = world.mark().await;
    world.write(JSON, &mistaken).await;
    world.pass(Duration::from_secs(30)).await;
    assert_eq!((world.state(), world.token()), (State::Fallback, None), "{world}");
    assert_eq!(world.notices(mark), std::slice::from_ref(&refused), "{world}");

    world.write(JSON, &tokens(&full, "", "2026-11-21 03:30:00")).await;
    world.pass(Duration::from_secs(30)).await;
    assert_stored_in_use(&world, &broker).await;

    // Nor does it put the good one out of use.
    let before = world.generation();
    world.write(TOML, &secrets(&read_only)).await;
    world.pass(Duration::from_secs(60)).await;
    assert_stored_in_use(&world, &broker).await;
    assert_eq!(world.generation(), before);
    world.assert_quiet(mark);
    assert_eq!(log(&broker, |log| log.probes.refused), 1, "what was refused once is not asked about again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_upstox_2026_a_strangers_notice_changes_nothing() {
    let (mut world, broker) = trading_in_2026("2026-11-20 09:00:00").await;
    let (file, token, generation) = (world.read(JSON), world.token(), world.generation());
    let notifier = format!("http://{}/api/auth/notify/{NOTIFIER}", world.login_server());
    let strangers = broker.control().login_as("ZZ9999");
    let notice = |user: &str, token: &str| {
        json!({
            "client_id": "nirantar", "user_id": user, "access_token": token, "token_type": "Bearer",
            "issued_at": "1795145400000", "expires_at": "1795212000000", "message_type": "access_token",
        })
        .to_string()
    };
    // Another user of the same app; the same under our own name; and a token nobody ever issued.
    for (number, (user, posted)) in [
        ("ZZ9999", strangers.access_token.expose()),
        ("NR0001", strangers.access_token.expose()),
        ("NR0001", "eyJmYWtl"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = notice(user, posted);
        world.mark().await;
        let url = notifier.clone();
        let (status, _, answer) = world.ask(|client| client.post(url).body(body)).await;
        assert_eq!(status, 200, "a broker must not post it again");
        assert!(!answer.contains(posted), "{answer}");
        if number > 0 {
            world.sees().await;
        }
        world.pass(Duration::from_secs(60)).await;
        assert_eq!((world.token(), world.generation()), (token, generation), "{number}: {world}");
        assert_eq!(world.read(JSON), file, "{number}");
        assert_stored_in_use(&world, &broker).await;
    }
    let words: String = world.notices(0).iter().map(ToString::to_string).collect();
    assert!(words.contains("belongs to ZZ9999, this account is NR0001"), "{words}");
    world.assert_quiet(0);
}
