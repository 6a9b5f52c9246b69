//! Scenes a reader can follow: what the feed does, and when.

use std::collections::BTreeSet;

use nirantar_brokers::{Endpoint, Refusal};

use super::*;

/// A feed, its clock, and what it said last.
struct Scene {
    feed: Supervisor,
    now: Now,
    said: Vec<Output>,
}

const FIRST: Generation = Generation(1);
const SECOND: Generation = Generation(2);

impl Scene {
    fn new() -> Self {
        let start = Timestamp::parse_ist("2021-04-12 10:00:00").unwrap();
        let feed = Supervisor::new(FeedPolicy::default(), Duration::from_secs(4), 1);
        Self { feed, now: Now { mono: Monotonic::default(), wall: start }, said: Vec::new() }
    }

    /// Live under the first token, on socket 1, with one instrument and ticks expected.
    fn live() -> Self {
        let mut scene = Self::new();
        scene.say(Input::Market { expected: true });
        scene.say(Input::Life { expected: true });
        scene.say(Input::Subscribe(BTreeMap::from([(BrokerToken(1), Mode::Full)])));
        scene.say(Input::Open { generation: FIRST });
        scene.say(Input::Connected { socket: SocketId(1) });
        scene.tick(1);
        assert_eq!(scene.feed.status(), FeedStatus::Live { generation: FIRST });
        scene
    }

    fn say(&mut self, input: Input) -> &[Output] {
        self.said.clear();
        self.feed.on(input, self.now, &mut self.said);
        &self.said
    }

    fn tick(&mut self, socket: u64) -> &[Output] {
        self.say(Input::Frame { socket: SocketId(socket), ticks: 1 })
    }

    fn heartbeat(&mut self, socket: u64) -> &[Output] {
        self.say(Input::Frame { socket: SocketId(socket), ticks: 0 })
    }

    fn closed(&mut self, socket: u64) -> &[Output] {
        self.say(Input::Closed { socket: SocketId(socket) })
    }

    fn refuse(&mut self, socket: u64) -> &[Output] {
        let failure = Failure::new(Cause::Refused(Refusal::Suspect), Endpoint::Feed, "Authentication failed.");
        self.say(Input::Refused { socket: SocketId(socket), failure })
    }

    fn probed(&mut self, verdict: Verdict) -> &[Output] {
        self.say(Input::Probed { generation: FIRST, verdict })
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Wakes the feed each time it asks to be woken, for that long; everything it said on the way.
    fn idle(&mut self, span: Duration) -> Vec<Output> {
        let end = self.now + span;
        let mut said = Vec::new();
        while let Some(at) = self.feed.next_wake().filter(|at| *at <= end.mono) {
            self.now = self.now + at.since(self.now.mono);
            said.extend_from_slice(self.say(Input::Wake));
        }
        self.now = end;
        said
    }

    fn at(&self, span: Duration) -> Timestamp {
        self.now.wall + span
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn sockets(said: &[Output]) -> Vec<u64> {
    let opened = |output: &Output| match output {
        Output::Connect { socket, .. } => Some(socket.0),
        _ => None,
    };
    said.iter().filter_map(opened).collect()
}

#[test]
fn a_token_swap_breaks_before_it_makes_and_declares_one_gap() {
    let mut scene = Scene::live();
    let last_tick = scene.now.wall;
    scene.pass(seconds(1));
    let gap = Gap { from: last_tick, to: None, why: GapReason::TokenSwap };
    assert_eq!(
        scene.say(Input::Open { generation: SECOND }),
        [Output::Disconnect { socket: SocketId(1) }, Output::Gap(gap), Output::Status(FeedStatus::Connecting),]
    );
    assert_eq!(scene.closed(1), [Output::Connect { socket: SocketId(2), generation: SECOND }]);
    assert!(!scene.feed.accepts(SocketId(1)), "a late frame of the old socket");
    assert!(scene.tick(1).is_empty());

    scene.pass(seconds(1));
    let asked = [Output::Subscribe { socket: SocketId(2), instruments: vec![BrokerToken(1)], mode: Mode::Full }];
    assert_eq!(scene.say(Input::Connected { socket: SocketId(2) }), asked);
    assert!(scene.feed.accepts(SocketId(2)));
    assert!(scene.heartbeat(2).is_empty(), "ticks are expected: a heartbeat is no delivery");
    let to = Some(scene.now.wall);
    assert_eq!(
        scene.tick(2),
        [Output::Gap(Gap { to, ..gap }), Output::Status(FeedStatus::Live { generation: SECOND })]
    );
}

#[test]
fn outside_market_hours_a_heartbeat_ends_the_gap() {
    let mut scene = Scene::live();
    scene.say(Input::Market { expected: false });
    scene.say(Input::Open { generation: SECOND });
    scene.closed(1);
    scene.say(Input::Connected { socket: SocketId(2) });
    scene.heartbeat(2);
    assert_eq!(scene.feed.status(), FeedStatus::Live { generation: SECOND });
    assert_eq!(scene.feed.gap(), None);
}

#[test]
fn a_dead_token_at_the_handshake_costs_one_probe_and_no_second_attempt() {
    let mut scene = Scene::new();
    scene.say(Input::Open { generation: FIRST });
    assert_eq!(scene.refuse(1), [Output::Probe { generation: FIRST }]);
    assert_eq!(scene.probed(Verdict::Dead), [Output::Status(FeedStatus::Closed)]);
    assert_eq!(scene.feed.next_wake(), None);
    assert!(scene.idle(seconds(12 * 3600)).is_empty());
    assert!(scene.say(Input::Open { generation: FIRST }).is_empty(), "the same dead token");
    assert_eq!(sockets(scene.say(Input::Open { generation: SECOND })), [2]);
}

#[test]
fn a_refusal_of_a_living_token_is_retried_slowly_and_told_once() {
    let mut scene = Scene::new();
    scene.say(Input::Open { generation: FIRST });
    let mut waits = Vec::new();
    let mut told = 0;
    for socket in 1..=5 {
        let refused_at = scene.now.mono;
        assert_eq!(scene.refuse(socket)[0], Output::Probe { generation: FIRST });
        told += scene.probed(Verdict::Alive).iter().filter(|said| matches!(said, Output::FeedRefused(_))).count();
        assert_eq!(scene.feed.status(), FeedStatus::Refused);
        waits.push(scene.feed.next_wake().unwrap().since(refused_at).as_secs() / 60);
        scene.now = scene.now + scene.feed.next_wake().unwrap().since(scene.now.mono);
        assert_eq!(sockets(scene.say(Input::Wake)), [socket + 1]);
    }
    assert_eq!((waits, told), (vec![5, 10, 20, 30, 30], 1));
}

#[test]
fn an_inconclusive_probe_waits_as_long_and_accuses_nobody() {
    let mut scene = Scene::new();
    scene.say(Input::Open { generation: FIRST });
    scene.refuse(1);
    assert_eq!(scene.probed(Verdict::Inconclusive), [Output::Status(FeedStatus::Refused)]);
    assert!(scene.idle(seconds(299)).is_empty());
    assert_eq!(sockets(&scene.idle(seconds(1))), [2]);
}

#[test]
fn a_busy_server_is_no_refusal_of_the_token() {
    let mut scene = Scene::new();
    scene.say(Input::Open { generation: FIRST });
    let cause = Cause::Throttled { retry_after: Some(seconds(20)) };
    let failure = Failure::new(cause, Endpoint::Feed, "Too many requests");
    let said = scene.say(Input::Refused { socket: SocketId(1), failure });
    assert!(matches!(said, [Output::Failed { failures: 1, retry_in, .. }] if *retry_in == seconds(20)), "{said:?}");
}

#[test]
fn network_failures_back_off_alone_and_are_forgiven_after_a_stable_connection() {
    let mut scene = Scene::live();
    let mut waits = Vec::new();
    for socket in 1..=10 {
        scene.say(Input::Lost { socket: SocketId(socket), why: "reset".into() });
        let wait = scene.feed.next_wake().unwrap().since(scene.now.mono);
        let full = scene.feed.policy.backoff(u32::try_from(socket).unwrap());
        assert!(wait <= full && wait >= full * 8 / 10, "{wait:?} of {full:?}");
        waits.push(wait);
        assert_eq!(sockets(&scene.idle(wait)), [socket + 1]);
    }
    assert!(waits[9] > seconds(40), "{waits:?}");
    scene.say(Input::Connected { socket: SocketId(11) });
    for _ in 0..31 {
        scene.pass(seconds(1));
        scene.tick(11);
    }
    let said = scene.say(Input::Lost { socket: SocketId(11), why: "reset".into() });
    assert!(said.iter().any(|said| matches!(said, Output::Failed { failures: 1, .. })), "{said:?}");
}

#[test]
fn a_mute_socket_is_cut_while_life_is_due_and_the_gap_began_with_its_last_word() {
    for expected in [true, false] {
        let mut scene = Scene::live();
        scene.say(Input::Market { expected });
        let from = scene.now.wall;
        assert!(scene.idle(seconds(6) - Duration::from_nanos(1)).is_empty(), "4 s and half as much again are patience");
        let said = scene.idle(Duration::from_nanos(1));
        assert_eq!(said[0], Output::Disconnect { socket: SocketId(1) });
        assert_eq!(said[1], Output::Gap(Gap { from, to: None, why: GapReason::Mute }));
        scene.closed(1);
        assert_eq!(sockets(&scene.idle(seconds(1))), [2]);
    }
}

#[test]
fn a_late_frame_is_a_sign_of_life_not_a_reason_to_cut() {
    let mut scene = Scene::live();
    scene.pass(seconds(7));
    assert!(scene.tick(1).is_empty());
    assert!(scene.feed.accepts(SocketId(1)));
}

#[test]
fn heartbeats_without_ticks_are_silence_when_ticks_are_expected_and_peace_when_not() {
    let mut scene = Scene::live();
    for _ in 0..120 {
        scene.pass(seconds(1));
        scene.tick(1);
    }
    let from = scene.now.wall;
    for _ in 0..14 {
        scene.pass(seconds(1));
        assert!(scene.heartbeat(1).is_empty());
    }
    scene.pass(seconds(1));
    let gap = Gap { from, to: None, why: GapReason::Silent };
    assert_eq!(scene.heartbeat(1), [Output::Gap(gap), Output::Status(FeedStatus::Silent)]);
    scene.pass(seconds(1));
    let to = Some(scene.at(Duration::ZERO));
    assert_eq!(scene.tick(1), [Output::Gap(Gap { to, ..gap }), Output::Status(FeedStatus::Live { generation: FIRST })]);

    scene.say(Input::Market { expected: false });
    for _ in 0..3600 {
        scene.pass(seconds(1));
        assert!(scene.heartbeat(1).is_empty());
    }
    scene.say(Input::Market { expected: true });
    assert_eq!(scene.feed.status(), FeedStatus::Live { generation: FIRST }, "silence counts from the opening");
}

#[test]
fn a_dead_token_closes_the_feed_and_the_gap_lasts_until_the_next_one_delivers() {
    let mut scene = Scene::live();
    let from = scene.now.wall;
    let gap = Gap { from, to: None, why: GapReason::TokenDead };
    assert_eq!(
        scene.say(Input::Close { why: CloseReason::TokenDead }),
        [Output::Disconnect { socket: SocketId(1) }, Output::Gap(gap), Output::Status(FeedStatus::Closed)]
    );
    scene.closed(1);
    assert!(scene.idle(seconds(900)).is_empty());
    assert_eq!(sockets(scene.say(Input::Open { generation: SECOND })), [2]);
    scene.say(Input::Connected { socket: SocketId(2) });
    let to = Some(scene.at(Duration::ZERO));
    assert_eq!(scene.tick(2)[0], Output::Gap(Gap { to, ..gap }));
}

#[test]
fn a_new_token_does_not_wait_for_the_old_ones_backoff() {
    let mut scene = Scene::live();
    scene.say(Input::Lost { socket: SocketId(1), why: "closed by the server".into() });
    scene.idle(seconds(1));
    scene.refuse(2);
    assert_eq!(sockets(scene.say(Input::Open { generation: SECOND })), [3]);
}

#[test]
fn a_living_socket_is_asked_only_for_what_changed() {
    let mut scene = Scene::live();
    let more = BTreeMap::from([(BrokerToken(1), Mode::Full), (BrokerToken(2), Mode::Ltp), (BrokerToken(3), Mode::Ltp)]);
    let instruments = vec![BrokerToken(2), BrokerToken(3)];
    let asked = [Output::Subscribe { socket: SocketId(1), instruments, mode: Mode::Ltp }];
    assert_eq!(scene.say(Input::Subscribe(more)), asked);
    let gone = Input::Unsubscribe(BTreeSet::from([BrokerToken(2), BrokerToken(9)]));
    assert_eq!(scene.say(gone), [Output::Unsubscribe { socket: SocketId(1), instruments: vec![BrokerToken(2)] }]);
    let changed = Input::Subscribe(BTreeMap::from([(BrokerToken(3), Mode::Quote)]));
    let asked = [Output::Subscribe { socket: SocketId(1), instruments: vec![BrokerToken(3)], mode: Mode::Quote }];
    assert_eq!(scene.say(changed), asked);
}

#[test]
fn an_attempt_nobody_answers_does_not_stop_the_feed_for_ever() {
    let mut scene = Scene::new();
    scene.say(Input::Open { generation: FIRST });
    let said = scene.idle(seconds(32));
    assert_eq!(said[0], Output::Disconnect { socket: SocketId(1) });
    assert_eq!(sockets(&said), [2]);
}

#[test]
fn outside_all_hours_a_quiet_socket_is_left_alone() {
    let mut scene = Scene::live();
    scene.say(Input::Market { expected: false });
    scene.say(Input::Life { expected: false });
    assert!(scene.idle(seconds(12 * 3600)).is_empty());
    scene.say(Input::Life { expected: true });
    assert!(scene.idle(seconds(6) - Duration::from_nanos(1)).is_empty(), "it is given the time of a heartbeat first");
    assert_eq!(scene.idle(Duration::from_nanos(1))[0], Output::Disconnect { socket: SocketId(1) });
}

// --- several connections -------------------------------------------------------------------------------------------

impl Scene {
    /// Live under the first token with so many connections of two instruments each.
    fn over(connections: u32, instruments: u32) -> Self {
        let limits = FeedLimits { connections, instruments: 2, heartbeat: seconds(4) };
        let mut scene = Self::new();
        scene.feed = Supervisor::within(FeedPolicy::default(), limits, 1);
        scene.say(Input::Market { expected: true });
        scene.say(Input::Life { expected: true });
        let wanted = (1..=instruments).map(|token| (BrokerToken(token), Mode::Full)).collect();
        scene.say(Input::Subscribe(wanted));
        let mut said = scene.say(Input::Open { generation: FIRST }).to_vec();
        while let [socket] = sockets(&said)[..] {
            said = scene.say(Input::Connected { socket: SocketId(socket) }).to_vec();
            let more = scene.deliver(socket);
            said.extend(more);
        }
        assert_eq!(scene.feed.status(), FeedStatus::Live { generation: FIRST });
        scene
    }

    /// One tick of each instrument of that socket.
    fn deliver(&mut self, socket: u64) -> Vec<Output> {
        let id = SocketId(socket);
        let tokens: Vec<BrokerToken> = self.feed.links[&id].open().unwrap().actual.keys().copied().collect();
        for token in &tokens {
            let tick = Tick { token: *token, last_price: Default::default(), detail: nirantar_brokers::Detail::Ltp };
            self.feed.admit(id, &tick);
        }
        self.say(Input::Frame { socket: id, ticks: tokens.len() }).to_vec()
    }
}

#[test]
fn where_a_slot_is_free_each_socket_is_replaced_by_one_that_delivers_and_nothing_is_missed() {
    let mut scene = Scene::over(3, 4);
    let made = scene.say(Input::Open { generation: SECOND }).to_vec();
    assert_eq!(made, [Output::Connect { socket: SocketId(3), generation: SECOND }], "the old ones live on");
    for (old, new) in [(1, 3), (2, 4)] {
        let said = scene.say(Input::Connected { socket: SocketId(new) }).to_vec();
        assert!(matches!(&said[..], [Output::Subscribe { .. }]), "{said:?}");
        assert!(scene.heartbeat(new).is_empty(), "a heartbeat is no delivery");
        assert!(scene.feed.accepts(SocketId(old)));
        let said = scene.deliver(new);
        assert_eq!(said[0], Output::Disconnect { socket: SocketId(old) });
        assert!(!said.iter().any(|said| matches!(said, Output::Gap(_))), "{said:?}");
        let next = scene.closed(old).to_vec();
        let all: Vec<u64> = sockets(&said).into_iter().chain(sockets(&next)).collect();
        let next_lane: &[u64] = if old == 1 { &[4] } else { &[] };
        assert_eq!(all, next_lane, "one after the other");
    }
    assert_eq!(scene.feed.status(), FeedStatus::Live { generation: SECOND });
    assert_eq!(scene.feed.gap(), None);
}

#[test]
fn where_every_slot_is_taken_sockets_break_one_after_the_other_inside_one_gap() {
    let mut scene = Scene::over(2, 4);
    let said = scene.say(Input::Open { generation: SECOND }).to_vec();
    assert_eq!(said[0], Output::Disconnect { socket: SocketId(1) });
    let mut gaps = said.iter().filter(|said| matches!(said, Output::Gap(_))).count();
    assert!(scene.feed.accepts(SocketId(2)), "the other goes on");
    let mut said = scene.closed(1).to_vec();
    for _ in 0..2 {
        let [socket] = sockets(&said)[..] else { panic!("{said:?}") };
        said = scene.say(Input::Connected { socket: SocketId(socket) }).to_vec();
        said.extend(scene.deliver(socket));
        gaps += said.iter().filter(|said| matches!(said, Output::Gap(_))).count();
        said.extend(scene.closed(2).to_vec());
    }
    assert_eq!(gaps, 2, "one begins and ends");
    assert_eq!(scene.feed.status(), FeedStatus::Live { generation: SECOND });
}

#[test]
fn a_new_socket_that_brings_nothing_gives_way_to_the_old_one() {
    let mut scene = Scene::over(2, 2);
    scene.say(Input::Open { generation: SECOND });
    scene.say(Input::Connected { socket: SocketId(2) });
    for _ in 0..8 {
        scene.pass(seconds(1));
        let said = scene.deliver(1);
        assert!(!said.iter().any(|said| matches!(said, Output::Gap(_))), "{said:?}");
    }
    assert!(!scene.feed.accepts(SocketId(2)) && scene.feed.accepts(SocketId(1)));
    assert_eq!(scene.feed.status(), FeedStatus::Live { generation: FIRST });
    assert!(scene.feed.next_wake().is_some(), "and it is tried again");
}

#[test]
fn a_broker_that_counts_fewer_slots_than_it_declares_is_believed_at_the_second_attempt() {
    let mut scene = Scene::over(3, 2);
    scene.say(Input::Open { generation: SECOND });
    let throttled = Failure::new(Cause::Throttled { retry_after: None }, Endpoint::Feed, "Too many connections.");
    let said = scene.say(Input::Refused { socket: SocketId(2), failure: throttled }).to_vec();
    assert!(matches!(&said[..], [Output::Failed { .. }]), "{said:?}");
    let said = scene.idle(seconds(1));
    assert_eq!(said[0], Output::Disconnect { socket: SocketId(1) });
    assert!(matches!(said[1], Output::Gap(Gap { why: GapReason::TokenSwap, .. })), "{said:?}");
    assert_eq!(sockets(scene.closed(1)), [3]);
}

#[test]
fn what_fits_on_no_connection_is_said_once() {
    let mut scene = Scene::over(2, 4);
    let more = |token| Input::Subscribe(BTreeMap::from([(BrokerToken(token), Mode::Full)]));
    assert_eq!(scene.say(more(9)), [Output::LeftOut { instruments: vec![BrokerToken(9)] }]);
    assert!(scene.say(more(9)).is_empty());
    let said = scene.say(Input::Unsubscribe(BTreeSet::from([BrokerToken(1)]))).to_vec();
    assert!(
        said.contains(&Output::Subscribe { socket: SocketId(1), instruments: vec![BrokerToken(9)], mode: Mode::Full }),
        "{said:?}"
    );
    assert!(scene.feed.left_out().is_empty());
}
