//! `nirantar token set`: writes a token into a store, as a login script would.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nirantar_brokers::time::{Clock as _, SystemClock, Timestamp};
use nirantar_brokers::{AccessToken, jwt};

use crate::cli::{CliError, print};
use crate::token::store::{Change, Store, StorePlace};

/// Longest token that is read: far longer than any broker's.
const MOST_BYTES: u64 = 16 << 10;
/// What is written as the life of a token that does not say its own. No token lives longer than a day, and where the
/// broker's rule ends it earlier, the earlier counts.
const MOST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Write a new access token into a store
///
/// The token is read from standard input, one line, so that it never stands in a process list or a shell's history.
/// Comments, order and other keys of the file stay as they are. A running engine sees the change, asks the broker whose
/// token it is, and takes it into use only if it is good. Where the file says when its token expires, that is made to fit
/// the new token: what the token itself says, or else a day from now.
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
    let prefix = &arguments.key_prefix;
    let place = StorePlace::named(&arguments.store, Path::new(""));
    let store = place.open(prefix, &StorePlace::table_of(prefix));
    let change = change_for(token, store.as_ref(), SystemClock::start().now().wall);
    let written = store.write(&change)?;
    if written.in_place {
        print::complain("nirantar: the file could not be replaced and was written in place");
    }
    let fingerprint = AccessToken::new(token).fingerprint();
    print::say(&format!("token {fingerprint} written to {place} as {}", place.token_name(prefix)));
    if let Some(at) = change.expires_at {
        print::say(&format!("the expiry beside it was the old token's, and is now {at} IST at the latest"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the store is told of the token. An expiry that stands in it is the token's before: left there, an engine would
/// take the new token for dead.
fn change_for(token: &str, store: &dyn Store, now: Timestamp) -> Change {
    // A store that cannot be read cannot be written either, and says so there.
    let stands = store.read().is_ok_and(|stored| stored.expires_at.is_some());
    let expires_at = stands.then(|| jwt::life(token).expires_at.unwrap_or(now + MOST_LIFE));
    Change { access_token: Some(AccessToken::new(token)), refresh_token: None, expires_at }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::store::{EnvFormat, EnvStore};

    #[test]
    fn yesterdays_expiry_never_stays_beside_todays_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let store = EnvStore::new(&path, EnvFormat::new("ZERODHA"));
        let now = Timestamp::parse_ist("2026-11-20 08:00:00").unwrap();
        assert_eq!(change_for("new", &store, now).expires_at, None, "where there is no file there is no expiry");
        std::fs::write(&path, "ZERODHA_ACCESS_TOKEN=old\n").unwrap();
        assert_eq!(change_for("new", &store, now).expires_at, None, "nobody wants one there");

        let expired = "ZERODHA_ACCESS_TOKEN=old\nZERODHA_TOKEN_EXPIRES_AT=2026-11-20 06:00:00\n";
        std::fs::write(&path, expired).unwrap();
        store.write(&change_for("new", &store, now)).unwrap();
        assert_eq!(store.read().unwrap().expires_at, Some(now + MOST_LIFE));
        let own = Timestamp::parse_ist("2026-11-21 03:30:00").unwrap();
        let token = jwt::token(&json!({ "exp": own.as_unix_seconds() }), b"mac");
        store.write(&change_for(&token, &store, now)).unwrap();
        assert_eq!(store.read().unwrap().expires_at, Some(own));
    }
}
