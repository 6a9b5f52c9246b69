//! Promises over arbitrary inputs.
