//! The model of the market that a paper exchange was asked for, chosen when it is made.

use nirantar_brokers::Depth;
use nirantar_brokers::time::Timestamp;

use super::Book;
use super::depth::DepthQueue;
use super::liquidity::{Arrival, LastPrice, Liquidity, Manner, MarketTick};
use super::order::{Key, Sink, Working};

/// What fills the orders of a paper exchange, beside each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillsFrom {
    /// The last price and its volume: see [`LastPrice`]. All that any feed has.
    #[default]
    LastPrice,
    /// Five levels of depth, and trades behind the queue ahead of us: see [`DepthQueue`]. Needs a feed in full mode; a tick
    /// that brings no depth shows no level and no queue.
    Depth,
}

/// The model itself.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    LastPrice(LastPrice),
    Depth(Box<DepthQueue>),
}

impl Model {
    pub(crate) fn new(fills: FillsFrom) -> Self {
        match fills {
            FillsFrom::LastPrice => Self::LastPrice(LastPrice::default()),
            FillsFrom::Depth => Self::Depth(Box::default()),
        }
    }
}

impl Liquidity for Model {
    const OWN_TRADES_FIRE_STOPS: bool = false;

    fn arrive<S: Sink>(&mut self, book: &mut Book, order: &Working, manner: Manner, sink: &mut S) -> Arrival {
        match self {
            Self::LastPrice(model) => model.arrive(book, order, manner, sink),
            Self::Depth(model) => model.arrive(book, order, manner, sink),
        }
    }

    fn tick<S: Sink>(&mut self, book: &mut Book, tick: MarketTick, sink: &mut S) {
        match self {
            Self::LastPrice(model) => model.tick(book, tick, sink),
            Self::Depth(model) => model.tick(book, tick, sink),
        }
    }

    fn depth<S: Sink>(&mut self, book: &mut Book, depth: &Depth, at: Timestamp, open: bool, sink: &mut S) {
        match self {
            Self::LastPrice(model) => model.depth(book, depth, at, open, sink),
            Self::Depth(model) => model.depth(book, depth, at, open, sink),
        }
    }

    fn meet<S: Sink>(&mut self, book: &mut Book, key: Key, manner: Manner, sink: &mut S) {
        match self {
            Self::LastPrice(model) => model.meet(book, key, manner, sink),
            Self::Depth(model) => model.meet(book, key, manner, sink),
        }
    }
}
