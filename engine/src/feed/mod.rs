//! One live feed across token swaps and network failures.
//!
//! * [`Supervisor`] is the core: it alone decides when a socket is opened or cut, declares every gap, and watches for
//!   silence. It holds no socket, no clock and no task.
//! * [`open_socket`] is the driver's half: one task per socket, which dials, reads and hands on.
//! * [`Hub`] hands ticks to any number of strategies, none of which can slow the socket.
//! * [`Recorder`] keeps what came over the sockets, bit for bit, in a file.
//!
//! The promise: **while the feed says [`FeedStatus::Live`], nothing is silently lost**. Whatever may have been missed lies
//! between the start and the end of a declared [`Gap`].

mod chain;
mod event;
mod hub;
mod policy;
mod record;
mod socket;
mod supervisor;
#[cfg(all(test, feature = "server"))]
mod swaps;
mod watchdog;

pub(crate) use chain::PriceChain;
pub use event::{
    Admission, CloseReason, FeedStatus, Gap, GapReason, HandshakeRefusal, Input, Output, SocketId, Verdict, count_ticks,
};
pub use hub::{Backlog, Hub, HubMemory, Latest, PaperSource, Publisher, Source, TickEvent, TickMessage, Ticks};
pub use policy::FeedPolicy;
pub use record::{RecordError, Recorded, Recorder, Tap};
pub use socket::{
    BadFeedAddress, Events, FeedAddress, NotQueued, SocketEvent, SocketHandle, SocketNews, SocketPlan, open_socket,
};
pub use supervisor::Supervisor;
pub use watchdog::{Expected, Outlook, Pace};
