//! Nirantar keeps a trading engine running when the broker's login dies.
#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod core;
pub mod engine;
pub mod feed;
pub mod orders;
#[cfg(feature = "server")]
pub mod sandbox;
pub mod session;
pub mod token;
