//! The cron guide: the token dies by 07:30, and at 07:45 the user's own script brings the next one.

use std::time::Duration;

use nirantar::core::Event;
use nirantar::session::{AttemptEnd, Notice, State};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Fingerprint, Secret, Session, Venue};
use nirantar_exchange_mock::kite::Settings;

use crate::human::{Answer, Runs};
use crate::world::{Plan, World, at};
use crate::written;

/// Unlike any other text in this binary's log.
const API_SECRET: &str = "cron-guide+api/secret";
const MORNING: &str = "2026-11-20 07:45:00";

fn env(session: &Session) -> String {
    env_with(session.access_token.expose())
}

fn env_with(token: &str) -> String {
    format!(
        "ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET={API_SECRET}\nZERODHA_USER_ID=NR0001\n\n# written by the script\n\
         ZERODHA_ACCESS_TOKEN={token}\nTOTP_SEED=not-ours\n"
    )
}

/// Logged in at `begins`; the broker ends tokens at `dies`.
fn plan(begins: &'static str, dies: &str, edits: Vec<(&'static str, String)>) -> Plan {
    Plan {
        guide: "zerodha-cron",
        begins,
        trading_day: "2026-11-20",
        broker: Settings {
            token_dies_at: Some(dies.parse().unwrap()),
            api_secret: Secret::new(API_SECRET),
            ..Settings::default()
        },
        callback: "/api/zerodha/callback",
        edits,
        variables: Vec::new(),
        store: env,
    }
}

/// Early on a trading day, before the band in which tokens die: yesterday's token is alive.
async fn early(answers: &[Answer], edits: Vec<(&'static str, String)>) -> (World, Runs) {
    written::keep();
    let runs = Runs::default();
    let plan = plan("2026-11-20 04:45:00", "07:30:00", edits);
    let world = World::begin(plan, |folder, control, clock| runs.prepare(answers, folder, control, clock)).await;
    (world, runs)
}

/// The token that the store's one line of it holds.
fn token_in(store: &str) -> String {
    let lines: Vec<_> = store.lines().filter_map(|line| line.strip_prefix("ZERODHA_ACCESS_TOKEN=")).collect();
    assert_eq!(lines.len(), 1, "{store}");
    lines[0].trim_matches('"').to_owned()
}

/// The token dies at half past seven, and nothing happens before the guide's hour.
async fn dies_at_half_past_seven(world: &mut World, runs: &Runs) {
    let fell = world.wait_for_fallback().await;
    assert_eq!(fell.at, at("2026-11-20 07:30:00"), "{world}");
    assert_eq!(world.engine.snapshot().venue, Venue::Paper);
    world.until("2026-11-20 07:44:59").await;
    assert_eq!(world.log().sockets.last().unwrap().closed, Some(at("2026-11-20 07:30:00")));
    assert_eq!(runs.times(), []);
}

/// Orders go to the broker under the token that the script wrote into the store.
async fn goes_on_under_the_scripts_token(world: &mut World) {
    world.wait_for_venue(Venue::Live).await;
    assert_eq!(world.engine.snapshot().state, State::Valid);
    let token = token_in(&world.store_text());
    assert_eq!(world.store_text(), env_with(&token), "every other byte as it was");
    assert_eq!(world.token_on_the_feed().await, Fingerprint::of(&token));
}

/// How renewals failed, and when.
fn failures(world: &World) -> Vec<(Timestamp, Notice)> {
    let failed = |event: &Event| match event {
        Event::Notice { at, notice: notice @ (Notice::RenewalFailed { .. } | Notice::AttemptTimedOut) } => {
            Some((*at, notice.clone()))
        }
        _ => None,
    };
    world.seen.iter().filter_map(failed).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_cron_runs_the_script_once_at_a_quarter_to_eight_on_each_day() {
    let (mut world, runs) = early(&[Answer::LogsIn], Vec::new()).await;
    dies_at_half_past_seven(&mut world, &runs).await;
    let mark = world.mark().await;
    goes_on_under_the_scripts_token(&mut world).await;
    assert!(world.now() <= at(MORNING) + Duration::from_secs(5), "{world}");
    assert_eq!(runs.times(), [at(MORNING)]);
    world.until("2026-11-20 09:15:00").await;
    world.live_ticks_of(&["NSE:NIFTY 50"]).await;
    world.until("2026-11-21 07:44:59").await;
    assert_eq!(runs.times(), [at(MORNING)], "it worked: no second run on that day");
    world.until("2026-11-21 07:46:00").await;
    goes_on_under_the_scripts_token(&mut world).await;
    assert_eq!(runs.times(), [at(MORNING), at("2026-11-21 07:45:00")], "daily, says the guide: a Saturday too");
    assert_eq!(world.asked_to_log_in(mark).await, [], "nobody is alarmed while the script does its work");
    let tokens: std::collections::BTreeSet<_> = world.log().sockets.iter().map(|socket| socket.token).collect();
    assert_eq!(tokens.len(), 3, "one token at the start, and one a run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_cron_a_script_that_fails_is_run_again_after_a_wait_and_its_words_are_in_the_log() {
    let (mut world, runs) = early(&[Answer::Refuses, Answer::Refuses, Answer::LogsIn], Vec::new()).await;
    let old = token_in(&world.store_text());
    dies_at_half_past_seven(&mut world, &runs).await;
    goes_on_under_the_scripts_token(&mut world).await;
    let times = runs.times();
    assert_eq!((times.len(), times[0]), (3, at(MORNING)), "{times:?}");
    let waits = [times[1].since(times[0]), times[2].since(times[1])];
    assert!((4..=6).contains(&waits[0].as_secs()) && (8..=11).contains(&waits[1].as_secs()), "{waits:?}");
    assert_eq!(failures(&world).len(), 2, "{world}");
    world.until("2026-11-20 08:30:00").await;
    assert_eq!(runs.times().len(), 3);

    let log = written::text();
    let said: Vec<_> = log.lines().filter(|line| line.contains("login refused, signed with")).collect();
    assert!(said.iter().any(|line| line.contains("exit status: 3") && line.contains("in place of")), "{said:?}");
    assert!(!log.contains(API_SECRET) && !log.contains(&old), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_cron_a_script_that_hangs_is_cut_off_and_run_again() {
    let shorter = vec![("external_timeout = \"5m\"", "external_timeout = \"5s\"".to_owned())];
    let (mut world, runs) = early(&[Answer::Sleeps, Answer::LogsIn], shorter).await;
    dies_at_half_past_seven(&mut world, &runs).await;
    goes_on_under_the_scripts_token(&mut world).await;
    let times = runs.times();
    assert_eq!((times.len(), times[0]), (2, at(MORNING)), "{times:?}");
    // The command runs, and is cut off, in real time: the stepped clock stands still meanwhile.
    let failed = Notice::RenewalFailed { end: AttemptEnd::Failed };
    assert_eq!(failures(&world), [(at(MORNING), failed)], "{world}");
    assert!((4..=6).contains(&times[1].since(at(MORNING)).as_secs()), "{times:?}");
    assert!(written::text().contains("(external_timeout)"), "the log says why");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_cron_where_the_crontab_stays_the_file_is_watched() {
    let without = vec![("\nexternal_command = [\"./refresh_token.sh\"]\n", "\n".to_owned())];
    let (mut world, runs) = early(&[Answer::LogsIn], without).await;
    dies_at_half_past_seven(&mut world, &runs).await;
    world.until("2026-11-20 07:46:00").await;
    // What cron starts: a process that is none of the engine's.
    let script = world.store.with_file_name("refresh_token.sh");
    let cron = tokio::process::Command::new(script).stdout(std::process::Stdio::null()).status();
    assert!(cron.await.unwrap().success());
    world.wait_at_once_for("the sighting", |event| matches!(event, Event::Candidate { .. })).await;
    goes_on_under_the_scripts_token(&mut world).await;
    assert_eq!(runs.times(), [at("2026-11-20 07:46:00")], "cron's, and none of the engine's");
}

// --- since April 2026 ------------------------------------------------------------------------------------------------

/// The guide's `[server]` lines, with the # taken away as it says.
fn with_login_page() -> Vec<(&'static str, String)> {
    vec![("#[server]\n#listen = ", "[server]\nlisten = ".to_owned())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_cron_2026_where_no_script_can_log_in_a_human_is_asked_and_the_script_runs_no_more() {
    written::keep();
    let runs = Runs::default();
    let plan = plan("2026-11-19 22:00:00", "06:00:00", with_login_page());
    let prepare = |folder: &std::path::Path, control: &_, clock: &_| {
        runs.prepare(&[Answer::Refuses], folder, control, clock);
    };
    let mut world = World::begin(plan, prepare).await;
    let fell = world.wait_for_fallback().await;
    assert!(crate::world::soon_after("2026-11-20 06:00:00", fell.at), "{world}");
    let (asked, link) = world.wait_for_login_needed().await;
    assert_eq!((asked, runs.times()), (at(MORNING), vec![at(MORNING)]), "as soon as the script has failed");
    world.until("2026-11-20 08:20:00").await;
    let tried = runs.times();
    assert_eq!(tried.len(), 6, "then a human alone: a broker locks an account after some wrong logins: {tried:?}");
    let page = world.log_in_at(&link).await;
    assert!(page.contains("<h1>Connected</h1>"), "{page}");
    goes_on_under_the_scripts_token(&mut world).await;
    world.until("2026-11-20 09:15:00").await;
    world.live_ticks_of(&["NSE:NIFTY 50"]).await;
    assert_eq!(runs.times(), tried, "there is a token: nothing to run a script for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_zerodha_cron_2026_a_holiday_has_no_run_and_no_alarm() {
    written::keep();
    let runs = Runs::default();
    let plan = Plan { trading_day: "2026-11-25", ..plan("2026-11-23 22:00:00", "06:00:00", Vec::new()) };
    let prepare = |folder: &std::path::Path, control: &_, clock: &_| {
        runs.prepare(&[Answer::LogsIn], folder, control, clock);
    };
    let mut world = World::begin(plan, prepare).await;
    let mark = world.mark().await;
    world.wait_for_fallback().await;
    world.until("2026-11-25 07:44:59").await;
    assert_eq!(runs.times(), []);
    assert_eq!(world.asked_to_log_in(mark).await, []);
    goes_on_under_the_scripts_token(&mut world).await;
    assert_eq!(runs.times(), [at("2026-11-25 07:45:00")]);
}
