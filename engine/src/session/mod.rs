//! The session machine.

mod state;

pub use state::{Generation, State};
