//! A broker's facts for tests of the machine.

use std::time::Duration;

use nirantar_brokers::{BrokerFacts, Expiry, FeedLimits, Limits, RateLimit, Renewal, Sessions, TagRule};

pub(crate) fn facts(expiry: Expiry) -> BrokerFacts {
    let limit = RateLimit { count: 10, per: Duration::from_secs(1) };
    BrokerFacts {
        name: "test",
        renewal: &[Renewal::RefreshGrant, Renewal::Login, Renewal::External],
        expiry,
        sessions: Sessions::Replace,
        limits: Limits {
            orders: &[],
            reads_share: false,
            quotes: limit,
            quote_instruments: 500,
            historical: limit,
            other: limit,
            modifications_per_order: 25,
            feed: FeedLimits { connections: 3, instruments: 3000, heartbeat: Duration::from_secs(5) },
        },
        tag: TagRule { max_len: 20, alphanumeric: true },
        propagation: Duration::from_secs(10),
    }
}
