//! Kite with other limits on orders than its own, so that hundreds can be in flight, or a test is over today.

use std::sync::Arc;

use nirantar_brokers::kite::Kite;
use nirantar_brokers::{
    AccessToken, Auth, BadRedirect, Broker, BrokerFacts, Call, Form, Limits, Profile, RateLimit, Secret, Session,
    TokenLife, Trading,
};

/// The wire is Kite's own; only what it declares of its limits differs.
#[derive(Debug)]
pub struct OtherLimits {
    kite: Kite,
    facts: BrokerFacts,
}

impl OtherLimits {
    /// `kite`, declaring these.
    #[must_use]
    pub fn around(kite: Kite, orders: &'static [RateLimit]) -> Arc<dyn Broker> {
        let known = kite.facts();
        let facts = BrokerFacts { limits: Limits { orders, ..known.limits.clone() }, ..known.clone() };
        Arc::new(Self { kite, facts })
    }
}

impl Auth for OtherLimits {
    fn login_url(&self, state: Option<&str>) -> Option<String> {
        self.kite.login_url(state)
    }

    fn code(&self, redirect: &Form) -> Result<Secret, BadRedirect> {
        self.kite.code(redirect)
    }

    fn exchange(&self, code: &Secret) -> Call<Session> {
        self.kite.exchange(code)
    }

    fn renew(&self, refresh_token: &Secret) -> Call<Session> {
        self.kite.renew(refresh_token)
    }

    fn life(&self, token: &Secret) -> TokenLife {
        self.kite.life(token)
    }

    fn invalidate(&self, token: &AccessToken) -> Call<()> {
        self.kite.invalidate(token)
    }

    fn probe(&self) -> Call<Profile> {
        self.kite.probe()
    }

    fn authorization(&self, token: &AccessToken) -> Secret {
        self.kite.authorization(token)
    }
}

impl Broker for OtherLimits {
    fn facts(&self) -> &BrokerFacts {
        &self.facts
    }

    fn trading(&self) -> Option<Arc<dyn Trading>> {
        self.kite.trading()
    }
}
