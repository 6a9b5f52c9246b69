//! A paper NSE: calendar, price-time matching and an account behind the same broker traits as a real broker.
//!
//! * [`MockExchange`] is the core: a value without I/O, clock, thread or float. The same inputs give the same outputs.
//! * [`PaperBroker`] is a handle over it that implements [`nirantar_brokers::Orders`]. It is built without credentials.
//! * [`prices`] drives it: a replay of real ticks, or a seeded walk.
//! * [`charges`] says what trading costs, by trade date, from one dated table.
//! * [`calendar`] says when what may trade, from dated tables; [`universe`] has instruments with their real tokens.
//! * [`kite`] (feature `server`) speaks Kite's wire over it, with faults on demand.
//! * [`fyers`] (feature `server`) speaks FYERS' wire, as far as sessions go, with faults on demand.
//! * [`upstox`] (feature `server`) speaks the session side of Upstox' API.
//! * [`rest`] (feature `server`) is what the servers without a feed are made of.
//!
//! The driver is a short loop: move to the next deadline, feed what is due, hand on what happened.
//!
//! ```
//! use nirantar_brokers::{Exchange, InstrumentKey, OrderRequest, OrderStatus, OrderType, Price, Side};
//! use nirantar_exchange_mock::prices::Walk;
//! use nirantar_exchange_mock::{Calendar, Config, MockExchange, PriceSource, Update, universe};
//!
//! let date = "2026-11-20".parse()?;
//! let (calendar, instruments) = (Calendar::nse(), universe::with_start_prices(date));
//! let mut prices = Walk::new(7, &instruments, &calendar, date);
//! let mut exchange = MockExchange::new(Config::default(), universe::instruments(date), calendar);
//! let mut waiting = Some(OrderRequest::new(
//!     InstrumentKey::new(Exchange::Nse, "RELIANCE"),
//!     Side::Buy,
//!     10,
//!     OrderType::Limit(Price::from_paise(150_000)),
//! ));
//!
//! let filled = 'day: loop {
//!     let Some(now) = prices.peek() else { break false };
//!     exchange.wake(now);
//!     if let Some(tick) = prices.next() {
//!         exchange.price(&tick.instrument, tick.ltp, tick.volume, tick.at);
//!     }
//!     if let Some(order) = waiting.take() {
//!         exchange.place(&order, None, now)?;
//!     }
//!     for update in exchange.drain() {
//!         if matches!(update, Update::Order(row) if row.status == OrderStatus::Filled) {
//!             break 'day true;
//!         }
//!     }
//! };
//! assert!(filled);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: exact margins (they are labelled approximate). It never claims a fill that
//! the replayed market did not allow.

#![forbid(unsafe_code)]

mod account;
mod auction;
pub mod calendar;
pub mod charges;
#[cfg(feature = "server")]
mod choices;
mod exchange;
mod freeze;
#[cfg(feature = "server")]
pub mod fyers;
#[cfg(feature = "server")]
pub mod kite;
pub mod matching;
mod paper;
pub mod prices;
#[cfg(feature = "server")]
pub mod rest;
pub mod universe;
#[cfg(feature = "server")]
pub mod upstox;

pub use calendar::{Calendar, Market, Phase, Step};
pub use exchange::{
    Config, Expired, Funds, Latencies, MarginRates, MarketState, MockExchange, Past, PastOrder, Recollection,
    Rejection, RejectionKind, Settlement, SquareOff, Stand, Unsettled, Update,
};
pub use freeze::{FreezeRow, FreezeTable};
pub use paper::PaperBroker;
pub use prices::{PriceEvent, PriceSource};
