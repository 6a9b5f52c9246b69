//! A paper NSE behind the broker traits, and servers that speak each broker's wire protocol.
#![forbid(unsafe_code)]

#[cfg(feature = "server")]
pub mod kite;
