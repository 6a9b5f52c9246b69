//! What a run came to, in values and in words.

use std::fmt;
use std::time::Duration;

use nirantar_brokers::time::Timestamp;

use super::checkers::{Checked, Violation};
use super::faults::Fault;
use super::story::Log;

/// What happened in a run, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Simulated time.
    pub simulated: Duration,
    /// Whole trading days.
    pub days: u64,
    /// Things that happened, wake-ups included.
    pub steps: u64,
    /// Inputs of the engine's core.
    pub inputs: u64,
    /// Ticks of the market.
    pub ticks: u64,
    /// Orders the engine took.
    pub orders: u64,
    /// Orders it refused.
    pub refused: u64,
    /// Orders that the broker took.
    pub live: u64,
    /// Messages to the paper exchange.
    pub paper: u64,
    /// Records written to the journal.
    pub records: u64,
    /// Records lost with a process.
    pub records_lost: u64,
    /// Processes that ran.
    pub processes: u64,
    /// Faults that began.
    pub faults: u64,
    /// Changes of the session's state.
    pub transitions: u64,
    /// Gaps of the feed.
    pub gaps: u64,
    /// Logins of the human.
    pub logins: u64,
    /// Instruments whose state was asked for, and told, after a gap.
    pub snapshots: u64,
    /// What the checkers made sure of.
    pub checked: Checked,
}

impl Counts {
    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        let Self { simulated, days, steps, inputs, ticks, orders, refused, live, paper, .. } = *other;
        self.simulated += simulated;
        for (sum, more) in [
            (&mut self.days, days),
            (&mut self.steps, steps),
            (&mut self.inputs, inputs),
            (&mut self.ticks, ticks),
            (&mut self.orders, orders),
            (&mut self.refused, refused),
            (&mut self.live, live),
            (&mut self.paper, paper),
            (&mut self.records, other.records),
            (&mut self.records_lost, other.records_lost),
            (&mut self.processes, other.processes),
            (&mut self.faults, other.faults),
            (&mut self.transitions, other.transitions),
            (&mut self.gaps, other.gaps),
            (&mut self.logins, other.logins),
            (&mut self.snapshots, other.snapshots),
            (&mut self.checked.left, other.checked.left),
            (&mut self.checked.adopted, other.checked.adopted),
            (&mut self.checked.attempts, other.checked.attempts),
            (&mut self.checked.moves, other.checked.moves),
            (&mut self.checked.returns, other.checked.returns),
            (&mut self.checked.texts, other.checked.texts),
            (&mut self.checked.agreed_live, other.checked.agreed_live),
            (&mut self.checked.agreed_paper, other.checked.agreed_paper),
        ] {
            *sum += more;
        }
    }
}

/// How a rule was broken, and in what circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which rule, and how.
    pub violation: Violation,
    /// When, by a right wall clock.
    pub at: Timestamp,
    /// On which trading day of the run, counted from 1.
    pub day: u32,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Trading days asked for.
    pub days: u32,
    /// The faults it met, in their order.
    pub faults: Vec<Fault>,
    /// What was counted.
    pub counts: Counts,
    /// The rule that was broken, if one was.
    pub failure: Option<Failure>,
    /// Its event log, as far as it was kept.
    pub log: Log,
    /// The options of the command that repeats it, but for seed, days and faults.
    pub(super) options: String,
}

impl Report {
    /// Whether every rule held.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    /// The faults as `--faults` takes them.
    #[must_use]
    pub fn fault_list(&self) -> String {
        self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// The command that repeats this run, to the byte.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { seed, days, options, .. } = self;
        format!("nirantar simulate --seed {seed} --days {days}{options} --faults \"{}\"", self.fault_list())
    }
}

/// Characters of a line of the timeline that are printed: it is read by somebody, and a broker's whole book is not.
const LONGEST_LINE: usize = 400;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Failure { violation, at, day }) = &self.failure else {
            return write!(f, "seed {}: {} days, every rule held", self.seed, self.counts.days);
        };
        writeln!(f, "seed {}: {violation}", self.seed)?;
        writeln!(f, "  on day {day}, at {at} IST, with these faults:")?;
        for fault in &self.faults {
            writeln!(f, "    {:<36} {}", fault.to_string(), fault.kind.words())?;
        }
        if self.faults.is_empty() {
            writeln!(f, "    none")?;
        }
        if !self.log.lines.is_empty() {
            writeln!(f, "  what happened last:")?;
            for line in &self.log.lines {
                match line.char_indices().nth(LONGEST_LINE).and_then(|(end, _)| line.split_at_checked(end)) {
                    Some((shown, rest)) => writeln!(f, "    {shown}... and {} bytes more", rest.len())?,
                    None => writeln!(f, "    {line}")?,
                }
            }
        }
        write!(f, "  again: {}", self.command())
    }
}
