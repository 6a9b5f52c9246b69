//! The simulated process: the cores that trade, what they are told and when they are woken. It is to the simulator what
//! `engine/task.rs` is to the tokio engine. What becomes of their outputs is in [`outputs`](super::outputs), a message's way
//! out in [`gate`](super::gate), and prices' way in in [`prices`](super::prices).
//!
//! Real here: [`Core`] (session, desk, feed), the [`TokenCell`], the [`Gate`], the vault with its redaction, and the paper
//! exchange. A message goes: record written and safe, gate, bytes taken, broker, answer; each takes its time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::kite::{App, Kite, facts};
use nirantar_brokers::{Book, ClientOrderId, Fingerprint, InstrumentKey, Mode, OrderStatus, RateLimit, Secret, Venue};
use nirantar_exchange_mock::MockExchange;

use super::super::broker;
use super::super::checkers::Violation;
use super::super::market;
use super::super::time::Instant;
use super::super::workload::Trader;
use super::{Happening, World};
use crate::core::{Core, Event, Input, Output};
use crate::engine::vault::Vault;
use crate::feed::{FeedPolicy, SocketId, Supervisor};
use crate::orders::{Command, Desk, DeskPolicy, Route, SendId, Tracked};
use crate::session::{Machine, Operator};
use crate::token::{Gate, Pass, Snapshot, TokenCell};

/// An operator who is asked whether live trading may go on, or is told what to mend, takes this long.
pub(super) const OPERATOR_TAKES: Duration = Duration::from_secs(30);

/// Another process starts so long after one has died.
const STARTS_AFTER: Duration = Duration::from_secs(5);

/// A process that runs.
pub(super) struct Process {
    pub(super) core: Core,
    pub(super) cell: Arc<TokenCell>,
    pub(super) gate: Gate,
    pub(super) vault: Vault,
    paper: MockExchange,
    pub(super) messages: BTreeMap<SendId, Message>,
    /// Inside the gate, each with the number of the last change of venue when it entered.
    pub(super) inside: BTreeMap<SendId, (Pass, u64)>,
    pub(super) epoch: u64,
    /// A change of venue waits for those inside.
    pub(super) settling: Option<u64>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// What it last saw, or wrote, in the store.
    pub(super) seen: Option<Fingerprint>,
    /// Renewals it has given up.
    pub(super) given_up: BTreeSet<u64>,
    /// When the core or the paper exchange wants to be woken. `None`: they are to be asked.
    wake_at: Option<Instant>,
    pub(super) feed_live_since: Option<Instant>,
    /// The paper exchange has the last prices.
    pub(super) priced: bool,
}

/// A message on its way to the broker.
pub(super) struct Message {
    pub(super) id: ClientOrderId,
    pub(super) route: Route,
    pub(super) command: Command,
    /// Records written when it was announced, its own among them.
    pub(super) ticket: usize,
}

/// One connection of the feed, as both ends know it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) token: Fingerprint,
    pub(super) open: bool,
    pub(super) instruments: usize,
}

impl Process {
    pub(super) const fn paper(&self) -> &MockExchange {
        &self.paper
    }

    pub(super) const fn paper_mut(&mut self) -> &mut MockExchange {
        self.wake_at = None;
        &mut self.paper
    }

    /// What the core is to be told of paper. When that wants to be woken does not change by it.
    pub(super) fn paper_updates(&mut self) -> Vec<Input> {
        self.paper.drain().into_iter().filter_map(Input::of_paper).collect()
    }
}

impl World<'_> {
    // --- the process -------------------------------------------------------------------------------------------

    /// A process starts: it reads the journal and the store.
    pub(super) fn start(&mut self) -> Result<(), Violation> {
        if self.process.is_some() {
            return Ok(());
        }
        self.clock.restart(self.now);
        self.who += 1;
        self.counts.processes += 1;
        let step = self.step();
        let run = self.dice.lives.next_u64();
        let limits: Vec<RateLimit> = facts(App::Approved).limits.orders.to_vec();
        let desk = Desk::new(DeskPolicy {
            run,
            limits,
            needs_lists: true,
            modifications_per_order: 25,
            ..DeskPolicy::default()
        });
        let silence = (self.options.tick * 5 / 2).max(FeedPolicy::default().silence);
        let feed = Supervisor::new(FeedPolicy { silence, ..FeedPolicy::default() }, self.heartbeat(), self.policy.seed);
        let limits = facts(App::Approved).limits;
        let mut core = Core::new(Machine::new(self.policy.clone()), desk, feed, self.calendar.clone(), true)
            .with_snapshots(limits.quote_instruments, limits.quotes);
        let date = step.now.wall.ist_date();
        let mut paper = broker::exchange(run, date, &self.calendar, market::freshness(self.options.tick));
        let mut out = Vec::new();
        if self.who > 1 {
            let past = core.restore(&self.disk.records, step.now, &mut out).paper;
            paper.restore(&past, step.now.wall);
            self.checkers.restarted(&core, self.disk.dropped + self.disk.records.len())?;
            self.story.tell(self.clock.right(self.now), "world", || "another process has read the journal".to_owned());
        }
        let cell = Arc::new(TokenCell::new(Snapshot::starting()));
        let kite = Arc::new(Kite::new(App::Approved, "simulated", None));
        self.process = Some(Process {
            core,
            gate: Gate::new(Arc::clone(&cell)),
            cell,
            vault: Vault::new(kite, vec![Secret::new(super::super::API_SECRET)]),
            paper,
            messages: BTreeMap::new(),
            inside: BTreeMap::new(),
            epoch: 0,
            settling: None,
            sockets: BTreeMap::new(),
            seen: None,
            given_up: BTreeSet::new(),
            wake_at: None,
            feed_live_since: None,
            priced: true,
        });
        self.offered = None;
        self.perform(out)?;
        if self.is_halted() {
            self.tell(Input::Operator(Operator::Halt))?;
        }
        let wanted: BTreeSet<InstrumentKey> = self.market.quoted.iter().map(|quoted| (*quoted.key).clone()).collect();
        self.tell(Input::Subscribe(wanted, Mode::Full))?;
        self.look_at_store_at_start()?;
        self.tell(Input::Started)?;
        self.show_unresolved();
        if self.who > 1 {
            self.with_strategy(|strategy, trader| strategy.restarted(trader))?;
        }
        Ok(())
    }

    /// The process is gone, with what its disk had not made safe.
    pub(super) fn die(&mut self) {
        self.dies_after = None;
        if self.process.take().is_none() {
            return;
        }
        self.story.tell(self.clock.right(self.now), "world", || "the process dies".to_owned());
        self.who += 1;
        let disk = &mut self.disk;
        let all = disk.dropped + disk.records.len();
        if self.now >= disk.busy_until {
            disk.synced = all;
        }
        let unsynced = all.saturating_sub(disk.synced.max(disk.dropped)) as u64;
        let kept = disk.synced.max(disk.dropped) + usize::try_from(self.dice.lives.below(unsynced + 1)).unwrap_or(0);
        self.counts.records_lost += (all - kept) as u64;
        disk.records.truncate(kept - disk.dropped);
        disk.synced = kept;
        self.checkers.died();
        // The number is taken when it starts.
        self.who -= 1;
        self.queue.put(self.now + STARTS_AFTER, Happening::Starts);
    }

    /// The operator has looked at an order that nobody knows the end of: it counts as exposure no more.
    pub(super) fn acknowledge(&mut self, id: &ClientOrderId) -> Result<(), Violation> {
        let now = self.clock.now(self.now);
        let mut out = Vec::new();
        let Some(process) = &mut self.process else { return Ok(()) };
        process.wake_at = None;
        // Refused is right where evidence has overtaken the operator.
        let _ = process.core.acknowledge(id, now, &mut out);
        self.perform(out)
    }

    /// Of orders of before that nobody knows the end of, the operator is told when a process starts.
    fn show_unresolved(&mut self) {
        let (now, who) = (self.now, self.who);
        let Some(process) = &self.process else { return };
        let open = |order: &&Tracked| order.status == OrderStatus::Unresolved && !order.acknowledged;
        for order in process.core.desk().orders().filter(open) {
            self.queue.put(now + OPERATOR_TAKES, Happening::Acknowledged(who, order.id.clone()));
        }
    }

    /// When the process wants to be woken.
    pub(super) fn next_wake(&mut self) -> Instant {
        if self.asleep_until.is_some() {
            return Instant::NEVER;
        }
        let now = self.clock.now(self.now);
        let clock = self.clock;
        let Some(process) = &mut self.process else { return Instant::NEVER };
        let (core, paper) = (&process.core, &process.paper);
        *process.wake_at.get_or_insert_with(|| {
            let core = clock.when(core.next_wake(now));
            paper.next_wake(now.wall).map_or(core, |at| core.min(clock.when(now.mono_at(at))))
        })
    }

    /// Its clocks were changed: it looks again, as a machine does when it wakes.
    pub(super) fn look_at_clocks(&mut self) {
        if let Some(process) = &mut self.process {
            process.wake_at = None;
        }
    }

    /// It is time.
    pub(super) fn wake(&mut self) -> Result<(), Violation> {
        let wall = self.clock.now(self.now).wall;
        if let Some(process) = &mut self.process {
            process.paper_mut().wake(wall);
        }
        self.drain_paper()?;
        self.tell(Input::Wake)
    }

    // --- the core ----------------------------------------------------------------------------------------------

    /// Tells the core, and does what it says, until there is nothing left to tell.
    pub(super) fn tell(&mut self, input: Input) -> Result<(), Violation> {
        let mut out = std::mem::take(&mut self.room);
        self.tell_core(input, &mut out)?;
        self.perform(out)
    }

    fn tell_core(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), Violation> {
        let step = self.step();
        let right = self.right();
        let Some(process) = &mut self.process else { return Ok(()) };
        self.counts.inputs += 1;
        self.story.tell(right, "told", || format!("{input:?}"));
        if let Input::Settled { epoch } = input {
            let old = process.inside.values().filter(|(_, entered)| *entered < epoch).count();
            self.checkers.settled(old)?;
        }
        self.checkers.before(&input, &process.core)?;
        process.wake_at = None;
        process.core.on(input, step.now, out);
        Ok(())
    }

    /// Does what the core wants done, in its order; what that brings at once is told after all of it.
    pub(super) fn perform(&mut self, mut out: Vec<Output>) -> Result<(), Violation> {
        let (mut answers, mut told) = (VecDeque::new(), VecDeque::new());
        loop {
            self.perform_step(&mut out, &mut answers, &mut told)?;
            if let Some(answer) = answers.pop_front() {
                self.tell_core(answer, &mut out)?;
            } else if let Some(event) = told.pop_front() {
                self.with_trader(&mut out, |strategy, trader| strategy.on_event(&event, trader));
            } else {
                self.room = out;
                return Ok(());
            }
            if self.process.is_none() {
                return Ok(());
            }
        }
    }

    fn perform_step(
        &mut self,
        outputs: &mut Vec<Output>,
        answers: &mut VecDeque<Input>,
        told: &mut VecDeque<Event>,
    ) -> Result<(), Violation> {
        let step = self.step();
        let right = self.right();
        for output in outputs.drain(..) {
            if self.dies_after.as_mut().is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left == 0
            }) {
                self.die();
                return Ok(());
            }
            let Some(process) = &self.process else { return Ok(()) };
            self.story.tell(right, "asks", || format!("{output:?}"));
            self.checkers.output(&output, &process.core, step)?;
            if let Output::Send { book: Book::Paper, id, .. } = &output {
                self.checkers.acted_on_paper(id)?;
            }
            self.output(output, answers, told);
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        self.checkers.after(&process.core, step)?;
        let standing = process.core.standing();
        let well = standing.state.is_live() && !matches!(standing.route.venue, Venue::Blocked(_));
        let fair = if well { None } else { self.fair_since() };
        if let Some(process) = &self.process {
            self.checkers.recovers(&process.core, fair, step)?;
        }
        Ok(())
    }

    /// Since when the world is fair: nothing goes wrong, there is a good token that was offered or is in use, and the feed
    /// delivers if the market is open.
    pub(super) fn fair_since(&self) -> Option<Instant> {
        let process = self.process.as_ref()?;
        if self.now < self.clear_at || self.asleep_until.is_some() {
            return None;
        }
        let in_use = process.core.standing().token.is_some_and(|token| self.broker.is_good(token, self.now));
        let offered = self.offered.filter(|(at, token)| *at >= self.clear_at && self.broker.is_good(*token, self.now));
        let token = if in_use { self.clear_at } else { offered?.0 };
        let feed = if process.core.market_is_open() { process.feed_live_since? } else { self.clear_at };
        Some(token.max(feed).max(self.clear_at))
    }

    /// Lets the strategy act, and performs what it asked for.
    pub(super) fn with_strategy(
        &mut self,
        act: impl FnOnce(&mut dyn super::Strategy, &mut Trader<'_>),
    ) -> Result<(), Violation> {
        let mut out = Vec::new();
        self.with_trader(&mut out, act);
        if out.is_empty() { Ok(()) } else { self.perform(out) }
    }

    fn with_trader(&mut self, out: &mut Vec<Output>, act: impl FnOnce(&mut dyn super::Strategy, &mut Trader<'_>)) {
        let now = self.clock.now(self.now);
        let Some(process) = &mut self.process else { return };
        let before = out.len();
        let mut trader = Trader {
            core: &mut process.core,
            now,
            out,
            story: &mut self.story,
            taken: &mut self.counts.orders,
            refused: &mut self.counts.refused,
        };
        act(&mut *self.strategy, &mut trader);
        if trader.out.len() > before {
            process.wake_at = None;
        }
    }
}
