//! The order desk: what it takes, and where orders go.
//!
//! How what it took is sent is in [`super::sending`], what the answers mean in [`super::answers`].

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Block, Book, BrokerOrderId, ClientOrderId, Intent, OrderChange, OrderRequest, Venue};

use super::reconcile::Reconciliation;
use super::sending::{Held, OnItsWay, deadline};
use super::{Action, Command, CommandKind, DeskPolicy, Exposure, Limiter, Refused, Route, SendId, Tracked, What};
use crate::session::Generation;

/// The order desk of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desk {
    pub(super) policy: DeskPolicy,
    pub(super) orders: BTreeMap<ClientOrderId, Tracked>,
    pub(super) by_broker_id: BTreeMap<(Book, BrokerOrderId), ClientOrderId>,
    pub(super) exposure: Exposure,
    pub(super) reconciliation: Reconciliation,
    pub(super) made: u64,
    pub(super) sends: u64,
    pub(super) on_their_way: BTreeMap<SendId, OnItsWay>,
    pub(super) route: Route,
    /// Between leaving one venue and arriving at the next nothing is sent.
    pub(super) settled: bool,
    /// Live orders that wait, in the order they came.
    pub(super) held: Vec<Held>,
    pub(super) limiter: Limiter,
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
        Ok(self.take(book, request, now, out))
    }

    pub(super) fn take(&mut self, book: Book, request: OrderRequest, now: Now, out: &mut Vec<Action>) -> ClientOrderId {
        self.made += 1;
        let id = ClientOrderId::numbered(self.policy.run, self.made);
        let order = Tracked::new(id.clone(), book, request.clone(), now);
        self.orders.insert(id.clone(), order);
        self.record(&id, What::Intent(request), now, out);
        self.changed(&id, out);
        self.held.push(Held { id: id.clone(), not_before: now.mono });
        self.release(now, out);
        id
    }

    /// How many units an exit may still take: what the book holds, less what other exits are about to take.
    fn left_to_reduce(&self, book: Book, request: &OrderRequest) -> u64 {
        self.left_beside(book, request, Tracked::may_be_working)
    }

    /// The same, counting only the exits that `counts`.
    pub(super) fn left_beside(&self, book: Book, request: &OrderRequest, counts: impl Fn(&Tracked) -> bool) -> u64 {
        let under_way = self.orders.values().filter(|order| {
            let same = (order.book, order.request.side, order.request.product) == (book, request.side, request.product)
                && order.request.instrument == request.instrument;
            same && counts(order) && order.request.intent == Intent::Reduce(book)
        });
        let taken: u64 = under_way.map(|order| order.request.quantity.less(order.filled).get()).sum();
        self.exposure.reducible(book, request).saturating_sub(taken)
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

    /// Orders are to go by `route`: nothing is sent until [`arrive`](Self::arrive), and a new order belongs already to
    /// the book it will then go to.
    pub fn leave(&mut self, route: Route) {
        self.route = route;
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

    /// Which book an order would go to now, if to any.
    pub(super) fn admit(&self, request: &OrderRequest) -> Result<Book, Refused> {
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
        if let Some(why) = self.policy.refuse_live.clone().filter(|_| book == Book::Live) {
            return Err(why);
        }
        if self.route.reduce_only && request.intent == Intent::Open {
            return Err(Refused::ReduceOnly);
        }
        let other = if book == Book::Live { Book::Paper } else { Book::Live };
        if request.intent == Intent::Open && self.exposure.would_reduce(other, request) {
            return Err(Refused::ExposureOnOtherVenue(other));
        }
        // While orders wait, the books are still being compared: an exit is held against them when it is released.
        if let Intent::Reduce(held_in) = request.intent
            && matches!(self.route.venue, Venue::Live | Venue::Paper)
            && request.quantity.get() > self.left_to_reduce(held_in, request)
        {
            return Err(Refused::ReducesNothing);
        }
        Ok(book)
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

    /// Whether the live broker can be asked something.
    pub(super) const fn can_read(&self) -> bool {
        self.route.generation.0 > 0 && !matches!(self.route.venue, Venue::Paper | Venue::Blocked(Block::Starting))
    }
}
