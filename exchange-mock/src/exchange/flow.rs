//! The life of an order: from the broker's desk to the book, against ticks and our own orders, to its end.

use std::borrow::Cow;
use std::sync::Arc;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Depth, Instrument, Money, OrderStatus, Price, Quantity, Trade, Validity};

use super::checks::Stop;
use super::order::{Order, number_at_exchange, words};
use super::{Listing, MockExchange, Update, words_of};
use crate::account::InstrumentNo;
use crate::calendar::Step;
use crate::matching::{
    Cause, Fill, FillsFrom, Manner, MarketTick, Matcher, Model, OrderNo, Record, Sink, State, Waiting, Working,
};

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
        if self.lines.are_instant() {
            self.number_at_exchange(no);
        }
        self.step(no, OrderStatus::Accepted, words::OPENING, None);
        self.set_deadline(no, deadline);
        self.set_out(no);
    }

    /// The exchange's own number for an order, which it has from when it is there.
    pub(super) fn number_at_exchange(&mut self, no: OrderNo) {
        if let Some(order) = self.orders.get_mut(no) {
            let row = Arc::make_mut(&mut order.row);
            row.exchange_order_id = Some(number_at_exchange(no));
            row.exchange_at = Some(self.clock);
        }
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
        let Some(order) = self.orders.get_mut(no) else { return };
        order.entered = self.clock;
        let instrument_no = order.instrument;
        if order.plan.waits() {
            self.step(no, OrderStatus::TriggerPending, words::TRIGGER, None);
        } else {
            self.step(no, OrderStatus::Open, words::OPEN, None);
        }
        let (manner, key) =
            (self.manner(no), self.orders.get(no).map(|order| (working_of(no, order), order.plan.stop)));
        let Some((working, stop)) = key else { return };
        let entered = self.ask(instrument_no, |matcher, sink| match stop.filter(|stop| !stop.fired) {
            Some(stop) => matcher.wait(&waiting_of(working, stop), manner.ioc, sink),
            None => matcher.enter(&working, manner, sink),
        });
        if let Some(order) = self.orders.get_mut(no) {
            order.key = entered.flatten();
        }
        self.hear();
        if self.listings.get(instrument_no).is_some_and(|listing| self.step_of(listing) == Step::PostClose) {
            self.cross_at_close(instrument_no);
        }
    }

    /// Where it was, with another size or validity.
    pub(super) fn stay(&mut self, no: OrderNo, open: Quantity) {
        let manner = self.manner(no);
        let Some(order) = self.orders.get(no) else { return };
        let (instrument_no, waits, key) = (order.instrument, order.plan.waits(), order.key);
        if let (Some(listing), Some(key)) = (self.listings.get_mut(instrument_no), key) {
            listing.matcher.book.resize(key, open);
            listing.matcher.book.set_ioc(key, manner.ioc);
        }
        if waits {
            self.step(no, OrderStatus::TriggerPending, words::TRIGGER, None);
            return;
        }
        self.step(no, OrderStatus::Open, words::OPEN, None);
        if let Some(key) = key {
            self.ask(instrument_no, |matcher, sink| matcher.meet(key, manner, sink));
            self.hear();
        }
    }

    /// A tick: if it is fresh, stops fire, our own orders cross, the rest is matched with the tick's volume. `depth` is
    /// what the market shows after it.
    pub(super) fn match_tick(&mut self, instrument_no: InstrumentNo, ltp: Price, depth: Option<&Depth>, at: Timestamp) {
        let open = self.is_fresh(instrument_no);
        let Some(listing) = self.listings.get(instrument_no) else { return };
        let Some(market) = listing.market else { return };
        // Only who looks at what is shown is shown it.
        let (volume, shown) = match self.config.fills {
            _ if listing.wide > 0 => {
                let depth = depth.filter(|_| self.config.fills == FillsFrom::Depth);
                (Quantity::ZERO, Some(listing.shown_wide(depth, market)))
            }
            FillsFrom::LastPrice => (market.offered, None),
            FillsFrom::Depth => (market.offered, Some(depth.copied().unwrap_or_default())),
        };
        self.ask(instrument_no, |matcher, sink| {
            matcher.tick(MarketTick { ltp, volume, at, open }, sink);
            if let Some(shown) = shown {
                matcher.depth(&shown, at, open, sink);
            }
        });
        self.hear();
    }

    fn manner(&self, no: OrderNo) -> Manner {
        let order = self.orders.get(no);
        Manner {
            takes: order.is_some_and(|order| order.plan.is_market()),
            ioc: order.is_some_and(|order| order.row.validity == Validity::Ioc),
            open: order.is_some_and(|order| self.is_fresh(order.instrument)),
        }
    }

    /// Has an instrument's matcher do something; what it tells is kept for [`hear`](Self::hear).
    pub(super) fn ask<R>(
        &mut self,
        instrument_no: InstrumentNo,
        work: impl FnOnce(&mut Matcher<Model>, &mut Listener<'_>) -> R,
    ) -> Option<R> {
        let Listing { instrument, matcher, .. } = self.listings.get_mut(instrument_no)?;
        Some(work(matcher, &mut Listener { told: &mut self.told, orders: &self.orders, instrument }))
    }

    /// Writes down what a matcher told, in its order.
    fn hear(&mut self) {
        let mut told = std::mem::take(&mut self.told);
        for told in told.drain(..) {
            match told {
                Told::Fired(no, last) => self.fired(no, last),
                Told::Fill(fill) => self.apply(fill.order, fill.quantity, fill.price),
                Told::Cancelled(no, cause) => {
                    let message = match cause {
                        Cause::Asked => None,
                        Cause::Ioc => Some("Order cancelled: the unfilled part of an IOC order."),
                        Cause::SelfTrade => Some("Order cancelled: it would trade with an order of the same account."),
                        Cause::DayEnd => Some("Order cancelled at day end."),
                    };
                    self.cancel_rest(no, message.map(str::to_owned));
                }
            }
        }
        self.told = told;
    }

    /// A stop reached its trigger: it is a limit order now, behind those at its price.
    fn fired(&mut self, no: OrderNo, last: Price) {
        let Some(order) = self.orders.get_mut(no) else { return };
        let Some(listing) = self.listings.get(order.instrument) else { return };
        self.account.release(order.resting_claim());
        order.plan.fire(&listing.instrument, order.row.side, last);
        Arc::make_mut(&mut order.row).order_type = order.plan.shown();
        self.account.block(order.resting_claim());
        self.step(no, OrderStatus::Open, words::OPEN, None);
    }

    /// So many of an order were traded at that price.
    pub(super) fn apply(&mut self, no: OrderNo, quantity: Quantity, price: Price) {
        let Some(order) = self.orders.get_mut(no) else { return };
        self.account.release(order.claim(quantity, order.plan.limit));
        self.account.fill(order.claim(quantity, price), order.value);
        order.value = order.value + price.times(quantity).unwrap_or(Money::ZERO);
        let row = Arc::make_mut(&mut order.row);
        row.filled = row.filled + quantity;
        row.average_price = order.value.per_unit(row.filled);
        order.trades.push(self.trades.len());
        let instrument_no = order.instrument;
        let trade = Arc::new(Trade {
            trade_id: (10_000_001 + self.trades.len() as u64).to_string(),
            order_id: order.row.order_id.clone(),
            instrument: order.row.instrument.clone(),
            side: order.row.side,
            product: order.row.product,
            quantity,
            price,
            at: self.clock,
        });
        if order.open().is_zero() {
            self.set_deadline(no, None);
            self.step(no, OrderStatus::Filled, words::COMPLETE, None);
        } else {
            self.step(no, OrderStatus::Open, words::OPEN, None);
        }
        self.trades.push(Arc::clone(&trade));
        self.updates.push(Update::Trade(trade));
        self.watch_expiry(instrument_no);
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
        let Some(order) = self.orders.get_mut(no) else { return };
        let Some(listing) = self.listings.get_mut(order.instrument) else { return };
        if let Some(key) = order.key.take() {
            listing.matcher.book.remove(key);
        }
    }

    /// Tells the book of how much of an order traded elsewhere; what is left keeps its place.
    pub(super) fn shrink_in_book(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get_mut(no) else { return };
        let (open, key) = (order.open(), order.key);
        let Some(listing) = self.listings.get_mut(order.instrument) else { return };
        if let Some(key) = key {
            listing.matcher.book.resize(key, open);
        }
        if open.is_zero() {
            order.key = None;
        }
    }

    /// Puts an order that was taken out of its book back into it, behind those at its price.
    pub(super) fn return_to_book(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get_mut(no).filter(|order| order.is_working() && !order.open().is_zero()) else {
            return;
        };
        if let Some(listing) = self.listings.get_mut(order.instrument) {
            order.key = listing.matcher.book.insert(&working_of(no, order));
        }
    }

    /// Gives an order its next row.
    pub(super) fn step(
        &mut self,
        no: OrderNo,
        status: OrderStatus,
        word: impl Into<Cow<'static, str>>,
        message: Option<String>,
    ) {
        let Some(order) = self.orders.get_mut(no) else { return };
        debug_assert!(order.row.status.become_(status).is_ok(), "{} -> {status}", order.row.status);
        let row = Arc::make_mut(&mut order.row);
        row.status = status;
        row.broker_status = word.into();
        row.message = message;
        if row.exchange_order_id.is_some() {
            row.exchange_at = Some(self.clock);
        }
        order.rows.push(Arc::clone(&order.row));
        self.updates.push(Update::Order(Arc::clone(&order.row)));
    }
}

pub(super) fn working_of(no: OrderNo, order: &Order) -> Working {
    Working {
        order: no,
        account: 0,
        side: order.row.side,
        limit: order.plan.limit,
        open: order.open(),
        disclosed: Quantity::ZERO,
        priority: 0,
        entered: order.entered,
        rested: false,
    }
}

pub(super) fn waiting_of(working: Working, stop: Stop) -> Waiting {
    // Any protection will do: what the limit becomes is asked of the listener.
    Waiting { trigger: stop.trigger, working, protection: u16::from(stop.protection.is_some()) }
}

/// What a matcher told. The rows of an order tell how it stands; only what they do not know is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Fired(OrderNo, Price),
    Fill(Fill),
    Cancelled(OrderNo, Cause),
}

/// Listens to a matcher while it works.
pub(super) struct Listener<'a> {
    told: &'a mut Vec<Told>,
    orders: &'a [Order],
    instrument: &'a Instrument,
}

impl Sink for Listener<'_> {
    fn record(&mut self, record: Record) {
        if let State::Cancelled(cause) = record.state {
            self.told.push(Told::Cancelled(record.order, cause));
        }
    }

    fn fired(&mut self, order: OrderNo, last: Price) {
        self.told.push(Told::Fired(order, last));
    }

    fn fill(&mut self, fill: Fill) {
        self.told.push(Told::Fill(fill));
    }

    fn protected_limit(&mut self, order: OrderNo, last: Price) -> Option<Price> {
        let order = self.orders.get(order)?;
        let mut plan = order.plan;
        plan.fire(self.instrument, order.row.side, last);
        Some(plan.limit)
    }
}
