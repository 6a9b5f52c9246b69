//! A paper exchange that goes on where another ended: what rested rests again under its number, and positions and money
//! follow from the fills.
//!
//! What no journal keeps is not guessed. The market is not there until its next tick. A protected market order rests at
//! a price that nobody wrote down: what is left of it is cancelled. A resting order counts as one that the market has to
//! come to: it fills at its limit, never better.

use std::collections::BTreeMap;
use std::sync::Arc;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerOrderId, Money, OrderRow, OrderStatus, OrderType, Price, Quantity, Trade, Validity};

use super::checks::{self, Plan};
use super::order::{Order, number_at_exchange, words};
use super::{MockExchange, Past, PastOrder, Settlement, bands};
use crate::calendar::Market;
use crate::matching::{OrderNo, Working};

/// What is left of an order whose terms can not be restored.
const NOT_KEPT: &str = "Order cancelled: the exchange restarted, and the price it was protected at was not kept.";

/// The exchange's own numbers are below this.
const NO_NUMBER_OF_OURS: u64 = 9_200_000_000_000_000_000;

impl MockExchange {
    /// Takes over orders, trades and settlements of before, each in the order in which they came (see
    /// [`Recollection`](crate::Recollection)). Meant for an exchange that has seen nothing yet.
    ///
    /// What is not listed yet is listed as far as its name tells, until [`list`](Self::list) knows more.
    /// Orders that work keep their number and what was filled; those whose time has ended meanwhile, or whose terms are
    /// not known any more, are cancelled, which [`drain`](Self::drain) tells. Trades of earlier days count in positions,
    /// holdings, charges and money only, each day closed before the next. Numbers given from now on are higher than all of these.
    pub fn restore(&mut self, past: &Past, now: Timestamp) {
        let Past { orders, trades, settlements } = past;
        self.start(now);
        let ordered = orders.iter().map(|past| &past.request.instrument);
        self.list_by_name(ordered.chain(trades.iter().map(|trade| &trade.instrument)));
        let today = now.ist_date();
        let mut settlements = settlements.iter().peekable();
        // What each order had been filled for so far: brokerage goes by order.
        let mut worth: BTreeMap<&BrokerOrderId, Money> = BTreeMap::new();
        for trade in trades.iter().filter(|trade| trade.at.ist_date() < today) {
            while let Some(settlement) = settlements.next_if(|settlement| settlement.at < trade.at) {
                self.take_over_settlement(settlement);
            }
            self.open_day(trade.at);
            self.take_over_trade(trade, &mut worth);
        }
        while let Some(settlement) = settlements.next_if(|settlement| settlement.at.ist_date() < today) {
            self.take_over_settlement(settlement);
        }
        self.open_day(now);
        let mut working: Vec<(u64, OrderNo)> = Vec::new();
        for past in orders {
            let number = past.order_id.0.parse().ok().filter(|number| *number < NO_NUMBER_OF_OURS);
            self.last_id = self.last_id.max(number.unwrap_or(0));
            if let Some(no) = self.take_over(past).filter(|_| !past.status.is_final()) {
                working.push((past.rank, no));
            }
        }
        for trade in trades.iter().filter(|trade| trade.at.ist_date() >= today) {
            self.take_over_trade(trade, &mut worth);
            self.list_trade(trade);
        }
        for settlement in settlements {
            self.take_over_settlement(settlement);
        }
        working.sort_unstable();
        for (_, no) in working {
            self.rest_again(no);
        }
        self.wake(now);
    }

    /// Lists an order as it stood. `None` if its instrument is not listed, which [`restore`](Self::restore) has seen to.
    fn take_over(&mut self, past: &PastOrder) -> Option<OrderNo> {
        let instrument = *self.by_key.get(&past.request.instrument)?;
        let plan = self.plan_of(instrument, past);
        let no = self.orders.len();
        let mut row = past.row();
        if let Some(plan) = plan {
            row.order_type = plan.shown();
        }
        if past.status != OrderStatus::Accepted {
            row.exchange_order_id = Some(number_at_exchange(no));
            row.exchange_at = Some(past.entered);
        }
        let row = Arc::new(row);
        let exchange = past.request.instrument.exchange;
        let market = self.market_of(instrument).unwrap_or_else(|| Market::of(exchange));
        let day_end = self.calendar.day_orders_end_of(market, past.placed_at.ist_date());
        self.orders.push(Order {
            instrument,
            rows: vec![Arc::clone(&row)],
            row,
            // Of an order without terms only what is final, or is cancelled at once, is left: its limit is never used.
            plan: plan.unwrap_or(Plan { stop: None, limit: Price::ZERO, was_market: Some(0), at_market: false }),
            key: None,
            entered: past.entered,
            value: Money::ZERO,
            deadline: super::clock::end_of(past.request.validity, past.valid_from, day_end),
            auctioned: false,
            trades: Vec::new(),
        });
        self.by_id.insert(past.order_id.clone(), no);
        Some(no)
    }

    /// The terms of an order that works; `None` where they are not known.
    fn plan_of(&self, instrument: usize, past: &PastOrder) -> Option<Plan> {
        let fired = past.status == OrderStatus::Open;
        let order_type = past.request.order_type;
        if matches!(order_type, OrderType::Market(_)) || (fired && matches!(order_type, OrderType::StopMarket { .. })) {
            return None;
        }
        let instrument = &self.listings.get(instrument)?.instrument;
        let mut plan = checks::plan(instrument, past.request.side, order_type, None).ok()?;
        if let Some(stop) = &mut plan.stop {
            stop.fired = fired;
        }
        Some(plan)
    }

    /// `worth`: what each order has been filled for.
    fn take_over_trade<'a>(&mut self, trade: &'a Trade, worth: &mut BTreeMap<&'a BrokerOrderId, Money>) {
        let Some(&instrument) = self.by_key.get(&trade.instrument) else { return };
        let (product, side, quantity, price) = (trade.product, trade.side, trade.quantity, trade.price);
        let before = worth.entry(&trade.order_id).or_default();
        self.account.fill(crate::account::Claim { instrument, product, side, quantity, price }, *before);
        *before = *before + price.times(quantity).unwrap_or(Money::ZERO);
        self.watch_expiry(instrument);
    }

    fn take_over_settlement(&mut self, settlement: &Settlement) {
        let Settlement { instrument, product, price, at } = settlement;
        let Some(&no) = self.by_key.get(instrument) else { return };
        if *price >= Price::ZERO && self.listings.get(no).is_some_and(|it| bands::is_derivative(&it.instrument)) {
            self.open_day(*at);
            self.account.settle_in(no, *product, *price);
        }
    }

    fn list_trade(&mut self, trade: &Trade) {
        let index = self.trades.len();
        self.trades.push(Arc::new(Trade { trade_id: (10_000_001 + index as u64).to_string(), ..trade.clone() }));
        let Some(order) = self.by_id.get(&trade.order_id).and_then(|no| self.orders.get_mut(*no)) else { return };
        order.trades.push(index);
        order.value = order.value + trade.price.times(trade.quantity).unwrap_or(Money::ZERO);
        let row = Arc::make_mut(&mut order.row);
        row.filled = row.filled + trade.quantity;
        row.average_price = order.value.per_unit(row.filled);
        order.rows = vec![Arc::clone(&order.row)];
    }

    /// Back into the book, behind those restored before it.
    fn rest_again(&mut self, no: OrderNo) {
        let Some(order) = self.orders.get_mut(no) else { return };
        let deadline = order.deadline.take();
        if order.plan.limit <= Price::ZERO || order.open() == Quantity::ZERO {
            self.step(no, OrderStatus::Cancelled, words::CANCELLED, Some(NOT_KEPT.to_owned()));
            return;
        }
        if !matches!(order.row.status, OrderStatus::Open | OrderStatus::TriggerPending) {
            // It was on its way into the book.
            self.admit(no, deadline);
            return;
        }
        let Some(listing) = self.listings.get_mut(order.instrument) else { return };
        let (book, working) = (&mut listing.matcher.book, super::flow::working_of(no, order));
        order.key = match order.plan.stop.filter(|stop| !stop.fired) {
            Some(stop) => book.insert_stop(&super::flow::waiting_of(working, stop)),
            None => book.insert(&Working { rested: true, ..working }),
        };
        if let Some(key) = order.key {
            book.set_ioc(key, order.row.validity == Validity::Ioc);
        }
        self.account.block(order.resting_claim());
        self.set_deadline(no, deadline);
    }
}

impl PastOrder {
    /// Its row, but for what was filled: the trades tell that.
    fn row(&self) -> OrderRow {
        OrderRow {
            order_id: self.order_id.clone(),
            parent_id: None,
            exchange_order_id: None,
            client_id: self.client_id.clone(),
            status: self.status,
            broker_status: word_of(self.status).into(),
            message: self.message.clone(),
            instrument: self.request.instrument.clone(),
            side: self.request.side,
            order_type: self.request.order_type,
            product: self.request.product,
            validity: self.request.validity,
            quantity: self.request.quantity,
            filled: Quantity::ZERO,
            average_price: Price::ZERO,
            placed_at: self.placed_at,
            exchange_at: None,
        }
    }
}

/// Kite's word for an order that stands so.
const fn word_of(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Open => words::OPEN,
        OrderStatus::TriggerPending => words::TRIGGER,
        OrderStatus::Filled => words::COMPLETE,
        OrderStatus::Cancelled => words::CANCELLED,
        OrderStatus::Rejected => words::REJECTED,
        _ => words::RECEIVED,
    }
}
