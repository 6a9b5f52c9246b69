//! A restarted exchange goes on as if it had not stopped, as far as a journal knows it.

use nirantar_brokers::{ClientOrderId, OrderRow, OrderStatus, OrderType};
use proptest::prelude::*;

use super::properties::{Input, Run, inputs};
use crate::{MockExchange, Recollection, Stand, Update};

/// A run whose orders carry our numbers, and what a journal keeps of it: what was asked for, and how orders stood.
struct Journalled {
    run: Run,
    story: Recollection,
    stands: std::collections::BTreeMap<ClientOrderId, Stand>,
}

impl Journalled {
    fn new() -> Self {
        Self { run: Run::new(), story: Recollection::default(), stands: std::collections::BTreeMap::new() }
    }

    fn feed(&mut self, input: &Input) {
        let next = ClientOrderId::numbered(1, self.run.asked as u64);
        let mut changing = None;
        match input {
            Input::Place { .. } => self.story.asked(&next, &self.run.request(input).unwrap(), self.run.now),
            Input::Modify { order, change } => {
                let named = self.run.ids.get(*order).and_then(|id| self.run.exchange.order(id)?.client_id.clone());
                if let Some(id) = named {
                    self.story.changing(&id, change);
                    changing = Some(id);
                }
            }
            _ => {}
        }
        let updates = self.run.feed(input);
        // A journal has the refusal of a change as an answer.
        let taken = |update: &Update| matches!(update, Update::Order(row) if row.broker_status == "MODIFIED");
        if let Some(id) = changing.filter(|_| !updates.iter().any(taken)) {
            self.story.refused(&id);
        }
        for update in updates {
            let Update::Order(row) = update else { continue };
            self.hear(&row);
        }
    }

    fn hear(&mut self, row: &OrderRow) {
        let id = row.client_id.clone().unwrap();
        let stand = Stand {
            status: row.status,
            order_id: Some(row.order_id.clone()),
            filled: row.filled,
            average_price: row.average_price,
            message: row.message.clone().or_else(|| self.stands.get(&id)?.message.clone()),
        };
        // A journal has a line only where something changed.
        if self.stands.get(&id) != Some(&stand) {
            self.story.stands(&id, &stand, self.run.now);
            self.stands.insert(id, stand);
        }
    }

    /// The exchange of a new process, and the old one, which forgets what no journal knows.
    fn restart(&self) -> (Run, Run) {
        let (mut old, mut new) = (self.run.clone(), self.run.clone());
        new.exchange = Run::new().exchange;
        let past = self.story.clone().into_past();
        new.exchange.restore(&past, new.now);
        for (before, after) in old.exchange.listings.iter_mut().zip(&mut new.exchange.listings) {
            (after.market, after.matcher.liquidity) = (before.market, before.matcher.liquidity.clone());
            before.matcher.book.all_rested();
        }
        for past in &past.orders {
            let protected = match past.request.order_type {
                OrderType::Market(_) => true,
                OrderType::StopMarket { .. } => past.status == OrderStatus::Open,
                OrderType::Limit(_) | OrderType::StopLimit { .. } => false,
            };
            if protected && !past.status.is_final() {
                old.exchange.cancel(&past.order_id, old.now).unwrap();
            }
        }
        let _ = (old.exchange.drain(), new.exchange.drain());
        (old, new)
    }
}

/// What can be seen of an exchange, but for numbers that chance gives and words.
fn seen(exchange: &MockExchange) -> impl PartialEq + std::fmt::Debug {
    let rows: Vec<_> = exchange
        .book()
        .map(|row| {
            // The limit a market order became is one of the things that are not kept.
            let order_type = exchange.was_market(&row.order_id).is_none().then_some(row.order_type);
            let money = (row.filled, row.average_price, row.quantity, row.placed_at);
            (row.client_id.clone(), row.status, order_type, row.validity, money)
        })
        .collect();
    let trades: Vec<_> =
        exchange.trades().iter().map(|trade| (trade.quantity, trade.price, trade.side, trade.at)).collect();
    (rows, trades, exchange.positions(), exchange.margins(), exchange.next_wake(exchange.clock))
}

proptest! {
    #[test]
    fn a_restarted_exchange_goes_on_as_if_it_had_not_stopped(inputs in inputs(), stopped in any::<prop::sample::Index>()) {
        let (before, after) = inputs.split_at(stopped.index(inputs.len()));
        let mut journalled = Journalled::new();
        for input in before {
            journalled.feed(input);
        }
        let (mut old, mut new) = journalled.restart();
        prop_assert_eq!(format!("{:#?}", seen(&old.exchange)), format!("{:#?}", seen(&new.exchange)));
        for input in after {
            old.feed(input);
            new.feed(input);
            prop_assert_eq!(format!("{:#?}", seen(&old.exchange)), format!("{:#?}", seen(&new.exchange)), "after {:?}", input);
        }
    }

    #[test]
    fn a_number_is_never_given_twice(inputs in inputs(), stopped in any::<prop::sample::Index>()) {
        let (before, after) = inputs.split_at(stopped.index(inputs.len()));
        let mut journalled = Journalled::new();
        for input in before {
            journalled.feed(input);
        }
        let (_, mut new) = journalled.restart();
        for input in after {
            new.feed(input);
        }
        let numbers: std::collections::BTreeSet<_> = new.ids.iter().collect();
        prop_assert_eq!(numbers.len(), new.ids.len());
    }
}
