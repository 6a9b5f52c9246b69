//! Our orders by the numbers that the broker and the paper exchange gave them.

use nirantar_brokers::{Book, BrokerOrderId, ClientOrderId, Lookup};

/// A number means something within its book only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByBrokerId {
    live: Lookup<BrokerOrderId, ClientOrderId>,
    paper: Lookup<BrokerOrderId, ClientOrderId>,
}

impl ByBrokerId {
    pub(super) fn get(&self, book: Book, number: &BrokerOrderId) -> Option<&ClientOrderId> {
        self.of(book).get(number)
    }

    pub(super) fn contains(&self, book: Book, number: &BrokerOrderId) -> bool {
        self.of(book).contains(number)
    }

    pub(super) fn insert(&mut self, book: Book, number: &BrokerOrderId, id: &ClientOrderId) {
        let numbers = match book {
            Book::Live => &mut self.live,
            Book::Paper => &mut self.paper,
        };
        if numbers.get(number) != Some(id) {
            numbers.insert(number.clone(), id.clone());
        }
    }

    /// Keeps the numbers of those orders.
    pub(super) fn retain(&mut self, keep: impl Fn(&ClientOrderId) -> bool) {
        self.live.retain(|_, id| keep(id));
        self.paper.retain(|_, id| keep(id));
    }

    const fn of(&self, book: Book) -> &Lookup<BrokerOrderId, ClientOrderId> {
        match book {
            Book::Live => &self.live,
            Book::Paper => &self.paper,
        }
    }
}
