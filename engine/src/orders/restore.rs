//! The desk of a new process: rebuilt from the journal before anything else happens.
//!
//! The journal is what is known; what it does not say is never guessed in favour of sending:
//!
//! | the last word on placing an order | what it is after the restart |
//! |---|---|
//! | asked for, never sent | Refused: no byte of it has left |
//! | turned back by the gate, throttled, or refused for the token's sake | Refused: it was surely not acted on, and nothing is sent by itself after a restart |
//! | sent | Unknown, and looked for by its tag; on paper Refused, since the paper exchange is rebuilt from the same journal |
//! | known to work | what it was; the first comparison says what became of it |
//! | known to be final | what it was |
//!
//! A tail that was lost with the process changes nothing of this: records are safe before the bytes they announce leave,
//! so an order whose last sending is not in the journal was not sent. What is found out here is recorded in its turn, so
//! that a second restart finds the same.
//!
//! Of an earlier day (IST) nothing works any more. What is final is forgotten, but for what an operator has still to look
//! at; what was unknown or working at the broker is Unresolved, what worked on paper is Cancelled. Live positions are
//! carried over until the broker says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use nirantar_brokers::time::Now;
use nirantar_brokers::{Book, ClientOrderId, OrderRequest, OrderStatus, Quantity};
use nirantar_exchange_mock::{Past, Recollection, Settlement, Stand};

use super::absence::{could_explain, counted_ahead_of};
use super::{Action, CommandKind, Desk, Difference, Record, Tracked, What};

/// What was found in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Orders the desk knows again: those of today, and those an operator has still to look at.
    pub orders: usize,
    /// Those of both books that work as far as the journal knows.
    pub working: usize,
    /// Those sent to the broker whose fate nobody knows yet.
    pub unknown: usize,
    /// Those that need an operator's look.
    pub unresolved: usize,
    /// What the paper exchange had, for it to go on with: of its orders those of today.
    pub paper: Past,
}

/// How far the placing of an order had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placing {
    NotBegun,
    OnItsWay,
    TurnedBack,
    Answered,
}

/// One order's records, as far as they were read.
struct Story {
    order: Tracked,
    placing: Placing,
    /// What was sent and not yet turned back or answered.
    sent: Vec<CommandKind>,
}

/// The whole journal, as far as it was read.
#[derive(Default)]
struct Replay {
    stories: BTreeMap<ClientOrderId, Story>,
    /// Orders that had units counted ahead at some time.
    ahead: BTreeSet<ClientOrderId>,
    paper: Recollection,
    sends: u64,
    /// The last day on which something was learned of a live position.
    live_until: Option<NaiveDate>,
}

impl Replay {
    /// The broker's word on a position may tell of fills of orders that nobody had seen yet, as the desk took it then.
    fn count_ahead(&mut self, difference: &Difference) {
        let mut left = difference.brokers.abs_diff(difference.ours);
        for Story { order, .. } in self.stories.values_mut() {
            let may_fill = order.book == Book::Live && order.may_be_working() && order.broker_id.is_none();
            if may_fill && could_explain(order, difference) {
                let open = order.request.quantity.less(order.filled + order.counted_ahead);
                let taken = open.get().min(left);
                order.counted_ahead = order.counted_ahead + Quantity::new(taken);
                left -= taken;
                self.ahead.insert(order.id.clone());
            }
        }
    }

    /// As [`Desk::take_ahead`].
    fn take_ahead(&mut self, id: &ClientOrderId, new: Quantity) -> Quantity {
        let Some(Story { order, .. }) = self.stories.get(id).filter(|_| !new.is_zero()) else { return Quantity::ZERO };
        let all = self.ahead.iter().filter_map(|id| self.stories.get(id)).map(|story| &story.order);
        let left = counted_ahead_of(order, all).iter().fold(new, |left, holder| match self.stories.get_mut(holder) {
            Some(story) => story.order.take_ahead(left),
            None => left,
        });
        new.less(left)
    }
}

impl Desk {
    /// Rebuilds the desk of before from what the journal kept, oldest first. Meant for a desk that has seen nothing yet;
    /// sends nothing. What is to be recorded of it is in `out`.
    pub fn restore(&mut self, records: &[Record], now: Now, out: &mut Vec<Action>) -> Restored {
        let mut replay = Replay::default();
        self.ledger.begin(now.wall.ist_date());
        for record in records {
            self.replay(record, now, &mut replay);
        }
        let Replay { stories, mut paper, sends, live_until, .. } = replay;
        self.sends = self.sends.max(sends);
        self.count_earlier(records, now);
        let today = now.wall.ist_date();
        if live_until.is_some_and(|day| day < today) && self.exposure.open(Book::Live).next().is_some() {
            self.reconciliation.carry_over();
        }
        for (id, story) in stories {
            let ending = end_of_story(&story, today);
            self.orders.insert(id.clone(), story.order);
            let Some((steps, words)) = ending else { continue };
            if let Some(order) = self.orders.get_mut(&id) {
                order.message = Some(words.to_owned());
            }
            for next in steps {
                self.step(&id, *next, now, out);
            }
            if let Some(order) = self.orders.get_mut(&id) {
                if order.status == OrderStatus::Refused {
                    order.sent_at = None;
                }
                paper.ends(&id, order.status);
            }
        }
        self.orders.retain(|order| {
            let over = order.submitted.wall.ist_date() < today && order.status.is_final();
            !over || needs_a_look(order)
        });
        for order in self.orders.values() {
            if let Some(number) = &order.broker_id {
                self.by_broker_id.insert(order.book, number, &order.id);
            }
        }
        self.tell_unresolved(out);
        if self.orders.values().any(|order| order.book == Book::Live && order.may_be_working()) {
            self.reconciliation.look_soon(now.mono);
        }
        let mut paper = paper.into_past();
        paper.orders.retain(|order| order.placed_at.ist_date() >= today);
        self.count(paper)
    }

    /// Takes one record.
    fn replay(&mut self, record: &Record, now: Now, replay: &mut Replay) {
        let Record { at, id, book, what } = record;
        let (at, book) = (*at, *book);
        if let What::Holds { instrument, product, quantity } = what {
            let ours = self.exposure.of(Book::Live, instrument, *product);
            let (instrument, product) = (instrument.clone(), *product);
            let difference = Difference { instrument, product, ours, brokers: *quantity };
            replay.count_ahead(&difference);
            self.exposure.adopt(&difference);
            replay.live_until = Some(at.ist_date());
        }
        if let What::Settled { instrument, product, price } = what {
            self.close_at(book, instrument, *product, *price, at.is_same_ist_date(now.wall));
            if book == Book::Paper {
                let (instrument, product, price) = (instrument.clone(), *product, *price);
                replay.paper.settled(Settlement { instrument, product, price, at });
            }
        }
        let Some(id) = id else { return };
        if let What::Intent(request) | What::External { request, .. } = what {
            self.made = self.made.max(sequence_of(self.policy.run, id).unwrap_or(0));
            let submitted = Now { mono: now.mono, wall: at };
            let order = Tracked::new(id.clone(), book, request.clone(), submitted);
            replay.stories.insert(id.clone(), Story { order, placing: Placing::NotBegun, sent: Vec::new() });
            if book == Book::Paper {
                replay.paper.asked(id, request, at);
            }
        }
        let Some(Story { order, placing, sent }) = replay.stories.get_mut(id) else { return };
        match what {
            What::Intent(_) | What::Holds { .. } | What::Settled { .. } => {}
            What::External { broker_id, .. } => {
                // Its state follows, unless the process ended in between; it was seen in the book in any case.
                (order.external, order.status, order.broker_id) =
                    (true, OrderStatus::Accepted, Some(broker_id.clone()));
                order.sent_at = Some(order.submitted);
                *placing = Placing::Answered;
            }
            What::Sending { generation, command } => {
                replay.sends = replay.sends.saturating_add(1);
                sent.push(command.clone());
                match command {
                    CommandKind::Place => {
                        *placing = Placing::OnItsWay;
                        order.generation = *generation;
                        // How long ago this was the new process's clock cannot say: propagation is waited for anew.
                        order.sent_at = Some(Now { mono: now.mono, wall: at });
                    }
                    CommandKind::Modify(change) => {
                        order.modifications = order.modifications.saturating_add(1);
                        if book == Book::Paper {
                            replay.paper.changing(id, change);
                        }
                    }
                    CommandKind::Cancel => order.cancel_wanted = false,
                }
            }
            What::NotSent => match sent.pop() {
                Some(CommandKind::Modify(_)) => order.modifications = order.modifications.saturating_sub(1),
                Some(CommandKind::Cancel) => order.cancel_wanted = true,
                Some(CommandKind::Place) | None => turned_back(order, placing),
            },
            What::RefusedForToken { .. } => match sent.pop() {
                Some(CommandKind::Modify(_)) => order.modifications = order.modifications.saturating_sub(1),
                Some(CommandKind::Cancel) => order.cancel_wanted = true,
                Some(CommandKind::Place) | None => {
                    order.refused_once = true;
                    turned_back(order, placing);
                }
            },
            What::State { status, quantity, broker_id, filled, average_price, message } => {
                if let Some(quantity) = quantity {
                    (order.request.quantity, order.resized) = (*quantity, true);
                }
                sent.retain(|command| *command != CommandKind::Place);
                let new = filled.less(order.filled);
                if *status != order.status {
                    order.acknowledged = false; // as while the engine runs: what was found again is a new story
                }
                if !matches!(status, OrderStatus::Journalled | OrderStatus::Sent) {
                    (*placing, order.status) = (Placing::Answered, *status);
                }
                if broker_id.is_some() {
                    order.broker_id.clone_from(broker_id);
                }
                order.message.clone_from(message);
                if *filled >= order.filled {
                    (order.filled, order.average_price) = (*filled, *average_price);
                }
                if matches!(status, OrderStatus::Refused | OrderStatus::Rejected) {
                    order.sent_at = None;
                } else if order.sent_at.is_none() {
                    order.sent_at = Some(order.submitted);
                }
                if book == Book::Paper {
                    let (status, filled, message) = (*status, *filled, message.clone());
                    let average_price = *average_price;
                    let stand = Stand { status, order_id: broker_id.clone(), filled, average_price, message };
                    replay.paper.stands(id, &stand, at);
                }
                // What the broker's word has brought already is not counted twice.
                let ahead = replay.take_ahead(id, new);
                if let Some(story) = replay.stories.get(id) {
                    self.count_fill(&story.order, new.less(ahead));
                }
                if book == Book::Live && !new.is_zero() {
                    replay.live_until = Some(at.ist_date());
                }
            }
            What::Answer(_) => {
                if book == Book::Paper {
                    replay.paper.refused(id);
                }
                sent.pop_if(|command| *command != CommandKind::Place);
            }
            What::CancelWanted => order.cancel_wanted = true,
            What::Acknowledged => order.acknowledged = true,
        }
    }

    fn count_fill(&mut self, order: &Tracked, new: Quantity) {
        let OrderRequest { instrument, side, product, .. } = &order.request;
        self.exposure.fill(order.book, instrument, *product, side.signed(new));
    }

    fn tell_unresolved(&self, out: &mut Vec<Action>) {
        let unresolved = self.orders.values().filter(|order| needs_a_look(order));
        let ids: Vec<&str> = unresolved.map(|order| order.id.as_str()).collect();
        if !ids.is_empty() {
            out.push(Action::Alarm(format!(
                "live orders of an earlier day are unresolved and count as exposure until you have looked at them in the \
                 broker's own app and run nirantar orders acknowledge ID for each: {}",
                ids.join(", ")
            )));
        }
    }

    fn count(&self, paper: Past) -> Restored {
        let count = |which: fn(&Tracked) -> bool| self.orders.values().filter(|order| which(order)).count();
        Restored {
            orders: self.orders.len(),
            working: count(|order| order.may_be_working() && order.status != OrderStatus::Unknown),
            unknown: count(|order| order.status == OrderStatus::Unknown),
            unresolved: count(needs_a_look),
            paper,
        }
    }
}

fn needs_a_look(order: &Tracked) -> bool {
    order.status == OrderStatus::Unresolved && !order.acknowledged
}

/// What becomes of an order that was not final when the records end: the steps, and words for them.
fn end_of_story(story: &Story, today: NaiveDate) -> Option<(&'static [OrderStatus], &'static str)> {
    use OrderStatus::{Cancelled, Refused, Sent, Unknown, Unresolved};
    let Story { order, placing, .. } = story;
    if order.status.is_final() {
        return None;
    }
    let over = order.submitted.wall.ist_date() < today;
    match (placing, order.book) {
        (Placing::NotBegun, _) => Some((&[Refused], "the engine stopped before it was sent")),
        (Placing::TurnedBack, _) => {
            Some((&[Refused], "it was turned back unsent or unread, and the engine stopped before it was sent again"))
        }
        (Placing::OnItsWay, Book::Paper) => {
            Some((&[Refused], "the engine stopped before the paper exchange's answer was written"))
        }
        (Placing::OnItsWay, Book::Live) if over => {
            Some((&[Unknown, Unresolved], "the engine stopped before the answer came, and the day is over"))
        }
        (Placing::OnItsWay, Book::Live) => {
            Some((&[Unknown], "the engine stopped before the answer came: it is looked for at the broker"))
        }
        (Placing::Answered, Book::Paper) if order.broker_id.is_none() => {
            Some((&[Refused], "the paper exchange never confirmed it"))
        }
        (Placing::Answered, Book::Paper) if over => Some((&[Cancelled], "the paper exchange's day has ended")),
        (Placing::Answered, Book::Live) if over && matches!(order.status, Sent | Unknown) => {
            Some((&[Unresolved], "the day ended before it was found"))
        }
        (Placing::Answered, Book::Live) if over => Some((&[Unresolved], "the day ended before its end was seen")),
        (Placing::Answered, _) => None,
    }
}

/// No byte was acted on. What an update has told meanwhile stays true.
fn turned_back(order: &mut Tracked, placing: &mut Placing) {
    if *placing == Placing::OnItsWay {
        *placing = Placing::TurnedBack;
        order.sent_at = None;
    }
}

/// The sequence number in an id of that run; `None` for another run's.
fn sequence_of(run: u64, id: &ClientOrderId) -> Option<u64> {
    let digits = id.as_str().get(11..)?;
    let sequence = u64::from_str_radix(digits, 36).ok()?;
    (ClientOrderId::numbered(run, sequence) == *id).then_some(sequence)
}
