//! The scripted day.
//!
//! | market time | what happens |
//! |---|---|
//! | 08:55 | a human has logged in; the token is in the store and lives four hours |
//! | 09:15 | the market opens, the strategy trades |
//! | 12:50 | five minutes before its end the token is renewed by its refresh token |
//! | 13:30 | the broker kills the token and withdraws the grant: the feed is cut, renewal fails, orders go to paper |
//! | 13:35 | somebody pastes a wrong token into the store |
//! | 13:40 | another process writes a good one: reconciliation, exits first, then live trading again |
//! | close | the day ends, and the two sides' books are compared |
//!
//! Everything the script does falls between two seconds of the market, so that it never meets a tick at one instant.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::kite::{self, Kite};
use nirantar_brokers::time::{Clock as _, SteppedClock, Timestamp};
use nirantar_brokers::{Broker as _, Expiry, Price};
use nirantar_exchange_mock::kite::{Control, KiteServer, Refresh, Settings};
use nirantar_exchange_mock::{Config as PaperConfig, MockExchange, PaperBroker};
use tokio::io::AsyncWriteExt as _;

use super::recorder::{record_events, record_ticks};
use super::report::{Evidence, Report};
use super::{Line, Market, Options, SandboxError, Show, Teller, Who, strategy};
use crate::core::Event;
use crate::engine::{Engine, EventMessage, Setup};
use crate::feed::PaperSource;
use crate::orders::{Journal as _, MemoryJournal};
use crate::session::Policy;
use crate::token::store::{Change, EnvFormat, EnvStore, Store as _};

/// How long a token of the sandbox lives.
const TOKEN_LIFE: Duration = Duration::from_secs(4 * 3600);
/// How long, by the wall clock, the other process may take and its change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(20);
const KEY_PREFIX: &str = "ZERODHA";

/// A finished day, with the server still there to be looked at.
#[derive(Debug)]
pub struct Day {
    /// What was counted.
    pub report: Report,
    /// The simulator. Dropping it ends it.
    pub server: KiteServer,
}

/// Runs the day. Must be called inside a multi-threaded tokio runtime.
///
/// # Errors
/// [`SandboxError`]: bad input, or a machine that cannot run it.
pub async fn run(options: Options, show: Show) -> Result<Day, SandboxError> {
    let Show { tell, progress } = show;
    let market = Market::new(&options)?;
    let traded = market.traded().cloned().ok_or(SandboxError::NothingToTrade)?;
    let session = market.session().ok_or_else(|| SandboxError::Closed(market.date, "no session".to_owned()))?;
    let close = session.1;
    let at = |hour, minute, milli| {
        let time = NaiveTime::from_hms_milli_opt(hour, minute, 0, milli).unwrap_or_default();
        Timestamp::from_ist_parts(market.date, time)
    };
    let clock = SteppedClock::starting_at(at(8, 55, 250));
    let held = clock.busy();

    let settings =
        Settings { refresh: Refresh::Works, token_ttl: Some(TOKEN_LIFE), seed: options.seed, ..Settings::default() };
    let (user_id, api_key, api_secret) =
        (settings.user_id.clone(), settings.api_key.clone(), settings.api_secret.clone());
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = KiteServer::start(anywhere, settings, Arc::new(clock.clone()), market.prices())
        .await
        .map_err(SandboxError::io("the simulator cannot listen on loopback"))?;
    let control = server.control();
    let folder = tempfile::tempdir().map_err(SandboxError::io("no temporary folder"))?;
    let store = Arc::new(EnvStore::new(folder.path().join(".env"), EnvFormat::new(KEY_PREFIX)));
    let login = control.login();
    let first = Change { access_token: Some(login.access_token), refresh_token: login.refresh_token, expires_at: None };
    store.write(&first).map_err(crate::engine::StartError::from)?;

    let origin = format!("127.0.0.1:{}", server.addr().port());
    let broker =
        Kite::new(kite::App::Approved, api_key, Some(api_secret.clone())).with_login_root(format!("http://{origin}"));
    let policy = Policy {
        user_id: Some(user_id),
        expiry: Expiry::Ttl(TOKEN_LIFE),
        seed: options.seed,
        close: close.ist_time(),
        ..Policy::for_broker(broker.facts())
    };
    let (rest, feed) = (format!("http://{origin}"), format!("ws://{origin}"));
    let setup = Setup {
        loopback: true,
        policy,
        secrets: vec![api_secret],
        instruments: market.instruments.iter().map(|(instrument, _)| instrument.key.clone()).collect(),
        ..Setup::new("sandbox", Arc::new(broker), rest, feed, store.clone())
    };
    let instruments = market.instruments.iter().map(|(instrument, _)| instrument.clone()).collect();
    let paper = MockExchange::new(PaperConfig::default(), instruments, market.calendar.clone());
    let source = if market.replays.is_empty() { PaperSource::Synthetic } else { PaperSource::Replay };
    let journal = MemoryJournal::default();
    let mut builder = Engine::builder(setup)
        .clock(Arc::new(clock.clone()))
        .journal(Box::new(journal.clone()))
        .paper(PaperBroker::new(paper))
        .calendar(market.calendar.clone())
        .fallback_prices(market.prices(), source);
    let events = tokio::spawn(record_events(builder.events(), Arc::clone(&tell)));
    let engine = Arc::new(builder.start().await?);
    let ticks = tokio::spawn(record_ticks(engine.ticks(), session, progress));
    let tick_size = market
        .instruments
        .iter()
        .find(|(instrument, _)| instrument.key == traded)
        .map_or(Price::from_paise(5), |(instrument, _)| instrument.tick);
    let trader = tokio::spawn(strategy::trade(Arc::clone(&engine), engine.ticks(), traded, tick_size));

    let (running, speed) = (clock.clone(), options.speed);
    let stepping = tokio::spawn(async move { running.run(speed).await });
    let world = World {
        engine: &engine,
        control: &control,
        clock: &clock,
        tell: &tell,
        store: store.path(),
        writer: &options.writer,
    };
    drop(held);
    let script = world.script(at(13, 30, 500), at(13, 35, 500), at(13, 40, 500), close + Duration::from_secs(30)).await;
    // The clock stands still from here on, whatever the script came to.
    let _held = clock.busy();
    script?;
    let (desk, standing) = engine
        .look(|core| (core.desk().clone(), core.standing()))
        .await
        .map_err(|_| SandboxError::Writer("the engine stopped before the day was over".to_owned()))?;
    trader.abort();
    // The strategy's handle is the only other one; with the engine gone, the recorders come to their end.
    drop(trader.await);
    if let Some(engine) = Arc::into_inner(engine) {
        engine.stop().await;
    }
    stepping.abort();
    let evidence = Evidence {
        replays: market.files.clone(),
        ticks: ticks.await.unwrap_or_default(),
        events: events.await.unwrap_or_default(),
        journal: journal.read().unwrap_or_default(),
        server: control.log(),
        desk,
        standing,
    };
    Ok(Day { report: Report::count(&evidence), server })
}

/// The world outside the engine, as far as the script moves it.
struct World<'a> {
    engine: &'a Engine,
    control: &'a Control,
    clock: &'a SteppedClock,
    tell: &'a Teller,
    store: &'a Path,
    writer: &'a [OsString],
}

impl World<'_> {
    /// Plays the day.
    async fn script(
        &self,
        death: Timestamp,
        wrong: Timestamp,
        good: Timestamp,
        end: Timestamp,
    ) -> Result<(), SandboxError> {
        let busy = self.until(death).await;
        self.say("the broker ends the session and renews no more");
        self.control.refresh(Refresh::Withdrawn);
        self.control.kill_tokens();
        drop(busy);

        let busy = self.until(wrong).await;
        self.say("somebody pastes a wrong token into the store");
        self.write("this-is-not-a-token").await?;
        drop(busy);

        let busy = self.until(good).await;
        self.say("a human has logged in; another process writes the new token into the store");
        let session = self.control.login();
        self.write(session.access_token.expose()).await?;
        drop(busy);

        drop(self.until(end).await);
        Ok(())
    }

    async fn until(&self, at: Timestamp) -> nirantar_brokers::time::Busy {
        self.clock.sleep_until(self.clock.now().mono_at(at)).await
    }

    fn say(&self, words: &str) {
        (self.tell)(Line { at: self.clock.now().wall, who: Who::World, words: words.to_owned() });
    }

    /// Has another process write a token, and waits until the engine's watcher has seen it. The market stands still
    /// meanwhile: files change in real time.
    async fn write(&self, token: &str) -> Result<(), SandboxError> {
        let mut events = self.engine.events();
        let fail = |why: String| SandboxError::Writer(why);
        let (program, arguments) = self.writer.split_first().ok_or_else(|| fail("no command was given".to_owned()))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .arg(self.store)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| fail(why.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(token.as_bytes()).await.map_err(|why| fail(why.to_string()))?;
        }
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        match done {
            Ok(Ok(output)) if output.status.success() => {}
            Ok(Ok(output)) => return Err(fail(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Ok(Err(why)) => return Err(fail(why.to_string())),
            Err(_) => return Err(fail(format!("it did not end within {PATIENCE:?}"))),
        }
        let seen = async {
            while let Some(message) = events.next().await {
                if matches!(message, EventMessage::Event(Event::Candidate { .. })) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .map_err(|_| fail(format!("the engine did not see the change within {PATIENCE:?}")))
    }
}
