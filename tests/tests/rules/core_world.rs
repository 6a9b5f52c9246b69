//! The world around the whole core: it remembers what the core asked for, so that moves can answer it, and shows each
//! move with what came of it to a rule's judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nirantar::core::{Core, Input, Output};
use nirantar::feed::{FeedPolicy, Input as FeedInput, Output as FeedOutput, SocketId, Supervisor};
use nirantar::orders::{Command, Desk, DeskPolicy, LiveState, Record, Route, SendId, Tracked};
use nirantar::session::{Generation, Machine};
use nirantar_brokers::time::Now;
use nirantar_brokers::{
    Book, BrokerOrderId, Cause, ClientOrderId, Endpoint, Exchange, Failure, InstrumentKey, MarketProtection, Mode,
    Money, OrderChange, OrderRequest, OrderRow, OrderStatus, OrderType, Outcome, Position, Price, Product, Quantity,
    RateLimit, Side, Validity,
};
use nirantar_exchange_mock::{Calendar, universe};

use super::dice::{Dice, Sequence};
use super::events::Step;
use super::moves::{Answer, Move, PRELUDE, Read, Socket, Wish};
use super::policies;

/// What one message was.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: ClientOrderId,
    pub book: Book,
    pub route: Route,
    pub places: bool,
}

/// A core and its world.
#[derive(Clone)]
pub struct CoreWorld {
    pub core: Core,
    pub now: Now,
    pub on_their_way: BTreeMap<SendId, Sent>,
    probe: u64,
    attempt: u64,
    read: u64,
    epoch: u64,
    socket: SocketId,
    closing: SocketId,
}

/// What was done to the core.
#[derive(Clone, Debug)]
pub enum Done {
    Told(Input),
    Submitted,
    Asked,
}

/// One move and what came of it.
pub struct Scene<'a> {
    /// As it was.
    pub before: &'a CoreWorld,
    pub done: &'a Done,
    pub outputs: &'a [Output],
    /// As it is.
    pub after: &'a CoreWorld,
}

/// Sees that one rule is kept.
pub trait Judge {
    /// # Errors
    /// What is wrong.
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String>;
}

fn share() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "RELIANCE")
}

/// An order for ten shares.
pub fn order(wish: Wish) -> OrderRequest {
    let market = OrderType::Market(MarketProtection::Automatic);
    OrderRequest { intent: wish.intent, valid_for: wish.valid_for, ..OrderRequest::new(share(), wish.side, 10, market) }
}

impl CoreWorld {
    /// A world of some policy, before anything has happened.
    pub fn new(mut dice: Dice) -> Self {
        let policy = policies::policy(&mut dice);
        Self::of(Machine::new(policy), policies::start(&mut dice))
    }

    /// A world of that machine, which subscribes to one share.
    pub fn of(machine: Machine, now: Now) -> Self {
        let desk = Desk::new(DeskPolicy { limits: vec![RateLimit::new(10, 1)], ..DeskPolicy::default() });
        let feed = Supervisor::new(FeedPolicy::default(), Duration::from_secs(5), 1);
        let mut core = Core::new(machine, desk, feed, Calendar::nse(), true);
        let unheard = &mut Vec::new();
        core.on(Input::Subscribe(BTreeSet::from([share()]), Mode::Full), now, unheard);
        core.on(Input::Instruments(universe::instruments(now.wall.ist_date())), now, unheard);
        let (probe, attempt, read, epoch, socket, closing) = (0, 0, 0, 0, SocketId(0), SocketId(0));
        Self { core, now, on_their_way: BTreeMap::new(), probe, attempt, read, epoch, socket, closing }
    }

    /// Lets a move happen, under the judge's eyes.
    ///
    /// # Errors
    /// The judge's.
    pub fn step(&mut self, made: Move, judge: &mut dyn Judge) -> Result<(), String> {
        self.step_cut(made, |_| usize::MAX, judge).map(drop)
    }

    /// Lets a move happen of whose outputs only so many are performed, for the process dies. Returns those.
    ///
    /// # Errors
    /// The judge's.
    pub fn step_cut(
        &mut self,
        made: Move,
        performed: impl FnOnce(usize) -> usize,
        judge: &mut dyn Judge,
    ) -> Result<Vec<Output>, String> {
        let before = self.clone();
        let mut outputs = Vec::new();
        let done = self.make(made, &mut outputs);
        outputs.truncate(performed(outputs.len()));
        self.remember(&done, &outputs);
        let scene = Scene { before: &before, done: &done, outputs: &outputs, after: self };
        judge.see(&scene).map_err(|why| {
            let lines: Vec<String> = outputs.iter().map(|output| format!("    {output:?}")).collect();
            let (at, policy) = (self.now.wall, self.core.session().policy());
            format!("{why}\n  at {at}, after {made:?}:\n{}\n  {policy:?}", lines.join("\n"))
        })?;
        Ok(outputs)
    }

    /// The world of a new process, whose core has read this journal. Its clock starts anew, and its order numbers are
    /// told apart from those of before by their sequence alone.
    pub fn restarted(&self, journal: &[Record]) -> (Self, Vec<Output>) {
        let now = Now { wall: self.now.wall, ..Now::default() };
        let mut world = Self::of(Machine::new(self.core.session().policy().clone()), now);
        let mut outputs = Vec::new();
        world.core.restore(journal, now, &mut outputs);
        (world, outputs)
    }

    /// Tells the core something and remembers what it asks for.
    pub fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.core.on(input.clone(), self.now, &mut outputs);
        self.remember(&Done::Told(input), &outputs);
        outputs
    }

    /// Good answers to all that is unanswered, except a probe and an attempt: those may hang.
    pub fn unanswered(&self) -> Vec<Input> {
        let generation = self.core.session().generation();
        let mut inputs = vec![
            Input::Settled { epoch: self.epoch },
            Input::Read { read: self.read, generation, state: self.read(Read::Empty) },
            Input::Feed(self.word(Socket::Closed)),
            Input::Feed(self.word(Socket::Connected)),
            Input::Feed(self.word(Socket::Frame(1))),
        ];
        let replies = self.on_their_way.keys().map(|send| Input::Reply { send: *send, outcome: Ok(number_of(*send)) });
        inputs.extend(replies);
        inputs
    }

    fn remember(&mut self, done: &Done, outputs: &[Output]) {
        if let Done::Told(Input::Reply { send, .. } | Input::GateShut { send }) = done {
            self.on_their_way.remove(send);
        }
        for output in outputs {
            match output {
                Output::Publish { epoch: Some(epoch), .. } => self.epoch = *epoch,
                Output::Probe { probe, .. } => self.probe = *probe,
                Output::Attempt { attempt, .. } => self.attempt = *attempt,
                Output::Read { read, .. } => self.read = *read,
                Output::Feed(FeedOutput::Connect { socket, .. }) => self.socket = *socket,
                Output::Feed(FeedOutput::Disconnect { socket }) => self.closing = *socket,
                Output::Send { send, id, book, route, command } => {
                    let places = matches!(command, Command::Place(_));
                    self.on_their_way.insert(*send, Sent { id: id.clone(), book: *book, route: *route, places });
                }
                _ => {}
            }
        }
    }

    fn make(&mut self, made: Move, out: &mut Vec<Output>) -> Done {
        match made {
            Move::Submit(wish) => {
                // What was refused has left no trace, and that is all a judge needs.
                let _ = self.core.submit(order(wish), self.now, out);
                return Done::Submitted;
            }
            Move::Cancel(number) => {
                if let Some(id) = self.order(number).map(|order| order.id.clone()) {
                    let _ = self.core.cancel(&id, self.now, out);
                    return Done::Asked;
                }
            }
            Move::Modify(number) => {
                if let Some(id) = self.order(number).map(|order| order.id.clone()) {
                    let change = OrderChange { quantity: Some(Quantity::new(5)), ..OrderChange::default() };
                    let _ = self.core.modify(&id, change, self.now, out);
                    return Done::Asked;
                }
            }
            _ => {}
        }
        let input = self.input(made).unwrap_or(Input::Wake);
        self.core.on(input.clone(), self.now, out);
        Done::Told(input)
    }

    fn input(&mut self, made: Move) -> Option<Input> {
        let current = self.core.session().generation();
        Some(match made {
            Move::Session(step) => self.told(step),
            Move::Nap(span) => {
                self.now = self.now + span;
                // Whatever waits at the gate, waits no more.
                self.sent(0).map_or(Input::Settled { epoch: self.epoch }, |send| Input::GateShut { send })
            }
            Move::Answered(of, answer) => {
                Input::Answer { generation: of.number(current), failure: self.outcome(answer, Endpoint::Margins).err() }
            }
            Move::Reply(number, answer) => {
                let (send, endpoint) = (self.sent(number)?, Endpoint::Place);
                Input::Reply { send, outcome: self.outcome(answer, endpoint).map(|()| number_of(send)) }
            }
            Move::StrayReply => Input::Reply { send: SendId(9999), outcome: Ok(BrokerOrderId::new("S")) },
            Move::GateShut(number) => Input::GateShut { send: self.sent(number)? },
            Move::Settled => Input::Settled { epoch: self.epoch },
            Move::StraySettled => Input::Settled { epoch: self.epoch.wrapping_sub(1) },
            Move::Read(of, read) => {
                Input::Read { read: self.read, generation: of.number(current), state: self.read(read) }
            }
            Move::Update { order, right_book, status, filled } => {
                let tracked = self.order(order)?;
                let book = if right_book { tracked.book } else { other(tracked.book) };
                let row = OrderRow { status, filled: Quantity::new(filled), ..self.row(tracked) };
                Input::Update { book, row: row.into() }
            }
            Move::Foreign(book, filled) => Input::Update { book, row: foreign(filled).into() },
            Move::Socket(socket) => Input::Feed(self.word(socket)),
            Move::Submit(_) | Move::Cancel(_) | Move::Modify(_) => return None,
        })
    }

    fn told(&mut self, step: Step) -> Input {
        let wall = self.now.wall;
        match step {
            Step::Wait => {
                let next = self.core.next_wake(self.now);
                self.now = self.now + next.since(self.now.mono);
                Input::Wake
            }
            Step::Pass(span) => {
                self.now = self.now + span;
                Input::Wake
            }
            Step::Clock(seconds) => {
                let span = Duration::from_secs(seconds.unsigned_abs());
                self.now.wall = if seconds < 0 { wall - span } else { wall + span };
                Input::Wake
            }
            Step::Started => Input::Started,
            Step::Offer(offer) => Input::Candidate(offer.candidate(wall)),
            Step::Probed(found) => Input::Probed { probe: self.probe, verdict: found.verdict() },
            Step::StrayProbe(probe, found) => Input::Probed { probe, verdict: found.verdict() },
            Step::Attempted(end) => Input::Attempted { attempt: self.attempt, end: end.told(wall) },
            Step::StrayAttempt(attempt, end) => Input::Attempted { attempt, end: end.told(wall) },
            Step::Says(operator) => Input::Operator(operator),
            // Told to the session by the core's other parts.
            Step::Refused(..)
            | Step::Misconfigured(..)
            | Step::Unanswered(_)
            | Step::Answered(_)
            | Step::Compared(_)
            | Step::StrayCompared(..)
            | Step::Feed(..)
            | Step::Market(_) => Input::Wake,
        }
    }

    fn outcome(&self, answer: Answer, endpoint: Endpoint) -> Outcome<()> {
        match answer {
            Answer::Good => Ok(()),
            Answer::Bad(cause) => Err(Failure::new(cause, endpoint, "no")),
        }
    }

    /// The newest order but so many.
    fn order(&self, number: usize) -> Option<&Tracked> {
        let orders: Vec<&Tracked> = self.core.desk().orders().collect();
        orders.into_iter().rev().nth(number)
    }

    fn sent(&self, number: usize) -> Option<SendId> {
        self.on_their_way.keys().rev().nth(number).copied()
    }

    fn read(&self, read: Read) -> Outcome<LiveState> {
        match read {
            Read::Failed(cause) => Err(Failure::new(cause, Endpoint::Positions, "no")),
            Read::Empty => Ok(LiveState::default()),
            Read::Whole(quantity) => {
                let ours = self.core.desk().orders().filter(|order| order.book == Book::Live);
                let known = ours.filter(|order| order.broker_id.is_some());
                let rows = known.map(|order| self.row(order)).collect();
                Ok(LiveState::new(vec![position(quantity)], rows, Vec::new()))
            }
        }
    }

    /// An order as its broker would show it.
    fn row(&self, order: &Tracked) -> OrderRow {
        // An update may come before the reply that brings the number.
        let on_its_way = self.on_their_way.iter().find(|(_, sent)| sent.places && sent.id == order.id);
        let number =
            || on_its_way.map_or_else(|| BrokerOrderId::new(format!("U{}", order.id)), |(send, _)| number_of(*send));
        let order_id = order.broker_id.clone().unwrap_or_else(number);
        let status = if order.status == OrderStatus::Journalled { OrderStatus::Accepted } else { order.status };
        OrderRow {
            order_id,
            parent_id: None,
            exchange_order_id: None,
            client_id: Some(order.id.clone()),
            status,
            broker_status: "".into(),
            message: None,
            instrument: order.request.instrument.clone(),
            side: order.request.side,
            order_type: order.request.order_type,
            product: order.request.product,
            validity: Validity::Day,
            quantity: order.request.quantity,
            filled: order.filled,
            average_price: Price::from_paise(10_000),
            placed_at: order.submitted.wall,
            exchange_at: None,
        }
    }

    fn word(&self, word: Socket) -> FeedInput {
        let socket = self.socket;
        match word {
            Socket::Connected => FeedInput::Connected { socket },
            Socket::Frame(ticks) => FeedInput::Frame { socket, ticks },
            Socket::Refused(cause) => FeedInput::Refused { socket, failure: Failure::new(cause, Endpoint::Feed, "no") },
            Socket::Lost => FeedInput::Lost { socket, why: "cut".to_owned() },
            Socket::Closed => FeedInput::Closed { socket: self.closing },
        }
    }
}

/// Whether an answer says, beyond doubt, that the token is dead.
pub fn is_conclusive(failure: Option<&Failure>) -> bool {
    failure.is_some_and(|failure| failure.cause == Cause::Refused(nirantar_brokers::Refusal::Conclusive))
}

/// The token of the last refusal that leaves no doubt, if this was one.
pub fn refused(scene: &Scene<'_>) -> Option<Generation> {
    match scene.done {
        Done::Told(Input::Reply { send, outcome }) if is_conclusive(outcome.as_ref().err()) => {
            scene.before.on_their_way.get(send).filter(|sent| sent.book == Book::Live).map(|sent| sent.route.generation)
        }
        Done::Told(Input::Answer { generation, failure }) if is_conclusive(failure.as_ref()) => Some(*generation),
        Done::Told(Input::Read { generation, state, .. }) if is_conclusive(state.as_ref().err()) => Some(*generation),
        _ => None,
    }
}

fn other(book: Book) -> Book {
    if book == Book::Live { Book::Paper } else { Book::Live }
}

fn number_of(send: SendId) -> BrokerOrderId {
    BrokerOrderId::new(format!("B{}", send.0))
}

fn foreign(filled: u64) -> OrderRow {
    OrderRow {
        order_id: BrokerOrderId::new("F1"),
        parent_id: None,
        exchange_order_id: None,
        client_id: None,
        status: OrderStatus::Open,
        broker_status: "".into(),
        message: None,
        instrument: share(),
        side: Side::Buy,
        order_type: OrderType::Limit(Price::from_paise(10_000)),
        product: Product::Mis,
        validity: Validity::Day,
        quantity: Quantity::new(10),
        filled: Quantity::new(filled),
        average_price: Price::from_paise(10_000),
        placed_at: nirantar_brokers::time::Timestamp::default(),
        exchange_at: None,
    }
}

fn position(quantity: i64) -> Position {
    Position {
        instrument: share(),
        product: Product::Mis,
        quantity,
        average_price: Price::ZERO,
        last_price: Price::ZERO,
        bought: Quantity::ZERO,
        buy_value: Money::ZERO,
        sold: Quantity::ZERO,
        sell_value: Money::ZERO,
    }
}

/// Plays a whole sequence; returns its number of moves.
///
/// # Errors
/// The judge's.
pub fn play(sequence: &Sequence<Move>, judge: &mut dyn Judge) -> Result<usize, String> {
    let mut world = CoreWorld::new(sequence.policy);
    let moves = sequence.after(&PRELUDE);
    for made in &moves {
        world.step(*made, judge)?;
    }
    Ok(moves.len())
}
