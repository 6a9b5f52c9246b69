//! `nirantar token login`: the link to log in at, and the end of a login whose redirect could not reach the server.
//!
//! Promises: the code in a pasted address is sent to the broker once and shown nowhere, and not before it is known that
//! its token can be kept; only a login of the account's own
//! user is written into the store.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use nirantar_brokers::time::{Clock as _, SystemClock, Timestamp};
use nirantar_brokers::{Exchange, Form, Sessions};
use nirantar_exchange_mock::{Calendar, Phase};

use crate::cli::{CliError, print};
use crate::config::{Account, Config};
use crate::engine::{LoginError, Setup, Transport, Vault, change_for, dies_at, exchange_code};
use crate::token::store::{Store, StoreError, trial};

/// Longest address that is read: far longer than any broker's.
const MOST_BYTES: u64 = 16 << 10;

/// Log an account in
///
/// Without --paste it prints the link to open, and what a login costs now. After the login the broker sends the browser
/// to the redirect address of your app. If `nirantar run` does not listen there (it runs on another machine, say), copy
/// that whole address, whatever the browser shows below it, and hand it to --paste: the login is finished here, the
/// token is written into the account's store, and a running engine sees it there.
///
/// The address holds a code that works once and for some minutes. Prefer --paste -, which reads it from standard input:
/// an argument can be seen in the process list and stays in the shell's history.
///
/// Examples:
///   nirantar token login
///   nirantar token login --account main --paste -
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LoginArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Which account; not needed where there is one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Finish a login with the address the browser was sent to; - reads it from standard input
    #[arg(long, value_name = "URL")]
    paste: Option<Pasted>,
}

/// What was given to `--paste`. Never printed: it holds a code.
#[derive(Clone)]
struct Pasted(String);

impl std::str::FromStr for Pasted {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Pasted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pasted({} bytes)", self.0.len())
    }
}

/// Prints the link, or finishes the login.
pub(crate) async fn login(arguments: &LoginArgs) -> Result<ExitCode, CliError> {
    let config = Config::load(&arguments.config)?;
    let account = chosen(&config.accounts, arguments.account.as_deref())?;
    let now = SystemClock::start().now().wall;
    match &arguments.paste {
        None => show_link(&config, account, now)?,
        Some(Pasted(text)) if text == "-" => finish(account, &pasted_on_stdin()?, now).await?,
        Some(Pasted(text)) => {
            print::complain("note: the code in that address was in the process list; next time use --paste -");
            finish(account, text, now).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(accounts: &'a [Account], name: Option<&str>) -> Result<&'a Account, CliError> {
    let found = match (name, accounts) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(name), _) => accounts.iter().find(|account| account.name == name),
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
        CliError::WhichAccount { known: known.join(", ") }
    })
}

fn show_link(config: &Config, account: &Account, now: Timestamp) -> Result<(), CliError> {
    let setup = Setup::from(account);
    let no_page = || CliError::NoLoginPage { account: account.name.clone() };
    let link = setup.broker.login_url(None).ok_or_else(no_page)?;
    if setup.broker.facts().sessions == Sessions::Replace
        && Calendar::nse().phase(Exchange::Nse, now) == Phase::Continuous
    {
        print::complain(
            "note: the market is open. If this account's token is alive, a new login ends it: live orders and the feed \
             pause until the new one is proven",
        );
    }
    if let Some(page) = config.server.as_ref().and_then(|server| server.login_link(&account.name)) {
        print::say(&format!("while `nirantar run` runs, log in as {} at", account.credentials.user_id));
        print::say(&format!("  {page}"));
        print::say("which finishes the login by itself. From a machine that cannot reach it, use");
    } else {
        print::say(&format!("log in as {} at", account.credentials.user_id));
    }
    print::say(&format!("  {link}"));
    print::say("then copy the whole address the browser ends at, and paste it into");
    print::say(&format!("  nirantar token login --account {} --paste -", account.name));
    Ok(())
}

/// One line, so that a human needs no more than Enter.
fn pasted_on_stdin() -> Result<String, CliError> {
    let stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        print::complain("paste the address the browser ended at, then press Enter:");
    }
    let mut text = String::new();
    let read = stdin.take(MOST_BYTES).read_line(&mut text);
    read.map_err(|_| CliError::NoAddress("found bytes that are no text"))?;
    Ok(text)
}

/// The query of the address a login came back to.
fn query(text: &str) -> Result<Form, CliError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(CliError::NoAddress("found nothing"));
    }
    if text.contains(char::is_whitespace) {
        return Err(CliError::NoAddress("found several words"));
    }
    let (_, query) = text.split_once('?').ok_or(CliError::NoAddress("found one without a question mark"))?;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    Ok(Form::parse(query.as_bytes()))
}

/// Why the store could not take a new token, as far as that shows before there is one: the code buys one token, once.
fn unkeepable(store: &dyn Store) -> Option<String> {
    if store.is_read_only() {
        return Some(StoreError::ReadOnly.to_string());
    }
    match store.read() {
        Ok(_) | Err(StoreError::NotFound { .. }) => trial(store.path()).unwritable,
        Err(error) => Some(error.to_string()),
    }
}

/// Exchanges the code and writes the token into the store.
async fn finish(account: &Account, text: &str, now: Timestamp) -> Result<(), CliError> {
    let form = query(text)?;
    let setup = Setup::from(account);
    let failed = |reason: LoginError| CliError::Login { account: account.name.clone(), reason };
    let code = setup.broker.code(&form).map_err(|reason| failed(reason.into()))?;
    if let Some(reason) = unkeepable(setup.store.as_ref()) {
        return Err(CliError::NotKept { account: account.name.clone(), reason });
    }
    let vault = Vault::new(Arc::clone(&setup.broker), setup.secrets.clone());
    let client = |reason| CliError::Client { account: account.name.clone(), reason };
    let transport = Transport::new(&setup.rest_url, vault.clone()).map_err(client)?;
    let owner = setup.policy.user_id.as_deref();
    let session = exchange_code(setup.broker.as_ref(), &transport, &vault, owner, &code).await.map_err(failed)?;
    if !vault.add(&session.access_token, session.refresh_token.clone()) {
        return Err(failed(LoginError::BadToken));
    }
    let dies = dies_at(&vault, &setup.policy, &session, now);
    setup.store.write(&change_for(&session, dies, setup.store.as_ref()))?;
    let whose = if session.user_id.is_empty() { "an unnamed user" } else { &session.user_id };
    let (token, store) = (session.access_token.fingerprint(), account.store.display());
    print::say(&format!("token {token} of {whose} written to {store}, good until {dies} IST at the latest"));
    print::say("a running engine proves it and takes it into use by itself");
    print::complain(
        "note: whether the pasted login is the one you began cannot be checked here; the broker says whose it is",
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_pasted_address_is_found_whatever_stands_around_it() {
        for text in [
            "http://127.0.0.1:5000/callback?request_token=abc&status=success",
            "  https://desk.example/?status=success&request_token=abc#top \n",
            "?request_token=abc",
        ] {
            assert_eq!(query(text).unwrap().get("request_token"), Some("abc"), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_never_shown() {
        for (text, words) in [
            ("", "found nothing"),
            (" \n", "found nothing"),
            ("sentinel-code", "without a question mark"),
            ("https://x/?request_token=sentinel-code and more", "several words"),
        ] {
            let error = query(text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("sentinel"), "{error}");
        }
        assert!(!format!("{:?}", Pasted("sentinel-code".to_owned())).contains("sentinel"));
    }
}
