//! What FYERS declares about itself (`fyers.md` 1.3, 1.4, 2.4 and 3).

use std::time::Duration;

use crate::facts::at;
use crate::{BrokerFacts, Expiry, FeedLimits, Limits, RateLimit, Renewal, Sessions, TagRule};

/// How an app gets tomorrow's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum App {
    /// A human logs in every day: the refresh grant is withdrawn, as it officially is since 1 April 2026. Refresh
    /// tokens are still handed out; they buy nothing.
    #[default]
    DailyLogin,
    /// The refresh grant still works, with the PIN: what the guides describe, and what a simulator can be told to do.
    RefreshGrant,
}

/// Place, change and cancel together: 10 a second in the documentation; 200 a minute and 10,000 a day as reported of
/// the split of April 2026, which are the lower of what is reported.
const ORDERS: [RateLimit; 3] = [RateLimit::new(10, 1), RateLimit::new(200, 60), RateLimit::new(10_000, 86_400)];

/// FYERS' facts for an app of that kind.
///
/// * **Expiry.** A token says in `exp` when it dies: 06:00:00 and 06:00:37 were seen, the documentation was once read as
///   06:30. So a token is suspect from 05:55 (two clocks may differ), certainly dead at 06:30, and a login lasts the day
///   from 06:35 on; made earlier, it might go with the others at 06:30. `exp`, where it can be read, wins if it is
///   earlier. The guides' 12 hours are contradicted by every token seen.
/// * **Sessions.** Nobody documents what a second login does to the first token: taken as killing it.
/// * **Limits.** All reads share 10 a second and 200 a minute, and the fourth minute above it in a day blocks the app until
///   midnight. The three kinds of reads are counted apart here, so each has one a second: 180 a minute together, well
///   inside the 8 to 10 in a few milliseconds that were seen to be refused.
#[must_use]
pub const fn facts(app: App) -> BrokerFacts {
    BrokerFacts {
        name: "fyers",
        renewal: match app {
            App::DailyLogin => &[Renewal::Login, Renewal::External],
            App::RefreshGrant => &[Renewal::RefreshGrant, Renewal::Login, Renewal::External],
        },
        expiry: Expiry::Cutoff { suspect_from: at(5, 55), dead_by: at(6, 30), mint_after: at(6, 35) },
        sessions: Sessions::Replace,
        limits: Limits {
            orders: &ORDERS,
            reads_share: true,
            quotes: RateLimit::new(1, 1),
            quote_instruments: 50,
            historical: RateLimit::new(1, 1),
            other: RateLimit::new(1, 1),
            // Not documented; the lowest that another broker documents.
            modifications_per_order: 25,
            // One data socket a user. It has no heartbeat of its own: 90 seconds is what others wait before they doubt.
            feed: FeedLimits { connections: 1, instruments: 5_000, heartbeat: Duration::from_secs(90) },
        },
        tag: TagRule { max_len: 30, alphanumeric: true },
        // A guess: nobody documents how long an accepted order may be missing from the book.
        propagation: Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_without_the_grant_waits_for_a_human() {
        assert!(!facts(App::default()).renewal.contains(&Renewal::RefreshGrant));
        assert_eq!(facts(App::RefreshGrant).renewal.first(), Some(&Renewal::RefreshGrant));
    }

    #[test]
    fn both_reported_cut_offs_lie_in_the_danger_band_and_a_login_is_asked_for_after_it() {
        let Expiry::Cutoff { suspect_from, dead_by, mint_after } = facts(App::DailyLogin).expiry else {
            panic!("not a cut-off");
        };
        assert!(suspect_from < at(6, 0) && at(6, 30) <= dead_by && dead_by < mint_after);
    }

    #[test]
    fn reads_of_every_kind_together_stay_below_the_limit_of_a_minute() {
        let limits = facts(App::DailyLogin).limits;
        let in_a_minute = |limit: RateLimit| u64::from(limit.count) * 60 / limit.per.as_secs();
        let all: u64 = [limits.quotes, limits.historical, limits.other].into_iter().map(in_a_minute).sum();
        assert!(all <= 200, "{all}");
    }
}
