//! The order desk: what it takes, and where orders go.
//!
//! How what it took is sent is in [`super::sending`], what the answers mean in [`super::answers`].

use std::collections::BTreeMap;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Block, Book, BrokerOrderId, ClientOrderId, Intent, OrderChange, OrderRequest, OrderRow, Venue};

use super::queue::{Queue, Waiting};
use super::reconcile::Reconciliation;
use super::sending::{OnItsWay, Throttling};
use super::{Action, CommandKind, DeskPolicy, Exposure, Limiter, Refused, Route, SendId, Tracked, What};
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
    /// Orders, changes and cancels that wait.
    pub(super) queue: Queue,
    pub(super) limiter: Limiter,
    /// Rows of slices whose whole a reply on its way may name.
    pub(super) early_slices: BTreeMap<(Book, BrokerOrderId), OrderRow>,
    pub(super) throttling: Throttling,
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
            early_slices: BTreeMap::new(),
            queue: Queue::default(),
            throttling: Throttling::default(),
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
        self.hold_order(&id, now.mono);
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

    /// Asks to cancel an order. One that was not sent yet is refused on the spot. The request waits where the broker's
    /// limits have no room, in front of all else; asked for again meanwhile, it is still one.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn cancel(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) -> Result<(), Refused> {
        if self.orders.get(id).is_some_and(|order| order.broker_id.is_none() && !order.status.is_final())
            && !self.queue.remove(|waiting| waiting.id == *id).is_empty()
        {
            self.refuse(id, &Refused::CancelledInTime, now, out);
            return Ok(());
        }
        self.working(id)?;
        let is_cancel = |of: &ClientOrderId, kind: &CommandKind| of == id && *kind == CommandKind::Cancel;
        if self.queue.iter().any(|waiting| is_cancel(&waiting.id, &waiting.kind))
            || self.on_their_way.values().any(|message| is_cancel(&message.id, &message.kind))
        {
            return Ok(());
        }
        for change in self.queue.remove(|waiting| waiting.id == *id) {
            self.turn_away(&change, &Refused::CancelledInTime, now, out);
        }
        self.hold(id, CommandKind::Cancel, now.mono, now.mono);
        self.release(now, out);
        Ok(())
    }

    /// Asks to change an order that is in the market. Where the broker's limits have no room, the change waits for as
    /// long as the order itself would have (its `valid_for`).
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
        let order = self.working(id)?;
        let of_it = |waiting: &&Waiting| waiting.id == *id && matches!(waiting.kind, CommandKind::Modify(_));
        let waiting = self.queue.iter().filter(of_it).count();
        self.may_be_changed(order, u32::try_from(waiting).unwrap_or(u32::MAX))?;
        self.hold(id, CommandKind::Modify(change), now.mono, now.mono);
        self.release(now, out);
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
        [self.next_release(), self.next_look()].into_iter().flatten().min()
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

    /// An order that can be changed or cancelled now.
    fn working(&self, id: &ClientOrderId) -> Result<&Tracked, Refused> {
        let order = self.orders.get(id).ok_or(Refused::NoSuchOrder)?;
        if order.status.is_final() {
            return Err(Refused::Finished(order.status));
        }
        if order.broker_id.is_none() {
            return Err(Refused::NotConfirmed);
        }
        match (order.book, self.route.venue) {
            (Book::Live, Venue::Live) if self.settled => Ok(order),
            (Book::Live, Venue::Paper) => Err(Refused::NoLiveSession),
            (Book::Live, Venue::Blocked(block)) => Err(Refused::Blocked(block)),
            (Book::Paper, _) if self.settled => Ok(order),
            (Book::Live, Venue::Live) | (Book::Paper, _) => Err(Refused::Blocked(Block::Holding)),
        }
    }

    /// Whether the live broker can be asked something.
    pub(super) const fn can_read(&self) -> bool {
        self.route.generation.0 > 0 && !matches!(self.route.venue, Venue::Paper | Venue::Blocked(Block::Starting))
    }
}
