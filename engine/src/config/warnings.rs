//! What will not go as a user of the guides may think, in words.

use nirantar_brokers::{fyers, kite, upstox};

use super::account::Account;
use super::broker::BrokerName;
use super::credentials::Credentials;
use crate::token::store::{StoreKind, StorePlace, Stored};

/// The warnings about an account whose stores hold `held`, in the order of its stores. None shows a value that could be
/// a secret.
pub(super) fn of(account: &Account, credentials: &Credentials, held: &[(&StorePlace, Stored)]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, place) in account.stores.iter().enumerate() {
        if place.kind() == StoreKind::Environment {
            warnings.push(environment(index == 0));
        }
    }
    for (place, stored) in held.iter().filter(|(place, _)| place.kind() == StoreKind::BrokerConfig) {
        if credentials.api_secret.is_none() {
            warnings.push(format!(
                "{place}: its api_secret holds the access token, so the app's own secret is nowhere: renewing a token and \
                 finishing a login here are impossible until {}_API_SECRET is set (or api_secret in the configuration)",
                account.key_prefix
            ));
        }
        warnings.extend(stored.base_url.as_deref().and_then(|url| base_url(account, place, url)));
        warnings.extend(stored.burst_size.and_then(|burst| burst_size(account, place, burst)));
    }
    warnings
}

fn environment(is_first: bool) -> String {
    let what = if is_first { "a new token is used but cannot be kept there" } else { "it is read once, at the start" };
    format!(
        "store: the environment of this process cannot be changed, so {what}: a host that injects tokens must restart \
         nirantar, or use a file"
    )
}

/// The host in the file is where the guide sends people to log in, not where the API answers.
fn base_url(account: &Account, place: &StorePlace, url: &str) -> Option<String> {
    let url = url.trim_end_matches('/');
    let rest = &account.rest_url;
    if url == rest.as_str() {
        return None;
    }
    if account.broker == BrokerName::Kite && url == kite::LOGIN_ROOT {
        return Some(format!(
            "{place}: its base_url {url} is where people log in, not the API: it is taken for login_url ({}), and \
             requests go to {rest}",
            account.login_url
        ));
    }
    // The address is not shown: a URL is where people leave a password.
    Some(format!(
        "{place}: its base_url is not used: requests go to {rest}, which rest_url in the configuration changes"
    ))
}

fn burst_size(account: &Account, place: &StorePlace, burst: u64) -> Option<String> {
    let limits = match account.broker {
        BrokerName::Kite => kite::facts(account.app).limits.orders,
        BrokerName::Fyers => fyers::facts(fyers::App::default()).limits.orders,
        BrokerName::Upstox => upstox::facts(upstox::App::default()).limits.orders,
    };
    let cap = limits.iter().find(|limit| limit.per.as_secs() == 1)?.count;
    (burst > u64::from(cap)).then(|| {
        format!(
            "{place}: its rate_limit.burst_size {burst} is above the broker's {cap} orders a second: {cap} is kept to"
        )
    })
}
