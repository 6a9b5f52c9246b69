//! The order desk: submit, route, send, reply.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{
    Block, Book, BrokerOrderId, Cause, ClientOrderId, InstrumentKey, Intent, MarketProtection, OrderChange,
    OrderRequest, OrderRow, OrderStatus, OrderType, Outcome, Product, Side, Venue,
};

use super::reconcile::Reconciliation;
use super::{
    Action, Command, CommandKind, DeskPolicy, Exposure, Facts, Limiter, Record, Refused, Route, SendId, Tracked, What,
};
use crate::session::Generation;

/// The order desk of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desk {
    pub(super) policy: DeskPolicy,
    pub(super) orders: BTreeMap<ClientOrderId, Tracked>,
    pub(super) by_broker_id: BTreeMap<(Book, BrokerOrderId), ClientOrderId>,
    pub(super) exposure: Exposure,
    pub(super) reconciliation: Reconciliation,
    made: u64,
    sends: u64,
    on_their_way: BTreeMap<SendId, OnItsWay>,
    route: Route,
    /// Between leaving one venue and arriving at the next nothing is sent.
    settled: bool,
    /// Live orders that wait, in the order they came.
    held: Vec<Held>,
    limiter: Limiter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct OnItsWay {
    id: ClientOrderId,
    generation: Generation,
    kind: CommandKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    id: ClientOrderId,
    not_before: Monotonic,
}

impl Desk {
    /// A desk that blocks everything until it is told where orders go.
    #[must_use]
    pub fn new(policy: DeskPolicy) -> Self {
        let route =
            Route { venue: Venue::Blocked(Block::Starting), reduce_only: false, generation: Generation::default() };
        Self {
            limiter: Limiter::new(&policy.limits),
            policy,
            orders: BTreeMap::new(),
            by_broker_id: BTreeMap::new(),
            exposure: Exposure::default(),
            reconciliation: Reconciliation::default(),
            made: 0,
            sends: 0,
            on_their_way: BTreeMap::new(),
            route,
            settled: true,
            held: Vec::new(),
        }
    }

    /// Every order, by our number.
    pub fn orders(&self) -> impl Iterator<Item = &Tracked> {
        self.orders.values()
    }

    /// One order.
    #[must_use]
    pub fn order(&self, id: &ClientOrderId) -> Option<&Tracked> {
        self.orders.get(id)
    }

    /// What each book holds.
    #[must_use]
    pub const fn exposure(&self) -> &Exposure {
        &self.exposure
    }

    /// Takes an order. It is written, and on its way or held, when this returns.
    ///
    /// # Errors
    /// [`Refused`]: nothing was written or sent.
    pub fn submit(&mut self, request: OrderRequest, now: Now, out: &mut Vec<Action>) -> Result<ClientOrderId, Refused> {
        let book = self.admit(&request)?;
        self.made += 1;
        let id = ClientOrderId::numbered(self.policy.run, self.made);
        let order = Tracked::new(id.clone(), book, request.clone(), now);
        self.orders.insert(id.clone(), order);
        self.record(&id, What::Intent(request), now, out);
        self.changed(&id, out);
        self.held.push(Held { id: id.clone(), not_before: now.mono });
        self.release(now, out);
        Ok(id)
    }

    /// Which book an order would go to now, if to any.
    fn admit(&self, request: &OrderRequest) -> Result<Book, Refused> {
        if request.quantity.is_zero() {
            return Err(Refused::NoQuantity);
        }
        let book = match (self.route.venue, request.intent) {
            (Venue::Paper, Intent::Reduce(Book::Live)) => return Err(Refused::NoLiveSession),
            (Venue::Paper, Intent::Open | Intent::Reduce(Book::Paper)) => Book::Paper,
            // What paper holds can be reduced at any time.
            (_, Intent::Reduce(Book::Paper)) => Book::Paper,
            (Venue::Live | Venue::Blocked(Block::Starting | Block::Holding | Block::Reconciling), _) => Book::Live,
            (Venue::Blocked(block), _) => return Err(Refused::Blocked(block)),
        };
        if book == Book::Live && !self.policy.live_orders {
            return Err(Refused::LiveOrdersNotYet);
        }
        if book == Book::Live && self.route.reduce_only && request.intent == Intent::Open {
            return Err(Refused::ReduceOnly);
        }
        let other = if book == Book::Live { Book::Paper } else { Book::Live };
        if request.intent == Intent::Open && self.exposure.would_reduce(other, request) {
            return Err(Refused::ExposureOnOtherVenue(other));
        }
        Ok(book)
    }

    /// Asks to cancel an order. One that was not sent yet is refused on the spot.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn cancel(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) -> Result<(), Refused> {
        if let Some(index) = self.held.iter().position(|held| held.id == *id) {
            self.held.remove(index);
            self.refuse(id, &Refused::CancelledInTime, now, out);
            return Ok(());
        }
        let (book, broker_id) = self.working(id)?;
        self.send(id, book, Command::Cancel(broker_id), CommandKind::Cancel, now, out);
        Ok(())
    }

    /// Asks to change an order that is in the market.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn modify(
        &mut self,
        id: &ClientOrderId,
        change: OrderChange,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let (book, broker_id) = self.working(id)?;
        if book == Book::Live && self.route.reduce_only {
            return Err(Refused::ReduceOnly);
        }
        let command = Command::Modify(broker_id, change.clone());
        self.send(id, book, command, CommandKind::Modify(change), now, out);
        Ok(())
    }

    /// The broker's number of an order that can be changed or cancelled now.
    fn working(&self, id: &ClientOrderId) -> Result<(Book, BrokerOrderId), Refused> {
        let order = self.orders.get(id).ok_or(Refused::NoSuchOrder)?;
        if order.status.is_final() {
            return Err(Refused::Finished(order.status));
        }
        let broker_id = order.broker_id.clone().ok_or(Refused::NotConfirmed)?;
        match (order.book, self.route.venue) {
            (Book::Live, Venue::Live) if self.settled => Ok((Book::Live, broker_id)),
            (Book::Live, Venue::Paper) => Err(Refused::NoLiveSession),
            (Book::Live, Venue::Blocked(block)) => Err(Refused::Blocked(block)),
            (Book::Paper, _) if self.settled => Ok((Book::Paper, broker_id)),
            (Book::Live, Venue::Live) | (Book::Paper, _) => Err(Refused::Blocked(Block::Holding)),
        }
    }

    /// The venue is changing: nothing is sent until [`arrive`](Self::arrive).
    pub fn leave(&mut self) {
        self.settled = false;
    }

    /// The change of venue is complete: no order of the old one is inside the gate any more.
    pub fn arrive(&mut self, route: Route, now: Now, out: &mut Vec<Action>) {
        self.route = route;
        self.settled = true;
        let waits =
            matches!(route.venue, Venue::Live | Venue::Blocked(Block::Starting | Block::Holding | Block::Reconciling));
        if !waits {
            let why = match route.venue {
                Venue::Blocked(block) => Refused::Blocked(block),
                Venue::Live | Venue::Paper => Refused::LiveStopped,
            };
            self.refuse_held(|order| order.book == Book::Live, &why, now, out);
        }
        self.release(now, out);
    }

    /// Live trading goes on: cancels what paper has open and closes what it holds, within paper.
    pub fn settle_paper(&mut self, now: Now, out: &mut Vec<Action>) {
        let open: Vec<ClientOrderId> = self
            .orders
            .values()
            .filter(|order| order.book == Book::Paper && order.broker_id.is_some() && !order.status.is_final())
            .map(|order| order.id.clone())
            .collect();
        for id in open {
            if let Err(why) = self.cancel(&id, now, out) {
                out.push(Action::Alarm(format!("paper order {id} could not be cancelled: {why}")));
            }
        }
        let held: Vec<(InstrumentKey, Product, i64)> =
            self.exposure.open(Book::Paper).map(|(key, product, quantity)| (key.clone(), product, quantity)).collect();
        for (instrument, product, quantity) in held {
            let side = if quantity > 0 { Side::Sell } else { Side::Buy };
            let market = OrderType::Market(MarketProtection::Automatic);
            let exit = OrderRequest {
                product,
                intent: Intent::Reduce(Book::Paper),
                ..OrderRequest::new(instrument, side, quantity.unsigned_abs(), market)
            };
            if let Err(why) = self.submit(exit, now, out) {
                out.push(Action::Alarm(format!("a paper position could not be closed: {why}")));
            }
        }
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Now, out: &mut Vec<Action>) {
        self.release(now, out);
        self.look_for_unknown(now, out);
    }

    /// When [`wake`](Self::wake) must be called at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        let waiting = || self.held.iter().filter_map(|held| Some((held, self.orders.get(&held.id)?)));
        // At its deadline an order may still be sent; what is to be woken for comes after it.
        let deadlines = waiting().map(|(_, order)| deadline(order) + Duration::from_nanos(1));
        let open = |order: &Tracked| self.settled && (order.book == Book::Paper || self.route.venue == Venue::Live);
        let starts = waiting().filter(|(_, order)| open(order)).map(|(held, _)| held.not_before);
        deadlines.chain(starts).chain(self.next_look()).min()
    }

    /// Sends what may be sent now, and refuses what has waited too long.
    fn release(&mut self, now: Now, out: &mut Vec<Action>) {
        self.refuse_held(|order| now.mono > deadline(order), &Refused::TooLate, now, out);
        let mut waiting = std::mem::take(&mut self.held);
        waiting.retain_mut(|held| !self.try_send(held, now, out));
        // What a refusal or a new order held in the meantime comes after.
        waiting.append(&mut self.held);
        self.held = waiting;
    }

    /// True once the order need not be held any more.
    fn try_send(&mut self, held: &mut Held, now: Now, out: &mut Vec<Action>) -> bool {
        let Some(order) = self.orders.get(&held.id) else { return true };
        if order.broker_id.is_some() || order.status.is_final() {
            return true; // it got there after all, whatever the answer was
        }
        if !self.settled || now.mono < held.not_before {
            return false;
        }
        let (book, request) = (order.book, order.request.clone());
        if book == Book::Paper && request.intent == Intent::Open && self.route.venue != Venue::Paper {
            self.refuse(&held.id, &Refused::PaperStopped, now, out);
            return true;
        }
        if book == Book::Live {
            if self.route.venue != Venue::Live {
                return false;
            }
            // A released order passes the checks of the venue it meets, not of the one it was submitted to.
            if let Err(why) = self.admit(&request) {
                self.refuse(&held.id, &why, now, out);
                return true;
            }
            let free = self.limiter.next_free(now.mono);
            if free > now.mono {
                held.not_before = free;
                return false;
            }
        }
        let command = Command::Place(Box::new(request));
        self.send(&held.id, book, command, CommandKind::Place, now, out);
        true
    }

    fn refuse_held(&mut self, which: impl Fn(&Tracked) -> bool, why: &Refused, now: Now, out: &mut Vec<Action>) {
        let orders = &self.orders;
        let chosen = |held: &Held| orders.get(&held.id).is_some_and(&which);
        let (gone, kept): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held).into_iter().partition(chosen);
        self.held = kept;
        for held in gone {
            self.refuse(&held.id, why, now, out);
        }
    }

    fn send(
        &mut self,
        id: &ClientOrderId,
        book: Book,
        command: Command,
        kind: CommandKind,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        self.sends += 1;
        let (send, route) = (SendId(self.sends), self.route);
        if book == Book::Live {
            self.limiter.count(now.mono);
        }
        self.record(id, What::Sending { generation: route.generation, command: kind.clone() }, now, out);
        if let Some(order) = self.orders.get_mut(id).filter(|_| kind == CommandKind::Place) {
            order.in_flight = Some(send.0);
            order.sent_at = Some(now);
            order.generation = route.generation;
        }
        self.on_their_way.insert(send, OnItsWay { id: id.clone(), generation: route.generation, kind });
        out.push(Action::Send { send, id: id.clone(), book, route, command });
    }

    /// The gate found the venue or the token changed: no byte of that message left.
    pub fn gate_shut(&mut self, send: SendId, now: Now, out: &mut Vec<Action>) {
        let Some(OnItsWay { id, kind, .. }) = self.on_their_way.remove(&send) else { return };
        self.record(&id, What::NotSent, now, out);
        if kind != CommandKind::Place {
            self.answer(&id, "not sent: orders go elsewhere now".to_owned(), now, out);
            return;
        }
        if let Some(order) = self.orders.get_mut(&id) {
            order.in_flight = None;
            if order.broker_id.is_some() {
                return; // another sending of it got there
            }
            order.sent_at = None;
        }
        self.held.push(Held { id, not_before: now.mono });
        if self.settled {
            self.release(now, out);
        }
    }

    /// A message got its answer. Returns what the session machine should hear, for a live one.
    pub fn reply(
        &mut self,
        send: SendId,
        outcome: Outcome<BrokerOrderId>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Option<Facts> {
        let OnItsWay { id, generation, kind } = self.on_their_way.remove(&send)?;
        let live = self.orders.get(&id)?.book == Book::Live;
        let failure = outcome.as_ref().err().cloned();
        if kind == CommandKind::Place {
            self.placed(&id, outcome, now, out);
        } else {
            let words = match outcome {
                Ok(_) => "request received".to_owned(),
                Err(failure) => {
                    // The request may have lost a race, or may have been acted on: the broker's book knows.
                    self.reconciliation.look_soon(now.mono);
                    failure.to_string()
                }
            };
            self.answer(&id, words, now, out);
        }
        live.then_some(Facts { generation, failure })
    }

    fn placed(&mut self, id: &ClientOrderId, outcome: Outcome<BrokerOrderId>, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(id) else { return };
        order.in_flight = None;
        let book = order.book;
        let early = order.broker_id.is_some(); // an update overtook the reply: it knows more
        let next = match outcome {
            Ok(broker_id) => {
                self.by_broker_id.insert((book, broker_id.clone()), id.clone());
                order.broker_id = Some(broker_id);
                if book == Book::Live {
                    self.reconciliation.watch(now.mono);
                }
                OrderStatus::Accepted
            }
            Err(failure) => {
                order.message = Some(failure.message);
                match failure.cause {
                    Cause::Throttled { retry_after } if !early => {
                        let not_before = now.mono + retry_after.unwrap_or(self.policy.look_again);
                        order.sent_at = None;
                        self.held.push(Held { id: id.clone(), not_before });
                        self.record(id, What::NotSent, now, out);
                        return;
                    }
                    Cause::Rejected => OrderStatus::Rejected,
                    Cause::Unknown => {
                        order.absences = 0;
                        self.reconciliation.look_soon(now.mono);
                        OrderStatus::Unknown
                    }
                    Cause::Refused(_) | Cause::Misconfigured | Cause::NotSent | Cause::Throttled { .. } => {
                        OrderStatus::Refused
                    }
                }
            }
        };
        if early {
            return;
        }
        if matches!(next, OrderStatus::Refused | OrderStatus::Rejected) {
            order.sent_at = None;
        }
        self.step(id, next, now, out);
    }

    /// The broker or the paper exchange says something of an order.
    pub fn update(&mut self, book: Book, row: &OrderRow, now: Now, out: &mut Vec<Action>) {
        let known = self.by_broker_id.get(&(book, row.order_id.clone())).cloned();
        let ours = known.or_else(|| {
            let id = row.client_id.clone()?;
            self.orders.get(&id).filter(|order| order.book == book).map(|order| order.id.clone())
        });
        let id = match ours {
            Some(id) => id,
            None => self.adopt_external(book, row, now, out),
        };
        let Some(order) = self.orders.get_mut(&id) else { return };
        let before = order.clone();
        match order.apply(row) {
            Ok(new) => {
                let signed = order.request.side.signed(new);
                let (instrument, product) = (order.request.instrument.clone(), order.request.product);
                let overturned = before.status == OrderStatus::NotPlaced && order.status != before.status;
                let changed = *order != before;
                self.by_broker_id.insert((book, row.order_id.clone()), id.clone());
                self.exposure.fill(book, &instrument, product, signed);
                if overturned {
                    let words = format!("order {id} was believed never placed and is {} after all", row.status);
                    out.push(Action::Alarm(words));
                }
                if changed {
                    self.note_state(&id, now, out);
                }
            }
            Err(illegal) => out.push(Action::Alarm(format!("order {id}: {illegal}; kept as it was"))),
        }
    }

    fn adopt_external(&mut self, book: Book, row: &OrderRow, now: Now, out: &mut Vec<Action>) -> ClientOrderId {
        self.made += 1;
        let id = ClientOrderId::numbered(self.policy.run, self.made);
        let request = OrderRequest {
            instrument: row.instrument.clone(),
            side: row.side,
            quantity: row.quantity,
            order_type: row.order_type,
            validity: row.validity,
            product: row.product,
            intent: Intent::Open,
            valid_for: Duration::ZERO,
        };
        let mut order = Tracked::new(id.clone(), book, request, now);
        order.external = true;
        order.sent_at = Some(now);
        self.orders.insert(id.clone(), order);
        self.record(&id, What::External(row.order_id.clone()), now, out);
        id
    }

    pub(super) fn step(&mut self, id: &ClientOrderId, next: OrderStatus, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get_mut(id) else { return };
        match order.become_(next) {
            Ok(()) => self.note_state(id, now, out),
            Err(illegal) => out.push(Action::Alarm(format!("order {id}: {illegal}; kept as it was"))),
        }
    }

    fn refuse(&mut self, id: &ClientOrderId, why: &Refused, now: Now, out: &mut Vec<Action>) {
        if let Some(order) = self.orders.get_mut(id) {
            order.message = Some(why.to_string());
        }
        self.step(id, OrderStatus::Refused, now, out);
    }

    fn note_state(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        let what = What::State {
            status: order.status,
            broker_id: order.broker_id.clone(),
            filled: order.filled,
            average_price: order.average_price,
            message: order.message.clone(),
        };
        self.record(id, what, now, out);
        self.changed(id, out);
    }

    fn answer(&mut self, id: &ClientOrderId, words: String, now: Now, out: &mut Vec<Action>) {
        self.record(id, What::Answer(words), now, out);
    }

    fn record(&self, id: &ClientOrderId, what: What, now: Now, out: &mut Vec<Action>) {
        let Some(order) = self.orders.get(id) else { return };
        out.push(Action::Journal(Record { at: now.wall, id: id.clone(), book: order.book, what }));
    }

    fn changed(&self, id: &ClientOrderId, out: &mut Vec<Action>) {
        if let Some(order) = self.orders.get(id) {
            out.push(Action::Changed(Box::new(order.clone())));
        }
    }

    /// Whether the live broker can be asked something.
    pub(super) const fn can_read(&self) -> bool {
        self.route.generation.0 > 0 && !matches!(self.route.venue, Venue::Paper | Venue::Blocked(Block::Starting))
    }
}

/// The last moment an order may be sent.
fn deadline(order: &Tracked) -> Monotonic {
    order.submitted.mono + order.request.valid_for
}
