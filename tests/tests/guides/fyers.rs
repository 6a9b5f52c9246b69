//! The FYERS guide: a refresh at 08:45 on weekdays, the token in `.env`; and what is left of it since April 2026.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nirantar::core::Event;
use nirantar::session::{AttemptEnd, Notice, State};
use nirantar_brokers::time::{SteppedClock, Timestamp};
use nirantar_brokers::{Fingerprint, Form, Session, Venue};
use nirantar_exchange_mock::fyers::{Done, FyersServer, Grant, How, Route, Settings, Switches, TokenEnd};

use super::harness::{Desk, World, at};

/// Twelve hours, as the guide has it.
const TWELVE_HOURS: Duration = Duration::from_secs(12 * 3600);
/// What a human clicks on the broker's page.
const ALLOW: &str = "answer=allow";

/// A server of the guide's time: the grant works, tokens live twelve hours, refresh tokens so many days.
fn of_the_guide(refresh_days: u32) -> Switches {
    Switches { grant: Grant::Works, refresh_days, token_end: TokenEnd::After(TWELVE_HOURS), ..Switches::default() }
}

/// The broker on a stepped clock, and the user's desk; nothing runs yet.
struct Start {
    clock: SteppedClock,
    broker: FyersServer,
    desk: Desk,
}

async fn start(time: &str, switches: Switches) -> Start {
    let clock = SteppedClock::starting_at(at(time));
    let mut desk = Desk::init("fyers");
    let redirect_uri = Some(desk.url("/api/fyers/callback"));
    let settings = Settings { switches, redirect_uri, ..Settings::default() };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let broker = FyersServer::start(anywhere, settings, Arc::new(clock.clone())).await.unwrap();
    desk.at_broker(broker.addr());
    Start { clock, broker, desk }
}

/// A `.env` as the guide's reader has it, between lines of other programs.
fn env(session: Option<&Session>) -> String {
    let access = session.map(|session| session.access_token.expose()).unwrap_or_default();
    let refresh = session.and_then(|session| session.refresh_token.as_ref()).map(|refresh| refresh.expose());
    format!(
        "# the app of myapi.fyers.in\nFYERS_API_KEY=NIRANTAR01-100\nexport FYERS_API_SECRET='nirantar-secret'\n\
         FYERS_USER_ID=XN00001\nFYERS_PIN=1234 # of the app\n\nFYERS_ACCESS_TOKEN={access}\n\
         FYERS_REFRESH_TOKEN=\"{}\"\n\n# somebody else's\nTELEGRAM_CHAT = 42\nOTHER=\"a b\"",
        refresh.unwrap_or_default()
    )
}

/// The value of a line of `.env`.
fn value(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap_or_else(|| panic!("{key}"));
    value.trim_matches('"').to_owned()
}

/// The file without our two tokens: what must not change by a byte.
fn others(text: &str) -> String {
    let (access, refresh) = (value(text, "FYERS_ACCESS_TOKEN"), value(text, "FYERS_REFRESH_TOKEN"));
    let mut others = text.to_owned();
    for token in [access, refresh].iter().filter(|token| !token.is_empty()) {
        others = others.replace(token.as_str(), "");
    }
    others
}

/// Which token the file holds.
fn stored(world: &World) -> Fingerprint {
    Fingerprint::of(&value(&world.read(".env"), "FYERS_ACCESS_TOKEN"))
}

fn on(date: &str, time: &str) -> Timestamp {
    at(&format!("{date} {time}"))
}

/// When tokens were made that way, by the server's log.
fn made(broker: &FyersServer, how: How) -> Vec<Timestamp> {
    let of = |log: &nirantar_exchange_mock::fyers::ServerLog| {
        log.sessions().iter().filter(|session| session.how == how).map(|session| session.at).collect()
    };
    broker.control().with_log(of)
}

/// The last token the server handed out.
fn newest(broker: &FyersServer) -> Fingerprint {
    broker.control().with_log(|log| log.sessions().last().unwrap().token)
}

fn renewals(broker: &FyersServer, done: Done) -> u64 {
    broker.control().with_log(|log| log.count(Route::Renew, done))
}

/// The newest token of the server is in the file and in use, and orders go to the broker.
fn assert_newest_in_use(world: &World, broker: &FyersServer) {
    world.assert_trading();
    assert_eq!((world.token(), stored(world)), (Some(newest(broker)), newest(broker)), "{world}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_fyers_buys_a_token_at_a_quarter_to_nine_on_each_trading_day_of_a_week() {
    // From a Friday to the next, with a weekend and Guru Nanak Jayanti, a Tuesday, in between.
    let Start { clock, broker, mut desk } = start("2026-11-20 08:00:00", of_the_guide(30)).await;
    desk.say("refresh = \"withdrawn\"", "refresh = \"works\"");
    let before = env(Some(&broker.control().login()));
    desk.write(".env", &before);
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_newest_in_use(&world, &broker);
    assert_eq!(world.read(".env"), before, "a token that is good is left alone");

    let (mut due, mut generation) = (Vec::new(), world.generation());
    for (date, trading) in [
        ("2026-11-20", true),
        ("2026-11-21", false),
        ("2026-11-22", false),
        ("2026-11-23", true),
        ("2026-11-24", false),
        ("2026-11-25", true),
        ("2026-11-26", true),
        ("2026-11-27", true),
    ] {
        let file = world.read(".env");
        world.pass_until(on(date, "08:44:59")).await;
        assert_eq!((made(&broker, How::Renewal), world.read(".env")), (due.clone(), file.clone()), "{date}: too early");
        world.pass_until(on(date, "08:46:00")).await;
        if trading {
            due.push(on(date, "08:45:00"));
            generation += 1;
            assert_newest_in_use(&world, &broker);
            assert_ne!(world.read(".env"), file, "{date}");
        } else {
            assert_eq!((world.state(), world.venue()), (State::Fallback, Venue::Paper), "{date}");
            assert_eq!(world.read(".env"), file, "{date}");
        }
        world.pass_until(on(date, "15:30:00")).await;
        assert_eq!((made(&broker, How::Renewal), world.generation()), (due.clone(), generation), "{date}: {world}");
        assert_eq!(others(&world.read(".env")), others(&before), "{date}");
        // Twelve hours after the morning the token dies, and nobody needs it.
        world.pass_until(on(date, "20:46:00")).await;
        assert_eq!((world.state(), world.token()), (State::Fallback, None), "{date}");
    }
    assert_eq!(renewals(&broker, Done::Accepted), 5);
    assert_eq!(broker.control().with_log(|log| log.requests(Route::Renew)), 5, "none was tried in vain");
    world.assert_quiet(0);
}

/// A world whose refresh token dies at 06:00 of a Wednesday, 2026-12-02, on the evening of the last day it was used.
async fn last_days_of_a_refresh_token(refresh_days: u32, login: &str) -> (World, FyersServer) {
    let Start { clock, broker, mut desk } = start(login, of_the_guide(refresh_days)).await;
    desk.say("refresh = \"withdrawn\"", "refresh = \"works\"");
    desk.write(".env", &env(Some(&broker.control().login())));
    let mut world = desk.run(&clock).await;
    // Day by day, so that the deadline of a wait is one of a day.
    while world.now() < at("2026-11-29 08:00:00") {
        world.pass(Duration::from_secs(86_400)).await;
    }
    assert_eq!(world.ends_announced(0), [], "{world}");
    world.pass_until(at("2026-12-01 21:00:00")).await;
    assert_eq!(made(&broker, How::Renewal).last(), Some(&at("2026-12-01 08:45:00")), "{world}");
    world.assert_quiet(0);
    let dies = at("2026-12-02 06:00:00");
    let two_and_one_days_before = [(at("2026-11-30 06:00:00"), dies), (at("2026-12-01 06:00:00"), dies)];
    assert_eq!(world.ends_announced(0), two_and_one_days_before, "{world}");
    (world, broker)
}

/// The morning after: the refresh token is dead and a human is asked, with our own link, at the hour of the renewal.
async fn is_asked_on_the_last_morning(world: &mut World, broker: &FyersServer) -> String {
    let asked = world.wait_for("a login to be asked for", |event| matches!(event, Event::LoginNeeded { .. })).await;
    assert_eq!(asked.at(), at("2026-12-02 08:45:00"), "{world}");
    assert_eq!((world.state(), world.venue()), (State::Fallback, Venue::Paper));
    assert_eq!(renewals(broker, Done::Refused), 0, "a refresh token that says it is dead is not even tried");
    let Event::LoginNeeded { link: Some(link), .. } = asked else { panic!("{asked:?}") };
    assert!(link.ends_with("/api/auth/login/fyers"), "{link}");
    link
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_fyers_tells_twice_of_the_thirtieth_day_and_a_token_in_the_file_mends_it_without_a_restart() {
    let (mut world, broker) = last_days_of_a_refresh_token(30, "2026-11-02 08:00:00").await;
    is_asked_on_the_last_morning(&mut world, &broker).await;
    let (generation, before) = (world.generation(), world.read(".env"));
    world.write(".env", &env(Some(&broker.control().login()))).await;
    world.pass(Duration::from_secs(30)).await;
    assert_newest_in_use(&world, &broker);
    assert_eq!(world.generation(), generation + 1, "{world}");
    assert_eq!(others(&world.read(".env")), others(&before));
    // The guide goes on as if nothing had happened.
    let mark = world.mark().await;
    world.pass_until(at("2026-12-03 08:46:00")).await;
    assert_newest_in_use(&world, &broker);
    assert_eq!(made(&broker, How::Renewal).last(), Some(&at("2026-12-03 08:45:00")));
    world.assert_quiet(mark);
    assert_eq!(world.ends_announced(mark), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_fyers_tells_twice_of_the_fifteenth_day_and_a_login_mends_it_without_a_restart() {
    let (mut world, broker) = last_days_of_a_refresh_token(15, "2026-11-17 08:00:00").await;
    let link = is_asked_on_the_last_morning(&mut world, &broker).await;
    let before = world.read(".env");
    let back = world.log_in_at_broker(&link, ALLOW).await;
    let page = world.come_back(&back).await;
    assert!(page.contains("Connected") && page.contains("orders go to the broker"), "{page}");
    assert_newest_in_use(&world, &broker);
    assert_eq!(made(&broker, How::Login), [at("2026-12-02 08:45:00")]);
    assert_eq!(others(&world.read(".env")), others(&before));
    assert_ne!(value(&world.read(".env"), "FYERS_REFRESH_TOKEN"), value(&before, "FYERS_REFRESH_TOKEN"));
    world.pass_until(at("2026-12-03 08:46:00")).await;
    assert_newest_in_use(&world, &broker);
    assert_eq!(made(&broker, How::Renewal).last(), Some(&at("2026-12-03 08:45:00")), "with the new refresh token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_fyers_2026_asks_for_a_login_on_each_trading_morning_and_never_at_night() {
    // The file as the guide's comments leave it: the app's keys, and no token.
    let Start { clock, broker, desk } = start("2026-11-19 22:00:00", Switches::default()).await;
    let before = env(None);
    desk.write(".env", &before);
    let mut world = desk.run(&clock).await;
    let mut logins = Vec::new();
    for date in ["2026-11-20", "2026-11-23", "2026-11-25"] {
        let night = world.mark().await;
        while world.now() + Duration::from_secs(86_400) < on(date, "07:44:59") {
            world.pass(Duration::from_secs(86_400)).await;
        }
        world.pass_until(on(date, "07:44:59")).await;
        world.assert_quiet(night);
        assert_eq!((world.state(), world.venue()), (State::Fallback, Venue::Paper), "{date}");
        let asked = world.wait_for("a login to be asked for", |event| matches!(event, Event::LoginNeeded { .. })).await;
        assert_eq!(asked.at(), on(date, "07:45:00"), "{world}");
        // Redirected to a page on the user's own machine, and handed over by the program there.
        world.pass_until(on(date, "07:50:00")).await;
        let link = world.engine.login_url(Some("mine")).unwrap();
        let (_, back, page) = world.ask(|client| client.get(format!("{link}&{ALLOW}"))).await;
        let back = back.unwrap_or_else(|| panic!("{page}"));
        let query = Form::parse(back.split_once('?').unwrap().1.as_bytes());
        assert_eq!(query.get("state"), Some("mine"));
        world.engine.finish_redirect(&query).await.unwrap();
        world.pass(Duration::from_secs(30)).await;
        assert_newest_in_use(&world, &broker);
        logins.push(on(date, "07:50:00"));
        assert_eq!(made(&broker, How::Login), logins);
        assert_eq!(others(&world.read(".env")), others(&before), "{date}");
        // The day goes by without a word, the guide's hour and the end of the market included.
        let day = world.mark().await;
        world.pass_until(on(date, "23:59:00")).await;
        assert_newest_in_use(&world, &broker);
        world.assert_quiet(day);
    }
    assert_eq!(broker.control().with_log(|log| log.requests(Route::Renew)), 0, "it is not even tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_fyers_2026_a_grant_that_answers_501_is_tried_once_a_morning_and_then_a_human_is_asked() {
    let Start { clock, broker, mut desk } = start("2026-11-18 09:00:00", Switches::default()).await;
    // Whoever believes that the renewal still works.
    desk.say("refresh = \"withdrawn\"", "refresh = \"works\"");
    desk.write(".env", &env(Some(&broker.control().login())));
    let mut world = desk.run(&clock).await;
    world.pass(Duration::from_secs(10)).await;
    assert_newest_in_use(&world, &broker);
    for (tried, date) in [(1, "2026-11-19"), (2, "2026-11-20")] {
        let night = world.mark().await;
        world.pass_until(on(date, "08:44:59")).await;
        world.assert_quiet(night);
        assert_eq!(world.state(), State::Fallback, "the token died at 06:00");
        let asked = world.wait_for("a login to be asked for", |event| matches!(event, Event::LoginNeeded { .. })).await;
        assert!(asked.at() < on(date, "08:46:00"), "{world}");
        assert!(world.notices(night).contains(&Notice::RenewalFailed { end: AttemptEnd::FailedForGood }), "{world}");
        // One answer of -501 is enough: not once more until there is another refresh token.
        world.pass_until(on(date, "10:00:00")).await;
        assert_eq!(broker.control().with_log(|log| log.requests(Route::Renew)), tried);
        assert_eq!(renewals(&broker, Done::Refused), tried);
        let Event::LoginNeeded { link: Some(link), .. } = asked else { panic!("{asked:?}") };
        let back = world.log_in_at_broker(&link, ALLOW).await;
        let page = world.come_back(&back).await;
        assert!(page.contains("Connected"), "{page}");
        assert_newest_in_use(&world, &broker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_fyers_2026_a_login_that_another_program_wrote_into_the_file_is_taken() {
    let Start { clock, broker, desk } = start("2026-11-19 22:00:00", Switches::default()).await;
    desk.write(".env", &env(None));
    let mut world = desk.run(&clock).await;
    world.pass_until(at("2026-11-20 07:00:00")).await;
    world.assert_quiet(0);
    // Before anybody was asked.
    let text = env(Some(&broker.control().login()));
    world.write(".env", &text).await;
    world.pass(Duration::from_secs(30)).await;
    assert_newest_in_use(&world, &broker);
    world.pass_until(at("2026-11-20 15:30:00")).await;
    world.assert_quiet(0);
    assert_newest_in_use(&world, &broker);
    assert_eq!(world.read(".env"), text, "nothing of it was ours to change");
    // A stranger's token in the file is nobody's: the one in use stays.
    let strange = env(Some(&broker.control().login_as("XN99999")));
    let (mark, token) = (world.mark().await, world.token());
    world.write(".env", &strange).await;
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(world.token(), token, "{world}");
    world.assert_trading();
    let words: String = world.notices(mark).iter().map(ToString::to_string).collect();
    assert!(words.contains("belongs to XN99999, this account is XN00001"), "{words}");
}
