//! From a journal's records to the story of each order. Pure: the same records always tell the same story.
//!
//! Promise: nothing is decided here. What an engine makes of an order after a restart (a lost answer becomes unknown, for
//! one) stands in the journal once that engine has started.

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, BrokerOrderId, ClientOrderId, OrderRequest, OrderStatus, Price, Quantity};
use std::collections::BTreeMap;

use crate::orders::{CommandKind, Record, What};

/// One order, as the journal tells it.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) id: ClientOrderId,
    pub(crate) book: Book,
    /// What was asked for; `None` where the beginning is missing from the journal.
    pub(crate) request: Option<OrderRequest>,
    /// Placed by somebody else and adopted.
    pub(crate) external: bool,
    pub(crate) status: OrderStatus,
    pub(crate) broker_id: Option<BrokerOrderId>,
    pub(crate) filled: Quantity,
    pub(crate) average_price: Price,
    /// The last words about it.
    pub(crate) message: Option<String>,
    /// An operator has looked at it since it was unresolved.
    pub(crate) acknowledged: bool,
    /// Every record, oldest first. Never empty.
    pub(crate) history: Vec<Record>,
}

impl Story {
    fn new(id: ClientOrderId, book: Book) -> Self {
        Self {
            id,
            book,
            request: None,
            external: false,
            status: OrderStatus::Journalled,
            broker_id: None,
            filled: Quantity::ZERO,
            average_price: Price::ZERO,
            message: None,
            acknowledged: false,
            history: Vec::new(),
        }
    }

    fn take(&mut self, record: &Record) {
        match &record.what {
            What::Intent(request) => self.request = Some(request.clone()),
            What::External { request, broker_id } => {
                self.request = Some(request.clone());
                self.broker_id = Some(broker_id.clone());
                (self.external, self.status) = (true, OrderStatus::Accepted);
            }
            What::Sending { command: CommandKind::Place, .. } => self.status = OrderStatus::Sent,
            What::NotSent | What::RefusedForToken { .. } if self.status == OrderStatus::Sent => {
                self.status = OrderStatus::Journalled;
            }
            What::State { status, quantity, broker_id, filled, average_price, message } => {
                if let (Some(request), Some(quantity)) = (&mut self.request, quantity) {
                    request.quantity = *quantity;
                }
                // One that was acknowledged and is found after all is a new story.
                self.acknowledged &= *status == OrderStatus::Unresolved;
                (self.status, self.filled, self.average_price) = (*status, *filled, *average_price);
                if broker_id.is_some() {
                    self.broker_id.clone_from(broker_id);
                }
                if message.is_some() {
                    self.message.clone_from(message);
                }
            }
            What::Answer(words) => self.message = Some(words.clone()),
            What::Acknowledged => self.acknowledged = true,
            What::Sending { .. }
            | What::NotSent
            | What::RefusedForToken { .. }
            | What::CancelWanted
            | What::Holds { .. }
            | What::Settled { .. } => {}
        }
        self.history.push(record.clone());
    }

    /// When it was first heard of.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.history.first().map(|record| record.at)
    }

    /// Whether somebody has to look at it: the day ended before its fate was known.
    pub(crate) fn wants_a_look(&self) -> bool {
        self.status == OrderStatus::Unresolved && !self.acknowledged
    }

    /// Whether it belongs to a list of that day: it began then, or is not over yet.
    pub(crate) fn concerns(&self, day: NaiveDate) -> bool {
        let began = self.began().is_some_and(|at| at.to_ist().date() == day);
        began || !self.status.is_final() || self.wants_a_look()
    }
}

/// Every order of these records, in the order they were first heard of.
pub(crate) fn stories(records: &[Record]) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    let mut places: BTreeMap<ClientOrderId, usize> = BTreeMap::new();
    for record in records {
        // What is said of a book as a whole is no order's story.
        let Some(id) = &record.id else { continue };
        let place = *places.entry(id.clone()).or_insert_with(|| {
            stories.push(Story::new(id.clone(), record.book));
            stories.len() - 1
        });
        if let Some(story) = stories.get_mut(place) {
            story.take(record);
        }
    }
    stories
}

/// How many orders there are, and what is to be done about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) known: usize,
    /// Waiting to leave, or working as far as is known.
    pub(crate) open: usize,
    /// Their answer was lost, or never came: nobody knows yet whether the broker has them.
    pub(crate) unknown: usize,
    /// The day ended before their fate was known, and nobody has looked yet.
    pub(crate) unresolved: usize,
}

impl Counts {
    /// Of these orders.
    pub(crate) fn of(stories: &[Story]) -> Self {
        let count = |of: &dyn Fn(&Story) -> bool| stories.iter().filter(|story| of(story)).count();
        let unknown = |story: &Story| matches!(story.status, OrderStatus::Sent | OrderStatus::Unknown);
        Self {
            known: stories.len(),
            open: count(&|story| !story.status.is_final() && !unknown(story)),
            unknown: count(&unknown),
            unresolved: count(&Story::wants_a_look),
        }
    }

    /// What an engine that starts now makes of them: what never left is over, live orders of an earlier day whose end was
    /// not seen are unresolved, and an earlier day's paper is gone.
    pub(crate) fn after_restart(stories: &[Story], today: NaiveDate) -> Self {
        let earlier = |story: &&Story| story.began().is_some_and(|at| at.to_ist().date() < today);
        let unfinished = |story: &&Story| !story.status.is_final() && story.status != OrderStatus::Journalled;
        let (late, rest): (Vec<&Story>, Vec<&Story>) = stories.iter().filter(unfinished).partition(earlier);
        let unknown =
            rest.iter().filter(|story| matches!(story.status, OrderStatus::Sent | OrderStatus::Unknown)).count();
        let looks = stories.iter().filter(|story| story.wants_a_look()).count();
        Self {
            known: stories.len(),
            open: rest.len() - unknown,
            unknown,
            unresolved: looks + late.iter().filter(|story| story.book == Book::Live).count(),
        }
    }

    /// `3 orders: 1 open, 1 unknown, 1 unresolved; …` and what to do.
    pub(crate) fn words(self) -> String {
        let Self { known, open, unknown, unresolved } = self;
        let orders = if known == 1 { "1 order".to_owned() } else { format!("{known} orders") };
        let mut words = format!("{orders}, {open} open, {unknown} unknown, {unresolved} unresolved");
        if unresolved > 0 {
            words.push_str(
                "; look for the unresolved ones in the broker's app, then `nirantar orders acknowledge ID` for each",
            );
        } else if open + unknown > 0 {
            words.push_str("; they are compared with the broker's book before any new live order leaves");
        } else {
            words.push_str("; nothing to do");
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::*;
    use super::*;

    #[test]
    fn an_order_is_what_its_last_records_say() {
        use OrderStatus as S;
        for (whats, status) in [
            (vec![asked()], S::Journalled),
            (vec![asked(), sent()], S::Sent),
            (vec![asked(), sent(), What::NotSent], S::Journalled),
            (vec![asked(), sent(), refused_for_token()], S::Journalled),
            (vec![asked(), sent(), state(S::Open, 0)], S::Open),
            // A cancel that did not leave says nothing of the order.
            (vec![asked(), sent(), state(S::Open, 0), cancel(), What::NotSent], S::Open),
            (vec![asked(), sent(), state(S::Open, 5), state(S::Filled, 10)], S::Filled),
            (vec![external()], S::Accepted),
        ] {
            let records: Vec<Record> = whats.iter().map(|what| record(1, what.clone())).collect();
            let stories = stories(&records);
            assert_eq!((stories.len(), stories[0].status), (1, status), "{whats:?}");
            assert_eq!(stories[0].history, records);
        }
    }

    #[test]
    fn a_found_order_is_no_longer_acknowledged() {
        let unresolved = state(OrderStatus::Unresolved, 0);
        let story = |whats: &[What]| {
            let records: Vec<Record> = whats.iter().map(|what| record(1, what.clone())).collect();
            stories(&records).remove(0)
        };
        assert!(story(&[asked(), sent(), unresolved.clone()]).wants_a_look());
        let looked = [asked(), sent(), unresolved, What::Acknowledged, state(OrderStatus::Filled, 10)];
        assert!(!story(&looked[..4]).wants_a_look() && story(&looked[..4]).acknowledged);
        assert!(!story(&looked).acknowledged);
    }

    #[test]
    fn todays_list_has_what_began_today_and_what_is_not_over() {
        let (today, tomorrow) = (day("2026-11-20"), day("2026-11-21"));
        let of = |whats: &[What]| {
            let records: Vec<Record> = whats.iter().map(|what| record(1, what.clone())).collect();
            stories(&records).remove(0)
        };
        let filled = of(&[asked(), sent(), state(OrderStatus::Filled, 10)]);
        assert!(filled.concerns(today) && !filled.concerns(tomorrow));
        assert!(of(&[asked(), sent(), state(OrderStatus::Unknown, 0)]).concerns(tomorrow));
        assert!(of(&[asked(), sent(), state(OrderStatus::Unresolved, 0)]).concerns(tomorrow));
        let looked = [asked(), sent(), state(OrderStatus::Unresolved, 0), What::Acknowledged];
        assert!(!of(&looked).concerns(tomorrow));
    }

    #[test]
    fn a_new_day_makes_of_an_order_without_an_end_one_to_look_for() {
        let open = [record(1, asked()), record(1, sent()), record(1, state(OrderStatus::Open, 0))];
        let mut records = open.to_vec();
        records.extend([record(2, asked()), record(3, asked()), record(3, sent())]);
        let counts = |records: &[Record], today| Counts::after_restart(&stories(records), day(today));
        let same_day = Counts { known: 3, open: 1, unknown: 1, unresolved: 0 };
        assert_eq!(counts(&records, "2026-11-20"), same_day, "what never left is over");
        assert_eq!(counts(&records, "2026-11-21"), Counts { open: 0, unknown: 0, unresolved: 2, ..same_day });
        let paper: Vec<Record> = open.iter().cloned().map(|record| Record { book: Book::Paper, ..record }).collect();
        assert_eq!(counts(&paper, "2026-11-21"), Counts { known: 1, ..Counts::default() });
    }

    #[test]
    fn what_is_counted_comes_with_what_to_do() {
        let unresolved = [record(3, asked()), record(3, sent()), record(3, state(OrderStatus::Unresolved, 0))];
        let mut records = vec![record(1, asked()), record(1, sent()), record(2, asked())];
        let words = |records: &[Record]| Counts::of(&stories(records)).words();
        assert_eq!(words(&[]), "0 orders, 0 open, 0 unknown, 0 unresolved; nothing to do");
        let said = words(&records);
        assert!(said.starts_with("2 orders, 1 open, 1 unknown, 0 unresolved; they are compared"), "{said}");
        records.extend(unresolved);
        let said = words(&records);
        assert!(said.contains("1 unresolved; look for") && said.contains("nirantar orders acknowledge ID"), "{said}");
    }
}
