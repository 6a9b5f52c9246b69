//! The core that keeps one live feed, and alone decides when to connect.
//!
//! Sans-IO: [`Supervisor::on`] takes an input and a time and appends outputs; nothing else happens. It is a value, to be
//! cloned and compared. What it promises, and `properties` checks over arbitrary inputs:
//!
//! * there is never more than one socket: a token swap breaks before it makes;
//! * after a refused handshake whose probe found the token dead, nothing connects until a newer token;
//! * one refused handshake asks for one probe, and is not repeated before [`FeedPolicy::refused`] has passed;
//! * network failures and refusals have counters of their own; neither backoff ever shortens the other;
//! * once live, it is either live or inside exactly one declared gap;
//! * only the current socket's frames are accepted.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Rng, Timestamp};
use nirantar_brokers::{BrokerToken, Cause, Failure, Mode};

use super::event::{CloseReason, FeedStatus, Gap, GapReason, HandshakeRefusal, Input, Output, SocketId, Verdict};
use super::policy::FeedPolicy;
use super::watchdog::Pace;
use crate::session::Generation;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;

/// The feed's core. See the module's own words for its promises.
///
/// A driver feeds it and does what it says:
///
/// ```
/// use nirantar::feed::{FeedPolicy, Input, Output, Supervisor};
/// use nirantar::session::Generation;
/// use nirantar_brokers::time::Now;
/// use std::time::Duration;
///
/// let mut feed = Supervisor::new(FeedPolicy::default(), Duration::from_secs(5), 7);
/// let mut out = Vec::new();
/// feed.on(Input::Open { generation: Generation(1) }, Now::default(), &mut out);
/// assert!(matches!(out.first(), Some(Output::Connect { .. })));
/// assert!(feed.next_wake().is_some(), "it will not wait for ever for an answer");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Supervisor {
    policy: FeedPolicy,
    heartbeat: Duration,
    seed: u64,
    /// The token the feed is wanted under; `None` while it is not wanted.
    desired: Option<Generation>,
    /// The newest generation ever wanted. Older ones are words from the past.
    newest: Generation,
    /// This generation and all before it are known to be dead to the feed.
    dead: Option<Generation>,
    wanted: BTreeMap<BrokerToken, Mode>,
    ticks_expected: bool,
    /// Since when signs of life are due; `None` while they are not.
    life_expected: Option<Monotonic>,
    link: Link,
    sockets: u64,
    /// No connection is attempted before this under the newest generation, whoever asks.
    earliest: Monotonic,
    /// Network failures in a row.
    failures: u32,
    refusals: Refusals,
    gap: Option<Gap>,
    /// When the last gap ended: the next one cannot begin before, whatever the wall clock does.
    last_gap_end: Option<Timestamp>,
    /// Whether anything was ever delivered: before that there is nothing a gap could interrupt.
    ever_live: bool,
    announced: FeedStatus,
}

/// The one connection.
#[derive(Clone, Debug, PartialEq)]
enum Link {
    /// None, and none to come.
    Idle,
    /// None until then.
    Waiting { until: Monotonic },
    /// An attempt is under way.
    Connecting { socket: SocketId, since: Monotonic },
    /// Open.
    Open(Open),
}

#[derive(Clone, Debug, PartialEq)]
struct Open {
    socket: SocketId,
    since: Monotonic,
    /// The last sign of life.
    last_frame: Now,
    /// Since when there has been no tick, though there should have been.
    quiet_since: Now,
    /// Whether the feed has delivered on this socket.
    delivering: bool,
    silent: bool,
    /// How steadily ticks have come on it.
    pace: Pace,
    /// What the server was asked for on this socket.
    actual: BTreeMap<BrokerToken, Mode>,
}

/// Refused handshakes in a row.
#[derive(Clone, Debug, PartialEq, Default)]
struct Refusals {
    count: u32,
    /// The last one, until its probe has answered.
    unexplained: Option<Failure>,
    /// Whether a probe has answered, and did not say that the token is dead.
    confirmed: bool,
    /// Whether the operator has been told.
    alerted: bool,
}

impl Supervisor {
    /// A closed feed. `heartbeat` is the broker's own ([`FeedLimits::heartbeat`](nirantar_brokers::FeedLimits)); the
    /// same `seed` gives the same jitter.
    #[must_use]
    pub fn new(policy: FeedPolicy, heartbeat: Duration, seed: u64) -> Self {
        Self {
            policy,
            heartbeat,
            seed,
            desired: None,
            newest: Generation(0),
            dead: None,
            wanted: BTreeMap::new(),
            ticks_expected: false,
            life_expected: None,
            link: Link::Idle,
            sockets: 0,
            earliest: Monotonic::default(),
            failures: 0,
            refusals: Refusals::default(),
            gap: None,
            last_gap_end: None,
            ever_live: false,
            announced: FeedStatus::Closed,
        }
    }

    /// Takes in what happened and appends what is to be done. What arrived is looked at before any deadline is, so that
    /// a late frame is a sign of life and not an intruder. A driver hands on waiting frames before it says `Wake`.
    pub fn on(&mut self, input: Input, now: Now, out: &mut Vec<Output>) {
        match input {
            Input::Open { generation } => self.open(generation, now, out),
            Input::Close { why } => self.close(why, now, out),
            Input::Subscribe(instruments) => {
                self.refresh_quiet(now, |feed| feed.wanted.extend(instruments));
                self.sync_subscriptions(out);
            }
            Input::Unsubscribe(instruments) => {
                self.wanted.retain(|token, _| !instruments.contains(token));
                self.sync_subscriptions(out);
            }
            Input::Connected { socket } => self.connected(socket, now, out),
            Input::Refused { socket, failure } => self.refused(socket, failure, now, out),
            Input::Lost { socket, why } => self.lost(socket, &why, now, out),
            Input::Frame { socket, ticks } => self.frame(socket, ticks, now, out),
            Input::Probed { generation, verdict } => self.probed(generation, verdict, now, out),
            Input::Market { expected } => {
                self.refresh_quiet(now, |feed| feed.ticks_expected = expected);
                if let (false, Link::Open(open)) = (expected, &mut self.link) {
                    open.pace = Pace::default();
                }
            }
            Input::Life { expected } => self.life_expected = expected.then(|| self.life_expected.unwrap_or(now.mono)),
            Input::Wake => {}
        }
        self.look_at_deadlines(now, out);
        let status = self.status();
        if status != self.announced {
            self.announced = status;
            out.push(Output::Status(status));
        }
    }

    /// When to say [`Input::Wake`] at the latest; `None` when only an input can change anything.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        match &self.link {
            Link::Idle => None,
            Link::Waiting { until } => Some(*until),
            Link::Connecting { since, .. } => Some(*since + self.policy.connect_timeout),
            Link::Open(open) => self.mute_at(open).into_iter().chain(self.silent_at(open)).min(),
        }
    }

    /// Whether what arrives on that socket may be handed on. Ask before every frame.
    #[must_use]
    pub fn accepts(&self, socket: SocketId) -> bool {
        matches!(&self.link, Link::Open(open) if open.socket == socket)
    }

    /// What the feed claims to be.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        let on_its_way = if self.refusals.confirmed { FeedStatus::Refused } else { FeedStatus::Connecting };
        match (&self.link, self.desired) {
            (Link::Idle, _) | (_, None) => FeedStatus::Closed,
            (Link::Open(open), _) if open.silent => FeedStatus::Silent,
            (Link::Open(open), Some(generation)) if open.delivering => FeedStatus::Live { generation },
            _ => on_its_way,
        }
    }

    /// The gap that is open now, if any.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        self.gap
    }

    fn open(&mut self, generation: Generation, now: Now, out: &mut Vec<Output>) {
        if generation < self.newest || self.dead.is_some_and(|dead| generation <= dead) {
            return;
        }
        let newer = generation > self.newest;
        if !newer && self.desired.is_some() {
            return; // nothing new
        }
        if newer {
            self.break_link(GapReason::TokenSwap, now, out);
            // Neither a refusal of the old token nor the wait after it says anything of this one. The count of network
            // failures stays: no token mends a network.
            self.refusals = Refusals::default();
            self.earliest = now.mono;
        }
        self.newest = generation;
        self.desired = Some(generation);
        self.link = Link::Waiting { until: self.earliest };
    }

    fn close(&mut self, why: CloseReason, now: Now, out: &mut Vec<Output>) {
        let why = match why {
            CloseReason::TokenDead => GapReason::TokenDead,
            CloseReason::Shutdown => GapReason::Shutdown,
        };
        self.break_link(why, now, out);
        self.desired = None;
    }

    fn connected(&mut self, socket: SocketId, now: Now, out: &mut Vec<Output>) {
        if !matches!(self.link, Link::Connecting { socket: current, .. } if current == socket) {
            return;
        }
        self.link = Link::Open(Open {
            socket,
            since: now.mono,
            last_frame: now,
            quiet_since: now,
            delivering: false,
            silent: false,
            pace: Pace::default(),
            actual: BTreeMap::new(),
        });
        self.sync_subscriptions(out);
    }

    fn refused(&mut self, socket: SocketId, failure: Failure, now: Now, out: &mut Vec<Output>) {
        let Some(generation) = self.desired.filter(|_| self.is_connecting(socket)) else {
            return;
        };
        match failure.cause {
            Cause::Refused(_) | Cause::Misconfigured | Cause::Rejected => {
                self.refusals.count = self.refusals.count.saturating_add(1);
                self.refusals.unexplained = Some(failure);
                // The slow schedule starts at once and does not wait for the probe, whose answer may never come.
                self.wait(self.policy.refused(self.refusals.count), now);
                out.push(Output::Probe { generation });
            }
            // An overloaded or broken server says nothing about the token.
            Cause::Throttled { retry_after } => {
                // Bounded, so that no server can send the feed to sleep for good.
                let asked = retry_after.unwrap_or_default().min(self.policy.refused_max);
                self.failed(&failure.message, asked, now, out);
            }
            Cause::NotSent | Cause::Unknown => self.failed(&failure.message, Duration::ZERO, now, out),
        }
    }

    fn lost(&mut self, socket: SocketId, why: &str, now: Now, out: &mut Vec<Output>) {
        if !self.accepts(socket) && !self.is_connecting(socket) {
            return;
        }
        self.begin_gap(GapReason::Network, now, out);
        self.failed(why, Duration::ZERO, now, out);
    }

    fn frame(&mut self, socket: SocketId, ticks: usize, now: Now, out: &mut Vec<Output>) {
        let expecting = self.expecting();
        let Link::Open(open) = &mut self.link else {
            return;
        };
        if open.socket != socket {
            return;
        }
        open.last_frame = now;
        if ticks > 0 {
            open.quiet_since = now;
            open.pace.tick(now.mono, self.policy.silence);
        }
        if ticks > 0 || !expecting {
            open.silent = false;
            open.delivering = true;
            self.ever_live = true;
            self.refusals = Refusals::default();
            self.end_gap(now, out);
        }
    }

    fn probed(&mut self, generation: Generation, verdict: Verdict, now: Now, out: &mut Vec<Output>) {
        if self.desired != Some(generation) {
            return;
        }
        if verdict == Verdict::Dead {
            self.dead = Some(generation);
            self.close(CloseReason::TokenDead, now, out);
            return;
        }
        let Some(failure) = self.refusals.unexplained.take() else {
            return; // not asked by us, or the handshake has succeeded meanwhile
        };
        self.refusals.confirmed = true;
        if verdict == Verdict::Alive && !mem::replace(&mut self.refusals.alerted, true) {
            out.push(Output::FeedRefused(HandshakeRefusal { generation, failure }));
        }
    }

    fn look_at_deadlines(&mut self, now: Now, out: &mut Vec<Output>) {
        match &self.link {
            Link::Idle => {}
            Link::Waiting { until } if now.mono >= *until => self.connect(now, out),
            Link::Waiting { .. } => {}
            Link::Connecting { socket, since } if now.mono >= *since + self.policy.connect_timeout => {
                out.push(Output::Disconnect { socket: *socket });
                self.failed("no answer to the connection attempt", Duration::ZERO, now, out);
            }
            Link::Connecting { .. } => {}
            Link::Open(open) if self.mute_at(open).is_some_and(|at| now.mono >= at) => {
                self.break_link(GapReason::Mute, now, out);
                self.failed("the socket is open and nothing comes, not even heartbeats", Duration::ZERO, now, out);
            }
            Link::Open(open) if self.silent_at(open).is_some_and(|at| now.mono >= at) => self.fall_silent(now, out),
            Link::Open(_) => {}
        }
    }

    fn connect(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(generation) = self.desired else {
            self.link = Link::Idle;
            return;
        };
        self.sockets += 1;
        let socket = SocketId(self.sockets);
        self.link = Link::Connecting { socket, since: now.mono };
        self.earliest = now.mono + self.policy.spacing();
        out.push(Output::Connect { socket, generation });
    }

    /// Ends the connection, whatever it is, and declares the gap.
    fn break_link(&mut self, why: GapReason, now: Now, out: &mut Vec<Output>) {
        if let Link::Connecting { socket, .. } | Link::Open(Open { socket, .. }) = &self.link {
            out.push(Output::Disconnect { socket: *socket });
        }
        self.begin_gap(why, now, out);
        self.forgive_if_stable(now);
        self.link = Link::Idle;
    }

    /// Counts a network failure and waits, at least `at_least`.
    fn failed(&mut self, why: &str, at_least: Duration, now: Now, out: &mut Vec<Output>) {
        self.forgive_if_stable(now);
        self.failures = self.failures.saturating_add(1);
        // By the number of the failure, not by how many there ever were: a day is the same on every run.
        let mut rng = Rng::from_seed(self.seed ^ u64::from(self.failures));
        let backoff = rng.jitter(self.policy.backoff(self.failures), self.policy.jitter_percent);
        let retry_in = self.wait(backoff.max(at_least), now);
        out.push(Output::Failed { failures: self.failures, retry_in, why: why.to_owned() });
    }

    /// Waits for `span`, or longer if an earlier wait has not passed. Returns how long.
    fn wait(&mut self, span: Duration, now: Now) -> Duration {
        self.earliest = self.earliest.max(now.mono + span);
        self.link = Link::Waiting { until: self.earliest };
        self.earliest.since(now.mono)
    }

    fn forgive_if_stable(&mut self, now: Now) {
        if matches!(&self.link, Link::Open(open) if now.mono.since(open.since) >= self.policy.stable_after) {
            self.failures = 0;
        }
    }

    fn fall_silent(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Link::Open(open) = &mut self.link {
            open.silent = true;
            let from = open.quiet_since.wall;
            self.push_gap(GapReason::Silent, from, now, out);
        }
    }

    /// Opens a gap if the feed had delivered and none is open. Everything up to the last frame has arrived, since a
    /// socket keeps its order; nothing is known of what was sent after it.
    fn begin_gap(&mut self, why: GapReason, now: Now, out: &mut Vec<Output>) {
        if !self.ever_live {
            return;
        }
        let from = match &self.link {
            Link::Open(open) => open.last_frame.wall,
            _ => now.wall,
        };
        self.push_gap(why, from, now, out);
    }

    fn push_gap(&mut self, why: GapReason, from: Timestamp, now: Now, out: &mut Vec<Output>) {
        if self.gap.is_some() {
            return;
        }
        let from = self.last_gap_end.map_or(from.min(now.wall), |end| from.min(now.wall).max(end));
        let gap = Gap { from, to: None, why };
        self.gap = Some(gap);
        out.push(Output::Gap(gap));
    }

    fn end_gap(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Some(gap) = self.gap.take() {
            let to = now.wall.max(gap.from);
            self.last_gap_end = Some(to);
            out.push(Output::Gap(Gap { to: Some(to), ..gap }));
        }
    }

    /// Makes what the server was asked for equal to what is wanted.
    fn sync_subscriptions(&mut self, out: &mut Vec<Output>) {
        let Link::Open(open) = &mut self.link else {
            return;
        };
        let socket = open.socket;
        let dropped: Vec<_> = open.actual.keys().filter(|token| !self.wanted.contains_key(token)).copied().collect();
        if !dropped.is_empty() {
            out.push(Output::Unsubscribe { socket, instruments: dropped });
        }
        for mode in [Mode::Ltp, Mode::Quote, Mode::Full] {
            let asked = |(token, wanted): &(&BrokerToken, &Mode)| {
                **wanted == mode && open.actual.get(token).is_none_or(|actual| *actual != mode)
            };
            let instruments: Vec<_> = self.wanted.iter().filter(asked).map(|(token, _)| *token).collect();
            if !instruments.is_empty() {
                out.push(Output::Subscribe { socket, instruments, mode });
            }
        }
        open.actual.clone_from(&self.wanted);
    }

    /// Applies a change; if ticks are expected from now on and were not before, silence counts from now.
    fn refresh_quiet(&mut self, now: Now, change: impl FnOnce(&mut Self)) {
        let before = self.expecting();
        change(self);
        if let (false, true, Link::Open(open)) = (before, self.expecting(), &mut self.link) {
            open.quiet_since = now;
        }
    }

    fn expecting(&self) -> bool {
        self.ticks_expected && !self.wanted.is_empty()
    }

    fn is_connecting(&self, socket: SocketId) -> bool {
        matches!(self.link, Link::Connecting { socket: current, .. } if current == socket)
    }

    /// When the socket counts as dead if no frame comes; `None` while nothing is due on it.
    fn mute_at(&self, open: &Open) -> Option<Monotonic> {
        let since = self.life_expected.filter(|_| !self.heartbeat.is_zero())?;
        Some(open.last_frame.mono.max(since) + self.policy.mute_after(self.heartbeat))
    }

    fn silent_at(&self, open: &Open) -> Option<Monotonic> {
        let steady = open.pace.is_busy(self.policy.silence);
        (self.expecting() && !open.silent && steady).then(|| open.quiet_since.mono + self.policy.silence)
    }
}
