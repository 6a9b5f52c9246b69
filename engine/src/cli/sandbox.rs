//! What `nirantar sandbox` takes. The day itself is played elsewhere: these are its arguments.

use std::num::NonZeroU32;
use std::str::FromStr;

use clap::Args;

pub use super::market::{Market, ReplayArg, last_trading_day};
use crate::config::BrokerName;

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
pub struct SandboxArgs {
    /// Whose wire protocol to speak
    #[arg(long, default_value = "kite", value_parser = super::broker)]
    pub broker: BrokerName,
    /// A recorded day (CSV: timestamp,ltp,volume; IST) as the prices of SYMBOL, like RELIANCE, "NIFTY 50" or
    /// BSE:SENSEX; may be repeated. What is not replayed moves by a seeded walk
    #[arg(long, value_name = "FILE=SYMBOL", verbatim_doc_comment)]
    pub replay: Vec<ReplayArg>,
    /// Market seconds a second, or `max` for as fast as the work allows
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub speed: Speed,
    /// Seed of everything made up; the same seed is the same day
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object on stdout instead of the summary; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
    /// When the day is over, keep exchange and engine running until Ctrl-C
    #[arg(long)]
    pub keep_open: bool,
}

/// How fast market time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
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
        assert_eq!(all.replay.iter().map(|replay| replay.symbol.as_str()).collect::<Vec<_>>(), ["TCS", "INFY"]);
        assert_eq!((all.speed, all.seed), (Speed::Times(NonZeroU32::new(60).unwrap()), 9));
        assert!(all.json && all.keep_open);
        assert_eq!(read("").unwrap().sandbox.speed, Speed::Max);
        for bad in ["--speed 0", "--speed fast", "--seed -1", "--broker upstox"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
