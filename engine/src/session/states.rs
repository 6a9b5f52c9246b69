//! The five states as statig sees them: which event leads where.
//!
//! ```text
//!            root
//!       ┌─────┴──────┐
//!      live       degraded
//!   valid          expired
//!   expiring       fallback
//!   refreshing
//! ```
//!
//! A handler decides where to go; what a step does to the memory is in [`super::memory`] and the modules it names.

use nirantar_brokers::Refusal;
use statig::prelude::*;

use super::failback;
use super::memory::{Ctx, Session, Signal};
use super::proving::Subject;
use super::{
    Candidate, Effect, Event, NotTaken, Notice, Operator, State, TradingMode, Transition as Step, Verdict, Why,
};
use crate::planted::{Bug, planted};

/// What a probe's answer came to.
enum Judged {
    Adopted(Candidate),
    Dead,
    Nothing,
}

#[state_machine(
    initial = "Node::dead()",
    state(name = "Node", derive(Clone, Debug, PartialEq, Eq, Hash)),
    superstate(name = "Group", derive(Debug)),
    after_transition = "Self::after_transition"
)]
impl Session {
    #[state(superstate = "live", entry_action = "enter_valid")]
    fn valid(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Wake if !self.expired(context.now.wall) => match self.renewal_reason(context.now.wall) {
                Some(why) => self.go(why, Node::expiring()),
                None => Super,
            },
            Signal::Told(Event::Operator(Operator::Renew)) => {
                self.ask_for_renewal(context.now.wall);
                self.go(Why::OperatorAsked, Node::expiring())
            }
            _ => Super,
        }
    }

    #[state(superstate = "live", entry_action = "enter_expiring")]
    fn expiring(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Wake if !self.expired(context.now.wall) => {
                self.remind(context);
                if self.may_attempt(context.now) { self.begin(context) } else { Handled }
            }
            Signal::BeginAttempt => self.begin(context),
            Signal::Told(Event::Operator(Operator::Renew)) => {
                self.ask_for_renewal(context.now.wall);
                Handled
            }
            _ => Super,
        }
    }

    #[state(superstate = "live")]
    fn refreshing(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Told(Event::Attempted { attempt, end }) => {
                self.attempt_ended(*attempt, *end, context);
                self.after_failed_attempt(context)
            }
            Signal::Wake if !self.expired(context.now.wall) => {
                self.check_attempt(context);
                match self.attempt {
                    Some(_) => Super,
                    None => self.after_failed_attempt(context),
                }
            }
            Signal::Told(Event::Operator(Operator::Renew)) => Handled,
            _ => Super,
        }
    }

    /// The token is alive and trusted.
    #[superstate(superstate = "root")]
    fn live(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Told(Event::Refused { generation, refusal, endpoint }) if *generation == self.generation => {
                match refusal {
                    Refusal::Conclusive => self.go(Why::RefusedBy(*endpoint), Node::dead()),
                    Refusal::Suspect => {
                        self.suspect(*endpoint, context);
                        Handled
                    }
                }
            }
            Signal::Told(Event::Misconfigured { generation, endpoint }) if *generation == self.generation => {
                if self.policy.in_cutoff_band(context.now.wall) {
                    // The daily flush begins with permission errors.
                    self.suspect(*endpoint, context);
                } else {
                    self.misconfigured(*endpoint, context);
                }
                Handled
            }
            Signal::Told(Event::Unanswered { generation }) if *generation == self.generation => {
                self.unanswered(context);
                Handled
            }
            Signal::Told(Event::Answered { generation }) if *generation == self.generation => {
                self.answered(context);
                Handled
            }
            Signal::Told(Event::Probed { probe, verdict }) => match self.judge(*probe, verdict, context) {
                Judged::Adopted(_) if self.state == State::Valid => Handled,
                Judged::Adopted(candidate) => self.go(proven(candidate), Node::valid()),
                Judged::Dead => self.go(Why::ProbeRefused, Node::dead()),
                Judged::Nothing if self.state == State::Refreshing => self.after_failed_attempt(context),
                Judged::Nothing => Handled,
            },
            Signal::Wake if self.expired(context.now.wall) => self.go(Why::ExpiryPassed, Node::dead()),
            _ => Super,
        }
    }

    #[state(superstate = "degraded", entry_action = "enter_expired")]
    fn dead(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::HoldOver => self.go(Why::NoToken, Node::fallback()),
            Signal::Told(Event::Probed { probe, verdict }) => match self.judge(*probe, verdict, context) {
                Judged::Adopted(candidate) => {
                    // Nothing went to paper in between, so live goes on once orders and positions are compared.
                    self.want_comparison(context.now.mono);
                    self.go(proven(candidate), Node::valid())
                }
                Judged::Dead | Judged::Nothing => Handled,
            },
            Signal::Wake => {
                self.check_attempt(context);
                let over = self.hold_until.is_none_or(|until| context.now.mono >= until);
                if self.started && (over || !self.may_still_win()) {
                    return self.go(Why::NoToken, Node::fallback());
                }
                Super
            }
            _ => Super,
        }
    }

    #[state(superstate = "degraded", entry_action = "enter_fallback")]
    fn fallback(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Told(Event::Probed { probe, verdict }) => {
                match self.judge(*probe, verdict, context) {
                    Judged::Adopted(_) => {
                        self.tell_failback(failback::Input::Accepted, context.now.mono);
                        if planted(Bug::NoComparison) {
                            self.tell_failback(failback::Input::Compared, context.now.mono);
                        }
                    }
                    Judged::Dead => self.abandon_failback(context),
                    Judged::Nothing => {}
                }
                Handled
            }
            Signal::Told(Event::Refused { generation, refusal, endpoint }) if self.on_the_way_back(*generation) => {
                match refusal {
                    Refusal::Conclusive => self.abandon_failback(context),
                    Refusal::Suspect => self.suspect(*endpoint, context),
                }
                Handled
            }
            Signal::Told(Event::Misconfigured { generation, endpoint }) if self.on_the_way_back(*generation) => {
                self.misconfigured(*endpoint, context);
                Handled
            }
            Signal::Told(Event::Unanswered { generation }) if self.on_the_way_back(*generation) => {
                self.unanswered(context);
                Handled
            }
            Signal::Told(Event::Answered { generation }) if self.on_the_way_back(*generation) => {
                self.answered(context);
                Handled
            }
            Signal::Told(Event::Operator(Operator::Confirm)) => {
                self.tell_failback(failback::Input::Confirmed, context.now.mono);
                Handled
            }
            Signal::Wake => {
                self.check_attempt(context);
                if self.failback.is_under_way() && self.expired(context.now.wall) {
                    self.abandon_failback(context);
                } else if self.look_at_failback(context.now.mono) {
                    return self.go(Why::FailbackComplete, Node::valid());
                }
                if !self.failback.is_under_way() {
                    self.begin_attempt(context);
                    self.remind_unless_renewing(context);
                }
                Super
            }
            _ => Super,
        }
    }

    /// The token is dead, or live trading has not been taken up again.
    #[superstate(superstate = "root")]
    fn degraded(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Told(Event::Operator(Operator::Renew)) => {
                self.ask_for_renewal(context.now.wall);
                Handled
            }
            _ => Super,
        }
    }

    /// What is the same in every state.
    #[superstate]
    fn root(&mut self, context: &mut Ctx<'_>, event: &Signal<'_>) -> Outcome<Node> {
        match event {
            Signal::Told(Event::Started) => {
                self.started = true;
                self.hold_until = Some(context.now.mono + self.policy.hold.max(self.policy.probe_timeout));
            }
            Signal::Told(Event::Candidate(candidate)) => self.consider(*candidate, context),
            Signal::Told(Event::Attempted { attempt, end }) => self.attempt_ended(*attempt, *end, context),
            Signal::Told(Event::Reconciled { number, complete }) => {
                let done = self.compared(*number, *complete, context.now.mono);
                if done {
                    self.tell_failback(failback::Input::Compared, context.now.mono);
                }
            }
            Signal::Told(Event::Feed { generation, delivers }) => self.feed(*generation, *delivers, context.now.mono),
            Signal::Told(Event::FeedFailed { generation }) => self.feed_failed(*generation, context.now.mono),
            Signal::Told(Event::Market { open }) => {
                self.tell_failback(failback::Input::Market(*open), context.now.mono);
            }
            Signal::Told(Event::Days(days)) => self.policy.days = days.clone(),
            Signal::Told(Event::Operator(Operator::Halt)) => self.set_mode(TradingMode::Halted, context.now.mono),
            Signal::Told(Event::Operator(Operator::ReduceOnly)) => {
                self.set_mode(TradingMode::ReduceOnly, context.now.mono);
            }
            Signal::Told(Event::Operator(Operator::Mended)) => self.mended(context.now.mono),
            Signal::Told(Event::Operator(Operator::Resume)) => self.resume(context.now.mono),
            Signal::Told(Event::Refused { generation, .. }) if *generation < self.generation => {
                context.notice(Notice::OldGeneration { generation: *generation });
            }
            Signal::Date => self.forget_commands(context.now.wall),
            Signal::Settle => {
                self.check_attempt(context);
                self.look_at_grant(context);
                self.compare(context);
                self.probe_next(context);
                self.announce_route(context);
            }
            _ => {}
        }
        Handled
    }

    #[action]
    fn enter_valid(&mut self) {
        self.hold_until = None;
    }

    #[action]
    fn enter_expiring(&mut self, context: &mut Ctx<'_>) {
        if self.may_attempt(context.now) {
            context.raised.push(Signal::BeginAttempt);
        } else if !self.may_still_renew() {
            self.need_login(context.now.wall);
        }
    }

    #[action]
    fn enter_expired(&mut self, context: &mut Ctx<'_>) {
        self.bury(context);
        if !self.started {
            return; // stored tokens may be on their way as candidates
        }
        // A night's death is expected and nobody waits for it.
        let quiet = self.policy.is_quiet(context.now.wall);
        if !quiet {
            self.begin_attempt(context);
        }
        if self.may_still_win() && !quiet {
            self.hold_until = Some(context.now.mono + self.policy.hold);
        } else {
            context.raised.push(Signal::HoldOver);
        }
    }

    #[action]
    fn enter_fallback(&mut self, context: &mut Ctx<'_>) {
        self.fell_back(context.now);
    }
}

fn proven(candidate: Candidate) -> Why {
    Why::TokenProven { fingerprint: candidate.fingerprint, source: candidate.source }
}

impl Session {
    fn go(&mut self, why: Why, to: Node) -> Outcome<Node> {
        self.why = why;
        Transition(to)
    }

    fn after_transition(&mut self, _source: &Node, target: &Node, context: &mut Ctx<'_>) {
        let from = self.state;
        self.state = target.name();
        let (at, to, why) = (context.now.wall, self.state, self.why);
        context.out.push(Effect::Transition(Step { at, from, to, why }));
    }

    fn begin(&mut self, context: &mut Ctx<'_>) -> Outcome<Node> {
        match self.begin_attempt(context) {
            Some(way) => self.go(Why::RenewalStarted(way), Node::refreshing()),
            None => Handled,
        }
    }

    /// Out of Refreshing, once no attempt is in flight any more.
    fn after_failed_attempt(&mut self, context: &Ctx<'_>) -> Outcome<Node> {
        if self.attempt.is_some() {
            return Handled;
        }
        let next = if self.stays_due(context.now.wall) { Node::expiring() } else { Node::valid() };
        self.go(Why::RenewalFailed, next)
    }

    fn on_the_way_back(&self, generation: super::Generation) -> bool {
        self.failback.is_under_way() && generation == self.generation
    }

    /// The new token died before live trading was taken up again.
    fn abandon_failback(&mut self, context: &mut Ctx<'_>) {
        if self.failback.is_under_way() {
            self.bury(context);
            self.fell_back(context.now);
        }
    }

    /// Takes a probe's answer.
    fn judge(&mut self, probe: u64, verdict: &Verdict, context: &mut Ctx<'_>) -> Judged {
        let Some(subject) = self.proving.take(probe) else { return Judged::Nothing };
        let alive = self.has_living_token();
        match (subject, verdict) {
            (Subject::Candidate(candidate), Verdict::Accepted { user_id }) => match self.stranger(user_id) {
                Some(expected) => {
                    let why = NotTaken::Stranger { user_id: user_id.clone(), expected };
                    self.not_taken(candidate, why, context);
                    Judged::Nothing
                }
                // A stale expiry beside it in the store: it would replace a living token only to die at once.
                None if self.life_of(candidate, context.now.wall).is_over => {
                    self.not_taken(candidate, NotTaken::Expired, context);
                    Judged::Nothing
                }
                None => {
                    self.adopt(candidate, user_id, context);
                    Judged::Adopted(candidate)
                }
            },
            (Subject::Candidate(candidate), Verdict::Refused) => {
                self.not_taken(candidate, NotTaken::Refused, context);
                Judged::Nothing
            }
            (Subject::Candidate(candidate), Verdict::Inconclusive) if planted(Bug::UnprovenToken) => {
                let user_id = self.user_id.clone().unwrap_or_default();
                self.adopt(candidate, &user_id, context);
                Judged::Adopted(candidate)
            }
            (Subject::Candidate(candidate), Verdict::Inconclusive) => {
                self.undecided(candidate, context);
                Judged::Nothing
            }
            (Subject::Incumbent(_), Verdict::Accepted { user_id }) if self.stranger(user_id).is_none() => {
                if alive {
                    self.incumbent_accepted(context);
                    return Judged::Nothing;
                }
                // A false death: the last token is taken up again like any proven candidate, unless its time is over.
                match self.revived() {
                    Some(candidate) if self.life_of(candidate, context.now.wall).is_over => {
                        self.incumbent_undecided(context);
                        Judged::Nothing
                    }
                    Some(candidate) => {
                        self.adopt(candidate, user_id, context);
                        Judged::Adopted(candidate)
                    }
                    None => Judged::Nothing,
                }
            }
            (Subject::Incumbent(_), Verdict::Inconclusive) => {
                self.incumbent_undecided(context);
                Judged::Nothing
            }
            (Subject::Incumbent(_), _) if alive => Judged::Dead,
            (Subject::Incumbent(_), _) => {
                self.incumbent_undecided(context); // still dead: asked again after the same wait
                Judged::Nothing
            }
        }
    }
}

impl Node {
    pub(super) fn name(&self) -> State {
        match self {
            Self::Valid {} => State::Valid,
            Self::Expiring {} => State::Expiring,
            Self::Refreshing {} => State::Refreshing,
            Self::Dead {} => State::Expired,
            Self::Fallback {} => State::Fallback,
        }
    }
}
