//! `nirantar token watch`: a line for every change of a token in a store, with what the broker says of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use nirantar_brokers::time::{Clock, SystemClock};
use tokio::sync::mpsc;

use super::probe::{self, Standing, State};
use crate::cli::signals::Signals;
use crate::cli::{CliError, print};
use crate::config::{Account, Config};
use crate::engine::Setup;
use crate::token::store::{Store, StoreError, Stored};
use crate::token::{Sighting, Watcher};

/// Sightings that may wait while a broker is asked.
const WAITING: usize = 64;

/// Say whenever a token in a store changes, and what the broker says of it
///
/// Prints a line for each store of each account at the start, and one for every later change, whoever made it. It asks the
/// broker whose token it is, changes nothing, and shows tokens as fingerprints only. Ends with Ctrl-C or SIGTERM.
///
/// Example:
///   nirantar token watch --config prod.toml
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WatchArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
}

/// Watches until the wish to end.
pub(crate) async fn watch(arguments: &WatchArgs) -> Result<ExitCode, CliError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let config = Config::load(&arguments.config)?;
    let mut signals = Signals::watch()?;
    let mut watching = tokio::task::JoinSet::new();
    for account in config.accounts {
        let setup = Setup::from(&account);
        for store in std::iter::once(setup.store).chain(setup.fallback_stores) {
            watching.spawn(one(account.clone(), store, Arc::clone(&clock)));
        }
    }
    signals.wait().await;
    watching.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

async fn one(account: Account, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    let (sender, mut sightings) = mpsc::channel(WAITING);
    let path = store.path().to_owned();
    let watcher = Watcher::spawn(store, sender);
    let first = match watcher.first() {
        Ok(stored) => Sighting::Changed(stored.clone()),
        Err(StoreError::NotFound { .. }) => Sighting::Changed(Stored::default()),
        Err(error) => Sighting::Malformed(error.clone()),
    };
    let mut next = Some(first);
    while let Some(sighting) = next {
        let words = match sighting {
            Sighting::Malformed(error) => format!("cannot be read, and what was read last stays: {error}"),
            Sighting::Changed(stored) if stored.access_token.is_none() => "no token in it".to_owned(),
            Sighting::Changed(stored) => described(&probe::of(&account, &stored, clock.now().wall).await),
        };
        let time = clock.now().wall.to_ist().format("%H:%M:%S").to_string();
        print::say(&format!("{time} {} {}: {words}", account.name, path.display()));
        next = sightings.recv().await;
    }
}

/// `token #1234abcd is live, AB1234, good until 2026-11-21 07:30:00`
fn described(standing: &Standing) -> String {
    let token = standing.token.map(|token| token.to_string()).unwrap_or_default();
    let mut words = format!("token {token} is {}", standing.state.as_str());
    if standing.state == State::Live {
        words.push_str(&format!(", {}", standing.user_id));
        if let Some(at) = standing.expires_at {
            words.push_str(&format!(", good until {at}"));
        }
    } else if let Some(why) = &standing.why {
        words.push_str(&format!(": {why}"));
    }
    words
}
