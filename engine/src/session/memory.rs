//! What the machine keeps, and the rules that need no state of their own: how a token is adopted, when one is due,
//! where orders go.

use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Block, Endpoint, Expiry, Fingerprint, Renewal, Sessions, Venue};

use super::proving::{IncumbentWish, Proving};
use super::{
    AttemptEnd, Candidate, Effect, Event, FallbackOrders, Generation, NotTaken, Notice, Policy, Resume, Source, State,
    Why,
};

/// Wall-clock deadlines are looked at again at least this often, since the wall clock may step.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Longest wait between two probes of a broker that is out.
const OUTAGE_PROBE_CAP: Duration = Duration::from_secs(30);

/// What a handler is called with: an event from outside, or the machine's own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal<'a> {
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
    user_id: Option<String>,
    pub(super) started: bool,
    market_open: bool,
    halted: bool,
    /// Number of the last token adopted.
    pub(super) generation: Generation,
    /// That token; dead when the state is not live and there is no failback.
    pub(super) token: Option<Held>,
    pub(super) proving: Proving,
    /// The one automatic renewal in flight, in whatever state.
    pub(super) attempt: Option<Attempt>,
    attempts_made: u64,
    failures: u32,
    retry_at: Monotonic,
    /// Whether the refresh token at hand may still buy something.
    grant: bool,
    doubt: Option<Doubt>,
    misconfigured: Option<Misconfiguration>,
    outage: Option<Outage>,
    unanswered: u32,
    comparison: Option<Comparison>,
    comparisons_made: u64,
    pub(super) failback: Option<Failback>,
    pub(super) hold_until: Option<Monotonic>,
    feed_since: Option<Monotonic>,
    reprobe_at: Option<Monotonic>,
    ask_at: Option<Timestamp>,
    due: Option<Why>,
    schedule_done: Timestamp,
    route: (Venue, bool),
    last: Option<Now>,
}

/// A token in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) fingerprint: Fingerprint,
    first_seen: Timestamp,
    pub(super) expires: Timestamp,
    /// It dies before the broker's rule says, or by a `Ttl`: renewing a margin before makes sense.
    renew_by_margin: bool,
    /// Adopted in the cut-off band: to be asked about again at this time.
    recheck_at: Option<Timestamp>,
}

/// From when to when a token lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    since: Timestamp,
    by_rule: Timestamp,
    expires: Timestamp,
    pub(super) is_over: bool,
}

/// An automatic renewal in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    number: u64,
    way: Renewal,
    deadline: Monotonic,
    /// The token it brought, still to be proven.
    brought: Option<Fingerprint>,
}

/// The living token may be dead: no order leaves until a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Doubt {
    since: Monotonic,
    cause: DoubtCause,
    /// A candidate's probe came back without success: the incumbent is next.
    incumbent_first: bool,
    not_before: Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum DoubtCause {
    /// A newer token exists, and a new login kills the old one.
    NewerToken,
    /// The broker refused in words that may mean a dead token.
    Refusal(Endpoint),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Misconfiguration {
    /// The broker said so.
    Said,
    /// It refused although the token is good. Forgotten with the token.
    Inferred,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Outage {
    probe_at: Monotonic,
    probes: u32,
}

/// A comparison of live orders and positions with the broker's, wanted or under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Comparison {
    /// `None` while it waits for `at`.
    in_flight: Option<u64>,
    /// When it starts, or when it is given up.
    at: Monotonic,
}

/// How far the way back to live trading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failback {
    /// Live orders and positions are being compared.
    Comparing,
    /// Exits and cancels of live exposure may go; entries wait for the feed, the hysteresis and the operator.
    ReduceOnly {
        /// Whether the operator said yes.
        confirmed: bool,
    },
}

impl Session {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            user_id: policy.user_id.clone(),
            policy,
            state: State::Expired,
            why: Why::NoToken,
            started: false,
            market_open: false,
            halted: false,
            generation: Generation::default(),
            token: None,
            proving: Proving::default(),
            attempt: None,
            attempts_made: 0,
            failures: 0,
            retry_at: Monotonic::default(),
            grant: false,
            doubt: None,
            misconfigured: None,
            outage: None,
            unanswered: 0,
            comparison: None,
            comparisons_made: 0,
            failback: None,
            hold_until: None,
            feed_since: None,
            reprobe_at: None,
            ask_at: None,
            due: None,
            schedule_done: Timestamp::default(),
            route: (Venue::Blocked(Block::Starting), false),
            last: None,
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
        if self.halted {
            return (Venue::Blocked(Block::Halted), false);
        }
        match (self.state, self.block(now)) {
            (State::Expired, _) => (Venue::Blocked(Block::Holding), false),
            (State::Fallback, None) if matches!(self.failback, Some(Failback::ReduceOnly { .. })) => {
                (Venue::Live, true)
            }
            (State::Fallback, _) => (in_fallback, false),
            (_, Some(block)) => (Venue::Blocked(block), false),
            (_, None) => (Venue::Live, false),
        }
    }

    /// What stands between a living token and live orders.
    fn block(&self, now: Monotonic) -> Option<Block> {
        if self.misconfigured.is_some() {
            return Some(Block::Misconfigured);
        }
        if let Some(doubt) = self.doubt {
            // Held orders wait a bounded time; after that the broker counts as out of reach.
            let over = now >= doubt.since + self.policy.hold.max(self.policy.probe_spacing * 2);
            return Some(if over { Block::Outage } else { Block::Holding });
        }
        if self.outage.is_some() {
            return Some(Block::Outage);
        }
        (self.comparison.is_some() && self.failback.is_none()).then_some(Block::Reconciling)
    }

    /// Says where orders go, if that has changed.
    pub(super) fn announce_route(&mut self, ctx: &mut Ctx<'_>) {
        let route = self.route(ctx.now.mono);
        if route != self.route {
            self.route = route;
            ctx.out.push(Effect::Route { venue: route.0, reduce_only: route.1 });
        }
    }

    // --- candidates and probes ---------------------------------------------------------------------------------

    /// Takes a token from anywhere as a candidate.
    pub(super) fn consider(&mut self, candidate: Candidate, ctx: &mut Ctx<'_>) {
        let fingerprint = candidate.fingerprint;
        let alive = self.state.is_live() || self.failback.is_some();
        if let Some(held) = self.token.as_mut().filter(|held| alive && held.fingerprint == fingerprint) {
            // The same token again: only its store's expiry may be news.
            if let Some(expires) = candidate.expires_at.filter(|expires| *expires != held.expires) {
                let by_rule = self.policy.dies_by_rule(held.first_seen);
                held.renew_by_margin |= expires < by_rule;
                held.expires = expires.min(by_rule);
            }
            return;
        }
        if candidate.source == Source::Operator {
            self.proving.pardon(fingerprint);
        }
        if self.proving.was_refused(fingerprint) {
            let (source, why) = (candidate.source, NotTaken::RefusedBefore);
            ctx.notice(Notice::NotTaken { fingerprint, source, why });
            return;
        }
        self.proving.add(candidate);
        if self.state.is_live() && self.policy.sessions == Sessions::Replace {
            self.doubt(DoubtCause::NewerToken, ctx.now.mono);
        }
    }

    fn doubt(&mut self, cause: DoubtCause, now: Monotonic) {
        self.doubt.get_or_insert(Doubt { since: now, cause, incumbent_first: false, not_before: now });
    }

    /// The broker refused in words that may mean a dead token.
    pub(super) fn suspect(&mut self, endpoint: Endpoint, now: Monotonic) {
        self.doubt(DoubtCause::Refusal(endpoint), now);
    }

    /// Whose token is it, if the account's user is known?
    pub(super) fn stranger(&self, user_id: &str) -> Option<String> {
        self.user_id.clone().filter(|own| own != user_id)
    }

    pub(super) fn not_taken(&mut self, candidate: Candidate, why: NotTaken, ctx: &mut Ctx<'_>) {
        let Candidate { fingerprint, source, .. } = candidate;
        // An expiry can be corrected where it is stored, and the token offered again; the others never become good.
        if why != NotTaken::Expired {
            self.proving.remember_refused(fingerprint);
        }
        self.candidate_failed(ctx.now.mono);
        ctx.notice(Notice::NotTaken { fingerprint, source, why });
        if self.attempt.is_some_and(|attempt| attempt.brought == Some(fingerprint)) {
            self.attempt_failed(AttemptEnd::Failed, ctx.now.mono);
        }
    }

    pub(super) fn undecided(&mut self, candidate: Candidate, ctx: &mut Ctx<'_>) {
        self.proving.retry(candidate, ctx.now.mono + self.policy.probe_retry);
        self.candidate_failed(ctx.now.mono);
        ctx.notice(Notice::Inconclusive { fingerprint: candidate.fingerprint });
    }

    fn candidate_failed(&mut self, now: Monotonic) {
        if let Some(doubt) = &mut self.doubt {
            doubt.incumbent_first = true;
            doubt.not_before = doubt.not_before.max(now);
        }
    }

    /// The incumbent is alive and ours.
    pub(super) fn incumbent_accepted(&mut self, ctx: &mut Ctx<'_>) {
        match self.doubt.take().map(|doubt| doubt.cause) {
            // The feed's own business: it is refused although the token is good, and retries slowly.
            Some(DoubtCause::Refusal(Endpoint::Feed) | DoubtCause::NewerToken) | None => {}
            Some(DoubtCause::Refusal(endpoint)) => {
                self.misconfigured = Some(Misconfiguration::Inferred);
                ctx.notice(Notice::Misconfigured { endpoint });
            }
        }
        self.answered(ctx);
        if let Some(held) = &mut self.token {
            held.recheck_at = next_recheck(&self.policy, ctx.now.wall);
        }
    }

    pub(super) fn incumbent_undecided(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        if let Some(doubt) = &mut self.doubt {
            doubt.not_before = now + self.policy.probe_retry;
            doubt.incumbent_first = false;
        }
        if let Some(outage) = &mut self.outage {
            outage.probes = outage.probes.saturating_add(1);
            let doubled = self.policy.probe_retry.saturating_mul(1_u32.checked_shl(outage.probes.min(10)).unwrap_or(1));
            outage.probe_at = now + doubled.min(OUTAGE_PROBE_CAP);
        }
        if let Some(held) = self.token.as_mut().filter(|held| held.recheck_at.is_some_and(|at| ctx.now.wall >= at)) {
            held.recheck_at = Some(ctx.now.wall + self.policy.probe_retry);
        }
        self.reprobe_at = self.reprobe_at.map(|_| now + self.policy.reprobe);
    }

    /// Whether, and from when, the broker should be asked about the token in use (or the last one that was).
    fn incumbent_wish(&self, now: Now) -> Option<IncumbentWish> {
        let fingerprint = self.token?.fingerprint;
        let wish = |not_before, first| Some(IncumbentWish { fingerprint, not_before, first });
        if !(self.state.is_live() || self.failback.is_some()) {
            // One whose time is over is not taken up again, whatever the broker still says of it (rule 1).
            return self.reprobe_at.filter(|_| !self.expired(now.wall)).and_then(|at| wish(at, false));
        }
        if let Some(doubt) = self.doubt {
            // A newer token is asked about before the one it may have killed.
            let waits = doubt.cause == DoubtCause::NewerToken && !doubt.incumbent_first && self.proving.hopeful();
            return if waits { None } else { wish(doubt.not_before, true) };
        }
        if let Some(outage) = self.outage {
            return wish(outage.probe_at, false);
        }
        let recheck = self.token?.recheck_at?;
        wish(now.mono_at(recheck), false)
    }

    /// Starts the next probe, if one is wanted.
    pub(super) fn probe_next(&mut self, ctx: &mut Ctx<'_>) {
        let wish = self.incumbent_wish(ctx.now);
        if let Some(probe) = self.proving.start(wish, &self.policy, ctx.now.mono) {
            ctx.out.push(probe);
        }
    }

    /// The last token, as a candidate again: it was taken for dead and is not.
    pub(super) fn revived(&self) -> Option<Candidate> {
        self.token.map(|held| Candidate {
            fingerprint: held.fingerprint,
            source: Source::Revived,
            issued_at: Some(held.first_seen),
            expires_at: Some(held.expires),
            renewable: self.grant,
        })
    }

    /// Whether something under way may still bring a token.
    pub(super) fn may_still_win(&self) -> bool {
        self.attempt.is_some() || self.proving.hopeful()
    }

    /// From when to when a token lives, as far as anybody knows: the earliest of the broker's rule and what came with
    /// the token.
    pub(super) fn life_of(&self, candidate: Candidate, now: Timestamp) -> Life {
        let since = candidate.issued_at.filter(|issued| *issued <= now).unwrap_or(now);
        let by_rule = self.policy.dies_by_rule(since);
        let expires = candidate.expires_at.map_or(by_rule, |at| at.min(by_rule));
        Life { since, by_rule, expires, is_over: now >= expires }
    }

    /// Uses a proven token from now on.
    pub(super) fn adopt(&mut self, candidate: Candidate, user_id: &str, ctx: &mut Ctx<'_>) {
        let wall = ctx.now.wall;
        let Life { since, by_rule, expires, .. } = self.life_of(candidate, wall);
        self.proving.adopted(candidate.fingerprint);
        let ttl = matches!(self.policy.expiry, Expiry::Ttl(_));
        let before = self.token.filter(|_| self.state.is_live());
        let useless = candidate.source == Source::Renewal && before.is_some_and(|held| expires <= held.expires);
        self.generation = Generation(self.generation.0.saturating_add(1));
        self.token = Some(Held {
            fingerprint: candidate.fingerprint,
            first_seen: since,
            expires,
            renew_by_margin: ttl || expires < by_rule,
            recheck_at: next_recheck(&self.policy, wall),
        });
        self.user_id.get_or_insert_with(|| user_id.to_owned());
        self.grant = candidate.renewable && !useless;
        if useless {
            ctx.notice(Notice::RenewalUseless);
        }
        if let Some(attempt) = self.attempt.take().filter(|attempt| attempt.brought != Some(candidate.fingerprint)) {
            ctx.out.push(Effect::Abandon { attempt: attempt.number });
        }
        self.failures = 0;
        self.retry_at = ctx.now.mono;
        self.doubt = None;
        if self.misconfigured == Some(Misconfiguration::Inferred) {
            self.misconfigured = None;
        }
        self.unanswered = 0;
        self.feed_since = None;
        self.reprobe_at = None;
        self.ask_at = None;
        self.due = None;
        let (generation, fingerprint) = (self.generation, candidate.fingerprint);
        ctx.out.push(Effect::Adopt { generation, fingerprint, expires });
        ctx.out.push(Effect::OpenFeed { generation });
        self.answered(ctx);
    }

    /// The token in use is dead.
    pub(super) fn bury(&mut self, ctx: &mut Ctx<'_>) {
        self.doubt = None;
        self.outage = None;
        self.comparison = None;
        self.failback = None;
        self.feed_since = None;
        self.unanswered = 0;
        self.due = None;
        if self.misconfigured == Some(Misconfiguration::Inferred) {
            self.misconfigured = None;
        }
        if self.generation > Generation::default() {
            ctx.out.push(Effect::Bury { generation: self.generation });
            ctx.out.push(Effect::CloseFeed);
        }
    }

    // --- renewal -----------------------------------------------------------------------------------------------

    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.token.is_some_and(|held| now >= held.expires)
    }

    /// Why the living token should be renewed now, if it should.
    pub(super) fn renewal_reason(&mut self, now: Timestamp) -> Option<Why> {
        if let Some(due) = self.due {
            return Some(due);
        }
        self.due = if self.margin_reached(now) {
            Some(Why::Due)
        } else {
            let scheduled = self.policy.schedule.as_ref().and_then(|schedule| schedule.last_due(now));
            let first_seen = self.token.map_or(now, |held| held.first_seen);
            scheduled.filter(|at| *at > self.schedule_done && *at > first_seen).map(|at| {
                self.schedule_done = at;
                Why::Scheduled
            })
        };
        self.due
    }

    pub(super) fn ask_for_renewal(&mut self) {
        self.due = Some(Why::OperatorAsked);
        self.retry_at = Monotonic::default();
    }

    fn margin_reached(&self, now: Timestamp) -> bool {
        self.token.is_some_and(|held| held.renew_by_margin && now >= held.expires - self.policy.margin)
    }

    /// The automatic way that may be tried, now or after a wait.
    fn usable_way(&self) -> Option<Renewal> {
        self.policy.automatic.iter().copied().find(|way| *way != Renewal::RefreshGrant || self.grant)
    }

    /// Whether an automatic attempt may start now.
    pub(super) fn may_attempt(&self, now: Monotonic) -> bool {
        self.attempt.is_none() && now >= self.retry_at && self.usable_way().is_some()
    }

    /// After a failed attempt: whether the session stays due (there is another try, or the token dies soon).
    pub(super) fn stays_due(&mut self, now: Timestamp) -> bool {
        let due = self.usable_way().is_some() || self.margin_reached(now);
        if !due {
            self.due = None;
        }
        due
    }

    /// Starts an automatic attempt; the way it takes.
    pub(super) fn begin_attempt(&mut self, ctx: &mut Ctx<'_>) -> Option<Renewal> {
        let way = self.usable_way().filter(|_| self.may_attempt(ctx.now.mono))?;
        self.attempts_made += 1;
        let (number, deadline) = (self.attempts_made, ctx.now.mono + self.policy.attempt_timeout);
        self.attempt = Some(Attempt { number, way, deadline, brought: None });
        ctx.out.push(Effect::Attempt { attempt: number, way });
        Some(way)
    }

    /// A renewal has ended. A token is a candidate even if nobody waits for that attempt any more.
    pub(super) fn attempt_ended(&mut self, number: u64, end: AttemptEnd, ctx: &mut Ctx<'_>) {
        let current = self.attempt.is_some_and(|attempt| attempt.number == number);
        match end {
            AttemptEnd::Token(candidate) => {
                if let Some(attempt) = self.attempt.as_mut().filter(|_| current) {
                    attempt.brought = Some(candidate.fingerprint);
                }
                self.consider(candidate, ctx);
                if current && !self.proving.knows(candidate.fingerprint) {
                    // A token that was refused before, or the very token in use: nothing new.
                    self.attempt_failed(AttemptEnd::Failed, ctx.now.mono);
                }
            }
            _ if current => self.attempt_failed(end, ctx.now.mono),
            _ => {}
        }
    }

    fn attempt_failed(&mut self, end: AttemptEnd, now: Monotonic) {
        if let Some(attempt) = self.attempt.take() {
            let spent = matches!(end, AttemptEnd::FailedForGood | AttemptEnd::Unknown);
            if spent && attempt.way == Renewal::RefreshGrant {
                self.grant = false;
            }
            self.retry_at = now + self.policy.retry_after(self.failures);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Gives up an attempt whose time is up. Its grant may be spent.
    pub(super) fn check_attempt(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(attempt) = self.attempt.filter(|attempt| ctx.now.mono >= attempt.deadline) {
            ctx.out.push(Effect::Abandon { attempt: attempt.number });
            ctx.notice(Notice::AttemptTimedOut);
            self.attempt_failed(AttemptEnd::Unknown, ctx.now.mono);
        }
    }

    /// A human is needed: says so now, or when the night is over.
    pub(super) fn need_login(&mut self, now: Timestamp) {
        let at = self.policy.may_ask_at(now);
        self.ask_at.get_or_insert(at);
    }

    pub(super) fn remind(&mut self, ctx: &mut Ctx<'_>) {
        if self.ask_at.is_some_and(|at| ctx.now.wall >= at) {
            self.ask_at = Some(self.policy.may_ask_at(ctx.now.wall + self.policy.remind));
            ctx.out.push(Effect::AskLogin);
        }
    }

    // --- the broker's answers ----------------------------------------------------------------------------------

    /// A good answer under the token in use: an outage is over once live orders and positions are compared.
    pub(super) fn answered(&mut self, ctx: &mut Ctx<'_>) {
        self.unanswered = 0;
        if self.outage.take().is_some() {
            ctx.notice(Notice::OutageOver);
            self.want_comparison(ctx.now.mono);
        }
    }

    pub(super) fn unanswered(&mut self, ctx: &mut Ctx<'_>) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= self.policy.outage_after && self.outage.is_none() {
            self.outage = Some(Outage { probe_at: ctx.now.mono + self.policy.probe_retry, probes: 0 });
            ctx.notice(Notice::Outage);
        }
    }

    pub(super) fn misconfigured(&mut self, endpoint: Endpoint, ctx: &mut Ctx<'_>) {
        if self.misconfigured.replace(Misconfiguration::Said) != Some(Misconfiguration::Said) {
            ctx.notice(Notice::Misconfigured { endpoint });
        }
    }

    // --- comparison and failback -------------------------------------------------------------------------------

    pub(super) fn want_comparison(&mut self, now: Monotonic) {
        self.comparison.get_or_insert(Comparison { in_flight: None, at: now });
    }

    /// Starts a comparison that is wanted, and gives up one that hangs.
    pub(super) fn compare(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        if !self.started {
            return;
        }
        let Some(comparison) = self.comparison.as_mut().filter(|comparison| now >= comparison.at) else { return };
        if comparison.in_flight.take().is_some() {
            comparison.at = now + self.policy.reconcile_retry;
            return;
        }
        self.comparisons_made += 1;
        *comparison = Comparison { in_flight: Some(self.comparisons_made), at: now + self.policy.probe_timeout };
        ctx.out.push(Effect::Reconcile { number: self.comparisons_made });
    }

    /// True if that comparison was the one waited for and complete.
    pub(super) fn compared(&mut self, number: u64, complete: bool, now: Monotonic) -> bool {
        let Some(comparison) = self.comparison.as_mut().filter(|waiting| waiting.in_flight == Some(number)) else {
            return false;
        };
        if complete {
            self.comparison = None;
        } else {
            *comparison = Comparison { in_flight: None, at: now + self.policy.reconcile_retry };
        }
        complete
    }

    pub(super) fn begin_failback(&mut self, now: Monotonic) {
        self.failback = Some(Failback::Comparing);
        self.comparison = None;
        self.want_comparison(now);
    }

    /// The last steps of the way back: the feed delivers (if ticks are to be expected), has done so for a while, and
    /// the operator agrees where asked.
    pub(super) fn failback_complete(&self, now: Monotonic) -> bool {
        let Some(Failback::ReduceOnly { confirmed }) = self.failback else { return false };
        let agreed = confirmed || self.policy.resume == Resume::Auto;
        agreed && self.block(now).is_none() && self.feed_settled_at().is_some_and(|at| now >= at)
    }

    /// When the feed has delivered long enough; at once where no ticks are to be expected.
    fn feed_settled_at(&self) -> Option<Monotonic> {
        if self.market_open {
            self.feed_since.map(|since| since + self.policy.hysteresis)
        } else {
            Some(Monotonic::default())
        }
    }

    pub(super) fn confirm(&mut self) {
        if let Some(Failback::ReduceOnly { confirmed }) = &mut self.failback {
            *confirmed = true;
        }
    }

    // --- facts from outside ------------------------------------------------------------------------------------

    pub(super) fn feed(&mut self, generation: Generation, delivers: bool, now: Monotonic) {
        if generation == self.generation {
            self.feed_since = delivers.then(|| self.feed_since.unwrap_or(now));
        }
    }

    pub(super) fn market(&mut self, open: bool) {
        self.market_open = open;
    }

    pub(super) fn halt(&mut self) {
        self.halted = true;
    }

    /// Orders again; what was misconfigured counts as mended until the broker says otherwise.
    pub(super) fn resume(&mut self, now: Monotonic) {
        let blocked = std::mem::take(&mut self.halted) | self.misconfigured.take().is_some();
        if blocked && self.state.is_live() {
            self.want_comparison(now);
        }
    }

    pub(super) fn fell_back(&mut self, now: Now) {
        self.hold_until = None;
        self.reprobe_at = self.token.map(|_| now.mono + self.policy.reprobe);
        self.need_login(now.wall);
    }

    pub(super) fn clock_stepped(&mut self, now: Now) -> Option<Notice> {
        let last = self.last.replace(now)?;
        let passed = i128::from(now.mono.as_nanos()) - i128::from(last.mono.as_nanos());
        let shown = i128::from(now.wall.as_nanos()) - i128::from(last.wall.as_nanos());
        let step = shown - passed;
        let seconds = i64::try_from(step / 1_000_000_000).unwrap_or(i64::MAX);
        (seconds.unsigned_abs() >= 2).then_some(Notice::ClockStepped { seconds })
    }

    /// When the machine must be woken at the latest.
    pub(super) fn next_wake(&self, now: Now) -> Monotonic {
        // What was due when the machine was last called has been done; what has come due since has not, even if
        // somebody else was faster than its wake-up.
        let now = self.last.unwrap_or(now);
        let wall_look = now.mono + LOOK_AGAIN;
        let token_dies = self.token.filter(|_| self.state.is_live()).map(|held| now.mono_at(held.expires));
        let margin = self
            .token
            .filter(|held| self.state == State::Valid && held.renew_by_margin)
            .map(|held| now.mono_at(held.expires - self.policy.margin));
        let retry = (self.usable_way().is_some() && self.attempt.is_none() && self.state != State::Valid)
            .then_some(self.retry_at);
        let doubt = self.doubt.map(|doubt| doubt.since + self.policy.hold.max(self.policy.probe_spacing * 2));
        [
            self.proving.next_wake(self.incumbent_wish(now), &self.policy),
            self.attempt.map(|attempt| attempt.deadline),
            self.hold_until,
            self.comparison.map(|comparison| comparison.at),
            self.failback.and_then(|_| self.feed_settled_at()),
            self.ask_at.map(|at| now.mono_at(at)),
            self.policy.schedule.as_ref().and_then(|schedule| schedule.next_due(now.wall)).map(|at| now.mono_at(at)),
            doubt,
            token_dies,
            margin,
            retry,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now.mono)
        .fold(wall_look, Ord::min)
    }
}

/// A token adopted inside the cut-off band is asked about again when the band is over, and once more at 09:00.
fn next_recheck(policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let Expiry::Cutoff { suspect_from, dead_by, .. } = policy.expiry else { return None };
    let nine = chrono::NaiveTime::from_hms_opt(9, 0, 0)?;
    let (date, time) = (now.ist_date(), now.ist_time());
    if (suspect_from..dead_by).contains(&time) {
        Some(Timestamp::from_ist_parts(date, dead_by))
    } else if (dead_by..nine).contains(&time) {
        Some(Timestamp::from_ist_parts(date, nine))
    } else {
        None
    }
}
