//! The keys of an account that say how its token lives: what still renews it, who may be asked, and when.

use std::time::Duration;

use chrono::NaiveTime;
use http::Uri;
use nirantar_brokers::kite::App;

use super::account::choice;
use super::broker::BrokerName;
use super::duration::{self, parse_duration};
use super::error::{ConfigError, Problem};
use super::schedule::parse_time;
use super::table::Table;
use super::url::is_loopback;

/// Whether a refresh token still buys a new access token at FYERS and Upstox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RefreshGrant {
    /// It does, as the guides say: for the apps that were left the grant, and in the sandbox.
    Works,
    /// It does not: a human logs in every day. The default, since that is the rule since 1 April 2026.
    #[default]
    Withdrawn,
}

/// Shorter would ask more often than anything can change.
const SHORTEST_CHECK: Duration = Duration::from_secs(30);
/// What a login script may take.
const USUAL_COMMAND: Duration = Duration::from_secs(5 * 60);
/// The longest redirect URL that is read.
const LONGEST_URL: usize = 500;

/// Whose app it is, at Kite.
pub(super) fn app(table: &Table<'_, '_>, broker: BrokerName) -> Result<App, ConfigError> {
    only_at(table, "app", broker, &[BrokerName::Kite], "refresh = \"works\" or \"withdrawn\" says it there")?;
    Ok(choice(table, "app", &[("individual", App::Individual), ("approved", App::Approved)])?.unwrap_or_default())
}

/// Whether the refresh grant is to be used, at FYERS and Upstox.
pub(super) fn refresh(table: &Table<'_, '_>, broker: BrokerName) -> Result<RefreshGrant, ConfigError> {
    const AT: [BrokerName; 2] = [BrokerName::Fyers, BrokerName::Upstox];
    only_at(table, "refresh", broker, &AT, "app = \"individual\" or \"approved\" says it there")?;
    let choices = [("works", RefreshGrant::Works), ("withdrawn", RefreshGrant::Withdrawn)];
    Ok(choice(table, "refresh", &choices)?.unwrap_or_default())
}

/// Whether an approval is asked for on the phone without a word of the operator's.
pub(super) fn approval(table: &Table<'_, '_>, broker: BrokerName) -> Result<bool, ConfigError> {
    only_at(table, "approval", broker, &[BrokerName::Upstox], "it has no approval on the phone")?;
    Ok(table.boolean("approval")?.unwrap_or_default())
}

/// How often to look whether something is due.
pub(super) fn check_every(table: &Table<'_, '_>) -> Result<Option<Duration>, ConfigError> {
    table.parsed("check_every", "a duration of at least 30 s, like \"5m\" or \"1h\"", |text| {
        parse_duration(text).filter(|every| *every >= SHORTEST_CHECK)
    })
}

/// How long the external command may take.
pub(super) fn external_timeout(table: &Table<'_, '_>) -> Result<Duration, ConfigError> {
    let given = table.parsed("external_timeout", duration::EXPECTED, |text| {
        parse_duration(text).filter(|timeout| !timeout.is_zero())
    })?;
    Ok(given.unwrap_or(USUAL_COMMAND))
}

/// From when a human may be asked to log in.
pub(super) fn ask_from(table: &Table<'_, '_>) -> Result<NaiveTime, ConfigError> {
    let given = table.parsed("ask_from", "a time of day, IST, like \"07:45\"", parse_time)?;
    Ok(given.or_else(|| NaiveTime::from_hms_opt(7, 45, 0)).unwrap_or_default())
}

/// Where the broker sends the browser after a login.
pub(super) fn redirect_url(table: &Table<'_, '_>) -> Result<Option<String>, ConfigError> {
    table.parsed("redirect_url", EXPECTED_REDIRECT, |text| is_redirect(text).then(|| text.to_owned()))
}

/// What a redirect looks like, for errors.
pub(super) const EXPECTED_REDIRECT: &str = "the whole URL that is registered with the broker, like \
                                            \"http://127.0.0.1:5000/callback\" (https:// beyond this machine)";

/// Whether a text can be a registered redirect: absolute, encrypted beyond this machine (a one-use code travels on it),
/// and without anything a browser would keep to itself.
pub(super) fn is_redirect(text: &str) -> bool {
    if text.len() > LONGEST_URL || text.contains(['#', '@', '\\']) {
        return false;
    }
    let Ok(uri) = text.parse::<Uri>() else { return false };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some(host)) => is_loopback(host),
        _ => false,
    }
}

/// Refuses a key that means nothing at this broker: a setting that does nothing must not look as if it did.
fn only_at(
    table: &Table<'_, '_>,
    key: &str,
    broker: BrokerName,
    at: &[BrokerName],
    instead: &'static str,
) -> Result<(), ConfigError> {
    if !table.has(key) || at.contains(&broker) {
        return Ok(());
    }
    Err(table.error_at_value(key, Problem::NotAtBroker { broker: broker.as_str(), instead }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_what_a_broker_lets_people_register() {
        for good in [
            "http://127.0.0.1:5000/callback",
            "http://localhost/api/fyers/callback",
            "https://trade.example.in/api/upstox/callback",
            "https://trade.fyers.in/api-login/redirect-uri/index.html",
        ] {
            assert!(is_redirect(good), "{good}");
        }
        let long = format!("https://example.in/{}", "a".repeat(LONGEST_URL));
        for bad in
            ["", "callback", "http://example.in/callback", "ftp://127.0.0.1", "https://a@b/", "https://a/#b", &long]
        {
            assert!(!is_redirect(bad), "{bad}");
        }
    }
}
