//! A whole trading day on this machine: a Kite server on loopback, the engine through its real adapter, a small
//! strategy, and the death of a token in the middle of the session.
//!
//! The day runs on a [`SteppedClock`](nirantar_brokers::time::SteppedClock): it is the same at every speed and on every
//! run. What it reports is counted from the server's own log against the engine's journal and feed, never from the
//! script.

mod day;
mod recorder;
mod report;
mod strategy;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Instrument, InstrumentKey, InstrumentKind, Price};
use nirantar_exchange_mock::prices::{Merge, Replay, ReplayError, Walk};
use nirantar_exchange_mock::{Calendar, PriceSource, universe};

pub use day::{Day, run};
pub use report::Report;

/// The synthetic day's date: a Friday without a holiday, the same on every run.
const SYNTHETIC_DATE: (i32, u32, u32) = (2026, 11, 20);
/// What the synthetic day trades and watches.
const SYNTHETIC: [&str; 3] = ["RELIANCE", "TCS", "NIFTY 50"];

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Recorded days to play, each with the instrument it belongs to; `None` for all that a recording of a feed names.
    /// Empty for a synthetic day.
    pub replays: Vec<(PathBuf, Option<InstrumentKey>)>,
    /// At most so many market seconds in a real second; `None` for as fast as it goes.
    pub speed: Option<u32>,
    /// Seed of everything random.
    pub seed: u64,
    /// The command that stands for "another process": it is given the store's path as its last argument and the new
    /// token on its standard input, and writes the one into the other.
    pub writer: Vec<OsString>,
}

/// Why the day could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A recording cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Two recordings of one instrument.
    #[error("{instrument} is replayed twice, first from {}: give one file of each", first.display())]
    Twice {
        /// Of what.
        instrument: InstrumentKey,
        /// The first of them.
        first: PathBuf,
    },
    /// The recordings are of different days.
    #[error("the replays are of different days: {0} and {1}; give files of one day")]
    Days(NaiveDate, NaiveDate),
    /// The recordings' day was no trading day.
    #[error("{0} was no trading day at NSE: {why}", why = .1)]
    Closed(NaiveDate, String),
    /// Nothing in the recordings can be traded.
    #[error("none of the replayed instruments can be traded (an index cannot): add one of a share")]
    NothingToTrade,
    /// A file or socket of the sandbox's own.
    #[error("{what}: {why}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        why: std::io::Error,
    },
    /// The engine cannot start.
    #[error(transparent)]
    Start(#[from] crate::engine::StartError),
    /// The other process did not write the token.
    #[error("the other process could not write the token: {0}")]
    Writer(String),
}

impl SandboxError {
    fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |why| Self::Io { what, why }
    }
}

/// The day's market: what is in it, when it opens and closes, and its prices, as often as they are asked for.
struct Market {
    date: NaiveDate,
    calendar: Calendar,
    instruments: Vec<(Instrument, Price)>,
    replays: Vec<Replay>,
    /// Which file each replayed instrument's prices come from.
    files: Vec<(PathBuf, InstrumentKey)>,
    seed: u64,
}

impl Market {
    fn new(options: &Options) -> Result<Self, SandboxError> {
        let calendar = Calendar::nse();
        let replays = options
            .replays
            .iter()
            .map(|(file, instrument)| match instrument {
                Some(instrument) => Replay::load(file, instrument.clone()),
                None => Replay::load_recording(file, &universe::keys()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (year, month, day) = SYNTHETIC_DATE;
        let date = match replays.as_slice() {
            [] => NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default(),
            [first, ..] => first.date(),
        };
        let mut files: Vec<(PathBuf, InstrumentKey)> = Vec::new();
        for ((file, _), replay) in options.replays.iter().zip(&replays) {
            for instrument in replay.instruments() {
                if let Some((first, _)) = files.iter().find(|(_, other)| other == instrument) {
                    return Err(SandboxError::Twice { instrument: instrument.clone(), first: first.clone() });
                }
                files.push((file.clone(), instrument.clone()));
            }
        }
        if let Some(other) = replays.iter().find(|replay| replay.date() != date) {
            return Err(SandboxError::Days(date, other.date()));
        }
        if !calendar.is_trading_day(date) {
            let why = calendar.holiday(date).unwrap_or("a weekend").to_owned();
            return Err(SandboxError::Closed(date, why));
        }
        let wanted = |instrument: &Instrument| {
            if replays.is_empty() {
                SYNTHETIC.contains(&instrument.key.symbol.as_str())
            } else {
                replays.iter().any(|replay| replay.instruments().contains(&instrument.key))
            }
        };
        let instruments: Vec<_> =
            universe::with_start_prices(date).into_iter().filter(|(instrument, _)| wanted(instrument)).collect();
        if !instruments.iter().any(|(instrument, _)| instrument.kind != InstrumentKind::Index) {
            return Err(SandboxError::NothingToTrade);
        }
        Ok(Self { date, calendar, instruments, replays, files, seed: options.seed })
    }

    /// The first instrument that can be traded.
    fn traded(&self) -> Option<&InstrumentKey> {
        self.instruments
            .iter()
            .map(|(instrument, _)| instrument)
            .find(|instrument| instrument.kind != InstrumentKind::Index)
            .map(|instrument| &instrument.key)
    }

    /// The day's prices from its beginning.
    fn prices(&self) -> Box<dyn PriceSource + Send> {
        let replays = self.replays.iter().map(|replay| Box::new(replay.clone()) as Box<dyn PriceSource + Send>);
        match Merge::new(replays.collect()) {
            Some(merged) => Box::new(merged),
            None => Box::new(Walk::new(self.seed, &self.instruments, &self.calendar, self.date)),
        }
    }

    fn session(&self) -> Option<(Timestamp, Timestamp)> {
        self.calendar.continuous_on(nirantar_brokers::Exchange::Nse, self.date)
    }
}

/// Where the day's story is told, line by line.
pub type Teller = Arc<dyn Fn(Line) + Send + Sync>;

/// Where the day's progress is shown: the market's time, and how much of the session is over, 0 to 1.
pub type Progress = Arc<dyn Fn(Timestamp, f32) + Send + Sync>;

/// How the day is shown.
#[derive(Clone)]
pub struct Show {
    /// Its story.
    pub tell: Teller,
    /// Its progress, once a market minute.
    pub progress: Progress,
}

impl std::fmt::Debug for Show {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Show")
    }
}

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, by the market's clock.
    pub at: Timestamp,
    /// Who speaks: the engine, or the day's script.
    pub who: Who,
    /// What.
    pub words: String,
}

/// Who speaks in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The session changes its state.
    State,
    /// The engine says something else.
    Engine,
    /// The world does something to it.
    World,
}
