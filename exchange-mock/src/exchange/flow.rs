//! The life of an order: from the broker's desk to the book, against ticks and our own orders, to its end.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, OrderStatus, Price, Quantity, Trade, Validity};

use super::order::{Order, words};
use super::{MockExchange, Update, words_of};
use crate::account::InstrumentNo;
use crate::matching::{Fill, OrderNo, Working};

impl MockExchange {
    /// Risk management, then the exchange.
    pub(super) fn admit(&mut self, no: OrderNo, deadline: Option<Timestamp>) {
        if let Some(words) = self.take_reject() {
            self.step(no, OrderStatus::Rejected, words::REJECTED, Some(words));
            return;
        }
        let Some(order) = self.orders.get(no) else { return };
        let claim = order.resting_claim();
        if let Err(shortage) = self.account.check(claim) {
            self.step(no, OrderStatus::Rejected, words::REJECTED, Some(words_of(shortage)));
            return;
        }
        self.account.block(claim);
        if let Some(order) = self.orders.get_mut(no) {
            order.row.exchange_order_id = Some((1_100_000_000_000_001 + no as u64).to_string());
            order.row.exchange_at = Some(self.clock);
        }
        self.step(no, OrderStatus::Accepted, words::OPENING, None);
        self.set_deadline(no, deadline);
        self.enter(no);
    }

    /// The words of a fault that rejects orders, counted as having happened once.
    fn take_reject(&mut self) -> Option<String> {
        let (words, count) = self.rejects.as_mut()?;
        let words = words.clone();
        match count {
            Some(left) if *left <= 1 => self.rejects = None,
            Some(left) => *left -= 1,
            None => {}
        }
        Some(words)
    }

    /// Into the book, behind all orders at its price, and against what is there.
    pub(super) fn enter(&mut self, no: OrderNo) {
        self.last_priority += 1;
        let Some(order) = self.orders.get_mut(no) else { return };
        order.priority = self.last_priority;
        order.entered = self.clock;
        let Some(listing) = self.listings.get_mut(order.instrument) else { return };
        match order.plan.stop.filter(|stop| !stop.fired) {
            Some(stop) => {
                listing.book.insert_stop(no, order.row.side, stop.trigger, order.priority, order.entered);
                self.step(no, OrderStatus::TriggerPending, words::TRIGGER, None);
            }
            None => {
                listing.book.insert(working_of(no, order));
                self.step(no, OrderStatus::Open, words::OPEN, None);
                self.meet(no);
            }
        }
    }

    /// Where it was, with another size or validity.
    pub(super) fn stay(&mut self, no: OrderNo, open: Quantity) {
        let Some(order) = self.orders.get(no) else { return };
        if order.plan.waits() {
            self.step(no, OrderStatus::TriggerPending, words::TRIGGER, None);
            return;
        }
        if let Some(listing) = self.listings.get_mut(order.instrument) {
            listing.book.resize(order.row.side, order.plan.limit, order.priority, open);
        }
        self.step(no, OrderStatus::Open, words::OPEN, None);
        self.meet(no);
    }

    /// What an order meets when it comes: crossing orders of ours, and the tick that is there.
    fn meet(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get(no) else { return };
        let (instrument_no, side, limit, priority) =
            (order.instrument, order.row.side, order.plan.limit, order.priority);
        let is_ioc = order.row.validity == Validity::Ioc;
        let takes = is_ioc || order.plan.is_market();
        if self.is_fresh(instrument_no) {
            let Some(listing) = self.listings.get_mut(instrument_no) else { return };
            let mut fills = listing.book.uncross();
            if let Some(market) = listing.market.as_mut().filter(|_| takes) {
                fills.extend(listing.book.take_for(side, limit, priority, market.last_price, &mut market.left));
            }
            self.apply(fills);
        }
        if is_ioc {
            self.cancel_ioc(no);
        }
    }

    /// A fresh tick: stops fire, our own orders cross, the rest is matched with the tick's volume.
    pub(super) fn match_tick(&mut self, instrument_no: InstrumentNo, ltp: Price, at: Timestamp) {
        let Some(listing) = self.listings.get_mut(instrument_no) else { return };
        let fired = listing.book.triggered(ltp, at);
        for no in &fired {
            self.fire(*no, ltp);
        }
        let Some(listing) = self.listings.get_mut(instrument_no) else { return };
        let mut fills = listing.book.uncross();
        if let Some(market) = &mut listing.market {
            fills.extend(listing.book.take(ltp, at, &mut market.left));
        }
        self.apply(fills);
        for no in fired {
            if self.orders.get(no).is_some_and(|order| order.row.validity == Validity::Ioc) {
                self.cancel_ioc(no);
            }
        }
    }

    /// A stop reached its trigger: it becomes a limit order, behind those at its price.
    fn fire(&mut self, no: OrderNo, ltp: Price) {
        self.last_priority += 1;
        let Some(order) = self.orders.get_mut(no) else { return };
        let Some(listing) = self.listings.get_mut(order.instrument) else { return };
        self.account.release(order.resting_claim());
        order.plan.fire(&listing.instrument, order.row.side, ltp);
        order.row.order_type = order.plan.shown();
        self.account.block(order.resting_claim());
        // It has been here since before this tick, so this tick may fill it.
        order.priority = self.last_priority;
        listing.book.insert(working_of(no, order));
        self.step(no, OrderStatus::Open, words::OPEN, None);
    }

    /// Puts what is left of an order back into the book it was just taken out of, at its place in time.
    pub(super) fn return_to_book(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get(no).filter(|order| order.is_working() && !order.open().is_zero()) else {
            return;
        };
        if let Some(listing) = self.listings.get_mut(order.instrument) {
            listing.book.insert(working_of(no, order));
        }
    }

    pub(super) fn apply(&mut self, fills: Vec<Fill>) {
        for fill in fills {
            let Some(order) = self.orders.get_mut(fill.order) else { continue };
            self.account.release(order.claim(fill.quantity, order.plan.limit));
            self.account.fill(order.claim(fill.quantity, fill.price));
            order.row.filled = order.row.filled + fill.quantity;
            order.value = order.value + fill.price.times(fill.quantity).unwrap_or(Money::ZERO);
            order.row.average_price = order.value.per_unit(order.row.filled);
            order.trades.push(self.trades.len());
            let trade = Trade {
                trade_id: (10_000_001 + self.trades.len() as u64).to_string(),
                order_id: order.row.order_id.clone(),
                instrument: order.row.instrument.clone(),
                side: order.row.side,
                product: order.row.product,
                quantity: fill.quantity,
                price: fill.price,
                at: self.clock,
            };
            if order.open().is_zero() {
                self.set_deadline(fill.order, None);
                self.step(fill.order, OrderStatus::Filled, words::COMPLETE, None);
            } else {
                self.step(fill.order, OrderStatus::Open, words::OPEN, None);
            }
            self.trades.push(trade.clone());
            self.updates.push(Update::Trade(trade));
        }
    }

    fn cancel_ioc(&mut self, no: OrderNo) {
        self.cancel_rest(no, Some("Order cancelled: the unfilled part of an IOC order.".to_owned()));
    }

    /// Takes what is left of an order out of the market; nothing if it is final already.
    pub(super) fn cancel_rest(&mut self, no: OrderNo, message: Option<String>) {
        self.set_deadline(no, None);
        if self.orders.get(no).is_none_or(Order::is_final) {
            return;
        }
        self.leave_book(no);
        if let Some(order) = self.orders.get(no) {
            self.account.release(order.resting_claim());
        }
        self.step(no, OrderStatus::Cancelled, words::CANCELLED, message);
    }

    pub(super) fn leave_book(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get(no) else { return };
        let Some(listing) = self.listings.get_mut(order.instrument) else { return };
        match order.plan.stop.filter(|stop| !stop.fired) {
            Some(stop) => listing.book.remove_stop(order.row.side, stop.trigger, order.priority),
            None => listing.book.remove(order.row.side, order.plan.limit, order.priority),
        }
    }

    /// Gives an order its next row.
    pub(super) fn step(&mut self, no: OrderNo, status: OrderStatus, word: &str, message: Option<String>) {
        let Some(order) = self.orders.get_mut(no) else { return };
        debug_assert!(order.row.status.become_(status).is_ok(), "{} -> {status}", order.row.status);
        order.row.status = status;
        word.clone_into(&mut order.row.broker_status);
        order.row.message = message;
        if order.row.exchange_order_id.is_some() {
            order.row.exchange_at = Some(self.clock);
        }
        order.rows.push(order.row.clone());
        self.updates.push(Update::Order(order.row.clone()));
    }
}

pub(super) fn working_of(no: OrderNo, order: &Order) -> Working {
    Working {
        order: no,
        side: order.row.side,
        limit: order.plan.limit,
        open: order.open(),
        priority: order.priority,
        entered: order.entered,
    }
}
