//! The paper exchange, and the prices that are played into it while the live feed is missed.

use std::collections::BTreeSet;
use std::sync::Arc;

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    Book, BrokerOrderId, BrokerToken, Call, Cause, ClientOrderId, Detail, Failure, InstrumentKey, OrderRequest,
    Outcome, Price, Tick,
};
use nirantar_exchange_mock::{PriceEvent, Update};

use super::asking::call;
use super::task::Task;
use crate::core::Input;
use crate::feed::{FeedStatus, PaperSource, Source, TickEvent};
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

    /// Tells the core the last prices of what an order is about and of what is held: it values and judges by them.
    pub(super) fn mark_before(&mut self, request: &OrderRequest, now: Now) {
        let desk = self.core.desk();
        let held = [Book::Live, Book::Paper].into_iter().flat_map(|book| desk.exposure().open(book));
        let mut instruments: BTreeSet<InstrumentKey> = held.map(|(instrument, ..)| instrument.clone()).collect();
        instruments.insert(request.instrument.clone());
        for instrument in instruments {
            let market = self.paper.with(|exchange| exchange.market(&instrument));
            // A price of yesterday says nothing about today.
            if let Some(market) = market.filter(|market| market.at.ist_date() == now.wall.ist_date()) {
                self.core.mark(&instrument, market.last_price, market.at);
            }
        }
    }

    /// A tick of something that is held may pass the day's bound of loss.
    pub(super) fn mark_tick(&mut self, instrument: &InstrumentKey, price: Price, at: Timestamp) {
        if self.core.watches(instrument) && self.core.mark(instrument, price, at) {
            self.tell(Input::Wake);
        }
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
        while let Some((price, kind)) = self.next_fallback_price(now) {
            self.mark_tick(&price.instrument, price.ltp, price.at);
            self.paper.price(&price.instrument, price.ltp, price.volume, price.at);
            let token = self.core.number(&price.instrument).unwrap_or(BrokerToken(0));
            let tick = Tick { token, last_price: price.ltp, detail: Detail::Ltp };
            self.hub.publish(TickEvent {
                tick,
                instrument: Arc::new(price.instrument),
                source: Source::Paper(kind),
                socket_port: 0,
                packet: 0,
                received: now,
            });
        }
    }

    fn next_fallback_price(&mut self, now: Now) -> Option<(PriceEvent, PaperSource)> {
        let (source, kind) = self.fallback.as_mut().filter(|_| self.state.playing)?;
        source.peek().filter(|at| *at <= now.wall)?;
        Some((source.next()?, *kind))
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
