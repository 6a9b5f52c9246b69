//! One stream, any number of listeners, none of which can slow the sender.
//!
//! Sending never waits: a listener that is too slow loses the oldest of what is queued for it and is told how many.
//! On a stepped clock everything sent holds time still until the last listener has asked for the next, so that what a
//! listener does with it costs no market time.

use std::sync::Arc;

use nirantar_brokers::time::{Busy, Clock};
use tokio::sync::broadcast;

/// The longest queue there may be.
const LONGEST: usize = 1 << 24;

/// The sending end. Clones are handles to the same stream.
#[derive(Clone, Debug)]
pub(crate) struct FanOut<T> {
    sender: broadcast::Sender<(T, Busy)>,
    clock: Arc<dyn Clock>,
}

/// One listener's end, from its subscription on.
#[derive(Debug)]
pub(crate) struct Listener<T> {
    receiver: broadcast::Receiver<(T, Busy)>,
    working: Busy,
}

/// So many before the next one are lost to a listener that was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost(pub(crate) u64);

impl<T: Clone> FanOut<T> {
    /// A stream that keeps at least `capacity` (the next power of two, in bounds) for its slowest listener.
    pub(crate) fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self { sender: broadcast::channel(capacity.clamp(1, LONGEST)).0, clock }
    }

    /// Hands it to everybody. Returns how many listeners there are; none is no error.
    pub(crate) fn send(&self, what: T) -> usize {
        self.sender.send((what, self.clock.busy())).unwrap_or(0)
    }

    pub(crate) fn subscribe(&self) -> Listener<T> {
        Listener { receiver: self.sender.subscribe(), working: Busy::idle() }
    }
}

impl<T: Clone> Listener<T> {
    /// Waits for the next; `None` once every sender is gone and everything was read. Asking says that the last one is
    /// dealt with. May be dropped while waiting without losing anything.
    pub(crate) async fn next(&mut self) -> Option<Result<T, Lost>> {
        self.done();
        match self.receiver.recv().await {
            Ok((what, busy)) => {
                self.working = busy;
                Some(Ok(what))
            }
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Err(Lost(count))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Says that the last one is dealt with, without asking for another.
    pub(crate) fn done(&mut self) {
        self.working = Busy::idle();
    }
}
