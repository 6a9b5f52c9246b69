//! `nirantar token set`: writes a token into a store, as a login script would.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nirantar_brokers::AccessToken;

use crate::cli::{CliError, print};
use crate::token::store::{Change, EnvFormat, EnvStore, Store as _};

/// Longest token that is read: far longer than any broker's.
const MOST_BYTES: u64 = 16 << 10;

/// Write a new access token into a store
///
/// The token is read from standard input, one line, so that it never stands in a process list or a shell's history.
/// Comments, order and other keys of the file stay as they are. A running engine sees the change, asks the broker whose
/// token it is, and takes it into use only if it is good.
///
/// Example:
///   ./my-login-script | nirantar token set --store .env
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SetArgs {
    /// The file that holds the token; made if it is not there, readable by you alone
    #[arg(long, value_name = "FILE", default_value = ".env")]
    store: PathBuf,
    /// What the keys in it begin with: ZERODHA for ZERODHA_ACCESS_TOKEN
    #[arg(long, value_name = "PREFIX", default_value = "ZERODHA", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_prefix: String,
}

/// Writes it.
pub(crate) fn set(arguments: &SetArgs) -> Result<ExitCode, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MOST_BYTES).read_to_string(&mut text);
    let token = text.trim();
    let problem = match read {
        Err(_) => Some("found bytes that are no text"),
        Ok(_) if token.is_empty() => Some("found nothing"),
        Ok(_) if token.contains(char::is_whitespace) => Some("found several words"),
        Ok(_) => None,
    };
    if let Some(problem) = problem {
        return Err(CliError::NoToken(problem));
    }
    let change = Change { access_token: Some(AccessToken::new(token)), refresh_token: None, expires_at: None };
    EnvStore::new(&arguments.store, EnvFormat::new(&arguments.key_prefix)).write(&change)?;
    let (store, prefix) = (arguments.store.display(), &arguments.key_prefix);
    print::say(&format!("token {} written to {store} as {prefix}_ACCESS_TOKEN", AccessToken::new(token).fingerprint()));
    Ok(ExitCode::SUCCESS)
}
