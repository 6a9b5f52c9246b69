//! Every shape of the Kite Connect v3 wire, defined once: the client decodes what the paper exchange's server encodes.
//!
//! Promises: reading is total (any bytes give a value or an error, never a panic), money never passes through
//! arithmetic on doubles (a JSON number is rounded to its ten-thousandth of a rupee the moment it is read), and order
//! ids stay text. What is written is what the official SDKs accept.

pub mod envelope;
pub mod form;
pub mod instruments;
pub(crate) mod json;
pub mod packet;
pub mod rest;
pub mod status;
pub mod text;
pub mod words;
