//! Recordings of a feed: what came over its sockets, bit for bit, with the time it arrived and on which connection.
//!
//! A codec without I/O, as the rest of this crate: [`Encoder`] makes blocks, [`Reader`] reads them from anything that
//! reads. Who writes the file is the engine's recorder; who replays it is `exchange-mock`'s `prices::Replay`.
//!
//! **The file** is a header and then blocks, each of which can be appended by itself:
//!
//! ```text
//! header  magic 8 | version u8 | length of the name u8 | name of the broker whose wire it is | crc32 of all before
//! block   length of the payload u32 | flags u8 | low half of the crc32 of those five bytes u16 | crc32 of the payload u32
//!         | payload
//! ```
//!
//! Numbers are little-endian. A payload is a sequence of entries: a tag, varints (LEB128) and bytes. Flag 1 says that what
//! the entries refer to (the time before, the packets before) starts anew: the first block of every writer has it.
//!
//! **Compact**: a frame of packets (a count, and for each packet its length and its bytes, of which the first four name
//! the instrument: Kite's) is kept as differences to the packet of that instrument before, word by word. Any other frame
//! is kept as it is.
//!
//! **Crash-safe**: a writer that is killed leaves whole blocks and at most one that is cut short. That one is a torn tail
//! ([`Reader::torn`]): it is cut off, and said. Anything else that does not fit its checksum is damage, and an error that
//! names the place. Reading is total: any bytes are a recording or an error.

mod bytes;
mod encode;
mod packets;
mod read;
#[cfg(test)]
mod tests;

use crate::time::Timestamp;
use crate::{BrokerToken, InstrumentKey};

pub use encode::{BadHeader, Encoder, header};
pub use read::{Reader, RecordingError, Torn};

/// The first bytes of every recording.
pub const MAGIC: [u8; 8] = *b"NIRREC\x1a\n";

/// The only version so far.
const VERSION: u8 = 1;
/// The longest name of a broker.
const LONGEST_NAME: usize = 32;
/// What stands in front of a payload.
const BLOCK_HEADER: usize = 11;
/// Entries of this block refer to nothing before it.
const STARTS_ANEW: u8 = 1;
/// The longest payload: no writer makes one, so a longer one is damage.
const LONGEST_PAYLOAD: u32 = 1 << 30;

/// Tags of entries.
mod tag {
    pub(super) const BINARY: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const PACKETS: u8 = 2;
    pub(super) const NAME: u8 = 3;
    pub(super) const LOST: u8 = 4;
}

/// Whether a frame was binary or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// A binary frame.
    Binary,
    /// A text frame.
    Text,
}

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it arrived, by the recorder's wall clock, in nanoseconds. May step back when that clock was set.
    pub at: Timestamp,
    /// On which connection: the engine's number of the socket, which begins anew with each process.
    pub connection: u64,
    /// What it was.
    pub kind: FrameKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a recording says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A frame came.
    Frame(Frame),
    /// From here on this number means that instrument.
    Name {
        /// The broker's number.
        token: BrokerToken,
        /// Of what.
        instrument: InstrumentKey,
    },
    /// Here the recorder was too slow: so many frames came and were not recorded.
    Lost {
        /// When that was noticed.
        at: Timestamp,
        /// How many.
        frames: u64,
    },
}

/// Whether these are the first bytes of a recording (eight suffice).
#[must_use]
pub fn is_recording(first: &[u8]) -> bool {
    first.starts_with(&MAGIC)
}
