//! What the session machine decides by: values, passed in, printable.

use std::fmt;
use std::time::Duration;

use chrono::{Datelike as _, NaiveDate, NaiveTime, Weekday};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{BrokerFacts, Expiry, Renewal, Sessions, Venue};

/// Where orders go while there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum FallbackOrders {
    /// To the paper exchange, marked as paper. The default.
    #[default]
    Paper,
    /// Nowhere.
    Reject,
}

/// Who says that live trading goes on after a Fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Resume {
    /// The machine, once every step of the way back is done. The default.
    #[default]
    Auto,
    /// The operator, after that.
    Confirm,
}

/// Renewal at fixed times of day, IST.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// At these times. A time that was missed (the machine slept) is caught up on the same date, once.
    pub at: Vec<NaiveTime>,
    /// On these days of the week.
    pub days: Vec<Weekday>,
}

impl Schedule {
    /// The last scheduled instant not after `now`, looking back as far as the start of today (IST).
    #[must_use]
    pub fn last_due(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.ist_date();
        self.on(today).filter(|at| *at <= now).max()
    }

    /// The next scheduled instant after `now`, within eight days.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.ist_date();
        today.iter_days().take(8).find_map(|date| self.on(date).filter(|at| *at > now).min())
    }

    fn on(&self, date: NaiveDate) -> impl Iterator<Item = Timestamp> + '_ {
        let due = self.days.contains(&date.weekday());
        self.at.iter().filter(move |_| due).map(move |time| Timestamp::from_ist_parts(date, *time))
    }
}

/// All that the machine decides by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The account's own user id at the broker. `None`: the first token accepted says whose account this is.
    pub user_id: Option<String>,
    /// The ways to a new token that need no human, the preferred first.
    pub automatic: Vec<Renewal>,
    /// When a token dies.
    pub expiry: Expiry,
    /// What a newer login does to the living token.
    pub sessions: Sessions,
    /// How long before the expiry of a `Ttl` token it is renewed.
    pub margin: Duration,
    /// Renewal at fixed times.
    pub schedule: Option<Schedule>,
    /// How long orders are held while the session is in doubt or an attempt may still win.
    pub hold: Duration,
    /// A renewal that takes longer is cut off.
    pub attempt_timeout: Duration,
    /// Wait after the first failed attempt; doubles with each, at most to `retry_cap`.
    pub retry_first: Duration,
    /// Longest wait between attempts.
    pub retry_cap: Duration,
    /// How much shorter a wait may turn out, in percent.
    pub jitter_percent: u32,
    /// Seed of that jitter.
    pub seed: u64,
    /// Least time between the starts of two probes.
    pub probe_spacing: Duration,
    /// A probe that takes longer is inconclusive.
    pub probe_timeout: Duration,
    /// Wait before an inconclusive probe is repeated.
    pub probe_retry: Duration,
    /// How often the last token is probed again in Fallback, so that a false death heals.
    pub reprobe: Duration,
    /// So many unanswered calls in a row are an outage.
    pub outage_after: u32,
    /// A reconciliation that takes longer, or fails, is repeated after this.
    pub reconcile_retry: Duration,
    /// How long the feed must have delivered before new live entries are allowed again.
    pub hysteresis: Duration,
    /// How often a human who has to log in is reminded.
    pub remind: Duration,
    /// When the market closes, IST: a death between the close and the broker's `mint_after` is no alarm.
    pub close: NaiveTime,
    /// Orders go to paper whatever the session: a trial run, or a sandbox.
    pub paper_only: bool,
    /// Where orders go in Fallback.
    pub fallback_orders: FallbackOrders,
    /// Who lets live trading go on.
    pub resume: Resume,
}

impl Policy {
    /// What suits a broker of these facts: a margin of 5 minutes, orders held for 2 seconds, paper in Fallback, and
    /// live again without asking.
    #[must_use]
    pub fn for_broker(facts: &BrokerFacts) -> Self {
        Self {
            user_id: None,
            automatic: facts.renewal.iter().copied().filter(|way| *way == Renewal::RefreshGrant).collect(),
            expiry: facts.expiry,
            sessions: facts.sessions,
            margin: Duration::from_secs(5 * 60),
            schedule: None,
            hold: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(30),
            retry_first: Duration::from_secs(5),
            retry_cap: Duration::from_secs(5 * 60),
            jitter_percent: 20,
            seed: 0,
            probe_spacing: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(10),
            probe_retry: Duration::from_secs(2),
            reprobe: Duration::from_secs(60),
            outage_after: 3,
            reconcile_retry: Duration::from_secs(5),
            hysteresis: Duration::from_secs(2),
            remind: Duration::from_secs(15 * 60),
            close: NaiveTime::from_hms_opt(15, 30, 0).unwrap_or_default(),
            paper_only: false,
            fallback_orders: FallbackOrders::Paper,
            resume: Resume::Auto,
        }
    }

    /// Where orders go when all is well.
    #[must_use]
    pub const fn venue_when_valid(&self) -> Venue {
        if self.paper_only { Venue::Paper } else { Venue::Live }
    }

    /// Wait before attempt number `failures + 1`.
    pub(super) fn retry_after(&self, failures: u32) -> Duration {
        let doubled = self.retry_first.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX));
        let mut rng = Rng::from_seed(self.seed ^ u64::from(failures));
        rng.jitter(doubled.min(self.retry_cap), self.jitter_percent)
    }

    /// When a token issued (or first seen) at `since` dies by the broker's rule.
    pub(crate) fn dies_by_rule(&self, since: Timestamp) -> Timestamp {
        match self.expiry {
            Expiry::Ttl(ttl) => since + ttl,
            // Inside the band nobody can tell yesterday's token from today's: it counts as today's and is probed again
            // when the band is over.
            Expiry::Cutoff { suspect_from, dead_by, .. } => {
                let date = since.ist_date();
                let today = Timestamp::from_ist_parts(date, dead_by);
                if since < Timestamp::from_ist_parts(date, suspect_from) {
                    today
                } else {
                    Timestamp::from_ist_parts(date.succ_opt().unwrap_or(date), dead_by)
                }
            }
        }
    }

    /// Whether `at` lies in the hours when the broker's daily flush is under way.
    pub(super) fn in_cutoff_band(&self, at: Timestamp) -> bool {
        match self.expiry {
            Expiry::Ttl(_) => false,
            Expiry::Cutoff { suspect_from, dead_by, .. } => (suspect_from..dead_by).contains(&at.ist_time()),
        }
    }

    /// When a human may be asked to log in, if the need arises at `at`: at once, or after the nightly quiet hours, when
    /// a login would not last.
    pub(super) fn may_ask_at(&self, at: Timestamp) -> Timestamp {
        let Expiry::Cutoff { mint_after, .. } = self.expiry else { return at };
        let (date, time) = (at.ist_date(), at.ist_time());
        if time < mint_after {
            Timestamp::from_ist_parts(date, mint_after)
        } else if time >= self.close {
            Timestamp::from_ist_parts(date.succ_opt().unwrap_or(date), mint_after)
        } else {
            at
        }
    }

    /// The longest it can take to be Valid again, once there is a good token, the broker answers within the timeouts,
    /// the feed delivers and the operator confirms where asked (rule 8).
    ///
    /// The worst case: a probe of something else has just started and hangs; so does the first probe of the good token,
    /// and the first reconciliation.
    #[must_use]
    pub fn recovery_bound(&self) -> Duration {
        (self.probe_timeout + self.probe_spacing) * 3
            + self.probe_retry * 2
            + self.reconcile_retry * 3
            + self.hysteresis
            + self.hold
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "renew {:?} before expiry, hold orders {:?}, probe at most every {:?}, Valid within {:?} of a good token",
            self.margin,
            self.hold,
            self.probe_spacing,
            self.recovery_bound()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_ist(text).unwrap()
    }

    fn policy() -> Policy {
        let time = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
        Policy::for_broker(&crate::session::tests_support::facts(Expiry::Cutoff {
            suspect_from: time(5, 0),
            dead_by: time(7, 30),
            mint_after: time(7, 45),
        }))
    }

    #[test]
    fn a_cut_off_token_dies_at_the_next_cut_off() {
        let policy = policy();
        assert_eq!(policy.dies_by_rule(at("2026-11-19 08:10:00")), at("2026-11-20 07:30:00"));
        assert_eq!(policy.dies_by_rule(at("2026-11-20 04:59:59")), at("2026-11-20 07:30:00"));
        assert_eq!(policy.dies_by_rule(at("2026-11-20 06:10:00")), at("2026-11-21 07:30:00"));
    }

    #[test]
    fn nobody_is_asked_to_log_in_at_night() {
        let policy = policy();
        assert_eq!(policy.may_ask_at(at("2026-11-20 05:30:00")), at("2026-11-20 07:45:00"));
        assert_eq!(policy.may_ask_at(at("2026-11-20 16:00:00")), at("2026-11-21 07:45:00"));
        assert_eq!(policy.may_ask_at(at("2026-11-20 12:00:00")), at("2026-11-20 12:00:00"));
    }

    #[test]
    fn a_schedule_knows_its_weekdays() {
        let schedule = Schedule {
            at: vec![NaiveTime::from_hms_opt(8, 45, 0).unwrap()],
            days: vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri],
        };
        assert_eq!(schedule.next_due(at("2026-11-20 09:00:00")), Some(at("2026-11-23 08:45:00")));
        assert_eq!(schedule.last_due(at("2026-11-21 09:00:00")), None, "Saturday");
        assert_eq!(schedule.last_due(at("2026-11-20 09:00:00")), Some(at("2026-11-20 08:45:00")));
    }
}
