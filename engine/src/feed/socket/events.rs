//! What a frame says, read when it is wanted.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nirantar_brokers::{Feed, FeedEvent, Redactor, Stamp};

/// What a frame says, in order.
///
/// A binary frame is kept as it came, and read by whoever wants to know ([`visit`](Self::visit)), one event after the
/// other: no tick is laid down in memory on the way from the socket to the engine.
#[derive(Clone)]
pub struct Events(Said);

#[derive(Clone)]
enum Said {
    Read(Vec<FeedEvent>),
    Frame { bytes: Bytes, reader: Arc<Reader> },
}

/// Who can read a binary frame, and what takes the token out of what others say.
pub(super) struct Reader {
    pub(super) codec: Arc<dyn Feed + Send + Sync>,
    pub(super) redactor: Redactor,
}

impl Events {
    /// Of a binary frame.
    pub(super) fn of_frame(bytes: Bytes, reader: &Arc<Reader>) -> Self {
        Self(Said::Frame { bytes, reader: Arc::clone(reader) })
    }

    /// The bytes of a binary frame, for one who reads its broker's wire himself: Kite's packets, say, by
    /// [`packet::visit`](nirantar_brokers::kite::wire::packet::visit), which makes no tick where a number is enough.
    #[must_use]
    pub fn frame(&self) -> Option<&[u8]> {
        match &self.0 {
            Said::Read(_) => None,
            Said::Frame { bytes, .. } => Some(bytes),
        }
    }

    /// Hands over of each tick, in order, where in the day it belongs.
    pub fn stamps(&self, mut each: impl FnMut(Stamp)) {
        match &self.0 {
            Said::Read(events) => events.iter().for_each(|event| {
                if let FeedEvent::Tick(tick) = event {
                    each(Stamp::from(tick));
                }
            }),
            Said::Frame { bytes, reader } => reader.codec.stamps(bytes, &mut each),
        }
    }

    /// Hands them over one after the other.
    pub fn visit(self, mut each: impl FnMut(FeedEvent)) {
        match self.0 {
            Said::Read(events) => events.into_iter().for_each(each),
            Said::Frame { bytes, reader } => reader.codec.decode_binary(&bytes, &mut |mut event| {
                redact(&reader.redactor, &mut event);
                each(event);
            }),
        }
    }

    /// All of them at once.
    #[must_use]
    pub fn into_vec(self) -> Vec<FeedEvent> {
        match self.0 {
            Said::Read(events) => events,
            Said::Frame { .. } => {
                let mut events = Vec::new();
                self.visit(|event| events.push(event));
                events
            }
        }
    }
}

impl From<Vec<FeedEvent>> for Events {
    fn from(events: Vec<FeedEvent>) -> Self {
        Self(Said::Read(events))
    }
}

impl IntoIterator for Events {
    type Item = FeedEvent;
    type IntoIter = std::vec::IntoIter<FeedEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

impl PartialEq for Events {
    /// Whether both say the same, whatever form they are kept in.
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_vec() == other.clone().into_vec()
    }
}

impl Eq for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone().into_vec()).finish()
    }
}

/// Takes the token out of what others say.
pub(super) fn redact(redactor: &Redactor, event: &mut FeedEvent) {
    if let FeedEvent::Notice(words) | FeedEvent::Error(words) = event {
        *words = redactor.clean(words);
    }
}
