//! The lines between those who trade and the exchange: an order takes time to get there, and a price to come back.
//!
//! The exchange hears a tick when those who trade hear it, which is so long after it was traded as market data takes. An
//! order that they send when they hear one gets to the market that much later than it seems to them: it meets what they
//! will hear after the time of the way there *and* the time of the way back. So both delays stand one behind the other
//! here, and what comes back to them (the rows, the fills) is as late as the prices are.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{OrderChange, OrderStatus};

use super::MockExchange;
use super::order::{Order, words};
use super::types::Rejection;
use crate::Step;
use crate::matching::{Delay, Latency, OrderNo};

/// How long messages take. Nothing by default: an order is there when it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// From those who trade to the exchange: orders, changes and cancels.
    pub order_entry: Latency,
    /// From the exchange to those who trade: prices, rows and fills.
    pub market_data: Latency,
}

/// What travels to the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Order(OrderNo),
    Change(OrderNo, OrderChange),
    Cancel(OrderNo),
}

/// Both lines. The same seed gives the same delays.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    instant: bool,
    order_entry: Delay<Message>,
    market_data: Delay<Message>,
}

impl Lines {
    pub(super) fn new(latencies: Latencies, seed: u64) -> Self {
        Self {
            instant: latencies == Latencies::default(),
            order_entry: Delay::new(latencies.order_entry, seed ^ 0x0de5),
            market_data: Delay::new(latencies.market_data, seed ^ 0xda7a),
        }
    }

    /// Whether nothing takes any time. Nothing is ever sent then.
    pub(super) fn are_instant(&self) -> bool {
        self.instant
    }

    pub(super) fn send(&mut self, message: Message, now: Timestamp) {
        self.order_entry.send(message, now);
        while let Some((at, message)) = self.order_entry.receive(Timestamp::from_nanos(i64::MAX)) {
            self.market_data.send(message, at);
        }
    }

    /// When the next message gets there.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.market_data.next()
    }

    fn receive(&mut self, now: Timestamp) -> Option<Message> {
        self.market_data.receive(now).map(|(_, message)| message)
    }
}

impl MockExchange {
    /// The next message has got there.
    pub(super) fn arrive(&mut self) {
        match self.lines.receive(self.clock) {
            Some(Message::Order(no)) => self.reach_market(no),
            Some(Message::Change(no, change)) => self.changed(no, &change),
            Some(Message::Cancel(no)) => self.cancelled(no),
            None => {}
        }
    }

    /// An order that risk management has passed sets out.
    pub(super) fn set_out(&mut self, no: OrderNo) {
        if self.lines.are_instant() {
            self.enter(no);
        } else {
            self.lines.send(Message::Order(no), self.clock);
        }
    }

    /// An order gets to the exchange. What its market does not take any more is rejected there.
    fn reach_market(&mut self, no: OrderNo) {
        // Its day may have ended on the way.
        let Some(order) = self.orders.get(no).filter(|order| !order.is_final()) else { return };
        match self.check_arrival(order) {
            Ok(()) => {
                self.number_at_exchange(no);
                self.enter(no);
            }
            Err(rejection) => {
                self.account.release(order.resting_claim());
                self.set_deadline(no, None);
                self.step(no, OrderStatus::Rejected, words::REJECTED, Some(rejection.message));
            }
        }
    }

    fn check_arrival(&self, order: &Order) -> Result<(), Rejection> {
        let listing = self.listings.get(order.instrument).ok_or_else(Rejection::no_such_instrument)?;
        let of_auction = order.plan.at_market;
        if of_auction && self.step_of(listing) == Step::Continuous {
            return Err(Rejection::order("The auction that this market order was for is over."));
        }
        // What the broker made a limit order of is a limit order to the exchange.
        self.check_entry(listing, order.row.order_type, order.row.validity)?;
        self.check_range(order.instrument, order.row.order_type)
    }
}
