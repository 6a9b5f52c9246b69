//! The synchronisation primitives the gate is built on. `tests/tests/rule_4_loom.rs` compiles the gate's source over
//! loom's primitives of the same names.

pub(super) use std::sync::atomic::{AtomicUsize, Ordering, fence};
pub(super) use std::sync::{Mutex, PoisonError};
