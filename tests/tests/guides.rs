//! The FYERS and the Upstox guide, end to end: what `nirantar init --guide` writes is what runs, against a server that
//! speaks the broker's wire, on a stepped clock.
//!
//! `guide_NAME` is the world the guide was written in, where a refresh token buys the day's token. `guide_NAME_2026` is
//! today's, where a human logs in or grants. What is claimed is read from the server's own log and from the bytes of the
//! token files.
#![allow(unreachable_pub, reason = "the modules of a test are nobody's interface")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "guides/fyers.rs"]
mod fyers;
#[path = "guides/harness.rs"]
mod harness;
#[path = "guides/upstox.rs"]
mod upstox;
