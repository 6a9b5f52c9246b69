//! From an account of the configuration to an engine's parts: codec, store and policy.

use std::sync::Arc;

use chrono::Weekday;
use nirantar_brokers::fyers::{self, Fyers};
use nirantar_brokers::kite::Kite;
use nirantar_brokers::upstox::{self, Upstox};
use nirantar_brokers::{Broker, Expiry, Fingerprint, Renewal};

use super::Setup;
use crate::config::{Account, BrokerName, RefreshGrant};
use crate::session::{Policy, Schedule};
use crate::token::store::StorePlace;

impl From<&Account> for Setup {
    /// What an engine for that account is made of.
    fn from(account: &Account) -> Self {
        let broker = broker(account);
        let policy = policy(account, broker.as_ref());
        let table = StorePlace::table_of(&account.key_prefix);
        let mut stores = account.stores.iter().map(|place| place.open(&account.key_prefix, &table));
        // There is a first: the configuration refuses an empty list.
        let first = stores.next();
        let store = first.unwrap_or_else(|| StorePlace::file(&account.store).open(&account.key_prefix, &table));
        let (rest, feed) = (account.rest_url.as_str(), account.feed_url.as_str());
        Self {
            loopback: account.loopback,
            fallback_stores: stores.collect(),
            policy,
            secrets: account.credentials.api_secret.iter().chain(&account.credentials.pin).cloned().collect(),
            command: account.external_command.clone(),
            ask_approval: account.approval,
            on_stop: account.on_stop,
            orders_per_second: account.orders_per_second,
            risk: account.risk.clone(),
            settle_paper: account.settle_paper,
            paper_fills: account.paper_fills,
            paper_latency: account.paper_latency,
            halt_file: Some(account.halt_file.clone()),
            calendar_file: account.calendar.clone(),
            instruments: account.instruments.clone(),
            mode: account.mode,
            ..Self::new(&account.name, broker, rest, feed, store)
        }
    }
}

fn broker(account: &Account) -> Arc<dyn Broker> {
    let credentials = &account.credentials;
    let (key, secret) = (credentials.api_key.clone(), credentials.api_secret.clone());
    let login_root = account.login_url.as_str();
    // Without one no login can be finished here; a token from elsewhere works all the same. The doctor says so.
    let redirect = account.redirect_url.clone().unwrap_or_default();
    match account.broker {
        BrokerName::Kite => Arc::new(Kite::new(account.app, key, secret).with_login_root(login_root)),
        BrokerName::Fyers => {
            let app = match account.refresh {
                RefreshGrant::Works => fyers::App::RefreshGrant,
                RefreshGrant::Withdrawn => fyers::App::DailyLogin,
            };
            let pin = credentials.pin.clone();
            Arc::new(Fyers::new(app, key, secret, pin, redirect).with_login_root(login_root))
        }
        BrokerName::Upstox => {
            let app = match account.refresh {
                RefreshGrant::Works => upstox::App::Guide,
                RefreshGrant::Withdrawn => upstox::App::Current,
            };
            Arc::new(Upstox::new(app, key, secret, redirect).with_login_root(login_root))
        }
    }
}

/// The broker's facts, with what the account says otherwise.
fn policy(account: &Account, broker: &dyn Broker) -> Policy {
    let mut policy = Policy::for_broker(broker.facts());
    if account.external_command.is_some() {
        policy.automatic.push(Renewal::External);
    }
    let days = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
    Policy {
        user_id: Some(account.credentials.user_id.clone()),
        expiry: account.token_ttl.map_or(policy.expiry, Expiry::Ttl),
        margin: account.renew_margin,
        // Without a way that needs no human there is nothing to renew at that hour: `ask_from` says when to ask one.
        schedule: (!account.renew_at.is_empty() && !policy.automatic.is_empty()).then(|| Schedule {
            at: account.renew_at.clone(),
            days: days.into_iter().filter(|day| account.renew_days.contains(*day)).collect(),
            on_holidays: account.renew_on_holidays,
        }),
        check_every: account.check_every,
        ask_from: account.ask_from,
        command_timeout: account.external_timeout,
        paper_only: account.paper_only,
        hold: account.hold,
        // Accounts that share a broker must not all come back at one moment.
        seed: u64::from(Fingerprint::of(&account.name).0),
        fallback_orders: account.orders,
        resume: account.resume,
        ..policy
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use nirantar_brokers::Secret;
    use nirantar_exchange_mock::Latencies;
    use nirantar_exchange_mock::matching::{FillsFrom, Latency};

    use super::*;
    use crate::config::{Config, Outside};
    use crate::orders::{RiskLimits, SettlePaper};
    use crate::session::{FallbackOrders, Resume};
    use crate::token::store::{StoreError, Stored};

    struct Furnished;

    impl Outside for Furnished {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn stored(&self, _: &StorePlace, _: &str) -> Result<Stored, StoreError> {
            let (user_id, api_key) = (Some("AB1234".to_owned()), Some("key".to_owned()));
            Ok(Stored { user_id, api_key, api_secret: Some(Secret::new("hunter2")), ..Stored::default() })
        }

        fn real_path(&self, store: &Path) -> PathBuf {
            store.to_owned()
        }
    }

    fn of(lines: &str) -> Setup {
        at("kite", lines)
    }

    fn at(broker: &str, lines: &str) -> Setup {
        let text = format!("[[account]]\nname = \"main\"\nbroker = \"{broker}\"\n{lines}\n");
        Setup::from(&Config::read(&text, Path::new("conf/nirantar.toml"), &Furnished).unwrap().accounts[0])
    }

    #[test]
    fn an_account_that_says_nothing_follows_the_brokers_facts() {
        let setup = of("");
        assert_eq!(setup.policy.user_id.as_deref(), Some("AB1234"));
        assert_eq!(setup.policy.expiry, setup.broker.facts().expiry);
        assert_eq!((setup.policy.automatic, setup.policy.schedule), (Vec::new(), None));
        assert_eq!(setup.store.path(), Path::new("conf/.env"));
        assert!(!setup.loopback && setup.command.is_none());
        let link = setup.broker.login_url(None).unwrap();
        assert!(link.starts_with("https://kite.zerodha.com/connect/login?"), "{link}");
    }

    #[test]
    fn everything_an_account_says_reaches_the_policy() {
        let setup = of("app = \"approved\"\ntoken_ttl = \"2h\"\nrenew_margin = \"7m\"\nhold = \"3s\"\n\
                        renew_at = [\"08:45\"]\nrenew_days = \"sat-mon\"\norders = \"reject\"\nresume = \"confirm\"\n\
                        external_command = [\"./login.sh\", \"-q\"]\nlogin_url = \"http://127.0.0.1:9\"\n\
                        external_timeout = \"90s\"\ncheck_every = \"5m\"\nrenew_on_holidays = true\n\
                        ask_from = \"08:15\"\nvenue = \"paper\"");
        let policy = setup.policy;
        assert_eq!(policy.automatic, [Renewal::RefreshGrant, Renewal::External]);
        assert_eq!(policy.expiry, Expiry::Ttl(Duration::from_secs(7_200)));
        assert_eq!((policy.margin, policy.hold), (Duration::from_secs(420), Duration::from_secs(3)));
        let schedule = policy.schedule.unwrap();
        assert_eq!(schedule.days, [Weekday::Mon, Weekday::Sat, Weekday::Sun]);
        assert_eq!((schedule.at.len(), schedule.on_holidays), (1, true));
        assert_eq!(policy.command_timeout, Duration::from_secs(90));
        assert_eq!(policy.check_every, Some(Duration::from_secs(300)));
        assert_eq!(policy.ask_from.to_string(), "08:15:00");
        assert!(policy.paper_only);
        assert_eq!(policy.fallback_orders, FallbackOrders::Reject);
        assert_eq!(policy.resume, Resume::Confirm);
        assert_eq!(setup.command.unwrap().arguments, ["-q"]);
        assert!(setup.broker.login_url(None).unwrap().starts_with("http://127.0.0.1:9/"));
    }

    #[test]
    fn what_an_account_says_of_its_orders_reaches_the_setup() {
        let setup = of("");
        assert_eq!(setup.halt_file.as_deref(), Some(Path::new("conf/nirantar-main.halt")));
        assert_eq!((setup.settle_paper, setup.risk), (SettlePaper::Flatten, RiskLimits::default()));
        let setup = of(
            "halt_file = \"stop\"\nsettle_paper = \"keep\"\npaper_fills = \"depth\"\npaper_order_latency = \"20ms..80ms\"\n[account.risk]\nopen_orders = 7",
        );
        assert_eq!(setup.halt_file.as_deref(), Some(Path::new("conf/stop")));
        let expected = RiskLimits { open_orders: Some(7), ..RiskLimits::default() };
        assert_eq!((setup.settle_paper, setup.risk), (SettlePaper::Keep, expected));
        assert_eq!(setup.paper_fills, FillsFrom::Depth);
        let [least, spread] = [20, 60].map(std::time::Duration::from_millis);
        let order_entry = Latency { least, spread };
        assert_eq!(setup.paper_latency, Latencies { order_entry, ..Latencies::default() });
    }

    #[test]
    fn fyers_and_upstox_renew_by_themselves_only_where_the_account_says_that_it_still_works() {
        const REDIRECT: &str = "redirect_url = \"http://127.0.0.1:5000/callback\"\n";
        for broker in ["fyers", "upstox"] {
            assert_eq!(at(broker, REDIRECT).policy.automatic, [], "{broker}: withdrawn unless told otherwise");
            let setup = at(broker, &format!("{REDIRECT}refresh = \"works\""));
            assert_eq!(setup.policy.automatic, [Renewal::RefreshGrant], "{broker}");
            assert_eq!(setup.broker.facts().name, broker);
            let link = setup.broker.login_url(None).unwrap();
            assert!(link.starts_with(&setup.rest_url) && link.contains("127.0.0.1%3A5000"), "{link}");
            let here = at(broker, &format!("{REDIRECT}rest_url = \"http://127.0.0.1:9\""));
            let link = here.broker.login_url(None).unwrap();
            assert!(link.starts_with("http://127.0.0.1:9/"), "the login page goes with the REST service: {link}");
        }
    }
}
