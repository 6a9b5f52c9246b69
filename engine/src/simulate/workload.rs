//! Who trades: the interface of a [`Strategy`], and the one that trades unless an embedder brings their own.

use std::collections::VecDeque;
use std::time::Duration;

use nirantar_brokers::time::{Now, Rng, Timestamp};
use nirantar_brokers::{
    Book, ClientOrderId, InstrumentKey, Intent, OrderChange, OrderRequest, OrderStatus, OrderType, Price, Product,
    Quantity, Side, Venue,
};

use super::story::Story;
use crate::core::{Core, Event, Output, Standing};
use crate::orders::{Refused, Tracked};

/// A price that the feed delivered, or that was played to paper while there is no feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedTick<'a> {
    /// Of what.
    pub instrument: &'a InstrumentKey,
    /// Last traded price.
    pub price: Price,
    /// When, by the exchange's clock.
    pub at: Timestamp,
    /// From the broker's feed. False: a fallback price, for paper only.
    pub live: bool,
}

/// What trades in a simulation. Every method may do nothing; all of them are called on the simulator's one thread, so
/// that the same seed is the same run. A strategy must take its randomness from a seed, and its time from the trader.
pub trait Strategy {
    /// A tick was delivered.
    fn on_tick(&mut self, tick: SimulatedTick<'_>, trader: &mut Trader<'_>) {
        let _ = (tick, trader);
    }

    /// The engine tells something.
    fn on_event(&mut self, event: &Event, trader: &mut Trader<'_>) {
        let _ = (event, trader);
    }

    /// Whether [`on_event`](Self::on_event) does anything: one that does not listen is not told, which saves time.
    fn listens(&self) -> bool {
        true
    }

    /// It is time to trade: in market hours, as often as [`Simulation::order_every`](super::Simulation::order_every) says.
    fn on_time(&mut self, trader: &mut Trader<'_>) {
        let _ = trader;
    }

    /// The process died, and another one has read its journal: what it did not write down is gone.
    fn restarted(&mut self, trader: &mut Trader<'_>) {
        let _ = trader;
    }
}

impl<S: Strategy + ?Sized> Strategy for &mut S {
    fn on_tick(&mut self, tick: SimulatedTick<'_>, trader: &mut Trader<'_>) {
        (**self).on_tick(tick, trader);
    }

    fn on_event(&mut self, event: &Event, trader: &mut Trader<'_>) {
        (**self).on_event(event, trader);
    }

    fn listens(&self) -> bool {
        (**self).listens()
    }

    fn on_time(&mut self, trader: &mut Trader<'_>) {
        (**self).on_time(trader);
    }

    fn restarted(&mut self, trader: &mut Trader<'_>) {
        (**self).restarted(trader);
    }
}

/// A strategy's hands.
#[derive(Debug)]
pub struct Trader<'a> {
    pub(super) core: &'a mut Core,
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Output>,
    pub(super) story: &'a mut Story,
    pub(super) taken: &'a mut u64,
    pub(super) refused: &'a mut u64,
}

impl Trader<'_> {
    /// What the engine's clocks show.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Where orders go, and in which state the session is.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.core.standing()
    }

    /// What a book holds of an instrument, all products together; above zero long.
    #[must_use]
    pub fn held(&self, book: Book, instrument: &InstrumentKey) -> i64 {
        self.core.desk().exposure().all_of(book, instrument)
    }

    /// An order, as the engine keeps it.
    #[must_use]
    pub fn order(&self, id: &ClientOrderId) -> Option<&Tracked> {
        self.core.desk().order(id)
    }

    /// Hands in an order, as [`Engine::submit`](crate::engine::Engine::submit) does.
    ///
    /// # Errors
    /// [`Refused`]: nothing was written or sent.
    pub fn submit(&mut self, request: OrderRequest) -> Result<ClientOrderId, Refused> {
        let (core, at) = (&mut *self.core, self.now.wall);
        let wish = |request: &OrderRequest| format!("{} {} {}", request.side, request.quantity, request.instrument);
        let wished = if self.story.is_told() { wish(&request) } else { String::new() };
        let done = core.submit(request, self.now, self.out);
        if let Err(why) = &done {
            self.story.tell(at, "refused", || format!("{wished}: {why}"));
        }
        *if done.is_ok() { &mut *self.taken } else { &mut *self.refused } += 1;
        done
    }

    /// Asks to cancel an order.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn cancel(&mut self, id: &ClientOrderId) -> Result<(), Refused> {
        self.core.cancel(id, self.now, self.out)
    }

    /// Asks to change an order.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    pub fn modify(&mut self, id: &ClientOrderId, change: OrderChange) -> Result<(), Refused> {
        self.core.modify(id, change, self.now, self.out)
    }
}

/// The default workload: opens and closes small positions in turn, lets some orders rest, changes and cancels them.
#[derive(Clone, Debug)]
pub struct Trades {
    rng: Rng,
    prices: Vec<(InstrumentKey, Price)>,
    resting: VecDeque<ClientOrderId>,
}

/// Orders that it lets rest.
const MOST_RESTING: usize = 3;
/// Units that it holds of one instrument at most.
const MOST_HELD: i64 = 40;

impl Trades {
    /// The workload of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::from_seed(seed ^ 0x0dd5), prices: Vec::new(), resting: VecDeque::new() }
    }

    fn an_order(&mut self, trader: &Trader<'_>) -> Option<(OrderRequest, bool)> {
        let index = usize::try_from(self.rng.below(self.prices.len() as u64)).ok()?;
        let (instrument, price) = self.prices.get(index)?.clone();
        let book = if trader.standing().route.venue == Venue::Paper { Book::Paper } else { Book::Live };
        let held = trader.held(book, &instrument);
        let quantity = 1 + self.rng.below(10);
        let closes = held > 0 && (held >= MOST_HELD || self.rng.below(2) == 0);
        let side = if closes { Side::Sell } else { Side::Buy };
        let rests = self.rng.below(6) == 0;
        // A hundred ticks through the price is as good as at the market, and a limit says what it may cost.
        let away = Price::from_paise(100);
        let limit = match (side, rests) {
            (Side::Buy, false) | (Side::Sell, true) => price + away,
            (Side::Sell, false) | (Side::Buy, true) => price - away,
        };
        let quantity = if closes { quantity.min(held.unsigned_abs()) } else { quantity };
        let intent = if closes { Intent::Reduce(book) } else { Intent::Open };
        let request = OrderRequest::new(instrument, side, quantity, OrderType::Limit(limit));
        // Some may wait for longer than a broker that forgets to answer is waited for.
        let valid_for = Duration::from_secs(if self.rng.below(4) == 0 { 60 } else { 5 });
        Some((OrderRequest { intent, product: Product::Mis, valid_for, ..request }, rests))
    }
}

impl Strategy for Trades {
    fn listens(&self) -> bool {
        false
    }

    fn on_tick(&mut self, tick: SimulatedTick<'_>, _: &mut Trader<'_>) {
        match self.prices.iter_mut().find(|(key, _)| key == tick.instrument) {
            Some((_, price)) => *price = tick.price,
            None => self.prices.push((tick.instrument.clone(), tick.price)),
        }
    }

    fn on_time(&mut self, trader: &mut Trader<'_>) {
        if self.resting.len() > MOST_RESTING
            && let Some(oldest) = self.resting.pop_front()
        {
            // Refused is right where it is finished, or cannot be reached: the engine remembers what it must.
            let _ = trader.cancel(&oldest);
        } else if let Some(id) = self.resting.back().filter(|_| self.rng.below(8) == 0)
            && trader.order(id).is_some_and(|order| order.status == OrderStatus::Open)
        {
            let change =
                OrderChange { quantity: Some(Quantity::new(1 + self.rng.below(12))), ..OrderChange::default() };
            let _ = trader.modify(id, change);
        }
        if let Some((request, rests)) = self.an_order(trader)
            && let Ok(id) = trader.submit(request)
            && rests
        {
            self.resting.push_back(id);
        }
    }
}
