//! What Upstox declares about itself (`upstox.md` 2.3, 2.4, 4.1 and 8).

use std::time::Duration;

use crate::facts::at;
use crate::{BrokerFacts, Expiry, FeedLimits, Limits, RateLimit, Renewal, Sessions, TagRule};

/// Which world the app lives in: the one thing that decides whether a refresh token exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum App {
    /// What holds today: no refresh token is given out and none is taken. A human logs in or approves once a day.
    #[default]
    Current,
    /// What an older guide promises: `grant_type=refresh_token` at the token endpoint buys a new access token. No
    /// source shows it working today: the documentation, both official SDKs and every sample answer know the code
    /// grant alone (`upstox.md` 2.4). For those whose app still has it, and for the sandbox.
    Guide,
}

/// For an algorithm that is not registered, place, modify and cancel together.
const ORDERS: [RateLimit; 3] = [RateLimit::new(10, 1), RateLimit::new(500, 60), RateLimit::new(2_000, 1_800)];

/// 50 a second, 500 a minute and 2,000 in half an hour for each API: one window that keeps within all three.
const STANDARD: RateLimit = RateLimit::new(50, 45);

/// Upstox' facts for an app of that world.
///
/// A token dies at the next 03:30 IST, whenever it was made: the documentation says so and the `exp` of tokens seen in
/// the field says so to the second. So there is no band in which a token may be dying, and one made after 03:30 lives
/// the whole day. One is made a minute later all the same: under a clock that is some seconds ahead it would be made, or
/// an approval asked for, just before the end, and end with it. Between 03:30 and 05:30 orders and funds are closed, but
/// the probe is not.
///
/// Whether a second login kills the first token is not known, so it is taken to.
#[must_use]
pub const fn facts(app: App) -> BrokerFacts {
    let death = at(3, 30);
    BrokerFacts {
        name: "upstox",
        renewal: match app {
            App::Current => &[Renewal::Approval, Renewal::Login, Renewal::External],
            App::Guide => &[Renewal::RefreshGrant, Renewal::Approval, Renewal::Login, Renewal::External],
        },
        expiry: Expiry::Cutoff { suspect_from: death, dead_by: death, mint_after: at(3, 31) },
        sessions: Sessions::Replace,
        limits: Limits {
            orders: &ORDERS,
            reads_share: false,
            quotes: STANDARD,
            quote_instruments: 500,
            historical: STANDARD,
            other: STANDARD,
            // No cap is documented.
            modifications_per_order: u32::MAX,
            // Of the two pages the stricter: one socket, and 1,500 instruments where modes are mixed. The server's ping
            // is the only heartbeat and its interval is not published: a guess with room.
            feed: FeedLimits { connections: 1, instruments: 1_500, heartbeat: Duration::from_secs(60) },
        },
        // 40 are documented, the characters are not.
        tag: TagRule { max_len: 40, alphanumeric: true },
        // A guess: nobody documents how long an accepted order may be missing from the book.
        propagation: Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_old_guide_knows_a_refresh_grant() {
        assert!(!facts(App::Current).renewal.contains(&Renewal::RefreshGrant));
        assert_eq!(facts(App::Guide).renewal.first(), Some(&Renewal::RefreshGrant));
        for app in [App::Current, App::Guide] {
            assert!(facts(app).renewal.ends_with(&[Renewal::Approval, Renewal::Login, Renewal::External]));
        }
    }

    #[test]
    fn every_token_dies_at_half_past_three_without_a_band() {
        let Expiry::Cutoff { suspect_from, dead_by, mint_after } = facts(App::Current).expiry else {
            panic!("not a cut-off");
        };
        assert_eq!(
            [suspect_from, dead_by, mint_after].map(|time| time.to_string()),
            ["03:30:00", "03:30:00", "03:31:00"]
        );
    }

    #[test]
    fn the_one_window_for_reads_keeps_within_all_three_documented_ones() {
        let span = STANDARD.per.as_secs();
        for (count, seconds) in [(50, 1), (500, 60), (2_000, 1_800)] {
            assert!(u64::from(STANDARD.count) * u64::div_ceil(seconds, span) <= count, "{count} in {seconds} s");
        }
    }
}
