//! The driver: one thread, one queue, virtual time. It lets things happen in their order, tells the engine's core, does
//! what the core says, and shows every step to the checkers.
//!
//! This module holds the loop and the day. What the core is told is in [`engine`], what becomes of its outputs in
//! [`outputs`], [`gate`] and [`prices`]: the places that know the cores. What the broker answers is in [`calls`]; stores, humans and the operator are in [`people`];
//! what goes wrong is in [`injecting`].

mod calls;
mod engine;
mod gate;
mod injecting;
mod outputs;
mod people;
mod prices;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{Book, ClientOrderId, Exchange, Fingerprint, InstrumentKey, OrderRow, Tick, Venue};
use nirantar_exchange_mock::{Calendar, Phase};

use super::broker::{self, Broker, Owner};
use super::checkers::{Checkers, Step, Violation};
use super::faults::{Fault, FaultKind};
use super::market::{self, Market};
use super::queue::Queue;
use super::report::Counts;
use super::story::Story;
use super::time::{EngineClock, Instant};
use super::workload::Strategy;
use super::{Options, policies};
use crate::core::{Input, Output};
use crate::feed::SocketId;
use crate::orders::{Command, Record, SendId};
use crate::session::{Generation, Policy, TradingDays};

use engine::Process;

/// When the machine is awake: it sleeps through nights and days without trading.
const WAKES: (u32, u32) = (7, 0);
const SLEEPS: (u32, u32) = (16, 15);
/// After so long in a fair world nothing is in doubt any more.
const SETTLES: Duration = Duration::from_secs(15 * 60);

/// Something that is going to happen.
#[derive(Debug)]
enum Happening {
    /// The process of that number is told something.
    Tell(u32, Input),
    /// A message stands at the gate, its record being safe.
    AtGate(u32, SendId),
    /// The connection has taken its bytes.
    Left(u32, SendId),
    /// They arrive at the broker.
    Arrives(Box<Arriving>),
    /// A call that is no message arrives at the broker.
    Asks(u32, Question),
    /// A frame arrives late.
    Frame(u32, SocketId, usize),
    /// How instruments stand, as the broker was asked after a gap.
    Snapshot(u32, Vec<(InstrumentKey, Tick)>),
    /// The market moves.
    Tick,
    /// Out of hours the feed sends signs of life.
    Beat,
    /// The strategy's turn.
    Work,
    /// A fault begins.
    Begins(usize),
    /// A fault that lasts ends.
    Heals(Fault),
    /// The operator has looked at an order that nobody knows the end of.
    Acknowledged(u32, ClientOrderId),
    /// A human logs in.
    Login,
    /// The watcher looks at the store.
    Looks(u32),
    /// The broker closes what is left of the day's positions.
    SquaresOff,
    DayBegins(usize),
    DayEnds,
    /// A process starts.
    Starts,
    /// The machine is awake again.
    Wakes,
}

#[derive(Debug)]
struct Arriving {
    who: u32,
    send: SendId,
    id: ClientOrderId,
    command: Command,
    token: Fingerprint,
}

/// What the broker is asked.
#[derive(Debug)]
enum Question {
    Probe(u64, Fingerprint),
    Read(u64, Generation, Fingerprint),
    Quotes(Generation, Fingerprint, Vec<InstrumentKey>),
    Renewal(u64, nirantar_brokers::Renewal),
    Lists(std::collections::BTreeSet<Exchange>),
    Connect(SocketId, Fingerprint),
}

/// Until when each fault that lasts goes on.
#[derive(Debug, Default)]
struct Conditions(BTreeMap<FaultKind, Instant>);

impl Conditions {
    fn holds(&self, kind: FaultKind, at: Instant) -> bool {
        // Most of the time nothing is wrong at all.
        !self.0.is_empty() && self.0.get(&kind).is_some_and(|until| at < *until)
    }
}

/// Dice for each part of the world, so that a fault less changes as little as possible elsewhere.
#[derive(Debug)]
struct Dice {
    wire: Rng,
    people: Rng,
    disk: Rng,
    lives: Rng,
}

/// The journal as a disk keeps it.
#[derive(Debug, Default)]
struct Disk {
    records: Vec<Record>,
    /// Records of earlier days that are kept no more, before `records`.
    dropped: usize,
    /// So many of all survive the process.
    synced: usize,
    /// Nothing is synced before this.
    busy_until: Instant,
}

/// The token store, as everybody on the machine sees it.
#[derive(Debug, Default)]
struct Store {
    holds: Option<Fingerprint>,
    /// A token that was in it before.
    earlier: Option<Fingerprint>,
}

/// The whole simulation.
pub(super) struct World<'a> {
    options: &'a Options,
    policy: Policy,
    calendar: Calendar,
    now: Instant,
    clock: EngineClock,
    queue: Queue<Happening>,
    dice: Dice,
    broker: Broker,
    market: Market,
    store: Store,
    disk: Disk,
    process: Option<Process>,
    /// Number of the process that runs, or ran last.
    who: u32,
    /// The machine sleeps until then, and since when.
    asleep_until: Option<Instant>,
    slept_from: Instant,
    /// The process dies after so many more outputs.
    dies_after: Option<u64>,
    conditions: Conditions,
    faults: Vec<Fault>,
    /// Some process will read the journal.
    keeps_records: bool,
    /// Nothing is wrong from then on, as far as faults have begun.
    clear_at: Instant,
    /// The last good token that the process was offered, and when.
    offered: Option<(Instant, Fingerprint)>,
    login_awaited: bool,
    days: Vec<NaiveDate>,
    day: usize,
    /// The day's trading hours at the broker.
    hours: (Instant, Instant),
    strategy: Box<dyn Strategy + 'a>,
    checkers: Checkers,
    counts: Counts,
    story: Story,
    over: bool,
    at_once: u32,
    /// Room for what the core says. Empty between two steps.
    room: Vec<Output>,
}

impl<'a> World<'a> {
    pub(super) fn new(options: &'a Options, seed: u64, faults: Vec<Fault>, strategy: Box<dyn Strategy + 'a>) -> Self {
        let calendar = Calendar::nse();
        let days: Vec<NaiveDate> = trading_days(&calendar, options.start, options.days as usize);
        let first = days.first().copied().unwrap_or(options.start);
        let policy = options.policy.clone().unwrap_or_else(|| policies::of_seed(seed));
        let policy = Policy { days: TradingDays::new(calendar.holidays(), calendar.special_days()), ..policy };
        // The day before, so that the first token was made in its past.
        let epoch = Timestamp::from_ist_parts(first.pred_opt().unwrap_or(first), NaiveTime::MIN);
        let clock = EngineClock::new(epoch);
        let freshness = market::freshness(options.tick);
        let exchange = broker::exchange(seed, first, &calendar, freshness);
        let rng = |salt: u64| Rng::from_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt);
        Self {
            options,
            broker: Broker::new(seed, policy.expiry, policy.sessions, exchange),
            market: Market::new(seed, first, options.instruments),
            policy,
            calendar,
            now: Instant::START,
            clock,
            queue: Queue::new(),
            dice: Dice { wire: rng(1), people: rng(2), disk: rng(3), lives: rng(4) },
            store: Store::default(),
            disk: Disk::default(),
            process: None,
            who: 0,
            asleep_until: None,
            slept_from: Instant::START,
            dies_after: None,
            conditions: Conditions::default(),
            keeps_records: faults.iter().any(|fault| fault.kind == FaultKind::ProcessDies),
            faults,
            clear_at: Instant::START,
            offered: None,
            login_awaited: false,
            days,
            day: 0,
            hours: (Instant::NEVER, Instant::NEVER),
            strategy,
            checkers: Checkers::default(),
            counts: Counts::default(),
            story: Story::new(options.keep),
            over: false,
            at_once: 0,
            room: Vec::new(),
        }
    }

    /// Lets everything happen. What was counted, the log, and the rule that was broken, if one was.
    pub(super) fn run(mut self) -> (Counts, super::Log, Option<(Violation, Timestamp, u32)>) {
        let ended = self.live();
        self.counts.simulated = self.now.elapsed();
        self.counts.checked = self.checkers.checked;
        if let Err(violation) = &ended {
            let (at, words) = (self.right(), violation.to_string());
            self.story.tell(at, "BROKEN", || words);
        }
        let (at, day) = (self.right(), u32::try_from(self.day + 1).unwrap_or(u32::MAX));
        (self.counts, self.story.end(), ended.err().map(|violation| (violation, at, day)))
    }

    fn live(&mut self) -> Result<(), Violation> {
        self.prepare();
        while !self.over {
            let due = self.queue.next_at();
            let wake = self.next_wake();
            match due {
                // What has arrived is handed on before anybody is woken.
                Some(at) if at <= wake => {
                    let Some((at, what)) = self.queue.take() else { continue };
                    self.move_to(at);
                    self.happens(what)?;
                }
                None if wake == Instant::NEVER => break,
                _ => {
                    self.at_once = if wake <= self.now { self.at_once + 1 } else { 0 };
                    Checkers::stands_still(self.at_once)?;
                    self.move_to(wake.max(self.now));
                    self.wake()?;
                }
            }
        }
        Ok(())
    }

    fn move_to(&mut self, at: Instant) {
        self.counts.steps += 1;
        self.now = self.now.max(at);
    }

    /// The first token, made yesterday morning, and the days.
    fn prepare(&mut self) {
        let yesterday = self.now + Duration::from_secs(8 * 3600);
        let first = self.issue(Owner::Own, yesterday);
        self.store.holds = first;
        self.await_day(0);
    }

    fn happens(&mut self, what: Happening) -> Result<(), Violation> {
        if let Some(until) = self.asleep_until
            && is_of_the_machine(&what)
        {
            self.queue.put(until, what);
            return Ok(());
        }
        match what {
            Happening::Tell(who, input) if who == self.who => self.tell(input),
            Happening::AtGate(who, send) if who == self.who => self.at_gate(send),
            Happening::Left(who, send) if who == self.who => self.left(send),
            Happening::Frame(who, socket, ticks) if who == self.who => self.frame(socket, ticks),
            Happening::Snapshot(who, ticks) if who == self.who => self.snapshot(ticks),
            Happening::Looks(who) if who == self.who => self.look_at_store(),
            Happening::Asks(who, question) if who == self.who => self.asked(question),
            Happening::Acknowledged(who, id) if who == self.who => self.acknowledge(&id),
            Happening::Tell(..)
            | Happening::AtGate(..)
            | Happening::Left(..)
            | Happening::Frame(..)
            | Happening::Snapshot(..)
            | Happening::Looks(_)
            | Happening::Acknowledged(..)
            | Happening::Asks(..) => Ok(()), // of a process that is no more
            Happening::Arrives(arriving) => self.arrives(*arriving),
            Happening::Tick => self.tick(),
            Happening::Beat => self.beat(),
            Happening::Work => self.work(),
            Happening::Begins(index) => self.begins(index),
            Happening::Heals(fault) => self.heals(fault),
            Happening::Login => self.login(),
            Happening::SquaresOff => self.square_off(),
            Happening::DayBegins(day) => self.day_begins(day),
            Happening::DayEnds => self.day_ends(),
            Happening::Starts => self.start(),
            Happening::Wakes => self.awake(),
        }
    }

    // --- the day -----------------------------------------------------------------------------------------------

    fn await_day(&mut self, day: usize) {
        if day < self.days.len() {
            let at = self.at(day, time(WAKES.0, WAKES.1));
            self.queue.put(at, Happening::DayBegins(day));
        }
    }

    fn day_begins(&mut self, day: usize) -> Result<(), Violation> {
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

    fn day_ends(&mut self) -> Result<(), Violation> {
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
            process.paper.book().map(Arc::as_ref).filter(of_today),
            &process.paper.positions(),
        )?;
        let well = process.core.standing().state.is_live() && process.core.standing().route.venue == Venue::Live;
        if well && self.fair_since().is_some_and(|since| now.since(since) >= SETTLES) {
            let exchange = &self.broker.exchange;
            let rows = exchange.book().map(Arc::as_ref).filter(of_today);
            self.checkers.books_agree(desk, Book::Live, rows, &exchange.positions())?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Violation> {
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

    fn beat(&mut self) -> Result<(), Violation> {
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
    fn heartbeat(&self) -> Duration {
        self.options.tick.max(Duration::from_secs(5))
    }

    fn square_off(&mut self) -> Result<(), Violation> {
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

    // --- time --------------------------------------------------------------------------------------------------

    /// What a right wall clock shows.
    fn right(&self) -> Timestamp {
        self.clock.right(self.now)
    }

    fn at(&self, day: usize, at: NaiveTime) -> Instant {
        let date = self.days.get(day).copied().unwrap_or(self.options.start);
        self.clock.at(Timestamp::from_ist_parts(date, at))
    }

    fn step(&self) -> Step {
        Step { at: self.now, now: self.clock.now(self.now) }
    }

    fn in_hours(&self) -> bool {
        self.now >= self.hours.0 && self.now < self.hours.1
    }

    /// A way over the network.
    fn way(&mut self) -> Duration {
        Duration::from_micros(5_000 + self.dice.wire.next_u64() % 35_000)
    }
}

/// What happens on the machine, and so waits while it sleeps.
const fn is_of_the_machine(what: &Happening) -> bool {
    matches!(
        what,
        Happening::Tell(..)
            | Happening::AtGate(..)
            | Happening::Left(..)
            | Happening::Frame(..)
            | Happening::Snapshot(..)
            | Happening::Looks(_)
            | Happening::Acknowledged(..)
            | Happening::Starts
            | Happening::Work
    )
}

fn trading_days(calendar: &Calendar, from: NaiveDate, count: usize) -> Vec<NaiveDate> {
    // A day with no more than a special session is none of ours.
    let whole = |date: &NaiveDate| {
        let noon = Timestamp::from_ist_parts(*date, time(12, 0));
        calendar.phase(Exchange::Nse, noon) == Phase::Continuous
    };
    from.iter_days().filter(whole).take(count).collect()
}

fn time(hour: u32, minute: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Quantity;

    use super::super::checkers::agreement::agrees;
    use super::super::{Simulation, Trades};
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
