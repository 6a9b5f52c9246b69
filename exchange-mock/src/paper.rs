//! The paper exchange as a broker for orders: the same trait as a live broker, answered at once.
//!
//! It holds no token and needs no credential, so it works when every login is dead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    BrokerOrderId, Call, Cause, ClientOrderId, Depth, Endpoint, Failure, Holding, InstrumentKey, Margins, OrderChange,
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

    /// A tick of a live feed, with what the market shows after it.
    pub fn tick(&self, key: &InstrumentKey, ltp: Price, day_volume: Quantity, depth: Option<&Depth>, at: Timestamp) {
        self.lock().tick(key, ltp, day_volume, depth, at);
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
        Call::Ready(Ok(exchange.book().map(|row| OrderRow::clone(row)).collect()))
    }

    fn history(&self, id: &BrokerOrderId, now: Now) -> Call<Vec<OrderRow>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        let rows = exchange.history(id).map(|rows| rows.iter().map(|row| OrderRow::clone(row)).collect());
        answer(Endpoint::OrderHistory, rows.ok_or_else(Rejection::no_such_order))
    }

    fn trades(&self, now: Now) -> Call<Vec<Trade>> {
        let mut exchange = self.lock();
        exchange.wake(now.wall);
        Call::Ready(Ok(exchange.trades().iter().map(|trade| Trade::clone(trade)).collect()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Calendar, Config, universe};
    use nirantar_brokers::time::Monotonic;
    use nirantar_brokers::{Exchange, OrderStatus, OrderType, Outcome, Side};

    fn ready<T>(call: Call<T>) -> Outcome<T> {
        match call {
            Call::Ready(outcome) => outcome,
            Call::Http { .. } => panic!("paper needs no network"),
        }
    }

    fn now(second: i64) -> Now {
        let ten = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        Now { mono: Monotonic::default(), wall: Timestamp::from_unix_seconds(ten.as_unix_seconds() + second) }
    }

    fn broker() -> (PaperBroker, InstrumentKey) {
        let instruments = universe::instruments("2026-11-20".parse().unwrap());
        let broker = PaperBroker::new(MockExchange::new(Config::default(), instruments, Calendar::nse()));
        (broker, InstrumentKey::new(Exchange::Nse, "RELIANCE"))
    }

    #[test]
    fn an_order_is_traded_through_the_broker_trait_without_credentials() {
        let (broker, key) = broker();
        let ours: ClientOrderId = "N7".parse().unwrap();
        let price = Price::from_paise(100_000);
        let order = OrderRequest::new(key.clone(), Side::Buy, 10, OrderType::Limit(price));
        let id = ready(broker.place(&order, &ours, now(0))).unwrap();
        broker.clone().price(&key, price, Quantity::new(5_000), now(1).wall);
        let book = ready(broker.book(now(1))).unwrap();
        assert_eq!((book[0].client_id.as_ref(), book[0].status), (Some(&ours), OrderStatus::Filled));
        assert_eq!(ready(broker.history(&id, now(1))).unwrap().len(), 5);
        assert_eq!(ready(broker.trades(now(1))).unwrap().len(), 1);
        assert_eq!(ready(broker.positions(now(1))).unwrap()[0].quantity, 10);
        assert!(ready(broker.holdings(now(1))).unwrap().is_empty());
        assert_eq!(ready(broker.margins(now(1))).unwrap().used, price.times(Quantity::new(2)).unwrap());
        assert_eq!(broker.drain().len(), 6);
    }

    #[test]
    fn a_refusal_is_final_and_names_its_endpoint() {
        let (broker, key) = broker();
        let nothing = OrderRequest::new(key, Side::Buy, 0, OrderType::Limit(Price::from_paise(100_000)));
        let failure = ready(broker.place(&nothing, &"N8".parse().unwrap(), now(0))).unwrap_err();
        assert_eq!((failure.cause, failure.endpoint), (Cause::Rejected, Endpoint::Place));
        let nobody = BrokerOrderId::new("1");
        let failure = ready(broker.history(&nobody, now(0))).unwrap_err();
        assert_eq!((failure.cause, failure.endpoint), (Cause::Rejected, Endpoint::OrderHistory));
    }

    #[test]
    fn reading_lets_time_pass_first() {
        let (broker, key) = broker();
        let order = OrderRequest::new(key, Side::Buy, 1, OrderType::Limit(Price::from_paise(100_000)));
        ready(broker.place(&order, &"N9".parse().unwrap(), now(0))).unwrap();
        let mut book = Vec::new();
        // Through the closing auction to the end of the day.
        while let Some(after) = broker.next_wake(now(0).wall) {
            book = ready(broker.book(Now { wall: after, ..now(0) })).unwrap();
        }
        assert_eq!(book[0].status, OrderStatus::Cancelled);
    }
}
