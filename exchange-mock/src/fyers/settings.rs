//! What a FYERS server is like: whose account, which credentials, and the switches that can be thrown while it runs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::{Money, Secret};

use super::FaultRule;
use crate::choices::named;

/// Everything that can be chosen about a [`FyersServer`](super::FyersServer). `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The app's id, with its suffix. 14 characters suit the official Python SDK, which decodes id and token as one.
    pub client_id: String,
    /// The app's secret, part of every `appIdHash`.
    pub secret: Secret,
    /// The user's PIN.
    pub pin: Secret,
    /// The user who owns the account.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// The only address a login may come back to; `None` for any.
    pub redirect_uri: Option<String>,
    /// What `GET /funds` says is there.
    pub cash: Money,
    /// How sessions are made and end, from the start on.
    pub switches: Switches,
    /// Faults from the start on.
    pub faults: Vec<FaultRule>,
    /// Seed of every random number: that of the tokens.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "NIRANTAR01-100".to_owned(),
            secret: Secret::new("nirantar-secret"),
            pin: Secret::new("1234"),
            user_id: "XN00001".to_owned(),
            user_name: "NIRANTAR SANDBOX".to_owned(),
            redirect_uri: None,
            cash: Money::from_rupees(1_000_000),
            switches: Switches::default(),
            faults: Vec::new(),
            seed: 1,
        }
    }
}

/// How sessions are made and end. The default is the broker of 2026: the grant is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Whether the refresh grant works.
    pub grant: Grant,
    /// Whether a renewal needs the right PIN, as documented; else none is looked at.
    pub needs_pin: bool,
    /// What a renewal does to the user's tokens before it.
    pub renewal: NewToken,
    /// What a login does to the user's tokens before it.
    pub new_login: NewToken,
    /// Whether a renewal hands out a new refresh token, and the old one dies of it. Documented: no.
    pub rotates: bool,
    /// Whether a renewal hands out a token that looks alive and is dead, as was reported after the withdrawal.
    pub dead_token: bool,
    /// For how many days a refresh token lives, to 06:00 of the last: 15 today, 30 in the guides.
    pub refresh_days: u32,
    /// When an access token dies.
    pub token_end: TokenEnd,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            grant: Grant::Withdrawn,
            needs_pin: true,
            renewal: NewToken::Kills,
            new_login: NewToken::Kills,
            rotates: false,
            dead_token: false,
            refresh_days: 15,
            token_end: TokenEnd::default(),
        }
    }
}

/// Whether the refresh grant works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Grant {
    /// As the guides describe it.
    Works,
    /// Refresh tokens are handed out, and every renewal is refused with -501. They are good again if the grant is.
    #[default]
    Withdrawn,
}

/// What a new token does to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NewToken {
    /// They die at once.
    #[default]
    Kills,
    /// All live.
    Keeps,
}

/// When an access token dies, if nothing kills it earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEnd {
    /// The next time it is that time of day, IST.
    At(NaiveTime),
    /// So long after it was made.
    After(Duration),
}

impl Default for TokenEnd {
    /// 06:00, as of every token seen in 2026.
    fn default() -> Self {
        Self::At(six())
    }
}

/// 06:00.
pub(super) fn six() -> NaiveTime {
    NaiveTime::from_hms_opt(6, 0, 0).unwrap_or(NaiveTime::MIN)
}

named!(Grant, "what becomes of a renewal", "works" => Works, "withdrawn" => Withdrawn);
named!(NewToken, "what a new token does to those before it", "kills" => Kills, "keeps" => Keeps);

impl FromStr for TokenEnd {
    type Err = String;

    /// `06:00:00`, or `43200s`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(seconds) = text.strip_suffix('s').and_then(|seconds| seconds.parse().ok()) {
            return Ok(Self::After(Duration::from_secs(seconds)));
        }
        let words = "expected a time of day like 06:00:00 or a life in seconds like 43200s";
        NaiveTime::parse_from_str(text, "%H:%M:%S").map(Self::At).map_err(|_| words.to_owned())
    }
}

impl fmt::Display for TokenEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => write!(f, "{}", time.format("%H:%M:%S")),
            Self::After(life) => write!(f, "{}s", life.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_print_and_a_bad_one_names_the_good_ones() {
        for choice in [Grant::Works, Grant::Withdrawn] {
            assert_eq!(choice.to_string().parse::<Grant>(), Ok(choice));
        }
        for choice in [NewToken::Kills, NewToken::Keeps] {
            assert_eq!(choice.to_string().parse::<NewToken>(), Ok(choice));
        }
        for choice in [TokenEnd::default(), TokenEnd::After(Duration::from_secs(43_200))] {
            assert_eq!(choice.to_string().parse::<TokenEnd>(), Ok(choice));
        }
        assert!("work".parse::<Grant>().unwrap_err().contains("works or withdrawn"));
        assert!("6 am".parse::<TokenEnd>().unwrap_err().contains("06:00:00"));
    }

    #[test]
    fn settings_never_print_a_secret() {
        let shown = format!("{:?}", Settings::default());
        assert!(!shown.contains("nirantar-secret") && !shown.contains("1234"), "{shown}");
    }
}
