//! Orders: which venue an order goes to, what is written before it leaves, and what its answer means.
//!
//! [`Desk`] is a core: commands, replies, updates and the time go in, [`Action`]s come out. An order belongs to one
//! book, live or paper, from the moment it is accepted (rule 7); it is written before it is sent (rule 5); after a lost
//! reply it is looked for by its tag and never sent again on a guess (rule 6).
//!
//! What every answer, row, read and end of day leads to is the numbered policy [`RULES`], in words in `docs/orders.md`.

mod absence;
mod admission;
mod all;
mod answers;
mod by_broker_id;
mod day;
mod desk;
mod exposure;
mod insisting;
mod journal;
mod limiter;
mod listings;
mod outcome;
mod profit;
mod queue;
mod reconcile;
mod remembered;
mod restore;
#[cfg(test)]
mod restore_tests;
mod risk;
mod rows;
mod rules;
mod sending;
mod settling;
mod slices;
mod stopping;
mod tracked;
mod words;

#[cfg(test)]
mod outcome_tests;

pub use desk::Desk;
pub use exposure::{Difference, Exposure};
pub use journal::{BadRecord, CommandKind, Journal, JournalError, MemoryJournal, Record, What};
#[cfg(feature = "journal-sqlite")]
pub use journal::{SqliteJournal, read_records};
pub use limiter::{Class, Key, Limiter, Room};
pub use listings::{Listed, Listings, Terms, list_day, list_day_span};
pub use outcome::{
    Absence, Circumstances, DayEnd, Decision, RULES, Rule, Shown, Then, When, on_absence, on_answer, on_day_end,
    on_missing_slices, on_row,
};
pub use reconcile::{Comparison, LiveState};
pub use remembered::OpenOrder;
pub use restore::Restored;
pub use risk::{OverLimit, RiskLimits};
pub use rules::RuleBroken;
pub use tracked::Tracked;
pub use words::{Action, Command, DeskPolicy, Facts, Refused, Route, SendId, SettlePaper};
