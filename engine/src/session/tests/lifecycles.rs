//! When a token is renewed, when a human is asked, and when nobody is.

use chrono::{NaiveDate, Weekday};

use super::*;

const WEEK: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];

fn at(text: &str) -> Timestamp {
    Timestamp::parse_ist(text).unwrap()
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// 08:45 on weekdays, by refresh token; Tuesday 24 November 2026 is a holiday here.
fn scheduled(policy: &mut Policy) {
    policy.schedule = Some(Schedule {
        at: vec![NaiveTime::from_hms_opt(8, 45, 0).unwrap()],
        days: WEEK.to_vec(),
        on_holidays: false,
    });
    policy.days = TradingDays::new(NaiveDate::from_ymd_opt(2026, 11, 24), None);
    policy.automatic = vec![Renewal::RefreshGrant];
}

impl Story {
    /// When each attempt was started that the machine made in so much time; each brings a new token at once.
    fn attempts(&mut self, span: Duration, expires: impl Fn(Timestamp) -> Timestamp) -> Vec<String> {
        let end = self.now + span;
        let mut started = Vec::new();
        let mut seen = self.effects.len();
        while self.now.mono < end.mono {
            self.waits(Duration::from_secs(60));
            while let Some(effect) = self.effects.get(seen).cloned() {
                seen += 1;
                match effect {
                    Effect::Attempt { attempt, .. } => {
                        started.push(self.now.wall.to_ist().format("%a %H:%M").to_string());
                        let fingerprint = Fingerprint(1_000 + u32::try_from(attempt).unwrap());
                        let (issued_at, expires_at) = (Some(self.now.wall), Some(expires(self.now.wall)));
                        let token = Candidate { issued_at, expires_at, ..renewable(fingerprint) };
                        let end = AttemptEnd::Token(Candidate { source: Source::Renewal, ..token });
                        self.told(Event::Attempted { attempt, end });
                    }
                    Effect::Probe { probe, .. } => {
                        self.told(Event::Probed { probe, verdict: ours() });
                    }
                    Effect::Reconcile { number } => {
                        self.told(Event::Reconciled { number, complete: true });
                    }
                    _ => {}
                }
            }
        }
        started
    }

    fn asked(&self) -> usize {
        self.effects.iter().filter(|effect| **effect == Effect::AskLogin).count()
    }
}

#[test]
fn a_week_of_scheduled_renewals_keeps_off_the_weekend_and_the_holiday() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Market { open: false });
    let renewed = story.attempts(hours(24 * 7), |made| made + hours(12));
    assert_eq!(renewed, ["Mon 08:45", "Wed 08:45", "Thu 08:45", "Fri 08:45"]);
    assert_eq!(story.machine.state(), State::Valid);
}

#[test]
fn a_scheduled_time_that_was_slept_through_is_caught_up_once() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Market { open: false });
    // The laptop sleeps from Friday 10:00 to Monday 09:10.
    story.now.wall = at("2026-11-23 09:10:00");
    let renewed = story.attempts(hours(3), |made| made + hours(12));
    assert_eq!(renewed, ["Mon 09:11"], "looked at once a minute");
}

#[test]
fn nothing_is_renewed_at_night_for_nobody_and_nobody_is_asked() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Market { open: false });
    story.waits(hours(22)); // Saturday 08:00, the token died at 07:30
    assert_eq!(story.machine.state(), State::Fallback);
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::Attempt { .. })));
    assert_eq!(story.asked(), 0);
    // The operator may want it all the same.
    story.told(Event::Operator(Operator::Renew));
    story.waits(Duration::from_secs(1));
    assert!(story.effects.iter().any(|effect| matches!(effect, Effect::Attempt { .. })));
}

#[test]
fn an_operator_who_wants_a_token_that_no_machine_can_get_is_sent_to_the_login_at_once() {
    let mut story = Story::starts(|policy| policy.days = TradingDays::new(None, None));
    story.now.wall = at("2026-11-21 22:00:00");
    story.told(Event::Started);
    story.waits(Duration::from_secs(60));
    assert_eq!(story.asked(), 0, "a Saturday night");
    story.told(Event::Operator(Operator::Renew));
    assert_eq!(story.asked(), 1);
}

#[test]
fn the_end_of_a_refresh_token_is_told_two_days_and_one_day_before_and_then_it_buys_nothing() {
    let dies = at("2026-11-25 06:00:00");
    let first = Candidate { refresh_dies: Some(dies), ..renewable(OLD) };
    let mut story = Story::lives(|policy| policy.expiry = Expiry::Ttl(hours(24 * 30)), first);
    let told =
        |story: &Story| story.effects.iter().filter(|effect| matches!(effect, Effect::RefreshTokenDies { .. })).count();
    story.waits(hours(67)); // Monday 05:00
    assert_eq!(told(&story), 0);
    story.waits(hours(2));
    assert_eq!(told(&story), 1);
    story.waits(hours(24));
    assert_eq!(told(&story), 2);
    story.waits(hours(48));
    assert_eq!(told(&story), 2);
    story.told(Event::Operator(Operator::Renew));
    story.waits(Duration::from_secs(60));
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::Attempt { .. })), "it is dead");
    assert!(story.asked() > 0, "only a login helps");
}

#[test]
fn a_renewal_that_hands_the_same_refresh_token_on_does_not_tell_of_its_end_again() {
    let dies = Some(at("2026-11-22 06:00:00"));
    let ttl = |policy: &mut Policy| policy.expiry = Expiry::Ttl(hours(100));
    let mut story = Story::lives(ttl, Candidate { refresh_dies: dies, ..renewable(OLD) });
    let told =
        |story: &Story| story.effects.iter().filter(|effect| matches!(effect, Effect::RefreshTokenDies { .. })).count();
    assert_eq!(told(&story), 1, "less than two days are left");
    story.waits(hours(1));
    let renewed = Candidate { source: Source::Renewal, refresh_dies: dies, ..renewable(NEW) };
    story.told(Event::Candidate(renewed));
    story.probed(NEW, ours());
    story.waits(hours(1));
    assert_eq!((story.machine.generation(), told(&story)), (Generation(2), 1));
    story.waits(hours(22));
    assert_eq!(told(&story), 2, "one day is left");
}

#[test]
fn a_human_is_asked_in_the_morning_only_once_the_scheduled_renewal_has_failed() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Market { open: false });
    let attempt = |story: &Story| {
        story.effects.iter().rev().find_map(|effect| match effect {
            Effect::Attempt { attempt, .. } => Some(*attempt),
            _ => None,
        })
    };
    // To the moment of the first attempt, on Monday at 08:45.
    while attempt(&story).is_none() {
        story.waits(Duration::from_secs(60));
    }
    assert_eq!((story.machine.state(), story.asked()), (State::Fallback, 0), "it may bring a token yet");
    let attempt = attempt(&story).unwrap();
    story.told(Event::Attempted { attempt, end: AttemptEnd::FailedForGood });
    assert_eq!(story.asked(), 1);
}

#[test]
fn where_only_a_human_brings_a_token_a_scheduled_hour_calls_nobody_while_one_lives() {
    let mut story = Story::lives(scheduled, candidate(OLD, Source::Login));
    story.told(Event::Market { open: false });
    story.now.wall = at("2026-11-23 07:50:00");
    story.waits(Duration::from_secs(60));
    story.told(Event::Candidate(candidate(NEW, Source::Login)));
    story.probed(NEW, ours());
    story.reconciled();
    story.told(Event::Feed { generation: Generation(2), delivers: true });
    story.waits(Duration::from_secs(60));
    assert_eq!(story.machine.state(), State::Valid);
    let asked = story.asked();
    story.waits(hours(6));
    assert_eq!((story.machine.state(), story.asked()), (State::Valid, asked));
}

#[test]
fn a_refresh_token_beside_a_dead_token_in_the_store_is_used_at_the_start() {
    let mut story = Story::starts(|policy| policy.automatic = vec![Renewal::RefreshGrant]);
    story.told(Event::Candidate(renewable(OLD)));
    story.told(Event::Started);
    story.probed(OLD, Verdict::Refused);
    story.waits(Duration::from_secs(1));
    assert!(story.effects.iter().any(|effect| matches!(effect, Effect::Attempt { way: Renewal::RefreshGrant, .. })));
}

#[test]
fn an_old_token_that_a_script_writes_back_does_not_replace_the_newer_one() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    story.probed(NEW, ours());
    assert_eq!(story.machine.generation(), Generation(2));
    let effects = story.told(Event::Candidate(candidate(OLD, Source::Store))).to_vec();
    let why = NotTaken::Replaced;
    assert!(effects.contains(&Effect::Notice(Notice::NotTaken { fingerprint: OLD, source: Source::Store, why })));
    story.waits(Duration::from_secs(60));
    assert_eq!((story.machine.generation(), story.machine.state()), (Generation(2), State::Valid));
}

#[test]
fn the_waits_between_failed_attempts_start_anew_after_a_success() {
    let ttl = |policy: &mut Policy| {
        policy.expiry = Expiry::Ttl(hours(2));
        policy.margin = hours(1);
        policy.jitter_percent = 0;
    };
    let mut story = Story::lives(ttl, renewable(OLD));
    let attempt = |story: &mut Story, end: Option<Candidate>| {
        let before = story.effects.len();
        let from = story.now.mono;
        while !story.effects[before..].iter().any(|effect| matches!(effect, Effect::Attempt { .. })) {
            story.waits(Duration::from_secs(1));
        }
        let waited = story.now.mono.since(from);
        let Some(Effect::Attempt { attempt, .. }) =
            story.effects.iter().rev().find(|effect| matches!(effect, Effect::Attempt { .. })).cloned()
        else {
            panic!("no attempt")
        };
        let end = end.map_or(AttemptEnd::Failed, AttemptEnd::Token);
        story.told(Event::Attempted { attempt, end });
        waited
    };
    attempt(&mut story, None);
    assert!(attempt(&mut story, None) <= Duration::from_secs(6));
    let third = attempt(&mut story, Some(Candidate { source: Source::Renewal, ..renewable(NEW) }));
    assert!(third >= Duration::from_secs(9), "{third:?}");
    story.probed(NEW, ours());
    assert_eq!(story.machine.state(), State::Valid);
    attempt(&mut story, None);
    let again = attempt(&mut story, None);
    assert!(again <= Duration::from_secs(6), "{again:?}");
}

const OTHER_REFRESH: Fingerprint = Fingerprint(78);

fn failed_attempt(story: &mut Story, end: AttemptEnd) {
    let from = story.effects.len();
    while !story.effects[from..].iter().any(|effect| matches!(effect, Effect::Attempt { .. })) {
        story.waits(Duration::from_secs(1));
    }
    let last = story.effects.iter().rev().find_map(|effect| match effect {
        Effect::Attempt { attempt, .. } => Some(*attempt),
        _ => None,
    });
    story.told(Event::Attempted { attempt: last.unwrap(), end });
}

fn attempts(story: &Story) -> usize {
    story.effects.iter().filter(|effect| matches!(effect, Effect::Attempt { .. })).count()
}

#[test]
fn a_renewal_of_the_morning_serves_the_scheduled_hour_though_the_brokers_clock_is_behind() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Market { open: false });
    story.waits(hours(70)); // Monday 08:00, dead since Saturday 07:30
    let behind = |token: Fingerprint, now: Now| Candidate {
        issued_at: Some(now.wall - Duration::from_secs(2)),
        source: Source::Renewal,
        ..renewable(token)
    };
    while attempts(&story) == 0 {
        story.waits(Duration::from_secs(1));
    }
    assert_eq!(story.now.wall, at("2026-11-23 08:45:00"));
    let token = behind(NEW, story.now);
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::Token(token) });
    story.probed(NEW, ours());
    story.reconciled();
    story.waits(hours(5));
    assert_eq!((attempts(&story), story.machine.state()), (1, State::Valid));
}

#[test]
fn a_login_just_before_the_scheduled_hour_makes_that_renewal_needless() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Market { open: false });
    story.waits(hours(70)); // Monday 08:00
    story.told(Event::Candidate(Candidate { source: Source::Login, ..renewable(NEW) }));
    story.probed(NEW, ours());
    story.reconciled();
    story.waits(hours(3));
    assert_eq!((attempts(&story), story.machine.state()), (0, State::Valid));
}

#[test]
fn a_grant_that_was_useless_against_a_cut_off_is_used_again_after_it() {
    let mut story = Story::lives(scheduled, renewable(OLD));
    story.told(Event::Operator(Operator::Renew));
    let useless = Candidate { source: Source::Renewal, ..renewable(NEW) };
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::Token(useless) });
    story.probed(NEW, ours());
    assert!(story.effects.contains(&Effect::Notice(Notice::RenewalUseless)));
    story.told(Event::Market { open: false });
    let renewed = story.attempts(hours(24 * 4), |made| made + hours(22));
    assert_eq!(renewed.first().map(String::as_str), Some("Mon 08:45"), "{renewed:?}");
}

#[test]
fn a_new_refresh_token_beside_a_known_token_is_taken_up_and_a_spent_one_is_not() {
    for alive in [true, false] {
        let ttl = |policy: &mut Policy| policy.expiry = Expiry::Ttl(hours(2));
        let mut story = Story::lives(ttl, renewable(OLD));
        story.waits(hours(2) - Duration::from_secs(250));
        assert_eq!(attempts(&story), 1);
        story.told(Event::Attempted { attempt: 1, end: AttemptEnd::FailedForGood });
        if !alive {
            story.waits(Duration::from_secs(300));
            assert_eq!(story.machine.state(), State::Fallback);
        }
        let stored = |refresh| Candidate { refresh: Some(refresh), ..candidate(OLD, Source::Store) };
        story.told(Event::Candidate(stored(REFRESH)));
        if !alive {
            story.probed(OLD, Verdict::Refused);
        }
        story.waits(Duration::from_secs(30));
        assert_eq!(attempts(&story), 1, "it is spent");
        story.told(Event::Candidate(stored(OTHER_REFRESH)));
        story.waits(Duration::from_secs(30));
        assert_eq!(attempts(&story), 2, "alive: {alive}");
    }
}

#[test]
fn a_command_that_fails_is_run_six_times_on_a_day_and_again_on_the_next_or_on_the_operators_word() {
    let command = |policy: &mut Policy| policy.automatic = vec![Renewal::External];
    let mut story = Story::starts(command);
    story.told(Event::Started);
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::Failed });
    for _ in 0..5 {
        failed_attempt(&mut story, AttemptEnd::Failed);
    }
    assert!(story.effects.contains(&Effect::Notice(Notice::CommandGivenUp { times: 6 })));
    story.waits(hours(2));
    assert_eq!(attempts(&story), 6);
    story.told(Event::Operator(Operator::Renew));
    story.told(Event::Attempted { attempt: 7, end: AttemptEnd::Failed });
    for _ in 0..5 {
        failed_attempt(&mut story, AttemptEnd::Failed);
    }
    story.waits(hours(16)); // Saturday 05:00
    assert_eq!(attempts(&story), 12);
    story.waits(hours(4));
    assert!(attempts(&story) > 12, "a new day");
}

#[test]
fn one_failure_of_many_tries_calls_nobody_while_the_token_lives() {
    let ttl = |policy: &mut Policy| {
        policy.expiry = Expiry::Ttl(hours(2));
        policy.margin = hours(1);
    };
    let mut story = Story::lives(ttl, renewable(OLD));
    failed_attempt(&mut story, AttemptEnd::Failed);
    failed_attempt(&mut story, AttemptEnd::Failed);
    assert_eq!(story.asked(), 0);
    failed_attempt(&mut story, AttemptEnd::Failed);
    story.waits(Duration::from_secs(1));
    assert_eq!(story.asked(), 1);
}

#[test]
fn an_hour_after_the_close_is_kept_too() {
    let mut story = Story::lives(
        |policy| {
            scheduled(policy);
            policy.expiry = Expiry::Ttl(hours(30));
            policy.schedule.as_mut().unwrap().at = vec![NaiveTime::from_hms_opt(18, 0, 0).unwrap()];
        },
        renewable(OLD),
    );
    story.told(Event::Market { open: false });
    assert_eq!(story.attempts(hours(12), |made| made + hours(30)), ["Fri 18:00"]);
}
