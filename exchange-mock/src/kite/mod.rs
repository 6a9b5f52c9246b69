//! A Kite Connect server on loopback, over the paper exchange: REST, login page and WebSocket on one origin, with faults
//! on demand.
mod candles;
mod fault;
mod limits;
mod log;
mod reply;
mod settings;
mod tokens;

pub use fault::{BadFault, Fault, FaultRule, Scope};
pub use log::{OrderAction, OrderLog, Packet, ServerLog, SocketLog};
pub use reply::{ApiError, HttpParts, Reply, Transport};
pub use settings::{NewLogin, OldSocket, Refresh, Settings};
