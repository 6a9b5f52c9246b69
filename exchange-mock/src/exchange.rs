//! The paper exchange: takes orders, matches them with the replayed market and with each other, keeps the account.
//!
//! A value without I/O: time is an argument and never goes back (an earlier `now` counts as the latest one seen), the
//! same inputs give the same outputs. What it promises:
//!
//! * an order is filled by a fresh tick only: one stamped no earlier than the order came and no more than
//!   [`Config::freshness`] ago, in continuous trading, or at the one price of an auction or of the post-close session. One
//!   exception is stated next;
//! * a MARKET or an IOC order first meets the tick that is there when it comes, if that is still fresh, as far as
//!   other orders of ours have left its volume; then a MARKET order rests at its protected limit and waits for the next
//!   tick, and the rest of an IOC order is cancelled at once;
//! * our own crossing orders trade with each other, at once if the last tick is fresh, else with the next one;
//! * the volume of a tick is given away once, by price and then by time; a fill never goes through its limit;
//! * where the way to it takes time ([`Config::latency`]), everything counts from when it gets there;
//! * a contract that ends while it is held is settled, or [said](Update::Expired) not to be;
//! * an order has one final state, and its rows move only as [`OrderStatus::can_become`] allows;
//! * the work of a tick does not grow with resting orders of other instruments.
//!
//! Known simplifications: the day's book is not rolled over to the next day (the account is); MODIFIED and the pending
//! states read as accepted.

mod amend;
mod bands;
mod books;
#[cfg(test)]
mod books_tests;
mod checks;
mod clock;
mod entry;
mod expiry;
#[cfg(test)]
mod expiry_tests;
mod flow;
#[cfg(test)]
mod latency_tests;
mod lines;
mod listing;
mod order;
mod phases;
mod post_close;
#[cfg(test)]
mod post_close_tests;
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
mod ticks;
mod types;
mod widen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{
    BrokerOrderId, BrokerToken, ClientOrderId, Holding, Instrument, InstrumentKey, Lookup, Money, OrderRequest,
    OrderRow, OrderStatus, Price, Quantity, ToSmolStr, Trade,
};

use crate::Calendar;
use crate::account::{Account, InstrumentNo, Lot, Shortage};
use crate::calendar::Market;
use crate::matching::OrderNo;
pub use expiry::{Expired, Unsettled};
pub use lines::Latencies;
use lines::Lines;
use listing::{Listing, Markets};
use order::{Order, words};
use phases::Run;
pub use recollection::{Past, PastOrder, Recollection, Settlement, Stand};
pub use types::{Config, Funds, MarginRates, MarketState, Rejection, RejectionKind, SquareOff, Update};

/// As many rows as an order has that is filled at once.
const ROWS: usize = 5;

/// Before any clock.
const NEVER: Timestamp = Timestamp::from_nanos(i64::MIN);

/// A paper exchange with one account.
#[derive(Clone, Debug)]
pub struct MockExchange {
    config: Config,
    calendar: Calendar,
    markets: Markets,
    listings: Vec<Listing>,
    by_key: Lookup<InstrumentKey, InstrumentNo>,
    by_token: BTreeMap<BrokerToken, InstrumentNo>,
    account: Account,
    orders: Vec<Order>,
    by_id: Lookup<BrokerOrderId, OrderNo>,
    trades: Vec<Arc<Trade>>,
    deadlines: BTreeSet<(Timestamp, OrderNo)>,
    /// When contracts that were traded are settled.
    settlements: BTreeSet<(Timestamp, InstrumentNo)>,
    updates: Vec<Update>,
    /// The day of each market that something is listed in.
    runs: Vec<Run>,
    /// All trading is stopped, by a fault.
    halted_all: bool,
    /// By how many ticks every spread is wider, by a fault.
    wide: u32,
    /// The market-wide breaker's last level, in hundredths of a percent, and its day.
    broken: Option<(NaiveDate, u16)>,
    /// When intraday positions were closed last, and whether they are being closed now.
    squared: Timestamp,
    squaring: bool,
    /// What the exchange refuses the next orders with, and how many of them.
    rejects: Option<(String, Option<u32>)>,
    /// Orders on their way.
    lines: Lines,
    clock: Timestamp,
    rng: Rng,
    last_id: u64,
    /// What a matcher is telling, until the rows are written. Empty between calls.
    told: Vec<flow::Told>,
}

impl MockExchange {
    /// An exchange that [lists](Self::list) these instruments: of several with the same key the last counts. Rows that
    /// cannot be traded as they stand are refused order by order; [`universe::check`](crate::universe::check) finds them at
    /// once.
    #[must_use]
    pub fn new(config: Config, instruments: Vec<Instrument>, calendar: Calendar) -> Self {
        let mut this = Self {
            account: Account::new(config.cash, config.margin, config.charges.clone()),
            rng: Rng::from_seed(config.seed),
            lines: Lines::new(config.latency, config.seed),
            config,
            calendar,
            markets: Markets::default(),
            listings: Vec::with_capacity(instruments.len()),
            by_key: Lookup::default(),
            by_token: BTreeMap::new(),
            orders: Vec::new(),
            by_id: Lookup::default(),
            trades: Vec::new(),
            deadlines: BTreeSet::new(),
            settlements: BTreeSet::new(),
            updates: Vec::new(),
            runs: Vec::new(),
            halted_all: false,
            wide: 0,
            broken: None,
            squared: NEVER,
            squaring: false,
            rejects: None,
            clock: NEVER,
            last_id: 0,
            told: Vec::new(),
        };
        this.list(instruments);
        let held = |holding: &Holding| {
            let all = holding.quantity + holding.t1_quantity;
            let cost = holding.average_price.times(all).unwrap_or(Money::ZERO);
            Some((*this.by_key.get(&holding.instrument)?, Lot::new(holding.quantity, holding.t1_quantity, cost)))
        };
        let holdings = this.config.holdings.iter().filter_map(held).collect();
        this.account.hold(holdings);
        this
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
        if self.has_expired(listing) {
            return Err(Rejection::no_such_instrument());
        }
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
            broker_status: words::RECEIVED.into(),
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
            row: Arc::new(row),
            rows: Vec::with_capacity(ROWS),
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
        self.watch_expiries_again();
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

    /// The market an instrument trades in.
    fn market_of(&self, instrument_no: InstrumentNo) -> Option<Market> {
        self.listings.get(instrument_no).and_then(|listing| self.runs.get(listing.run)).map(|run| run.market)
    }

    /// 19 digits: the date as yymmdd, then thirteen that depend on the seed. Each is higher than the one before.
    fn next_order_id(&mut self) -> BrokerOrderId {
        let first = first_id_of(self.clock.ist_date());
        if self.last_id < first {
            self.last_id = first + self.rng.below(1_000_000_000_000);
        }
        self.last_id += 1 + self.rng.below(1_000);
        BrokerOrderId(self.last_id.to_smolstr())
    }
}

fn first_id_of(date: NaiveDate) -> u64 {
    // Two digits of the year that keep the number at 19 digits and inside 63 bits.
    let year = u64::try_from(date.year() - 2000).unwrap_or(0).clamp(10, 91);
    (year * 10_000 + u64::from(date.month()) * 100 + u64::from(date.day())) * 10_000_000_000_000
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
