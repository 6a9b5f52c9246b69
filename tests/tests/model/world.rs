//! The composition: the real session machine, and around it a small broker, store, human, router and gate that tell the
//! truth, unless a disturbance is spent on something else.

use std::hash::{Hash, Hasher};

use nirantar::session::{Effect, Event, Generation, Machine, State};
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Block, Fingerprint, Sessions, Venue};

use super::faulty::Planted;
use super::judge::Judge;
use super::scopes::{Scope, Trouble, UNIT};

/// One of the few tokens there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u8);

impl Token {
    /// That of another account; it always lives.
    pub const STRANGERS: Self = Self(3);
    /// No scope makes more for the account.
    const MOST: u8 = 3;

    pub const fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.0 as u32)
    }

    /// The refresh token that comes with it.
    pub const fn refresh(self) -> Fingerprint {
        Fingerprint(16 + self.0 as u32)
    }

    pub fn of(fingerprint: Fingerprint) -> Self {
        Self(u8::try_from(fingerprint.0).unwrap_or(u8::MAX))
    }
}

/// One thing that happens. What is not named trouble costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A unit of time passes, or what is left until the machine asks to be woken.
    Tick,
    /// The journal has been replayed.
    Started,
    /// The watcher sees what is in the store.
    Noticed,
    /// The broker answers the probe truthfully.
    Probed,
    /// The broker's truthful answer to a probe that hung.
    ProbedLate,
    /// The renewal brings a new token.
    Renewed,
    /// The renewal brings nothing, since no more tokens are made.
    NotRenewed,
    /// A renewal that hung brings a new token after all.
    RenewedLate,
    /// The comparison is complete.
    Compared,
    /// A comparison that hung is complete after all.
    ComparedLate,
    /// The feed delivers.
    FeedDelivers,
    /// The human who was asked logs in.
    LoggedIn,
    /// The operator confirms, where the way back waits for it.
    Confirmed,
    /// The operator resumes what was halted or blocked.
    Resumed,
    /// The broker refuses a request under the token that it has killed.
    Refused,
    /// The broker answers a request while it counts as out of reach.
    Answered,
    /// A strategy's order is routed to live.
    Routed,
    /// The order reaches the gate.
    AtGate,
    /// Something goes wrong.
    Trouble(Trouble),
}

/// What somebody waits for an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pending<T> {
    pub number: u64,
    pub about: T,
    /// A unit of time has passed: the answer comes before the next one does, unless it hangs.
    waited: bool,
}

impl<T> Pending<T> {
    pub const fn new(number: u64, about: T) -> Self {
        Self { number, about, waited: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    Closed,
    Opening,
    Delivers,
}

/// What readers of the token cell see, in one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    pub generation: Generation,
    pub state: State,
    pub route: (Venue, bool),
}

/// The machine and everything around it.
#[derive(Clone)]
pub struct World {
    pub machine: Machine,
    pub now: Now,
    pub disturbances: u8,
    pub started: bool,
    /// At the broker: how many tokens may be made for the account, which of the account's tokens have been made, and which of those live.
    pub tokens: u8,
    pub made: u8,
    pub alive: [bool; Token::MOST as usize],
    /// On their way: the answers that somebody waits for, and those that hang.
    pub probe: Option<Pending<Token>>,
    pub late_probe: Option<Pending<Token>>,
    pub attempt: Option<Pending<()>>,
    pub late_attempt: Option<Pending<()>>,
    pub comparison: Option<Pending<()>>,
    pub late_comparison: Option<Pending<()>>,
    pub feed: Feed,
    pub market_open: bool,
    /// What was written into the store and not noticed yet.
    pub store: Option<(Token, bool)>,
    /// A human was asked to log in.
    pub asked: bool,
    /// The token in use, and until when.
    pub in_use: Option<(Token, Timestamp)>,
    pub published: Standing,
    /// What a careless publisher lets readers see in between.
    pub torn: Option<Standing>,
    /// By what an order was routed that stands before the gate.
    pub order: Option<Standing>,
    pub judge: Judge,
}

impl World {
    /// Before anything has happened, but that the calendar says that the market is open.
    pub fn new(scope: &Scope) -> Self {
        let nothing = (Venue::Blocked(Block::Starting), false);
        let start = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        let now = Now { wall: start, ..Now::default() };
        let mut machine = Machine::new(scope.policy.clone());
        machine.on(&Event::Market { open: true }, now, &mut Vec::new());
        Self {
            machine,
            now,
            disturbances: scope.disturbances,
            started: false,
            tokens: scope.tokens.min(Token::MOST),
            made: 1,
            alive: [true, false, false],
            probe: None,
            late_probe: None,
            attempt: None,
            late_attempt: None,
            comparison: None,
            late_comparison: None,
            feed: Feed::Closed,
            market_open: true,
            store: Some((Token(0), false)),
            asked: false,
            in_use: None,
            published: Standing { generation: Generation(0), state: State::Expired, route: nothing },
            torn: None,
            order: None,
            judge: Judge::default(),
        }
    }

    /// Whether the broker accepts that token.
    pub fn lives(&self, token: Token) -> bool {
        token == Token::STRANGERS || self.alive.get(usize::from(token.0)).is_some_and(|alive| *alive)
    }

    /// Whether another token can be made for the account.
    pub const fn can_make(&self) -> bool {
        self.made < self.tokens
    }

    /// The broker makes a token for the account, which may kill the others.
    pub fn make(&mut self, sessions: Sessions) -> Token {
        if sessions == Sessions::Replace {
            self.alive = [false; Token::MOST as usize];
        }
        let token = Token(self.made);
        self.alive[usize::from(self.made)] = true;
        self.made += 1;
        token
    }

    pub fn kill(&mut self, token: Token) {
        if let Some(alive) = self.alive.get_mut(usize::from(token.0)) {
            *alive = false;
        }
    }

    /// Time passes for everybody who waits.
    pub fn pass(&mut self, span: std::time::Duration) {
        self.now = self.now + span;
        for waited in [
            self.probe.as_mut().map(|pending| &mut pending.waited),
            self.attempt.as_mut().map(|pending| &mut pending.waited),
            self.comparison.as_mut().map(|pending| &mut pending.waited),
        ]
        .into_iter()
        .flatten()
        {
            *waited = true;
        }
        if span > UNIT {
            // Longer than anybody waits: what was on its way comes late.
            self.late_probe = self.probe.take().or(self.late_probe);
            self.late_attempt = self.attempt.take().or(self.late_attempt);
            self.late_comparison = self.comparison.take().or(self.late_comparison);
        }
        // The broker knows when a token's time is over as well.
        if let Some((token, expires)) = self.in_use
            && self.now.wall >= expires
        {
            self.kill(token);
        }
    }

    /// Whether nobody has to be answered before time passes.
    pub fn may_pass(&self) -> bool {
        !(self.probe.is_some_and(|pending| pending.waited)
            || self.attempt.is_some_and(|pending| pending.waited)
            || self.comparison.is_some_and(|pending| pending.waited))
    }

    /// Tells the machine, and does what it says.
    ///
    /// # Errors
    /// The judge's.
    pub fn tell(&mut self, event: &Event, planted: Option<Planted>, words: Option<&mut String>) -> Result<(), String> {
        let before = self.published;
        self.hear(event);
        let mut effects = Vec::new();
        self.machine.on(event, self.now, &mut effects);
        if let Some(words) = words {
            words.push_str(&format!(" [{}]", self.now.wall));
            effects.iter().for_each(|effect| words.push_str(&format!("\n      {effect}")));
        }
        self.torn = None;
        for effect in &effects {
            self.perform(effect, planted)?;
        }
        let kept = self.judge_all(before, event, &effects);
        self.in_use = self.in_use.filter(|_| self.published.generation > Generation(0));
        kept
    }

    /// The store's word on the end of the token in use is everybody's: the earliest one holds.
    fn hear(&mut self, event: &Event) {
        if let (Some((token, expires)), Event::Candidate(candidate)) = (&mut self.in_use, event)
            && token.fingerprint() == candidate.fingerprint
        {
            *expires = candidate.expires_at.map_or(*expires, |at| at.min(*expires));
        }
    }

    fn judge_all(&mut self, before: Standing, event: &Event, effects: &[Effect]) -> Result<(), String> {
        let mut judge = self.judge;
        let kept = judge.see(self, before, event, effects);
        self.judge = judge;
        kept
    }

    fn perform(&mut self, effect: &Effect, planted: Option<Planted>) -> Result<(), String> {
        match effect {
            Effect::Probe { probe, fingerprint } => {
                if self.probe.is_some() {
                    return Err("two probes are in flight together".to_owned());
                }
                self.probe = Some(Pending::new(*probe, Token::of(*fingerprint)));
            }
            Effect::Attempt { attempt, .. } => {
                if self.attempt.is_some() || self.late_attempt.is_some_and(|late| self.judge.runs(late.number)) {
                    return Err("rule 2: two renewals are in flight together".to_owned());
                }
                self.attempt = Some(Pending::new(*attempt, ()));
                self.judge.running = Some(*attempt);
            }
            Effect::Abandon { attempt } if planted != Some(Planted::AttemptGoesOn) => {
                // An answer of its may be on its way already.
                if self.attempt.is_some_and(|pending| pending.number == *attempt) {
                    self.late_attempt = self.attempt.take();
                }
                self.judge.running = None;
            }
            Effect::Abandon { .. } => {
                self.late_attempt = self.attempt.take().or(self.late_attempt);
            }
            Effect::AskLogin => self.asked = true,
            Effect::Adopt { generation, fingerprint, expires } => {
                self.published.generation = *generation;
                self.in_use = Some((Token::of(*fingerprint), *expires));
                self.asked = false;
                if planted == Some(Planted::TornPublication) {
                    self.torn = Some(self.published);
                }
            }
            Effect::Route { venue, reduce_only } => self.published.route = (*venue, *reduce_only),
            Effect::Transition(step) => self.published.state = step.to,
            Effect::Reconcile { number } => {
                self.late_comparison = self.comparison.take().or(self.late_comparison);
                self.comparison = Some(Pending::new(*number, ()));
            }
            Effect::OpenFeed { .. } => self.feed = Feed::Opening,
            Effect::CloseFeed => self.feed = Feed::Closed,
            Effect::Bury { .. } | Effect::RefreshTokenDies { .. } | Effect::Notice(_) => {}
        }
        Ok(())
    }

    /// What the state is told apart by: what the machine will do, and what is on its way to it; not what has been.
    pub fn hash_future(&self, state: &mut impl Hasher) {
        self.machine.hash_future(self.now, state);
        (self.disturbances, self.started, self.made, self.alive).hash(state);
        self.probe.map(|pending| (pending.about, pending.waited)).hash(state);
        self.attempt.map(|pending| pending.waited).hash(state);
        self.comparison.map(|pending| pending.waited).hash(state);
        // A late answer is for somebody who may still wait, or for nobody; the machine knows which.
        self.late_probe.map(|late| (late.about, Some(late.number) == self.judge.last_probe)).hash(state);
        self.late_attempt
            .map(|late| (Some(late.number) == self.judge.running, Some(late.number) == self.judge.last_attempt))
            .hash(state);
        self.late_comparison.map(|late| Some(late.number) == self.judge.last_comparison).hash(state);
        (self.feed, self.market_open, self.store, self.asked).hash(state);
        self.in_use.map(|(token, expires)| (token, expires.since(self.now.wall))).hash(state);
        (self.published.state, self.published.route).hash(state);
        let order =
            |standing: Standing| (standing.generation == self.published.generation, standing.state, standing.route);
        (self.torn.map(order), self.order.map(order)).hash(state);
        self.judge.hash_future(self, state);
    }
}
