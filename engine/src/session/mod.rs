//! The session machine: the life of a broker token, and what it means for orders and the feed.
//!
//! [`Machine`] is pure: [`Machine::on`] takes an event and the time and answers with effects. It holds no socket, clock
//! or task, and not even the token: only its fingerprint. Whoever drives it performs the effects and reports back, and
//! calls it again no later than [`Machine::next_wake`].
//!
//! | state | token | orders | feed |
//! |---|---|---|---|
//! | Valid | alive | live | live |
//! | Expiring | alive, due | live | live |
//! | Refreshing | alive, a renewal in flight | live | live |
//! | Expired | dead or none | held, for a bounded time | closed |
//! | Fallback | dead, or alive and not yet trusted with new entries | paper, or refused | none, or opening |
//!
//! It keeps rules 1, 2, 3, 8 and 9 of the ten (`ARCHITECTURE.md`); their properties are in `tests/tests/rules.rs`.

mod adopting;
mod answers;
mod days;
mod doubt;
mod failback;
mod future;
mod machine;
mod memory;
mod policy;
mod proving;
mod renewal;
mod state;
mod states;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
mod wake;
mod words;

pub use days::TradingDays;
pub use machine::Machine;
pub use policy::{FallbackOrders, Policy, Resume, Schedule};
pub use state::{Generation, State};
pub use words::{
    AttemptEnd, Candidate, Effect, Event, NotTaken, Notice, Operator, Source, TradingMode, Transition, Verdict, Why,
};
