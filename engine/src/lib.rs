//! Nirantar keeps a trading engine running when the broker's login dies.
#![forbid(unsafe_code)]

pub mod config;
pub mod session;
pub mod token;
