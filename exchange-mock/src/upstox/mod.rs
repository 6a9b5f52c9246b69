//! A server that speaks the session side of Upstox' API: login page, code exchange, approval with notifier, profile,
//! funds and logout on one origin, with switches and faults on demand.
//!
//! * [`UpstoxCore`] is the server as a value, without sockets or a clock: a request and the time in, a reply out.
//! * [`UpstoxServer`] puts it on a socket, under any clock, and posts notices to the notifier.
//! * [`Control`] throws switches, grants approvals and makes things go wrong; [`ServerLog`] counts what came.
//!
//! Its wire shapes are those of [`nirantar_brokers::upstox::wire`]; refusals are in both spellings. Where the HTTP
//! status of a code is not known (`upstox.md` 3), it is 400. What it does not simulate: orders (the two order paths
//! check the token and the hour; the book is empty and no order is taken), market data, feeds, rate limits.

mod control;
mod core;
mod fault;
mod log;
mod notifier;
mod refused;
mod server;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

pub use self::core::{Route, UpstoxCore};
pub use crate::choices::NewLogin;
pub use control::{Control, NothingAsked};
pub use fault::{BadFault, Fault, Target};
pub use log::{ServerLog, Tally};
pub use notifier::{BadNotifier, NotifierUrl};
pub use server::UpstoxServer;
pub use settings::{Grant, Settings};
