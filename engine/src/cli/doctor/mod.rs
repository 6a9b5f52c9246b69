//! `nirantar doctor`: whether everything is in place for a day of trading, and how to mend what is not.
//!
//! Looking ([`look`]) is apart from judging ([`judge`]): what was found is a value, and the words are a function of it.
//!
//! Promises: it changes nothing that stays, sends no order, and shows no secret.

mod facts;
mod judge;
mod look;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{CliError, print};
use crate::config::Config;
use judge::{Check, Level};

/// Exit code when something has failed.
const FAILED: u8 = 1;

/// Check the set-up, and say how to mend what is wrong
///
/// Looks at the configuration, the stores (readable, writable, whose they are and who else can read them), the clock against
/// the broker's, the way to the broker's services, the journal (readable, writable, not newer), the halt file, the tokens
/// (shape, end, whose they are), the login server, and at secrets in the wrong places. It asks the broker once whose each token is, and changes nothing.
///
/// Each finding is ok, warn (it works, or will not for long) or fail, with what it means and how to mend it.
///
/// Exit code: 0 nothing failed, 1 something did.
///
/// Examples:
///   nirantar doctor
///   nirantar doctor --config prod.toml --json | jq '.checks[] | select(.level != "ok")'
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DoctorArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Looks, judges and prints.
pub(super) async fn doctor(arguments: &DoctorArgs) -> Result<ExitCode, CliError> {
    let checks = match Config::load(&arguments.config) {
        Ok(config) => {
            let facts = look::at(&config).await;
            let read = judge::configuration(&arguments.config, &config.accounts);
            std::iter::once(read).chain(judge::all(&facts)).collect()
        }
        Err(error) => vec![judge::no_configuration(&error)],
    };
    let failed = checks.iter().any(|check| check.level == Level::Fail);
    if arguments.json {
        let object = |check: &Check| json!({ "about": check.about, "level": check.level.as_str(), "words": check.words, "mend": check.mend });
        let checks: Vec<_> = checks.iter().map(object).collect();
        print::say(&json!({ "ok": !failed, "checks": checks }).to_string());
    } else {
        print::say(text(&checks).trim_end());
    }
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// A line for each finding, and one below it where there is something to mend.
fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.about.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        text.push_str(&format!("{:<4}  {:<width$}  {}\n", check.level.as_str(), check.about, check.words));
        if let Some(mend) = &check.mend {
            text.push_str(&format!("{:<4}  {:<width$}  mend: {mend}\n", "", ""));
        }
    }
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    text.push_str(&format!("\n{} ok, {} warn, {} fail\n", count(Level::Ok), count(Level::Warn), count(Level::Fail)));
    text
}
