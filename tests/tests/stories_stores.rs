//! Stories of an account with several stores: the order they are looked at counts at the start, and afterwards a change
//! in any of them is a candidate. Real files, real time, the broker's own wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use harness::{Plan, World, writing};
use nirantar::core::Event;
use nirantar::session::{Notice, State};
use nirantar_brokers::{AccessToken, Fingerprint, Venue};
use nirantar_exchange_mock::kite::{NewLogin, Settings};

const JSON: &str = "data/tokens.json";
const TOML: &str = ".streamlit/secrets.toml";

fn plan(held_by: usize) -> Plan {
    // The old token lives on, so that only what is written decides which one is used.
    let settings = Settings { new_login: NewLogin::Keeps, ..Settings::default() };
    Plan { stores: vec![JSON, TOML], held_by, ..Plan::new(settings) }
}

fn in_use(world: &World) -> Option<Fingerprint> {
    world.engine.snapshot().token.as_ref().map(|live| live.fingerprint())
}

async fn takes(world: &mut World, token: Fingerprint) {
    let adopted = |event: &Event| matches!(event, Event::Token { fingerprint, .. } if *fingerprint == token);
    world.wait_for("the token to be taken", adopted).await;
    // An event may come just before what it tells of is published; the step that told it is over now.
    world.mark().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_only_the_fallback_holds_is_taken_and_a_later_edit_of_either_store_is_a_candidate() {
    let mut world = World::real(plan(1)).await;
    world.wait_for_venue(Venue::Live).await;
    assert!(!world.store.exists(), "the first store is still to be written");
    for store in [JSON, TOML, JSON] {
        let session = world.control.login();
        let token = session.access_token.fingerprint();
        writing::token(&world.folder.path().join(store), session.access_token.expose());
        takes(&mut world, token).await;
        assert_eq!(in_use(&world), Some(token), "{store}");
        assert_eq!(world.state(), State::Valid, "{store}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_in_a_fallback_never_replaces_a_living_one() {
    let mut world = World::real(plan(0)).await;
    world.wait_for_venue(Venue::Live).await;
    let living = in_use(&world);
    let mark = world.mark().await;
    let bad = AccessToken::new("yesterdays-token").fingerprint();
    writing::token(&world.folder.path().join(TOML), "yesterdays-token");
    let refused = |event: &Event| matches!(event, Event::Notice { notice: Notice::NotTaken { fingerprint, .. }, .. } if *fingerprint == bad);
    world.wait_for("its refusal", refused).await;
    assert_eq!(in_use(&world), living);
    world.assert_state_untouched(mark).await;
}
