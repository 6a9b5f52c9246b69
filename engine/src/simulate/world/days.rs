//! The trading day: what is put into the queue when it begins, the market's ticks and the feed's beats in it, and the look
//! at the books when it is over.

use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::{Book, Exchange, OrderRow, Venue};

use super::super::checkers::Violation;
use super::super::faults::FaultKind;
use super::super::time::Instant;
use super::super::{broker, market};
use super::{Happening, World, time};

/// When the machine is awake: it sleeps through nights and days without trading.
const WAKES: (u32, u32) = (7, 0);
const SLEEPS: (u32, u32) = (16, 15);
/// After so long in a fair world nothing is in doubt any more.
const SETTLES: Duration = Duration::from_secs(15 * 60);

impl World<'_> {
    pub(super) fn await_day(&mut self, day: usize) {
        if day < self.days.len() {
            let at = self.at(day, time(WAKES.0, WAKES.1));
            self.queue.put(at, Happening::DayBegins(day));
        }
    }

    pub(super) fn day_begins(&mut self, day: usize) -> Result<(), Violation> {
        self.day = day;
        self.await_day(day + 1);
        let Some(date) = self.days.get(day).copied() else { return Ok(()) };
        self.story.tell(self.clock.right(self.now), "world", || format!("trading day {} begins", day + 1));
        if day > 0 {
            let seed = self.dice.lives.next_u64();
            self.broker.exchange = broker::exchange(seed, date, &self.calendar, market::freshness(self.options.tick));
            self.market.open(date);
            self.checkers.new_day();
            self.keep_five_days();
        }
        let (open, close) = self
            .calendar
            .continuous_on(Exchange::Nse, date)
            .map_or((Instant::NEVER, Instant::NEVER), |(open, close)| (self.clock.at(open), self.clock.at(close)));
        self.hours = (open, close);
        self.queue.put(open, Happening::Tick);
        self.queue.put(open + self.options.order_every, Happening::Work);
        if day == 0 {
            self.queue.put(self.now, Happening::Beat);
        }
        let five_before = self.clock.right(close) - Duration::from_secs(300);
        self.queue.put(self.clock.at(five_before), Happening::SquaresOff);
        self.queue.put(self.at(day, time(SLEEPS.0, SLEEPS.1)), Happening::DayEnds);
        let number = u32::try_from(day + 1).unwrap_or(u32::MAX);
        for index in 0..self.faults.len() {
            if let Some(fault) = self.faults.get(index).filter(|fault| fault.day == number) {
                let at = self.at(day, fault.at).max(self.now);
                self.queue.put(at, Happening::Begins(index));
            }
        }
        if day == 0 { self.start() } else { self.awake() }
    }

    pub(super) fn day_ends(&mut self) -> Result<(), Violation> {
        self.counts.days += 1;
        self.compare_books()?;
        if self.day + 1 >= self.days.len() {
            self.over = true;
            return Ok(());
        }
        let until = self.at(self.day + 1, time(WAKES.0, WAKES.1));
        self.sleep(until);
        Ok(())
    }

    /// The day's books, ours against those of the exchanges: paper's always, and the broker's where a session that has been
    /// well for long enough had to bring them in line.
    fn compare_books(&mut self) -> Result<(), Violation> {
        let (now, date) = (self.now, self.right().ist_date());
        let Some(process) = self.process.as_ref().filter(|_| self.asleep_until.is_none()) else { return Ok(()) };
        let desk = process.core.desk();
        let of_today = |row: &&OrderRow| row.placed_at.ist_date() == date;
        self.checkers.books_agree(
            desk,
            Book::Paper,
            process.paper().book().map(Arc::as_ref).filter(of_today),
            &process.paper().positions(),
        )?;
        let well = process.core.standing().state.is_live() && process.core.standing().route.venue == Venue::Live;
        if well && self.fair_since().is_some_and(|since| now.since(since) >= SETTLES) {
            let exchange = &self.broker.exchange;
            let rows = exchange.book().map(Arc::as_ref).filter(of_today);
            self.checkers.books_agree(desk, Book::Live, rows, &exchange.positions())?;
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) -> Result<(), Violation> {
        let (_, close) = self.hours;
        if self.now >= close {
            return Ok(());
        }
        self.queue.put(self.now + self.options.tick, Happening::Tick);
        if !self.broker_is_open() {
            return Ok(());
        }
        let wall = self.right();
        self.market.step(wall);
        self.counts.ticks += self.market.quoted.len() as u64;
        for quoted in &self.market.quoted {
            self.broker.exchange.price(&quoted.key, quoted.price, quoted.volume, wall);
        }
        self.tell_of_orders();
        self.send_ticks()
    }

    pub(super) fn beat(&mut self) -> Result<(), Violation> {
        let every = self.heartbeat();
        let next = self.asleep_until.unwrap_or(self.now) + every;
        self.queue.put(next, Happening::Beat);
        if self.asleep_until.is_some() {
            return Ok(());
        }
        let (open, close) = self.hours;
        if self.now >= open && self.now < close && self.broker_is_open() {
            return Ok(()); // ticks are signs of life enough
        }
        self.send_beats()
    }

    /// Whether the broker's exchange trades: a holiday may have moved.
    fn broker_is_open(&self) -> bool {
        !self.conditions.holds(FaultKind::HolidayMoves, self.now)
    }

    /// How often the feed gives a sign of life.
    pub(super) fn heartbeat(&self) -> Duration {
        self.options.tick.max(Duration::from_secs(5))
    }

    pub(super) fn square_off(&mut self) -> Result<(), Violation> {
        use nirantar_brokers::{MarketProtection, OrderRequest, OrderType, Side};
        let wall = self.right();
        for position in self.broker.open_positions() {
            let side = if position.quantity > 0 { Side::Sell } else { Side::Buy };
            let market = OrderType::Market(MarketProtection::Automatic);
            let quantity = broker::units(position.quantity).get();
            let order = OrderRequest::new(position.instrument, side, quantity, market);
            // Where the exchange is closed nothing can be done, and the position is gone with the day.
            let _ = self.broker.exchange.place(&OrderRequest { product: position.product, ..order }, None, wall);
        }
        self.tell_of_orders();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Quantity;

    use super::super::super::checkers::agreement::agrees;
    use super::super::super::{Simulation, Trades};
    use super::*;

    #[test]
    fn books_that_differ_by_one_order_one_unit_or_one_position_do_not_agree() {
        let simulation = Simulation::new(1).human_only();
        let mut world = World::new(&simulation.options, 1, Vec::new(), Box::new(Trades::new(1)));
        world.live().unwrap();
        let (rows, positions) = (
            world.broker.exchange.book().map(|row| OrderRow::clone(row)).collect::<Vec<_>>(),
            world.broker.exchange.positions(),
        );
        let desk = world.process.as_ref().unwrap().core.desk();
        let look = |rows: &[OrderRow], positions: &[_]| agrees(desk, Book::Live, rows.iter(), positions);
        assert_eq!(look(&rows, &positions), Ok(rows.len() as u64));
        assert!(rows.len() > 300 && !positions.is_empty());

        let mut more = rows.clone();
        more[7].filled = more[7].filled + Quantity::new(1);
        assert!(look(&more, &positions).is_err(), "a unit that nobody here knows of");
        let mut open = rows.clone();
        open[7].status = nirantar_brokers::OrderStatus::Open;
        assert!(look(&open, &positions).is_err(), "an order that works there only");
        let mut strange = rows.clone();
        strange[7].order_id = nirantar_brokers::BrokerOrderId::new("9");
        assert!(look(&strange, &positions).is_err(), "an order that nobody here knows");
        let mut held = positions.clone();
        held[0].quantity += 1;
        assert!(look(&rows, &held).is_err(), "a position that nobody here knows of");
    }
}
