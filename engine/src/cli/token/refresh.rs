//! `nirantar token refresh`: one renewal now, by the account's own automatic way.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use nirantar_brokers::time::{Clock, SystemClock};

use super::probe::{self, Standing, State};
use crate::cli::{CliError, log, print};
use crate::config::{Account, Config};
use crate::engine::{Renewed, Setup, renew_once};

/// Exit code when some account has no good new token.
const NOT_RENEWED: u8 = 1;

/// Renew an account's token now, without a human
///
/// By the refresh token where the broker still takes one, or by the account's external_command. The lock beside the store
/// is held meanwhile, so that it never happens twice at once, whoever else runs; the new token is written into the store,
/// and a running engine sees it there, proves it and takes it into use. Where only a human can renew, it says so and
/// changes nothing.
///
/// Exit code: 0 every account asked for has a new token that the broker accepts, 1 some have not, 2 the configuration
/// cannot be used.
///
/// Examples:
///   nirantar token refresh
///   nirantar token refresh --account fyers --config prod.toml
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RefreshArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Only this account; without it all of them
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// Renews, one account after the other.
pub(crate) async fn refresh(arguments: &RefreshArgs) -> Result<ExitCode, CliError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    // The reasons of a failure are told there, free of secrets.
    log::start(Arc::clone(&clock), log::Default::Info)?;
    let config = Config::load(&arguments.config)?;
    let wanted = |account: &&Account| arguments.account.as_ref().is_none_or(|name| *name == account.name);
    let accounts: Vec<&Account> = config.accounts.iter().filter(wanted).collect();
    if let (Some(name), true) = (&arguments.account, accounts.is_empty()) {
        let known = config.accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CliError::NoAccount { name: name.clone(), known });
    }
    let mut all = true;
    for account in accounts {
        let ended = renew_once(Setup::from(account), Arc::clone(&clock)).await;
        let standing = match ended {
            Ok(Renewed::Token(_)) => {
                probe::all(std::slice::from_ref(account), clock.now().wall).await.into_iter().next()
            }
            _ => None,
        };
        all &= standing.as_ref().is_some_and(|standing| standing.state == State::Live);
        print::say(&format!("{}: {}", account.name, words(&ended, standing.as_ref(), account)));
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(NOT_RENEWED) })
}

/// What came of it, and what to do, for a trader.
fn words(ended: &Result<Renewed, String>, standing: Option<&Standing>, account: &Account) -> String {
    let (store, prefix) = (account.store.display(), &account.key_prefix);
    match ended {
        Err(why) => format!("not renewed: {why}"),
        Ok(Renewed::Token(token)) => match standing {
            Some(Standing { state: State::Live, user_id, .. }) => {
                format!("renewed: the token {token} of {user_id} is live, and is in {store}")
            }
            Some(Standing { state, next, .. }) => {
                format!("a new token {token} is in {store}, but it is {}: {next}", state.as_str())
            }
            None => format!("a new token {token} is in {store}; the broker was not asked about it"),
        },
        Ok(Renewed::Unchanged) => {
            format!("not renewed: the external command ended well and left {store} as it was: look at the command")
        }
        Ok(Renewed::NoWay) => {
            "not renewed: only a human can log in here, nothing was tried: `nirantar token login` gives the link"
                .to_owned()
        }
        Ok(Renewed::NoRefreshToken) => format!(
            "not renewed: there is no {prefix}_REFRESH_TOKEN in {store}: log in once, and the broker gives one where it \
             still does"
        ),
        Ok(Renewed::ReadOnly) => {
            "not renewed: the environment cannot keep a new token: let `store` be a file".to_owned()
        }
        Ok(Renewed::Failed) => "not renewed: see the log above; it may work later".to_owned(),
        Ok(Renewed::FailedForGood) => {
            "not renewed: the broker takes this refresh token no more (see the log above): log in".to_owned()
        }
        Ok(Renewed::Unknown) => {
            "the answer was lost: the refresh token may be spent. Look with `nirantar token status`; \
                                 if the token is dead, log in"
                .to_owned()
        }
    }
}
