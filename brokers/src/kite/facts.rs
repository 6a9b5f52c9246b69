//! What Kite declares about itself (`kite.md` 1.5, 1.6, 2.3 and 3).

use std::time::Duration;

use crate::facts::at;
use crate::{BrokerFacts, Expiry, FeedLimits, Limits, RateLimit, Renewal, Sessions, TagRule};

/// Whose app it is: the one thing that decides whether a refresh token exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum App {
    /// An individual's: refresh tokens are empty, a human logs in every day.
    #[default]
    Individual,
    /// One of the approved platforms, which are given refresh tokens.
    Approved,
}

/// 10 a second for the whole account; of the two reports for a minute (200, 400) the lower; the day's 5000 is what most
/// report. Whether changes and cancels count is not documented: they do here.
const ORDERS: [RateLimit; 3] = [RateLimit::new(10, 1), RateLimit::new(200, 60), RateLimit::new(5_000, 86_400)];

/// Kite's facts for an app of that kind.
///
/// A token is suspect from 05:00, dead by 07:30, and a login lasts the day from 07:45 on: the documented 06:00 is later
/// than some tokens live and earlier than others die. A second login is taken to kill the first token, which everybody
/// reports and nobody documents.
#[must_use]
pub const fn facts(app: App) -> BrokerFacts {
    BrokerFacts {
        name: "kite",
        renewal: match app {
            App::Individual => &[Renewal::Login, Renewal::External],
            App::Approved => &[Renewal::RefreshGrant, Renewal::Login, Renewal::External],
        },
        expiry: Expiry::Cutoff { suspect_from: at(5, 0), dead_by: at(7, 30), mint_after: at(7, 45) },
        sessions: Sessions::Replace,
        limits: Limits {
            orders: &ORDERS,
            reads_share: false,
            quotes: RateLimit::new(1, 1),
            quote_instruments: 500,
            historical: RateLimit::new(3, 1),
            other: RateLimit::new(10, 1),
            modifications_per_order: 25,
            // A byte comes about every second; SDKs hang up after five seconds without.
            feed: FeedLimits { connections: 3, instruments: 3_000, heartbeat: Duration::from_secs(5) },
        },
        tag: TagRule { max_len: 20, alphanumeric: true },
        // A guess: nobody documents how long an accepted order may be missing from the book.
        propagation: Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_approved_app_can_renew_without_a_human() {
        assert!(!facts(App::Individual).renewal.contains(&Renewal::RefreshGrant));
        assert_eq!(facts(App::Approved).renewal.first(), Some(&Renewal::RefreshGrant));
    }

    #[test]
    fn the_danger_band_is_five_to_half_past_seven() {
        let Expiry::Cutoff { suspect_from, dead_by, mint_after } = facts(App::Individual).expiry else {
            panic!("not a cut-off");
        };
        assert_eq!(
            [suspect_from, dead_by, mint_after].map(|time| time.to_string()),
            ["05:00:00", "07:30:00", "07:45:00"]
        );
    }
}
