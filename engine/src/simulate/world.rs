//! The driver: one thread, one queue, virtual time. It lets things happen in their order, tells the engine's core, does
//! what the core says, and shows every step to the checkers.
//!
//! This module holds the loop, and [`days`] the trading day. What the core is told is in [`engine`], what becomes of its
//! outputs in [`outputs`], [`gate`] and [`prices`]: the places that know the cores. What the broker answers is in
//! [`calls`]; stores, humans and the operator are in [`people`]; what goes wrong is in [`injecting`].

mod calls;
mod days;
mod engine;
mod gate;
mod injecting;
mod outputs;
mod people;
mod prices;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::{Rng, Timestamp};
use nirantar_brokers::{ClientOrderId, Exchange, Fingerprint, InstrumentKey, Tick};
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
