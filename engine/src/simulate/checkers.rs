//! The ten rules (`DESIGN.md`), asserted after every step. Each checker remembers what it needs of the past and looks at
//! what has changed: none walks through a history or a book.

pub(super) mod agreement;
mod books;
mod orders;
mod recovery;
mod routing;
mod secrets;
mod tokens;

use std::fmt;
use std::time::Duration;

use nirantar_brokers::{Book, ClientOrderId, Fingerprint, OrderRow, Position, Secret};

use crate::core::{Core, Input, Output};
use crate::orders::{Command, Desk, Route};

use super::time::Instant;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of the ten.
    pub rule: u8,
    /// How.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.words)
    }
}

pub(super) fn broken<T>(rule: u8, words: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { rule, words: words.into() })
}

/// What the checkers made sure of, counted: without any of it there was nothing to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Messages whose bytes left for the broker.
    pub left: u64,
    /// Tokens taken into use.
    pub adopted: u64,
    /// Renewals begun.
    pub attempts: u64,
    /// Changes of venue that were completed.
    pub moves: u64,
    /// Times that live trading was taken up again.
    pub returns: u64,
    /// Texts that were searched for secrets.
    pub texts: u64,
    /// Orders that were compared with the broker's book when a day was over.
    pub agreed_live: u64,
    /// Orders that were compared with the paper exchange's.
    pub agreed_paper: u64,
}

/// A message that has passed the gate.
#[derive(Debug)]
pub(super) struct Leaving<'a> {
    pub(super) id: &'a ClientOrderId,
    pub(super) route: Route,
    pub(super) command: &'a Command,
    /// Records that survive the process now.
    pub(super) synced: usize,
}

/// What a step began with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at: Instant,
    /// What the engine's clocks show.
    pub(super) now: nirantar_brokers::time::Now,
}

/// All ten.
#[derive(Debug, Default)]
pub(super) struct Checkers {
    routing: routing::Routing,
    tokens: tokens::Tokens,
    orders: orders::Orders,
    books: books::Books,
    recovery: recovery::Recovery,
    secrets: secrets::Secrets,
    pub(super) checked: Checked,
}

impl Checkers {
    /// The engine is about to be told something.
    pub(super) fn before(&mut self, input: &Input, core: &Core) -> Result<(), Violation> {
        self.routing.before(input, core)?;
        self.tokens.before(input);
        self.orders.before(input, core);
        self.books.before(input, core);
        self.recovery.before(input);
        Ok(())
    }

    /// The engine wants something done.
    pub(super) fn output(&mut self, output: &Output, core: &Core, step: Step) -> Result<(), Violation> {
        // Rule 9 looks at where orders went until now, so it hears first.
        self.recovery.output(output, core, step, self.routing.published(), &mut self.checked)?;
        self.routing.output(output, step, &mut self.checked)?;
        self.tokens.output(output, &mut self.checked)?;
        self.orders.output(output)?;
        self.books.output(output, self.routing.published())?;
        self.secrets.output(output, &mut self.checked)
    }

    /// The step is done.
    pub(super) fn after(&mut self, core: &Core, step: Step) -> Result<(), Violation> {
        self.routing.after(core, step)?;
        self.books.after(core)?;
        self.tokens.after();
        Ok(())
    }

    /// A message has passed the gate: from here on its bytes may leave.
    pub(super) fn leaves(&mut self, leaving: &Leaving<'_>, core: &Core, step: Step) -> Result<(), Violation> {
        self.checked.left += 1;
        self.routing.leaves(leaving, core, step)?;
        self.orders.leaves(leaving)?;
        self.recovery.leaves(leaving, self.routing.published())
    }

    /// The broker took an order of ours.
    pub(super) fn acted(&mut self, id: &ClientOrderId) -> Result<(), Violation> {
        self.orders.acted(id)?;
        self.books.acted(id)
    }

    /// The paper exchange was sent an order of ours.
    pub(super) fn acted_on_paper(&mut self, id: &ClientOrderId) -> Result<(), Violation> {
        self.books.belongs(id, Book::Paper)
    }

    /// The change of venue is said to be complete, with so many still inside that entered before it.
    pub(super) fn settled(&mut self, inside: usize) -> Result<(), Violation> {
        if inside > 0 {
            return broken(
                4,
                format!("a change of venue is complete with {inside} messages of the old one inside the gate"),
            );
        }
        Ok(())
    }

    /// A day is over: what the desk knows of a book, against all that its exchange has.
    pub(super) fn books_agree<'a>(
        &mut self,
        desk: &Desk,
        book: Book,
        rows: impl Iterator<Item = &'a OrderRow>,
        positions: &[Position],
    ) -> Result<(), Violation> {
        let compared = agreement::agrees(desk, book, rows, positions)?;
        match book {
            Book::Live => self.checked.agreed_live += compared,
            Book::Paper => self.checked.agreed_paper += compared,
        }
        Ok(())
    }

    /// A secret came into the world.
    pub(super) fn learn_secret(&mut self, secret: Secret) {
        self.secrets.learn(secret);
    }

    /// A token turned out to be the account's own, or not.
    pub(super) fn learn_owner(&mut self, fingerprint: Fingerprint, own: bool) {
        self.tokens.learn_owner(fingerprint, own);
    }

    /// The process died.
    pub(super) fn died(&mut self) {
        self.routing = routing::Routing::default();
        self.tokens.died();
        self.orders.died();
        self.recovery.died();
    }

    /// Another one has read the journal. `kept`: records that were found.
    pub(super) fn restarted(&mut self, core: &Core, kept: usize) -> Result<(), Violation> {
        self.orders.restarted(core, kept)
    }

    /// A new trading day: what is told of yesterday's orders is forgotten.
    pub(super) fn new_day(&mut self) {
        self.orders.new_day();
        self.books.new_day();
    }

    /// Whether the way back to live takes too long, in a world that is fair since `since`.
    pub(super) fn recovers(&mut self, core: &Core, since: Option<Instant>, step: Step) -> Result<(), Violation> {
        self.recovery.recovers(core, since, step)
    }

    /// Time did not go on for so many steps.
    pub(super) fn stands_still(steps: u32) -> Result<(), Violation> {
        if steps > MOST_AT_ONCE {
            return broken(8, format!("the engine asked to be woken at once {steps} times in a row"));
        }
        Ok(())
    }

    /// How long recovery may take beyond the policy's own bound: calls and sockets take their time here.
    pub(super) const fn slack() -> Duration {
        Duration::from_secs(10)
    }
}

/// Wake-ups at one moment that are too many.
const MOST_AT_ONCE: u32 = 1_000;
