//! `nirantar exchange --broker upstox`: the session side of Upstox' API as a server.

use std::process::ExitCode;
use std::sync::Arc;

use nirantar_brokers::Secret;
use nirantar_exchange_mock::kite;
use nirantar_exchange_mock::upstox::{Grant, Settings, UpstoxServer};

use super::super::signals::Signals;
use super::super::{CliError, log, print};
use super::ExchangeArgs;

/// Serves until it is told to end.
pub(super) async fn serve(arguments: ExchangeArgs, api_secret: Secret) -> Result<ExitCode, CliError> {
    let settings = settings(&arguments, api_secret)?;
    let clock = super::sessions_clock(&arguments);
    log::start(Arc::clone(&clock), log::Default::Info)?;
    let mut signals = Signals::watch()?;
    let address = arguments.listen;
    let started = UpstoxServer::start(address, settings, Arc::clone(&clock)).await;
    let server = started.map_err(|reason| CliError::Listen { address, reason })?;
    tracing::info!("the clock shows {} IST", clock.now().wall);
    print::complain(&format!("listening on {}", server.addr()));
    signals.wait().await;
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// What the options say, where they mean something to a server without a market.
fn settings(arguments: &ExchangeArgs, api_secret: Secret) -> Result<Settings, CliError> {
    super::without_market(arguments)?;
    let standard = Settings::default();
    Ok(Settings {
        api_key: arguments.api_key.clone(),
        api_secret,
        user_id: arguments.user_id.clone(),
        redirect_url: arguments.redirect_url.clone(),
        new_login: arguments.new_login,
        grant: match arguments.refresh {
            kite::Refresh::Works => Grant::Works,
            kite::Refresh::Withdrawn => Grant::Withdrawn,
        },
        token_dies_at: arguments.token_dies_at.unwrap_or(standard.token_dies_at),
        seed: arguments.seed,
        ..standard
    })
}

#[cfg(test)]
mod tests {
    use nirantar_exchange_mock::upstox::NewLogin;

    use super::super::tests::arguments;
    use super::*;

    fn read(more: &[&str]) -> Result<Settings, CliError> {
        settings(&arguments("upstox", more), Secret::new("s"))
    }

    #[test]
    fn options_that_mean_something_are_taken_over() {
        let read =
            read(&["--refresh", "works", "--new-login", "keeps", "--token-dies-at", "10:05", "--user-id", "AB1"]);
        let settings = read.unwrap();
        assert_eq!((settings.grant, settings.new_login), (Grant::Works, NewLogin::Keeps));
        assert_eq!((settings.token_dies_at.to_string(), &*settings.user_id), ("10:05:00".to_owned(), "AB1"));
    }

    #[test]
    fn an_option_of_a_market_is_refused_and_not_forgotten() {
        for (option, more) in [
            ("--replay", &["--replay", "day.csv=TCS"][..]),
            ("--fault", &["--fault", "503"]),
            ("--old-socket", &["--old-socket", "mute"]),
            ("--connections", &["--connections", "2"]),
            ("--no-rate-limits", &["--no-rate-limits"]),
        ] {
            let error = read(more).unwrap_err().to_string();
            assert!(error.contains(option) && error.contains("upstox"), "{error}");
        }
    }
}
