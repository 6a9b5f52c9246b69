//! One live feed across token swaps and network failures.
//!
//! * [`Supervisor`] is the core: it alone decides when a socket is opened or cut, declares every gap, and watches for
//!   silence. It holds no socket, no clock and no task.
//! * [`open_socket`] is the driver's half: one task per socket, which dials, reads, decodes and hands on.
//! * [`Hub`] hands ticks to any number of strategies, none of which can slow the socket.
//!
//! The promise: **while the feed says [`FeedStatus::Live`], nothing is silently lost**. Whatever may have been missed lies
//! between the start and the end of a declared [`Gap`].

mod chain;
mod event;
mod hub;
mod policy;
mod socket;
mod supervisor;
#[cfg(all(test, feature = "server"))]
mod swaps;

pub(crate) use chain::PriceChain;
pub use event::{
    Admission, CloseReason, FeedStatus, Gap, GapReason, HandshakeRefusal, Input, Output, SocketId, Verdict, count_ticks,
};
pub use hub::{Hub, PaperSource, Source, TickEvent, TickMessage, Ticks};
pub use policy::FeedPolicy;
pub use socket::{
    BadFeedAddress, FeedAddress, NotQueued, SocketEvent, SocketHandle, SocketNews, SocketPlan, open_socket,
};
pub use supervisor::Supervisor;
