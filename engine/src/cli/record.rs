//! `nirantar record`: what comes over an account's feed, bit for bit, into a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nirantar_brokers::time::{Clock, SystemClock};

use super::run::{report, stop};
use super::signals::Signals;
use super::{CliError, log, print};
use crate::config::{Account, Config};
use crate::engine::{Engine, OnStop, Setup};
use crate::feed::{Recorded, Recorder};

/// How often it is looked whether the disk still takes what comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Record an account's feed, bit for bit
///
/// Keeps the account's session as nirantar run does, opens its feed with the instruments and mode of the configuration,
/// and writes every frame into a file as it comes, with the time it arrived and on which connection. It places no orders
/// and touches none. Ends with Ctrl-C or SIGTERM, and says then what was recorded.
///
/// The file is compact, checksummed, and whole up to the last frame but a few whenever the process is killed; one that is
/// there already is gone on with, so a file a day is best made by its name. If the disk is too slow, frames are lost to the
/// file and not to the feed: how many is said, and stands in the file where they are missing.
///
/// nirantar exchange and nirantar sandbox play such a file with --replay FILE, for the instruments they know.
///
/// Examples:
///   nirantar record --out 2026-11-20.nrec
///   nirantar record --config /etc/nirantar/nirantar.toml --account main --out "$(date +%F).nrec"
///   nirantar exchange --broker kite --listen 127.0.0.1:8080 --replay 2026-11-20.nrec
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RecordArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Whose feed; may be left out where there is one account only
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// File to write; what is in it already stays
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Records until the wish to end, or until the disk fails.
pub(super) async fn record(arguments: RecordArgs) -> Result<ExitCode, CliError> {
    let mut signals = Signals::watch()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    log::start(Arc::clone(&clock), log::Default::Info)?;
    let config = Config::load(&arguments.config)?;
    let account = chosen(&config.accounts, arguments.account.as_deref())?;
    let setup = Setup::from(account);
    if setup.broker.trading().is_none() || setup.instruments.is_empty() {
        return Err(CliError::NothingToRecord { account: account.name.clone() });
    }
    // Orders are somebody else's: a halt is for the engine that places them, and none is cancelled at the end.
    let setup = Setup { on_stop: OnStop::Leave, halt_file: None, ..setup };
    let recorder = Recorder::start(&arguments.out, setup.broker.facts().name)?;
    if let Some(torn) = recorder.torn() {
        print::complain(&format!("{}: {torn}", arguments.out.display()));
    }
    let builder = Engine::builder(setup).clock(Arc::clone(&clock)).record(recorder.tap());
    let started = builder.start().await;
    let engine = started.map_err(|reason| CliError::Start { account: account.name.clone(), reason })?;
    let engine = Arc::new(engine);
    print::say(&format!("{}: the feed is recorded into {}", account.name, arguments.out.display()));
    let standing = tokio::spawn(report(engine.name().to_owned(), engine.cached(), engine.events(), Arc::clone(&clock)));
    let failed = async {
        while recorder.recorded().failed.is_none() {
            drop(clock.sleep(LOOK_EVERY).await);
        }
    };
    tokio::select! {
        () = signals.wait() => {}
        () = failed => {}
    }
    standing.abort();
    stop(&[engine]).await;
    let recorded = recorder.finish();
    print::say(&words(&recorded));
    match recorded.failed {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(CliError::RecordingFailed { file: arguments.out, why }),
    }
}

fn chosen<'a>(accounts: &'a [Account], name: Option<&str>) -> Result<&'a Account, CliError> {
    let known = || accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, accounts) {
        (None, [only]) => Ok(only),
        (None, _) => Err(CliError::WhichAccount { known: known() }),
        (Some(name), _) => accounts
            .iter()
            .find(|account| account.name == name)
            .ok_or_else(|| CliError::NoAccount { name: name.to_owned(), known: known() }),
    }
}

/// `12 frames recorded: 22,104 bytes as they came, 3,210 in the file; none lost`
fn words(recorded: &Recorded) -> String {
    let lost = if recorded.lost == 0 { "none".to_owned() } else { recorded.lost.to_string() };
    let Recorded { frames, raw_bytes, file_bytes, .. } = recorded;
    format!("{frames} frames recorded: {raw_bytes} bytes as they came, {file_bytes} in the file; {lost} lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_was_recorded_and_what_was_lost() {
        let recorded = Recorded { frames: 12, lost: 0, raw_bytes: 22_104, file_bytes: 3_210, failed: None };
        assert_eq!(words(&recorded), "12 frames recorded: 22104 bytes as they came, 3210 in the file; none lost");
        assert!(words(&Recorded { lost: 5, ..recorded }).ends_with("; 5 lost"));
    }
}
