//! `nirantar exchange --broker fyers`: FYERS' sessions as a server.

use std::process::ExitCode;
use std::sync::Arc;

use nirantar_brokers::Secret;
use nirantar_exchange_mock::fyers::{FyersServer, Grant, NewToken, Settings, Switches, TokenEnd};
use nirantar_exchange_mock::kite::{self, NewLogin, Refresh};

use super::super::signals::Signals;
use super::super::{CliError, log, print};
use super::ExchangeArgs;

/// Serves until it is told to end.
pub(super) async fn serve(arguments: ExchangeArgs, secret: Secret) -> Result<ExitCode, CliError> {
    let settings = settings(&arguments, secret)?;
    let clock = super::sessions_clock(&arguments);
    log::start(Arc::clone(&clock), log::Default::Info)?;
    let mut signals = Signals::watch()?;
    let address = arguments.listen;
    let started = FyersServer::start(address, settings, Arc::clone(&clock)).await;
    let server = started.map_err(|reason| CliError::Listen { address, reason })?;
    tracing::info!("the clock shows {} IST", clock.now().wall);
    print::complain(&format!("listening on {}", server.addr()));
    signals.wait().await;
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// What the options say, where they mean something to a server without a market.
fn settings(arguments: &ExchangeArgs, secret: Secret) -> Result<Settings, CliError> {
    super::without_market(arguments)?;
    let standard = Settings::default();
    let new_token = match arguments.new_login {
        NewLogin::Kills => NewToken::Kills,
        NewLogin::Keeps => NewToken::Keeps,
    };
    // A login says itself where it wants to go; that address is held to only where one was named here.
    let named = arguments.redirect_url != kite::Settings::default().redirect_url;
    Ok(Settings {
        client_id: arguments.api_key.clone(),
        secret,
        user_id: arguments.user_id.clone(),
        redirect_uri: named.then(|| arguments.redirect_url.clone()),
        switches: Switches {
            grant: match arguments.refresh {
                Refresh::Works => Grant::Works,
                Refresh::Withdrawn => Grant::Withdrawn,
            },
            new_login: new_token,
            renewal: new_token,
            token_end: arguments.token_dies_at.map_or(standard.switches.token_end, TokenEnd::At),
            ..standard.switches
        },
        seed: arguments.seed,
        ..standard
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;

    fn read(more: &[&str]) -> Result<Settings, CliError> {
        settings(&arguments("fyers", more), Secret::new("s"))
    }

    #[test]
    fn options_that_mean_something_are_taken_over() {
        let more = ["--refresh", "works", "--new-login", "keeps", "--token-dies-at", "10:05", "--api-key", "A-100"];
        let settings = read(&more).unwrap();
        let switches = settings.switches;
        assert_eq!(
            (switches.grant, switches.new_login, switches.renewal),
            (Grant::Works, NewToken::Keeps, NewToken::Keeps)
        );
        assert_eq!((switches.token_end.to_string().as_str(), settings.client_id.as_str()), ("10:05:00", "A-100"));
        assert_eq!(settings.redirect_uri, None, "a login may come back to any address");
        let named = read(&["--redirect-url", "http://127.0.0.1:8000/cb"]).unwrap();
        assert_eq!(named.redirect_uri.as_deref(), Some("http://127.0.0.1:8000/cb"));
    }

    #[test]
    fn an_option_of_a_market_is_refused() {
        assert!(read(&["--fault", "503"]).unwrap_err().to_string().contains("fyers"));
    }
}
