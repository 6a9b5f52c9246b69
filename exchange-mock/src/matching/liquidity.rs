//! Where fills come from: models of the market round our own orders, each with what it assumes and what it gets wrong.
//!
//! | model | fills from | needs |
//! |---|---|---|
//! | [`OwnBook`] | the orders of this book, and nothing else | nothing |
//! | [`LastPrice`] | these, and the volume of the ticks that reach a limit | last price and day volume |
//! | [`DepthQueue`](super::DepthQueue) | these, five levels of depth, and trades behind the queue ahead of us | a feed in full mode |
//!
//! [`Delay`](super::Delay) puts time between a model and whoever trades with it.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Depth, Price, Quantity};

use super::Book;
use super::book::Taker;
use super::order::{Key, Record, Sink, State, Working};

/// How an order that comes behaves towards the market that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Whether it takes what is offered when it comes; a resting limit order waits for the market.
    pub takes: bool,
    /// Whether what is left is cancelled as soon as it has met the market.
    pub ioc: bool,
    /// Whether anything may be filled now: continuous trading, and a price that is fresh.
    pub open: bool,
}

/// A price of the outside market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketTick {
    /// Last traded price.
    pub ltp: Price,
    /// Units traded since the tick before.
    pub volume: Quantity,
    /// When. A tick fills only orders that came no later.
    pub at: Timestamp,
    /// Whether it may fill anything: it is fresh, and the market is in continuous trading.
    pub open: bool,
}

/// A model of the market round a book. Replaceable: the [`Matcher`](super::Matcher) is generic over it.
pub trait Liquidity {
    /// Whether trades between orders of the book set off stops; ticks of the outside market always do.
    const OWN_TRADES_FIRE_STOPS: bool;

    /// An order comes; that it is open was told already.
    fn arrive<S: Sink>(&mut self, book: &mut Book, order: &Working, manner: Manner, sink: &mut S) -> Arrival;

    /// The outside market traded. Stops that the price reaches have fired.
    fn tick<S: Sink>(&mut self, book: &mut Book, tick: MarketTick, sink: &mut S);

    /// The outside market shows these levels, which may fill if it is `open`. Nothing, for a model that does not look at
    /// them.
    fn depth<S: Sink>(&mut self, book: &mut Book, depth: &Depth, at: Timestamp, open: bool, sink: &mut S) {
        let _ = (book, depth, at, open, sink);
    }

    /// An order that rests looks at the market again: it was changed without losing its place.
    fn meet<S: Sink>(&mut self, book: &mut Book, key: Key, manner: Manner, sink: &mut S) {
        let _ = (book, key, manner, sink);
    }
}

/// What became of an order that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It rests, whole or in part.
    Rests(Key),
    /// It was filled, or ended by the self-trade rule; that was told.
    Done,
    /// So many are left of an order that must not rest.
    Left(Quantity),
}

/// The orders of this book trade with each other, and nobody else is there. An exchange by itself, for tests of the
/// book's rules and for many accounts against each other.
///
/// **Assumes** that every participant's orders go through this book.
///
/// **Gets wrong** everything about a market of which we are only a part: alone in it, an order waits for ever. A tick
/// only moves the last price, and fires stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnBook;

impl Liquidity for OwnBook {
    const OWN_TRADES_FIRE_STOPS: bool = true;

    #[inline]
    fn arrive<S: Sink>(&mut self, book: &mut Book, order: &Working, manner: Manner, sink: &mut S) -> Arrival {
        let Working { order: no, account, side, limit, mut open, .. } = *order;
        if manner.open {
            let mut taker = Taker { order: no, account, side, limit, open, barred: false };
            book.sweep(&mut taker, sink);
            open = taker.open;
            if taker.barred {
                let state = State::Cancelled(super::Cause::SelfTrade);
                sink.record(Record { order: no, account, side, state, limit, open });
                return Arrival::Done;
            }
            if open.is_zero() {
                return Arrival::Done;
            }
        }
        if manner.ioc {
            return Arrival::Left(open);
        }
        let rest = Working { open, rested: true, ..*order };
        book.insert(&rest).map_or(Arrival::Left(open), Arrival::Rests)
    }

    fn tick<S: Sink>(&mut self, book: &mut Book, tick: MarketTick, sink: &mut S) {
        // Stops that it fired are in the book now.
        if tick.open {
            book.uncross(sink);
        }
    }
}

/// Replays last prices and day volumes, all that most recordings have.
///
/// * Our own crossing orders trade with each other at the price of the earlier one.
/// * A tick fills orders that came no later, at or through whose limit it traded, best price first and then by time, as
///   far as its own volume goes; its volume is given away once. An order that rested (a tick passed that did not reach
///   it) is filled at its limit: the market came to it. Any other is filled at the price of the tick.
/// * A market or an IOC order meets what is left of the last tick when it comes.
///
/// **Assumes** that we stand first at our price, that the whole volume between two ticks traded at the last price, and
/// that our orders move nobody.
///
/// **Gets wrong** the queue (real orders ahead of us are filled first: fills at the touch come too early), the spread
/// (a market order pays the last price, not the other side's), prices between two ticks (a limit touched for less than
/// a second is missed) and impact (a large order takes the volume that really traded without moving the price).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastPrice {
    /// The last tick, with what no order has taken of it.
    last: Option<MarketTick>,
}

impl LastPrice {
    /// Units of the last tick that no order has taken.
    #[must_use]
    pub fn left(&self) -> Quantity {
        self.last.map_or(Quantity::ZERO, |tick| tick.volume)
    }
}

impl Liquidity for LastPrice {
    const OWN_TRADES_FIRE_STOPS: bool = false;

    fn arrive<S: Sink>(&mut self, book: &mut Book, order: &Working, manner: Manner, sink: &mut S) -> Arrival {
        let Some(key) = book.insert(order) else { return Arrival::Done };
        self.meet(book, key, manner, sink);
        Arrival::Rests(key)
    }

    fn tick<S: Sink>(&mut self, book: &mut Book, tick: MarketTick, sink: &mut S) {
        let mut left = tick.volume;
        if tick.open {
            book.uncross(sink);
            book.take(tick.ltp, tick.at, &mut left, sink);
        }
        self.last = Some(MarketTick { volume: left, ..tick });
    }

    fn meet<S: Sink>(&mut self, book: &mut Book, key: Key, manner: Manner, sink: &mut S) {
        if !manner.open {
            return;
        }
        book.uncross(sink);
        if let Some(last) = self.last.as_mut().filter(|_| manner.takes || manner.ioc) {
            book.take_for(key, last.ltp, &mut last.volume, sink);
        }
    }
}
