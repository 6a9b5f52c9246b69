//! Comparing live orders and positions with the broker's, and looking for orders whose reply was lost.
//!
//! A read is positions first, then the order book, then trades: an order filled in between makes our count run ahead for
//! one read, so a difference is believed only when two reads in a row show the same. What a read does not show is judged
//! in [`super::absence`]. A failed read is unknown, never an empty list.
//!
//! While the feed does not deliver, nobody tells of fills: working orders are then read from the book every few seconds,
//! and once more when the feed is back, for what its gap swallowed.

use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Book, OrderRow, Position, Trade};

use super::absence::is_sought;
use super::{Action, Desk, Difference, Record, Tracked, What};
use crate::waiting::doubled;

/// Looks after which a question that stays open is asked less and less often.
const EAGER_LOOKS: u32 = 16;
/// Longest wait between two looks at a broker that does not answer.
const LOOK_CAP: Duration = Duration::from_secs(30);
/// Wait between two reads of working orders while the feed does not tell of them.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// What the live broker says. Rows and trades are shared with whoever else was told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveState {
    /// Net positions, read first.
    pub positions: Vec<Position>,
    /// The day's orders.
    pub orders: Vec<Arc<OrderRow>>,
    /// The day's trades, read last: they may name an order that the book does not show yet.
    pub trades: Vec<Arc<Trade>>,
}

impl LiveState {
    /// Of what was read in this order.
    #[must_use]
    pub fn new(positions: Vec<Position>, orders: Vec<OrderRow>, trades: Vec<Trade>) -> Self {
        let (orders, trades) = (orders.into_iter().map(Arc::new), trades.into_iter().map(Arc::new));
        Self { positions, orders: orders.collect(), trades: trades.collect() }
    }
}

/// How a comparison ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The session machine's number of it.
    pub number: u64,
    /// Whether the broker's answers were complete and, where they differ from ours, seen twice.
    pub complete: bool,
    /// Orders compared.
    pub orders: usize,
    /// Positions compared.
    pub positions: usize,
    /// Where we differed; the broker's word was taken.
    pub differences: Vec<Difference>,
    /// Our positions were those of an earlier day: differences are what a night does to them.
    pub overnight: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciliation {
    reads: u64,
    /// The read under way, and when it began.
    in_flight: Option<(u64, Monotonic)>,
    /// The comparison the session machine waits for.
    wanted: Option<u64>,
    look_at: Option<Monotonic>,
    /// The feed does not deliver, and so no order updates come.
    deaf: bool,
    /// Reads that failed in a row.
    failures: u32,
    /// Looks since the last new question.
    looks: u32,
    seen_once: Vec<Difference>,
    /// Positions are those the journal knew of an earlier day.
    carried_over: bool,
}

impl Reconciliation {
    /// What is held is what was held on an earlier day, until a comparison is complete.
    pub(super) fn carry_over(&mut self) {
        self.carried_over = true;
    }

    /// There is something to look for in the broker's book.
    pub(super) fn look_soon(&mut self, now: Monotonic) {
        self.look_at = Some(self.look_at.map_or(now, |at| at.min(now)));
    }

    /// There is a new question to the broker's book.
    pub(super) fn begin_to_seek(&mut self, now: Monotonic) {
        self.looks = 0;
        self.look_soon(now);
    }

    /// An order works at the broker: without the feed its fills must be asked for.
    pub(super) fn watch(&mut self, now: Monotonic) {
        if self.deaf {
            self.look_soon(now + WATCH_EVERY);
        }
    }
}

impl Desk {
    /// The session machine wants live orders and positions compared; ends in [`Action::Compared`].
    pub fn compare(&mut self, number: u64, now: Now, out: &mut Vec<Action>) {
        self.reconciliation.wanted = Some(number);
        self.start_read(now, out);
    }

    /// Whether order updates come over the feed from now on. Until told otherwise they do.
    pub fn updates_arrive(&mut self, arrive: bool, now: Now) {
        let was_deaf = std::mem::replace(&mut self.reconciliation.deaf, !arrive);
        if was_deaf == arrive && self.orders.unfinished().any(is_working) {
            self.reconciliation.look_soon(now.mono);
        }
    }

    fn start_read(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.reconciliation.in_flight.is_none() {
            self.reconciliation.reads += 1;
            let read = self.reconciliation.reads;
            self.reconciliation.in_flight = Some((read, now.mono));
            self.ask_to_read(read, out);
        }
    }

    /// What a read brought; `None` if it failed. A failed read is never an empty list.
    pub fn read(&mut self, read: u64, state: Option<&LiveState>, now: Now, out: &mut Vec<Action>) {
        let Some((_, begun)) = self.reconciliation.in_flight.take_if(|(number, _)| *number == read) else { return };
        let wanted = self.reconciliation.wanted.take();
        self.reconciliation.failures = if state.is_some() { 0 } else { self.reconciliation.failures.saturating_add(1) };
        self.reconciliation.looks = self.reconciliation.looks.saturating_add(1);
        let Some(state) = state else {
            self.forget_absences();
            if let Some(number) = wanted {
                out.push(Action::Compared(Comparison::failed(number)));
            }
            self.plan_next_look(now);
            return;
        };
        for row in &state.orders {
            self.update(Book::Live, row, now, out);
        }
        self.look_for_the_missing(state, begun, now, out);
        if let Some(number) = wanted {
            let comparison = self.judge(number, state, now, out);
            out.push(Action::Compared(comparison));
        }
        self.seen_while_halted(now, out);
        self.plan_next_look(now);
    }

    fn judge(&mut self, number: u64, state: &LiveState, now: Now, out: &mut Vec<Action>) -> Comparison {
        let differences = self.exposure.differences(&state.positions);
        let complete = differences == self.reconciliation.seen_once || differences.is_empty();
        let believed = if complete { differences } else { Vec::new() };
        self.reconciliation.seen_once = if complete { Vec::new() } else { self.exposure.differences(&state.positions) };
        for difference in &believed {
            self.count_ahead(difference, &state.orders);
            self.exposure.adopt(difference);
            let Difference { instrument, product, brokers, .. } = difference.clone();
            let what = What::Holds { instrument, product, quantity: brokers };
            out.push(Action::Journal(Record { at: now.wall, id: None, book: Book::Live, what }));
        }
        let (orders, positions) = (state.orders.len(), state.positions.len());
        let overnight = self.reconciliation.carried_over;
        self.reconciliation.carried_over &= !complete;
        Comparison { number, complete, orders, positions, differences: believed, overnight }
    }

    pub(super) fn look_for_unknown(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.next_look().is_some_and(|at| now.mono >= at) {
            self.reconciliation.look_at = None;
            self.start_read(now, out);
        }
    }

    pub(super) fn next_look(&self) -> Option<Monotonic> {
        let idle = self.reconciliation.in_flight.is_none() && self.can_read();
        self.reconciliation.look_at.filter(|_| idle)
    }

    fn plan_next_look(&mut self, now: Now) {
        if self.orders.unfinished().any(is_sought) || self.must_look_to_cancel() {
            // A broker that does not answer, or has nothing new to say, is asked less and less often.
            let steps = self.reconciliation.failures.max(self.reconciliation.looks.saturating_sub(EAGER_LOOKS));
            let first = self.policy.look_again;
            let wait = doubled(first, steps.min(10), LOOK_CAP.max(first));
            self.reconciliation.look_soon(now.mono + wait);
        } else if self.orders.unfinished().any(is_working) {
            self.reconciliation.watch(now.mono);
        }
    }
}

/// A live order that may be filled at any moment.
fn is_working(order: &Tracked) -> bool {
    order.book == Book::Live && order.may_be_working() && !order.status.is_final()
}

impl Comparison {
    const fn failed(number: u64) -> Self {
        Self { number, complete: false, orders: 0, positions: 0, differences: Vec::new(), overnight: false }
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::{
        BrokerOrderId, Exchange, InstrumentKey, MarketProtection, OrderRequest, OrderType, Side, Venue,
    };

    use super::*;
    use crate::orders::{DeskPolicy, Route};
    use crate::session::Generation;

    /// A desk with one order that the broker has accepted, at time zero.
    fn with_a_working_order() -> Desk {
        let mut desk = Desk::new(DeskPolicy::default());
        let (mut out, now) = (Vec::new(), Now::default());
        desk.updates_arrive(false, now);
        desk.arrive(Route { venue: Venue::Live, reduce_only: false, generation: Generation(1) }, now, &mut out);
        let market = OrderType::Market(MarketProtection::Automatic);
        let request = OrderRequest::new(InstrumentKey::new(Exchange::Nse, "INFY"), Side::Buy, 1, market);
        desk.submit(request, now, &mut out).unwrap();
        let sent = out.iter().find_map(|action| match action {
            Action::Send { send, .. } => Some(*send),
            _ => None,
        });
        desk.reply(sent.expect("it was sent"), Ok(BrokerOrderId::new("7")), now, &mut out);
        desk
    }

    fn looks(desk: &mut Desk, at: Duration) -> Option<u64> {
        let mut out = Vec::new();
        desk.wake(Now::default() + at, &mut out);
        out.iter().find_map(|action| if let Action::Read { read } = action { Some(*read) } else { None })
    }

    #[test]
    fn a_working_order_is_read_every_few_seconds_while_no_updates_come_and_once_more_when_they_do() {
        let mut desk = with_a_working_order();
        let nothing = LiveState::default();
        for round in 1..=3 {
            let at = WATCH_EVERY * round;
            assert_eq!(looks(&mut desk, at - Duration::from_millis(1)), None);
            let read = looks(&mut desk, at).expect("a look at the book");
            desk.read(read, Some(&nothing), Now::default() + at, &mut Vec::new());
        }
        let back = WATCH_EVERY * 3 + Duration::from_secs(1);
        desk.updates_arrive(true, Now::default() + back);
        let read = looks(&mut desk, back).expect("a look for what the gap swallowed");
        desk.read(read, Some(&nothing), Now::default() + back, &mut Vec::new());
        assert_eq!(looks(&mut desk, Duration::from_secs(600)), None, "the feed tells from now on");
    }
}
