//! The matching core: one instrument's orders by price and then by time.
//!
//! * [`Book`] holds the orders: a slab of them, queues through it, a ladder of prices. It knows priority and nothing of
//!   the world. Whatever rests, the work of an order is the same: a constant, and so much for each order it fills.
//! * [`Liquidity`] says where fills come from: the book alone ([`OwnBook`]) or a market round it ([`LastPrice`],
//!   [`DepthQueue`]); [`Delay`] is the line to it.
//! * [`Matcher`] is both, and the life of an order in them.
//! * [`Sink`] is told what happens, as it happens, without allocation; [`Positions`] is one that counts positions on the
//!   way.
//!
//! Everything is a value without I/O, clock, thread, float or hash: the same calls give the same answers on every
//! machine. Prices are integers ([`Price`](nirantar_brokers::Price)), quantities too. No memory is allocated once the
//! book has had its size and its range of prices.
//!
//! The rules of priority are NSE's. The better price is first, then who came first. Fewer units keep an order's place;
//! more units or another price lose it. An order that discloses a part shows the next part behind all others at its
//! price. A trade is at the price of the order that was there. A stop becomes an order like any other when it fires:
//! last in time. What happens between orders of one account is [`SelfTrade`].

mod book;
mod delay;
mod depth;
#[cfg(test)]
mod differential;
mod ladder;
mod liquidity;
mod matcher;
mod model;
mod order;
mod positions;
#[cfg(test)]
mod properties;
mod queue;
#[cfg(test)]
mod reference;
mod slab;
#[cfg(test)]
mod tests;

pub(crate) use book::protected;
pub use book::{Book, MAX_QUANTITY};
pub use delay::{Delay, Latency};
pub use depth::DepthQueue;
pub use liquidity::{Arrival, LastPrice, Liquidity, Manner, MarketTick, OwnBook};
pub use matcher::{Change, Gone, Kind, Matcher, NewOrder};
pub use model::FillsFrom;
pub(crate) use model::Model;
pub use order::{Account, Cause, Fill, Key, OrderNo, Record, Refused, SelfTrade, Sink, State, Waiting, Working};
pub use positions::{Position, Positions};
