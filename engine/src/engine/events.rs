//! The engine's event stream.

use std::sync::Arc;

use nirantar_brokers::time::Clock;

use crate::core::Event;
use crate::fanout::{FanOut, Listener, Lost};

/// Events that a slow listener may be behind.
const CAPACITY: usize = 1 << 14;

/// What happens in an engine, from the subscription on. A stepped clock stands still until the listener asks for the
/// next event.
#[derive(Debug)]
pub struct Events(Listener<Event>);

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
        self.0.next().await.map(|heard| match heard {
            Ok(event) => EventMessage::Event(event),
            Err(Lost(count)) => EventMessage::Lagged(count),
        })
    }
}

/// The engine's end.
#[derive(Clone, Debug)]
pub(crate) struct EventSender(FanOut<Event>);

impl EventSender {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(FanOut::new(CAPACITY, clock))
    }

    pub(crate) fn send(&self, event: Event) {
        self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(self.0.subscribe())
    }
}
