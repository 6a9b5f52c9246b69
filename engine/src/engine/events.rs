//! The engine's event stream.

use std::sync::Arc;

use nirantar_brokers::time::{Busy, Clock};
use tokio::sync::broadcast;

use crate::core::Event;

/// Events that a slow listener may be behind.
const CAPACITY: usize = 1 << 14;

#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    sender: broadcast::Sender<(Event, Busy)>,
    clock: Arc<dyn Clock>,
}

impl EventSender {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { sender: broadcast::channel(CAPACITY).0, clock }
    }

    pub(crate) fn send(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.sender.send((event, self.clock.busy()));
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events { receiver: self.sender.subscribe(), working: Busy::idle() }
    }
}

/// What happens in an engine, from the subscription on. A stepped clock stands still until the listener asks for the
/// next event.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<(Event, Busy)>,
    working: Busy,
}

/// What a listener gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventMessage {
    /// An event.
    Event(Event),
    /// The listener was too slow: so many events before the next one are lost to it.
    Lagged(u64),
}

impl Events {
    /// Waits for the next event; `None` once the engine is gone and everything was read. Asking says that the last one
    /// is dealt with.
    pub async fn next(&mut self) -> Option<EventMessage> {
        self.working = Busy::idle();
        match self.receiver.recv().await {
            Ok((event, busy)) => {
                self.working = busy;
                Some(EventMessage::Event(event))
            }
            Err(broadcast::error::RecvError::Lagged(count)) => Some(EventMessage::Lagged(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
