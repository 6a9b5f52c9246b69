//! The life of an order in one instrument: it comes, waits for its trigger, meets the market, rests, changes, ends.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Depth, Price, Quantity, Side};

use super::book::MAX_QUANTITY;
use super::liquidity::{Arrival, Liquidity, Manner, MarketTick};
use super::order::{Account, Cause, Key, OrderNo, Record, Refused, Sink, State, Waiting, Working};
use super::{Book, protected};

/// An order as it comes to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Its number, which the core hands back. Numbers of 2^32 and more are told as the highest below.
    pub order: OrderNo,
    /// Whose it is.
    pub account: Account,
    /// Buy or sell.
    pub side: Side,
    /// At what price.
    pub kind: Kind,
    /// How many.
    pub quantity: Quantity,
    /// How many the market sees at a time, at least a tenth of them; zero for all. When the shown part is traded the
    /// next one is shown, behind all others at its price.
    pub disclosed: Quantity,
    /// Immediate or cancel; otherwise it stays until the day ends.
    pub ioc: bool,
}

impl NewOrder {
    /// A limit order for the day that shows all of itself.
    #[must_use]
    pub const fn limit(order: OrderNo, account: Account, side: Side, limit: Price, quantity: Quantity) -> Self {
        Self { order, account, side, kind: Kind::Limit(limit), quantity, disclosed: Quantity::ZERO, ioc: false }
    }

    /// The order in so many legs, one shown at a time; the last may be smaller.
    #[must_use]
    pub const fn iceberg(self, legs: u64) -> Self {
        let legs = if legs == 0 { 1 } else { legs };
        Self { disclosed: Quantity::new(self.quantity.get().div_ceil(legs)), ..self }
    }
}

/// How an order's price is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At this price or better.
    Limit(Price),
    /// At once, at most so many hundredths of a percent from the last price, as a limit order there.
    Market(u16),
    /// A market order whose limit was worked out already.
    Protected(Price),
    /// `SL`: the limit order once the trigger is reached.
    StopLimit {
        /// A buy fires at or above, a sell at or below.
        trigger: Price,
        /// Its limit then.
        limit: Price,
    },
    /// `SL-M`: a market order once the trigger is reached.
    StopMarket {
        /// A buy fires at or above, a sell at or below.
        trigger: Price,
        /// Its protection in hundredths of a percent.
        protection: u16,
    },
}

/// What a resting order is changed to. `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How many it wants from now on, what is filled not included.
    pub open: Option<Quantity>,
    /// Its limit.
    pub limit: Option<Price>,
}

/// No order has this key (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such order works")]
pub struct Gone;

/// One instrument's market: a book, and what is round it.
#[derive(Clone, Debug)]
pub struct Matcher<L> {
    /// The orders.
    pub book: Book,
    /// The market round them.
    pub liquidity: L,
    last: Option<Price>,
    /// Orders are matched as they come. Off in a call auction: they only gather.
    open: bool,
}

impl<L: Liquidity> Matcher<L> {
    /// A market with no orders in it.
    #[must_use]
    pub fn new(book: Book, liquidity: L) -> Self {
        Self { book, liquidity, last: None, open: true }
    }

    /// The last price, of a tick or of a trade in the book where those count.
    #[must_use]
    pub fn last(&self) -> Option<Price> {
        self.last
    }

    /// Whether orders are matched when they come. Without, they rest even where they cross, until a tick that may fill
    /// or [`Book::uncross`]; an IOC order is cancelled.
    pub fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// An order comes. Its key, if it rests or waits now.
    ///
    /// # Errors
    /// [`Refused`]; nothing was told then.
    #[inline]
    pub fn submit<S: Sink>(&mut self, new: &NewOrder, now: Timestamp, sink: &mut S) -> Result<Option<Key>, Refused> {
        let NewOrder { order, account, side, kind, quantity, disclosed, ioc } = *new;
        if quantity.is_zero() || quantity.get() > MAX_QUANTITY {
            return Err(Refused::Quantity { order, quantity });
        }
        if !disclosed.is_zero() && (disclosed > quantity || disclosed.get() < quantity.get().div_ceil(10)) {
            return Err(Refused::Disclosed { order, disclosed, quantity });
        }
        let working = |limit| Working {
            order,
            account,
            side,
            limit,
            open: quantity,
            disclosed,
            priority: 0,
            entered: now,
            rested: false,
        };
        let (working, takes) = match kind {
            Kind::Limit(limit) => (working(limit), false),
            Kind::Protected(limit) => (working(limit), true),
            Kind::Market(protection) => {
                let last = self.last.ok_or(Refused::NoLastPrice { order })?;
                (working(protected(self.book.tick(), side, last, protection)), true)
            }
            Kind::StopLimit { trigger, limit } => {
                let beyond = if side == Side::Buy { trigger > limit } else { trigger < limit };
                if beyond {
                    return Err(Refused::Trigger { order, trigger, limit });
                }
                let stop = Waiting { trigger, working: working(limit), protection: 0 };
                return Ok(self.wait(&stop, ioc, sink));
            }
            Kind::StopMarket { trigger, protection } => {
                let limit = protected(self.book.tick(), side, trigger, protection);
                let stop = Waiting { trigger, working: working(limit), protection: protection.max(1) };
                return Ok(self.wait(&stop, ioc, sink));
            }
        };
        Ok(self.enter(&working, Manner { takes, ioc, open: self.open }, sink))
    }

    /// A limit order comes to the market.
    #[inline]
    pub(crate) fn enter<S: Sink>(&mut self, working: &Working, manner: Manner, sink: &mut S) -> Option<Key> {
        sink.record(told(working, State::Open));
        let key = match self.liquidity.arrive(&mut self.book, working, manner, sink) {
            Arrival::Done => None,
            Arrival::Left(open) => {
                sink.record(told(&Working { open, ..*working }, State::Cancelled(Cause::Ioc)));
                None
            }
            Arrival::Rests(key) if manner.ioc => {
                self.book.cancel(key, Cause::Ioc, sink);
                None
            }
            Arrival::Rests(key) => Some(key),
        };
        if L::OWN_TRADES_FIRE_STOPS {
            self.follow_trades(sink);
        }
        key
    }

    /// A stop comes, to wait for its trigger.
    pub(crate) fn wait<S: Sink>(&mut self, stop: &Waiting, ioc: bool, sink: &mut S) -> Option<Key> {
        sink.record(told(&stop.working, State::Waiting));
        let key = self.book.insert_stop(stop)?;
        self.book.set_ioc(key, ioc);
        if L::OWN_TRADES_FIRE_STOPS {
            self.fire_stops(sink);
        }
        self.book.get(key).map(|_| key)
    }

    /// Changes a resting order, or a stop that waits (its trigger stays). Fewer units keep its place; more, or another
    /// price, cost it: it comes again, behind those at its price, and may have another key from then on.
    ///
    /// # Errors
    /// [`Gone`] if there is no such order.
    pub fn modify<S: Sink>(
        &mut self,
        key: Key,
        change: Change,
        now: Timestamp,
        sink: &mut S,
    ) -> Result<Option<Key>, Gone> {
        let old = self.book.get(key).ok_or(Gone)?;
        let open = change.open.unwrap_or(old.open).min(Quantity::new(MAX_QUANTITY));
        let limit = change.limit.unwrap_or(old.limit);
        if limit == old.limit && open <= old.open {
            self.book.resize(key, open);
            let state = if open.is_zero() { State::Cancelled(Cause::Asked) } else { State::Open };
            sink.record(told(&Working { open, ..old }, state));
            return Ok(self.book.get(key).map(|_| key));
        }
        if let Some(stop) = self.book.waiting(key) {
            let (working, ioc) = (Working { open, limit, ..stop.working }, self.book.is_ioc(key));
            self.book.remove(key);
            return Ok(self.wait(&Waiting { working, ..stop }, ioc, sink));
        }
        self.book.remove(key);
        let again = Working { open, limit, entered: now, rested: false, ..old };
        Ok(self.enter(&again, Manner { takes: false, ioc: false, open: self.open }, sink))
    }

    /// Cancels what is left of an order or a stop.
    ///
    /// # Errors
    /// [`Gone`] if there is no such order.
    #[inline]
    pub fn cancel<S: Sink>(&mut self, key: Key, sink: &mut S) -> Result<(), Gone> {
        if self.book.cancel(key, Cause::Asked, sink) { Ok(()) } else { Err(Gone) }
    }

    /// The day ends: whatever is left is cancelled.
    pub fn end_day<S: Sink>(&mut self, sink: &mut S) {
        loop {
            let orders = self.book.orders(Side::Buy).chain(self.book.orders(Side::Sell)).map(|(key, _)| key);
            let Some(key) = orders.chain(self.book.stops().map(|(key, _)| key)).next() else { return };
            self.book.cancel(key, Cause::DayEnd, sink);
        }
    }

    /// The outside market traded. If that may fill, stops fire first, then orders are matched, then what is left of the
    /// IOC orders among these stops is cancelled.
    pub fn tick<S: Sink>(&mut self, tick: MarketTick, sink: &mut S) {
        self.last = Some(tick.ltp);
        if tick.open {
            self.book.fire(tick.ltp, tick.at, sink);
        }
        self.liquidity.tick(&mut self.book, tick, sink);
        if tick.open {
            self.book.cancel_fired_ioc(sink);
            if L::OWN_TRADES_FIRE_STOPS {
                self.follow_trades(sink);
            }
        }
    }

    /// The outside market shows these levels, which may fill if it is `open`.
    pub fn depth<S: Sink>(&mut self, depth: &Depth, at: Timestamp, open: bool, sink: &mut S) {
        self.liquidity.depth(&mut self.book, depth, at, open, sink);
    }

    /// An order that kept its place looks at the market again.
    pub(crate) fn meet<S: Sink>(&mut self, key: Key, manner: Manner, sink: &mut S) {
        self.liquidity.meet(&mut self.book, key, manner, sink);
        if manner.ioc {
            self.book.cancel(key, Cause::Ioc, sink);
        }
    }

    /// The last trade of the book is the last price, and sets off stops.
    #[inline]
    fn follow_trades<S: Sink>(&mut self, sink: &mut S) {
        if let Some(last) = self.book.take_last_trade() {
            self.last = Some(last);
            if self.book.has_stops() {
                self.fire_stops(sink);
            }
        }
    }

    /// Stops come to the market one after the other; what they trade may set off more. Each fires once, so this ends.
    fn fire_stops<S: Sink>(&mut self, sink: &mut S) {
        while let Some(last) = self.last.filter(|_| self.open) {
            if !self.book.fire_first(last, sink) {
                return;
            }
            self.last = self.book.take_last_trade().or(self.last);
        }
    }
}

const fn told(working: &Working, state: State) -> Record {
    let Working { order, account, side, limit, open, .. } = *working;
    Record { order, account, side, state, limit, open }
}
