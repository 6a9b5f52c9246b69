//! Rules 2 and 3: one renewal at a time; and a candidate is proven before it replaces a living token.

use std::collections::{BTreeMap, BTreeSet};

use nirantar_brokers::Fingerprint;

use super::{Checked, Violation, broken};
use crate::core::{Event, Input, Output};
use crate::session::Verdict;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    attempts: BTreeSet<u64>,
    /// The last probe, and whom it is about: there is one at a time.
    probe: Option<(u64, Fingerprint)>,
    /// What the probe that was answered in this step has proven.
    proven: Option<Fingerprint>,
    /// Whose tokens are, by the broker's own books.
    own: BTreeMap<Fingerprint, bool>,
}

impl Tokens {
    pub(super) fn before(&mut self, input: &Input) {
        match input {
            Input::Attempted { attempt, .. } => drop(self.attempts.remove(attempt)),
            Input::Probed { probe, verdict: Verdict::Accepted { user_id } } if user_id == crate::simulate::OWN_USER => {
                self.proven = self.probe.filter(|(number, _)| number == probe).map(|(_, about)| about);
            }
            _ => {}
        }
    }

    pub(super) fn output(&mut self, output: &Output, checked: &mut Checked) -> Result<(), Violation> {
        match output {
            Output::Probe { probe, fingerprint } => self.probe = Some((*probe, *fingerprint)),
            Output::Abandon { attempt } => drop(self.attempts.remove(attempt)),
            Output::Attempt { attempt, .. } => {
                checked.attempts += 1;
                self.attempts.insert(*attempt);
                if self.attempts.len() > 1 {
                    return broken(2, format!("renewals {:?} are in flight together", self.attempts));
                }
            }
            Output::Tell(Event::Token { fingerprint, .. }) => {
                checked.adopted += 1;
                if self.proven != Some(*fingerprint) {
                    return broken(
                        3,
                        format!("token {fingerprint} is in use, and the broker did not say that it is ours"),
                    );
                }
                if self.own.get(fingerprint) != Some(&true) {
                    return broken(3, format!("token {fingerprint} is in use, and belongs to somebody else"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn after(&mut self) {
        self.proven = None;
    }

    pub(super) fn learn_owner(&mut self, fingerprint: Fingerprint, own: bool) {
        self.own.insert(fingerprint, own);
    }

    pub(super) fn died(&mut self) {
        self.attempts.clear();
        (self.probe, self.proven) = (None, None);
    }
}
