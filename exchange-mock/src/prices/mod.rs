//! Where the paper market's prices come from: a replay of real ticks, a seeded walk, or several of them merged.
//!
//! A source is pulled: the driver asks when the next price is due, moves its clock there, and takes it. Sources promise
//! that time never goes back.

mod merge;
mod replay;
mod walk;

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{InstrumentKey, Price, Quantity};

pub use merge::Merge;
pub use replay::{Replay, ReplayError};
pub use walk::Walk;

/// A price of one instrument at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceEvent {
    /// When.
    pub at: Timestamp,
    /// Of what.
    pub instrument: InstrumentKey,
    /// Last traded price, or the index' value.
    pub ltp: Price,
    /// Volume of the day so far; zero for an index.
    pub volume: Quantity,
}

/// A day's prices, in order of time.
pub trait PriceSource {
    /// When the next price is due; `None` at the end.
    fn peek(&self) -> Option<Timestamp>;

    /// Takes the next price. Its time is what [`peek`](Self::peek) said, and never before the one taken last.
    fn next(&mut self) -> Option<PriceEvent>;

    /// The trading day it belongs to.
    fn date(&self) -> NaiveDate;
}

impl<S: PriceSource + ?Sized> PriceSource for Box<S> {
    fn peek(&self) -> Option<Timestamp> {
        (**self).peek()
    }

    fn next(&mut self) -> Option<PriceEvent> {
        (**self).next()
    }

    fn date(&self) -> NaiveDate {
        (**self).date()
    }
}
