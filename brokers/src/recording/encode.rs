//! Blocks of a recording.

use super::bytes::{put_varint, zigzag};
use super::packets::Packets;
use super::{BLOCK_HEADER, FrameKind, LONGEST_NAME, MAGIC, STARTS_ANEW, VERSION, tag};
use crate::time::Timestamp;
use crate::{BrokerToken, InstrumentKey};

/// A header cannot hold that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a recording's broker has 1 to {LONGEST_NAME} bytes")]
pub struct BadHeader;

/// The header of a recording of that broker's wire.
///
/// # Errors
/// [`BadHeader`].
pub fn header(broker: &str) -> Result<Vec<u8>, BadHeader> {
    let length = u8::try_from(broker.len()).ok().filter(|length| (1..=LONGEST_NAME).contains(&usize::from(*length)));
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[VERSION, length.ok_or(BadHeader)?]);
    out.extend_from_slice(broker.as_bytes());
    let check = crc32fast::hash(&out);
    out.extend_from_slice(&check.to_le_bytes());
    Ok(out)
}

/// Collects entries and makes blocks of them. Each writer of a file begins with a new one.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    payload: Vec<u8>,
    packets: Packets,
    /// Of the entry before.
    at: i64,
    /// A block has been made.
    begun: bool,
}

impl Encoder {
    /// An encoder for the blocks of a new file, or for those behind the last whole block of an old one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame that arrived then on that connection.
    pub fn frame(&mut self, at: Timestamp, connection: u64, kind: FrameKind, bytes: &[u8]) {
        let begin = self.payload.len();
        if kind == FrameKind::Binary {
            let before = self.at;
            self.begin(tag::PACKETS, at);
            put_varint(connection, &mut self.payload);
            if self.packets.encode(bytes, &mut self.payload) {
                return;
            }
            self.payload.truncate(begin);
            self.at = before;
        }
        self.begin(if kind == FrameKind::Text { tag::TEXT } else { tag::BINARY }, at);
        put_varint(connection, &mut self.payload);
        self.counted(bytes);
    }

    /// Says which instrument that number means from here on.
    pub fn name(&mut self, token: BrokerToken, instrument: &InstrumentKey) {
        self.payload.push(tag::NAME);
        put_varint(u64::from(token.0), &mut self.payload);
        self.counted(instrument.to_string().as_bytes());
    }

    /// Says that so many frames were not recorded.
    pub fn lost(&mut self, at: Timestamp, frames: u64) {
        self.begin(tag::LOST, at);
        put_varint(frames, &mut self.payload);
    }

    /// Bytes collected since the last block.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.payload.len()
    }

    /// Appends a block of what was collected, and begins the next. Nothing collected is no block. The block must be
    /// written whole, behind the one before: later ones refer to it.
    pub fn block(&mut self, out: &mut Vec<u8>) {
        if self.payload.is_empty() {
            return;
        }
        let flags = if self.begun { 0 } else { STARTS_ANEW };
        self.begun = true;
        out.reserve(BLOCK_HEADER + self.payload.len());
        // A payload is as long as the longest message of a socket at most, beside what fits into a block anyway.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut front = [0; 5];
        let [one, two, three, four] = length.to_le_bytes();
        front.copy_from_slice(&[one, two, three, four, flags]);
        out.extend_from_slice(&front);
        out.extend_from_slice(&check_of_front(front).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&self.payload).to_le_bytes());
        out.extend_from_slice(&self.payload);
        self.payload.clear();
    }

    /// Starts anew, as for the first block: after a block that could not be written.
    pub fn start_anew(&mut self) {
        self.payload.clear();
        self.packets.forget();
        (self.at, self.begun) = (0, false);
    }

    fn begin(&mut self, tag: u8, at: Timestamp) {
        self.payload.push(tag);
        put_varint(zigzag(at.as_nanos().wrapping_sub(self.at)), &mut self.payload);
        self.at = at.as_nanos();
    }

    fn counted(&mut self, bytes: &[u8]) {
        put_varint(bytes.len() as u64, &mut self.payload);
        self.payload.extend_from_slice(bytes);
    }
}

/// The check of a block's length and flags, so that a wrong length is never taken for a cut.
pub(super) fn check_of_front(front: [u8; 5]) -> u16 {
    (crc32fast::hash(&front) & 0xffff) as u16
}
