//! The order desk: what it takes, and where orders go.
//!
//! How what it took is sent is in [`super::sending`], what the answers mean in [`super::answers`].

use std::collections::BTreeMap;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{
    Block, Book, BrokerOrderId, ClientOrderId, Exchange, Instrument, OrderChange, OrderRequest, OrderRow, Venue,
};

use super::all::AllOrders;
use super::by_broker_id::ByBrokerId;
use super::insisting::Insisted;
use super::profit::Ledger;
use super::queue::{Queue, Waiting};
use super::reconcile::Reconciliation;
use super::remembered::ExitWanted;
use super::sending::{OnItsWay, Throttling};
use super::{
    Action, CommandKind, DeskPolicy, Exposure, Limiter, Listings, Refused, Route, SendId, Tracked, What, list_day,
};
use crate::planted::{Bug, planted};
use crate::session::{Generation, TradingMode};

/// The order desk of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desk {
    pub(super) policy: DeskPolicy,
    pub(super) orders: AllOrders,
    pub(super) by_broker_id: ByBrokerId,
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
    /// What the operator lets orders do.
    pub(super) mode: TradingMode,
    /// The day's lists of instruments.
    pub(super) listings: Listings,
    pub(super) ledger: Ledger,
    /// Whether the token lives under which messages would leave, and whether the books have been compared since.
    pub(super) token_lives: bool,
    pub(super) compared: bool,
    /// Exits of live exposure that could not be sent.
    pub(super) exits: Vec<ExitWanted>,
    /// Cancels that are asked until their order is over.
    pub(super) insisted: BTreeMap<ClientOrderId, Insisted>,
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
            orders: AllOrders::default(),
            by_broker_id: ByBrokerId::default(),
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
            mode: TradingMode::Active,
            listings: Listings::default(),
            ledger: Ledger::default(),
            token_lives: false,
            compared: false,
            exits: Vec::new(),
            insisted: BTreeMap::new(),
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

    /// The day's lists of instruments.
    #[must_use]
    pub const fn listings(&self) -> &Listings {
        &self.listings
    }

    /// The broker's lists of the day are here. Returns how many instruments each exchange has.
    pub fn learn(&mut self, instruments: Vec<Instrument>, now: Now) -> BTreeMap<Exchange, usize> {
        self.listings.learn(instruments, list_day(now.wall), &self.policy.freeze)
    }

    /// Takes an order. It is written, and on its way or held, when this returns.
    ///
    /// # Errors
    /// [`Refused`]: nothing was written or sent. An exit refused with [`Refused::NoLiveSession`] is remembered: see
    /// [`Action::ExitWanted`].
    pub fn submit(&mut self, request: OrderRequest, now: Now, out: &mut Vec<Action>) -> Result<ClientOrderId, Refused> {
        self.ledger.begin(now.wall.ist_date());
        self.orders.settle();
        match self.admit(&request, None, now) {
            Ok(book) => Ok(self.take(book, request, now, out)),
            Err(why) => {
                if why == Refused::NoLiveSession {
                    self.remember_exit(&request, now);
                }
                Err(why)
            }
        }
    }

    pub(super) fn take(&mut self, book: Book, request: OrderRequest, now: Now, out: &mut Vec<Action>) -> ClientOrderId {
        self.made += 1;
        let id = ClientOrderId::numbered(self.policy.run, self.made);
        let order = Tracked::new(id.clone(), book, request.clone(), now);
        self.orders.insert(id.clone(), order);
        self.record(&id, What::Intent(request), now, out);
        self.changed(&id, out);
        self.hold(&id, CommandKind::Place, now.mono, now.mono);
        self.release(now, out);
        id
    }

    /// Asks to cancel an order. One that was not sent yet is refused on the spot. The request waits where the broker's
    /// limits have no room, in front of all else; asked for again meanwhile, it is still one.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent. A live order that cannot be reached now is still to be cancelled when that is
    /// [`Refused::Remembered`].
    pub fn cancel(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) -> Result<(), Refused> {
        if self.orders.get(id).is_some_and(|order| order.broker_id.is_none() && !order.status.is_final())
            && !self.queue.remove(|waiting| waiting.id == *id).is_empty()
        {
            self.refuse(id, &Refused::CancelledInTime, now, out);
            return Ok(());
        }
        if let Err(why) = self.working(id) {
            if self.remembers(id, &why) {
                self.want_cancel(id, now, out);
                return Err(Refused::Remembered);
            }
            return Err(why);
        }
        if self.cancel_is_under_way(id) {
            return Ok(());
        }
        if let Some(order) = self.orders.get_mut(id) {
            order.cancel_wanted = false; // from here on it is asked for
        }
        for change in self.queue.remove(|waiting| waiting.id == *id) {
            self.turn_away(&change, &Refused::CancelledInTime, now, out);
        }
        self.hold(id, CommandKind::Cancel, now.mono, now.mono);
        self.release(now, out);
        if self.queue.iter().any(|waiting| waiting.id == *id && waiting.kind == CommandKind::Cancel) {
            self.record(id, What::CancelWanted, now, out); // it waits for room, and must outlive the process meanwhile
        }
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
        self.check_change(order, &change, now)?;
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
        if let Some(why) = self.not_waiting() {
            if planted(Bug::HeldBecomesPaper) {
                let held: Vec<ClientOrderId> = self.queue.iter().map(|waiting| waiting.id.clone()).collect();
                for id in held {
                    if let Some(order) = self.orders.get_mut(&id) {
                        order.book = Book::Paper;
                    }
                }
            }
            self.refuse_held(|order| order.book == Book::Live || planted(Bug::HeldBecomesPaper), &why, now, out);
        }
        if route.venue == Venue::Live {
            self.compared = self.token_lives;
            self.offer_exits(now, out);
        }
        self.send_wanted(now, out);
        self.release(now, out);
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Now, out: &mut Vec<Action>) {
        self.look_at_losses(now, out);
        self.try_cancels_again(now, out);
        self.release(now, out);
        self.look_for_unknown(now, out);
    }

    /// When [`wake`](Self::wake) must be called at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        [self.next_release(), self.next_look(), self.next_try()].into_iter().flatten().min()
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
            (Book::Live, _) if self.cancels_pass() => Ok(order),
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
