//! Rule 8: from wherever a sequence has led, a fair world brings the machine back to Valid within the policy's bound.
//!
//! The fair world: the broker answers everything it is asked from now on, after a tenth of a second; what was asked
//! before may never be answered. A good new token is handed over. The operator resumes and confirms. The market is open
//! and the feed delivers when it is opened.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar::session::{AttemptEnd, Candidate, Effect, Event, Operator, Source, State, Verdict};
use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Block, Fingerprint, Sessions, Venue};

use super::world::{Standing, World};

const GOOD: Fingerprint = Fingerprint(0x600d);
const LATENCY: Duration = Duration::from_millis(100);
/// More events than any recovery needs: a machine that asks to be woken at once, for ever, is stuck as well.
const MOST_EVENTS: usize = 500;

/// How long recovery takes from here.
///
/// # Errors
/// The bound is passed.
pub fn recovers(world: &World, user_id: &str) -> Result<Duration, String> {
    let mut machine = world.machine.clone();
    let (mut now, bound) = (world.now, machine.policy().recovery_bound());
    let mut todo = Todo::default();
    let good = Candidate {
        fingerprint: GOOD,
        source: Source::Operator,
        issued_at: None,
        expires_at: None,
        refresh: None,
        refresh_dies: None,
    };
    todo.add(now, Event::Started);
    todo.add(now, Event::Market { open: true });
    todo.add(now, Event::Candidate(good));
    todo.add(now, Event::Operator(Operator::Resume));
    todo.add(now, Event::Feed { generation: machine.generation(), delivers: true });
    let (mut story, mut was_valid) = (Vec::new(), false);
    for _ in 0..MOST_EVENTS {
        let at = todo.next().map_or(machine.next_wake(now), |at| at.min(machine.next_wake(now)));
        now = now + at.since(now.mono);
        let event = todo.take(now.mono).unwrap_or(Event::Wake);
        let mut effects = Vec::new();
        machine.on(&event, now, &mut effects);
        for effect in &effects {
            story.push(format!("    {} {effect}", now.wall));
            was_valid |= matches!(effect, Effect::Transition(step) if step.to == State::Valid);
            if let Some(answer) = answer(effect, machine.policy().sessions, user_id) {
                todo.add(now + LATENCY, answer);
            }
        }
        let route = machine.route(now);
        was_valid |= machine.state() == State::Valid;
        if was_valid && route == Standing::LIVE && todo.is_empty() {
            return Ok(now.mono.since(world.now.mono));
        }
        if route == (Venue::Live, true) {
            todo.add(now + LATENCY, Event::Operator(Operator::Confirm));
        }
        if matches!(route.0, Venue::Blocked(Block::Halted | Block::Misconfigured)) {
            todo.add(now + LATENCY, Event::Operator(Operator::Resume));
        }
        if now.mono.since(world.now.mono) > bound {
            break;
        }
    }
    let wall = now.wall;
    Err(format!(
        "from {:?}: {machine} and {:?} at {wall}, bound {bound:?}:\n{}",
        world.standing(),
        machine.route(now),
        story.join("\n")
    ))
}

/// What the fair world says to it.
fn answer(effect: &Effect, sessions: Sessions, user_id: &str) -> Option<Event> {
    match effect {
        Effect::Probe { probe, fingerprint } => {
            // Where a new login kills the old token, the others are dead.
            let alive = *fingerprint == GOOD || sessions == Sessions::Coexist;
            let verdict = if alive { Verdict::Accepted { user_id: user_id.to_owned() } } else { Verdict::Refused };
            Some(Event::Probed { probe: *probe, verdict })
        }
        Effect::Attempt { attempt, .. } => Some(Event::Attempted { attempt: *attempt, end: AttemptEnd::Failed }),
        Effect::Reconcile { number } => Some(Event::Reconciled { number: *number, complete: true }),
        Effect::OpenFeed { generation } => Some(Event::Feed { generation: *generation, delivers: true }),
        _ => None,
    }
}

/// What is going to happen, in order.
#[derive(Default)]
struct Todo {
    events: BTreeMap<(Monotonic, usize), Event>,
    added: usize,
}

impl Todo {
    /// Nothing is said twice in one waiting.
    fn add(&mut self, at: Now, event: Event) {
        if !self.events.values().any(|waiting| *waiting == event) {
            self.added += 1;
            self.events.insert((at.mono, self.added), event);
        }
    }

    fn next(&self) -> Option<Monotonic> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    fn take(&mut self, now: Monotonic) -> Option<Event> {
        let (at, _) = *self.events.first_key_value()?.0;
        if at <= now { self.events.pop_first().map(|(_, event)| event) } else { None }
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
