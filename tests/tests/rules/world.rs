//! The world around a session machine: it turns steps into events, remembers what the machine asked for, and shows each
//! event with what came of it to a rule's judge.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar::session::{Effect, Event, Generation, Machine, Policy, State};
use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Fingerprint, Venue};

use super::dice::{Dice, Sequence};
use super::events::{PRELUDE, Step};
use super::policies;

/// A machine and its world.
#[derive(Clone)]
pub struct World {
    pub machine: Machine,
    pub now: Now,
    /// Which token each probe asks about, and since when.
    pub probes: BTreeMap<u64, (Fingerprint, Monotonic)>,
    attempt: u64,
    comparison: u64,
}

/// How a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub route: (Venue, bool),
    pub generation: Generation,
}

impl Standing {
    /// Live, for entries too.
    pub const LIVE: (Venue, bool) = (Venue::Live, false);
}

/// One event and what came of it.
pub struct Scene<'a> {
    pub before: Standing,
    pub event: &'a Event,
    pub effects: &'a [Effect],
    pub after: Standing,
    pub world: &'a World,
}

impl Scene<'_> {
    pub fn now(&self) -> Now {
        self.world.now
    }

    pub fn policy(&self) -> &Policy {
        self.world.machine.policy()
    }
}

/// Sees that one rule is kept.
pub trait Judge {
    /// # Errors
    /// What is wrong.
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String>;
}

impl World {
    /// A world of some policy, before anything has happened.
    pub fn new(mut dice: Dice) -> Self {
        let policy = policies::policy(&mut dice);
        Self {
            machine: Machine::new(policy),
            now: policies::start(&mut dice),
            probes: BTreeMap::new(),
            attempt: 0,
            comparison: 0,
        }
    }

    pub fn standing(&self) -> Standing {
        let machine = &self.machine;
        Standing { state: machine.state(), route: machine.route(self.now), generation: machine.generation() }
    }

    /// Lets a step happen, under the judge's eyes.
    ///
    /// # Errors
    /// The judge's.
    pub fn step(&mut self, step: Step, judge: &mut dyn Judge) -> Result<(), String> {
        let event = self.event(step);
        let before = self.standing();
        let mut effects = Vec::new();
        self.machine.on(&event, self.now, &mut effects);
        for effect in &effects {
            match effect {
                Effect::Probe { probe, fingerprint } => drop(self.probes.insert(*probe, (*fingerprint, self.now.mono))),
                Effect::Attempt { attempt, .. } => self.attempt = *attempt,
                Effect::Reconcile { number } => self.comparison = *number,
                _ => {}
            }
        }
        let scene = Scene { before, event: &event, effects: &effects, after: self.standing(), world: self };
        judge.see(&scene).map_err(|why| {
            let effects: Vec<String> = effects.iter().map(|effect| format!("    {effect}")).collect();
            let (at, policy) = (self.now.wall, self.machine.policy());
            format!("{why}\n  at {at}, after {step:?}:\n{}\n  {policy:?}", effects.join("\n"))
        })
    }

    fn event(&mut self, step: Step) -> Event {
        let current = self.machine.generation();
        let wall = self.now.wall;
        match step {
            Step::Wait => {
                let next = self.machine.next_wake(self.now);
                self.now = self.now + next.since(self.now.mono);
                Event::Wake
            }
            Step::Pass(span) => {
                self.now = self.now + span;
                Event::Wake
            }
            Step::Clock(seconds) => {
                let span = Duration::from_secs(seconds.unsigned_abs());
                self.now.wall = if seconds < 0 { wall - span } else { wall + span };
                Event::Wake
            }
            Step::Started => Event::Started,
            Step::Offer(offer) => Event::Candidate(offer.candidate(wall)),
            Step::Probed(found) => {
                let probe = self.probes.last_key_value().map_or(0, |(probe, _)| *probe);
                Event::Probed { probe, verdict: found.verdict() }
            }
            Step::StrayProbe(probe, found) => Event::Probed { probe, verdict: found.verdict() },
            Step::Refused(of, refusal, endpoint) => {
                Event::Refused { generation: of.number(current), refusal, endpoint }
            }
            Step::Misconfigured(of, endpoint) => Event::Misconfigured { generation: of.number(current), endpoint },
            Step::Unanswered(of) => Event::Unanswered { generation: of.number(current) },
            Step::Answered(of) => Event::Answered { generation: of.number(current) },
            Step::Attempted(end) => Event::Attempted { attempt: self.attempt, end: end.told(wall) },
            Step::StrayAttempt(attempt, end) => Event::Attempted { attempt, end: end.told(wall) },
            Step::Compared(complete) => Event::Reconciled { number: self.comparison, complete },
            Step::StrayCompared(number, complete) => Event::Reconciled { number, complete },
            Step::Feed(of, delivers) => Event::Feed { generation: of.number(current), delivers },
            Step::Market(open) => Event::Market { open },
            Step::Says(operator) => Event::Operator(operator),
        }
    }
}

/// Plays a whole sequence; returns its number of events.
///
/// # Errors
/// The judge's.
pub fn play(sequence: &Sequence<Step>, judge: &mut dyn Judge) -> Result<usize, String> {
    let mut world = World::new(sequence.policy);
    let steps = sequence.after(&PRELUDE);
    for step in &steps {
        world.step(*step, judge)?;
    }
    Ok(steps.len())
}
