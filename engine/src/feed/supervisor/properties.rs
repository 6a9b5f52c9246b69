//! The promises, held against arbitrary inputs: true, late, false and repeated ones.

use std::collections::BTreeSet;

use nirantar_brokers::{Endpoint, Refusal};
use proptest::prelude::*;

use super::*;

/// Which socket a word is about: the current one mostly, or one of the past or future.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Current,
    Other(u64),
}

#[derive(Clone, Debug)]
enum Step {
    /// A newer token (`ahead` more), the same (0), or an older one.
    Open {
        ahead: i64,
    },
    Close,
    Subscribe(u32, Mode),
    Unsubscribe(u32),
    Connected(Whose),
    Refused(Whose, Cause),
    Lost(Whose),
    Frame(Whose, usize),
    Probed {
        behind: u64,
        verdict: Verdict,
    },
    Market(bool),
    Life(bool),
    Wake,
    /// To the next deadline, and that many nanoseconds past it.
    WakeAtDeadline(u64),
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![5 => Just(Whose::Current), 1 => (0_u64..20).prop_map(Whose::Other)]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        3 => Just(Cause::Refused(Refusal::Suspect)),
        1 => Just(Cause::Refused(Refusal::Conclusive)),
        1 => Just(Cause::Misconfigured),
        1 => any::<Option<u64>>().prop_map(|wait| Cause::Throttled { retry_after: wait.map(Duration::from_nanos) }),
        1 => Just(Cause::Unknown),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![Just(Verdict::Alive), Just(Verdict::Dead), Just(Verdict::Inconclusive)];
    let mode = prop_oneof![Just(Mode::Ltp), Just(Mode::Quote), Just(Mode::Full)];
    prop_oneof![
        2 => (-1_i64..=1).prop_map(|ahead| Step::Open { ahead }),
        1 => Just(Step::Close),
        1 => (0_u32..4, mode).prop_map(|(token, mode)| Step::Subscribe(token, mode)),
        1 => (0_u32..4).prop_map(Step::Unsubscribe),
        5 => whose().prop_map(Step::Connected),
        2 => (whose(), cause()).prop_map(|(whose, cause)| Step::Refused(whose, cause)),
        1 => whose().prop_map(Step::Lost),
        6 => (whose(), 0_usize..3).prop_map(|(whose, ticks)| Step::Frame(whose, ticks)),
        2 => (0_u64..2, verdict).prop_map(|(behind, verdict)| Step::Probed { behind, verdict }),
        1 => any::<bool>().prop_map(Step::Market),
        1 => any::<bool>().prop_map(Step::Life),
        1 => Just(Step::Wake),
        4 => (0_u64..2_000_000_000).prop_map(Step::WakeAtDeadline),
    ]
}

/// What the world has seen, kept apart from the core and compared with it.
#[derive(Default)]
struct Witness {
    /// Open or being opened.
    sockets: BTreeSet<SocketId>,
    /// Every socket there ever was.
    used: BTreeSet<SocketId>,
    connected: Option<SocketId>,
    dead: Option<Generation>,
    gap: Option<Gap>,
    last_gap_end: Option<Timestamp>,
    last_connect: Option<(Generation, Monotonic)>,
    /// No attempt under that token before then.
    refused_until: Option<(Generation, Monotonic)>,
    refusals_in_a_row: u32,
    ever_live: bool,
    actual: BTreeMap<BrokerToken, Mode>,
}

impl Witness {
    /// Checks what was said against what may be said.
    fn hear(&mut self, said: &[Output], now: Now, policy: &FeedPolicy) {
        for output in said {
            match output {
                Output::Connect { socket, generation } => {
                    assert!(self.sockets.is_empty(), "two sockets at once");
                    assert!(self.used.insert(*socket), "a socket's number is used again");
                    assert!(self.dead.is_none_or(|dead| *generation > dead), "connects under a dead token");
                    if let Some((_, last)) = self.last_connect.filter(|(before, _)| before == generation) {
                        assert!(now.mono.since(last) >= policy.spacing(), "reconnects too fast");
                    }
                    if let Some((_, until)) = self.refused_until.filter(|(refused, _)| refused == generation) {
                        assert!(now.mono >= until, "a refusal is retried too soon");
                    }
                    self.sockets.insert(*socket);
                    self.last_connect = Some((*generation, now.mono));
                }
                Output::Disconnect { socket } => {
                    assert!(self.sockets.remove(socket), "closes what is not open");
                    self.connected = None;
                }
                Output::Subscribe { socket, instruments, mode } => {
                    assert_eq!(Some(*socket), self.connected);
                    self.actual.extend(instruments.iter().map(|token| (*token, *mode)));
                }
                Output::Unsubscribe { socket, instruments } => {
                    assert_eq!(Some(*socket), self.connected);
                    self.actual.retain(|token, _| !instruments.contains(token));
                }
                Output::Gap(gap) => self.hear_gap(*gap),
                Output::Probe { .. } | Output::Status(_) | Output::Failed { .. } | Output::FeedRefused(_) => {}
            }
        }
    }

    fn hear_gap(&mut self, gap: Gap) {
        match (self.gap.take(), gap.to) {
            (None, None) => {
                assert!(self.last_gap_end.is_none_or(|end| gap.from >= end), "gaps overlap");
                self.gap = Some(gap);
            }
            (Some(open), Some(to)) => {
                assert_eq!((gap.from, gap.why), (open.from, open.why), "ends a gap that never began");
                assert!(to >= gap.from, "a gap ends before it begins");
                self.last_gap_end = Some(to);
            }
            (before, _) => panic!("{before:?} followed by {gap:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_feed_keeps_its_promises_whatever_it_is_told(
        seed in any::<u64>(),
        steps in prop::collection::vec((step(), 0_u64..3_000_000_000, -5_i64..5), 100),
    ) {
        run(seed, &steps);
    }
}

fn run(seed: u64, steps: &[(Step, u64, i64)]) {
    // Shorter than the heartbeat, so that silence is met as often as muteness.
    let policy = FeedPolicy { silence: Duration::from_secs(3), ..FeedPolicy::default() };
    let mut feed = Supervisor::new(policy.clone(), Duration::from_secs(5), seed);
    let mut witness = Witness::default();
    let mut now = Now { mono: Monotonic::default(), wall: Timestamp::from_unix_seconds(1_618_199_109) };
    let (mut newest, mut wanted, mut expected) = (1_u64, BTreeMap::new(), false);
    for (step, nanos, wall_step) in steps {
        now = now + Duration::from_nanos(*nanos);
        if *nanos % 16 == 0 {
            // Somebody sets the wall clock.
            now.wall = Timestamp::from_unix_seconds(now.wall.as_unix_seconds() + wall_step);
        }
        let current = witness.sockets.first().copied();
        let pick = |whose: Whose| match whose {
            Whose::Current => current.unwrap_or(SocketId(0)),
            Whose::Other(number) => SocketId(number),
        };
        let input = match step.clone() {
            Step::Open { ahead } => {
                newest = newest.max(newest.saturating_add_signed(ahead));
                Input::Open { generation: Generation(newest.saturating_add_signed(ahead.min(0))) }
            }
            Step::Close => Input::Close { why: CloseReason::TokenDead },
            Step::Subscribe(token, mode) => {
                wanted.insert(BrokerToken(token), mode);
                Input::Subscribe(BTreeMap::from([(BrokerToken(token), mode)]))
            }
            Step::Unsubscribe(token) => {
                wanted.remove(&BrokerToken(token));
                Input::Unsubscribe(BTreeSet::from([BrokerToken(token)]))
            }
            Step::Connected(whose) => Input::Connected { socket: pick(whose) },
            Step::Refused(whose, cause) => {
                Input::Refused { socket: pick(whose), failure: Failure::new(cause, Endpoint::Feed, "no") }
            }
            Step::Lost(whose) => Input::Lost { socket: pick(whose), why: "cut".into() },
            Step::Frame(whose, ticks) => Input::Frame { socket: pick(whose), ticks },
            Step::Probed { behind, verdict } => {
                Input::Probed { generation: Generation(newest.saturating_sub(behind)), verdict }
            }
            Step::Market(now_expected) => {
                expected = now_expected;
                Input::Market { expected }
            }
            Step::Life(expected) => Input::Life { expected },
            Step::Wake => Input::Wake,
            Step::WakeAtDeadline(late) => {
                if let Some(at) = feed.next_wake() {
                    now = now + at.since(now.mono) + Duration::from_nanos(late);
                }
                Input::Wake
            }
        };
        let desired = feed.desired;
        let connecting = current.filter(|_| witness.connected.is_none());
        let mut probes_due = 0;
        let mut delivered = false;
        match &input {
            Input::Connected { socket } if Some(*socket) == connecting => {
                witness.connected = Some(*socket);
                witness.actual.clear();
            }
            Input::Refused { socket, failure } if Some(*socket) == connecting => {
                witness.sockets.clear();
                if matches!(failure.cause, Cause::Refused(_) | Cause::Misconfigured) {
                    probes_due = 1;
                    let generation = desired.expect("an attempt has a token");
                    if witness.refused_until.is_none_or(|(before, _)| before != generation) {
                        witness.refusals_in_a_row = 0;
                    }
                    witness.refusals_in_a_row += 1;
                    let until = now.mono + policy.refused(witness.refusals_in_a_row);
                    witness.refused_until = Some((generation, until));
                }
            }
            Input::Lost { socket, .. } if Some(*socket) == current => {
                witness.sockets.clear();
                witness.connected = None;
            }
            Input::Frame { socket, ticks } => {
                let accepted = witness.connected == Some(*socket);
                assert_eq!(feed.accepts(*socket), accepted, "only the current socket's frames are accepted");
                delivered = accepted && (*ticks > 0 || !expected || wanted.is_empty());
            }
            Input::Probed { generation, verdict: Verdict::Dead } if desired == Some(*generation) => {
                witness.dead = Some(*generation);
            }
            _ => {}
        }
        let mut said = Vec::new();
        feed.on(input.clone(), now, &mut said);
        witness.hear(&said, now, &policy);

        let probes = said.iter().filter(|output| matches!(output, Output::Probe { .. })).count();
        assert_eq!(probes, probes_due, "one probe for a refused handshake, and for nothing else");
        if delivered {
            witness.refusals_in_a_row = 0;
            witness.ever_live = true;
            assert!(matches!(feed.status(), FeedStatus::Live { .. }), "delivers and says {}", feed.status());
        }
        assert_eq!(feed.gap(), witness.gap);
        if matches!(feed.status(), FeedStatus::Live { .. }) {
            assert!(witness.gap.is_none() && witness.connected.is_some(), "live inside a gap");
        } else if witness.ever_live {
            assert!(witness.gap.is_some(), "neither live nor inside a gap, after {input:?}");
        }
        if witness.connected.is_some() {
            assert_eq!(witness.actual, wanted, "the server was asked for what is wanted");
        }
        assert!(feed.next_wake().is_none_or(|at| at > now.mono), "would be woken for ever");
        if feed.desired.is_some() {
            let waits = feed.next_wake().is_some() || feed.accepts(current.unwrap_or(SocketId(0)));
            assert!(waits, "wanted, and waiting for nothing: a dead end");
        }
    }
}
