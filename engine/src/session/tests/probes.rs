//! When the broker is asked about a token, and what becomes of a question without an answer.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Story {
    /// Which tokens have been asked about, in that order.
    fn asked_about(&self) -> Vec<Fingerprint> {
        let probes = self.effects.iter().filter_map(|effect| match effect {
            Effect::Probe { fingerprint, .. } => Some(*fingerprint),
            _ => None,
        });
        probes.collect()
    }
}

#[test]
fn the_broker_is_asked_no_sooner_than_the_spacing_after_it_was_asked_last() {
    let mut story = Story::starts(|policy| policy.probe_spacing = SECOND);
    story.told(Event::Candidate(candidate(OLD, Source::Stored)));
    story.told(Event::Candidate(candidate(NEW, Source::Store)));
    story.probed(OLD, Verdict::Refused);
    assert_eq!(story.asked_about(), [OLD]);
    story.waits(SECOND - Duration::from_nanos(1));
    assert_eq!(story.asked_about(), [OLD]);
    story.waits(Duration::from_nanos(1));
    assert_eq!(story.asked_about(), [OLD, NEW]);
}

#[test]
fn a_candidate_whose_probe_hangs_is_asked_about_again_and_taken() {
    let mut story = Story::starts(|policy| (policy.probe_timeout, policy.probe_retry) = (SECOND * 10, SECOND * 2));
    story.told(Event::Started);
    story.told(Event::Candidate(candidate(OLD, Source::Stored)));
    story.waits(SECOND * 12 - Duration::from_nanos(1));
    assert_eq!(story.asked_about(), [OLD], "a late answer is waited for, and the broker is left in peace after it");
    story.waits(Duration::from_nanos(1));
    assert_eq!(story.asked_about(), [OLD, OLD]);
    story.probed(OLD, ours());
    assert_eq!(story.machine.generation(), Generation(1));
}
