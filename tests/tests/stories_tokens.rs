//! Stories of tokens written into the store: real files, real time, the broker's own wire.
//!
//! In each a bad token is refused without harm, and a good one is live on the feed within a second. Each way of writing is
//! tried with a broker that kills the old token at a new login and with one that keeps it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::writing::Way;
use harness::{Plan, World};
use nirantar::core::Event;
use nirantar::feed::{Source, TickMessage, Ticks};
use nirantar::session::{NotTaken, Notice, State};
use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{AccessToken, Fingerprint, Session, Venue};
use nirantar_exchange_mock::kite::{NewLogin, Settings};

/// From the writing to the first live tick under the new token.
const LIVE_WITHIN: Duration = Duration::from_secs(1);
/// How often a file is compared when no event tells of its change.
const COMPARED_EVERY: Duration = Duration::from_secs(2);
/// Swaps of which the fastest counts: how busy the machine is, is not what is measured.
const TRIES: usize = 3;

struct Story {
    world: World,
    way: Way,
    outside: tempfile::TempDir,
    ticks: Ticks,
}

impl Story {
    /// Orders go to the broker and the feed is live; or nobody has logged in yet and there is no file.
    async fn begin(way: Way, new_login: NewLogin) -> Self {
        let logged_in = way != Way::FileAppearing;
        let settings = Settings { new_login, ..Settings::default() };
        let mut world = World::real(Plan { logged_in, ..Plan::new(settings) }).await;
        if logged_in {
            world.wait_for_venue(Venue::Live).await;
            world.wait_for_feed().await;
        } else {
            world.wait_for_venue(Venue::Paper).await;
        }
        let outside = tempfile::tempdir().unwrap();
        way.prepare(&world.store, outside.path());
        let ticks = world.engine.ticks();
        Self { world, way, outside, ticks }
    }

    fn write(&self, token: &str) {
        self.way.write(&self.world.store, self.outside.path(), token);
    }

    /// Writes a token that must not be taken, and waits until that is said.
    async fn refuses(&mut self, token: &str) -> NotTaken {
        let fingerprint = AccessToken::new(token).fingerprint();
        self.write(token);
        let about = |event: &Event| {
            matches!(event,
            Event::Notice { notice: Notice::NotTaken { fingerprint: of, .. }, .. } if *of == fingerprint)
        };
        let said = self.world.wait_for("the refusal of a token", about).await;
        match said.last() {
            Some(Event::Notice { notice: Notice::NotTaken { why, .. }, .. }) => why.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// A human logs in, the token is written, and the feed must be live under it within a second.
    async fn goes_live_under_a_new_login(&mut self) {
        let mut spans = Vec::new();
        for _ in 0..TRIES {
            // The broker is asked about a token once a second at most; the story is not about that wait.
            self.world.pass(Duration::from_millis(1_100)).await;
            let session = self.world.control.login();
            spans.push(self.swap(&session).await);
            if spans.last().is_some_and(|span| *span < LIVE_WITHIN) {
                println!("{:?}: live on the feed after {spans:?}", self.way);
                break;
            }
        }
        let best = spans.iter().min().unwrap();
        assert!(*best < LIVE_WITHIN, "{:?}: {spans:?} {}", self.way, self.world);
        self.world.wait_for_venue(Venue::Live).await;
        self.world.an_order_passes().await;
        assert_eq!(self.world.state(), State::Valid);
    }

    /// From the moment the change can be known (written; for a change without any event: sighted) to the first live tick.
    async fn swap(&mut self, session: &Session) -> Duration {
        let fingerprint = session.access_token.fingerprint();
        let written = self.now();
        self.write(session.access_token.expose());
        let is_it =
            |event: &Event| matches!(event, Event::Candidate { candidate, .. } if candidate.fingerprint == fingerprint);
        self.world.wait_for("the candidate", is_it).await;
        let sighted = self.now();
        let from = if self.way == Way::BindMount { sighted } else { written };
        assert!(sighted.since(written) < COMPARED_EVERY * 5, "sighted after {:?}", sighted.since(written));
        let generation = self.adopted(fingerprint).await;
        let live = async {
            loop {
                match self.ticks.next().await {
                    Some(TickMessage::Tick(tick)) if tick.source == (Source::Live { generation }) => {
                        return tick.received;
                    }
                    Some(_) => {}
                    None => panic!("the ticks ended"),
                }
            }
        };
        let first =
            tokio::time::timeout(Duration::from_secs(30), live).await.expect("no live tick under the new token");
        first.mono.since(from)
    }

    async fn adopted(&mut self, token: Fingerprint) -> nirantar::session::Generation {
        let is_it = |event: &Event| matches!(event, Event::Token { fingerprint, .. } if *fingerprint == token);
        match self.world.wait_for("the new token in use", is_it).await.last() {
            Some(Event::Token { generation, .. }) => *generation,
            other => panic!("{other:?}"),
        }
    }

    /// How often the broker was asked about a token.
    fn probes(&self) -> u64 {
        self.world.control.with_log(|log| log.probes_accepted + log.probes_refused)
    }

    fn now(&self) -> Monotonic {
        self.world.clock.now().mono
    }
}

/// A token that is none, then a good one, each written that way.
async fn a_bad_token_does_no_harm_and_a_good_one_is_live(way: Way, new_login: NewLogin) {
    let mut story = Story::begin(way, new_login).await;
    let (mark, before) = (story.world.mark().await, story.world.state());
    assert_eq!(story.refuses("this-is-no-token").await, NotTaken::Refused);
    if before == State::Valid {
        story.world.wait_for_venue(Venue::Live).await;
        story.world.an_order_passes().await;
        story.world.assert_state_untouched(mark).await;
    }
    story.goes_live_under_a_new_login().await;
}

async fn in_both_modes(way: Way) {
    tokio::join!(
        a_bad_token_does_no_harm_and_a_good_one_is_live(way, NewLogin::Kills),
        a_bad_token_does_no_harm_and_a_good_one_is_live(way, NewLogin::Keeps),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editors_rename() {
    in_both_modes(Way::EditorRename).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate_then_write() {
    in_both_modes(Way::TruncateThenWrite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_place() {
    in_both_modes(Way::InPlace).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symlink_that_is_swapped() {
    in_both_modes(Way::SymlinkSwap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_appears() {
    in_both_modes(Way::FileAppearing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_behind_a_bind_mount() {
    in_both_modes(Way::BindMount).await;
}

async fn a_living_token_of_somebody_else(new_login: NewLogin) {
    let mut story = Story::begin(Way::EditorRename, new_login).await;
    let (mark, own) = (story.world.mark().await, story.world.engine.snapshot().generation);
    let stranger = story.world.control.login_as("XY0001");
    let why = story.refuses(stranger.access_token.expose()).await;
    assert_eq!(why, NotTaken::Stranger { user_id: "XY0001".to_owned(), expected: "NR0001".to_owned() });
    story.world.wait_for_venue(Venue::Live).await;
    story.world.an_order_passes().await;
    story.world.assert_state_untouched(mark).await;
    assert_eq!(story.world.engine.snapshot().generation, own);
    let used = stranger.access_token.fingerprint();
    story.world.control.with_log(|log| {
        assert!(log.orders.iter().all(|order| order.token != Some(used)), "an order left under a stranger's token");
        assert!(log.sockets.iter().all(|socket| socket.token != used), "a feed was opened under it");
    });
    // Pasted again, it is known: nobody is asked, and orders are not even held.
    assert_eq!(story.refuses("this-is-no-token").await, NotTaken::Refused);
    story.world.wait_for_venue(Venue::Live).await;
    let probes = story.probes();
    assert_eq!(story.refuses(stranger.access_token.expose()).await, NotTaken::RefusedBefore);
    story.world.an_order_passes().await;
    assert_eq!(story.probes(), probes);
    story.goes_live_under_a_new_login().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_living_token_is_refused_by_its_user_id() {
    tokio::join!(a_living_token_of_somebody_else(NewLogin::Kills), a_living_token_of_somebody_else(NewLogin::Keeps));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_store_is_told_once_and_the_living_session_goes_on() {
    let mut story = Story::begin(Way::EditorRename, NewLogin::Kills).await;
    let mark = story.world.mark().await;
    std::fs::write(&story.world.store, "ZERODHA_ACCESS_TOKEN='half-a-sentinel\n").unwrap();
    story.world.wait_for("the alarm", |event| matches!(event, Event::Alarm { .. })).await;
    story.world.an_order_passes().await;
    story.world.assert_state_untouched(mark).await;
    let alarms = story.world.alarms(mark).await;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains(".env:1") && !alarms[0].contains("sentinel"), "{alarms:?}");
    story.goes_live_under_a_new_login().await;
}
