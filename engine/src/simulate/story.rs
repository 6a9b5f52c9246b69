//! The event log: one line for each thing that happens. Off unless it is asked for, since telling costs more than trading.

use std::collections::VecDeque;
use std::fmt::Write as _;

use nirantar_brokers::time::Timestamp;
use sha2::{Digest as _, Sha256};

/// Lines that a failure's timeline shows.
const TIMELINE: usize = 60;

/// Where the lines go.
#[derive(Debug, Default)]
pub(super) enum Story {
    /// Nowhere.
    #[default]
    Silent,
    /// The last of them are kept.
    Timeline(VecDeque<String>),
    /// All of them are kept.
    Whole(Vec<String>),
    /// Their digest alone.
    Digest(Box<Sha256>, u64),
}

/// How much of a run's event log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing. A failure's timeline is made by running it again.
    #[default]
    Nothing,
    /// Its last lines.
    Timeline,
    /// All of it.
    Everything,
    /// Its SHA-256 and its length.
    Digest,
}

/// A run's event log, as far as it was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The lines kept, oldest first.
    pub lines: Vec<String>,
    /// SHA-256 over every line and its line break, and how many there were; with [`Keep::Digest`] only.
    pub digest: Option<(String, u64)>,
}

impl Story {
    pub(super) fn new(keep: Keep) -> Self {
        match keep {
            Keep::Nothing => Self::Silent,
            Keep::Timeline => Self::Timeline(VecDeque::new()),
            Keep::Everything => Self::Whole(Vec::new()),
            Keep::Digest => Self::Digest(Box::new(Sha256::new()), 0),
        }
    }

    /// Whether anybody listens.
    pub(super) const fn is_told(&self) -> bool {
        !matches!(self, Self::Silent)
    }

    /// Tells a line, if anybody listens.
    pub(super) fn tell(&mut self, at: Timestamp, who: &str, what: impl FnOnce() -> String) {
        if !self.is_told() {
            return;
        }
        let line = format!("{} {who:<7} {}", at.to_ist().format("%Y-%m-%d %H:%M:%S%.6f"), what());
        match self {
            Self::Silent => {}
            Self::Timeline(lines) => {
                if lines.len() == TIMELINE {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
            Self::Whole(lines) => lines.push(line),
            Self::Digest(digest, count) => {
                *count += 1;
                digest.update(line.as_bytes());
                digest.update(b"\n");
            }
        }
    }

    pub(super) fn end(self) -> Log {
        match self {
            Self::Silent => Log::default(),
            Self::Timeline(lines) => Log { lines: lines.into(), digest: None },
            Self::Whole(lines) => Log { lines, digest: None },
            Self::Digest(digest, count) => {
                let hex = digest.finalize().iter().fold(String::new(), |mut hex, byte| {
                    // Writing into a text cannot fail.
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                Log { lines: Vec::new(), digest: Some((hex, count)) }
            }
        }
    }
}
