//! Nirantar keeps a trading engine running when the broker's login dies.
//!
//! Start at [`engine::Engine`]: it runs one account. What it decides by is in three cores that know no task, socket or
//! clock: the [`session`] machine, the [`orders`] desk and the [`feed`] supervisor, put together in [`core`]. The token
//! in use is read from [`token::TokenCell`] with one atomic load.
//!
//! Features: `journal-sqlite` (default) is the durable journal; `cli` (default) is the `nirantar` command; `server` brings the [`server`] where humans log in, and the
//! [`sandbox`] with the simulator it runs on. Without either the library is what an embedder needs.
#![forbid(unsafe_code)]

pub mod alerts;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod core;
pub mod engine;
mod fanout;
pub mod feed;
pub mod orders;
#[cfg(feature = "planted-bugs")]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
#[allow(unreachable_pub, reason = "public with the feature only")]
mod planted;
#[cfg(feature = "server")]
pub mod sandbox;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
pub mod simulate;
mod timetables;
pub mod token;
mod waiting;

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
