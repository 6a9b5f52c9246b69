//! A Kite Connect v3 server over the paper exchange: REST, login page and WebSocket on one origin, faults on demand.
//!
//! * [`KiteExchange`] is the server as a value, without sockets or a clock: requests, handshakes and messages in with
//!   the market time, replies and frames out. A deterministic simulator drives it as it is.
//! * [`KiteServer`] puts it on a socket, under any clock.
//! * [`Control`] makes things go wrong: [`Fault`]s, dead tokens, new logins. [`ServerLog`] is the server's own numbering
//!   of every tick and packet, against which losses, repeats and reorderings are counted.
//!
//! It accepts what the official SDKs send and answers what they accept (kite.md 6). Its wire shapes are those of
//! [`nirantar_brokers::kite::wire`]. What it does not simulate: varieties other than regular, conversion of
//! positions, GTT, alerts, margin calculators, mutual funds, the market's depth, the limit of three sockets a key.

mod account;
mod api;
mod candles;
mod control;
mod core;
mod driver;
mod fault;
mod feed;
mod limits;
mod log;
mod orders;
mod quotes;
mod reply;
mod server;
mod settings;
mod socket;
#[cfg(test)]
mod tests;
mod tokens;
mod web;

pub use self::core::{CloseHow, KiteExchange, Output, SocketId};
pub use crate::choices::NewLogin;
pub use control::Control;
pub use fault::{BadFault, Fault, FaultRule, Moment, Scope};
pub use log::{How, OrderAction, OrderLog, Packet, Reads, ServerLog, SessionLog, SocketLog};
pub use reply::{ApiError, HttpParts, Reply, Transport};
pub use server::KiteServer;
pub use settings::{OldSocket, Refresh, Settings};
