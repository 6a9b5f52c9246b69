//! `nirantar token …`: where every account's token stands, logging in, renewing, watching, and writing a token into a
//! store.

mod login;
pub(super) mod matrix;
pub(super) mod probe;
mod refresh;
mod report;
pub(super) mod running;
mod set;
mod watch;

pub(super) use login::{LoginArgs, login};
pub(super) use refresh::{RefreshArgs, refresh};
pub(super) use set::{SetArgs, set};
pub(super) use watch::{WatchArgs, watch};

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nirantar_brokers::time::{Clock as _, SystemClock};
use nirantar_exchange_mock::Calendar;

use super::{CliError, print};
use crate::config::Config;
use report::Report;

/// Exit code when some token is not live.
const NOT_LIVE: u8 = 1;
/// Exit code when the configuration cannot be used.
const UNREADABLE: u8 = 2;

/// Say where every account's token stands, and what to do about it
///
/// Reads each account's store and asks the broker once whose the token is. Changes nothing, and shows tokens as
/// fingerprints only. The states are: live; dead; missing (no token in the store); stranger (a valid token of somebody
/// else); refused (the broker refuses for a reason that proves nothing about the token); unreachable. With each comes what a
/// trader sees of it by what the market does now: prices that stand still before the open are no dead feed. Where the
/// configuration has a [server], a running nirantar is asked how its feed and its orders are.
///
/// Exit code: 0 all are live, 1 some are not, 2 the configuration cannot be used.
///
/// Examples:
///   nirantar token status
///   nirantar token status --config prod.toml --json | jq '.accounts[] | {name, state, next}'
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct StatusArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Print one JSON object on stdout, also when the configuration cannot be used
    #[arg(long)]
    json: bool,
}

/// Looks at every account and prints what it found.
pub(super) async fn status(arguments: &StatusArgs) -> Result<ExitCode, CliError> {
    let report = match Config::load(&arguments.config) {
        Ok(config) => {
            let now = SystemClock::start().now().wall;
            let asked = async {
                match &config.server {
                    Some(server) => Some(running::ask(server).await),
                    None => None,
                }
            };
            let (standings, running) = tokio::join!(probe::all(&config.accounts, now), asked);
            Report::of(standings, matrix::market(&Calendar::nse(), now), running)
        }
        Err(error) if arguments.json => {
            print::say(&Report::unreadable(&error).to_string());
            print::complain(&format!("nirantar: {error}"));
            return Ok(ExitCode::from(UNREADABLE));
        }
        Err(error) => return Err(error.into()),
    };
    if arguments.json {
        print::say(&report.json().to_string());
    } else {
        print::say(report.table().trim_end());
    }
    Ok(if report.all_live() { ExitCode::SUCCESS } else { ExitCode::from(NOT_LIVE) })
}
