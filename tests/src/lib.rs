//! What crosses crates is in `tests/`; here are the processes those tests start.
