//! Rule 8 for the whole core: the same fair world as in `recovery`, around session, desk and feed together.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar::core::{Input, Output};
use nirantar::feed::{Input as FeedInput, Output as FeedOutput};
use nirantar::orders::LiveState;
use nirantar::session::{AttemptEnd, Candidate, Operator, Source, State, Verdict};
use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{Block, BrokerOrderId, Fingerprint, Sessions, Venue};

use super::core_world::CoreWorld;

const GOOD: Fingerprint = Fingerprint(0x600d);
const LATENCY: Duration = Duration::from_millis(100);
/// Between two ticks.
const TICK: Duration = Duration::from_secs(1);
/// More inputs than any recovery needs.
const MOST_INPUTS: usize = 1000;

/// How long recovery takes from here, until the change of venue is complete.
///
/// # Errors
/// The session's bound is passed.
pub fn recovers(from: &CoreWorld, user_id: &str) -> Result<Duration, String> {
    let mut world = from.clone();
    let start = world.now;
    let bound = world.core.session().policy().recovery_bound();
    let good = Candidate {
        fingerprint: GOOD,
        source: Source::Operator,
        issued_at: None,
        expires_at: None,
        refresh: None,
        refresh_dies: None,
    };
    let mut todo = Todo::default();
    for input in world.unanswered() {
        todo.add(start.mono, input);
    }
    for input in [Input::Started, Input::Candidate(good), Input::Operator(Operator::Resume)] {
        todo.add(start.mono, input);
    }
    let mut story = Vec::new();
    for _ in 0..MOST_INPUTS {
        let wake = world.core.next_wake(world.now);
        let at = todo.next().map_or(wake, |at| at.min(wake));
        world.now = world.now + at.since(world.now.mono);
        let now = world.now.mono;
        let input = todo.take(now).unwrap_or(Input::Wake);
        if let Input::Feed(FeedInput::Frame { socket, ticks }) = input
            && world.core.accepts(socket)
        {
            todo.add(now + TICK, Input::Feed(FeedInput::Frame { socket, ticks }));
        }
        for output in world.tell(input) {
            for (after, answer) in answers(&output, world.core.session().policy().sessions, user_id) {
                todo.add(now + after, answer);
            }
            if !matches!(output, Output::Tell(_)) {
                story.push(format!("    {} {output:?}", world.now.wall));
            }
        }
        let standing = world.core.standing();
        let settled = !todo.0.values().any(|input| matches!(input, Input::Settled { .. }));
        match (standing.route.venue, standing.route.reduce_only) {
            (Venue::Live, false) if settled && standing.state == State::Valid => return Ok(now.since(start.mono)),
            (Venue::Live, true) => todo.add(now + LATENCY, Input::Operator(Operator::Confirm)),
            (Venue::Blocked(Block::Halted | Block::Misconfigured), _) => {
                todo.add(now + LATENCY, Input::Operator(Operator::Resume));
            }
            _ => {}
        }
        if now.since(start.mono) > bound {
            break;
        }
    }
    let standing = world.core.standing();
    Err(format!("from {:?}: {standing:?}, bound {bound:?}:\n{}", from.core.standing(), story.join("\n")))
}

/// What the fair world says to it, and after how long.
fn answers(output: &Output, sessions: Sessions, user_id: &str) -> Vec<(Duration, Input)> {
    match output {
        Output::Publish { epoch: Some(epoch), .. } => vec![(Duration::ZERO, Input::Settled { epoch: *epoch })],
        Output::Probe { probe, fingerprint } => {
            // Where a new login kills the old token, the others are dead.
            let alive = *fingerprint == GOOD || sessions == Sessions::Coexist;
            let verdict = if alive { Verdict::Accepted { user_id: user_id.to_owned() } } else { Verdict::Refused };
            vec![(LATENCY, Input::Probed { probe: *probe, verdict })]
        }
        Output::Attempt { attempt, .. } => {
            vec![(LATENCY, Input::Attempted { attempt: *attempt, end: AttemptEnd::Failed })]
        }
        Output::Send { send, .. } => {
            vec![(LATENCY, Input::Reply { send: *send, outcome: Ok(BrokerOrderId::new(format!("G{}", send.0))) })]
        }
        Output::Read { read, generation } => {
            let state = Ok(LiveState::default());
            vec![(LATENCY, Input::Read { read: *read, generation: *generation, state })]
        }
        Output::Feed(FeedOutput::Connect { socket, .. }) => {
            let frame = FeedInput::Frame { socket: *socket, ticks: 1 };
            vec![(LATENCY, Input::Feed(FeedInput::Connected { socket: *socket })), (LATENCY * 2, Input::Feed(frame))]
        }
        _ => Vec::new(),
    }
}

/// What is going to happen, in order; nothing is said twice in one waiting.
#[derive(Default)]
struct Todo(BTreeMap<(Monotonic, usize), Input>, usize);

impl Todo {
    fn add(&mut self, at: Monotonic, input: Input) {
        if !self.0.values().any(|waiting| *waiting == input) {
            self.1 += 1;
            self.0.insert((at, self.1), input);
        }
    }

    fn next(&self) -> Option<Monotonic> {
        self.0.first_key_value().map(|((at, _), _)| *at)
    }

    fn take(&mut self, now: Monotonic) -> Option<Input> {
        let (at, _) = *self.0.first_key_value()?.0;
        if at <= now { self.0.pop_first().map(|(_, input)| input) } else { None }
    }
}
