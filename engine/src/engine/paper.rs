//! The paper exchange, and the prices that are played into it while the live feed is missed.

use std::sync::Arc;

use nirantar_brokers::time::Now;
use nirantar_brokers::{Book, BrokerOrderId, BrokerToken, Call, Cause, ClientOrderId, Detail, Failure, Outcome, Tick};
use nirantar_exchange_mock::Update;

use super::asking::call;
use super::task::Task;
use crate::core::Input;
use crate::feed::{FeedStatus, Source, TickEvent};
use crate::orders::Command;
use crate::session::State;

impl Task {
    /// Sends to the paper exchange, which answers at once.
    pub(super) fn send_to_paper(&self, id: &ClientOrderId, command: &Command) -> Outcome<BrokerOrderId> {
        at_once(call(&self.paper, id, command, self.clock.now()))
    }

    /// Tells the core what happened on the paper exchange.
    pub(super) fn drain_paper(&mut self) {
        loop {
            let updates = self.paper_updates();
            if updates.is_empty() {
                return;
            }
            for update in updates {
                self.tell(update);
            }
        }
    }

    pub(super) fn paper_updates(&self) -> Vec<Input> {
        let orders = self.paper.drain().into_iter().filter_map(|update| match update {
            Update::Order(row) => Some(Input::Update { book: Book::Paper, row: Box::new(row) }),
            Update::Trade(_) => None,
        });
        orders.collect()
    }

    /// Fallback prices play while there is no live feed, from the moment it is missed.
    pub(super) fn watch_fallback(&mut self) {
        let live = matches!(self.core.feed().status(), FeedStatus::Live { .. });
        let wanted = self.core.standing().state == State::Fallback && !live;
        if let Some((source, _)) = self.fallback.as_mut().filter(|_| wanted && !self.state.playing) {
            let now = self.clock.now().wall;
            while source.peek().is_some_and(|at| at <= now) {
                source.next();
            }
        }
        self.state.playing = wanted && self.fallback.is_some();
    }

    pub(super) fn play_fallback_prices(&mut self, now: Now) {
        let Some((source, kind)) = self.fallback.as_mut().filter(|_| self.state.playing) else { return };
        while source.peek().is_some_and(|at| at <= now.wall) {
            let Some(price) = source.next() else { return };
            self.paper.price(&price.instrument, price.ltp, price.volume, price.at);
            let token = self.core.number(&price.instrument).unwrap_or(BrokerToken(0));
            let tick = Tick { token, last_price: price.ltp, detail: Detail::Ltp };
            self.hub.publish(TickEvent {
                tick,
                instrument: Arc::new(price.instrument),
                source: Source::Paper(*kind),
                socket_port: 0,
                packet: 0,
                received: now,
            });
        }
    }
}

/// The paper exchange answers at once.
fn at_once<T>(call: Call<T>) -> Outcome<T> {
    match call {
        Call::Ready(outcome) => outcome,
        Call::Http { request, .. } => {
            Err(Failure::new(Cause::NotSent, request.endpoint, "the paper exchange has no network"))
        }
    }
}
