//! What the machine keeps, and where orders go.
//!
//! What a step does to the memory is in the modules beside this one, one for each idea: `adopting` (candidates and the
//! token in use), `doubt` (probes of the token in use), `renewal`, `answers` (outages and
//! comparisons), `failback` (the way back to live trading, a core of its own) and `wake` (time).

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Block, Endpoint, Fingerprint, Venue};

use super::adopting::Held;
use super::answers::{Comparison, Outage};
use super::doubt::Doubt;
use super::failback::{self, Failback};
use super::proving::Proving;
use super::renewal::{Attempt, Commands, Grant};
use super::{Effect, Event, FallbackOrders, Generation, Notice, Policy, State, TradingMode, Why};

/// What a handler is called with: an event from outside, or the machine's own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal<'a> {
    /// First of all: what was counted for another date counts no more.
    Date,
    /// Somebody told the machine something.
    Told(&'a Event),
    /// After every event: what has the time brought?
    Wake,
    /// Raised: an automatic renewal is due and may start.
    BeginAttempt,
    /// Raised: nothing can win any more.
    HoldOver,
    /// Last of all: probes, comparisons, and where orders go now.
    Settle,
}

/// What a handler works with: the time, where effects go, and the signals it raises. Entry actions cannot make a
/// transition themselves; they raise a signal that does.
#[derive(Debug)]
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Effect>,
    pub(super) raised: Vec<Signal<'static>>,
}

impl Ctx<'_> {
    pub(super) fn notice(&mut self, notice: Notice) {
        self.out.push(Effect::Notice(notice));
    }
}

/// The machine's memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) policy: Policy,
    /// The same state that statig keeps, for handlers that several states share.
    pub(super) state: State,
    /// Why the transition that is being made is made.
    pub(super) why: Why,
    /// The account's own user: the policy's, or that of the first token accepted.
    pub(super) user_id: Option<String>,
    pub(super) started: bool,
    pub(super) mode: TradingMode,
    /// Number of the last token adopted.
    pub(super) generation: Generation,
    /// That token; dead when the state is not live and nobody is on the way back.
    pub(super) token: Option<Held>,
    /// Tokens that were in use before it, the newest last.
    pub(super) replaced: Vec<Fingerprint>,
    pub(super) proving: Proving,
    /// The one automatic renewal in flight, in whatever state.
    pub(super) attempt: Option<Attempt>,
    pub(super) attempts_made: u64,
    /// The last refresh token that bought nothing more.
    pub(super) spent_grant: Option<Fingerprint>,
    pub(super) commands: Commands,
    pub(super) failures: u32,
    pub(super) retry_at: Monotonic,
    /// The refresh token at hand, while it may still buy something.
    pub(super) grant: Option<Grant>,
    pub(super) doubt: Option<Doubt>,
    pub(super) misconfigured: Option<Misconfiguration>,
    pub(super) outage: Option<Outage>,
    pub(super) unanswered: u32,
    /// The feed has trouble: the broker is to be asked about the token in use.
    pub(super) look_at: Option<Monotonic>,
    pub(super) comparison: Option<Comparison>,
    pub(super) comparisons_made: u64,
    pub(super) failback: Failback,
    pub(super) hold_until: Option<Monotonic>,
    pub(super) reprobe_at: Option<Monotonic>,
    pub(super) ask_at: Option<Timestamp>,
    pub(super) due: Option<Why>,
    pub(super) schedule_done: Timestamp,
    pub(super) route: (Venue, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Misconfiguration {
    /// The broker said so.
    Said,
    /// It refused although the token is good. Forgotten with the token.
    Inferred,
}

impl Session {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            user_id: policy.user_id.clone(),
            state: State::Expired,
            why: Why::NoToken,
            started: false,
            mode: TradingMode::Active,
            generation: Generation::default(),
            token: None,
            replaced: Vec::new(),
            proving: Proving::default(),
            attempt: None,
            attempts_made: 0,
            spent_grant: None,
            commands: Commands::default(),
            failures: 0,
            retry_at: Monotonic::default(),
            grant: None,
            doubt: None,
            misconfigured: None,
            outage: None,
            unanswered: 0,
            look_at: None,
            comparison: None,
            comparisons_made: 0,
            failback: Failback::new(policy.resume, policy.hysteresis),
            hold_until: None,
            reprobe_at: None,
            ask_at: None,
            due: None,
            schedule_done: Timestamp::default(),
            route: (Venue::Blocked(Block::Starting), false),
            policy,
        }
    }

    // --- where orders go ---------------------------------------------------------------------------------------

    /// Where orders go, derived from everything else in this one place.
    pub(super) fn route(&self, now: Monotonic) -> (Venue, bool) {
        let in_fallback = match self.policy.fallback_orders {
            FallbackOrders::Paper => Venue::Paper,
            FallbackOrders::Reject => Venue::Blocked(Block::Halted),
        };
        if !self.started {
            return (Venue::Blocked(Block::Starting), false);
        }
        if self.mode == TradingMode::Halted {
            return (Venue::Blocked(Block::Halted), false);
        }
        let reduce_only = self.mode == TradingMode::ReduceOnly;
        if self.policy.paper_only {
            return (Venue::Paper, reduce_only);
        }
        match (self.state, self.block(now)) {
            (State::Expired, _) => (Venue::Blocked(Block::Holding), false),
            (State::Fallback, None) if self.failback.exits_may_go() => (Venue::Live, true),
            (State::Fallback, _) => (in_fallback, reduce_only),
            (_, Some(block)) => (Venue::Blocked(block), false),
            (_, None) => (Venue::Live, reduce_only),
        }
    }

    /// What stands between a living token and live orders.
    pub(super) fn block(&self, now: Monotonic) -> Option<Block> {
        if self.misconfigured.is_some() {
            return Some(Block::Misconfigured);
        }
        if let Some(doubt) = self.doubt {
            return Some(if now >= doubt.waited_out_at(&self.policy) { Block::Outage } else { Block::Holding });
        }
        if self.outage.is_some() {
            return Some(Block::Outage);
        }
        (self.comparison.is_some() && !self.failback.is_under_way()).then_some(Block::Reconciling)
    }

    /// Whether the token is alive: live trading goes on under it, or is being taken up again.
    pub(super) fn has_living_token(&self) -> bool {
        self.state.is_live() || self.failback.is_under_way()
    }

    // --- the way back to live trading --------------------------------------------------------------------------

    /// Tells the way back what happened, and does what it says.
    pub(super) fn tell_failback(&mut self, input: failback::Input, now: Monotonic) {
        let output = self.failback.on(input, now);
        self.perform_failback(output, now);
    }

    /// Time for the way back to look around. True once entries may go.
    pub(super) fn look_at_failback(&mut self, now: Monotonic) -> bool {
        let blocked = self.mode == TradingMode::Halted || self.block(now).is_some();
        let output = self.failback.on(failback::Input::Look { blocked }, now);
        self.perform_failback(output, now);
        output == Some(failback::Output::Complete)
    }

    fn perform_failback(&mut self, output: Option<failback::Output>, now: Monotonic) {
        match output {
            Some(failback::Output::Compare) => {
                self.comparison = None;
                self.want_comparison(now);
            }
            Some(failback::Output::Forget) => self.comparison = None,
            // The session's state says so.
            Some(failback::Output::Complete) | None => {}
        }
    }

    /// Says where orders go, if that has changed.
    pub(super) fn announce_route(&mut self, ctx: &mut Ctx<'_>) {
        let route = self.route(ctx.now.mono);
        if route != self.route {
            self.route = route;
            ctx.out.push(Effect::Route { venue: route.0, reduce_only: route.1 });
        }
    }

    // --- facts from outside ------------------------------------------------------------------------------------

    pub(super) fn misconfigured(&mut self, endpoint: Endpoint, ctx: &mut Ctx<'_>) {
        if self.misconfigured.replace(Misconfiguration::Said) != Some(Misconfiguration::Said) {
            ctx.notice(Notice::Misconfigured { endpoint });
        }
    }

    pub(super) fn feed(&mut self, generation: Generation, delivers: bool, now: Monotonic) {
        if generation == self.generation {
            self.look_at = self.look_at.filter(|_| !delivers);
            self.tell_failback(failback::Input::Feed(delivers), now);
        }
    }

    /// Halts, or lets exits through only. While trading was halted, others may have traded: before exits go again, the books
    /// are compared, as after [`resume`](Self::resume).
    pub(super) fn set_mode(&mut self, mode: TradingMode, now: Monotonic) {
        let was = std::mem::replace(&mut self.mode, mode);
        if was == TradingMode::Halted && mode != TradingMode::Halted && self.state.is_live() {
            self.want_comparison(now);
        }
    }

    /// What was misconfigured counts as mended until the broker says otherwise.
    pub(super) fn mended(&mut self, now: Monotonic) {
        if self.misconfigured.take().is_some() && self.state.is_live() {
            self.want_comparison(now);
        }
    }

    /// Orders again; what was misconfigured counts as mended until the broker says otherwise.
    pub(super) fn resume(&mut self, now: Monotonic) {
        let halted = std::mem::take(&mut self.mode) == TradingMode::Halted;
        let blocked = halted | self.misconfigured.take().is_some();
        if blocked && self.state.is_live() {
            self.want_comparison(now);
        }
    }

    pub(super) fn fell_back(&mut self, now: Now) {
        self.hold_until = None;
        self.reprobe_at = self.token.map(|_| now.mono + self.policy.reprobe);
        self.need_login(now.wall);
    }
}
