//! Binary ticker frames: written and read.
//!
//! A frame is a big-endian packet count and then, for each packet, its length and its bytes. The length decides the
//! [`Kind`]; other lengths are skipped. A message shorter than a packet count is a heartbeat. Reading is total: of a
//! frame that is cut short, every whole packet is delivered.
//!
//! Numbers are unsigned 32 bits (as the Python, Go and Rust SDKs read them; the docs say signed), prices are scaled by
//! the segment's divisor, times are Unix seconds with 0 for "none".
//!
//! [`visit`] reads a frame without an allocation, [`decode`] makes events of it, [`encode`] writes one. What stands where
//! is said once, in `layout.rs`.

mod frame;
mod layout;
mod read;
mod write;

pub use frame::{Part, visit, visit_portable};
pub use layout::Kind;
pub use read::Packet;
pub use write::encode;

use crate::{BrokerToken, FeedEvent, Tick};

/// A heartbeat: one byte that is no packet count. Its value is undocumented.
pub const HEARTBEAT: [u8; 1] = [0];

/// Whether the token names an index (segment 9), which has no trades and no book.
#[must_use]
pub const fn is_index(token: BrokerToken) -> bool {
    layout::segment(token) == 9
}

/// How many of the wire's price units make a rupee in that token's segment: 10 000 000 for CDS, 10 000 for BCD and NCO
/// (Python and Rust SDKs; JS and Go divide NCO by 100), 100 for the rest.
#[must_use]
pub const fn divisor(token: BrokerToken) -> i64 {
    layout::Scale::of(token).divisor()
}

/// Reads one binary message and appends what it says.
pub fn decode(frame: &[u8], out: &mut Vec<FeedEvent>) {
    visit(frame, |part| out.push(part.into()));
}

impl From<Part<&Packet>> for FeedEvent {
    fn from(part: Part<&Packet>) -> Self {
        match part {
            Part::Packet(packet) => Self::Tick(packet.tick()),
            Part::Heartbeat => Self::Heartbeat,
            Part::Garbage(what) => Self::Garbage(what),
        }
    }
}

/// Reads one bare packet. `None` for a length that is no kind.
#[must_use]
pub fn decode_packet(packet: &[u8]) -> Option<Tick> {
    Packet::new(packet).map(|packet| packet.tick())
}

#[cfg(test)]
mod tests;
