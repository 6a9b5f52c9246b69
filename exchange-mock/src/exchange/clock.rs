//! The exchange's clock: what is due when, and in which order.

use std::time::Duration;

use nirantar_brokers::Validity;
use nirantar_brokers::time::Timestamp;

use super::{Listing, MockExchange, NEVER};
use crate::calendar::{Market, Step};
use crate::matching::OrderNo;

impl MockExchange {
    /// Lets time pass: orders whose day or time to live has ended are cancelled. Every other call does this first.
    pub fn wake(&mut self, now: Timestamp) {
        let now = self.clock.max(now);
        if self.clock == NEVER {
            self.start(now);
        }
        self.pass_turns(now);
        self.clock = now;
        if self.account.day_is_over(self.clock) {
            self.open_day(self.clock);
        }
    }

    /// Nothing has happened before this.
    pub(super) fn start(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
        self.squared = self.clock;
        self.locate_markets(self.clock);
    }

    /// Everything that is due up to `now`, in order of time; of one moment the market's day goes
    /// first, and what gets there last.
    fn pass_turns(&mut self, now: Timestamp) {
        loop {
            let turn = self.next_turn().filter(|(at, _)| *at <= now);
            let square = self.next_square_off().filter(|at| *at <= now);
            let end = self.deadlines.first().copied().filter(|(at, _)| *at <= now);
            let arrival = self.lines.next().filter(|at| *at <= now);
            let contract = self.next_settlement().filter(|(at, _)| *at <= now);
            let due = [turn.map(|(at, _)| at), square, end.map(|(at, _)| at), contract.map(|(at, _)| at), arrival];
            let Some(next) = due.into_iter().flatten().min() else { return };
            self.clock = self.clock.max(next);
            match (turn, square, end, contract) {
                (Some((at, run)), ..) if at == next => {
                    // With no order anywhere nothing happens at a turn: a year of nights is passed over at once.
                    if self.is_idle() {
                        self.pass_over(run, now);
                    } else {
                        self.turn(run, at);
                    }
                }
                (_, Some(at), ..) if at == next => self.square_off(at),
                (_, _, Some((at, no)), _) if at == next => self.expire(no),
                (.., Some((at, no))) if at == next => self.expire_contract(at, no),
                _ => self.arrive(),
            }
        }
    }

    /// Whether there is no order anywhere, in a market or on its way.
    fn is_idle(&self) -> bool {
        self.deadlines.is_empty() && self.lines.next().is_none()
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
        let turn = self.next_turn().map(|(at, _)| at).filter(|_| !self.is_idle());
        let contract = self.next_settlement().map(|(at, _)| at);
        [end, turn, self.next_square_off(), contract, self.lines.next()]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(now))
    }

    /// When an order that comes now expires.
    pub(super) fn deadline(&self, listing: &Listing, validity: Validity) -> Option<Timestamp> {
        let market = self.runs.get(listing.run).map_or(Market::of(listing.instrument.key.exchange), |run| run.market);
        let day_end = match self.runs.get(listing.run).filter(|run| run.step() == Step::PostClose) {
            Some(run) => Some(run.until()),
            None => self.calendar.day_orders_end_of(market, self.clock.ist_date()),
        };
        end_of(validity, self.clock, day_end)
    }

    pub(super) fn set_deadline(&mut self, no: OrderNo, deadline: Option<Timestamp>) {
        let Some(order) = self.orders.get_mut(no) else { return };
        if let Some(old) = std::mem::replace(&mut order.deadline, deadline) {
            self.deadlines.remove(&(old, no));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, no));
        }
    }
}

/// When what is left of an order of that validity is cancelled, on a day that ends so.
pub(super) fn end_of(validity: Validity, from: Timestamp, day_end: Option<Timestamp>) -> Option<Timestamp> {
    match validity {
        // A stop may wait for its trigger until the day ends, whatever happens to it then.
        Validity::Day | Validity::Ioc => day_end,
        Validity::Ttl { minutes } => {
            let end = from + Duration::from_secs(60 * u64::from(minutes));
            Some(day_end.map_or(end, |day_end| day_end.min(end)))
        }
    }
}
