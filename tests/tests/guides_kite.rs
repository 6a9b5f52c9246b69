//! The three Kite guides, end to end: what `nirantar init --guide` writes is run, unchanged but for its addresses, against
//! a Kite server on loopback, through the nights and mornings that the guide describes; and, as `…_2026`, under the rules
//! in force since April 2026.
//!
//! What is asserted is read from the broker's own log and from the bytes of the store.
#![cfg(unix)]
#![allow(unreachable_pub, reason = "the modules of a test are nobody's interface")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;
#[path = "guides_kite/human.rs"]
mod human;
#[path = "guides_kite/kite_config.rs"]
mod kite_config;
#[path = "guides_kite/world.rs"]
mod world;
#[path = "guides_kite/written.rs"]
mod written;
#[path = "guides_kite/zerodha.rs"]
mod zerodha;
#[path = "guides_kite/zerodha_cron.rs"]
mod zerodha_cron;
