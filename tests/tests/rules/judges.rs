//! The judges of the machine: what each rule says, in as few words as it takes, with a memory of their own.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use nirantar::session::{AttemptEnd, Effect, Event, Generation, Operator, Resume, State, TradingMode, Verdict, Why};
use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{Block, Fingerprint, Refusal, Venue};

use super::dice::Chance;
use super::world::{Judge, Scene, Standing};

/// Rule 1: nothing is live under a token known to be dead, and whoever listens was told where orders go.
#[derive(Default)]
pub struct NothingLiveWhenDead {
    dead: BTreeSet<Generation>,
    announced: Option<(Venue, bool)>,
}

impl Judge for NothingLiveWhenDead {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        if let Event::Refused { generation, refusal: Refusal::Conclusive, .. } = scene.event
            && *generation == scene.before.generation
        {
            self.dead.insert(*generation);
        }
        for effect in scene.effects {
            match effect {
                Effect::Bury { generation } => drop(self.dead.insert(*generation)),
                Effect::Route { venue, reduce_only } => self.announced = Some((*venue, *reduce_only)),
                _ => {}
            }
        }
        let Standing { route, generation, .. } = scene.after;
        let announced = self.announced.unwrap_or((Venue::Blocked(Block::Starting), false));
        if announced != route {
            return Err(format!("orders go to {route:?}, and {announced:?} was said"));
        }
        if route.0 != Venue::Live {
            return Ok(());
        }
        if self.dead.contains(&generation) {
            return Err(format!("live under {generation}, which is known to be dead"));
        }
        match scene.world.machine.expires() {
            Some(expires) if scene.now().wall < expires => Ok(()),
            expires => Err(format!("live under a token that expired at {expires:?}")),
        }
    }
}

/// Rule 2: never two attempts at once.
#[derive(Default)]
pub struct OneAttempt {
    in_flight: BTreeSet<u64>,
}

impl Judge for OneAttempt {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        if let Event::Attempted { attempt, .. } = scene.event {
            self.in_flight.remove(attempt);
        }
        for effect in scene.effects {
            match effect {
                Effect::Abandon { attempt } => drop(self.in_flight.remove(attempt)),
                Effect::Attempt { attempt, .. } => drop(self.in_flight.insert(*attempt)),
                _ => {}
            }
            if self.in_flight.len() > 1 {
                return Err(format!("attempts {:?} are in flight together", self.in_flight));
            }
        }
        Ok(())
    }
}

/// Rule 3: a living token is replaced only by one that the broker accepts, is the account's own, and lives.
#[derive(Default)]
pub struct ProvenBeforeUse {
    own: Option<String>,
    in_use: Option<Fingerprint>,
    offered: BTreeSet<Fingerprint>,
    answered: BTreeSet<u64>,
    /// A candidate alone has put the living token in doubt, at that generation.
    doubted: Option<Generation>,
}

impl Judge for ProvenBeforeUse {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let own = scene.policy().user_id.clone().or_else(|| self.own.clone());
        if let Event::Candidate(candidate) | Event::Attempted { end: AttemptEnd::Token(candidate), .. } = scene.event {
            self.offered.insert(candidate.fingerprint);
        }
        let was_live = scene.before.state.is_live();
        for effect in scene.effects {
            let Effect::Adopt { fingerprint, .. } = effect else { continue };
            let Event::Probed { probe, verdict: Verdict::Accepted { user_id } } = scene.event else {
                return Err(format!("{fingerprint} is used and no probe accepted it"));
            };
            if scene.world.probes.get(probe).map(|(about, _)| about) != Some(fingerprint)
                || self.answered.contains(probe)
            {
                return Err(format!("{fingerprint} is used and probe {probe} was not its own"));
            }
            if own.as_ref().is_some_and(|own| own != user_id) {
                return Err(format!("{fingerprint} is used and belongs to {user_id}"));
            }
            if !self.offered.contains(fingerprint) {
                return Err(format!("{fingerprint} is used and nobody offered it"));
            }
            if was_live && self.in_use == Some(*fingerprint) {
                return Err(format!("{fingerprint} replaces itself"));
            }
            if was_live && !scene.after.state.is_live() {
                return Err(format!("{fingerprint} replaces a living token and is dead itself"));
            }
            self.in_use = Some(*fingerprint);
            self.own.get_or_insert_with(|| user_id.clone());
        }
        let kept = self.a_bad_candidate_leaves_everything_as_it_was(scene);
        for (probe, (_, since)) in &scene.world.probes {
            let answered = matches!(scene.event, Event::Probed { probe: answered, .. } if answered == probe);
            if answered || scene.now().mono >= *since + scene.policy().probe_timeout {
                self.answered.insert(*probe);
            }
        }
        kept
    }
}

impl ProvenBeforeUse {
    fn a_bad_candidate_leaves_everything_as_it_was(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let Standing { state, route, generation } = scene.after;
        let held = route.0 == Venue::Blocked(Block::Holding) && state.is_live();
        let offered = matches!(scene.event, Event::Candidate(_));
        if offered && scene.before.route == Standing::LIVE && held {
            self.doubted = Some(generation);
        }
        let Some(before) = self.doubted else { return Ok(()) };
        match scene.event {
            Event::Wake | Event::Candidate(_) | Event::Feed { .. } | Event::Market { .. } => {}
            Event::Probed { probe, verdict } => {
                let about = scene.world.probes.get(probe).filter(|_| !self.answered.contains(probe));
                let about = about.map(|(about, _)| *about);
                let incumbent = about.is_some() && about == self.in_use && generation == before;
                if incumbent && matches!(verdict, Verdict::Accepted { user_id } if Some(user_id) == self.own.as_ref()) {
                    self.doubted = None;
                    let fair = scene.before.route.0 == Venue::Blocked(Block::Holding) && state.is_live();
                    if fair && (route, generation) != (Standing::LIVE, before) {
                        return Err(format!("the living token was proven, and orders go to {route:?}"));
                    }
                }
            }
            _ => self.doubted = None,
        }
        if generation != before || !state.is_live() {
            self.doubted = None;
        }
        Ok(())
    }
}

/// Rule 8: nothing is due before the machine asks to be woken. Woken a moment earlier it does nothing, orders go where they
/// went, and it comes to the same as if it had slept on.
pub struct WakesInTime;

impl Judge for WakesInTime {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        const MOMENT: Duration = Duration::from_nanos(1);
        let (machine, now) = (&scene.world.machine, scene.now());
        let sleep = machine.next_wake(now).since(now.mono);
        let Some(early) = sleep.checked_sub(MOMENT) else {
            return Err("asks to be woken at once, for ever".to_owned());
        };
        let mut restless = machine.clone();
        let mut effects = Vec::new();
        restless.on(&Event::Wake, now + early, &mut effects);
        if let Some(effect) = effects.first() {
            return Err(format!("asks to be woken after {sleep:?}, and before that was due: {effect}"));
        }
        let (went, goes) = (scene.after.route, restless.route(now + early));
        if goes != went {
            return Err(format!("asks to be woken after {sleep:?}; {went:?} becomes {goes:?} before that"));
        }
        let mut patient = machine.clone();
        let mut others = Vec::new();
        restless.on(&Event::Wake, now + sleep, &mut effects);
        patient.on(&Event::Wake, now + sleep, &mut others);
        if effects != others || restless != patient {
            return Err(format!("woken too early it does {effects:?} after {sleep:?}, and else {others:?}"));
        }
        Ok(())
    }
}

/// Rule 8: a machine that rests has nothing to do. Woken again and again, early, late and with a wall clock that runs fast,
/// slow or is set, it does what one does that looks at everything every time; and both have come to the same.
pub struct RestsForNothing(pub Chance);

impl Judge for RestsForNothing {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        // News of a token that there never was: nobody cares, and the machine does not rest over it.
        let nothing = Event::Answered { generation: Generation(u64::MAX) };
        let (mut rests, mut looks, mut now) = (scene.world.machine.clone(), scene.world.machine.clone(), scene.now());
        for _ in 0..6 {
            let sleep = rests.next_wake(now).since(now.mono);
            now = now + self.one_of([sleep, sleep, sleep / 2, sleep * 40, Duration::from_secs(3600)]);
            let off = Duration::from_millis(self.one_of([0, 0, 1, 900, 1900, 2100, 9_000_000, 90_000_000]));
            now.wall = if self.one_of([true, true, false]) { now.wall + off } else { now.wall - off };
            let (mut did, mut due) = (Vec::new(), Vec::new());
            rests.on(&Event::Wake, now, &mut did);
            looks.on(&nothing, now, &mut due);
            let [rested, looked] = [&rests, &looks].map(|machine| {
                let mut hasher = DefaultHasher::new();
                machine.hash_future(now, &mut hasher);
                (machine.state(), machine.route(now), hasher.finish())
            });
            if (&did, rested) != (&due, looked) {
                return Err(format!(
                    "at {} it does {did:?} and is {rested:?}; due is {due:?} and {looked:?}",
                    now.wall
                ));
            }
        }
        Ok(())
    }
}

impl RestsForNothing {
    fn one_of<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[self.0.roll(N as u64) as usize]
    }
}

/// Rule 9: back to live step by step, and away from it at once. What comes between on the way back (a refusal, a halt,
/// an outage) makes it begin again. The operator's word on what orders may do holds over tokens, states and venues.
pub struct WayBack {
    /// Live orders and positions must be compared before anything is live.
    owed: bool,
    asked: Option<u64>,
    confirmed: bool,
    feed_since: Option<Monotonic>,
    market_open: bool,
    mode: TradingMode,
}

impl Default for WayBack {
    fn default() -> Self {
        let mode = TradingMode::Active;
        Self { owed: true, asked: None, confirmed: false, feed_since: None, market_open: false, mode }
    }
}

impl Judge for WayBack {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let current = scene.before.generation;
        match scene.event {
            Event::Market { open } => self.market_open = *open,
            Event::Feed { generation, delivers: true } if *generation == current => {
                self.feed_since.get_or_insert(scene.now().mono);
            }
            Event::Feed { generation, delivers: false } if *generation == current => self.feed_since = None,
            Event::Reconciled { number, complete: true } if Some(*number) == self.asked => self.owed = false,
            Event::Operator(Operator::Confirm) if !self.owed => self.confirmed = true,
            Event::Operator(Operator::Halt) => self.mode = TradingMode::Halted,
            Event::Operator(Operator::ReduceOnly) => self.mode = TradingMode::ReduceOnly,
            Event::Operator(Operator::Resume) => self.mode = TradingMode::Active,
            _ => {}
        }
        for effect in scene.effects {
            match effect {
                Effect::Adopt { .. } if scene.before.state.is_live() => self.feed_since = None,
                Effect::Adopt { .. } | Effect::Bury { .. } => {
                    *self = Self { market_open: self.market_open, mode: self.mode, ..Self::default() };
                }
                Effect::Reconcile { number } => self.asked = Some(*number),
                Effect::Transition(step) if step.from == State::Fallback && step.to.is_live() => {
                    self.may_be_valid(scene, step.why)?;
                }
                Effect::Transition(step) if step.to == State::Fallback => self.confirmed = false,
                _ => {}
            }
        }
        let Standing { state, route, .. } = scene.after;
        if scene.before.route.0 == Venue::Live && state == State::Fallback && route.0 != Venue::Live {
            (self.owed, self.confirmed) = (true, false);
            // What was asked for before is worth nothing.
            let asks = |effect: &&Effect| matches!(effect, Effect::Reconcile { .. });
            self.asked = self.asked.filter(|_| scene.effects.iter().any(|effect| asks(&effect)));
        }
        let reduce_only = self.mode == TradingMode::ReduceOnly;
        let open = !matches!(route.0, Venue::Blocked(_));
        match (state, route) {
            _ if self.mode == TradingMode::Halted && open => Err(format!("{route:?} although the operator halted")),
            (_, (Venue::Live, _)) if self.owed => Err("live, and orders and positions were not compared".to_owned()),
            (State::Fallback, (Venue::Live, true)) => Ok(()),
            (State::Fallback, (Venue::Paper, desired)) if desired != reduce_only => {
                Err(format!("{route:?} although the operator wants {:?}", self.mode))
            }
            (State::Valid | State::Expiring | State::Refreshing, (Venue::Live, desired)) if desired == reduce_only => {
                Ok(())
            }
            (_, (Venue::Live, _)) => Err(format!("{route:?} in {state}, and the operator wants {:?}", self.mode)),
            (State::Valid | State::Expiring | State::Refreshing, (Venue::Paper, _)) => {
                Err(format!("{state} and on paper"))
            }
            _ => self.away_at_once(scene),
        }
    }
}

impl WayBack {
    fn may_be_valid(&self, scene: &Scene<'_>, why: Why) -> Result<(), String> {
        let policy = scene.policy();
        let settled = self.feed_since.is_some_and(|since| scene.now().mono >= since + policy.hysteresis);
        if why != Why::FailbackComplete {
            return Err(format!("out of Fallback, since {why}"));
        }
        if self.owed {
            return Err("out of Fallback without a comparison".to_owned());
        }
        if self.market_open && !settled {
            return Err(format!("out of Fallback with the feed delivering since {:?}", self.feed_since));
        }
        if self.mode == TradingMode::Halted {
            return Err("out of Fallback while the operator halts".to_owned());
        }
        if policy.resume == Resume::Confirm && !self.confirmed {
            return Err("out of Fallback without the operator's word".to_owned());
        }
        Ok(())
    }

    /// What ends live trading ends it in the same call.
    fn away_at_once(&self, scene: &Scene<'_>) -> Result<(), String> {
        let told = scene.effects.iter().any(|effect| matches!(effect, Effect::Route { .. }));
        if scene.before.route.0 == Venue::Live && !told {
            return Err("live trading ended and nobody was told".to_owned());
        }
        Ok(())
    }
}

/// Rule 9, the other half: each of these ends live trading within the event.
pub struct LeavesAtOnce;

impl Judge for LeavesAtOnce {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let current = scene.before.generation;
        let ends = match scene.event {
            Event::Refused { generation, .. } | Event::Misconfigured { generation, .. } => *generation == current,
            Event::Operator(Operator::Halt) => true,
            _ => false,
        };
        if ends && scene.before.route.0 == Venue::Live && scene.after.route.0 == Venue::Live {
            return Err(format!("still live after {:?}", scene.event));
        }
        Ok(())
    }
}
