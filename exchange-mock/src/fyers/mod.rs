//! A FYERS API v3 server, as far as its sessions go: login page, exchange, renewal, logout, and two reads under a token.
//!
//! * [`FyersExchange`] is the server as a value, without sockets or a clock. A simulator drives it as it is.
//! * [`FyersServer`] puts it on a socket, under any clock.
//! * [`Control`] makes things go wrong: [`Switches`], [`FaultRule`]s, dead tokens. [`ServerLog`] counts every request
//!   by what became of it, and says when each token was handed out.
//!
//! It accepts what the official SDKs send (fyers.md 1, 7). Where nobody recorded what the broker answers (a wrong PIN, a
//! wrong hash), the answer is ours, and said where it is made. Orders, market data and sockets are not simulated.

mod control;
mod core;
mod fault;
mod log;
mod page;
mod reply;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

pub use self::core::FyersExchange;
pub use control::Control;
pub use fault::{BadFault, Fault, FaultRule};
pub use log::{Done, How, Route, ServerLog, SessionLog};
pub use server::FyersServer;
pub use settings::{Grant, NewToken, Settings, Switches, TokenEnd};
