//! Candidates and probes: which token the broker is asked about next.
//!
//! One probe at a time, at most one in [`Policy::probe_spacing`]; the newest candidate first; what was refused is
//! remembered and not asked again. Everything is bounded: four candidates wait, thirty-two refusals are remembered.

use std::hash::{Hash as _, Hasher};

use nirantar_brokers::Fingerprint;
use nirantar_brokers::time::Monotonic;

use super::future::View;
use super::{Candidate, Effect, Policy};

/// Candidates that wait; the oldest gives way.
const MOST_WAITING: usize = 4;
/// Refused fingerprints that are remembered; the oldest is forgotten.
const MOST_REFUSED: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Proving {
    /// Oldest first.
    waiting: Vec<Waiting>,
    in_flight: Option<InFlight>,
    /// How old the candidate was whose probe came back last.
    last_arrival: Option<u64>,
    probes_made: u64,
    /// Candidates that have come, so that each knows how old it is.
    arrivals: u64,
    last_start: Option<Monotonic>,
    refused: Vec<Fingerprint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    candidate: Candidate,
    tried: bool,
    not_before: Monotonic,
    arrival: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    number: u64,
    subject: Subject,
    /// How old the candidate is; `None` for the incumbent.
    arrival: Option<u64>,
    deadline: Monotonic,
}

/// Whom a probe is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A token that is to be proven.
    Candidate(Candidate),
    /// The token in use, or the last one that was.
    Incumbent(Fingerprint),
}

/// That the incumbent should be asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct IncumbentWish {
    pub(super) fingerprint: Fingerprint,
    pub(super) not_before: Monotonic,
    /// Before a candidate that was not asked about yet.
    pub(super) first: bool,
}

impl Proving {
    /// Takes a candidate; a second one with the same fingerprint replaces the first.
    pub(super) fn add(&mut self, candidate: Candidate) {
        self.forget(candidate.fingerprint);
        if self.waiting.len() == MOST_WAITING {
            self.waiting.remove(0);
        }
        self.arrivals += 1;
        let (not_before, arrival) = (Monotonic::default(), self.arrivals);
        self.waiting.push(Waiting { candidate, tried: false, not_before, arrival });
    }

    /// Whether that token waits or is being asked about.
    pub(super) fn knows(&self, fingerprint: Fingerprint) -> bool {
        let asked = matches!(self.in_flight,
            Some(InFlight { subject: Subject::Candidate(candidate), .. }) if candidate.fingerprint == fingerprint);
        asked || self.waiting.iter().any(|waiting| waiting.candidate.fingerprint == fingerprint)
    }

    /// Whether a candidate that has not been asked about before waits or is being asked about.
    pub(super) fn hopeful(&self) -> bool {
        let asked = matches!(self.in_flight, Some(InFlight { subject: Subject::Candidate(_), .. }));
        asked || self.waiting.iter().any(|waiting| !waiting.tried)
    }

    pub(super) fn was_refused(&self, fingerprint: Fingerprint) -> bool {
        self.refused.contains(&fingerprint)
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.refused.iter().copied()
    }

    pub(super) fn remember_refused(&mut self, fingerprint: Fingerprint) {
        if self.was_refused(fingerprint) {
            return;
        }
        if self.refused.len() == MOST_REFUSED {
            self.refused.remove(0);
        }
        self.refused.push(fingerprint);
    }

    pub(super) fn pardon(&mut self, fingerprint: Fingerprint) {
        self.refused.retain(|refused| *refused != fingerprint);
    }

    /// The probe with that number has come back: whom it was about. `None` if nobody waits for it.
    pub(super) fn take(&mut self, number: u64) -> Option<Subject> {
        let matching = self.in_flight.filter(|flight| flight.number == number)?;
        self.in_flight = None;
        self.last_arrival = matching.arrival;
        Some(matching.subject)
    }

    /// A probe whose time is up.
    pub(super) fn timed_out(&self, now: Monotonic) -> Option<u64> {
        self.in_flight.filter(|flight| now >= flight.deadline).map(|flight| flight.number)
    }

    /// The probe that came back last proved nothing about this candidate: it is asked about again later.
    pub(super) fn retry(&mut self, candidate: Candidate, not_before: Monotonic) {
        if self.waiting.iter().any(|waiting| waiting.candidate.fingerprint == candidate.fingerprint) {
            return; // it has come again meanwhile, and its turn is near
        }
        let arrival = self.last_arrival.unwrap_or(self.arrivals);
        if self.waiting.len() == MOST_WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push(Waiting { candidate, tried: true, not_before, arrival });
    }

    /// That token is in use now: it is no candidate any more, and what came before it must not replace it later.
    pub(super) fn adopted(&mut self, fingerprint: Fingerprint) {
        self.forget(fingerprint);
        if let Some(arrival) = self.last_arrival {
            self.waiting.retain(|waiting| waiting.arrival > arrival);
        }
    }

    /// Starts the next probe, if one is wanted and may start now.
    pub(super) fn start(&mut self, wish: Option<IncumbentWish>, policy: &Policy, now: Monotonic) -> Option<Effect> {
        if self.in_flight.is_some() || now < self.earliest(policy) {
            return None;
        }
        let incumbent = wish.filter(|wish| now >= wish.not_before);
        let fresh = self.waiting.iter().rposition(|waiting| !waiting.tried);
        let retried = self.waiting.iter().rposition(|waiting| waiting.tried && now >= waiting.not_before);
        let chosen = match (incumbent, fresh, retried) {
            (Some(wish), ..) if wish.first => None,
            (_, Some(index), _) => Some(self.waiting.remove(index)),
            (Some(_), None, _) => None,
            (None, None, Some(index)) => Some(self.waiting.remove(index)),
            (None, None, None) => return None,
        };
        let subject = match (chosen, incumbent) {
            (Some(waiting), _) => Subject::Candidate(waiting.candidate),
            (None, wish) => Subject::Incumbent(wish?.fingerprint),
        };
        self.probes_made += 1;
        self.last_start = Some(now);
        let (number, deadline) = (self.probes_made, now + policy.probe_timeout);
        let arrival = chosen.map(|waiting| waiting.arrival);
        self.in_flight = Some(InFlight { number, subject, arrival, deadline });
        let fingerprint = match subject {
            Subject::Candidate(candidate) => candidate.fingerprint,
            Subject::Incumbent(fingerprint) => fingerprint,
        };
        Some(Effect::Probe { probe: self.probes_made, fingerprint })
    }

    /// When [`start`](Self::start) or [`timed_out`](Self::timed_out) should be asked again.
    pub(super) fn next_wake(&self, wish: Option<IncumbentWish>, policy: &Policy) -> Option<Monotonic> {
        if let Some(flight) = self.in_flight {
            return Some(flight.deadline);
        }
        let candidates = self.waiting.iter().map(|waiting| waiting.not_before);
        candidates.chain(wish.map(|wish| wish.not_before)).min().map(|wanted| wanted.max(self.earliest(policy)))
    }

    /// What [`Session::hash_future`](super::memory::Session::hash_future) hashes of it. At most one probe is in flight, and
    /// its number is the last one; how old a candidate is matters beside the others only.
    pub(super) fn hash_future(&self, policy: &Policy, view: View, state: &mut impl Hasher) {
        // `last_arrival` is read in the call that sets it.
        let Self { waiting, in_flight, last_arrival: _, probes_made: _, arrivals: _, last_start, refused } = self;
        let asked = in_flight.and_then(|flight| flight.arrival);
        let older = |arrival| waiting.iter().filter(|other| other.arrival < arrival).count();
        waiting.len().hash(state);
        for waiting in waiting {
            view.candidate(waiting.candidate, state);
            (waiting.tried, view.until(waiting.not_before), older(waiting.arrival)).hash(state);
        }
        if let Some(InFlight { subject, deadline, .. }) = in_flight {
            match subject {
                Subject::Candidate(candidate) => view.candidate(*candidate, state),
                Subject::Incumbent(fingerprint) => fingerprint.hash(state),
            }
            (view.until(*deadline), asked.map(older)).hash(state);
        }
        last_start.map_or(0, |start| view.until(start + policy.probe_spacing)).hash(state);
        refused.hash(state);
    }

    fn earliest(&self, policy: &Policy) -> Monotonic {
        self.last_start.map_or(Monotonic::default(), |start| start + policy.probe_spacing)
    }

    fn forget(&mut self, fingerprint: Fingerprint) {
        self.waiting.retain(|waiting| waiting.candidate.fingerprint != fingerprint);
    }
}
