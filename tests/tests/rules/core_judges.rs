//! The judges of the whole core: what may be sent, shown and counted.

use std::collections::{BTreeMap, BTreeSet};

use nirantar::core::{Event, Input, Output};
use nirantar::orders::{Command, Route, What};
use nirantar::session::Generation;
use nirantar_brokers::{Block, Book, Cause, ClientOrderId, Fingerprint, Intent, Refusal, Venue};

use super::core_world::{Done, Judge, Scene, refused};

/// Where orders go, as anybody outside can know it: what was published last, and whether that change is complete.
struct Outside {
    published: Route,
    epoch: u64,
    complete: bool,
}

impl Default for Outside {
    fn default() -> Self {
        let venue = Venue::Blocked(Block::Starting);
        let published = Route { venue, reduce_only: false, generation: Generation::default() };
        Self { published, epoch: 0, complete: true }
    }
}

impl Outside {
    fn before(&mut self, done: &Done) {
        if matches!(done, Done::Told(Input::Settled { epoch }) if *epoch == self.epoch) {
            self.complete = true;
        }
    }

    fn hear(&mut self, output: &Output) {
        if let Output::Publish { standing, epoch } = output {
            self.published = standing.route;
            if let Some(epoch) = epoch {
                (self.epoch, self.complete) = (*epoch, false);
            }
        }
    }
}

/// Rule 1: no live order leaves under a dead token, or while the venue is not Live.
#[derive(Default)]
pub struct NothingLeavesWhenDead {
    outside: Outside,
    dead: BTreeSet<Generation>,
    /// Live messages that did leave: without any, there was nothing to judge.
    pub left: usize,
}

impl Judge for NothingLeavesWhenDead {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.outside.before(scene.done);
        let known = scene.before.core.session().generation();
        self.dead.extend(refused(scene).filter(|generation| *generation <= known));
        for output in scene.outputs {
            self.outside.hear(output);
            let Output::Send { book: Book::Live, route, .. } = output else { continue };
            self.left += 1;
            if self.dead.contains(&route.generation) {
                return Err(format!("sent under {}, which is dead", route.generation));
            }
            if self.outside.published.venue != Venue::Live || !self.outside.complete {
                return Err(format!("sent while orders go to {:?}", self.outside.published.venue));
            }
            if scene.after.core.session().expires().is_none_or(|at| scene.after.now.wall >= at) {
                return Err("sent after the token's time was over".to_owned());
            }
        }
        Ok(())
    }
}

/// Rule 4: token, venue and generation are shown together, and a message goes by what was shown last.
#[derive(Default)]
pub struct OneStanding {
    outside: Outside,
    tokens: BTreeMap<Generation, Fingerprint>,
}

impl Judge for OneStanding {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.outside.before(scene.done);
        for output in scene.outputs {
            self.outside.hear(output);
            match output {
                Output::Tell(Event::Token { generation, fingerprint, .. }) => {
                    self.tokens.insert(*generation, *fingerprint);
                }
                Output::Publish { standing, .. } => {
                    let known = self.tokens.get(&standing.route.generation);
                    if standing.token.is_some() && standing.token.as_ref() != known {
                        return Err(format!("{standing:?} shows a token of another generation"));
                    }
                    let live = standing.route.venue == Venue::Live || standing.state.is_live();
                    if live && standing.token.is_none() {
                        return Err(format!("{standing:?} is live without a token"));
                    }
                }
                Output::Send { route, .. } if !self.outside.complete => {
                    return Err(format!("sent by {route:?} before the change of venue was complete"));
                }
                Output::Send { route, .. } if *route != self.outside.published => {
                    return Err(format!("sent by {route:?} when {:?} was shown", self.outside.published));
                }
                _ => {}
            }
        }
        let standing = scene.after.core.standing();
        if standing.route != self.outside.published {
            return Err(format!("{standing:?} is not what was shown"));
        }
        let session = scene.after.core.session();
        let (venue, reduce_only) = session.route(scene.after.now);
        let now = Route { venue, reduce_only, generation: session.generation() };
        if now == standing.route { Ok(()) } else { Err(format!("the session says {now:?}, and {standing:?} is shown")) }
    }
}

/// Rules 5 and 6, as far as they can be seen here: written before it is sent; and sent again only if it surely did not
/// arrive.
#[derive(Default)]
pub struct WrittenAndNeverRepeated {
    written: Option<(ClientOrderId, Generation)>,
    may_be_there: BTreeSet<ClientOrderId>,
    refused: BTreeSet<ClientOrderId>,
}

impl Judge for WrittenAndNeverRepeated {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        match scene.done {
            Done::Told(Input::GateShut { send }) => self.surely_not_there(scene, send),
            Done::Told(Input::Reply { send, outcome: Err(failure) })
                if matches!(failure.cause, Cause::Throttled { .. }) =>
            {
                self.surely_not_there(scene, send);
            }
            // Refused for the token's sake: once more, and no third time.
            Done::Told(Input::Reply { send, outcome: Err(failure) })
                if failure.cause == Cause::Refused(Refusal::Conclusive) =>
            {
                let sent = scene.before.on_their_way.get(send);
                if sent.is_some_and(|sent| self.refused.insert(sent.id.clone())) {
                    self.surely_not_there(scene, send);
                }
            }
            _ => {}
        }
        let told = scene.after.core.desk().orders().filter(|order| order.broker_id.is_some());
        self.may_be_there.extend(told.map(|order| order.id.clone()));
        for output in scene.outputs {
            match output {
                Output::Journal(record) => {
                    if let What::Sending { generation, .. } = record.what {
                        self.written = record.id.clone().map(|id| (id, generation));
                    }
                }
                Output::Send { id, route, command, .. } => {
                    if self.written.take() != Some((id.clone(), route.generation)) {
                        return Err(format!("order {id} is sent and was not written first"));
                    }
                    if matches!(command, Command::Place(_)) && !self.may_be_there.insert(id.clone()) {
                        return Err(format!("order {id} is placed again and may be there already"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl WrittenAndNeverRepeated {
    /// The process died, and with it what it was about to send. Of the orders it knew, these were placed at the broker.
    pub fn process_died(&mut self, placed: &BTreeSet<ClientOrderId>) {
        self.written = None;
        self.may_be_there.retain(|id| placed.contains(id));
    }

    fn surely_not_there(&mut self, scene: &Scene<'_>, send: &nirantar::orders::SendId) {
        if let Some(sent) = scene.before.on_their_way.get(send).filter(|sent| sent.places) {
            self.may_be_there.remove(&sent.id);
        }
    }
}

/// Rule 7: an order belongs to one book for ever, and what happens in one book never touches the other.
#[derive(Default)]
pub struct BooksNeverMix {
    outside: Outside,
    books: BTreeMap<ClientOrderId, Book>,
}

impl Judge for BooksNeverMix {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.outside.before(scene.done);
        for output in scene.outputs {
            self.outside.hear(output);
            match output {
                Output::Journal(record) => record.id.iter().try_for_each(|id| self.belongs(id, record.book))?,
                Output::Send { id, book, command, .. } => {
                    self.belongs(id, *book)?;
                    let opens = matches!(command, Command::Place(order) if order.intent == Intent::Open);
                    if *book == Book::Paper && opens && self.outside.published.venue != Venue::Paper {
                        return Err(format!(
                            "paper order {id} opens exposure while orders go to {:?}",
                            self.outside.published.venue
                        ));
                    }
                }
                _ => {}
            }
        }
        for order in scene.after.core.desk().orders() {
            self.belongs(&order.id, order.book)?;
        }
        for book in [Book::Live, Book::Paper] {
            let held = |world: &super::core_world::CoreWorld| {
                let open = world.core.desk().exposure().open(book);
                open.map(|(key, product, quantity)| (key.clone(), product, quantity)).collect::<Vec<_>>()
            };
            if held(scene.before) != held(scene.after) && !may_touch(scene.done, book) {
                return Err(format!("the {book} book changed by what is none of its business"));
            }
        }
        Ok(())
    }
}

impl BooksNeverMix {
    fn belongs(&mut self, id: &ClientOrderId, book: Book) -> Result<(), String> {
        let first = *self.books.entry(id.clone()).or_insert(book);
        if first == book { Ok(()) } else { Err(format!("order {id} was {first} and is {book}")) }
    }
}

/// Whether that may change what a book holds.
fn may_touch(done: &Done, book: Book) -> bool {
    match done {
        Done::Told(Input::Update { book: of, .. }) => *of == book,
        Done::Told(Input::Read { .. }) => book == Book::Live,
        _ => false,
    }
}

/// Rule 9: no new entry leaves before live trading is taken up in full, nor to any book while the operator wants exits
/// only.
#[derive(Default)]
pub struct ExitsFirst {
    outside: Outside,
}

impl Judge for ExitsFirst {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for output in scene.outputs {
            self.outside.hear(output);
            if let Output::Send { id, command: Command::Place(order), .. } = output
                && order.intent == Intent::Open
                && self.outside.published.reduce_only
            {
                return Err(format!("entry {id} left while only exits may"));
            }
        }
        Ok(())
    }
}

/// Rule 8: nobody is asked to be woken at once, for ever.
pub struct TimeGoesOn;

impl Judge for TimeGoesOn {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let now = scene.after.now;
        if !matches!(scene.done, Done::Told(Input::Wake)) || scene.after.core.next_wake(now) > now.mono {
            return Ok(());
        }
        // A look that was found to be due on the way is taken with the next wake; after that there is nothing left.
        let mut again = scene.after.clone();
        again.tell(Input::Wake);
        let next = again.core.next_wake(now);
        if next > now.mono { Ok(()) } else { Err("asks to be woken at once, and again, for ever".to_owned()) }
    }
}
