//! `nirantar token set`: writes a token into a store, as a login script would.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use nirantar_brokers::AccessToken;

use crate::cli::{CliError, print};
use crate::token::store::{Change, StorePlace};

/// Longest token that is read: far longer than any broker's.
const MOST_BYTES: u64 = 16 << 10;

/// Write a new access token into a store
///
/// The token is read from standard input, one line, so that it never stands in a process list or a shell's history.
/// Comments, order and other keys of the file stay as they are. A running engine sees the change, asks the broker whose
/// token it is, and takes it into use only if it is good.
///
/// Examples:
///   ./my-login-script | nirantar token set --store .env
///   ./my-login-script | nirantar token set --store data/upstox_tokens.json --key-prefix UPSTOX
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SetArgs {
    /// The file that holds the token; made if it is not there, readable by you alone. Its name says its kind:
    /// broker-config*.json is the Kite guide's, any other .json holds an access_token, .toml a table named after the
    /// prefix ([upstox] for UPSTOX), everything else is a .env
    #[arg(long, value_name = "FILE", default_value = ".env", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    store: String,
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
    let prefix = &arguments.key_prefix;
    let place = StorePlace::named(&arguments.store, Path::new(""));
    let written = place.open(prefix, &StorePlace::table_of(prefix)).write(&change)?;
    if written.in_place {
        print::complain("nirantar: the file could not be replaced and was written in place");
    }
    let fingerprint = AccessToken::new(token).fingerprint();
    print::say(&format!("token {fingerprint} written to {place} as {}", place.token_name(prefix)));
    Ok(ExitCode::SUCCESS)
}
