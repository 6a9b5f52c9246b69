//! The core that keeps one live feed over as many connections as it takes, and alone decides when to connect.
//!
//! Sans-IO: [`Supervisor::on`] takes an input and a time and appends outputs; nothing else happens. It is a value, to be
//! cloned and compared. What it promises, and `properties` checks over arbitrary inputs:
//!
//! * there are never more sockets than the broker takes; while one may still be counted there, its slot is not used;
//! * where a slot is free, a token swap makes before it breaks, one connection after the other: an old socket is closed
//!   only after the new one has delivered. Where none is, it breaks before it makes, inside one declared gap;
//! * one handshake at a time; after a refused one whose probe found the token dead, nothing connects until a newer token;
//! * one refused handshake asks for one probe, and is not repeated before [`FeedPolicy::refused`] has passed;
//! * network failures and refusals have counters of their own; neither backoff ever shortens the other;
//! * once live, it is either live or inside exactly one declared gap;
//! * every instrument takes one socket's ticks ([`Supervisor::admit`]); what fits on no connection is said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Rng, Timestamp};
use nirantar_brokers::{BrokerToken, Cause, Failure, FeedLimits, Mode, Stamp, Tick};

use super::event::{
    Admission, CloseReason, FeedStatus, Gap, GapReason, HandshakeRefusal, Input, Output, SocketId, Verdict,
};
use super::policy::FeedPolicy;
use super::watchdog::Pace;
use crate::session::Generation;
use gaps::Gaps;
use handover::Takers;
use link::{Link, LinkState, Open, Retiring};
use planning::{Lane, plan};

mod gaps;
mod handover;
mod link;
mod planning;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
mod sockets;

/// A socket that has brought a frame so shortly before another one was open is not mute: what it owes will come.
const BETWEEN_FRAMES: Duration = Duration::from_millis(100);

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
    limits: FeedLimits,
    seed: u64,
    /// The token the feed is wanted under; `None` while it is not wanted.
    desired: Option<Generation>,
    /// The newest generation ever wanted. Older ones are words from the past.
    newest: Generation,
    /// This generation and all before it are known to be dead to the feed.
    dead: Option<Generation>,
    wanted: BTreeMap<BrokerToken, Mode>,
    left_out: BTreeSet<BrokerToken>,
    ticks_expected: bool,
    /// Since when signs of life are due; `None` while they are not.
    life_expected: Option<Monotonic>,
    /// Which connection is to carry what.
    lanes: Vec<Lane>,
    /// Everything that may take up a slot at the broker.
    links: BTreeMap<SocketId, Link>,
    /// Which socket each instrument takes.
    takers: Takers,
    sockets: u64,
    /// As many sockets as the broker takes beside us: fewer than it declares, if it has said so under this token.
    slots: usize,
    /// No connection is attempted before this under the newest generation, whoever asks.
    earliest: Monotonic,
    /// The last attempts under the newest generation, at most as many as there are connections.
    attempts: VecDeque<Monotonic>,
    /// Network failures in a row.
    failures: u32,
    refusals: Refusals,
    gaps: Gaps,
    /// Whether anything was ever delivered: before that there is nothing a gap could interrupt.
    ever_live: bool,
    announced: FeedStatus,
    /// When something is due, as it was found after the last input: only an input changes it, and every driver asks more
    /// often than it has any.
    wake: Option<Monotonic>,
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
    /// A closed feed over a single connection that takes any number of instruments. `heartbeat` is the broker's own
    /// ([`FeedLimits::heartbeat`]); the same `seed` gives the same jitter.
    #[must_use]
    pub fn new(policy: FeedPolicy, heartbeat: Duration, seed: u64) -> Self {
        Self::within(policy, FeedLimits { connections: 1, instruments: u32::MAX, heartbeat }, seed)
    }

    /// A closed feed within the broker's limits.
    #[must_use]
    pub fn within(policy: FeedPolicy, limits: FeedLimits, seed: u64) -> Self {
        let mut this = Self {
            policy,
            limits,
            seed,
            desired: None,
            newest: Generation(0),
            dead: None,
            wanted: BTreeMap::new(),
            left_out: BTreeSet::new(),
            ticks_expected: false,
            life_expected: None,
            lanes: vec![Lane::default()],
            links: BTreeMap::new(),
            takers: Takers::default(),
            sockets: 0,
            slots: 0,
            earliest: Monotonic::default(),
            attempts: VecDeque::new(),
            failures: 0,
            refusals: Refusals::default(),
            gaps: Gaps::default(),
            ever_live: false,
            announced: FeedStatus::Closed,
            wake: None,
        };
        this.slots = this.connections();
        this
    }

    /// Takes in what happened and appends what is to be done. What arrived is looked at before any deadline is, so that
    /// a late frame is a sign of life and not an intruder. A driver hands on waiting frames before it says `Wake`.
    pub fn on(&mut self, input: Input, now: Now, out: &mut Vec<Output>) {
        match input {
            Input::Open { generation } => self.open(generation, now, out),
            Input::Close { why } => self.close(why, now, out),
            Input::Subscribe(instruments) => {
                self.refresh_quiet(now, |feed| feed.wanted.extend(instruments));
                self.plan(now, out);
            }
            Input::Unsubscribe(instruments) => {
                self.wanted.retain(|token, _| !instruments.contains(token));
                self.plan(now, out);
            }
            Input::Connected { socket } => self.connected(socket, now, out),
            Input::Refused { socket, failure } => self.refused(socket, failure, now, out),
            Input::Lost { socket, why } => self.lost(socket, &why, now, out),
            Input::Closed { socket } => {
                if self.links.get(&socket).is_some_and(Link::is_closing) {
                    self.links.remove(&socket);
                }
            }
            Input::Frame { socket, ticks } => self.frame(socket, ticks, now, out),
            Input::Probed { generation, verdict } => self.probed(generation, verdict, now, out),
            Input::Market { expected } => {
                self.refresh_quiet(now, |feed| feed.ticks_expected = expected);
                if !expected {
                    for open in self.links.values_mut().filter_map(Link::open_mut) {
                        open.pace = Pace::default();
                    }
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
        self.wake
    }

    /// Whether what arrives on that socket may be handed on, apart from ticks.
    #[must_use]
    pub fn accepts(&self, socket: SocketId) -> bool {
        self.links.get(&socket).is_some_and(|link| link.open().is_some())
    }

    /// What a tick that arrived on that socket is. Ask for every tick, in order, and before the frame it came in is told
    /// with [`Input::Frame`].
    pub fn admit(&mut self, socket: SocketId, tick: impl Into<Stamp>) -> Admission {
        let Some(open) = self.links.get(&socket).and_then(Link::open) else {
            return Admission::Drop;
        };
        let links = &self.links;
        let is_open = |other| links.get(&other).is_some_and(|link| link.open().is_some());
        let speaks = |other| {
            let old = links.get(&other).and_then(Link::open);
            old.is_some_and(|old| old.last_frame.mono + BETWEEN_FRAMES >= open.since)
        };
        let admitted = self.takers.admit(socket, tick.into(), open.retiring.is_some(), is_open, speaks);
        if let Some(other) = admitted.left
            && let Some(open) = self.links.get_mut(&other).and_then(Link::open_mut)
            && let Some(retiring) = &mut open.retiring
        {
            retiring.left = retiring.left.saturating_sub(1);
            if admitted.torn {
                retiring.torn = Some(open.last_frame.wall);
            }
        }
        admitted.admission
    }

    /// Whether what was asked for apart from the feed is at least as new as what the feed has brought of it.
    #[must_use]
    pub fn fills(&self, state: &Tick) -> bool {
        self.takers.is_current(&Stamp::from(state))
    }

    /// What the feed claims to be.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        let on_its_way = if self.refusals.confirmed { FeedStatus::Refused } else { FeedStatus::Connecting };
        if self.desired.is_none() {
            return FeedStatus::Closed;
        }
        match self.whole() {
            Some(generation) if self.gaps.open().is_none() => FeedStatus::Live { generation },
            _ if self.links.values().any(|link| link.open().is_some_and(|open| open.silent)) => FeedStatus::Silent,
            _ => on_its_way,
        }
    }

    /// The gap that is open now, if any.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        self.gaps.open()
    }

    /// Instruments that are wanted and fit on no connection.
    #[must_use]
    pub fn left_out(&self) -> &BTreeSet<BrokerToken> {
        &self.left_out
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
            self.give_up_attempts(now, out);
            // Neither a refusal of the old token nor the wait after it says anything of this one. The count of network
            // failures stays: no token mends a network.
            self.refusals = Refusals::default();
            self.earliest = now.mono;
            self.attempts.clear();
            self.slots = self.connections();
        }
        self.newest = generation;
        self.desired = Some(generation);
    }

    fn close(&mut self, why: CloseReason, now: Now, out: &mut Vec<Output>) {
        let why = match why {
            CloseReason::TokenDead => GapReason::TokenDead,
            CloseReason::Shutdown => GapReason::Shutdown,
        };
        let from = self.last_word().unwrap_or(now.wall);
        let open: Vec<SocketId> = self.links.keys().copied().collect();
        for socket in open {
            self.forgive_if_stable(socket, now);
            self.hang_up(socket, now, out);
        }
        for lane in &mut self.lanes {
            (lane.current, lane.next) = (None, None);
        }
        self.desired = None;
        self.begin_gap(why, from, now, out);
    }

    fn refused(&mut self, socket: SocketId, failure: Failure, now: Now, out: &mut Vec<Output>) {
        let Some(generation) = self.desired.filter(|_| self.is_connecting(socket)) else {
            return;
        };
        self.links.remove(&socket);
        self.vacate(socket);
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
                // Or it counts fewer slots than it declares, somebody else's perhaps: the next swap breaks first.
                if !self.links.is_empty() {
                    self.slots = self.slots.min(self.links.len()).max(1);
                }
                // Bounded, so that no server can send the feed to sleep for good.
                let asked = retry_after.unwrap_or_default().min(self.policy.refused_max);
                self.failed(&failure.message, asked, now, out);
            }
            Cause::NotSent | Cause::Unknown => self.failed(&failure.message, Duration::ZERO, now, out),
        }
        self.begin_gap(GapReason::Network, now.wall, now, out);
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

    /// Counts a network failure and waits, at least `at_least`. What fails while a failure is waited out is the same one.
    fn failed(&mut self, why: &str, at_least: Duration, now: Now, out: &mut Vec<Output>) {
        if self.failures > 0 && now.mono < self.earliest && at_least.is_zero() {
            return;
        }
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
        self.next_attempt().since(now.mono)
    }

    /// No attempt before this: every wait is over, and there were not more of late than there are connections.
    fn next_attempt(&self) -> Monotonic {
        let full = self.attempts.len() >= self.connections();
        let spaced = self.attempts.front().filter(|_| full).map(|first| *first + self.policy.spacing());
        spaced.map_or(self.earliest, |at| at.max(self.earliest))
    }

    fn forgive_if_stable(&mut self, socket: SocketId, now: Now) {
        let open = self.links.get(&socket).and_then(Link::open);
        if open.is_some_and(|open| now.mono.since(open.since) >= self.policy.stable_after) {
            self.failures = 0;
        }
    }

    // --- gaps --------------------------------------------------------------------------------------------------

    /// Opens a gap if the feed had delivered, does not any more, and none is open. Everything up to the last frame has
    /// arrived, since a socket keeps its order; nothing is known of what was sent after it.
    fn begin_gap(&mut self, why: GapReason, from: Timestamp, now: Now, out: &mut Vec<Output>) {
        let live = self.desired.is_some() && self.whole().is_some();
        if self.ever_live && !live {
            // Another socket may be mute already and nobody has noticed: nothing is known of it after its last word.
            let from = self.last_word().map_or(from, |word| word.min(from));
            self.gaps.begin(why, from, now, out);
        }
    }

    /// The earliest of the last signs of life of the sockets that deliver.
    fn last_word(&self) -> Option<Timestamp> {
        let delivering = self.links.values().filter(|link| link.delivers());
        delivering.filter_map(Link::open).map(|open| open.last_frame.wall).min()
    }

    fn end_gap_if_whole(&mut self, now: Now, out: &mut Vec<Output>) {
        let torn = || self.links.values().filter_map(Link::retiring).any(|retiring| retiring.torn.is_some());
        if self.gaps.open().is_some() && self.whole().is_some() && !torn() {
            self.gaps.end(now, out);
        }
    }

    /// The oldest token under which a lane delivers, if all do that have begun to.
    fn whole(&self) -> Option<Generation> {
        let begun = (0..).zip(&self.lanes).filter(|(_, lane)| !lane.fresh);
        let mut oldest: Option<Generation> = None;
        for (index, _) in begun {
            let delivers = |link: &&Link| link.lane == Some(index) && link.delivers();
            let generation = self.links.values().filter(delivers).map(|link| link.generation).max()?;
            oldest = Some(oldest.map_or(generation, |oldest| oldest.min(generation)));
        }
        oldest
    }

    // --- silence -----------------------------------------------------------------------------------------------

    /// Applies a change; if ticks are expected from now on and were not before, silence counts from now.
    fn refresh_quiet(&mut self, now: Now, change: impl FnOnce(&mut Self)) {
        let before = self.expecting();
        change(self);
        if !before && self.expecting() {
            for open in self.links.values_mut().filter_map(Link::open_mut) {
                open.quiet_since = now;
            }
        }
    }

    fn expecting(&self) -> bool {
        self.ticks_expected && !self.wanted.is_empty()
    }

    fn is_connecting(&self, socket: SocketId) -> bool {
        self.links.get(&socket).is_some_and(Link::is_connecting)
    }

    /// When the socket counts as dead if no frame comes; `None` while nothing is due on it.
    fn mute_at(&self, open: &Open) -> Option<Monotonic> {
        let since = self.life_expected.filter(|_| !self.limits.heartbeat.is_zero())?;
        Some(open.last_frame.mono.max(since) + self.policy.mute_after(self.limits.heartbeat))
    }

    /// When the absence of ticks means something; `None` while it means nothing. A socket that is to take another's place
    /// has no pace yet, and owes the state of its instruments at once.
    fn silent_at(&self, open: &Open, replaces: bool) -> Option<Monotonic> {
        let steady = replaces || open.pace.is_busy(self.policy.silence);
        (self.expecting() && !open.silent && steady).then(|| open.quiet_since.mono + self.policy.silence)
    }

    fn connections(&self) -> usize {
        usize::try_from(self.limits.connections).unwrap_or(usize::MAX).max(1)
    }
}
