//! What goes wrong: how each fault of the catalogue begins and ends. Those that last are conditions that [`super::calls`]
//! and [`super::people`] look at.

use std::time::Duration;

use nirantar_brokers::Fingerprint;

use super::super::broker::Owner;
use super::super::checkers::Violation;
use super::super::faults::{Fault, FaultKind as F};
use super::super::time::Instant;
use super::{Happening, World};
use crate::core::Input;
use crate::orders::Command;
use crate::session::Operator;

/// A wall clock that was set wrong is set right after this.
const CLOCK_WRONG: Duration = Duration::from_secs(600);
/// What a fault leaves behind is over this long after it: calls under way, sockets that wait.
const SETTLES: Duration = Duration::from_secs(15);
/// Outputs among which a process dies.
const DIES_WITHIN: u64 = 40;

impl World<'_> {
    /// A fault begins.
    pub(super) fn begins(&mut self, index: usize) -> Result<(), Violation> {
        let Some(fault) = self.faults.get(index).copied() else { return Ok(()) };
        let (now, until) = (self.now, self.now + fault.lasts);
        self.counts.faults += 1;
        self.story.tell(self.clock.right(now), "FAULT", || format!("{fault}: {}", fault.kind.words()));
        self.clear_at = self.clear_at.max(until + SETTLES);
        if !fault.lasts.is_zero() {
            let longest = self.conditions.0.get(&fault.kind).copied().unwrap_or_default().max(until);
            self.conditions.0.insert(fault.kind, longest);
            self.queue.put(until, Happening::Heals(fault));
        }
        match fault.kind {
            F::TokenDies | F::TokenDiesTwice => self.end_session(),
            F::TokenOutlives => {
                if let Some(token) = self.in_use() {
                    self.broker.prolong(token, Duration::from_secs(86_400));
                }
                Ok(())
            }
            F::LoginElsewhere => {
                let _ = self.issue(Owner::Own, now);
                self.cut_the_dead()
            }
            F::RenewalFails
            | F::RenewalHangs
            | F::RenewalReplyLost
            | F::RenewalLate
            | F::RenewalDeadToken
            | F::RenewalStranger => {
                // Late ones come after the longest deadline.
                if fault.kind == F::RenewalLate {
                    let longest = self.policy.attempt_timeout.max(self.policy.command_timeout);
                    self.clear_at = self.clear_at.max(until + longest + SETTLES * 3);
                }
                self.tell_if_awake(Input::Operator(Operator::Renew))
            }
            F::StoreTorn => {
                if let Some(half) = self.issue(Owner::Nobody, now) {
                    self.write_theirs(half);
                }
                Ok(())
            }
            F::StoreDeadToken => {
                if let Some(token) = self.issue(Owner::Nobody, now) {
                    self.write_theirs(token);
                }
                Ok(())
            }
            F::StoreStranger => {
                if let Some(token) = self.issue(Owner::Stranger, now) {
                    self.write_theirs(token);
                }
                Ok(())
            }
            F::StoreTwoWriters => {
                let old = self.store.earlier.or(self.store.holds);
                if let Some(token) = self.issue(Owner::Own, now) {
                    self.write_theirs(token);
                }
                self.cut_the_dead()?;
                if let Some(old) = old {
                    self.write_theirs(old);
                }
                Ok(())
            }
            F::SocketCut | F::FeedRefused => self.cut_all("the connection was reset"),
            F::ClockForward => self.set_clock(fault, 1),
            F::ClockBack => self.set_clock(fault, -1),
            F::MachineSleeps => {
                self.sleep(until);
                Ok(())
            }
            F::ProcessDies => {
                self.dies_after = Some(1 + self.dice.lives.below(DIES_WITHIN));
                Ok(())
            }
            F::HolidayMoves => self.declare_holiday(),
            F::OperatorHalts => self.tell_if_awake(Input::Operator(Operator::Halt)),
            F::StoreReadOnly
            | F::BrokerRefuses
            | F::BrokerSuspects
            | F::BrokerRefusesLate
            | F::BrokerThrottles
            | F::BrokerForgets
            | F::BrokerLosesReplies
            | F::BrokerAnswersTwice
            | F::BrokerMisconfigured
            | F::BrokerQuotesToken
            | F::SocketMute
            | F::SocketLate => Ok(()),
        }
    }

    /// A fault that lasted is over.
    pub(super) fn heals(&mut self, fault: Fault) -> Result<(), Violation> {
        let over = self.conditions.0.get(&fault.kind).is_none_or(|until| self.now >= *until);
        if !over {
            return Ok(());
        }
        self.conditions.0.remove(&fault.kind);
        self.story.tell(self.clock.right(self.now), "FAULT", || format!("{} is over", fault.kind));
        match fault.kind {
            F::OperatorHalts => self.tell_if_awake(Input::Operator(Operator::Resume)),
            F::BrokerMisconfigured | F::BrokerSuspects | F::BrokerRefuses => {
                self.queue.put(self.now + SETTLES, Happening::Tell(self.who, Input::Operator(Operator::Mended)));
                self.clear_at = self.clear_at.max(self.now + SETTLES * 2);
                Ok(())
            }
            F::StoreTorn => {
                if let Some(token) = self.issue(Owner::Own, self.now) {
                    self.write_theirs(token);
                }
                self.cut_the_dead()
            }
            // The process did nothing all the while: it is killed now.
            F::ProcessDies if self.dies_after.is_some() => {
                self.die();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether an operator's halt holds: it is found again by a process that starts.
    pub(super) fn is_halted(&self) -> bool {
        self.conditions.holds(F::OperatorHalts, self.now)
    }

    /// The next order is refused under a token that will be an older one when the refusal arrives. When it arrives, if so.
    pub(super) fn refusal_in_waiting(&mut self, command: &Command) -> Option<Instant> {
        if !matches!(command, Command::Place(_)) || !self.conditions.holds(F::BrokerRefusesLate, self.now) {
            return None;
        }
        let at = self.conditions.0.remove(&F::BrokerRefusesLate)?;
        let token = self.issue(Owner::Own, self.now)?;
        self.write_theirs(token);
        self.clear_at = self.clear_at.max(at + SETTLES);
        Some(at.max(self.now + Duration::from_secs(5)))
    }

    fn in_use(&self) -> Option<Fingerprint> {
        self.process.as_ref().and_then(|process| process.core.standing().token)
    }

    /// Nothing can be told to a machine that sleeps or a process that is not there.
    fn tell_if_awake(&mut self, input: Input) -> Result<(), Violation> {
        if self.asleep_until.is_some() {
            self.queue.put(self.now, Happening::Tell(self.who, input));
            return Ok(());
        }
        self.tell(input)
    }

    fn end_session(&mut self) -> Result<(), Violation> {
        if let Some(token) = self.in_use() {
            self.broker.end(token, self.now);
        }
        self.cut_the_dead()
    }

    /// The broker closes connections under tokens that are dead.
    fn cut_the_dead(&mut self) -> Result<(), Violation> {
        self.cut_where("the broker has closed the connection", |world, token| !world.broker.accepts(token, world.now))
    }

    fn cut_all(&mut self, why: &str) -> Result<(), Violation> {
        self.cut_where(why, |_, _| true)
    }

    fn cut_where(&mut self, why: &str, dies: impl Fn(&Self, Fingerprint) -> bool) -> Result<(), Violation> {
        let Some(process) = self.process.as_ref().filter(|_| self.asleep_until.is_none()) else { return Ok(()) };
        let sockets = process.sockets.iter().filter(|(_, socket)| socket.open && dies(self, socket.token));
        let sockets: Vec<_> = sockets.map(|(number, _)| *number).collect();
        sockets.into_iter().try_for_each(|socket| self.cut(socket, why))
    }

    // --- the machine -------------------------------------------------------------------------------------------

    fn set_clock(&mut self, fault: Fault, sign: i64) -> Result<(), Violation> {
        let nanos = i64::try_from(fault.lasts.as_nanos()).unwrap_or(0);
        self.clock.set_ahead(sign * nanos);
        let right = self.now + CLOCK_WRONG;
        self.clear_at = self.clear_at.max(right + SETTLES * 3);
        // `Heals` of a moment's length sets it right again.
        self.conditions.0.insert(fault.kind, right);
        self.queue.put(right, Happening::Wakes);
        Ok(())
    }

    /// The machine sleeps until then.
    pub(super) fn sleep(&mut self, until: Instant) {
        match self.asleep_until {
            Some(already) => self.asleep_until = Some(already.max(until)),
            None => {
                self.slept_from = self.now;
                self.asleep_until = Some(until);
            }
        }
        self.queue.put(until, Happening::Wakes);
        self.story.tell(self.clock.right(self.now), "world", || "the machine sleeps".to_owned());
    }

    /// The machine is awake, or its clock is set right.
    pub(super) fn awake(&mut self) -> Result<(), Violation> {
        let wrong = |kind| self.conditions.0.get(&kind).is_some_and(|until| self.now < *until);
        if !wrong(F::ClockForward) && !wrong(F::ClockBack) {
            self.conditions.0.remove(&F::ClockForward);
            self.conditions.0.remove(&F::ClockBack);
            self.clock.set_ahead(0);
        }
        let Some(until) = self.asleep_until.filter(|until| self.now >= *until) else { return Ok(()) };
        self.asleep_until = None;
        self.clock.slept(until.since(self.slept_from));
        self.clear_at = self.clear_at.max(self.now + SETTLES * 3);
        self.story.tell(self.clock.right(self.now), "world", || "the machine is awake".to_owned());
        self.look_at_clocks();
        self.cut_all("the connection did not survive the machine's sleep")?;
        // Whoever wrote the store meanwhile.
        self.queue.put(self.now + Duration::from_secs(1), Happening::Looks(self.who));
        Ok(())
    }

    /// The exchange trades no more today, and our calendar does not know.
    fn declare_holiday(&mut self) -> Result<(), Violation> {
        let day_ends = self.hours.1;
        self.conditions.0.insert(F::HolidayMoves, day_ends);
        self.clear_at = self.clear_at.max(day_ends);
        let date = self.right().ist_date();
        self.broker.exchange.set_calendar(self.calendar.clone().with_holiday(date, "declared today"));
        Ok(())
    }

    /// A strategy's turn.
    pub(super) fn work(&mut self) -> Result<(), Violation> {
        if !self.in_hours() {
            return Ok(());
        }
        self.queue.put(self.now + self.options.order_every, Happening::Work);
        self.with_strategy(|strategy, trader| strategy.on_time(trader))
    }

    /// The journal is kept for five days: what is older is of no order that anybody asks about.
    pub(super) fn keep_five_days(&mut self) {
        const KEPT: Duration = Duration::from_secs(5 * 86_400);
        let before = self.right() - KEPT;
        let old = self.disk.records.iter().take_while(|record| record.at < before).count();
        self.disk.records.drain(..old);
        self.disk.dropped += old;
    }
}
