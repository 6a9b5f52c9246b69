//! The clock a driver runs on, and the one place where the machine's own clock is read.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Busy, Monotonic, Now, Timestamp};

/// A source of time for a driver. Cores never see it: they are given [`Now`].
///
/// The `frame_*` methods let a stepped clock know what is still on its way over a socket; a real clock ignores them.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current reading.
    fn now(&self) -> Now;

    /// Resolves once `now().mono` has reached `at`. The [`Busy`] it yields holds a stepped clock still until the work
    /// that this wake-up causes is done.
    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>>;

    /// Holds a stepped clock still until the value is dropped.
    fn busy(&self) -> Busy {
        Busy::idle()
    }

    /// The client whose side of the connection has `port` is about to open a socket on it. Frames count from here on.
    fn socket_opened(&self, port: u16) {
        let _ = port;
    }

    /// A frame (or the closing of the socket) has been sent to the peer of the connection whose client side has `port`.
    fn frame_sent(&self, port: u16) {
        let _ = port;
    }

    /// A frame sent on that connection has been received and handed on.
    fn frame_received(&self, port: u16) {
        let _ = port;
    }

    /// The connection with that client port is gone; frames still on their way count no more.
    fn socket_closed(&self, port: u16) {
        let _ = port;
    }

    /// Sleeps for `span` from now.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        self.sleep_until(self.now().mono + span)
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
impl SystemClock {
    /// Starts the clock: its monotonic reading is zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp::from_nanos(0) + since,
            Err(before) => Timestamp::from_nanos(0) - before.duration(),
        };
        let mono = Monotonic::default() + self.started.elapsed();
        Now { mono, wall }
    }

    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        let deadline = self.started + Duration::from_nanos(at.as_nanos());
        Box::pin(async move {
            tokio::time::sleep_until(deadline.into()).await;
            Busy::idle()
        })
    }
}
