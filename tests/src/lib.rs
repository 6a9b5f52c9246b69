//! What crosses crates is in `tests/`; here is what those tests share with the processes they start.

mod other_limits;

pub use other_limits::OtherLimits;
