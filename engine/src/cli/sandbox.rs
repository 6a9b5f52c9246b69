//! `nirantar sandbox`: the day is played in [`crate::sandbox`]; here are its arguments and how it is shown.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nirantar_brokers::time::SystemClock;

use super::market::ReplayArg;
use super::signals::Signals;
use super::{CliError, log, print};
use crate::config::BrokerName;
use crate::sandbox::{self, Line, Options, Show, Who};

/// Play a whole trading day on this machine, with a token that dies in the middle of it
///
/// Needs no network, no credentials and nothing installed: it starts a broker's own wire protocol over a paper exchange
/// on loopback, connects the engine to it through the real adapter, and trades a small strategy through one day: a
/// renewal that works, a token that dies while its renewal fails, paper trading, a new token from another process, and
/// the way back to live. Prints one line for each change of state and ends with a summary.
///
/// Examples:
///   nirantar sandbox
///   nirantar sandbox --replay "NIFTY.csv=NIFTY 50" --replay RELIANCE.csv=RELIANCE --speed max --json
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SandboxArgs {
    /// Whose wire protocol to speak
    #[arg(long, default_value = "kite", value_parser = super::broker)]
    broker: BrokerName,
    /// A recorded day (CSV: timestamp,ltp,volume; IST) as the prices of SYMBOL, like RELIANCE, "NIFTY 50" or
    /// BSE:SENSEX; may be repeated. A FILE of nirantar record is known by its first bytes: with =SYMBOL its ticks of
    /// SYMBOL, without it those of every instrument known here. Without --replay three instruments move by a seeded walk
    #[arg(long, value_name = "FILE[=SYMBOL]", verbatim_doc_comment)]
    replay: Vec<ReplayArg>,
    /// Market seconds a second, or `max` for as fast as the work allows
    #[arg(long, value_name = "N|max", default_value = "max")]
    speed: Speed,
    /// Seed of everything made up; the same seed is the same day
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object on stdout instead of the summary; everything else goes to stderr
    #[arg(long)]
    json: bool,
    /// When the day is over, keep the exchange open until Ctrl-C, to be looked at with any Kite client
    #[arg(long)]
    keep_open: bool,
}

/// How fast market time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speed {
    /// So many market seconds a second at most.
    Times(NonZeroU32),
    /// As fast as the work allows.
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.parse().map(Self::Times).map_err(|_| "expected a whole number above zero, or max".to_owned())
    }
}

/// Exit code of a day that was not as promised.
const BROKEN_PROMISE: u8 = 1;

/// Plays the day and says what it came to.
pub(super) async fn sandbox(arguments: SandboxArgs) -> Result<ExitCode, CliError> {
    debug_assert_eq!(arguments.broker, BrokerName::Kite, "the option takes no other");
    log::start(Arc::new(SystemClock::start()), log::Default::Silent)?;
    let mut signals = Signals::watch()?;
    let replays = arguments
        .replay
        .iter()
        .map(|replay| Ok((replay.file.clone(), replay.instrument()?)))
        .collect::<Result<Vec<_>, CliError>>()?;
    let options = Options {
        speed: match arguments.speed {
            Speed::Max => None,
            Speed::Times(times) => Some(times.get()),
        },
        seed: arguments.seed,
        writer: token_writer()?,
        replays,
    };
    let bar = progress_bar();
    let show = show(&bar, arguments.json);
    let day = tokio::select! {
        day = sandbox::run(options, show) => day?,
        () = signals.wait() => return Ok(ExitCode::from(BROKEN_PROMISE)),
    };
    bar.finish_and_clear();
    if arguments.json {
        print::say(&day.report.to_json().to_string());
    } else {
        print::say(&format!("\n{}", day.report));
    }
    if arguments.keep_open {
        print::complain(&format!("the exchange stays open at http://{} until Ctrl-C", day.server.addr()));
        signals.wait().await;
    }
    Ok(if day.report.ok { ExitCode::SUCCESS } else { ExitCode::from(BROKEN_PROMISE) })
}

/// Another process that writes a token: this very program, as `nirantar token set`.
fn token_writer() -> Result<Vec<OsString>, CliError> {
    let program = std::env::current_exe().map_err(|error| CliError::System("find its own program", error))?;
    let arguments = ["token", "set", "--store"].into_iter().map(OsString::from);
    Ok(std::iter::once(program.into_os_string()).chain(arguments).collect())
}

/// Market time as a bar, on a terminal only.
fn progress_bar() -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{msg}  {bar:40}  {percent:>3} % of the market's day");
    let bar = ProgressBar::with_draw_target(Some(1000), target);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, json: bool) -> Show {
    let (telling, moving) = (bar.clone(), bar.clone());
    Show {
        tell: Arc::new(move |line| {
            let text = in_columns(&line);
            telling.suspend(|| if json { print::complain(&text) } else { print::say(&text) });
        }),
        progress: Arc::new(move |at, share| {
            moving.set_position((share * 1000.0) as u64);
            moving.set_message(at.ist_time().format("%H:%M").to_string());
        }),
    }
}

/// `13:30:00  STATE  Valid -> Expired: the broker says the token is dead`
fn in_columns(line: &Line) -> String {
    let who = match line.who {
        Who::State => "STATE",
        Who::World => "WORLD",
        Who::Engine => "",
    };
    format!("{}  {who:<5}  {}", line.at.ist_time().format("%H:%M:%S"), line.words)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        sandbox: SandboxArgs,
    }

    #[test]
    fn every_option_of_the_sandbox_is_read() {
        let read = |arguments: &str| Command::try_parse_from(format!("sandbox {arguments}").split_whitespace());
        let all = read("--broker kite --replay a.csv=TCS --replay b.csv=INFY --speed 60 --seed 9 --json --keep-open");
        let all = all.unwrap().sandbox;
        assert_eq!(
            all.replay.iter().map(|replay| replay.symbol.as_deref()).collect::<Vec<_>>(),
            [Some("TCS"), Some("INFY")]
        );
        assert_eq!((all.speed, all.seed), (Speed::Times(NonZeroU32::new(60).unwrap()), 9));
        assert!(all.json && all.keep_open);
        assert_eq!(read("").unwrap().sandbox.speed, Speed::Max);
        for bad in ["--speed 0", "--speed fast", "--seed -1", "--broker upstox"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
