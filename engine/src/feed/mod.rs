//! One live feed across token swaps and network failures.
//!
//! * [`Supervisor`] is the core: it alone decides when a socket is opened or cut, declares every gap, and watches for
//!   silence. It holds no socket, no clock and no task.
//!
//! The promise: **while the feed says [`FeedStatus::Live`], nothing is silently lost**. Whatever may have been missed lies
//! between the start and the end of a declared [`Gap`].

mod event;
mod policy;
mod supervisor;

pub use event::{
    CloseReason, FeedStatus, Gap, GapReason, HandshakeRefusal, Input, Output, SocketId, Verdict, count_ticks,
};
pub use policy::FeedPolicy;
pub use supervisor::Supervisor;
