//! From the desk to the socket: what waits, when it is sent, what the gate turned back, and what a broker that is asked
//! too often brings about.
//!
//! Promises: orders, changes and cancels leave in the order of [`super::queue`] and only where the broker's limits have
//! room; nothing that waits is lost: it is sent, or its order's story says why it was not.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Block, Book, BrokerOrderId, Cause, ClientOrderId, Intent, Outcome, Venue};

use super::limiter::{Key, Room};
use super::queue::{Rank, Waiting};
use super::{Action, Command, CommandKind, Desk, Record, Refused, SendId, Tracked, What};
use crate::planted::{Bug, planted};
use crate::session::{Generation, TradingMode};
use crate::waiting::doubled;

/// Longest pause after a message that was one too many, where the broker names none.
const PAUSE_CAP: Duration = Duration::from_secs(30);
/// How long a change waits that is of an order placed elsewhere, which has no time of its own.
const FOREIGN_PATIENCE: Duration = Duration::from_secs(5);
/// No call takes longer than this, its wait for the journal and for a socket included.
const LATEST_ANSWER: Duration = Duration::from_secs(10);
/// The calls of one look at the broker's book: positions, orders, trades.
const CALLS_OF_A_READ: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnItsWay {
    pub(super) id: ClientOrderId,
    pub(super) generation: Generation,
    pub(super) kind: CommandKind,
    /// When it was asked for.
    pub(super) asked: Monotonic,
    /// When it left.
    left: Monotonic,
}

/// Answers that said "too many", since the last other one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Throttling {
    in_a_row: u32,
    last: Option<Monotonic>,
}

impl Throttling {
    /// How long to pause after a message that left at `left` was one too many. All that left before we knew of the
    /// last one are the same trouble, not more of it.
    fn pause(&mut self, left: Monotonic, now: Monotonic, first: Duration) -> Duration {
        if self.last.is_none_or(|last| left > last) {
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.last = Some(now);
        }
        doubled(first, self.in_a_row.saturating_sub(1).min(16), PAUSE_CAP.max(first))
    }
}

impl Desk {
    /// The gate found the venue or the token changed: no byte of that message left.
    pub fn gate_shut(&mut self, send: SendId, now: Now, out: &mut Vec<Action>) {
        let Some(back) = self.on_their_way.remove(&send) else { return };
        self.limiter.returned(Key::Message(send));
        if back.kind == CommandKind::Place
            && let Some(order) = self.orders.get_mut(&back.id)
        {
            order.in_flight = None;
            if order.broker_id.is_none() {
                order.sent_at = None;
            }
        }
        self.not_acted_on(back, now.mono, now, out);
        if self.settled {
            self.release(now, out);
        }
    }

    /// A message is answered, or lost: it is on its way no more, and keeps its places from now on for as long as the
    /// broker's windows are. The answer of a broker that is asked too often makes everything pause.
    pub(super) fn arrived(
        &mut self,
        send: SendId,
        outcome: &Outcome<BrokerOrderId>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Option<OnItsWay> {
        let arrived = self.on_their_way.remove(&send)?;
        self.limiter.answered(Key::Message(send), now.mono);
        if self.orders.get(&arrived.id).is_none_or(|order| order.book != Book::Live) {
            return Some(arrived);
        }
        match outcome.as_ref().map_err(|failure| failure.cause) {
            Ok(_) | Err(Cause::Rejected) => {
                self.throttling = Throttling::default();
                self.limiter.went_through(Key::Message(send));
            }
            Err(Cause::Throttled { retry_after }) => {
                let pause = self.throttling.pause(arrived.left, now.mono, self.policy.look_again);
                let pause = retry_after.unwrap_or(pause);
                self.limiter.pause(now.mono + pause, now.mono);
                if pause > PAUSE_CAP {
                    out.push(Action::Alarm(format!(
                        "the broker says that it takes neither orders nor cancels for {pause:?}: one cancel or exit is \
                         tried every half minute all the same"
                    )));
                }
            }
            Err(_) => {}
        }
        Some(arrived)
    }

    /// A message that the broker surely did not act on waits again. A change of it was none.
    pub(super) fn not_acted_on(&mut self, back: OnItsWay, not_before: Monotonic, now: Now, out: &mut Vec<Action>) {
        self.record(&back.id, What::NotSent, now, out);
        if let CommandKind::Modify(_) = back.kind
            && let Some(order) = self.orders.get_mut(&back.id)
        {
            order.modifications = order.modifications.saturating_sub(1);
        }
        self.hold_again(&back.id, back.kind, back.asked, not_before, now, out);
    }

    /// Lets a message that came back wait for another turn. An order that is to be cancelled by now, and what came back
    /// to a venue where nothing waits, is turned away at once: [`arrive`](Self::arrive) has emptied the queue already.
    pub(super) fn hold_again(
        &mut self,
        id: &ClientOrderId,
        kind: CommandKind,
        asked: Monotonic,
        not_before: Monotonic,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(order) = self.orders.get(id) else { return };
        let why = match kind {
            CommandKind::Place | CommandKind::Modify(_) if order.cancel_wanted => Some(Refused::CancelledInTime),
            CommandKind::Cancel if self.cancels_pass() => None,
            _ if order.book == Book::Live && self.settled => self.not_waiting(),
            _ => None,
        };
        match why {
            Some(why) => {
                let back = Waiting { id: id.clone(), kind, asked, deadline: None, not_before };
                self.turn_away(&back, &why, now, out);
            }
            None => self.hold(id, kind, asked, not_before),
        }
    }

    /// Why nothing of the live book waits for better times where orders go now, if so.
    pub(super) const fn not_waiting(&self) -> Option<Refused> {
        match self.route.venue {
            Venue::Live | Venue::Blocked(Block::Starting | Block::Holding | Block::Reconciling) => None,
            Venue::Blocked(block) => Some(Refused::Blocked(block)),
            Venue::Paper => Some(Refused::LiveStopped),
        }
    }

    /// Lets a message wait for its turn. It was asked for at `asked`.
    pub(super) fn hold(&mut self, id: &ClientOrderId, kind: CommandKind, asked: Monotonic, not_before: Monotonic) {
        let Some(order) = self.orders.get(id) else { return };
        let deadline = match kind {
            CommandKind::Place => Some(order.deadline()),
            CommandKind::Modify(_) if order.external => Some(asked + FOREIGN_PATIENCE),
            CommandKind::Modify(_) => Some(asked + order.request.valid_for),
            CommandKind::Cancel => None,
        };
        let rank = Rank::of(order, &kind);
        self.queue.push(rank, Waiting { id: id.clone(), kind, asked, deadline, not_before });
    }

    /// Lets an order that came back unsent or unread wait for another turn.
    pub(super) fn hold_order_again(
        &mut self,
        id: &ClientOrderId,
        not_before: Monotonic,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(submitted) = self.orders.get(id).map(|order| order.submitted.mono) else { return };
        self.hold_again(id, CommandKind::Place, submitted, not_before, now, out);
    }

    /// Sends what may be sent now, and turns away what has waited too long.
    pub(super) fn release(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.queue.is_empty() {
            return;
        }
        if self.queue.first_deadline().is_some_and(|at| now.mono > at) {
            for late in self.queue.remove(|waiting| waiting.deadline.is_some_and(|at| now.mono > at)) {
                self.turn_away(&late, &Refused::TooLate, now, out);
            }
        }
        for rank in Rank::ALL {
            // Who stands further behind does not take the place that the one in front waits for.
            let room = if rank == Rank::Read { self.release_read(now, out) } else { self.release_rank(rank, now, out) };
            if !room {
                return;
            }
        }
    }

    /// False if the limits left no room for all of them.
    fn release_rank(&mut self, rank: Rank, now: Now, out: &mut Vec<Action>) -> bool {
        if !self.queue.has(rank) || !self.is_open(rank) {
            return true;
        }
        let mut waiting = self.queue.take(rank);
        let (mut kept, mut room) = (VecDeque::new(), true);
        while let Some(next) = waiting.pop_front() {
            if now.mono < next.not_before {
                kept.push_back(next);
            } else if self.room(rank, now.mono) == Room::Now {
                self.send_or_drop(next, now, out);
            } else {
                kept.push_back(next);
                room = false;
                break;
            }
        }
        kept.append(&mut waiting);
        self.queue.put_back(rank, kept);
        room
    }

    fn release_read(&mut self, now: Now, out: &mut Vec<Action>) -> bool {
        let Some(read) = self.queue.read else { return true };
        let room = self.room(Rank::Read, now.mono) == Room::Now;
        if room {
            self.queue.read = None;
            self.read_leaves(Key::Read(read), CALLS_OF_A_READ, now);
            out.push(Action::Read { read });
        }
        room
    }

    /// Whether messages of that rank have anywhere to go now.
    fn is_open(&self, rank: Rank) -> bool {
        match rank {
            Rank::Read => true,
            Rank::Paper => self.settled,
            Rank::Cancel => self.cancels_pass(),
            Rank::Exit | Rank::Modify | Rank::Entry => self.settled && self.route.venue == Venue::Live,
        }
    }

    /// When the limits have room for one of that rank.
    fn room(&self, rank: Rank, now: Monotonic) -> Room {
        match rank {
            Rank::Paper => Room::Now,
            Rank::Read => self.limiter.next_free_for(now, rank.class(), CALLS_OF_A_READ),
            Rank::Cancel | Rank::Exit | Rank::Modify | Rank::Entry => self.limiter.next_free(now, rank.class()),
        }
    }

    /// Its turn has come: what it is about has changed since it was asked for, perhaps so that it must not leave.
    fn send_or_drop(&mut self, waiting: Waiting, now: Now, out: &mut Vec<Action>) {
        self.orders.settle();
        let Some(order) = self.orders.get(&waiting.id) else { return };
        let command = match (&waiting.kind, &order.broker_id) {
            // It got there after all, whatever the answer was.
            (CommandKind::Place, broker_id) if broker_id.is_some() || order.status.is_final() => return,
            (CommandKind::Place, _) if order.cancel_wanted => {
                return self.refuse(&waiting.id, &Refused::CancelledInTime, now, out);
            }
            (CommandKind::Place, _) => {
                if let Err(why) = self.may_be_placed(order, now) {
                    return self.refuse(&waiting.id, &why, now, out);
                }
                Command::Place(Box::new(order.request.clone()))
            }
            (_, Some(broker_id)) if !order.status.is_final() => match &waiting.kind {
                CommandKind::Modify(change) => {
                    let may = self.may_be_changed(order, 0).and_then(|()| self.check_change(order, change, now));
                    if let Err(why) = may {
                        return self.answer(&waiting.id, why.to_string(), now, out);
                    }
                    Command::Modify(broker_id.clone(), change.clone())
                }
                CommandKind::Place | CommandKind::Cancel => {
                    Command::Cancel(order.number_to_cancel().unwrap_or(broker_id).clone())
                }
            },
            _ => {
                let words = format!("not sent: the order is already {}", order.status);
                return self.answer(&waiting.id, words, now, out);
            }
        };
        self.send(waiting, command, now, out);
    }

    /// A released order passes the checks of the venue it meets, not of the one it was submitted to.
    fn may_be_placed(&self, order: &Tracked, now: Now) -> Result<(), Refused> {
        match (order.book, order.request.intent) {
            (Book::Paper, Intent::Open) if self.route.venue != Venue::Paper => Err(Refused::PaperStopped),
            // Its own exits go on within paper whatever the venue, and the exchange itself judges them.
            (Book::Paper, Intent::Reduce(_)) => Ok(()),
            (Book::Live, _) | (Book::Paper, Intent::Open) => {
                self.admit(&order.request, Some(&order.id), now).map(|_| ())
            }
        }
    }

    /// Whether an order may be changed at the broker once more, beside so many changes of it that wait.
    pub(super) fn may_be_changed(&self, order: &Tracked, waiting: u32) -> Result<(), Refused> {
        let most = self.policy.modifications_per_order;
        if order.request.intent == Intent::Open && self.route.reduce_only {
            // What closes a position may follow the market.
            Err(if self.mode == TradingMode::ReduceOnly { Refused::OnlyExits } else { Refused::ReduceOnly })
        } else if order.modifications.saturating_add(waiting) >= most {
            Err(Refused::TooManyChanges(most))
        } else {
            Ok(())
        }
    }

    /// What waits for these orders will not leave.
    pub(super) fn refuse_held(
        &mut self,
        which: impl Fn(&Tracked) -> bool,
        why: &Refused,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let orders = &self.orders;
        let gone = self.queue.remove(|waiting| orders.get(&waiting.id).is_some_and(&which));
        for waiting in gone {
            self.turn_away(&waiting, why, now, out);
        }
    }

    /// A message will not leave: an order is refused, a change answered, a cancel remembered.
    pub(super) fn turn_away(&mut self, waiting: &Waiting, why: &Refused, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(&waiting.id) else { return };
        let over = order.status.is_final();
        match waiting.kind {
            CommandKind::Place if over || order.broker_id.is_some() => {}
            CommandKind::Place => {
                let request = order.request.clone();
                self.refuse(&waiting.id, why, now, out);
                if *why == Refused::LiveStopped {
                    self.remember_exit(&request, now);
                }
            }
            CommandKind::Cancel if !over => {
                order.cancel_wanted = true;
                self.record(&waiting.id, What::CancelWanted, now, out);
            }
            CommandKind::Modify(_) | CommandKind::Cancel => self.answer(&waiting.id, why.to_string(), now, out),
        }
    }

    fn send(&mut self, waiting: Waiting, command: Command, now: Now, out: &mut Vec<Action>) {
        let Waiting { id, kind, asked, .. } = waiting;
        let (send, route) = (SendId(self.sends + 1), self.route);
        self.sends = send.0;
        let resent = self.orders.get(&id).is_some_and(|order| order.generation > Generation::default());
        let unwritten = planted(Bug::UnwrittenResend) && resent && kind == CommandKind::Place;
        if !unwritten {
            self.record(&id, What::Sending { generation: route.generation, command: kind.clone() }, now, out);
        }
        let Some(order) = self.orders.get_mut(&id) else { return };
        let book = order.book;
        match kind {
            CommandKind::Place => {
                order.in_flight = Some(send.0);
                order.sent_at = Some(now);
                order.generation = route.generation;
            }
            CommandKind::Modify(_) => order.modifications = order.modifications.saturating_add(1),
            CommandKind::Cancel => {}
        }
        if book == Book::Live {
            self.limiter.leaves(Key::Message(send), now.mono);
        }
        let on_its_way = OnItsWay { id: id.clone(), generation: route.generation, kind, asked, left: now.mono };
        self.on_their_way.insert(send, on_its_way);
        out.push(Action::Send { send, id, book, route, command });
    }

    /// When something that waits may leave, or has waited too long.
    pub(super) fn next_release(&self) -> Option<Monotonic> {
        if self.queue.is_empty() {
            return None;
        }
        // At its deadline a message may still be sent; what is to be woken for comes after it.
        let mut first = self.queue.first_deadline().map(|at| at + Duration::from_nanos(1));
        for rank in Rank::ALL.into_iter().filter(|rank| self.is_open(*rank)) {
            let start = match rank {
                Rank::Read => self.queue.read.map(|_| Monotonic::default()),
                _ => self.queue.first_start(rank),
            };
            let Some(start) = start else { continue };
            let room = self.room(rank, start);
            let at = match room {
                Room::Now => start,
                Room::At(free) => free.max(start),
                Room::AfterAnAnswer => return first, // the answer wakes us
            };
            first = Some(first.map_or(at, |first| first.min(at)));
            if room != Room::Now {
                break; // who stands further behind waits for this one
            }
        }
        first
    }

    // --- reads that share the limits ---------------------------------------------------------------------------

    /// The desk wants to look at the broker's book. Where reads share the limits, it waits for room like an order.
    pub(super) fn ask_to_read(&mut self, read: u64, out: &mut Vec<Action>) {
        if self.policy.reads_share_limits {
            self.queue.read = Some(read);
        } else {
            out.push(Action::Read { read });
        }
    }

    /// A read of so many calls leaves for the live broker.
    pub fn read_leaves(&mut self, key: Key, calls: u32, now: Now) {
        if self.policy.reads_share_limits {
            self.limiter.leave(key, calls, now.mono);
        }
    }

    /// A read has ended, in whatever way.
    pub fn read_answered(&mut self, key: Key, now: Now) {
        self.limiter.answered(key, now.mono);
    }

    /// One call of a read has ended; others are still to come.
    pub fn read_answered_once(&mut self, key: Key, now: Now) {
        self.limiter.answered_once(key, now.mono);
    }

    /// What an earlier run of the engine sent still counts at the broker, from when its answer was written down. Where none
    /// is, it is taken to have been as late as a call may be, but to have left with the process that sent it. Before
    /// anything is sent in this run.
    pub fn count_earlier<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>, now: Now) {
        let mut unanswered: BTreeMap<(&ClientOrderId, bool), VecDeque<Timestamp>> = BTreeMap::new();
        let mut answered = Vec::new();
        for record in records.into_iter().filter(|record| record.book == Book::Live) {
            let Some(id) = &record.id else { continue };
            // A placement is answered by what is known of the order, a change or a cancel by words of its own: what is known
            // of the order may have come from elsewhere.
            let of = match &record.what {
                What::Sending { command, .. } => {
                    let places = *command == CommandKind::Place;
                    unanswered.entry((id, places)).or_default().push_back(record.at);
                    continue;
                }
                What::State { .. } | What::RefusedForToken { .. } => (id, true),
                What::Answer(_) => (id, false),
                _ => continue,
            };
            answered.extend(unanswered.get_mut(&of).and_then(VecDeque::pop_front).map(|_| record.at));
        }
        let late = unanswered.into_values().flatten().map(|sent| sent + LATEST_ANSWER);
        for at in answered.into_iter().chain(late) {
            self.limiter.count_earlier(now.wall.since(at), now.mono);
        }
    }

    /// The live broker has answered so many reads that the desk did not ask for, and could not hold back.
    pub fn count_read(&mut self, calls: u32, now: Now) {
        if self.policy.reads_share_limits {
            self.limiter.count(calls, now.mono);
        }
    }
}

#[cfg(test)]
mod tests;
