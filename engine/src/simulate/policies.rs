//! What an account decides by, where an embedder says nothing: chosen by the seed, so that many runs meet every kind.

use std::time::Duration;

use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::time::Rng;
use nirantar_brokers::{Expiry, Renewal, Sessions};

use crate::session::{FallbackOrders, Policy, Resume};

/// A policy of that seed: a daily cut-off or tokens of some hours; sessions that replace or coexist; renewal by refresh
/// token, by a command, by both or by a human only; paper or nothing in Fallback; going live again by itself or not.
pub(super) fn of_seed(seed: u64) -> Policy {
    let mut rng = Rng::from_seed(seed ^ 0x9011c7);
    let mut policy = Policy::for_broker(&facts(App::Approved));
    policy.user_id = Some(super::OWN_USER.to_owned());
    if rng.below(2) == 0 {
        policy.expiry = Expiry::Ttl(Duration::from_secs(3600 * (2 + rng.below(8))));
    }
    policy.sessions = if rng.below(2) == 0 { Sessions::Replace } else { Sessions::Coexist };
    policy.automatic = match rng.below(4) {
        0 => Vec::new(),
        1 => vec![Renewal::External],
        2 => vec![Renewal::RefreshGrant, Renewal::External],
        _ => vec![Renewal::RefreshGrant],
    };
    policy.fallback_orders = if rng.below(4) == 0 { FallbackOrders::Reject } else { FallbackOrders::Paper };
    policy.resume = if rng.below(4) == 0 { Resume::Confirm } else { Resume::Auto };
    policy.hold = Duration::from_secs([2, 0, 10][usize::try_from(rng.below(3)).unwrap_or(0).min(2)]);
    policy.hysteresis = Duration::from_secs([2, 0, 10][usize::try_from(rng.below(3)).unwrap_or(0).min(2)]);
    policy.seed = seed;
    policy
}
