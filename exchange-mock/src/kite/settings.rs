//! What a Kite server is like: whose account, which credentials, how tokens live and die, which faults it starts with.

use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::{Holding, Instrument, Money, Quantity, Secret};

use super::FaultRule;
use crate::choices::{NewLogin, named};
use crate::{Calendar, Latencies, SquareOff};

/// What becomes of a socket that is open under a token when the token dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OldSocket {
    /// The server closes it.
    #[default]
    Cut,
    /// It stays open and nothing is sent on it any more, not even a heartbeat. Pings are still answered.
    Mute,
    /// It goes on as if nothing had happened.
    Lives,
}

/// What `POST /session/refresh_token` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Refresh {
    /// A session comes with a refresh token, good for one renewal: an approved platform.
    Works,
    /// A session comes with `refresh_token: ""` and every renewal is refused: an individual's app.
    #[default]
    Withdrawn,
}

named!(OldSocket, "what becomes of an old socket", "cut" => Cut, "mute" => Mute, "lives" => Lives);
named!(Refresh, "what a refresh does", "works" => Works, "withdrawn" => Withdrawn);

/// Everything that can be chosen about a [`KiteServer`](super::KiteServer). `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The app's api key.
    pub api_key: String,
    /// The app's secret, part of every checksum.
    pub api_secret: Secret,
    /// The user who owns the account.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// Cash at the start of the day.
    pub cash: Money,
    /// Shares in the demat account at the start of the day.
    pub holdings: Vec<Holding>,
    /// Where the login page sends the browser, without the query that is added.
    pub redirect_url: String,
    /// What a new login does to the living token.
    pub new_login: NewLogin,
    /// What becomes of sockets whose token died.
    pub old_socket: OldSocket,
    /// Whether renewal works.
    pub refresh: Refresh,
    /// The time of day (IST) at which every token dies that was issued before it.
    pub token_dies_at: Option<NaiveTime>,
    /// How long a token lives at most, in market time.
    pub token_ttl: Option<Duration>,
    /// Faults from the start on.
    pub faults: Vec<FaultRule>,
    /// Whether the broker's rate limits are enforced, counted in market time.
    pub rate_limits: bool,
    /// Sockets that may be open at once, whatever token they are under: the broker counts them by api key (kite.md 3).
    pub connections: usize,
    /// Seed of every random number: tokens and order ids.
    pub seed: u64,
    /// What can be traded; `None` for the built-in universe with the ticks of the prices' date.
    pub instruments: Option<Vec<Instrument>>,
    /// Sessions and holidays.
    pub calendar: Calendar,
    /// When the broker closes intraday positions; `None`: never.
    pub square_off: Option<SquareOff>,
    /// How long orders take to the exchange, and prices back, in market time.
    pub latency: Latencies,
    /// Largest slice of an order placed with `autoslice=true`. Orders of derivatives are held against the
    /// exchange's own freeze quantities besides.
    pub freeze_quantity: Quantity,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_key: "nirantar".to_owned(),
            api_secret: Secret::new("nirantar-secret"),
            user_id: "NR0001".to_owned(),
            user_name: "Nirantar Sandbox".to_owned(),
            cash: Money::from_rupees(1_000_000),
            holdings: Vec::new(),
            redirect_url: "http://127.0.0.1/".to_owned(),
            new_login: NewLogin::default(),
            old_socket: OldSocket::default(),
            refresh: Refresh::default(),
            token_dies_at: None,
            token_ttl: None,
            faults: Vec::new(),
            rate_limits: true,
            connections: 3,
            seed: 1,
            instruments: None,
            calendar: Calendar::nse(),
            square_off: None,
            latency: Latencies::default(),
            freeze_quantity: Quantity::new(100_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_print_and_a_bad_one_names_the_good_ones() {
        for choice in [OldSocket::Cut, OldSocket::Mute, OldSocket::Lives] {
            assert_eq!(choice.to_string().parse::<OldSocket>(), Ok(choice));
        }
        assert_eq!("keeps".parse::<NewLogin>(), Ok(NewLogin::Keeps));
        let error = "kill".parse::<NewLogin>().unwrap_err();
        assert!(error.contains("kills or keeps"), "{error}");
    }

    #[test]
    fn settings_never_print_the_api_secret() {
        assert!(!format!("{:?}", Settings::default()).contains("nirantar-secret"));
    }
}
