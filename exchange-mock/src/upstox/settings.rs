//! What an Upstox server is like: whose account, which credentials, how tokens live and die.

use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::Secret;

use super::{Fault, NotifierUrl};
use crate::choices::{NewLogin, named};

/// What `grant_type=refresh_token` does at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Grant {
    /// A session comes with a refresh token, and that buys the next one: the world of the old guide.
    Works,
    /// No refresh token is given out and none is taken: today's world.
    #[default]
    Withdrawn,
}

named!(Grant, "what the refresh grant does", "works" => Works, "withdrawn" => Withdrawn);

/// Everything that can be chosen about an [`UpstoxServer`](super::UpstoxServer). `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The app's api key, which is its `client_id`.
    pub api_key: String,
    /// The app's secret.
    pub api_secret: Secret,
    /// The user who owns the account.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// The registered redirect URI, which a login must name letter by letter.
    pub redirect_url: String,
    /// Where the token goes after an approval; nowhere if there is none.
    pub notifier_url: Option<NotifierUrl>,
    /// What a new session does to the living token, whether it came by login, approval or renewal. What the real one does
    /// is not known (`upstox.md` 18).
    pub new_login: NewLogin,
    /// Whether the refresh grant works.
    pub grant: Grant,
    /// Whether a renewal brings a new refresh token and kills the old one; else the old one goes on working.
    pub rotates: bool,
    /// The time of day (IST) at which every token dies that was issued before it.
    pub token_dies_at: NaiveTime,
    /// How long a token lives at most, where that is sooner.
    pub token_ttl: Option<Duration>,
    /// Faults from the start on.
    pub faults: Vec<Fault>,
    /// Seed of every random number: codes and tokens.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_key: "nirantar".to_owned(),
            api_secret: Secret::new("nirantar-secret"),
            user_id: "NR0001".to_owned(),
            user_name: "Nirantar Sandbox".to_owned(),
            redirect_url: "http://127.0.0.1/".to_owned(),
            notifier_url: None,
            new_login: NewLogin::default(),
            grant: Grant::default(),
            rotates: true,
            token_dies_at: NaiveTime::from_hms_opt(3, 30, 0).unwrap_or(NaiveTime::MIN),
            token_ttl: None,
            faults: Vec::new(),
            seed: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_print_and_a_bad_one_names_the_good_ones() {
        for choice in [NewLogin::Kills, NewLogin::Keeps] {
            assert_eq!(choice.to_string().parse::<NewLogin>(), Ok(choice));
        }
        assert_eq!("works".parse::<Grant>(), Ok(Grant::Works));
        let error = "work".parse::<Grant>().unwrap_err();
        assert!(error.contains("works or withdrawn"), "{error}");
    }

    #[test]
    fn settings_never_print_the_secret_or_the_notifiers_path() {
        let notifier_url = Some("http://127.0.0.1:9/unguessable".parse().unwrap());
        let shown = format!("{:?}", Settings { notifier_url, ..Settings::default() });
        assert!(!shown.contains("nirantar-secret") && !shown.contains("unguessable"), "{shown}");
    }
}
