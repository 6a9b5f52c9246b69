//! `nirantar run`: keeps the session, the feed and the store of every account, until it is told to end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nirantar_brokers::time::{Clock, SystemClock, Timestamp};
use nirantar_exchange_mock::Calendar;

use super::market::DailyWalk;
use super::orders::story::{self, Counts};
use super::signals::{Signals, Word};
use super::{CliError, log, print};
use crate::alerts::{self, Alerts};
use crate::config::{Account, Config};
use crate::engine::{Engine, Events, Setup};
use crate::feed::PaperSource;
use crate::orders::{Journal as _, SqliteJournal};
use crate::server::Server;
use crate::session::{Operator, TradingMode};
use crate::token::{Cached, Snapshot};

/// How long the end may take, by the wall clock.
const END_WITHIN: Duration = Duration::from_millis(1_800);
/// How long engines and logins may take of it; the rest is for alerts. An engine takes 600 ms to cancel orders, where its
/// account says so, and a second for a renewal.
const ENGINES_WITHIN: Duration = Duration::from_millis(1_650);
/// How late a line may be at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keep every account's session alive
///
/// Watches each account's token store, proves every token that appears there, renews by itself where the broker can,
/// asks for a login where it cannot, and keeps one live feed across all of them. Prints one line for an account whenever
/// it changes where it stands; the log goes to stderr (NIRANTAR_LOG=debug shows more). Ends with Ctrl-C or SIGTERM.
///
/// With a [server] in the configuration it also serves the login page, the brokers' callbacks and the health of every
/// account, and prints where.
///
/// Orders of every day stand in each account's journal: a line at the start says how many, and what is to be done about
/// them; nirantar orders shows them. A journal that is damaged, newer or in use by another engine stops the start.
///
/// It places no orders itself. After a wrong IP or a missing plan is mended, and after a Fallback where the account says
/// resume = "confirm", it waits for the operator's word: kill -USR1 PID. A halt is lifted by nirantar
/// resume, or the server's resume, only.
///
/// Examples:
///   nirantar run
///   NIRANTAR_LOG=warn nirantar run --config /etc/nirantar/nirantar.toml
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
}

/// Runs every account until the wish to end.
pub(super) async fn run(arguments: &RunArgs) -> Result<ExitCode, CliError> {
    // First, so that a wish to end is never an accident.
    let mut signals = Signals::watch()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    log::start(Arc::clone(&clock), log::Default::Info)?;
    let config = Config::load(&arguments.config)?;
    let mut engines: Vec<Arc<Engine>> = Vec::with_capacity(config.accounts.len());
    let mut watched = Vec::with_capacity(config.accounts.len());
    for account in &config.accounts {
        for warning in &account.warnings {
            tracing::warn!(account = %account.name, "{warning}");
        }
        let link = config.server.as_ref().and_then(|server| server.login_link(&account.name));
        let setup = Setup::from(account);
        let journal = match open_journal(account, &setup, clock.now().wall) {
            Ok(journal) => journal,
            Err(error) => {
                stop(&engines).await;
                return Err(error);
            }
        };
        let mut builder = Engine::builder(setup).clock(Arc::clone(&clock)).login_link(link);
        if account.synthetic_prices {
            // One that makes no sense is refused by the start below.
            let own = account.calendar.as_deref().and_then(|file| Calendar::load(file).ok());
            let calendar = own.unwrap_or_else(Calendar::nse);
            let walk = DailyWalk::new(&account.instruments, calendar, clock.now().wall.ist_date());
            builder = builder.fallback_prices(Box::new(walk), PaperSource::Synthetic);
        }
        if let Some((journal, words)) = journal {
            print::say(&words);
            builder = builder.journal(Box::new(journal));
        }
        // Before the start: a login may be due from the first moment on.
        let events = builder.events();
        match builder.start().await {
            Ok(engine) => {
                let (name, redaction, login_page) =
                    (engine.name().to_owned(), engine.redaction(), engine.login_url(None));
                watched.push(alerts::Account { name, events, redaction, login_page });
                engines.push(Arc::new(engine));
            }
            Err(reason) => {
                stop(&engines).await;
                return Err(CliError::Start { account: account.name.clone(), reason });
            }
        }
    }
    // An account without a live feed takes the prices of one that has.
    for engine in &engines {
        for other in engines.iter().filter(|other| !Arc::ptr_eq(other, engine)) {
            engine.take_prices_of(other);
        }
    }
    let alerts = match Alerts::start(&config.alerts, watched, Arc::clone(&clock)) {
        Ok(alerts) => alerts,
        Err(reason) => {
            stop(&engines).await;
            return Err(reason.into());
        }
    };
    let mut reports = tokio::task::JoinSet::new();
    for engine in &engines {
        reports.spawn(report(engine.name().to_owned(), engine.cached(), engine.events(), Arc::clone(&clock)));
    }
    let server = match &config.server {
        Some(settings) => match Server::start(settings, engines.clone(), Arc::clone(&clock)).await {
            Ok(server) => {
                print::say(&format!("log in at {}", server.login_page()));
                Some(server)
            }
            Err(reason) => {
                reports.shutdown().await;
                stop(&engines).await;
                return Err(reason.into());
            }
        },
        None => None,
    };
    while signals.next().await == Word::GoOn {
        for engine in &engines {
            go_on(engine).await;
        }
    }
    end(server, reports, &engines, alerts, clock.as_ref()).await;
    Ok(ExitCode::SUCCESS)
}

/// The account's journal, and a line that says what it holds. `None` where no order can leave: at a broker of which only the
/// sessions are kept.
fn open_journal(account: &Account, setup: &Setup, now: Timestamp) -> Result<Option<(SqliteJournal, String)>, CliError> {
    if setup.broker.trading().is_none() {
        return Ok(None);
    }
    let opened = SqliteJournal::open(&account.journal).and_then(|journal| Ok((journal.read()?, journal)));
    let (records, journal) = opened.map_err(|reason| CliError::Journal { account: account.name.clone(), reason })?;
    let counts = Counts::after_restart(&story::stories(&records), now.to_ist().date());
    Ok(Some((journal, format!("{}: journal {}: {}", account.name, account.journal.display(), counts.words()))))
}

/// The operator's word that came as a signal: it lifts what waits for one, and never a halt.
async fn go_on(engine: &Engine) {
    // An engine that has stopped needs no word.
    let _ = engine.operator(Operator::Confirm).await;
    let _ = engine.operator(Operator::Mended).await;
    if engine.health().await.is_ok_and(|health| health.mode != TradingMode::Active) {
        let name = engine.name();
        tracing::warn!(account = name, "SIGUSR1 does not lift a halt: nirantar resume {name} does");
    }
}

/// Ends everything, in time: whoever sends SIGTERM sends SIGKILL soon after.
async fn end(
    server: Option<Server>,
    mut reports: tokio::task::JoinSet<()>,
    engines: &[Arc<Engine>],
    alerts: Alerts,
    clock: &dyn Clock,
) {
    let began = clock.now().mono;
    reports.shutdown().await;
    // Side by side: a login that is still being exchanged stores its token whether its engine runs or not.
    let server = async {
        if let Some(server) = server {
            server.stop().await;
        }
    };
    let ended = async { tokio::join!(server, stop(engines)) };
    if tokio::time::timeout(ENGINES_WITHIN, ended).await.is_err() {
        tracing::warn!(
            "not every account ended in time and what was under way was cut off: look at open orders in the broker's own \
             app, and at the tokens with nirantar token status"
        );
    }
    // The engines' last words are among what they tell.
    alerts.stop_within(END_WITHIN.saturating_sub(clock.now().mono.since(began))).await;
}

/// Stops them all at once, whoever else holds them.
pub(super) async fn stop(engines: &[Arc<Engine>]) {
    futures_util::future::join_all(engines.iter().map(|engine| engine.wind_down())).await;
}

/// Prints where an account stands, now and whenever it changes.
pub(super) async fn report(name: String, mut cached: Cached, mut events: Events, clock: Arc<dyn Clock>) {
    let mut said = String::new();
    loop {
        let words = standing(&name, cached.load());
        if words != said {
            print::say(&format!("{} {words}", clock.now().wall.to_ist().format("%H:%M:%S")));
            said = words;
        }
        tokio::select! {
            event = events.next() => if event.is_none() {
                return;
            },
            // An event may come just before what it tells of is published.
            _ = clock.sleep(LOOK_AGAIN) => {}
        }
    }
}

/// `main: Valid, orders live, token #1234abcd`
fn standing(name: &str, snapshot: &Snapshot) -> String {
    let only = if snapshot.reduce_only { " (exits and cancels only)" } else { "" };
    let token = match &snapshot.token {
        Some(live) => format!("token {}", live.fingerprint()),
        None => "no token".to_owned(),
    };
    format!("{name}: {}, orders {}{only}, {token}", snapshot.state, snapshot.venue)
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::{AccessToken, Secret, Venue};

    use super::*;
    use crate::session::State;
    use crate::token::LiveToken;

    #[test]
    fn a_line_says_state_venue_and_token_and_never_the_token_itself() {
        assert_eq!(standing("main", &Snapshot::starting()), "main: Expired, orders blocked (starting), no token");
        let token = LiveToken::new(AccessToken::new("hunter2"), &Secret::new("token key:hunter2")).unwrap();
        let token = Some(Arc::new(token));
        let back =
            Snapshot { state: State::Valid, venue: Venue::Live, reduce_only: true, token, ..Snapshot::starting() };
        let words = standing("main", &back);
        assert!(words.starts_with("main: Valid, orders live (exits and cancels only), token #"), "{words}");
        assert!(!words.contains("hunter2"), "{words}");
    }
}
