//! Alerts: who is told, beside the log, when a human is needed or would want to know.
//!
//! Four parts. [`Watch`] decides which events are alerts, in which words, and what is a repetition. The outbox of each
//! sink keeps what waits, limits the rate and plans the retries. Both are cores: they know no task, socket or clock. The
//! sinks speak Telegram's wire and the webhook's; [`Alerts`] gives all of it its tasks.
//!
//! Promises: the engine never waits for an alert, whatever a sink does; no more than [`MOST_AN_HOUR`] alerts an hour go
//! to a sink; what is not sent is counted, and the count is sent; no alert, log line or error holds a secret.
//!
//! The log needs no sink here: the engine logs every event itself, whether it is an alert or not.

mod alert;
mod driver;
mod outbox;
mod policy;
mod sinks;
mod words;

#[cfg(test)]
mod outbox_properties;
#[cfg(test)]
mod policy_tests;

pub use alert::{Alert, Kind, Severity};
pub use driver::{Account, Alerts};
pub use outbox::MOST_AN_HOUR;
pub use policy::Watch;
pub use sinks::BadSink;
