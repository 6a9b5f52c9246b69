//! What is due is done when it is due, though nothing else happens. In every interleaving this is a property, in
//! `tests/tests/rules.rs`; these are what it has found.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_start_without_a_token_renews_at_once_and_calls_nobody_before_that_has_failed() {
    let mut story = Story::starts(|policy| policy.automatic = vec![Renewal::External]);
    story.told(Event::Started);
    assert!(story.effects.contains(&Effect::Attempt { attempt: 1, way: Renewal::External }), "{:#?}", story.effects);
    assert!(!story.effects.contains(&Effect::AskLogin));
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::Failed });
    assert!(story.effects.contains(&Effect::AskLogin));
}

#[test]
fn a_renewal_that_the_operator_asked_for_at_night_is_tried_again_after_the_same_wait_as_by_day() {
    let mut story = Story::lives(|policy| policy.automatic = vec![Renewal::External], candidate(OLD, Source::Stored));
    story.now.wall = Timestamp::parse_ist("2026-11-20 23:00:00").unwrap();
    story.told(Event::Operator(Operator::Renew));
    story.told(Event::Attempted { attempt: 1, end: AttemptEnd::Failed });
    let pause = story.machine.next_wake(story.now).since(story.now.mono);
    assert!(pause <= story.machine.policy().retry_first * 2, "{pause:?}");
    story.waits(pause);
    assert!(story.effects.contains(&Effect::Attempt { attempt: 2, way: Renewal::External }), "{:#?}", story.effects);
}

#[test]
fn a_token_that_ends_on_the_way_back_to_live_trading_is_buried_at_that_instant() {
    let mut story = Story::lives(|policy| policy.resume = Resume::Confirm, candidate(OLD, Source::Stored));
    story.told(DEAD);
    let expires = story.now.wall + SECOND * 100;
    story.told(Event::Candidate(Candidate { expires_at: Some(expires), ..candidate(NEW, Source::Login) }));
    story.probed(NEW, ours());
    story.reconciled();
    story.waits(SECOND * 90);
    assert_eq!(story.machine.route(story.now), (Venue::Live, true), "exits go");
    let left = expires.since(story.now.wall);
    assert_eq!(story.machine.next_wake(story.now), story.now.mono + left);
    story.waits(left);
    assert!(story.effects.contains(&Effect::Bury { generation: Generation(2) }), "{:#?}", story.effects);
    assert_eq!(story.venue(), Venue::Paper);
}

/// A machine that slept over midnight is woken once, and what failed too often was of another date.
#[test]
fn commands_that_failed_on_another_date_count_no_more_with_the_first_call_of_a_new_one() {
    let mut story = Story::starts(|policy| policy.automatic = vec![Renewal::External]);
    let begins = |attempt| Effect::Attempt { attempt, way: Renewal::External };
    story.told(Event::Started);
    for attempt in 1..=6 {
        while !story.effects.contains(&begins(attempt)) {
            let pause = story.machine.next_wake(story.now).since(story.now.mono);
            story.waits(pause);
        }
        story.told(Event::Attempted { attempt, end: AttemptEnd::Failed });
    }
    story.waits(SECOND * 3600);
    assert!(!story.effects.contains(&begins(7)), "six a day are enough");
    story.now = story.now + SECOND * 3 * 24 * 3600;
    story.told(Event::Wake);
    assert!(story.effects.contains(&begins(7)), "{:#?}", story.effects);
}
