//! What the session machine decides by: values, passed in, printable.

use std::fmt;
use std::time::Duration;

use chrono::{Datelike as _, NaiveDate, NaiveTime, Weekday};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{BrokerFacts, Expiry, Renewal, Sessions, Venue};

use super::TradingDays;
use crate::waiting::doubled;

/// The longest time without a trading day, with room.
const LONGEST_BREAK: usize = 15;
/// A command that was cut off is gone after this.
const COMMAND_ENDS: Duration = Duration::from_secs(2);
/// What follows once the renewal lock is held: a call of seven seconds, a store that is locked for five.
const LOCKED_WORK: Duration = Duration::from_secs(13);
/// How long a command's run may wait for that lock.
const MOST_LOCK_WAIT: Duration = Duration::from_secs(15);
/// No attempt is cut off earlier.
const LEAST_ATTEMPT: Duration = Duration::from_secs(14);

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
    /// Also on exchange holidays.
    pub on_holidays: bool,
}

impl Schedule {
    fn on(&self, date: NaiveDate, days: &TradingDays) -> impl Iterator<Item = Timestamp> + '_ {
        let due = self.days.contains(&date.weekday()) && (self.on_holidays || !days.is_holiday(date));
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
    /// A periodic check: the margin is looked at only so often, counted from midnight IST, and always early enough. It
    /// costs no request when nothing is due. `None`: at once.
    pub check_every: Option<Duration>,
    /// Renewal at fixed times.
    pub schedule: Option<Schedule>,
    /// On which days somebody trades.
    pub days: TradingDays,
    /// Nobody is asked to log in before this time of day, IST, nor is a token renewed that nobody needs yet.
    pub ask_from: NaiveTime,
    /// How long orders are held while the session is in doubt or an attempt may still win.
    pub hold: Duration,
    /// A renewal that takes longer is cut off; earlier where the margin leaves no room for two more tries.
    pub attempt_timeout: Duration,
    /// The same for the user's own command, which may drive a browser.
    pub command_timeout: Duration,
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
            check_every: None,
            schedule: None,
            days: TradingDays::every_day(),
            ask_from: NaiveTime::from_hms_opt(7, 45, 0).unwrap_or_default(),
            hold: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(5 * 60),
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
        let mut rng = Rng::from_seed(self.seed ^ u64::from(failures));
        rng.jitter(doubled(self.retry_first, failures.min(20), self.retry_cap), self.jitter_percent)
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

    /// Whether a token made at `now` may live longer, by the broker's rule, than one made at `before` that dies at `expires`.
    pub(super) fn outlives(&self, now: Timestamp, before: Timestamp, expires: Timestamp) -> bool {
        let flushed = match self.expiry {
            // One made in the morning before the broker's flush may not survive it.
            Expiry::Cutoff { mint_after, .. } => {
                let mint = Timestamp::from_ist_parts(now.ist_date(), mint_after);
                before < mint && now >= mint
            }
            Expiry::Ttl(_) => false,
        };
        flushed || self.dies_by_rule(now) > expires
    }

    /// Whether `at` lies in the hours when the broker's daily flush is under way.
    pub(super) fn in_cutoff_band(&self, at: Timestamp) -> bool {
        match self.expiry {
            Expiry::Ttl(_) => false,
            Expiry::Cutoff { suspect_from, dead_by, .. } => (suspect_from..dead_by).contains(&at.ist_time()),
        }
    }

    /// From when on a new token is of use, if the need arises at `at`: at once, or after the quiet hours. Quiet are nights,
    /// weekends and holidays, where the broker has a daily cut-off or renewals are scheduled: nobody is asked then, and
    /// nothing is renewed that would be dead, or unused, until the morning.
    pub(super) fn needed_from(&self, at: Timestamp) -> Timestamp {
        if self.schedule.is_none() && matches!(self.expiry, Expiry::Ttl(_)) {
            return at;
        }
        let today = at.ist_date();
        let of_today = self.opening(today);
        if let Some(opening) = of_today
            && at < Timestamp::from_ist_parts(today, self.close)
        {
            return at.max(opening);
        }
        let later = today.iter_days().skip(1).take(LONGEST_BREAK);
        later.filter_map(|date| self.opening(date)).next().unwrap_or(at)
    }

    /// Whether a new token would be of no use to anybody now.
    pub(super) fn is_quiet(&self, at: Timestamp) -> bool {
        self.needed_from(at) > at
    }

    /// When the quiet hours of a day end; `None` on a day on which nobody needs a token.
    fn opening(&self, date: NaiveDate) -> Option<Timestamp> {
        let scheduled = self.schedule.as_ref().and_then(|schedule| schedule.on(date, &self.days).min());
        if scheduled.is_none() && !self.days.contains(date) {
            return None;
        }
        let mint_after = match self.expiry {
            Expiry::Cutoff { mint_after, .. } => mint_after,
            Expiry::Ttl(_) => NaiveTime::MIN,
        };
        let pre_open = NaiveTime::from_hms_opt(9, 0, 0).unwrap_or_default();
        let asked = Timestamp::from_ist_parts(date, self.ask_from.min(pre_open));
        let at = scheduled.unwrap_or(asked).min(Timestamp::from_ist_parts(date, pre_open));
        Some(at.max(Timestamp::from_ist_parts(date, mint_after)))
    }

    /// The last scheduled instant not after `now`, looking back as far as the start of today (IST).
    pub(super) fn last_scheduled(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.as_ref()?.on(now.ist_date(), &self.days).filter(|at| *at <= now).max()
    }

    /// The next scheduled instant after `now`.
    pub(super) fn next_scheduled(&self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref()?;
        let days = now.ist_date().iter_days().take(LONGEST_BREAK);
        days.filter_map(|date| schedule.on(date, &self.days).filter(|at| *at > now).min()).next()
    }

    /// When a token that dies at `expires` is renewed: a margin before, at the periodic check if there is one.
    pub(super) fn renew_from(&self, expires: Timestamp) -> Timestamp {
        let margin = expires - self.margin;
        let Some(every) = self.check_every.filter(|every| !every.is_zero()) else { return margin };
        let midnight = Timestamp::from_ist_parts(margin.ist_date(), NaiveTime::MIN);
        let passed = margin.since(midnight).as_nanos();
        let checks = u32::try_from(passed.div_ceil(every.as_nanos())).unwrap_or(u32::MAX);
        let check = midnight + every.saturating_mul(checks);
        // The last check that comes early enough may lie before the margin.
        if check < expires { check } else { margin }
    }

    /// How long an attempt may take: three of them, with the waits between, fit into the margin.
    pub(super) fn attempt_deadline(&self, way: Renewal) -> Duration {
        if way == Renewal::External {
            // The driver ends the command itself, by the wall clock: it is the user's own, in real time.
            return self.command_timeout + COMMAND_ENDS + MOST_LOCK_WAIT;
        }
        let room = self.margin.saturating_sub(self.retry_first * 3) / 3;
        room.clamp(LEAST_ATTEMPT.min(self.attempt_timeout), self.attempt_timeout)
    }

    /// How long an attempt may wait for the renewal lock that somebody else holds, so that what follows still fits.
    pub(crate) fn lock_wait(&self, way: Renewal) -> Duration {
        match way {
            Renewal::External => MOST_LOCK_WAIT,
            _ => self.attempt_deadline(way).saturating_sub(LOCKED_WORK).max(Duration::from_secs(1)),
        }
    }

    /// How long whoever was refused waits for a new token: an attempt and the probe of what it brings.
    pub(crate) fn attempt_patience(&self) -> Duration {
        let longest = self.automatic.iter().map(|way| self.attempt_deadline(*way)).max().unwrap_or_default();
        longest + (self.probe_timeout + self.probe_spacing) * 2
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
        assert_eq!(policy.needed_from(at("2026-11-20 05:30:00")), at("2026-11-20 07:45:00"));
        assert_eq!(policy.needed_from(at("2026-11-20 16:00:00")), at("2026-11-21 07:45:00"));
        assert_eq!(policy.needed_from(at("2026-11-20 12:00:00")), at("2026-11-20 12:00:00"));
    }

    #[test]
    fn nobody_is_asked_to_log_in_on_a_day_without_trading() {
        let christmas = NaiveDate::from_ymd_opt(2026, 12, 25);
        let policy = Policy { days: TradingDays::new(christmas, None), ..policy() };
        assert_eq!(policy.needed_from(at("2026-11-20 16:00:00")), at("2026-11-23 07:45:00"), "a weekend");
        assert_eq!(policy.needed_from(at("2026-12-24 16:00:00")), at("2026-12-28 07:45:00"), "Christmas, a Friday");
        assert_eq!(policy.needed_from(at("2026-12-25 10:00:00")), at("2026-12-28 07:45:00"));
    }

    fn scheduled(time: &str, days: &[Weekday], on_holidays: bool) -> Policy {
        let at = vec![NaiveTime::parse_from_str(time, "%H:%M").unwrap()];
        let schedule = Some(Schedule { at, days: days.to_vec(), on_holidays });
        let christmas = NaiveDate::from_ymd_opt(2026, 12, 25);
        Policy { schedule, days: TradingDays::new(christmas, None), ..policy() }
    }

    const WEEK: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];

    #[test]
    fn a_schedule_knows_its_weekdays_and_keeps_off_holidays() {
        let policy = scheduled("08:45", &WEEK, false);
        assert_eq!(policy.next_scheduled(at("2026-11-20 09:00:00")), Some(at("2026-11-23 08:45:00")));
        assert_eq!(policy.last_scheduled(at("2026-11-21 09:00:00")), None, "Saturday");
        assert_eq!(policy.last_scheduled(at("2026-11-20 09:00:00")), Some(at("2026-11-20 08:45:00")));
        assert_eq!(policy.next_scheduled(at("2026-12-24 09:00:00")), Some(at("2026-12-28 08:45:00")), "Christmas");
        let asked = scheduled("08:45", &WEEK, true);
        assert_eq!(asked.next_scheduled(at("2026-12-24 09:00:00")), Some(at("2026-12-25 08:45:00")));
    }

    #[test]
    fn a_dead_token_waits_for_the_scheduled_time_but_not_beyond_the_pre_open() {
        let morning = scheduled("08:45", &WEEK, false);
        assert_eq!(morning.needed_from(at("2026-11-20 07:50:00")), at("2026-11-20 08:45:00"));
        assert_eq!(morning.needed_from(at("2026-11-20 09:20:00")), at("2026-11-20 09:20:00"));
        let noon = scheduled("12:00", &WEEK, false);
        assert_eq!(noon.needed_from(at("2026-11-20 07:50:00")), at("2026-11-20 09:00:00"));
        let daily = scheduled("07:45", &[Weekday::Sat, Weekday::Sun], false);
        assert_eq!(daily.needed_from(at("2026-11-21 06:00:00")), at("2026-11-21 07:45:00"), "a Saturday asked for");
    }

    #[test]
    fn a_periodic_check_renews_on_its_own_marks_and_always_in_time() {
        let hourly = Duration::from_secs(3600);
        let policy = Policy { margin: hourly * 3 / 2, check_every: Some(hourly), ..policy() };
        assert_eq!(policy.renew_from(at("2026-11-20 15:45:00")), at("2026-11-20 15:00:00"), "the margin begins 14:15");
        assert_eq!(policy.renew_from(at("2026-11-20 15:30:00")), at("2026-11-20 14:00:00"), "on the mark");
        let short = Policy { margin: hourly / 2, ..policy };
        assert_eq!(short.renew_from(at("2026-11-20 15:45:00")), at("2026-11-20 15:15:00"), "no check comes in time");
    }

    #[test]
    fn three_attempts_fit_into_the_margin() {
        let policy = policy();
        assert_eq!(policy.attempt_deadline(Renewal::RefreshGrant), Duration::from_secs(30));
        let short = Policy { margin: Duration::from_secs(60), ..policy };
        assert_eq!(short.attempt_deadline(Renewal::RefreshGrant), Duration::from_secs(15));
        assert!(short.attempt_deadline(Renewal::External) > short.command_timeout);
    }
}
