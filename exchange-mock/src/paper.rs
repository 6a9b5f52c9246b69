//! The paper exchange as a broker for orders: the same trait as a live broker, answered at once.
//!
//! It holds no token and needs no credential, so it works when every login is dead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    BrokerOrderId, Call, Cause, ClientOrderId, Endpoint, Failure, Holding, InstrumentKey, Margins, OrderChange,
    OrderRequest, OrderRow, Orders, Position, Price, Quantity, Trade,
};

use crate::{MockExchange, Rejection, Update};

/// A handle on one paper exchange; clones share it. Each call locks it for its own length and never waits for I/O.
#[derive(Clone, Debug)]
pub struct PaperBroker {
    exchange: Arc<Mutex<MockExchange>>,
}

impl PaperBroker {
    /// A broker over that exchange.
    #[must_use]
    pub fn new(exchange: MockExchange) -> Self {
        Self { exchange: Arc::new(Mutex::new(exchange)) }
    }

    /// A price of an instrument, as the source of fallback prices tells it. Stamped `at`: it fills orders only while
    /// fresh.
    pub fn price(&self, key: &InstrumentKey, ltp: Price, day_volume: Quantity, at: Timestamp) {
        self.lock().price(key, ltp, day_volume, at);
    }

    /// Lets time pass: what is due by `now` expires.
    pub fn wake(&self, now: Timestamp) {
        self.lock().wake(now);
    }

    /// When [`wake`](Self::wake) has something to do.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        self.lock().next_wake(now)
    }

    /// What happened since the last call, in order.
    #[must_use]
    pub fn drain(&self) -> Vec<Update> {
        self.lock().drain()
    }

    /// Reads or drives the exchange itself.
    pub fn with<R>(&self, work: impl FnOnce(&mut MockExchange) -> R) -> R {
        work(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, MockExchange> {
        // The exchange never panics while it is locked; if a caller's closure did, its state is still whole.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer<T>(endpoint: Endpoint, result: Result<T, Rejection>) -> Call<T> {
    Call::Ready(result.map_err(|rejection| Failure::new(Cause::Rejected, endpoint, rejection.message)))
}

impl Orders for PaperBroker {
    fn place(&self, order: &OrderRequest, id: &ClientOrderId, now: Now) -> Call<BrokerOrderId> {
        answer(Endpoint::Place, self.lock().place(order, Some(id), now.wall))
    }

    fn modify(&self, id: &BrokerOrderId, change: &OrderChange, now: Now) -> Call<BrokerOrderId> {
        answer(Endpoint::Modify, self.lock().modify(id, change, now.wall))
    }

    fn cancel(&self, id: &BrokerOrderId, now: Now) -> Call<BrokerOrderId> {
        answer(Endpoint::Cancel, self.lock().cancel(id, now.wall))
    }

    fn book(&self, now: Now) -> Call<Vec<OrderRow>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        Call::Ready(Ok(exchange.book().cloned().collect()))
    }

    fn history(&self, id: &BrokerOrderId, now: Now) -> Call<Vec<OrderRow>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        let rows = exchange.history(id).map(<[_]>::to_vec);
        answer(Endpoint::OrderHistory, rows.ok_or_else(Rejection::no_such_order))
    }

    fn trades(&self, now: Now) -> Call<Vec<Trade>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        Call::Ready(Ok(exchange.trades().to_vec()))
    }

    fn positions(&self, now: Now) -> Call<Vec<Position>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        Call::Ready(Ok(exchange.positions()))
    }

    fn holdings(&self, now: Now) -> Call<Vec<Holding>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        Call::Ready(Ok(exchange.holdings()))
    }

    fn margins(&self, now: Now) -> Call<Margins> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        Call::Ready(Ok(exchange.margins()))
    }
}
