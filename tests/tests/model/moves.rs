//! Which things may happen in a state, and how each is told to the machine.

use nirantar::session::{AttemptEnd, Candidate, Event, Generation, Operator, Resume, Source, State, Verdict};
use nirantar_brokers::{Block, Endpoint, Refusal, Renewal, Venue};

use super::faulty::Planted;
use super::recovery::Recovery;
use super::scopes::{OWN, STRANGER, Scope, Trouble, UNIT};
use super::search::{Model, Wide};
use super::world::{Action, Feed, Pending, Token, World};

/// A scope that is being explored.
pub struct Composition {
    pub scope: Scope,
    pub planted: Option<Planted>,
    pub recovery: Recovery,
}

impl Composition {
    pub fn new(scope: Scope, planted: Option<Planted>) -> Self {
        let no_comparison = planted == Some(Planted::NoComparison);
        Self { scope, planted, recovery: Recovery::new(no_comparison) }
    }

    fn candidate(&self, token: Token, source: Source) -> Candidate {
        Candidate {
            fingerprint: token.fingerprint(),
            source,
            issued_at: None,
            expires_at: None,
            refresh: self.scope.policy.automatic.contains(&Renewal::RefreshGrant).then(|| token.refresh()),
            refresh_dies: None,
        }
    }

    /// What the broker says of that token, truthfully.
    fn verdict(&self, world: &World, token: Token) -> Verdict {
        match token {
            Token::STRANGERS => Verdict::Accepted { user_id: STRANGER.to_owned() },
            token if world.lives(token) => Verdict::Accepted { user_id: OWN.to_owned() },
            _ => Verdict::Refused,
        }
    }

    fn probed(&self, world: &World, pending: Option<Pending<Token>>) -> Event {
        let Pending { number: probe, about, .. } = pending.unwrap_or(Pending::new(0, Token(0)));
        Event::Probed { probe, verdict: self.verdict(world, about) }
    }

    fn renewed(&self, world: &mut World, pending: Option<Pending<()>>) -> Event {
        let token = world.make(self.scope.policy.sessions);
        self.attempted(pending, AttemptEnd::Token(self.candidate(token, Source::Renewal)))
    }

    fn attempted(&self, pending: Option<Pending<()>>, end: AttemptEnd) -> Event {
        Event::Attempted { attempt: pending.map_or(0, |pending| pending.number), end }
    }

    fn compared(&self, pending: Option<Pending<()>>, complete: bool) -> Event {
        Event::Reconciled { number: pending.map_or(0, |pending| pending.number), complete }
    }

    /// Whether this can go wrong here, and makes a difference.
    fn may_happen(&self, world: &World, trouble: Trouble) -> bool {
        let in_use = world.in_use.map(|(token, _)| token);
        let used = in_use.is_some_and(|token| world.lives(token)) && world.published.generation > Generation(0);
        match trouble {
            Trouble::Dies => used,
            Trouble::Written(token) | Trouble::Handed(token) => {
                world.store.is_none() && (token == Token::STRANGERS || token.0 < world.made)
            }
            Trouble::StaleExpiry => world.store.is_none() && world.alive.contains(&true),
            Trouble::Login => world.can_make() && !world.asked,
            Trouble::StrangersLogin => true,
            Trouble::ProbeUndecided => world.probe.is_some(),
            Trouble::ProbeHangs => world.probe.is_some() && world.late_probe.is_none(),
            Trouble::ProbeLies => world.probe.is_some_and(|pending| world.lives(pending.about)),
            Trouble::RenewalFails | Trouble::RenewalForbidden | Trouble::RenewalStrangers | Trouble::RenewalDead => {
                world.attempt.is_some()
            }
            Trouble::RenewalLost => world.attempt.is_some() && world.can_make(),
            Trouble::RenewalHangs => world.attempt.is_some() && world.late_attempt.is_none(),
            Trouble::ComparisonFails => world.comparison.is_some(),
            Trouble::ComparisonHangs => world.comparison.is_some() && world.late_comparison.is_none(),
            Trouble::FeedStops => world.feed == Feed::Delivers,
            Trouble::FeedFails => world.feed != Feed::Closed,
            Trouble::Suspect | Trouble::SuspectFeed | Trouble::Misconfigured | Trouble::FalseRefusal => used,
            Trouble::Unanswered => used,
            Trouble::OldRefusal => world.published.generation > Generation(1),
            Trouble::MarketTurns | Trouble::Says(_) | Trouble::Oversleeps => true,
        }
    }

    /// What the machine is told of it; `None` if nothing.
    fn trouble(&self, world: &mut World, trouble: Trouble) -> Option<Event> {
        let generation = world.published.generation;
        let (conclusive, suspect) = (Refusal::Conclusive, Refusal::Suspect);
        let refused = |refusal, endpoint| Some(Event::Refused { generation, refusal, endpoint });
        match trouble {
            Trouble::Dies => {
                world.in_use.into_iter().for_each(|(token, _)| world.kill(token));
                None
            }
            Trouble::Written(token) => {
                world.store = Some((token, false));
                None
            }
            Trouble::StaleExpiry => {
                let living = world.alive.iter().rposition(|alive| *alive).unwrap_or(0);
                world.store = Some((Token(u8::try_from(living).unwrap_or(0)), true));
                None
            }
            Trouble::Login => {
                let token = world.make(self.scope.policy.sessions);
                Some(Event::Candidate(self.candidate(token, Source::Login)))
            }
            Trouble::StrangersLogin => Some(Event::Candidate(self.candidate(Token::STRANGERS, Source::Login))),
            Trouble::Handed(token) => Some(Event::Candidate(self.candidate(token, Source::Operator))),
            Trouble::ProbeUndecided => {
                let probe = world.probe.take().map_or(0, |pending| pending.number);
                Some(Event::Probed { probe, verdict: self.undecided() })
            }
            Trouble::ProbeHangs => {
                world.late_probe = world.probe.take();
                None
            }
            Trouble::ProbeLies => {
                let probe = world.probe.take().map_or(0, |pending| pending.number);
                Some(Event::Probed { probe, verdict: Verdict::Refused })
            }
            Trouble::RenewalFails => Some(self.attempted(world.attempt.take(), AttemptEnd::Failed)),
            Trouble::RenewalForbidden => Some(self.attempted(world.attempt.take(), AttemptEnd::FailedForGood)),
            Trouble::RenewalLost => {
                world.make(self.scope.policy.sessions);
                Some(self.attempted(world.attempt.take(), AttemptEnd::Unknown))
            }
            Trouble::RenewalStrangers => {
                let token = self.candidate(Token::STRANGERS, Source::Renewal);
                Some(self.attempted(world.attempt.take(), AttemptEnd::Token(token)))
            }
            Trouble::RenewalDead => {
                let dead = (0..world.made).map(Token).find(|token| !world.lives(*token)).unwrap_or(Token(9));
                let token = self.candidate(dead, Source::Renewal);
                Some(self.attempted(world.attempt.take(), AttemptEnd::Token(token)))
            }
            Trouble::RenewalHangs => {
                world.late_attempt = world.attempt.take();
                None
            }
            Trouble::ComparisonFails => Some(self.compared(world.comparison.take(), false)),
            Trouble::ComparisonHangs => {
                world.late_comparison = world.comparison.take();
                None
            }
            Trouble::FeedStops => {
                world.feed = Feed::Opening;
                Some(Event::Feed { generation, delivers: false })
            }
            Trouble::FeedFails => Some(Event::FeedFailed { generation }),
            Trouble::MarketTurns => {
                world.market_open = !world.market_open;
                Some(Event::Market { open: world.market_open })
            }
            Trouble::Suspect => refused(suspect, Endpoint::Place),
            Trouble::SuspectFeed => refused(suspect, Endpoint::Feed),
            Trouble::FalseRefusal => refused(conclusive, Endpoint::Place),
            Trouble::OldRefusal => {
                let generation = Generation(generation.0.saturating_sub(1));
                Some(Event::Refused { generation, refusal: conclusive, endpoint: Endpoint::Place })
            }
            Trouble::Misconfigured => Some(Event::Misconfigured { generation, endpoint: Endpoint::Place }),
            Trouble::Unanswered => Some(Event::Unanswered { generation }),
            Trouble::Says(word) => Some(Event::Operator(word)),
            Trouble::Oversleeps => {
                world.pass(UNIT * 7);
                Some(Event::Wake)
            }
        }
    }

    fn undecided(&self) -> Verdict {
        match self.planted {
            Some(Planted::CredulousProbe) => Verdict::Accepted { user_id: OWN.to_owned() },
            _ => Verdict::Inconclusive,
        }
    }

    /// What the machine is told of that; `None` if nothing.
    fn event(&self, world: &mut World, action: Action) -> Result<Option<Event>, String> {
        Ok(match action {
            Action::Tick => {
                let wake = world.machine.next_wake(world.now).since(world.now.mono);
                world.pass(UNIT.min(wake));
                Some(Event::Wake)
            }
            Action::Started => {
                world.started = true;
                Some(Event::Started)
            }
            Action::Noticed => world.store.take().map(|(token, stale)| {
                let source = if world.started { Source::Store } else { Source::Stored };
                let expires_at = stale.then_some(world.now.wall);
                Event::Candidate(Candidate { expires_at, ..self.candidate(token, source) })
            }),
            Action::Probed => {
                let pending = world.probe.take();
                Some(self.probed(world, pending))
            }
            Action::ProbedLate => {
                let pending = world.late_probe.take();
                Some(self.probed(world, pending))
            }
            Action::Renewed => {
                let pending = world.attempt.take();
                Some(self.renewed(world, pending))
            }
            Action::NotRenewed => Some(self.attempted(world.attempt.take(), AttemptEnd::FailedForGood)),
            Action::RenewedLate => {
                let pending = world.late_attempt.take();
                Some(self.renewed(world, pending))
            }
            Action::Compared => Some(self.compared(world.comparison.take(), true)),
            Action::ComparedLate => Some(self.compared(world.late_comparison.take(), true)),
            Action::FeedDelivers => {
                world.feed = Feed::Delivers;
                Some(Event::Feed { generation: world.published.generation, delivers: true })
            }
            Action::LoggedIn => {
                world.asked = false;
                let token = world.make(self.scope.policy.sessions);
                Some(Event::Candidate(self.candidate(token, Source::Login)))
            }
            Action::Confirmed => Some(Event::Operator(Operator::Confirm)),
            Action::Resumed => Some(Event::Operator(Operator::Resume)),
            Action::Refused => Some(Event::Refused {
                generation: world.published.generation,
                refusal: Refusal::Conclusive,
                endpoint: Endpoint::Positions,
            }),
            Action::Answered => Some(Event::Answered { generation: world.published.generation }),
            Action::Routed => {
                let seen = world.torn.unwrap_or(world.published);
                if seen != world.published {
                    return Err(format!("rule 4: a reader sees {seen:?}, which never was"));
                }
                world.order = Some(seen);
                None
            }
            Action::AtGate => {
                let order = world.order.take();
                let same = order.is_some_and(|order| {
                    (order.generation, order.route.0) == (world.published.generation, world.published.route.0)
                });
                if same || self.planted == Some(Planted::NoGate) {
                    world.judge.may_leave(world)?;
                }
                None
            }
            Action::Trouble(trouble) => {
                world.disturbances -= 1;
                self.trouble(world, trouble)
            }
        })
    }
}

impl Model for Composition {
    type State = World;
    type Action = Action;

    fn initial(&self) -> World {
        World::new(&self.scope)
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let (used, route, state) = (world.in_use.map(|(token, _)| token), world.published.route, world.published.state);
        let believed = state.is_live() || route == (Venue::Live, true) || world.feed != Feed::Closed;
        let blocked = matches!(route.0, Venue::Blocked(Block::Halted | Block::Misconfigured));
        let possible = [
            (Action::Tick, world.may_pass()),
            (Action::Started, !world.started),
            (Action::Noticed, world.store.is_some()),
            (Action::Probed, world.probe.is_some()),
            (Action::ProbedLate, world.late_probe.is_some()),
            (Action::Renewed, world.attempt.is_some() && world.can_make()),
            // Where no token can be made any more, a renewal has to fail.
            (Action::NotRenewed, world.attempt.is_some() && !world.can_make()),
            (Action::RenewedLate, world.late_attempt.is_some() && world.can_make()),
            (Action::Compared, world.comparison.is_some()),
            (Action::ComparedLate, world.late_comparison.is_some()),
            (Action::FeedDelivers, world.feed == Feed::Opening),
            (Action::LoggedIn, world.asked && world.can_make()),
            (Action::Confirmed, route == (Venue::Live, true) && self.scope.policy.resume == Resume::Confirm),
            (Action::Resumed, blocked && (state != State::Fallback || world.feed != Feed::Closed)),
            (Action::Refused, believed && used.is_some_and(|token| !world.lives(token))),
            (
                Action::Answered,
                route.0 == Venue::Blocked(Block::Outage) && used.is_some_and(|token| world.lives(token)),
            ),
            (Action::Routed, self.scope.orders && route.0 == Venue::Live && world.order.is_none()),
            (Action::AtGate, world.order.is_some()),
        ];
        actions.extend(possible.into_iter().filter(|(_, possible)| *possible).map(|(action, _)| action));
        if world.disturbances > 0 {
            let troubles = self.scope.troubles.iter().copied();
            actions.extend(troubles.filter(|trouble| self.may_happen(world, *trouble)).map(Action::Trouble));
        }
    }

    fn step(&self, world: &mut World, action: Action, words: Option<&mut String>) -> Result<(), String> {
        match self.event(world, action)? {
            Some(Event::Operator(Operator::Halt)) if self.planted == Some(Planted::HaltUnheard) => {
                world.judge.halted();
                world.tell(&Event::Wake, self.planted, words)
            }
            Some(event) => world.tell(&event, self.planted, words),
            None => Ok(()),
        }
    }

    fn key(&self, world: &World) -> u128 {
        let mut hash = Wide::new();
        world.hash_future(&mut hash);
        hash.key()
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        if world.machine.next_wake(world.now) <= world.now.mono {
            return Err("rule 8: the machine asks to be woken at once, for ever".to_owned());
        }
        self.recovery.check(world)
    }
}
