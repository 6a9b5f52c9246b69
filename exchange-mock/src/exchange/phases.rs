//! The markets' day: which step each is in, what happens when a step ends, and the auctions.
//!
//! A step ends when its timetable says so; one with a random close at a moment drawn from the exchange's seed, and the
//! next step follows at once. What happens then:
//!
//! * the opening auction is held among our own orders; what is left trades at the market's opening price, if a tick tells
//!   one before the continuous session, as far as that tick's volume reaches. Then limit orders go on as they are, and
//!   market orders as limit orders at the opening price, or at the previous close if there was none;
//! * with the end of continuous trading before a closing auction, stops are cancelled, and with its start what lies
//!   outside its band. Limit orders carry over without being checked again; one that is changed is a new order;
//! * the closing auction is held and meets the market's closing price likewise; what is left is cancelled.
//!
//! What this gets wrong: the real auction's price is made of everybody's orders, ours among them; here two of ours that
//! cross trade at a price of their own, and the rest never moves the market's.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{InstrumentKind, Money, OrderStatus, Price, Quantity, Side};

use super::order::{Order, words};
use super::{Listing, MockExchange, post_close};
use crate::account::InstrumentNo;
use crate::auction::{self, Bid, Outcome, Priority};
use crate::calendar::{BandKind, Calendar, Market, Span, Step};
use crate::matching::OrderNo;

/// One market's day.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) market: Market,
    /// The step it is in by the calendar, ending when it really ends.
    span: Span,
    /// What it does instead, and until when.
    forced: Option<Forced>,
    /// Of which day the rest tells.
    date: Option<NaiveDate>,
    /// When the average is taken that a late or closing band is measured from, or the close where there is no such band.
    pub(super) window: Option<(Timestamp, Timestamp)>,
    /// When the late band comes into force.
    pub(super) late_from: Option<Timestamp>,
}

/// A halt of the whole market, or the auction after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forced {
    step: Step,
    until: Timestamp,
    /// How long the auction after a halt takes.
    auction: Option<Duration>,
}

/// What was traded in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traded {
    since: Option<Timestamp>,
    value: Money,
    quantity: Quantity,
}

impl Traded {
    /// Counts what a tick told, if it falls into the window.
    pub(super) fn count(
        &mut self,
        window: Option<(Timestamp, Timestamp)>,
        price: Price,
        units: Quantity,
        at: Timestamp,
    ) {
        let Some((start, _)) = window.filter(|(start, end)| *start <= at && at < *end && !units.is_zero()) else {
            return;
        };
        if self.since != Some(start) {
            *self = Self { since: Some(start), ..Self::default() };
        }
        if let Some(value) = price.times(units) {
            self.value = self.value + value;
            self.quantity = self.quantity + units;
        }
    }

    pub(super) fn average(&self, window: Option<(Timestamp, Timestamp)>) -> Option<Price> {
        let known = window.map(|(start, _)| start) == self.since && !self.quantity.is_zero();
        known.then(|| self.value.per_unit(self.quantity))
    }
}

impl Run {
    pub(super) fn new(market: Market) -> Self {
        let span = Span {
            step: Step::Closed,
            from: Timestamp::from_nanos(i64::MIN),
            until: Timestamp::from_nanos(i64::MIN),
            random_from: None,
        };
        Self { market, span, forced: None, date: None, window: None, late_from: None }
    }

    /// What the market does.
    pub(super) fn step(&self) -> Step {
        self.forced.map_or(self.span.step, |forced| forced.step)
    }

    /// When that may change.
    pub(super) fn until(&self) -> Timestamp {
        let late = self.late_from.unwrap_or(self.span.until);
        self.forced.map_or_else(|| self.span.until.min(late), |forced| forced.until)
    }

    /// Finds the step at `at`, as if the exchange had been there all the time.
    pub(super) fn locate(&mut self, calendar: &Calendar, seed: u64, at: Timestamp) {
        self.span = self.drawn(calendar.span(self.market, at), seed);
        if self.span.until <= at {
            // A random close has come already: the next step has followed at once.
            let from = self.span.until;
            let next = calendar.span(self.market, self.span_end(calendar, at));
            self.span = Span { from, ..self.drawn(next, seed) };
        }
        self.date = None;
        self.begin_day(calendar, at);
        self.late_from = self.late_from.filter(|late| *late > at);
    }

    /// Goes on to the step that follows the one that ends at `at`.
    fn follow(&mut self, calendar: &Calendar, seed: u64, at: Timestamp) {
        let end = self.span_end(calendar, self.span.from.max(at));
        let next = if self.span.random_from.is_some() { end } else { self.span.until.max(at) };
        let span = self.drawn(calendar.span(self.market, next), seed);
        self.span = Span { from: at, ..span };
        self.begin_day(calendar, at);
    }

    /// When the step at `at` ends by its timetable.
    fn span_end(&self, calendar: &Calendar, at: Timestamp) -> Timestamp {
        // Asked just before the drawn end, which lies inside the step.
        let inside = if self.span.random_from.is_some() { self.span.until - Duration::from_nanos(1) } else { at };
        calendar.span(self.market, inside).until
    }

    /// The span with its random end drawn.
    fn drawn(&self, span: Span, seed: u64) -> Span {
        let Some(first) = span.random_from else { return span };
        let room = u64::try_from(span.until.since(first).as_millis()).unwrap_or(u64::MAX);
        let mark =
            span.from.as_nanos().unsigned_abs() ^ (self.market.exchange as u64) << 8 ^ self.market.segment as u64;
        let after = 1 + Rng::from_seed(seed ^ mark).below(room.max(1));
        Span { until: (first + Duration::from_millis(after)).min(span.until), ..span }
    }

    fn begin_day(&mut self, calendar: &Calendar, at: Timestamp) {
        let date = at.ist_date();
        if self.date == Some(date) {
            return;
        }
        self.date = Some(date);
        let on = |time| Timestamp::from_ist_parts(date, time);
        let late = calendar.band(self.market, BandKind::Late, date);
        self.window = post_close::measured(calendar, self.market, date);
        self.late_from = late.and_then(|band| band.window).map(|(_, end)| on(end));
    }

    /// Stops trading: for so long, then an auction; or to the end of the day.
    pub(super) fn halt(&mut self, at: Timestamp, halt: crate::calendar::Halt) {
        let midnight = Timestamp::from_ist_parts(at.ist_date(), chrono::NaiveTime::MIN) + Duration::from_secs(86_400);
        self.forced = match halt {
            crate::calendar::Halt::None => return,
            crate::calendar::Halt::For { halt, auction } => {
                Some(Forced { step: Step::Halted, until: at + halt, auction: Some(auction) })
            }
            crate::calendar::Halt::Day => Some(Forced { step: Step::Halted, until: midnight, auction: None }),
        };
    }
}

/// Turns of the day.
impl MockExchange {
    /// The next moment at which a market's day goes on.
    pub(super) fn next_turn(&self) -> Option<(Timestamp, usize)> {
        self.runs.iter().enumerate().map(|(no, run)| (run.until(), no)).min()
    }

    /// Puts every market into the step of `now`.
    pub(super) fn locate_markets(&mut self, now: Timestamp) {
        (0..self.runs.len()).for_each(|run| self.locate_market(run, now));
    }

    /// The same for one.
    pub(super) fn locate_market(&mut self, run: usize, now: Timestamp) {
        if let Some(run) = self.runs.get_mut(run) {
            run.locate(&self.calendar, self.config.seed, now);
        }
    }

    /// Passes over what happens to a market up to `now` while nobody has an order.
    pub(super) fn pass_over(&mut self, run_no: usize, now: Timestamp) {
        let (calendar, seed) = (self.calendar.clone(), self.config.seed);
        let Some(run) = self.runs.get_mut(run_no) else { return };
        match run.forced.filter(|forced| forced.until <= now) {
            Some(Forced { until, auction: Some(auction), .. }) => {
                run.forced = Some(Forced { step: Step::PreOpenEntry, until: until + auction, auction: None });
            }
            _ => {
                run.forced = None;
                run.locate(&calendar, seed, now);
            }
        }
    }

    /// A market's day goes on.
    pub(super) fn turn(&mut self, run_no: usize, at: Timestamp) {
        let (calendar, seed) = (self.calendar.clone(), self.config.seed);
        let Some(run) = self.runs.get_mut(run_no) else { return };
        let before = run.step();
        if run.forced.is_none() && run.late_from.is_some_and(|late| late <= at) && run.span.until > at {
            run.late_from = None;
            self.begin_late_band(run_no);
            return;
        }
        match run.forced {
            Some(Forced { auction: Some(auction), .. }) => {
                let until = at + auction;
                run.forced = Some(Forced { step: Step::PreOpenEntry, until, auction: None });
            }
            Some(_) => {
                run.forced = None;
                run.locate(&calendar, seed, at);
            }
            None => run.follow(&calendar, seed, at),
        }
        let after = run.step();
        if before == after {
            return;
        }
        if before.is_opening_entry() && !after.is_opening_entry() {
            self.hold_auction(run_no, Priority::LimitFirst);
        }
        if before.is_closing_entry() && !after.is_closing_entry() {
            self.hold_auction(run_no, Priority::MarketFirst);
        }
        match after {
            Step::Continuous => self.begin_continuous(run_no),
            Step::ClosingReference | Step::ClosingEntry if before == Step::Continuous => self.end_stops(run_no),
            _ => {}
        }
        if after == Step::ClosingEntry {
            self.keep_inside_band(run_no, "Order cancelled: its price is outside the band of the closing auction.");
        }
        if before == Step::ClosingMatch {
            for no in self.working_in(run_no) {
                self.cancel_rest(no, Some("Order cancelled: not executed in the closing auction.".to_owned()));
            }
        }
    }

    /// Working orders of a market, in the order in which they came into their book.
    pub(super) fn working_in(&self, run_no: usize) -> Vec<OrderNo> {
        let here = |no: &InstrumentNo| self.listings.get(*no).is_some_and(|listing| listing.run == run_no);
        let working = self.orders.iter().enumerate().filter(|(_, order)| order.is_working() && here(&order.instrument));
        let mut found: Vec<(Timestamp, OrderNo)> = working.map(|(no, order)| (order.entered, no)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, no)| no).collect()
    }

    fn end_stops(&mut self, run_no: usize) {
        for no in self.working_in(run_no) {
            if self.orders.get(no).is_some_and(|order| order.row.status == OrderStatus::TriggerPending) {
                let words = "Order cancelled: stop-loss orders do not go into the closing auction.";
                self.cancel_rest(no, Some(words.to_owned()));
            }
        }
    }

    /// From now on stock futures trade in a fixed band; what lies outside is cancelled by the exchange.
    fn begin_late_band(&mut self, run_no: usize) {
        self.keep_inside_band(run_no, "Order cancelled by the exchange: its price is outside the operating range.");
    }

    fn keep_inside_band(&mut self, run_no: usize, words: &str) {
        for no in self.working_in(run_no) {
            let Some(order) = self.orders.get(no) else { continue };
            let outside = self.price_range(order.instrument).is_some_and(|(low, high)| {
                let trigger = order.plan.stop.filter(|stop| !stop.fired).map(|stop| stop.trigger);
                let beyond = |price: Price| price < low || price > high;
                !order.plan.at_market && (beyond(order.plan.limit) || trigger.is_some_and(beyond))
            });
            if outside {
                self.cancel_rest(no, Some(words.to_owned()));
            }
        }
    }

    // --- auctions ----------------------------------------------------------------------------------------------

    /// Orders of one instrument that wait for an auction's price, each side in order of time.
    pub(super) fn bids(&self, orders: &[OrderNo], instrument: InstrumentNo) -> [Vec<Bid>; 2] {
        let side = |side: Side| {
            let of = |no: &OrderNo| {
                let order = self.orders.get(*no)?;
                let here = order.instrument == instrument && order.row.side == side && !order.plan.waits();
                let limit = (!order.plan.at_market).then_some(order.plan.limit);
                (here && order.is_working()).then(|| Bid { order: *no, limit, open: order.open() })
            };
            orders.iter().filter_map(of).collect()
        };
        [side(Side::Buy), side(Side::Sell)]
    }

    /// Our own orders that cross trade at one price.
    fn hold_auction(&mut self, run_no: usize, priority: Priority) {
        let orders = self.working_in(run_no);
        let mut instruments: Vec<InstrumentNo> =
            orders.iter().filter_map(|no| self.orders.get(*no)).map(|order| order.instrument).collect();
        instruments.sort_unstable();
        instruments.dedup();
        for instrument in instruments {
            let Some(reference) = self.auction_reference(instrument, priority) else { continue };
            let [buys, sells] = self.bids(&orders, instrument);
            let Outcome { price: Some(price), fills, .. } = auction::hold(&buys, &sells, reference, priority) else {
                continue;
            };
            if let Some(listing) = self.listings.get_mut(instrument) {
                listing.auction_price = Some((self.clock, price));
            }
            self.fill_in_auction(fills, price, priority == Priority::MarketFirst);
        }
    }

    /// The market told the auction's price: what is left of our orders meets it.
    pub(super) fn meet_auction_price(&mut self, instrument: InstrumentNo, price: Price) {
        let Some(listing) = self.listings.get_mut(instrument) else { return };
        let closing = self.runs.get(listing.run).is_some_and(|run| run.step() == Step::ClosingMatch);
        let since = self.runs.get(listing.run).map_or(self.clock, |run| run.span.from);
        match listing.print {
            // An auction has one price: what the market trades at after it is no part of it.
            Some((at, first)) if at >= since && first != price => return,
            Some((at, _)) if at >= since => {}
            _ => listing.print = Some((self.clock, price)),
        }
        let priority = if closing { Priority::MarketFirst } else { Priority::LimitFirst };
        self.serve_at(instrument, price, priority, closing);
    }

    /// What the market told of that was traded at a price is shared out among our orders, both sides, as far as it goes.
    pub(super) fn serve_at(&mut self, instrument: InstrumentNo, price: Price, priority: Priority, closing: bool) {
        let Some(listing) = self.listings.get(instrument) else { return };
        let (run_no, mut left) = (listing.run, listing.market.map_or(Quantity::ZERO, |market| market.offered));
        let orders = self.working_in(run_no);
        let [buys, sells] = self.bids(&orders, instrument);
        for (bids, side) in [(buys, Side::Buy), (sells, Side::Sell)] {
            let fills = auction::serve(&bids, side, price, left, priority);
            left = fills.iter().fold(left, |left, (_, taken)| left.less(*taken));
            self.fill_in_auction(fills, price, closing);
        }
        if let Some(market) = self.listings.get_mut(instrument).and_then(|listing| listing.market.as_mut()) {
            market.offered = left;
        }
    }

    pub(super) fn fill_in_auction(&mut self, fills: Vec<(OrderNo, Quantity)>, price: Price, closing: bool) {
        for (no, quantity) in fills {
            if let Some(order) = self.orders.get_mut(no) {
                order.auctioned |= closing;
            }
            self.apply(no, quantity, price);
            self.shrink_in_book(no);
        }
    }

    /// Limit orders go on as they are; market orders become limit orders at the opening price and keep their time.
    fn begin_continuous(&mut self, run_no: usize) {
        let orders = self.working_in(run_no);
        let mut changed: Vec<InstrumentNo> = Vec::new();
        for no in orders.iter().copied() {
            let Some(order) = self.orders.get(no).filter(|order| order.plan.at_market) else { continue };
            let instrument = order.instrument;
            let Some(price) = self.opening_price(instrument) else {
                self.cancel_rest(no, Some("Order cancelled: there is no opening price for it.".to_owned()));
                continue;
            };
            self.leave_book(no);
            if let Some(order) = self.orders.get_mut(no) {
                self.account.release(order.resting_claim());
                order.plan.at_market = false;
                order.plan.limit = price;
                Arc::make_mut(&mut order.row).order_type = order.plan.shown();
                self.account.block(order.resting_claim());
            }
            self.step(no, OrderStatus::Open, words::OPEN, None);
            changed.push(instrument);
        }
        // A book queues in the order of coming in: where a market order came before a limit order of its price, all of
        // the instrument's orders come in once more.
        let again = |order: &Order| changed.contains(&order.instrument) && !order.plan.waits();
        for no in orders {
            if self.orders.get(no).is_some_and(again) {
                self.leave_book(no);
                self.return_to_book(no);
            }
        }
    }

    /// What our auction or the market's came to today, or the previous close.
    fn opening_price(&self, instrument: InstrumentNo) -> Option<Price> {
        let listing = self.listings.get(instrument)?;
        let today = |found: &(Timestamp, Price)| found.0.is_same_ist_date(self.clock);
        let found = listing.print.filter(today).or(listing.auction_price.filter(today)).map(|(_, price)| price);
        let price = found.or_else(|| self.previous_close(listing))?;
        Some(price.floor_to(listing.instrument.tick).max(listing.instrument.tick))
    }

    fn auction_reference(&self, instrument: InstrumentNo, priority: Priority) -> Option<Price> {
        match priority {
            Priority::LimitFirst => self.previous_close(self.listings.get(instrument)?),
            Priority::MarketFirst => self.reference_price(instrument),
        }
    }

    /// The average of the time before the closing auction or the late band, else the day's last price, else the previous
    /// close; on a tick.
    #[must_use]
    pub(super) fn reference_price(&self, instrument: InstrumentNo) -> Option<Price> {
        let listing = self.listings.get(instrument)?;
        let window = self.runs.get(listing.run)?.window;
        let today = listing.market.filter(|market| market.at.is_same_ist_date(self.clock));
        let price = listing.traded.average(window).or(today.map(|market| market.last_price));
        let price = price.or_else(|| self.previous_close(listing))?;
        Some(price.floor_to(listing.instrument.tick).max(listing.instrument.tick))
    }

    /// The previous day's close, as far as it is known.
    pub(super) fn previous_close(&self, listing: &Listing) -> Option<Price> {
        let today = listing.market.filter(|market| market.at.is_same_ist_date(self.clock));
        let before = || listing.previous_close.or(listing.market.map(|market| market.last_price));
        today.map(|market| market.ohlc.close).or_else(before)
    }

    /// Whether an instrument's orders match as they come.
    pub(super) fn step_of(&self, listing: &Listing) -> Step {
        let step = self.runs.get(listing.run).map_or(Step::Closed, Run::step);
        if step == Step::Closed {
            return step;
        }
        let halted = self.halted_all || listing.halted;
        if halted {
            return Step::Halted;
        }
        if step.is_opening_entry() || matches!(step, Step::PreOpenMatch | Step::Buffer) {
            let forced = self.runs.get(listing.run).is_some_and(|run| run.forced.is_some());
            if !forced && listing.instrument.kind == InstrumentKind::Future && !self.is_near(listing) {
                return Step::Buffer;
            }
        }
        step
    }

    /// Whether a future takes part in the opening auction: that of the nearest expiry, and in its last five trading days
    /// the next one too (NSE/FAOP/71092).
    fn is_near(&self, listing: &Listing) -> bool {
        let today = self.clock.ist_date();
        let Some(expiry) = listing.instrument.expiry else { return false };
        let mut expiries: Vec<NaiveDate> = self
            .listings
            .iter()
            .filter(|other| other.run == listing.run && other.instrument.name == listing.instrument.name)
            .filter_map(|other| other.instrument.expiry)
            .filter(|expiry| *expiry >= today)
            .collect();
        expiries.sort_unstable();
        expiries.dedup();
        let exchange = listing.instrument.key.exchange;
        match expiries.iter().position(|other| *other == expiry) {
            Some(0) => true,
            Some(1) => expiries.first().is_some_and(|first| self.calendar.trading_days(exchange, today, *first) <= 5),
            _ => false,
        }
    }
}
