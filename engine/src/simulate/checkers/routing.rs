//! Rules 1 and 4: nothing live leaves under a dead token or while orders go elsewhere; and everybody sees token, venue and
//! generation together.

use std::collections::BTreeMap;

use nirantar_brokers::{Block, Book, Cause, Fingerprint, Refusal, Venue};

use super::{Checked, Leaving, Step, Violation, broken};
use crate::core::{Core, Event, Input, Output};
use crate::orders::{Command, Route};
use crate::session::Generation;

#[derive(Debug)]
pub(super) struct Routing {
    published: Route,
    epoch: u64,
    complete: bool,
    /// Tokens by their number: the current one and the one before.
    tokens: BTreeMap<Generation, Fingerprint>,
    /// The newest generation that a conclusive refusal was heard of. All before it are of the past anyway.
    dead: Option<Generation>,
    /// A conclusive refusal of the token in use was heard in this step.
    refused_now: bool,
}

impl Default for Routing {
    fn default() -> Self {
        let published =
            Route { venue: Venue::Blocked(Block::Starting), reduce_only: false, generation: Generation::default() };
        Self { published, epoch: 0, complete: true, tokens: BTreeMap::new(), dead: None, refused_now: false }
    }
}

impl Routing {
    pub(super) const fn published(&self) -> Route {
        self.published
    }

    pub(super) fn before(&mut self, input: &Input, core: &Core) -> Result<(), Violation> {
        if let Input::Settled { epoch } = input {
            self.complete |= *epoch == self.epoch;
        }
        let conclusive = |failure: Option<&nirantar_brokers::Failure>| {
            failure.is_some_and(|failure| failure.cause == Cause::Refused(Refusal::Conclusive))
        };
        let refused = match input {
            Input::Reply { send, outcome } if conclusive(outcome.as_ref().err()) => {
                core.desk().facts(*send, outcome).map(|facts| facts.generation)
            }
            Input::Read { generation, state, .. } if conclusive(state.as_ref().err()) => Some(*generation),
            Input::Answer { generation, failure } if conclusive(failure.as_ref()) => Some(*generation),
            _ => None,
        };
        let refused = refused.filter(|generation| *generation <= core.session().generation());
        self.refused_now = refused.is_some_and(|generation| generation == core.session().generation());
        self.dead = self.dead.max(refused);
        Ok(())
    }

    pub(super) fn output(&mut self, output: &Output, step: Step, checked: &mut Checked) -> Result<(), Violation> {
        match output {
            Output::Publish { standing, epoch } => {
                self.published = standing.route;
                if let Some(epoch) = epoch {
                    checked.moves += 1;
                    (self.epoch, self.complete) = (*epoch, false);
                }
                let known = self.tokens.get(&standing.route.generation);
                if standing.token.is_some() && standing.token.as_ref() != known {
                    return broken(4, format!("{standing:?} shows a token of another generation"));
                }
                let live = standing.route.venue == Venue::Live || standing.state.is_live();
                if live && standing.token.is_none() {
                    return broken(4, format!("{standing:?} is live without a token"));
                }
            }
            Output::Tell(Event::Token { generation, fingerprint, .. }) => {
                self.tokens.insert(*generation, *fingerprint);
                while self.tokens.len() > 2 {
                    self.tokens.pop_first();
                }
            }
            Output::Send { route, .. } if !self.complete => {
                return broken(4, format!("sent by {route:?} before the change of venue was complete"));
            }
            Output::Send { route, .. } if *route != self.published => {
                return broken(4, format!("sent by {route:?} when {:?} was shown", self.published));
            }
            Output::Send { book: Book::Live, route, command, id, .. } => self.may_leave(id, *route, command, step)?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn after(&mut self, core: &Core, step: Step) -> Result<(), Violation> {
        let standing = core.standing();
        if standing.route != self.published {
            return broken(4, format!("{standing:?} is not what was shown, {:?}", self.published));
        }
        let (venue, reduce_only) = core.session().route(step.now);
        let says = Route { venue, reduce_only, generation: core.session().generation() };
        if says != standing.route {
            return broken(4, format!("the session says {says:?}, and {:?} is shown", standing.route));
        }
        if self.refused_now && standing.route.venue == Venue::Live && self.dead >= Some(standing.route.generation) {
            return broken(
                1,
                format!("orders still go to the broker under {}, which was just refused", says.generation),
            );
        }
        Ok(())
    }

    /// The last look, at the gate.
    pub(super) fn leaves(&mut self, leaving: &Leaving<'_>, core: &Core, step: Step) -> Result<(), Violation> {
        let Leaving { id, route, command, .. } = leaving;
        let (venue, generation) = (self.published.venue, self.published.generation);
        if (route.venue, route.generation) != (venue, generation) {
            return broken(4, format!("{id} passed the gate by {route:?} when {:?} was shown", self.published));
        }
        if core.session().expires().is_none_or(|at| step.now.wall >= at) && core.next_wake(step.now) > step.now.mono {
            return broken(1, format!("{id} left after its token's time was over"));
        }
        self.may_leave(id, *route, command, step)
    }

    fn may_leave(
        &self,
        id: &nirantar_brokers::ClientOrderId,
        route: Route,
        command: &Command,
        _: Step,
    ) -> Result<(), Violation> {
        if self.dead.is_some_and(|dead| route.generation <= dead) {
            return broken(1, format!("{id} left under {}, which the broker has refused", route.generation));
        }
        // The kill switch stops orders, not the cancels it asks for.
        let passes = match self.published.venue {
            Venue::Live => true,
            Venue::Blocked(Block::Halted) => matches!(command, Command::Cancel(_)),
            Venue::Paper | Venue::Blocked(_) => false,
        };
        if passes { Ok(()) } else { broken(1, format!("{id} left while orders go to {:?}", self.published.venue)) }
    }
}
