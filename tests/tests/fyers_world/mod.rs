//! A FYERS server and an engine on one stepped clock: sessions only, so that a day of market time is over in a moment.
#![allow(dead_code, unreachable_pub, reason = "each file of tests uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nirantar::core::Event;
use nirantar::engine::{Engine, EventMessage, Events, Setup};
use nirantar::session::Policy;
use nirantar::token::store::StorePlace;
use nirantar_brokers::fyers::{App, Fyers};
use nirantar_brokers::time::{Busy, Clock, SteppedClock, Timestamp};
use nirantar_brokers::{AccessToken, Broker as _, Expiry, Secret, Session};
use nirantar_exchange_mock::fyers::{Control, FyersServer, Grant, Settings, Switches, TokenEnd};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// By the wall clock, far beyond anything a test waits for, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(30);

/// The broker whose refresh tokens work once: what makes a second renewal under one of them a refusal.
pub fn rotating(token_end: TokenEnd) -> Switches {
    Switches { grant: Grant::Works, rotates: true, token_end, ..Switches::default() }
}

/// A `.env` with that session.
pub fn env(settings: &Settings, session: &Session) -> String {
    format!(
        "# FYERS\nFYERS_CLIENT_ID={}\nFYERS_SECRET_KEY={}\nFYERS_PIN={}\nFYERS_ID={}\n\
         FYERS_ACCESS_TOKEN={}\nFYERS_REFRESH_TOKEN={}\n",
        settings.client_id,
        settings.secret.expose(),
        settings.pin.expose(),
        settings.user_id,
        session.access_token.expose(),
        session.refresh_token.as_ref().unwrap().expose(),
    )
}

/// What a store of FYERS holds: access token and refresh token.
pub fn held(store: &Path) -> (AccessToken, Secret) {
    let place = StorePlace::named(store.file_name().unwrap().to_str().unwrap(), store.parent().unwrap());
    let stored = place.open("FYERS", "fyers").read().unwrap();
    (stored.access_token.unwrap(), stored.refresh_token.unwrap())
}

/// The codec, for an app that still renews.
pub fn fyers(settings: &Settings) -> Fyers {
    let (id, secret, pin) = (settings.client_id.clone(), settings.secret.clone(), settings.pin.clone());
    Fyers::new(App::RefreshGrant, id, Some(secret), Some(pin), "http://127.0.0.1:5000/callback")
}

/// A running engine with its broker and its store. The clock stands unless it is told to pass.
pub struct World {
    pub control: Control,
    pub engine: Arc<Engine>,
    pub store: PathBuf,
    pub folder: TempDir,
    /// Every event so far.
    pub seen: Vec<Event>,
    pub clock: SteppedClock,
    hold: Busy,
    events: Events,
    _stepping: JoinSet<()>,
    _server: FyersServer,
}

impl World {
    /// Ten o'clock of a trading day, just after a login. A token lives for `ttl`, by the rule, and is renewed `margin`
    /// before its end.
    pub async fn start(switches: Switches, ttl: Duration, margin: Duration) -> Self {
        let clock = SteppedClock::starting_at(Timestamp::parse_ist("2026-11-20 10:00:00").unwrap());
        let hold = clock.busy();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let settings = Settings { switches, ..Settings::default() };
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = FyersServer::start(anywhere, settings.clone(), Arc::clone(&shared)).await.unwrap();
        let control = server.control();
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join(".env");
        fs::write(&store, env(&settings, &control.login())).unwrap();
        let broker = fyers(&settings);
        let facts = broker.facts();
        let policy = Policy {
            user_id: Some(settings.user_id.clone()),
            expiry: Expiry::Ttl(ttl),
            margin,
            ..Policy::for_broker(facts)
        };
        let (rest, feed) = (format!("http://{}", server.addr()), format!("ws://{}", server.addr()));
        let place = StorePlace::named(".env", folder.path()).open("FYERS", "fyers");
        let setup = Setup {
            loopback: true,
            policy,
            secrets: vec![settings.secret.clone(), settings.pin.clone()],
            ..Setup::new("story", Arc::new(broker), rest, feed, place)
        };
        let mut builder = Engine::builder(setup).clock(shared);
        let events = builder.events();
        let engine = Arc::new(builder.start().await.unwrap());
        let mut stepping = JoinSet::new();
        let stepped = clock.clone();
        stepping.spawn(async move { stepped.run(None).await });
        let seen = Vec::new();
        let mut world =
            Self { control, engine, store, folder, seen, clock, hold, events, _stepping: stepping, _server: server };
        world.wait_for("the first token", |event| matches!(event, Event::Token { .. })).await;
        world
    }

    /// Lets market time pass.
    pub async fn pass(&mut self, span: Duration) {
        let mut alarm = self.clock.sleep(span);
        let deadline = tokio::time::sleep(DEADLINE);
        tokio::pin!(deadline);
        self.hold = Busy::idle();
        self.hold = loop {
            tokio::select! {
                busy = &mut alarm => break busy,
                message = self.events.next() => note(&mut self.seen, message),
                () = &mut deadline => panic!("{span:?} did not pass: {:#?}", self.seen),
            }
        };
    }

    /// Lets market time pass until something is said.
    pub async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) {
        self.hold = Busy::idle();
        self.see(what, is_it).await;
        self.hold = self.clock.busy();
    }

    /// Waits, while market time stands, for something that happens in real time: a file is seen.
    pub async fn see(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) {
        let (events, seen) = (&mut self.events, &mut self.seen);
        let search = async {
            loop {
                let message = events.next().await;
                note(seen, message);
                if seen.last().is_some_and(&is_it) {
                    return;
                }
            }
        };
        let waited = tokio::time::timeout(DEADLINE, search).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {:#?}", self.seen);
    }

    /// Lets time pass while something is done, and comes back with what it brought.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.hold = Busy::idle();
        tokio::pin!(work);
        let (events, seen) = (&mut self.events, &mut self.seen);
        let both = async {
            loop {
                tokio::select! {
                    done = &mut work => return done,
                    message = events.next() => note(seen, message),
                }
            }
        };
        let done = tokio::time::timeout(DEADLINE, both).await;
        self.hold = self.clock.busy();
        done.unwrap_or_else(|_| panic!("it did not end: {:#?}", self.seen))
    }
}

fn note(seen: &mut Vec<Event>, message: Option<EventMessage>) {
    match message {
        Some(EventMessage::Event(event)) => seen.push(event),
        other => panic!("the events broke off with {other:?}: {seen:#?}"),
    }
}
