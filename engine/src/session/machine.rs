//! The machine's public face.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Fingerprint, Venue};
use statig::blocking::{InitializedStateMachine, IntoStateMachineExt as _};

use super::memory::{Ctx, Session, Signal};
use super::wake::Rest;
use super::{Effect, Event, Generation, Policy, State, TradingMode, Verdict};

/// Signals that one signal may raise. The longest chain there is takes two; a bound makes sure that there is an end.
const MOST_RAISED: usize = 4;
/// States that the time may lead through in one call, for the same reason.
const MOST_STEPS: usize = 4;

/// The session machine: a value that can be cloned, compared, hashed and printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Machine {
    sm: InitializedStateMachine<Session>,
    /// What it waits for since it was called last. `None`: it never was.
    rest: Option<Rest>,
}

impl Machine {
    /// A machine with no token, in [`State::Expired`], with orders blocked until [`Event::Started`].
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let mut unused = Vec::new();
        let mut context = Ctx { now: Now::default(), out: &mut unused, raised: Vec::new() };
        Self { sm: Session::new(policy).uninitialized_state_machine().init_with_context(&mut context), rest: None }
    }

    /// Takes an event at `now` and appends what is to be done. The time may not go back in `now.mono`; `now.wall` may
    /// step either way. A wake-up with nothing due costs a few comparisons.
    #[inline]
    pub fn on(&mut self, event: &Event, now: Now, out: &mut Vec<Effect>) {
        let rests = |rest: &mut Rest| matches!(event, Event::Wake) && rest.goes_on(now);
        if !self.rest.as_mut().is_some_and(rests) {
            self.take(event, now, out);
        }
    }

    fn take(&mut self, event: &Event, now: Now, out: &mut Vec<Effect>) {
        let mut context = Ctx { now, out, raised: Vec::new() };
        self.deliver(Signal::Date, &mut context);
        self.deliver(Signal::Told(event), &mut context);
        if let Some(probe) = self.sm.inner().proving.timed_out(now.mono) {
            let nothing = Event::Probed { probe, verdict: Verdict::Inconclusive };
            self.deliver(Signal::Told(&nothing), &mut context);
        }
        // Where the time leads to another state, that state is woken as well: what it would do is due now.
        for _ in 0..MOST_STEPS {
            let before = self.state();
            self.deliver(Signal::Wake, &mut context);
            if self.state() == before {
                break;
            }
        }
        if let Some(notice) = self.rest.and_then(|rest| rest.stepped(now)) {
            context.notice(notice);
        }
        self.deliver(Signal::Settle, &mut context);
        self.rest = Some(Rest::after(self.sm.inner(), now));
    }

    fn deliver(&mut self, signal: Signal<'_>, context: &mut Ctx<'_>) {
        self.sm.handle_with_context(&signal, context);
        for _ in 0..MOST_RAISED {
            let Some(raised) = context.raised.pop() else { return };
            self.sm.handle_with_context(&raised, context);
        }
        debug_assert!(context.raised.is_empty(), "a chain of raised signals has no end");
    }

    /// What the session is in.
    #[must_use]
    pub fn state(&self) -> State {
        self.sm.inner().state
    }

    /// Where orders go at `now`, and whether only exits and cancels may.
    #[must_use]
    pub fn route(&self, now: Now) -> (Venue, bool) {
        self.sm.inner().route(now.mono)
    }

    /// What the operator lets orders do.
    #[must_use]
    pub fn trading_mode(&self) -> TradingMode {
        self.sm.inner().mode
    }

    /// Number of the last token adopted.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.sm.inner().generation
    }

    /// When the token in use dies, as far as anybody knows. `None` without one.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        let session = self.sm.inner();
        session.token.filter(|_| session.has_living_token()).map(|held| held.expires)
    }

    /// From when (issued, or first seen) to when the token in use lives, as far as anybody knows. `None` without one.
    #[must_use]
    pub fn life(&self) -> Option<(Timestamp, Timestamp)> {
        let session = self.sm.inner();
        let held = session.token.filter(|_| session.has_living_token())?;
        Some((held.first_seen, held.expires))
    }

    /// What it decides by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.sm.inner().policy
    }

    /// Whether an automatic renewal is in flight.
    #[must_use]
    pub fn is_renewing(&self) -> bool {
        self.sm.inner().attempt.is_some()
    }

    /// Whether the token in use may be dead, and the broker is being asked.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.sm.inner().doubt.is_some()
    }

    /// Tokens that are no news to a renewal: the one in use or the last that was, those it replaced, and those the broker
    /// refused.
    #[must_use]
    pub fn spent_tokens(&self) -> BTreeSet<Fingerprint> {
        let session = self.sm.inner();
        let in_use = session.token.map(|held| held.fingerprint);
        session.proving.refused().chain(session.replaced.iter().copied()).chain(in_use).collect()
    }

    /// Tokens that were in use before the one that is, the newest last.
    #[must_use]
    pub fn replaced_tokens(&self) -> &[Fingerprint] {
        &self.sm.inner().replaced
    }

    /// Hashes what the machine will do from `now` on, `now` being that of the last call: of two machines with one policy and
    /// one hash, each answers the same events in the same way, however long they have run and whatever their numbers have
    /// come to. So what a model checker explores has an end. The wall clock must not step back afterwards, and a policy that
    /// knows times of day sees a difference between two of them.
    pub fn hash_future(&self, now: Now, state: &mut impl Hasher) {
        self.sm.inner().hash_future(now, state);
    }

    /// When [`on`](Self::on) must be called again at the latest, with [`Event::Wake`] if nothing else has happened.
    #[must_use]
    #[inline]
    pub fn next_wake(&self, now: Now) -> Monotonic {
        self.rest.as_ref().map_or_else(|| Rest::after(self.sm.inner(), now).next_wake(), Rest::next_wake)
    }
}

impl Hash for Machine {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.sm.state().hash(hasher);
        self.sm.inner().hash(hasher);
        self.rest.hash(hasher);
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sm.inner().fmt(f)
    }
}

impl fmt::Display for Machine {
    /// `Fallback (generation 2), renewing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.state(), self.generation())?;
        if self.is_renewing() { f.write_str(", renewing") } else { Ok(()) }
    }
}
