//! The paper exchange: takes orders, matches them with the replayed market and with each other, keeps the account.
//!
//! A value without I/O: time is an argument and never goes back (an earlier `now` counts as the latest one seen), the
//! same inputs give the same outputs. What it promises:
//!
//! * an order is filled by a fresh tick only: one stamped no earlier than the order came and no more than
//!   [`Config::freshness`] ago, during continuous trading. One exception is stated next;
//! * a MARKET or an IOC order first meets the tick that is there when it comes, if that is still fresh, as far as
//!   other orders of ours have left its volume; then a MARKET order rests at its protected limit and waits for the next
//!   tick, and the rest of an IOC order is cancelled at once;
//! * our own crossing orders trade with each other, at once if the last tick is fresh, else with the next one;
//! * the volume of a tick is given away once, by price and then by time; a fill never goes through its limit;
//! * an order has one final state, and its rows move only as [`OrderStatus::can_become`] allows;
//! * the work of a tick does not grow with resting orders of other instruments.
//!
//! Known simplifications: orders are taken in continuous trading only; the day's book is not rolled over to the next day
//! (the account is); MODIFIED and the pending states read as accepted.

mod bands;
mod books;
#[cfg(test)]
mod books_tests;
mod checks;
mod entry;
mod flow;
mod listing;
mod order;
mod phases;
#[cfg(test)]
mod properties;
mod reads;
#[cfg(test)]
mod real_day;
mod recollection;
mod restore;
#[cfg(test)]
mod restore_properties;
#[cfg(test)]
mod session_tests;
mod squaring;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{Datelike, NaiveDate};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{
    BrokerOrderId, BrokerToken, ClientOrderId, Depth, Holding, Instrument, InstrumentKey, InstrumentKind, Money,
    OrderChange, OrderRequest, OrderRow, OrderStatus, Price, Quantity, Trade, Validity,
};

use crate::Calendar;
use crate::account::{Account, InstrumentNo, Lot, Shortage};
use crate::calendar::{Market, Step};
use crate::matching::OrderNo;
use crate::universe::{self, BadListing};
use checks::{MAX_PRICE, Plan};
use listing::{Listing, Markets};
use order::{Order, words};
use phases::Run;
pub use recollection::{PastOrder, Recollection, Stand};
pub use types::{Config, Funds, MarginRates, MarketState, Rejection, RejectionKind, SquareOff, Update};

/// Before any clock.
const NEVER: Timestamp = Timestamp::from_nanos(i64::MIN);

/// A paper exchange with one account.
#[derive(Clone, Debug)]
pub struct MockExchange {
    config: Config,
    calendar: Calendar,
    markets: Markets,
    listings: Vec<Listing>,
    by_key: BTreeMap<InstrumentKey, InstrumentNo>,
    by_token: BTreeMap<BrokerToken, InstrumentNo>,
    account: Account,
    orders: Vec<Order>,
    by_id: BTreeMap<BrokerOrderId, OrderNo>,
    trades: Vec<Trade>,
    deadlines: BTreeSet<(Timestamp, OrderNo)>,
    updates: Vec<Update>,
    /// The day of each market that something is listed in.
    runs: Vec<Run>,
    /// All trading is stopped, by a fault.
    halted_all: bool,
    /// The market-wide breaker's last level, in hundredths of a percent, and its day.
    broken: Option<(NaiveDate, u16)>,
    /// When intraday positions were closed last, and whether they are being closed now.
    squared: Timestamp,
    squaring: bool,
    /// What the exchange refuses the next orders with, and how many of them.
    rejects: Option<(String, Option<u32>)>,
    clock: Timestamp,
    rng: Rng,
    last_id: u64,
    /// What a matcher is telling, until the rows are written. Empty between calls.
    told: Vec<flow::Told>,
}

impl MockExchange {
    /// An exchange that lists these instruments. Of several with the same key, the first counts.
    #[must_use]
    pub fn new(config: Config, instruments: Vec<Instrument>, calendar: Calendar) -> Self {
        let mut this = Self {
            account: Account::new(config.cash, config.margin, config.charges.clone()),
            rng: Rng::from_seed(config.seed),
            config,
            calendar,
            markets: Markets::default(),
            listings: Vec::with_capacity(instruments.len()),
            by_key: BTreeMap::new(),
            by_token: BTreeMap::new(),
            orders: Vec::new(),
            by_id: BTreeMap::new(),
            trades: Vec::new(),
            deadlines: BTreeSet::new(),
            updates: Vec::new(),
            runs: Vec::new(),
            halted_all: false,
            broken: None,
            squared: NEVER,
            squaring: false,
            rejects: None,
            clock: NEVER,
            last_id: 0,
            told: Vec::new(),
        };
        instruments.iter().for_each(|instrument| this.markets.learn(instrument));
        for instrument in instruments {
            if !this.by_key.contains_key(&instrument.key) {
                this.enlist(instrument);
            }
        }
        let held = |holding: &Holding| {
            let all = holding.quantity + holding.t1_quantity;
            let cost = holding.average_price.times(all).unwrap_or(Money::ZERO);
            Some((*this.by_key.get(&holding.instrument)?, Lot::new(holding.quantity, holding.t1_quantity, cost)))
        };
        let holdings = this.config.holdings.iter().filter_map(held).collect();
        this.account.hold(holdings);
        this
    }

    /// The same, once everything that is to be listed can be traded and everything that is held is listed. What the
    /// other takes as it stands, and refuses order by order, is refused here before the day begins.
    ///
    /// # Errors
    /// [`BadListing`] on the first row that is wrong.
    pub fn checked(config: Config, instruments: Vec<Instrument>, calendar: Calendar) -> Result<Self, BadListing> {
        universe::check(&instruments, &config.holdings)?;
        Ok(Self::new(config, instruments, calendar))
    }

    /// Places an order. A number means that the broker took it; whether it then rests, fills or is rejected by risk
    /// management is told by its rows.
    ///
    /// # Errors
    /// [`Rejection`] for what a broker sees at once; no order exists then.
    pub fn place(
        &mut self,
        request: &OrderRequest,
        client_id: Option<&ClientOrderId>,
        now: Timestamp,
    ) -> Result<BrokerOrderId, Rejection> {
        self.wake(now);
        let instrument_no = *self.by_key.get(&request.instrument).ok_or_else(Rejection::no_such_instrument)?;
        let listing = self.listings.get(instrument_no).ok_or_else(Rejection::no_such_instrument)?;
        checks::check_request(&listing.instrument, request)?;
        self.check_entry(listing, request.order_type, request.validity)?;
        self.check_product(listing, request.product, request.quantity)?;
        let plan = self.plan(instrument_no, request.side, request.order_type)?;
        self.check_range(instrument_no, request.order_type)?;
        let deadline = self.deadline(listing, request.validity);

        let order_id = self.next_order_id();
        let row = OrderRow {
            order_id: order_id.clone(),
            parent_id: None,
            exchange_order_id: None,
            client_id: client_id.cloned(),
            status: OrderStatus::Accepted,
            broker_status: String::new(),
            message: None,
            instrument: request.instrument.clone(),
            side: request.side,
            order_type: plan.shown(),
            product: request.product,
            validity: request.validity,
            quantity: request.quantity,
            filled: Quantity::ZERO,
            average_price: Price::ZERO,
            placed_at: self.clock,
            exchange_at: None,
        };
        let no = self.orders.len();
        self.orders.push(Order {
            instrument: instrument_no,
            row,
            rows: Vec::new(),
            plan,
            key: None,
            entered: self.clock,
            value: Money::ZERO,
            deadline: None,
            auctioned: false,
            trades: Vec::new(),
        });
        self.by_id.insert(order_id.clone(), no);
        self.step(no, OrderStatus::Accepted, words::RECEIVED, None);
        self.step(no, OrderStatus::Accepted, words::VALIDATING, None);
        self.admit(no, deadline);
        Ok(order_id)
    }

    /// Changes a working order. A new price, or more units, costs it its place in the queue; fewer units do not.
    ///
    /// # Errors
    /// [`Rejection`] when there is no such order, it works no more, or the change breaks a rule: it is as it was.
    pub fn modify(
        &mut self,
        id: &BrokerOrderId,
        change: &OrderChange,
        now: Timestamp,
    ) -> Result<BrokerOrderId, Rejection> {
        self.wake(now);
        let (no, order, listing) = self.working(id)?;
        self.check_touch(order)?;
        let quantity = change.quantity.unwrap_or(order.row.quantity);
        checks::check_quantity(&listing.instrument, quantity)?;
        if quantity <= order.row.filled {
            return Err(Rejection::input("Quantity should be above what is already filled."));
        }
        let validity = change.validity.unwrap_or(order.row.validity);
        checks::check_validity(validity)?;
        // Closed is closed, whatever changes.
        self.check_entry(listing, change.order_type.unwrap_or(order.row.order_type), validity)?;
        self.check_product(listing, order.row.product, quantity)?;
        let mut plan = order.plan;
        if let Some(order_type) = change.order_type {
            let last = listing.market.map(|market| market.last_price);
            plan = self.plan(order.instrument, order.row.side, order_type)?;
            self.check_range(order.instrument, order_type)?;
            let fired = |plan: Plan| plan.stop.filter(|stop| stop.fired).map(|stop| stop.trigger);
            // A stop that has fired stays in the market, unless it is given another trigger.
            if let (Some(stop), Some(last)) = (plan.stop, last)
                && fired(order.plan) == Some(stop.trigger)
            {
                plan.fire(&listing.instrument, order.row.side, last);
            }
        }
        let deadline = match change.validity {
            Some(validity) => self.deadline(listing, validity),
            None => order.deadline,
        };

        let (old, open) = (order.resting_claim(), quantity.less(order.row.filled));
        let new = order.claim(open, plan.limit);
        // A changed order is a new one in the closing auction.
        let anew = self.step_of(listing).is_closing_entry();
        let keeps_place = plan == order.plan && open <= order.open() && !anew;
        self.account.release(old);
        let checked = self.account.check(new);
        self.account.block(if checked.is_ok() { new } else { old });
        checked.map_err(|shortage| Rejection::new(kind_of(shortage), words_of(shortage)))?;

        self.step(no, OrderStatus::Accepted, words::MODIFY_VALIDATING, None);
        self.step(no, OrderStatus::Accepted, words::MODIFYING, None);
        if !keeps_place {
            self.leave_book(no);
        }
        if let Some(order) = self.orders.get_mut(no) {
            (order.plan, order.row.quantity, order.row.validity) = (plan, quantity, validity);
            order.row.order_type = plan.shown();
        }
        self.set_deadline(no, deadline);
        self.step(no, OrderStatus::Accepted, words::MODIFIED, None);
        if keeps_place {
            self.stay(no, open);
        } else {
            self.enter(no);
        }
        Ok(id.clone())
    }

    /// Cancels what is left of a working order.
    ///
    /// # Errors
    /// [`Rejection`] when there is no such order or it works no more.
    pub fn cancel(&mut self, id: &BrokerOrderId, now: Timestamp) -> Result<BrokerOrderId, Rejection> {
        self.wake(now);
        let (no, order, _) = self.working(id)?;
        self.check_touch(order)?;
        self.step(no, OrderStatus::Accepted, words::CANCELLING, None);
        // No message: Kite leaves it empty when the user cancels.
        self.cancel_rest(no, None);
        Ok(id.clone())
    }

    /// A tick of the market, stamped `at`. `day_volume` is the volume of the day so far, zero where the feed tells
    /// none. Ignored: an unknown instrument, a price that is none, a tick older than the instrument's last.
    pub fn price(&mut self, key: &InstrumentKey, ltp: Price, day_volume: Quantity, at: Timestamp) {
        self.tick(key, ltp, day_volume, None, at);
    }

    /// The same with what the market shows after that trade, for [`FillsFrom::Depth`](crate::matching::FillsFrom::Depth).
    pub fn tick(
        &mut self,
        key: &InstrumentKey,
        ltp: Price,
        day_volume: Quantity,
        depth: Option<&Depth>,
        at: Timestamp,
    ) {
        let Some(&instrument_no) = self.by_key.get(key) else { return };
        if ltp <= Price::ZERO || ltp > MAX_PRICE {
            return;
        }
        self.wake(at);
        let default_liquidity = self.config.default_liquidity;
        let Some(listing) = self.listings.get_mut(instrument_no) else { return };
        let mut new_day = false;
        match &mut listing.market {
            Some(market) if market.at > at => return,
            Some(market) if market.at.ist_date() == at.ist_date() => {
                let before = market.volume;
                market.tick(ltp, day_volume, default_liquidity, at);
                let window = self.runs.get(listing.run).and_then(|run| run.window);
                listing.traded.count(window, ltp, market.volume.less(before), at);
            }
            market => {
                new_day = true;
                let close = listing.previous_close.take().or(market.map(|market| market.last_price)).unwrap_or(ltp);
                *market = Some(MarketState::first(ltp, close, day_volume, default_liquidity, at));
            }
        }
        if listing.instrument.kind == InstrumentKind::Index {
            self.look_at_breakers(instrument_no, ltp);
            return;
        }
        self.flex(instrument_no, ltp, new_day);
        match self.fresh_step(instrument_no) {
            Some(Step::Continuous) => self.match_tick(instrument_no, ltp, depth, at),
            Some(Step::PreOpenMatch | Step::Buffer | Step::ClosingMatch) => self.meet_auction_price(instrument_no, ltp),
            _ => {}
        }
    }

    /// Lets time pass: orders whose day or time to live has ended are cancelled. Every other call does this first.
    pub fn wake(&mut self, now: Timestamp) {
        let now = self.clock.max(now);
        if self.clock == Timestamp::from_nanos(i64::MIN) {
            self.start(now);
        }
        self.pass_turns(now);
        self.clock = now;
        if self.account.day_is_over(self.clock) {
            self.open_day(self.clock);
        }
    }

    /// Nothing has happened before this.
    fn start(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
        self.squared = self.clock;
        self.locate_markets(self.clock);
    }

    /// Everything that is due up to `now`, in order of time; of one moment the market's day goes first.
    fn pass_turns(&mut self, now: Timestamp) {
        loop {
            let turn = self.next_turn().filter(|(at, _)| *at <= now);
            let end = self.deadlines.first().copied().filter(|(at, _)| *at <= now);
            let square = self.next_square_off().filter(|at| *at <= now);
            let Some(next) = [turn.map(|(at, _)| at), end.map(|(at, _)| at), square].into_iter().flatten().min() else {
                return;
            };
            self.clock = self.clock.max(next);
            match (turn, square, end) {
                (Some((at, run)), ..) if at == next => {
                    // With no order anywhere nothing happens at a turn: a year of nights is passed over at once.
                    if self.deadlines.is_empty() {
                        self.pass_over(run, now);
                    } else {
                        self.turn(run, at);
                    }
                }
                (_, Some(at), _) if at == next => self.square_off(at),
                (.., Some((_, no))) => self.expire(no),
                _ => return,
            }
        }
    }

    /// The day of an order, or its time to live, has ended.
    fn expire(&mut self, no: OrderNo) {
        let is_day = self.orders.get(no).is_some_and(|order| order.row.validity == Validity::Day);
        let message =
            if is_day { "Order cancelled at day end." } else { "Order cancelled: its time to live has ended." };
        self.cancel_rest(no, Some(message.to_owned()));
    }

    /// When [`wake`](Self::wake) has something to do: `now` or later.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let end = self.deadlines.first().map(|(at, _)| *at);
        let turn = self.next_turn().map(|(at, _)| at).filter(|_| end.is_some());
        [end, turn, self.next_square_off()].into_iter().flatten().min().map(|at| at.max(now))
    }

    /// What happened since the last call, in order. Kept until it is drained.
    pub fn drain(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.updates)
    }

    /// Tells the previous day's close, for the instrument's day range. Counts for days whose first tick is still to
    /// come.
    pub fn set_previous_close(&mut self, key: &InstrumentKey, close: Price) {
        if let Some(listing) = self.by_key.get(key).and_then(|no| self.listings.get_mut(*no)) {
            listing.previous_close = Some(close);
        }
    }

    /// Replaces the calendar, say for a holiday announced late. Orders that rest keep the end of their day.
    pub fn set_calendar(&mut self, calendar: Calendar) {
        self.calendar = calendar;
        self.locate_markets(self.clock);
    }

    /// Stops trading in one instrument, or with `None` in all, or lets it go on. Working orders stay.
    pub fn halt(&mut self, key: Option<&InstrumentKey>, halted: bool) {
        match key {
            None => {
                self.halted_all = halted;
                self.listings.iter_mut().for_each(|listing| listing.halted &= halted);
            }
            Some(key) => {
                if let Some(listing) = self.by_key.get(key).and_then(|no| self.listings.get_mut(*no)) {
                    listing.halted = halted;
                }
            }
        }
    }

    /// Has the exchange reject the next orders, so many or until it is told otherwise, with these words: they get a number
    /// and end as REJECTED. `None` ends it.
    pub fn reject_next(&mut self, words: Option<(&str, Option<u32>)>) {
        self.rejects = words.map(|(words, count)| (words.to_owned(), count));
    }
}

/// Lookups and small rules.
impl MockExchange {
    fn find(&self, id: &BrokerOrderId) -> Option<&Order> {
        self.by_id.get(id).and_then(|no| self.orders.get(*no))
    }

    fn working(&self, id: &BrokerOrderId) -> Result<(OrderNo, &Order, &Listing), Rejection> {
        let no = *self.by_id.get(id).ok_or_else(Rejection::no_such_order)?;
        let order = self.orders.get(no).ok_or_else(Rejection::no_such_order)?;
        let listing = self.listings.get(order.instrument).ok_or_else(Rejection::no_such_order)?;
        if order.auctioned && order.row.status == OrderStatus::Filled {
            return Err(Rejection::order("Trade executed during closing auction session is not allowed to cancel."));
        }
        if !order.is_working() {
            return Err(Rejection::order(format!(
                "Order cannot be changed or cancelled: it is {}.",
                order.row.broker_status
            )));
        }
        Ok((no, order, listing))
    }

    /// When an order that comes now expires.
    fn deadline(&self, listing: &Listing, validity: Validity) -> Option<Timestamp> {
        let market = self.runs.get(listing.run).map_or(Market::of(listing.instrument.key.exchange), |run| run.market);
        let day_end = self.calendar.day_orders_end_of(market, self.clock.ist_date());
        end_of(validity, self.clock, day_end)
    }

    /// The market an instrument trades in.
    fn market_of(&self, instrument_no: InstrumentNo) -> Option<Market> {
        self.listings.get(instrument_no).and_then(|listing| self.runs.get(listing.run)).map(|run| run.market)
    }

    fn set_deadline(&mut self, no: OrderNo, deadline: Option<Timestamp>) {
        let Some(order) = self.orders.get_mut(no) else { return };
        if let Some(old) = std::mem::replace(&mut order.deadline, deadline) {
            self.deadlines.remove(&(old, no));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, no));
        }
    }

    /// Whether the instrument's last tick may fill orders now.
    fn is_fresh(&self, instrument_no: InstrumentNo) -> bool {
        self.fresh_step(instrument_no) == Some(Step::Continuous)
    }

    /// What the instrument's market does, if its last tick is fresh.
    fn fresh_step(&self, instrument_no: InstrumentNo) -> Option<Step> {
        let listing = self.listings.get(instrument_no)?;
        let market = listing.market.filter(|market| self.clock.since(market.at) <= self.config.freshness);
        market.map(|_| self.step_of(listing))
    }

    /// 19 digits: the date as yymmdd, then thirteen that depend on the seed. Each is higher than the one before.
    fn next_order_id(&mut self) -> BrokerOrderId {
        let first = first_id_of(self.clock.ist_date());
        if self.last_id < first {
            self.last_id = first + self.rng.below(1_000_000_000_000);
        }
        self.last_id += 1 + self.rng.below(1_000);
        BrokerOrderId(self.last_id.to_string())
    }
}

/// When what is left of an order of that validity is cancelled, on a day that ends so.
fn end_of(validity: Validity, from: Timestamp, day_end: Option<Timestamp>) -> Option<Timestamp> {
    match validity {
        // A stop may wait for its trigger until the day ends, whatever happens to it then.
        Validity::Day | Validity::Ioc => day_end,
        Validity::Ttl { minutes } => {
            let end = from + Duration::from_secs(60 * u64::from(minutes));
            Some(day_end.map_or(end, |day_end| day_end.min(end)))
        }
    }
}

fn first_id_of(date: NaiveDate) -> u64 {
    // Two digits of the year that keep the number at 19 digits and inside 63 bits.
    let year = u64::try_from(date.year() - 2000).unwrap_or(0).clamp(10, 91);
    (year * 10_000 + u64::from(date.month()) * 100 + u64::from(date.day())) * 10_000_000_000_000
}

fn kind_of(shortage: Shortage) -> RejectionKind {
    match shortage {
        Shortage::Funds { .. } => RejectionKind::Margin,
        Shortage::Shares { .. } => RejectionKind::Holding,
        Shortage::Rates(_) => RejectionKind::Order,
    }
}

fn words_of(shortage: Shortage) -> String {
    match shortage {
        Shortage::Rates(uncovered) => format!("What this order would cost is not known: {uncovered}."),
        Shortage::Funds { required, available } => {
            format!("Insufficient funds. Required margin is {required} but available margin is {available}.")
        }
        Shortage::Shares { required, available } => {
            format!(
                "Insufficient stock holdings. Required quantity is {required} but available quantity is {available}."
            )
        }
    }
}
