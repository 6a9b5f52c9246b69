//! `nirantar halt` and `nirantar resume`: the kill switch, as a file that every engine of the account obeys.
//!
//! Promises: neither needs a token, a credential or a running engine; every account that can be halted is, whatever fails
//! for another; an account nobody named is never touched.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nirantar_brokers::time::{Clock as _, SystemClock};

use super::{CliError, print};
use crate::config::{Config, OrderFiles};
use crate::engine::halting;
use crate::session::TradingMode;

/// Longest reason that is kept.
const LONGEST_REASON: usize = 200;

/// Stop trading now: cancel what works, and take nothing new
///
/// Writes the account's halt file. A running nirantar sees it within a second, cancels every working order, live and paper,
/// and refuses new ones, exits too; one that is started later is halted from the start. Positions stay as they are. What
/// cannot be reached now is remembered and cancelled when it can be; until then use the broker's app. The halt lasts over
/// restarts until `nirantar resume`. With --reduce-only resting entries are cancelled and new ones refused, and exits
/// and cancels go on. It needs no token and no network. Any program can do the same: the file there means halted.
///
/// Examples:
///   nirantar halt
///   nirantar halt main --reason "strategy repeats itself"
///   nirantar halt --all --reduce-only
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct HaltArgs {
    #[command(flatten)]
    of: Of,
    /// Let exits and cancels go on, and nothing that adds to a position
    #[arg(long)]
    reduce_only: bool,
    /// Why, for whoever finds it halted; one line
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Let an account trade again after a halt
///
/// Takes the account's halt file away. A running nirantar sees it within a second and takes orders again as its session
/// allows. What was cancelled stays cancelled: nothing is sent again by itself. Look at `nirantar orders` and at the
/// positions in the broker's app first.
///
/// Examples:
///   nirantar resume
///   nirantar resume main other
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    of: Of,
}

/// Which accounts.
#[derive(Clone, Debug, Args)]
struct Of {
    /// The accounts; not needed where there is only one
    #[arg(value_name = "ACCOUNT", conflicts_with = "all")]
    accounts: Vec<String>,
    /// Every account of the configuration
    #[arg(long)]
    all: bool,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
}

/// Halts.
pub(super) fn halt(arguments: &HaltArgs) -> Result<ExitCode, CliError> {
    let mode = if arguments.reduce_only { TradingMode::ReduceOnly } else { TradingMode::Halted };
    let why = one_line(arguments.reason.as_deref().unwrap_or("by nirantar halt"));
    let now = SystemClock::start().now().wall;
    each(&arguments.of, "stop nirantar, or cancel in the broker's own app", |files| {
        let before = halting::read(&files.halt_file).map(|halt| halt.mode);
        halting::write(&files.halt_file, mode, now, &why)?;
        Ok(halted(&files.account, mode, before))
    })
}

/// Lets them trade again.
pub(super) fn resume(arguments: &ResumeArgs) -> Result<ExitCode, CliError> {
    each(&arguments.of, "remove that file by hand", |files| {
        let before = halting::read(&files.halt_file);
        halting::remove(&files.halt_file)?;
        let account = &files.account;
        Ok(match before {
            None => format!(
                "{account}: it was not halted; nothing was changed\n\
                 \x20 if it takes only exits because of a day's loss: POST /api/operator/{account}/resume lets trading go on; so do\n\
                 \x20 nirantar halt {account} --reduce-only and, 15 seconds later, nirantar resume {account}"
            ),
            Some(halt) => format!(
                "{account}: resumed. It was {}\n\
                 \x20 now: a running nirantar takes orders again within a second, as far as its session allows\n\
                 \x20 what was cancelled stays cancelled; nothing is sent again by itself (nirantar orders shows it)",
                halt.words
            ),
        })
    })
}

/// What happens now, and what is safe.
fn halted(account: &str, mode: TradingMode, before: Option<TradingMode>) -> String {
    let was = match before {
        Some(TradingMode::Halted) => " (it was halted before)",
        Some(TradingMode::ReduceOnly) => " (it was reduce-only before)",
        Some(TradingMode::Active) | None => "",
    };
    let (what, now, safe) = match mode {
        TradingMode::ReduceOnly => (
            "reduce-only",
            "cancels every resting entry and refuses new ones; exits and cancels go on",
            "positions can be closed as usual, and cannot grow",
        ),
        TradingMode::Halted | TradingMode::Active => (
            "halted",
            "cancels every working order, live and paper, and refuses new ones, exits too",
            "positions stay as they are: close them in the broker's app, or let exits leave with nirantar halt --reduce-only",
        ),
    };
    format!(
        "{account}: {what}{was}\n\
         \x20 now: a running nirantar sees it within a second: it {now}\n\
         \x20 what cannot be reached now is remembered and cancelled when it can be; until then use the broker's app\n\
         \x20 safe: {safe}\n\
         \x20 it lasts over restarts, until: nirantar resume {account}"
    )
}

/// Does it for each account and says what came of it, or what helps `instead`. All are tried; the first failure is the
/// command's own.
fn each(
    of: &Of,
    instead: &'static str,
    mut act: impl FnMut(&OrderFiles) -> std::io::Result<String>,
) -> Result<ExitCode, CliError> {
    let mut failed: Option<CliError> = None;
    for files in chosen(of)? {
        match act(&files) {
            Ok(words) => print::say(&words),
            Err(reason) => {
                let error = CliError::Halt { account: files.account, file: files.halt_file, reason, instead };
                match failed {
                    None => failed = Some(error),
                    Some(_) => print::complain(&format!("nirantar: {error}")),
                }
            }
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn chosen(of: &Of) -> Result<Vec<OrderFiles>, CliError> {
    let files = Config::order_files(&of.config)?;
    let known = || files.iter().map(|files| files.account.as_str()).collect::<Vec<_>>().join(", ");
    if of.all || (of.accounts.is_empty() && files.len() == 1) {
        return Ok(files);
    }
    if of.accounts.is_empty() {
        return Err(CliError::WhichAccounts { known: known() });
    }
    // Before anything is written: a misspelt name must not look as if it had been halted.
    if let Some(name) = of.accounts.iter().find(|name| files.iter().all(|files| files.account != **name)) {
        return Err(CliError::NoSuchAccount { name: name.clone(), known: known() });
    }
    Ok(files.into_iter().filter(|files| of.accounts.contains(&files.account)).collect())
}

/// A reason that stays one line of the file.
fn one_line(reason: &str) -> String {
    reason.replace(char::is_control, " ").trim().chars().take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a configuration of these accounts, without any credential.
    fn folder(accounts: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("nirantar.toml");
        let account = |name: &&str| {
            format!("[[account]]\nname = \"{name}\"\nbroker = \"kite\"\nkey_prefix = \"{}\"\n", name.to_uppercase())
        };
        std::fs::write(&config, accounts.iter().map(account).collect::<String>()).unwrap();
        (folder, config)
    }

    fn of(config: &std::path::Path, accounts: &[&str], all: bool) -> Of {
        Of { accounts: accounts.iter().map(|name| (*name).to_owned()).collect(), all, config: config.to_owned() }
    }

    fn halt_(of: Of, reduce_only: bool) -> Result<ExitCode, CliError> {
        halt(&HaltArgs { of, reduce_only, reason: Some("a\ntest".to_owned()) })
    }

    #[test]
    fn a_halt_needs_no_credential_and_only_a_resume_ends_it() {
        let (folder, config) = folder(&["main"]);
        let file = folder.path().join("nirantar-main.halt");
        halt_(of(&config, &[], false), false).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("halted\n") && text.contains("a test"), "{text}");
        assert_eq!(halting::read(&file).unwrap().mode, TradingMode::Halted);
        halt_(of(&config, &["main"], false), true).unwrap();
        assert_eq!(halting::read(&file).unwrap().mode, TradingMode::ReduceOnly);
        for _ in 0..2 {
            resume(&ResumeArgs { of: of(&config, &[], false) }).unwrap();
            assert!(!file.exists());
        }
    }

    #[test]
    fn among_several_accounts_one_is_named_or_all_are() {
        let (folder, config) = folder(&["one", "two"]);
        let halted = |name: &str| folder.path().join(format!("nirantar-{name}.halt")).exists();
        let error = halt_(of(&config, &[], false), false).unwrap_err().to_string();
        assert!(error.contains("one, two") && error.contains("--all"), "{error}");
        // Nobody is halted where a name is wrong: the list was not what was meant.
        let error = halt_(of(&config, &["one", "tow"], false), false).unwrap_err().to_string();
        assert!(error.contains("`tow`") && error.contains("one, two"), "{error}");
        assert!(!halted("one") && !halted("two"));
        halt_(of(&config, &["two"], false), false).unwrap();
        assert!(!halted("one") && halted("two"));
        halt_(of(&config, &[], true), false).unwrap();
        assert!(halted("one") && halted("two"));
    }

    #[test]
    fn what_fails_for_one_account_does_not_save_another_from_its_halt() {
        let (folder, config) = folder(&["one", "two"]);
        // A folder is no file.
        std::fs::create_dir(folder.path().join("nirantar-one.halt")).unwrap();
        let error = halt_(of(&config, &[], true), false).unwrap_err().to_string();
        assert!(error.contains("account one") && error.contains("nirantar-one.halt"), "{error}");
        assert!(folder.path().join("nirantar-two.halt").is_file());
    }
}
