//! Rule 7: an order belongs to one book for ever, and what happens in one book never touches the other.

use nirantar_brokers::{Book, ClientOrderId, Intent, Lookup, Venue};

use super::{Violation, broken};
use crate::core::{Core, Input, Output};
use crate::orders::{Command, Route};

#[derive(Debug, Default)]
pub(super) struct Books {
    books: Lookup<ClientOrderId, Book>,
    /// What the book held that must not change in this step.
    untouched: Option<(Book, u64)>,
}

impl Books {
    pub(super) fn before(&mut self, input: &Input, core: &Core) {
        let other = match input {
            Input::Update { book: Book::Paper, .. } | Input::PaperExpired(_) => Some(Book::Live),
            Input::Update { book: Book::Live, .. } | Input::Read { .. } => Some(Book::Paper),
            _ => None,
        };
        self.untouched = other.map(|book| (book, held(core, book)));
    }

    pub(super) fn output(&mut self, output: &Output, published: Route) -> Result<(), Violation> {
        match output {
            Output::Journal(record) => record.id.iter().try_for_each(|id| self.belongs(id, record.book)),
            Output::Send { id, book, command, .. } => {
                self.belongs(id, *book)?;
                let opens = matches!(command, Command::Place(order) if order.intent == Intent::Open);
                if *book == Book::Paper && opens && published.venue != Venue::Paper {
                    return broken(
                        7,
                        format!("paper order {id} opens exposure while orders go to {:?}", published.venue),
                    );
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn after(&mut self, core: &Core) -> Result<(), Violation> {
        match self.untouched.take() {
            Some((book, before)) if held(core, book) != before => {
                broken(7, format!("the {book} book changed by what is none of its business"))
            }
            _ => Ok(()),
        }
    }

    /// The live broker took it.
    pub(super) fn acted(&mut self, id: &ClientOrderId) -> Result<(), Violation> {
        self.belongs(id, Book::Live)
    }

    pub(super) fn belongs(&mut self, id: &ClientOrderId, book: Book) -> Result<(), Violation> {
        match self.books.get(id) {
            Some(first) if *first != book => broken(7, format!("order {id} was {first} and is {book}")),
            Some(_) => Ok(()),
            None => {
                self.books.insert(id.clone(), book);
                Ok(())
            }
        }
    }

    pub(super) fn new_day(&mut self) {
        self.books.clear();
    }
}

/// One number for all that a book holds: three instruments at most.
fn held(core: &Core, book: Book) -> u64 {
    let open = core.desk().exposure().open(book);
    open.fold(0, |sum: u64, (_, product, quantity)| {
        sum.wrapping_mul(0x0100_0000_01b3).wrapping_add((quantity as u64) ^ (product as u64))
    })
}
