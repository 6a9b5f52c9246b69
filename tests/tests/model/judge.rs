//! Rules 1 to 4 and 9 as properties of every step, told by what the world knows and not by what the machine believes.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use nirantar::session::{Effect, Event, Operator, Resume, State, TradingMode, Verdict, Why};
use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{Refusal, Venue};

use super::scopes::OWN;
use super::world::{Standing, Token, World};

/// What has to be remembered to judge the next step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge {
    /// The machine was told that the token in use is dead.
    told_dead: bool,
    /// Live orders and positions must be compared before anything is live.
    compared: bool,
    /// The comparison that counts.
    asked: Option<u64>,
    confirmed: bool,
    feed_since: Option<Monotonic>,
    mode: TradingMode,
    /// The renewal that somebody performs.
    pub running: Option<u64>,
    pub last_probe: Option<u64>,
    pub last_attempt: Option<u64>,
    pub last_comparison: Option<u64>,
    /// Whom that probe is about, until it is answered or its time is up.
    probed: Option<(u64, Token)>,
}

impl Judge {
    /// Whether somebody still performs that renewal.
    pub fn runs(&self, attempt: u64) -> bool {
        self.running == Some(attempt)
    }

    /// The operator halts, and the machine is not told.
    pub const fn halted(&mut self) {
        self.mode = TradingMode::Halted;
    }

    /// # Errors
    /// The rule that is broken.
    pub fn see(&mut self, world: &World, before: Standing, event: &Event, effects: &[Effect]) -> Result<(), String> {
        self.listen(world, before, event);
        for effect in effects {
            match effect {
                Effect::Attempt { attempt, .. } => self.last_attempt = Some(*attempt),
                Effect::Reconcile { number } => (self.asked, self.last_comparison) = (Some(*number), Some(*number)),
                Effect::Adopt { .. } => self.adopted(world, before, event)?,
                Effect::Bury { .. } => self.buried(world, before, event)?,
                Effect::Transition(step) if step.from == State::Fallback && step.to.is_live() => {
                    self.back_to_live(world, step.why)?;
                }
                Effect::Transition(step) if step.to == State::Fallback => self.confirmed = false,
                _ => {}
            }
        }
        if let Event::Probed { probe, .. } = event {
            self.probed = self.probed.filter(|(asked, _)| asked != probe);
        }
        for effect in effects {
            if let Effect::Probe { probe, fingerprint } = effect {
                (self.last_probe, self.probed) = (Some(*probe), Some((*probe, Token::of(*fingerprint))));
            }
        }
        let after = world.published;
        let left = before.route.0 == Venue::Live && after.route.0 != Venue::Live;
        if left && after.state == State::Fallback {
            // What was asked for before is worth nothing.
            (self.compared, self.confirmed) = (false, false);
            let asks_anew = effects.iter().any(|effect| matches!(effect, Effect::Reconcile { .. }));
            self.asked = self.asked.filter(|_| asks_anew);
        }
        self.stands(world)
    }

    fn listen(&mut self, world: &World, before: Standing, event: &Event) {
        match event {
            Event::Refused { generation, refusal: Refusal::Conclusive, .. } if *generation == before.generation => {
                self.told_dead = true;
            }
            Event::Attempted { attempt, .. } if self.runs(*attempt) => self.running = None,
            Event::Reconciled { number, complete: true } if Some(*number) == self.asked => self.compared = true,
            Event::Feed { generation, delivers } if *generation == before.generation => {
                self.feed_since = delivers.then(|| self.feed_since.unwrap_or(world.now.mono));
            }
            Event::Operator(Operator::Confirm) if self.compared => self.confirmed = true,
            Event::Operator(Operator::Halt) => self.mode = TradingMode::Halted,
            Event::Operator(Operator::ReduceOnly) => self.mode = TradingMode::ReduceOnly,
            Event::Operator(Operator::Resume) => self.mode = TradingMode::Active,
            _ => {}
        }
    }

    /// Rule 3: a token is used once the broker accepted it as the account's own, and it lives.
    fn adopted(&mut self, world: &World, before: Standing, event: &Event) -> Result<(), String> {
        let Event::Probed { probe, verdict: Verdict::Accepted { user_id } } = event else {
            return Err("rule 3: a token is used that no probe accepted".to_owned());
        };
        let (token, expires) = world.in_use.unwrap_or((Token::STRANGERS, world.now.wall));
        if self.probed != Some((*probe, token)) {
            return Err(format!("rule 3: {token:?} is used, and the probe was about {:?}", self.probed));
        }
        if user_id != OWN || !world.lives(token) || world.now.wall >= expires {
            return Err(format!("rule 3: {token:?} is used, and it is dead or {user_id}'s"));
        }
        if before.state.is_live() {
            self.feed_since = None;
        } else {
            (self.compared, self.confirmed, self.feed_since, self.asked) = (false, false, None, None);
        }
        self.told_dead = false;
        Ok(())
    }

    /// Rule 3, the other half: nothing but the broker's word on that very token, or its time, ends a living one.
    fn buried(&mut self, world: &World, before: Standing, event: &Event) -> Result<(), String> {
        let token = world.in_use.map(|(token, _)| token);
        let over = world.in_use.is_some_and(|(_, expires)| world.now.wall >= expires);
        let refused = match event {
            Event::Refused { .. } => self.told_dead,
            Event::Probed { probe, verdict } => {
                let about = self.probed.filter(|(asked, _)| asked == probe).map(|(_, token)| token);
                about == token && !matches!(verdict, Verdict::Inconclusive)
            }
            _ => false,
        };
        (self.compared, self.confirmed, self.feed_since, self.asked) = (false, false, None, None);
        self.told_dead = true;
        if over || refused {
            return Ok(());
        }
        Err(format!("rule 3: {token:?} was given up in {}, after {event:?}", before.state))
    }

    /// Rule 9: the way back has been gone to its end.
    fn back_to_live(&self, world: &World, why: Why) -> Result<(), String> {
        let policy = world.machine.policy();
        let settled = self.feed_since.is_some_and(|since| world.now.mono >= since + policy.hysteresis);
        let complete = why == Why::FailbackComplete
            && self.compared
            && (settled || !world.market_open)
            && (self.confirmed || policy.resume == Resume::Auto)
            && self.mode != TradingMode::Halted;
        if complete { Ok(()) } else { Err(format!("rule 9: back to live before the end of the way: {self:?}")) }
    }

    /// What must hold wherever the step has led.
    fn stands(&self, world: &World) -> Result<(), String> {
        let Standing { generation, state, route } = world.published;
        let machine = &world.machine;
        if (generation, state, route) != (machine.generation(), machine.state(), machine.route(world.now)) {
            return Err(format!("rule 4: {:?} was published, and the machine says otherwise", world.published));
        }
        if self.mode == TradingMode::Halted && !matches!(route.0, Venue::Blocked(_)) {
            return Err("rule 9: orders go although the operator halted".to_owned());
        }
        if route.0 != Venue::Live {
            return Ok(());
        }
        self.may_leave(world)?;
        let reduce_only = self.mode == TradingMode::ReduceOnly;
        match (state, route.1) {
            _ if !self.compared => Err("rule 9: live, and orders and positions were not compared".to_owned()),
            (State::Fallback, true) => Ok(()),
            (State::Valid | State::Expiring | State::Refreshing, only) if only == reduce_only => Ok(()),
            _ => Err(format!("rule 9: {route:?} in {state}, and the operator wants {:?}", self.mode)),
        }
    }

    /// Rule 1: whether a live order may leave now.
    ///
    /// # Errors
    /// The token is known to be dead.
    pub fn may_leave(&self, world: &World) -> Result<(), String> {
        let over = world.in_use.is_none_or(|(_, expires)| world.now.wall >= expires);
        if self.told_dead || over || world.published.route.0 != Venue::Live {
            return Err(
                "rule 1: a live order leaves under a token known to be dead, or while the venue is not live".to_owned()
            );
        }
        Ok(())
    }

    pub fn hash_future(&self, world: &World, state: &mut impl Hasher) {
        let hysteresis = world.machine.policy().hysteresis;
        let settles = |since: Monotonic| Duration::saturating_sub(hysteresis, world.now.mono.since(since));
        (self.told_dead, self.compared, self.confirmed, self.mode, self.feed_since.map(settles)).hash(state);
        (self.asked.is_some(), self.asked == self.last_comparison, self.running.is_some()).hash(state);
        self.probed.map(|(_, token)| token).hash(state);
    }
}
