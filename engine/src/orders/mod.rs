//! Orders: which venue an order goes to, what is written before it leaves, and what its answer means.
//!
//! [`Desk`] is a core: commands, replies, updates and the time go in, [`Action`]s come out. An order belongs to one
//! book, live or paper, from the moment it is accepted (rule 7); it is written before it is sent (rule 5); after a lost
//! reply it is looked for by its tag and never sent again on a guess (rule 6).
//!
//! What an answer to a placed order leads to, one row for each [`Cause`](nirantar_brokers::Cause):
//!
//! | answer | the order is | what happens |
//! |---|---|---|
//! | accepted | Accepted | updates follow |
//! | refused, surely, under the token in use | still to be sent | sent once more under a new token, inside `valid_for` |
//! | refused otherwise or again, misconfigured, not sent | Refused | the session machine hears of it |
//! | throttled | still to be sent | sent again after the wait, as a new journalled send, inside `valid_for` |
//! | rejected | Rejected | final |
//! | anything else | Unknown | looked for by its tag in the broker's book |

mod answers;
mod desk;
mod exposure;
mod journal;
mod limiter;
mod reconcile;
mod risk;
mod sending;
mod tracked;
mod words;

pub use desk::Desk;
pub use exposure::{Difference, Exposure};
pub use journal::{BadRecord, CommandKind, Journal, JournalError, MemoryJournal, Record, What};
#[cfg(feature = "journal-sqlite")]
pub use journal::{SqliteJournal, read_records};
pub use limiter::Limiter;
pub use reconcile::{Comparison, LiveState};
pub use risk::RiskLimits;
pub use tracked::Tracked;
pub use words::{Action, Command, DeskPolicy, Facts, Refused, Route, SendId, SettlePaper};
