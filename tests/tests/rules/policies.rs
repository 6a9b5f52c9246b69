//! Policies of every kind, decided by dice.

use std::time::Duration;

use chrono::{NaiveTime, Weekday};
use nirantar::session::{FallbackOrders, Policy, Resume, Schedule};
use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Expiry, Renewal, Sessions};

use super::dice::Dice;

/// The account's own user.
pub const OWN: &str = "AB1234";
/// Somebody else.
pub const STRANGER: &str = "ZZ9999";

/// A policy.
pub fn policy(dice: &mut Dice) -> Policy {
    let seconds = Duration::from_secs;
    let mut policy = Policy::for_broker(&facts(App::Approved));
    policy.user_id = [Some(OWN.to_owned()), None][dice.roll(2) as usize].clone();
    if dice.flip() {
        policy.expiry = Expiry::Ttl(seconds(3600 * (1 + dice.roll(24))));
    }
    policy.sessions = dice.pick(&[Sessions::Replace, Sessions::Coexist]);
    let ways: [&[Renewal]; 4] =
        [&[], &[Renewal::RefreshGrant], &[Renewal::External], &[Renewal::RefreshGrant, Renewal::External]];
    policy.automatic = dice.pick(&ways).to_vec();
    policy.fallback_orders = dice.pick(&[FallbackOrders::Paper, FallbackOrders::Reject]);
    policy.resume = dice.pick(&[Resume::Auto, Resume::Confirm]);
    policy.hold = seconds(dice.pick(&[2, 0, 10]));
    policy.hysteresis = seconds(dice.pick(&[2, 0, 10]));
    policy.outage_after = dice.pick(&[3, 1, 5]);
    policy.seed = dice.roll(1000);
    if dice.flip() {
        let at = [(8, 45), (12, 0)].into_iter().filter_map(|(hour, minute)| NaiveTime::from_hms_opt(hour, minute, 0));
        let days = vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];
        policy.schedule = Some(Schedule { at: at.collect(), days, on_holidays: false });
    }
    policy
}

/// When the story starts: mid-morning, or near one of the day's edges.
pub fn start(dice: &mut Dice) -> Now {
    let times = ["10:00:00", "04:59:30", "07:29:30", "08:44:30", "15:29:30", "23:59:30"];
    let wall = Timestamp::parse_ist(&format!("2026-11-20 {}", dice.pick(&times))).unwrap();
    Now { wall, ..Now::default() }
}
