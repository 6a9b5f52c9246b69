//! A paper NSE: calendar, price-time matching and an account behind the same broker traits as a real broker.
//!
//! * [`MockExchange`] is the core: a value without I/O, clock, thread or float. The same inputs give the same outputs.
//! * [`PaperBroker`] is a handle over it that implements [`nirantar_brokers::Orders`]. It is built without credentials.
//! * [`prices`] drives it: a replay of real ticks, or a seeded walk.
//! * [`calendar`] says when what may trade, from dated tables; [`universe`] has instruments with their real tokens.
//!
//! What it does not do: auctions (nothing matches in pre-open and closing), charges, exact margins (they are labelled
//! approximate), settlement overnight. It never claims a fill that the replayed market did not allow.

#![forbid(unsafe_code)]

mod account;
pub mod calendar;
mod exchange;
mod matching;
mod paper;
pub mod prices;
pub mod universe;

pub use calendar::{Calendar, Phase};
pub use exchange::{Config, MarginRates, MarketState, MockExchange, Rejection, RejectionKind, Update};
pub use paper::PaperBroker;
pub use prices::{PriceEvent, PriceSource};
