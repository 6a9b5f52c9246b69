//! Rules 8 and 9: there are no dead ends, and going back to live trading is a procedure.

use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{Block, Intent, Venue};

use super::super::time::Instant;
use super::{Checked, Checkers, Leaving, Step, Violation, broken};
use crate::core::{Core, Event, Input, Output};
use crate::feed::FeedStatus;
use crate::orders::{Command, Route};
use crate::session::{Operator, Resume, State, TradingMode};

#[derive(Debug)]
pub(super) struct Recovery {
    /// Live orders and positions must be compared before anything is live.
    owed: bool,
    confirmed: bool,
    feed_since: Option<Monotonic>,
    state: State,
    /// Since when the world is fair and trading is not live all the same.
    stuck_since: Option<Instant>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { owed: true, confirmed: false, feed_since: None, state: State::Expired, stuck_since: None }
    }
}

impl Recovery {
    pub(super) fn before(&mut self, input: &Input) {
        if let Input::Operator(Operator::Confirm) = input {
            self.confirmed |= !self.owed;
        }
    }

    pub(super) fn output(
        &mut self,
        output: &Output,
        core: &Core,
        step: Step,
        published: Route,
        checked: &mut Checked,
    ) -> Result<(), Violation> {
        match output {
            Output::Tell(Event::Compared { comparison, .. }) => self.owed &= !comparison.complete,
            Output::Tell(Event::Feed { status, .. }) => match status {
                FeedStatus::Live { .. } => drop(self.feed_since.get_or_insert(step.now.mono)),
                _ => self.feed_since = None,
            },
            Output::Tell(Event::Token { .. }) if !self.state.is_live() => self.owe(),
            Output::Tell(Event::Transition(change)) => {
                self.state = change.to;
                if change.from == State::Fallback && change.to.is_live() {
                    checked.returns += 1;
                    return self.may_be_valid(core, step);
                }
                if change.to == State::Fallback {
                    self.owe();
                }
            }
            Output::Publish { standing, .. } => {
                if standing.token.is_none() {
                    self.owe();
                }
                if standing.route.venue == Venue::Live && self.owed {
                    return broken(9, "live, and orders and positions were not compared");
                }
                if published.venue == Venue::Live
                    && standing.route.venue != Venue::Live
                    && standing.state == State::Fallback
                {
                    self.owe();
                }
            }
            Output::Send { id, command: Command::Place(order), route, .. }
                if order.intent == Intent::Open && published.reduce_only =>
            {
                return broken(9, format!("entry {id} was sent by {route:?} while only exits may go"));
            }
            _ => {}
        }
        Ok(())
    }

    fn owe(&mut self) {
        (self.owed, self.confirmed) = (true, false);
    }

    fn may_be_valid(&self, core: &Core, step: Step) -> Result<(), Violation> {
        let policy = core.session().policy();
        if self.owed {
            return broken(9, "out of Fallback without a comparison");
        }
        let settled = self.feed_since.is_some_and(|since| step.now.mono >= since + policy.hysteresis);
        if core.market_is_open() && !settled {
            return broken(9, format!("out of Fallback with the feed delivering since {:?}", self.feed_since));
        }
        if policy.resume == Resume::Confirm && !self.confirmed {
            return broken(9, "out of Fallback without the operator's word");
        }
        Ok(())
    }

    pub(super) fn leaves(&self, leaving: &Leaving<'_>, published: Route) -> Result<(), Violation> {
        let Leaving { id, command, .. } = leaving;
        match command {
            Command::Place(order) if order.intent == Intent::Open && published.reduce_only => {
                broken(9, format!("entry {id} left while only exits may"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn died(&mut self) {
        *self = Self::default();
    }

    /// `fair`: since when there is a good token that was offered, nothing goes wrong, and the feed delivers where it should.
    pub(super) fn recovers(&mut self, core: &Core, fair: Option<Instant>, step: Step) -> Result<(), Violation> {
        let standing = core.standing();
        let well = standing.state.is_live() && !matches!(standing.route.venue, Venue::Blocked(_));
        let halted = core.session().trading_mode() == TradingMode::Halted
            || standing.route.venue == Venue::Blocked(Block::Misconfigured);
        let Some(fair) = fair.filter(|_| !well && !halted) else {
            self.stuck_since = None;
            return Ok(());
        };
        let since = *self.stuck_since.get_or_insert(step.at);
        let since = since.max(fair);
        let bound = core.session().policy().recovery_bound() + Checkers::slack();
        if step.at.since(since) > bound {
            return broken(
                8,
                format!(
                    "{} with orders to {:?} for {:?} in a fair world",
                    standing.state,
                    standing.route.venue,
                    step.at.since(since)
                ),
            );
        }
        Ok(())
    }
}
