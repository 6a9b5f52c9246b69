//! The promises, held against arbitrary inputs: true, late, false and repeated ones.

use std::collections::BTreeSet;

use nirantar_brokers::{Endpoint, Refusal};
use proptest::prelude::*;

use super::*;

/// Which socket a word is about: one that is there mostly, or one of the past or future.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// The one of that place among those that are there.
    Known(usize),
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
    Closed(Whose),
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
    prop_oneof![9 => (0_usize..4).prop_map(Whose::Known), 1 => (0_u64..40).prop_map(Whose::Other)]
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
        3 => (-1_i64..=1).prop_map(|ahead| Step::Open { ahead }),
        1 => Just(Step::Close),
        3 => (0_u32..9, mode).prop_map(|(token, mode)| Step::Subscribe(token, mode)),
        1 => (0_u32..9).prop_map(Step::Unsubscribe),
        5 => whose().prop_map(Step::Connected),
        2 => (whose(), cause()).prop_map(|(whose, cause)| Step::Refused(whose, cause)),
        1 => whose().prop_map(Step::Lost),
        3 => whose().prop_map(Step::Closed),
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
    sockets: BTreeMap<SocketId, There>,
    /// Every socket there ever was.
    used: BTreeSet<SocketId>,
    dead: Option<Generation>,
    gap: Option<Gap>,
    last_gap_end: Option<Timestamp>,
    attempts: Vec<(Generation, Monotonic)>,
    /// No attempt under that token before then.
    refused_until: Option<(Generation, Monotonic)>,
    refusals_in_a_row: u32,
    ever_live: bool,
}

/// A socket as the broker counts it.
#[derive(Debug)]
enum There {
    Connecting(Generation),
    Open {
        generation: Generation,
        delivered: bool,
        actual: BTreeMap<BrokerToken, Mode>,
    },
    /// Until then, or until its end is told.
    Closing {
        until: Monotonic,
    },
}

impl Witness {
    /// Checks what was said against what may be said.
    fn hear(&mut self, said: &[Output], now: Now, policy: &FeedPolicy, limits: FeedLimits) {
        self.sockets.retain(|_, there| !matches!(there, There::Closing { until } if *until <= now.mono));
        for output in said {
            match output {
                Output::Connect { socket, generation } => {
                    let connecting = self.sockets.values().any(|there| matches!(there, There::Connecting(_)));
                    assert!(!connecting, "two handshakes at once");
                    assert!(self.used.insert(*socket), "a socket's number is used again");
                    assert!(self.dead.is_none_or(|dead| *generation > dead), "connects under a dead token");
                    self.sockets.insert(*socket, There::Connecting(*generation));
                    assert!(self.sockets.len() <= limits.connections as usize, "more sockets than the broker takes");
                    let same = |(before, _): &&(Generation, Monotonic)| before == generation;
                    let before = self.attempts.iter().rev().filter(same).nth(limits.connections as usize - 1);
                    if let Some((_, at)) = before {
                        assert!(now.mono.since(*at) >= policy.spacing(), "reconnects too fast");
                    }
                    if let Some((_, until)) = self.refused_until.filter(|(refused, _)| refused == generation) {
                        assert!(now.mono >= until, "a refusal is retried too soon");
                    }
                    self.attempts.push((*generation, now.mono));
                }
                Output::Disconnect { socket } => {
                    let there = self.sockets.insert(*socket, There::Closing { until: now.mono + policy.closing });
                    assert!(matches!(there, Some(There::Connecting(_) | There::Open { .. })), "closes {there:?}");
                }
                Output::Subscribe { socket, instruments, mode } => {
                    assert!(instruments.len() <= policy.subscribe_batch);
                    self.asked(*socket).extend(instruments.iter().map(|token| (*token, *mode)));
                }
                Output::Unsubscribe { socket, instruments } => {
                    self.asked(*socket).retain(|token, _| !instruments.contains(token));
                }
                Output::Gap(gap) => self.hear_gap(*gap),
                Output::Probe { .. }
                | Output::Status(_)
                | Output::Failed { .. }
                | Output::FeedRefused(_)
                | Output::LeftOut { .. } => {}
            }
        }
    }

    fn asked(&mut self, socket: SocketId) -> &mut BTreeMap<BrokerToken, Mode> {
        match self.sockets.get_mut(&socket) {
            Some(There::Open { actual, .. }) => actual,
            other => panic!("asks on {socket}, which is {other:?}"),
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
    #![proptest_config(ProptestConfig { cases: 500, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_feed_keeps_its_promises_whatever_it_is_told(
        seed in any::<u64>(),
        connections in 1_u32..4,
        steps in prop::collection::vec((step(), 0_u64..3_000_000_000, -5_i64..5), 100),
    ) {
        run(seed, connections, &steps);
    }
}

fn run(seed: u64, connections: u32, steps: &[(Step, u64, i64)]) {
    // Shorter than the heartbeat, so that silence is met as often as muteness.
    let policy = FeedPolicy { silence: Duration::from_secs(3), subscribe_batch: 2, ..FeedPolicy::default() };
    let limits = FeedLimits { connections, instruments: 3, heartbeat: Duration::from_secs(5) };
    let mut feed = Supervisor::within(policy.clone(), limits, seed);
    let mut witness = Witness::default();
    let mut now = Now { mono: Monotonic::default(), wall: Timestamp::from_unix_seconds(1_618_199_109) };
    let (mut newest, mut wanted, mut expected) = (1_u64, BTreeMap::new(), false);
    for (step, nanos, wall_step) in steps {
        now = now + Duration::from_nanos(*nanos);
        if *nanos % 16 == 0 {
            // Somebody sets the wall clock.
            now.wall = Timestamp::from_unix_seconds(now.wall.as_unix_seconds() + wall_step);
        }
        let known: Vec<SocketId> = witness.sockets.keys().copied().collect();
        let pick = |whose: Whose| match whose {
            Whose::Known(place) => known.get(place % known.len().max(1)).copied().unwrap_or(SocketId(0)),
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
            Step::Closed(whose) => Input::Closed { socket: pick(whose) },
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
        let mut probes_due = 0;
        match &input {
            Input::Connected { socket } => {
                if let Some(there) = witness.sockets.get_mut(socket)
                    && let There::Connecting(generation) = *there
                {
                    *there = There::Open { generation, delivered: false, actual: BTreeMap::new() };
                }
            }
            Input::Refused { socket, failure } => {
                if let Some(There::Connecting(generation)) = witness.sockets.get(socket) {
                    let generation = *generation;
                    witness.sockets.remove(socket);
                    if matches!(failure.cause, Cause::Refused(_) | Cause::Misconfigured) {
                        probes_due = 1;
                        if witness.refused_until.is_none_or(|(before, _)| before != generation) {
                            witness.refusals_in_a_row = 0;
                        }
                        witness.refusals_in_a_row += 1;
                        let until = now.mono + policy.refused(witness.refusals_in_a_row);
                        witness.refused_until = Some((generation, until));
                    }
                }
            }
            Input::Lost { socket, .. } => _ = witness.sockets.remove(socket),
            Input::Closed { socket } => {
                if matches!(witness.sockets.get(socket), Some(There::Closing { .. })) {
                    witness.sockets.remove(socket);
                }
            }
            Input::Frame { socket, ticks } => {
                let there = witness.sockets.get_mut(socket);
                let open = matches!(there, Some(There::Open { .. }));
                assert_eq!(feed.accepts(*socket), open, "only open sockets are listened to");
                if let Some(There::Open { generation, delivered, actual }) = there {
                    for token in actual.keys().take(*ticks) {
                        let detail = nirantar_brokers::Detail::Ltp;
                        feed.admit(*socket, &Tick { token: *token, last_price: Default::default(), detail });
                    }
                    if *ticks > 0 || !expected || wanted.is_empty() {
                        *delivered = true;
                        witness.ever_live = true;
                        if desired == Some(*generation) {
                            witness.refusals_in_a_row = 0;
                        }
                    }
                }
            }
            Input::Probed { generation, verdict: Verdict::Dead } if desired == Some(*generation) => {
                witness.dead = Some(*generation);
            }
            _ => {}
        }
        let mut said = Vec::new();
        feed.on(input.clone(), now, &mut said);
        witness.hear(&said, now, &policy, limits);

        let probes = said.iter().filter(|output| matches!(output, Output::Probe { .. })).count();
        assert_eq!(probes, probes_due, "one probe for a refused handshake, and for nothing else");
        assert_eq!(feed.gap(), witness.gap);
        let delivering = witness.sockets.values().any(|there| matches!(there, There::Open { delivered: true, .. }));
        if matches!(feed.status(), FeedStatus::Live { .. }) {
            assert!(witness.gap.is_none() && delivering, "live inside a gap, or without a socket");
        } else if witness.ever_live {
            assert!(witness.gap.is_some(), "neither live nor inside a gap, after {input:?}");
        }
        planned(&feed, &witness, &wanted, limits);
        assert!(feed.next_wake().is_none_or(|at| at > now.mono), "would be woken for ever");
        if feed.desired.is_some() {
            let waits = feed.next_wake().is_some() || feed.links.values().any(|link| link.open().is_some());
            assert!(waits, "wanted, and waiting for nothing: a dead end");
        }
    }
}

/// What is wanted is on one connection each, or left out for want of room; the servers were asked for just that.
fn planned(feed: &Supervisor, witness: &Witness, wanted: &BTreeMap<BrokerToken, Mode>, limits: FeedLimits) {
    let mut held: BTreeMap<BrokerToken, Mode> = BTreeMap::new();
    for lane in &feed.lanes {
        assert!(lane.holds.len() <= limits.instruments as usize);
        for (token, mode) in &lane.holds {
            assert!(held.insert(*token, *mode).is_none(), "{token:?} is on two connections");
        }
        let current = lane.current.and_then(|socket| witness.sockets.get(&socket));
        if let Some(There::Open { actual, .. }) = current {
            assert_eq!(actual, &lane.holds, "the server was asked for what is planned");
        }
    }
    let room = (limits.connections * limits.instruments) as usize;
    assert_eq!(held.len(), wanted.len().min(room), "room is left and an instrument is left out");
    assert!(held.iter().all(|(token, mode)| wanted.get(token) == Some(mode)));
    assert!(feed.left_out().iter().all(|token| wanted.contains_key(token) && !held.contains_key(token)));
    let spare = ((limits.connections - 1).max(1) * limits.instruments) as usize;
    if wanted.len() <= spare {
        assert!(feed.lanes.len() <= (limits.connections as usize - 1).max(1), "no slot is kept free");
    }
}
