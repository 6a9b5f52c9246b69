//! What crosses crates is in `tests/`; here is what those tests share with the processes they start.

mod other_limits;
mod port;
pub mod ticks;

pub use other_limits::OtherLimits;
pub use port::ReservedPort;
