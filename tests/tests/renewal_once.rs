//! Issue 3, "Must show" 2, in one process: however many are refused, the token is renewed once, and it is renewed once in a
//! margin window. Counted at the server. (Two processes and a script are in `renewal_processes.rs`.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod fyers_world;
mod harness;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use harness::{Plan, World, writing};
use nirantar::core::Event;
use nirantar::engine::Engine;
use nirantar::session::{NotTaken, Notice, State};
use nirantar_brokers::kite::App;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Auth as _, Fingerprint, Venue};
use nirantar_exchange_mock::fyers::{self, Done, How, Route, TokenEnd};
use nirantar_exchange_mock::kite::{Refresh, Settings};

const TASKS: usize = 64;
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_reads_refused_at_once_cause_one_renewal_and_all_go_on_with_its_token() {
    let settings = Settings { refresh: Refresh::Works, rate_limits: false, ..Settings::default() };
    let mut world = World::stepped(Plan { app: App::Approved, ..Plan::new(settings) }).await;
    // A login whose session holds a refresh token.
    let session = world.control.login();
    let refresh = session.refresh_token.as_ref().unwrap().expose();
    let text = writing::env(session.access_token.expose());
    fs::write(&world.store, format!("{text}ZERODHA_REFRESH_TOKEN={refresh}\n")).unwrap();
    world.wait_for("the token of the login", |event| matches!(event, Event::Token { .. })).await;
    world.wait_for_venue(Venue::Live).await;
    let old = in_use(&world.engine);
    let reads = |world: &World, token| world.control.with_log(|log| log.reads.get(&token).copied().unwrap_or_default());
    let before = reads(&world, old);
    assert_eq!(world.control.kill_tokens(), 1);
    // Every one of them is at the server before the first has its answer.
    world.fault(&format!("slow=700ms@{TASKS}"));
    let answers = world
        .during(async |engine| {
            let broker = engine.trading().unwrap();
            join_all((0..TASKS).map(|_| engine.read(|now| broker.positions(now)))).await
        })
        .await;
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    let bad = answers.iter().find(|answer| answer.is_err());
    assert_eq!(good, TASKS, "{bad:?} {world}");

    let new = in_use(&world.engine);
    assert_ne!(new, old);
    let (under_old, under_new) = (reads(&world, old), reads(&world, new));
    assert_eq!((under_old.refused - before.refused, under_old.accepted), (TASKS as u64, before.accepted));
    assert!(under_new.accepted >= TASKS as u64 && under_new.refused == 0, "{under_new:?}");
    world.control.with_log(|log| {
        assert_eq!((log.renewals(), log.renewals_refused), (1, 0));
        assert_eq!(log.sessions.last().unwrap().token, new);
    });
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;
}

/// On one thread every task has sent its request before the first answer is read.
#[tokio::test]
async fn sixty_four_tasks_refused_at_once_at_fyers_cause_one_renewal_and_all_go_on_with_its_token() {
    let end = TokenEnd::After(12 * HOUR);
    let mut world = fyers_world::World::start(fyers_world::rotating(end), 12 * HOUR, 5 * MINUTE).await;
    let old = in_use(&world.engine);
    let of_profile = |world: &fyers_world::World| {
        world.control.with_log(|log| [Done::Accepted, Done::Refused].map(|done| log.count(Route::Profile, done)))
    };
    let before = of_profile(&world);
    assert_eq!(world.control.kill_tokens(), 1);
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let engine = Arc::clone(&world.engine);
            tokio::spawn(async move {
                let broker = fyers_world::fyers(&fyers::Settings::default());
                engine.read(|_| broker.probe()).await
            })
        })
        .collect();
    let answers = world.during(join_all(tasks)).await;
    for answer in answers {
        assert_eq!(answer.unwrap().unwrap().user_id, "XN00001");
    }
    let after = of_profile(&world);
    // The engine's own probe of the new token is one more.
    assert_eq!([after[0] - before[0], after[1] - before[1]], [TASKS as u64 + 1, TASKS as u64]);
    world.control.with_log(|log| {
        assert_eq!((log.requests(Route::Renew), log.count(Route::Renew, Done::Accepted)), (1, 1));
        assert_eq!(log.sessions().last().unwrap().token, in_use(&world.engine));
    });
    assert_ne!(in_use(&world.engine), old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_has_one_renewal_in_each_margin_window() {
    let (ttl, margin) = (2 * HOUR, 5 * MINUTE);
    let mut world = fyers_world::World::start(fyers_world::rotating(TokenEnd::After(ttl)), ttl, margin).await;
    for _ in 0..24 {
        world.pass(HOUR).await;
    }
    let (renewals, requests) = world.control.with_log(|log| (renewed(log), log.requests(Route::Renew)));
    // 24 h hold twelve spans of 1 h 55 min.
    assert_eq!((renewals.len(), requests), (12, 12), "{renewals:?}");
    for pair in renewals.windows(2) {
        let gap = pair[1].since(pair[0]);
        assert!(ttl - margin <= gap + Duration::from_secs(1) && gap < ttl, "{gap:?} between two renewals");
    }
    assert!(!world.seen.iter().any(|event| matches!(event, Event::Transition(step) if !step.to.is_live())));
    assert_eq!(world.engine.snapshot().state, State::Valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_gains_nothing_against_a_cut_off_is_tried_once_and_again_only_after_it() {
    let three = TokenEnd::At("15:00:00".parse().unwrap());
    let mut world = fyers_world::World::start(fyers_world::rotating(three), 2 * HOUR, 5 * MINUTE).await;
    for _ in 0..4 {
        world.pass(HOUR).await;
    }
    world.pass(59 * MINUTE).await;
    // At 11:55 and 13:50 for a longer life; at 14:55 in vain, and no more before the cut-off.
    let (renewals, requests) = world.control.with_log(|log| (renewed(log), log.requests(Route::Renew)));
    assert_eq!((renewals.len(), requests), (3, 3), "{renewals:?}");
    let useless = |event: &&Event| matches!(event, Event::Notice { notice: Notice::RenewalUseless, .. });
    assert_eq!(world.seen.iter().filter(useless).count(), 1);

    // The token dies at three, and the refresh token is worth something again.
    world.pass(2 * MINUTE).await;
    let (renewals, requests) = world.control.with_log(|log| (renewed(log), log.requests(Route::Renew)));
    assert_eq!((renewals.len(), requests), (4, 4), "{renewals:?}");
    assert_eq!(world.engine.snapshot().state, State::Valid);
    world.pass(HOUR).await;
    assert_eq!(world.control.with_log(|log| renewed(log).len()), 4);
    assert_eq!(world.seen.iter().filter(useless).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_the_store_written_back_is_undone_and_the_next_renewal_works() {
    let (ttl, margin) = (2 * HOUR, 5 * MINUTE);
    let mut world = fyers_world::World::start(fyers_world::rotating(TokenEnd::After(ttl)), ttl, margin).await;
    let copy = fs::read_to_string(&world.store).unwrap();
    world.pass(2 * HOUR).await;
    let renewed = fyers_world::held(&world.store);
    assert_eq!(renewed.0.fingerprint(), in_use(&world.engine));
    // A script that read the store two hours ago writes it back, with a key of its own.
    fs::write(&world.store, format!("{copy}SCRIPT=1\n")).unwrap();
    let not_taken = |event: &Event| {
        let why = NotTaken::Replaced;
        matches!(event, Event::Notice { notice: Notice::NotTaken { why: found, .. }, .. } if *found == why)
    };
    world.see("the old token to be seen", not_taken).await;
    let back = async {
        while fyers_world::held(&world.store) != renewed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("the living token is put back");
    assert!(fs::read_to_string(&world.store).unwrap().contains("SCRIPT=1\n"), "the script's own key stays");
    world.pass(2 * HOUR).await;
    world.control.with_log(|log| {
        assert_eq!((log.count(Route::Renew, Done::Accepted), log.count(Route::Renew, Done::Refused)), (2, 0));
        assert_eq!(log.sessions().last().unwrap().token, fyers_world::held(&world.store).0.fingerprint());
    });
}

fn in_use(engine: &Engine) -> Fingerprint {
    engine.snapshot().token.as_ref().expect("a token in use").fingerprint()
}

fn renewed(log: &fyers::ServerLog) -> Vec<Timestamp> {
    log.sessions().iter().filter(|session| session.how == How::Renewal).map(|session| session.at).collect()
}
