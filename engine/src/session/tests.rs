//! Scenarios of the machine that read as stories. The rules in every interleaving are properties, in
//! `tests/tests/rules.rs`.

use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Block, Endpoint, Expiry, Fingerprint, Refusal, Renewal, Sessions, Venue};

use super::*;

struct Story {
    machine: Machine,
    now: Now,
    effects: Vec<Effect>,
    answered: u64,
}

const OLD: Fingerprint = Fingerprint(1);
const NEW: Fingerprint = Fingerprint(2);
const REFRESH: Fingerprint = Fingerprint(77);

fn candidate(fingerprint: Fingerprint, source: Source) -> Candidate {
    Candidate { fingerprint, source, issued_at: None, expires_at: None, refresh: None, refresh_dies: None }
}

fn renewable(fingerprint: Fingerprint) -> Candidate {
    Candidate { refresh: Some(REFRESH), ..candidate(fingerprint, Source::Stored) }
}

fn ours() -> Verdict {
    Verdict::Accepted { user_id: "AB1234".to_owned() }
}

impl Story {
    fn starts(policy: impl FnOnce(&mut Policy)) -> Self {
        let time = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
        let cutoff = Expiry::Cutoff { suspect_from: time(5, 0), dead_by: time(7, 30), mint_after: time(7, 45) };
        let mut rules = Policy::for_broker(&tests_support::facts(cutoff));
        rules.user_id = Some("AB1234".to_owned());
        policy(&mut rules);
        let wall = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        Self { machine: Machine::new(rules), now: Now { wall, ..Now::default() }, effects: Vec::new(), answered: 0 }
    }

    /// A session that lives under `OLD`, in market hours.
    fn lives(policy: impl FnOnce(&mut Policy), first: Candidate) -> Self {
        let mut story = Self::starts(policy);
        story.told(Event::Market { open: true });
        story.told(Event::Candidate(first));
        story.told(Event::Started);
        story.probed(first.fingerprint, ours());
        story.reconciled();
        story.told(Event::Feed { generation: Generation(1), delivers: true });
        assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
        story
    }

    fn told(&mut self, event: Event) -> &[Effect] {
        let from = self.effects.len();
        self.machine.on(&event, self.now, &mut self.effects);
        &self.effects[from..]
    }

    /// Lets time pass, waking the machine whenever it asks to be.
    fn waits(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now.mono < end.mono {
            let next = self.machine.next_wake(self.now).min(end.mono);
            self.now = self.now + next.since(self.now.mono).max(Duration::from_nanos(1));
            self.told(Event::Wake);
        }
    }

    /// Answers the last probe, which must be about that token. Waits for it if it has not started.
    fn probed(&mut self, fingerprint: Fingerprint, verdict: Verdict) {
        for _ in 0..5 {
            if let Some(Effect::Probe { probe, fingerprint: about }) =
                self.effects.iter().rev().find(|effect| matches!(effect, Effect::Probe { .. })).cloned()
                && (about, true) == (fingerprint, probe > self.answered)
            {
                self.answered = probe;
                self.told(Event::Probed { probe, verdict });
                return;
            }
            self.waits(Duration::from_secs(1));
        }
        panic!("no probe of {fingerprint}: {:#?}", self.effects);
    }

    fn reconciled(&mut self) {
        let asked = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Reconcile { number } => Some(*number),
            _ => None,
        });
        self.told(Event::Reconciled { number: asked.expect("a comparison was asked for"), complete: true });
    }

    fn venue(&self) -> Venue {
        self.machine.route(self.now).0
    }

    fn transitions(&self) -> Vec<String> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Transition(step) => Some(format!("{} -> {}", step.from, step.to)),
                _ => None,
            })
            .collect()
    }
}

mod lifecycles;
mod probes;
mod waking;

#[test]
fn nothing_goes_anywhere_before_the_journal_is_replayed() {
    let mut story = Story::starts(|_| {});
    assert_eq!(story.venue(), Venue::Blocked(Block::Starting));
    story.told(Event::Candidate(candidate(OLD, Source::Stored)));
    story.probed(OLD, ours());
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Blocked(Block::Starting)));
    story.told(Event::Started);
    assert_eq!(story.venue(), Venue::Blocked(Block::Reconciling));
    story.reconciled();
    assert_eq!(story.venue(), Venue::Live);
}

#[test]
fn a_start_without_a_token_ends_in_paper_and_asks_the_human() {
    let mut story = Story::starts(|_| {});
    story.told(Event::Started);
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Paper));
    assert!(story.effects.contains(&Effect::AskLogin));
}

#[test]
fn a_conclusive_refusal_expires_the_token_within_one_event_and_the_way_back_is_a_procedure() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    let (generation, endpoint) = (Generation(1), Endpoint::Place);
    story.told(Event::Refused { generation, refusal: Refusal::Conclusive, endpoint });
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Paper));
    assert!(story.effects.contains(&Effect::Bury { generation }));

    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    story.probed(NEW, ours());
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Paper), "not compared yet");
    story.reconciled();
    assert_eq!(story.machine.route(story.now), (Venue::Live, true), "exits first");
    story.told(Event::Feed { generation: Generation(2), delivers: true });
    assert_eq!(story.machine.state(), State::Fallback, "the feed has to prove itself");
    story.waits(Duration::from_secs(2));
    assert_eq!((story.machine.state(), story.machine.route(story.now)), (State::Valid, (Venue::Live, false)));
    assert_eq!(
        story.transitions(),
        ["Expired -> Valid", "Valid -> Expired", "Expired -> Fallback", "Fallback -> Valid"]
    );
}

#[test]
fn a_renewal_before_expiry_passes_through_expiring_and_refreshing() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let mut story = Story::lives(|policy| policy.expiry = Expiry::Ttl(hours(2)), renewable(OLD));
    story.waits(hours(2) - Duration::from_secs(301));
    assert_eq!(story.machine.state(), State::Valid);
    story.waits(Duration::from_secs(2));
    assert_eq!(story.machine.state(), State::Refreshing);
    let end = AttemptEnd::Token(Candidate { refresh: Some(REFRESH), ..candidate(NEW, Source::Renewal) });
    story.told(Event::Attempted { attempt: 1, end });
    assert_eq!(story.venue(), Venue::Blocked(Block::Holding), "a new login may have killed the old token");
    story.probed(NEW, ours());
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
    assert_eq!(story.transitions()[1..], ["Valid -> Expiring", "Expiring -> Refreshing", "Refreshing -> Valid"]);
}

#[test]
fn a_dead_token_is_held_for_as_long_as_a_renewal_may_win_and_no_longer() {
    let mut story = Story::lives(|_| {}, renewable(OLD));
    story.told(Event::Refused {
        generation: Generation(1),
        refusal: Refusal::Conclusive,
        endpoint: Endpoint::Positions,
    });
    assert_eq!((story.machine.state(), story.venue()), (State::Expired, Venue::Blocked(Block::Holding)));
    assert!(story.effects.contains(&Effect::Attempt { attempt: 1, way: Renewal::RefreshGrant }));
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::FailedForGood });
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Paper));

    let mut hangs = Story::lives(|_| {}, renewable(OLD));
    hangs.told(Event::Refused {
        generation: Generation(1),
        refusal: Refusal::Conclusive,
        endpoint: Endpoint::Positions,
    });
    hangs.waits(Duration::from_secs(3));
    assert_eq!(hangs.machine.state(), State::Fallback, "the attempt goes on, the hold is over");
    assert!(hangs.machine.is_renewing());
}

#[test]
fn an_older_generations_refusal_changes_nothing() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Candidate(candidate(NEW, Source::Login)));
    story.probed(NEW, ours());
    assert_eq!(story.machine.generation(), Generation(2));
    let late = Event::Refused { generation: Generation(1), refusal: Refusal::Conclusive, endpoint: Endpoint::Place };
    let effects = story.told(late).to_vec();
    assert_eq!(effects, [Effect::Notice(Notice::OldGeneration { generation: Generation(1) })]);
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
}

#[test]
fn a_bad_token_never_replaces_a_living_one() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    story.probed(NEW, Verdict::Refused);
    story.probed(OLD, ours());
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
    assert_eq!(story.machine.generation(), Generation(1));
    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    assert_eq!(story.venue(), Venue::Live, "a token refused before does not even hold orders");
}

#[test]
fn somebody_elses_token_is_refused_by_user_id() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    story.probed(NEW, Verdict::Accepted { user_id: "ZZ9999".to_owned() });
    story.probed(OLD, ours());
    assert_eq!((story.machine.generation(), story.venue()), (Generation(1), Venue::Live));
    let said = story.effects.iter().any(|effect| effect.to_string().contains("belongs to ZZ9999"));
    assert!(said, "{:#?}", story.effects);
}

#[test]
fn a_wrong_ip_blocks_within_one_event_and_leaves_the_state_alone_until_the_operator_resumes() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Misconfigured { generation: Generation(1), endpoint: Endpoint::Place });
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Blocked(Block::Misconfigured)));
    story.waits(Duration::from_secs(600));
    assert_eq!(story.venue(), Venue::Blocked(Block::Misconfigured));
    story.told(Event::Operator(Operator::Resume));
    assert_eq!(story.venue(), Venue::Blocked(Block::Reconciling));
    story.reconciled();
    assert_eq!(story.venue(), Venue::Live);
}

#[test]
fn ten_minutes_of_outage_stay_valid_and_heal_alone() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    for _ in 0..3 {
        story.told(Event::Unanswered { generation: Generation(1) });
    }
    let start = story.now;
    while story.now.mono.since(start.mono) < Duration::from_secs(600) {
        assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Blocked(Block::Outage)));
        story.waits(Duration::from_secs(31));
        story.probed(OLD, Verdict::Inconclusive);
    }
    story.waits(Duration::from_secs(31));
    story.probed(OLD, ours());
    assert_eq!(story.venue(), Venue::Blocked(Block::Reconciling));
    story.reconciled();
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
}

#[test]
fn a_suspect_refusal_of_a_good_token_blocks_orders_and_renews_nothing() {
    let mut story = Story::lives(|_| {}, renewable(OLD));
    let (generation, refusal) = (Generation(1), Refusal::Suspect);
    story.told(Event::Refused { generation, refusal, endpoint: Endpoint::Place });
    assert_eq!(story.venue(), Venue::Blocked(Block::Holding));
    story.probed(OLD, ours());
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Blocked(Block::Misconfigured)));
    assert!(!story.machine.is_renewing());
}

#[test]
fn a_refused_handshake_with_a_good_token_is_the_feeds_own_business() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    let (generation, refusal) = (Generation(1), Refusal::Suspect);
    story.told(Event::Refused { generation, refusal, endpoint: Endpoint::Feed });
    story.probed(OLD, ours());
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
}

#[test]
fn a_false_death_heals_within_a_minute() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Refused { generation: Generation(1), refusal: Refusal::Conclusive, endpoint: Endpoint::Place });
    assert_eq!(story.machine.state(), State::Fallback);
    story.waits(Duration::from_secs(61));
    story.probed(OLD, ours());
    story.reconciled();
    story.told(Event::Feed { generation: Generation(2), delivers: true });
    story.waits(Duration::from_secs(3));
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
}

#[test]
fn a_death_in_the_night_is_no_alarm_until_a_login_would_last() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    let until = Timestamp::parse_ist("2026-11-21 07:29:00").unwrap();
    story.waits(until.since(story.now.wall));
    assert_eq!(story.machine.state(), State::Valid);
    story.waits(Duration::from_secs(120));
    assert_eq!(story.machine.state(), State::Fallback, "dead by the broker's cut-off");
    assert!(!story.effects.contains(&Effect::AskLogin));
    story.waits(Duration::from_secs(15 * 60));
    assert!(story.effects.contains(&Effect::AskLogin), "from 07:45 on");
}

#[test]
fn in_the_morning_the_users_command_goes_first_and_a_human_is_asked_when_it_has_failed() {
    let mut story = Story::lives(|policy| policy.automatic = vec![Renewal::External], candidate(OLD, Source::Stored));
    let until = Timestamp::parse_ist("2026-11-21 07:45:00").unwrap();
    story.waits(until.since(story.now.wall));
    let attempt = Effect::Attempt { attempt: 1, way: Renewal::External };
    assert_eq!(story.effects.iter().filter(|effect| **effect == attempt).count(), 1, "{:?}", story.effects);
    assert!(!story.effects.contains(&Effect::AskLogin));
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::Failed });
    assert!(story.effects.contains(&Effect::AskLogin));
}

#[test]
fn every_word_of_it_reads_as_english() {
    let mut story = Story::lives(|_| {}, renewable(OLD));
    story.told(Event::Operator(Operator::Renew));
    let lines: Vec<String> = story.effects.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    assert!(text.contains("Expired -> Valid: the broker accepts the token found in the store (#00000001)"), "{text}");
    assert!(text.contains("Expiring -> Refreshing: renewing by itself (refresh token)"), "{text}");
    assert_eq!(story.machine.to_string(), "Refreshing (generation 1), renewing");
}

// --- cases that properties found ---------------------------------------------------------------------------------

#[test]
fn a_token_that_dies_before_the_start_takes_its_comparison_with_it() {
    let mut story = Story::starts(|_| {});
    story.told(Event::Candidate(Candidate { expires_at: Some(story_wall(1)), ..candidate(OLD, Source::Stored) }));
    story.probed(OLD, ours());
    story.waits(Duration::from_secs(3600));
    assert_eq!(story.machine.state(), State::Expired);
    assert!(story.effects.contains(&Effect::Bury { generation: Generation(1) }), "{:#?}", story.effects);
    story.told(Event::Started);
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::Reconcile { .. })), "under a dead token");
}

/// So many hours after a story starts.
fn story_wall(hours: u64) -> Timestamp {
    Timestamp::parse_ist("2026-11-20 10:00:00").unwrap() + Duration::from_secs(hours * 3600)
}

#[test]
fn a_token_whose_stored_expiry_is_past_never_replaces_a_living_one() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    let stale = Candidate { expires_at: Some(story_wall(0)), ..candidate(NEW, Source::Store) };
    story.told(Event::Candidate(stale));
    story.probed(NEW, ours());
    story.probed(OLD, ours());
    assert_eq!((story.machine.generation(), story.venue()), (Generation(1), Venue::Live));

    story.told(Event::Candidate(Candidate { expires_at: Some(story_wall(9)), ..stale }));
    story.probed(NEW, ours());
    assert_eq!(story.machine.generation(), Generation(2), "once its expiry is corrected it is taken");
}

#[test]
fn an_older_candidate_never_replaces_a_newer_token() {
    const OLDER: Fingerprint = Fingerprint(3);
    let mut story = Story::lives(|policy| policy.sessions = Sessions::Coexist, candidate(OLD, Source::Stored));
    story.told(Event::Candidate(candidate(OLDER, Source::Store)));
    story.probed(OLDER, Verdict::Inconclusive);
    story.told(Event::Candidate(candidate(NEW, Source::Login)));
    story.probed(NEW, ours());
    assert_eq!(story.machine.generation(), Generation(2));
    story.waits(Duration::from_secs(60));
    let asked: Vec<_> = story.effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).collect();
    assert_eq!(asked.len(), 3, "the older one is asked about no more: {asked:?}");
}

#[test]
fn a_token_that_turns_up_twice_is_used_once() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.waits(Duration::from_secs(1));
    story.told(Event::Candidate(candidate(NEW, Source::Login)));
    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    story.probed(NEW, ours());
    story.waits(Duration::from_secs(60));
    let asked: Vec<_> = story.effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).collect();
    assert_eq!((story.machine.generation(), asked.len()), (Generation(2), 2), "{asked:?}");
}

// --- the operator's word, and what comes between on the way back -------------------------------------------------

const DEAD: Event =
    Event::Refused { generation: Generation(1), refusal: Refusal::Conclusive, endpoint: Endpoint::Place };

impl Story {
    /// `NEW` is accepted in Fallback, and live orders and positions are compared.
    fn comes_back(&mut self) {
        self.told(Event::Candidate(candidate(NEW, Source::Store)));
        self.probed(NEW, ours());
        self.reconciled();
        assert_eq!(self.machine.route(self.now), (Venue::Live, true));
    }
}

#[test]
fn an_operators_reduce_only_survives_death_fallback_and_a_new_token_and_ends_with_resume() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Operator(Operator::ReduceOnly));
    assert_eq!(story.machine.route(story.now), (Venue::Live, true));
    story.told(DEAD);
    assert_eq!(story.machine.route(story.now), (Venue::Paper, true), "paper takes no entry either");
    story.comes_back();
    story.told(Event::Feed { generation: Generation(2), delivers: true });
    story.waits(Duration::from_secs(2));
    assert_eq!((story.machine.state(), story.machine.route(story.now)), (State::Valid, (Venue::Live, true)));
    story.told(Event::Operator(Operator::Resume));
    assert_eq!(story.machine.route(story.now), (Venue::Live, false), "at once: nothing was blocked");
}

#[test]
fn exits_go_again_after_a_halt_only_once_the_books_have_been_compared() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(Event::Operator(Operator::Halt));
    story.told(Event::Operator(Operator::ReduceOnly));
    assert_eq!(story.venue(), Venue::Blocked(Block::Reconciling));
    story.reconciled();
    assert_eq!(story.machine.route(story.now), (Venue::Live, true));
    story.told(Event::Operator(Operator::Resume));
    assert_eq!(story.machine.route(story.now), (Venue::Live, false), "nothing was halted since");
}

#[test]
fn an_outage_on_the_way_back_ends_reduce_only_at_once_and_the_books_are_compared_again() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(DEAD);
    story.comes_back();
    for _ in 0..3 {
        story.told(Event::Unanswered { generation: Generation(2) });
    }
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Paper));
    story.told(Event::Feed { generation: Generation(2), delivers: true });
    story.waits(Duration::from_secs(5));
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Paper));
    story.told(Event::Answered { generation: Generation(2) });
    assert_eq!(story.venue(), Venue::Paper, "not compared since");
    story.reconciled();
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live), "the feed has settled meanwhile");
}

#[test]
fn a_halt_on_the_way_back_ends_reduce_only_at_once_and_resume_goes_on_from_the_comparison() {
    let mut story = Story::lives(|_| {}, candidate(OLD, Source::Stored));
    story.told(DEAD);
    story.comes_back();
    story.told(Event::Operator(Operator::Halt));
    story.told(Event::Feed { generation: Generation(2), delivers: true });
    story.waits(Duration::from_secs(60));
    assert_eq!((story.machine.state(), story.venue()), (State::Fallback, Venue::Blocked(Block::Halted)));
    story.told(Event::Operator(Operator::Resume));
    assert_eq!(story.venue(), Venue::Paper, "not compared since");
    story.reconciled();
    assert_eq!((story.machine.state(), story.venue()), (State::Valid, Venue::Live));
}
