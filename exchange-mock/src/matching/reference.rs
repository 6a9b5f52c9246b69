//! The same exchange again, slow and obvious: ordered maps by price and then by arrival, an order found by its number,
//! everything copied. What the core must agree with, fill by fill.

use std::collections::BTreeMap;

use nirantar_brokers::{Price, Side};

use super::{Account, Change, Kind, NewOrder, OrderNo, SelfTrade, protected};

/// Lower is served first: the price as its side sees it, then the arrival.
type Rank = (i64, u64);

#[derive(Clone, Copy, Debug)]
struct Order {
    no: OrderNo,
    account: Account,
    side: Side,
    limit: Price,
    open: u64,
    disclosed: u64,
    /// How much of it can be seen.
    shown: u64,
    ioc: bool,
    stop: Option<(Price, Option<u16>)>,
}

#[derive(Debug)]
pub(super) struct Reference {
    tick: Price,
    rule: SelfTrade,
    buys: BTreeMap<Rank, Order>,
    sells: BTreeMap<Rank, Order>,
    buy_stops: BTreeMap<Rank, Order>,
    sell_stops: BTreeMap<Rank, Order>,
    /// Where every order that is somewhere is.
    places: BTreeMap<OrderNo, (Side, bool, Rank)>,
    arrivals: u64,
    last: Option<Price>,
    /// Order, units, price.
    pub(super) fills: Vec<(OrderNo, u64, Price)>,
    /// Orders that ended, with what was left of them.
    pub(super) ends: Vec<(OrderNo, u64)>,
}

fn rank(side: Side, price: Price) -> i64 {
    if side == Side::Buy { -price.units() } else { price.units() }
}

impl Reference {
    pub(super) fn new(tick: Price, rule: SelfTrade) -> Self {
        Self {
            tick,
            rule,
            buys: BTreeMap::new(),
            sells: BTreeMap::new(),
            buy_stops: BTreeMap::new(),
            sell_stops: BTreeMap::new(),
            places: BTreeMap::new(),
            arrivals: 0,
            last: None,
            fills: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(super) fn best(&self, side: Side) -> Option<(Price, u64)> {
        let book = if side == Side::Buy { &self.buys } else { &self.sells };
        let limit = book.values().next()?.limit;
        let shown = book.values().take_while(|order| order.limit == limit).map(|order| order.shown).sum();
        Some((limit, shown))
    }

    pub(super) fn open(&self) -> usize {
        self.places.len()
    }

    /// `false` if it is a market order and there is no price yet.
    pub(super) fn submit(&mut self, new: &NewOrder) -> bool {
        let mut order = Order {
            no: new.order,
            account: new.account,
            side: new.side,
            limit: Price::ZERO,
            open: new.quantity.get(),
            disclosed: new.disclosed.get(),
            shown: 0,
            ioc: new.ioc,
            stop: None,
        };
        match new.kind {
            Kind::Limit(limit) | Kind::Protected(limit) => order.limit = limit,
            Kind::Market(protection) => {
                let Some(last) = self.last else { return false };
                order.limit = protected(self.tick, new.side, last, protection);
            }
            Kind::StopLimit { trigger, limit } => (order.stop, order.limit) = (Some((trigger, None)), limit),
            Kind::StopMarket { trigger, protection } => {
                order.limit = protected(self.tick, new.side, trigger, protection);
                order.stop = Some((trigger, Some(protection)));
            }
        }
        self.come(order);
        true
    }

    /// `false` if there is no such order.
    pub(super) fn cancel(&mut self, no: OrderNo) -> bool {
        let order = self.take_out(no);
        self.ends.extend(order.map(|order| (no, order.open)));
        order.is_some()
    }

    /// `false` if there is no such order.
    pub(super) fn modify(&mut self, no: OrderNo, change: Change) -> bool {
        let Some(&(side, waits, rank)) = self.places.get(&no) else { return false };
        let Some(order) = self.book(side, waits).get_mut(&rank) else { return false };
        let open = change.open.map_or(order.open, |open| open.get());
        let limit = change.limit.unwrap_or(order.limit);
        if limit == order.limit && open <= order.open {
            order.open = open;
            order.shown = if order.disclosed == 0 { open } else { order.shown.min(open) };
            if open == 0 {
                self.take_out(no);
                self.ends.push((no, 0));
            }
        } else if let Some(order) = self.take_out(no) {
            self.come(Order { open, limit, ioc: waits && order.ioc, ..order });
        }
        true
    }

    fn come(&mut self, order: Order) {
        if order.stop.is_some() {
            self.put(order);
        } else {
            self.meet(order);
        }
        // Stops, one after the other, as long as the last price reaches one.
        while let Some(last) = self.last {
            let buy = self.buy_stops.values().next().filter(|order| order.stop.is_some_and(|stop| stop.0 <= last));
            let sell = self.sell_stops.values().next().filter(|order| order.stop.is_some_and(|stop| stop.0 >= last));
            let Some(no) = buy.or(sell).map(|order| order.no) else { return };
            let Some(mut order) = self.take_out(no) else { return };
            if let Some((_, Some(protection))) = order.stop.take() {
                order.limit = protected(self.tick, order.side, last, protection);
            }
            self.meet(order);
        }
    }

    /// Against the other side, then into its own.
    fn meet(&mut self, mut order: Order) {
        loop {
            let best = self.book(order.side.opposite(), false).values().next().copied();
            let crosses = best.filter(|best| match order.side {
                Side::Buy => best.limit <= order.limit,
                Side::Sell => best.limit >= order.limit,
            });
            let Some(best) = crosses.filter(|_| order.open > 0) else { break };
            if best.account == order.account && self.rule == SelfTrade::CancelResting {
                self.cancel(best.no);
                continue;
            }
            if best.account == order.account && self.rule == SelfTrade::CancelIncoming {
                self.ends.push((order.no, order.open));
                return;
            }
            let quantity = best.shown.min(order.open);
            self.last = Some(best.limit);
            order.open -= quantity;
            self.fills.push((best.no, quantity, best.limit));
            self.fills.push((order.no, quantity, best.limit));
            let Some(&(side, _, place)) = self.places.get(&best.no) else { return };
            let left = Order { open: best.open - quantity, shown: best.shown - quantity, ..best };
            if left.open == 0 {
                self.take_out(best.no);
                self.ends.push((best.no, 0));
            } else if left.shown == 0 {
                self.take_out(best.no);
                self.put(left);
            } else {
                self.book(side, false).insert(place, left);
            }
        }
        if order.open == 0 || order.ioc {
            self.ends.push((order.no, order.open));
        } else {
            self.put(order);
        }
    }

    fn put(&mut self, mut order: Order) {
        self.arrivals += 1;
        let waits = order.stop.is_some();
        order.shown = if waits || order.disclosed == 0 { order.open } else { order.open.min(order.disclosed) };
        let first = match order.stop {
            Some((trigger, _)) => rank(order.side.opposite(), trigger),
            None => rank(order.side, order.limit),
        };
        let rank = (first, self.arrivals);
        self.places.insert(order.no, (order.side, waits, rank));
        self.book(order.side, waits).insert(rank, order);
    }

    fn take_out(&mut self, no: OrderNo) -> Option<Order> {
        let (side, waits, rank) = self.places.remove(&no)?;
        self.book(side, waits).remove(&rank)
    }

    fn book(&mut self, side: Side, waits: bool) -> &mut BTreeMap<Rank, Order> {
        match (side, waits) {
            (Side::Buy, false) => &mut self.buys,
            (Side::Sell, false) => &mut self.sells,
            (Side::Buy, true) => &mut self.buy_stops,
            (Side::Sell, true) => &mut self.sell_stops,
        }
    }
}
