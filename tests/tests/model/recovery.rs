//! Rule 8 as something that holds *always*: from every state that is reached, one fixed and fair schedule leads to Valid and
//! to live orders within the policy's bound.
//!
//! The fair world: a good new token is handed over; the broker answers everything that it is asked from now on, as late as
//! answers come at all, and what was asked before may never be answered; the operator resumes and confirms; the market is
//! open and the feed delivers once it is opened. Schedules that meet are one from there on and counted once.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use nirantar::session::{AttemptEnd, Candidate, Effect, Event, Machine, Operator, Source, State, Verdict};
use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Block, Fingerprint, Venue};

use super::scopes::{OWN, UNIT};
use super::search::{Known, Wide};
use super::world::World;

const GOOD: Fingerprint = Fingerprint(0x600d);
/// As late as answers come at all.
const LATENCY: Duration = UNIT;
/// More events than any way back needs.
const MOST_EVENTS: usize = 300;
const LIVE: (Venue, bool) = (Venue::Live, false);

/// Finds the way back, and remembers how long it takes from wherever it has been.
#[derive(Default)]
pub struct Recovery {
    known: Known,
    /// The longest way so far, in units.
    longest: u32,
    /// The driver never performs a comparison.
    no_comparison: bool,
}

/// A schedule under way.
struct Run {
    machine: Machine,
    now: Now,
    /// What is going to happen, in order; nothing twice.
    todo: Vec<(Monotonic, Said)>,
    was_valid: bool,
}

/// What the fair world says.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Said {
    Started,
    Market,
    Token,
    Resume,
    Confirm,
    Probed { good: bool },
    Attempted,
    Compared,
    Feed,
}

impl Recovery {
    /// A finder in a world whose driver performs comparisons, or never does.
    pub fn new(no_comparison: bool) -> Self {
        Self { no_comparison, ..Self::default() }
    }

    /// Whether the way back from here is short enough.
    ///
    /// # Errors
    /// It is not; the story.
    pub fn check(&mut self, world: &World) -> Result<(), String> {
        let mut run = Run { machine: world.machine.clone(), now: world.now, todo: Vec::new(), was_valid: false };
        for said in [Said::Started, Said::Market, Said::Token, Said::Resume, Said::Feed] {
            run.add(world.now.mono, said);
        }
        let (began, bound) = (world.now.mono, world.machine.policy().recovery_bound());
        let mut passed: Vec<(u128, Monotonic)> = Vec::new();
        let mut numbers = Numbers::default();
        let mut took = None;
        for _ in 0..MOST_EVENTS {
            let key = run.key();
            if let Some(rest) = self.known.get(key) {
                took = Some(run.now.mono + UNIT * rest / 10);
                break;
            }
            passed.push((key, run.now.mono));
            if run.was_valid && run.machine.route(run.now) == LIVE && run.todo.is_empty() {
                took = Some(run.now.mono);
                break;
            }
            if run.now.mono.since(began) > bound {
                break;
            }
            run.step(&mut numbers, self.no_comparison);
        }
        let Some(end) = took else {
            return Err(format!(
                "rule 8: no way back within {bound:?}: after {:?} it is {} and orders go to {:?}",
                run.now.mono.since(began),
                run.machine,
                run.machine.route(run.now)
            ));
        };
        for (key, at) in passed {
            self.known.insert(key, tenths(end.since(at)));
        }
        self.longest = self.longest.max(tenths(end.since(began)));
        if end.since(began) > bound {
            return Err(format!("rule 8: the way back takes {:?}, and the bound is {bound:?}", end.since(began)));
        }
        Ok(())
    }

    /// The longest way back that was found.
    pub fn longest(&self) -> Duration {
        UNIT * self.longest / 10
    }
}

/// Durations of the schedule are whole seconds, tenths of a unit.
fn tenths(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

/// The numbers that answers carry.
#[derive(Default)]
struct Numbers {
    probe: u64,
    attempt: u64,
    comparison: u64,
}

impl Run {
    fn add(&mut self, at: Monotonic, said: Said) {
        if !self.todo.iter().any(|(_, waiting)| *waiting == said) {
            self.todo.push((at, said));
        }
    }

    fn key(&self) -> u128 {
        let mut hash = Wide::new();
        self.machine.hash_future(self.now, &mut hash);
        self.was_valid.hash(&mut hash);
        hash.write_usize(self.todo.len());
        for (at, said) in &self.todo {
            (at.since(self.now.mono), said).hash(&mut hash);
        }
        hash.key()
    }

    fn step(&mut self, numbers: &mut Numbers, no_comparison: bool) {
        let wake = self.machine.next_wake(self.now);
        let next = self.todo.iter().map(|(at, _)| *at).min().unwrap_or(wake);
        self.now = self.now + next.min(wake).since(self.now.mono);
        let due = self.todo.iter().position(|(at, _)| *at <= self.now.mono);
        let event = due.map_or(Event::Wake, |index| self.event(index, numbers));
        let mut effects = Vec::new();
        self.machine.on(&event, self.now, &mut effects);
        let later = self.now.mono + LATENCY;
        for effect in &effects {
            match effect {
                Effect::Probe { probe, fingerprint } => {
                    numbers.probe = *probe;
                    self.todo.retain(|(_, said)| !matches!(said, Said::Probed { .. }));
                    self.add(later, Said::Probed { good: *fingerprint == GOOD });
                }
                Effect::Attempt { attempt, .. } => {
                    numbers.attempt = *attempt;
                    self.add(later, Said::Attempted);
                }
                Effect::Reconcile { .. } if no_comparison => {}
                Effect::Reconcile { number } => {
                    numbers.comparison = *number;
                    self.todo.retain(|(_, said)| *said != Said::Compared);
                    self.add(later, Said::Compared);
                }
                Effect::OpenFeed { .. } => self.add(later, Said::Feed),
                Effect::Transition(step) if step.to == State::Valid => self.was_valid = true,
                _ => {}
            }
        }
        self.was_valid |= self.machine.state() == State::Valid;
        let route = self.machine.route(self.now);
        if route == (Venue::Live, true) {
            self.add(later, Said::Confirm);
        }
        if matches!(route.0, Venue::Blocked(Block::Halted | Block::Misconfigured)) {
            self.add(later, Said::Resume);
        }
    }

    fn event(&mut self, index: usize, numbers: &Numbers) -> Event {
        let (_, said) = self.todo.remove(index);
        match said {
            Said::Started => Event::Started,
            Said::Market => Event::Market { open: true },
            Said::Resume => Event::Operator(Operator::Resume),
            Said::Confirm => Event::Operator(Operator::Confirm),
            Said::Feed => Event::Feed { generation: self.machine.generation(), delivers: true },
            Said::Attempted => Event::Attempted { attempt: numbers.attempt, end: AttemptEnd::Failed },
            Said::Compared => Event::Reconciled { number: numbers.comparison, complete: true },
            // The good one is the last that was made: all others count as dead.
            Said::Probed { good } => Event::Probed {
                probe: numbers.probe,
                verdict: if good { Verdict::Accepted { user_id: OWN.to_owned() } } else { Verdict::Refused },
            },
            Said::Token => Event::Candidate(Candidate {
                fingerprint: GOOD,
                source: Source::Operator,
                issued_at: None,
                expires_at: None,
                refresh: None,
                refresh_dies: None,
            }),
        }
    }
}
