//! Packets as differences to the one before of the same instrument and length.
//!
//! Of a packet that is known, the words (32 bits, as networks order them) behind the first, which names the instrument,
//! are compared: a bit for each that changed, then the changes, small ones in one byte. What is behind the last whole word
//! is kept as it is.

use std::collections::BTreeMap;

use super::bytes::{Bytes, put_varint, unzigzag, zigzag};

/// A packet that is not remembered: too short, too long, or one instrument too many.
const STRANGE: u64 = 0;
/// A packet that is remembered from here on.
const NEW: u64 = 1;
/// From here on: a known one, by how far its number is from the one expected.
const KNOWN: u64 = 2;

/// The longest packet that is remembered.
const LONGEST: usize = 1_024;
/// How many are remembered.
const MOST: usize = 1 << 16;

/// The last packet of every instrument and length. Encoder and decoder have the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Packets {
    last: Vec<Vec<u8>>,
    numbers: BTreeMap<(u32, usize), usize>,
}

impl Packets {
    pub(super) fn forget(&mut self) {
        self.last.clear();
        self.numbers.clear();
    }

    /// Appends a frame's packets as differences. `false`, and nothing is appended, if it is no frame of packets.
    pub(super) fn encode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(count) = count_packets(frame) else { return false };
        put_varint(u64::from(count), out);
        let (mut rest, mut expected) = (Bytes(frame.get(2..).unwrap_or_default()), 0);
        for _ in 0..count {
            // Counted above.
            let Some(packet) = length(&mut rest).and_then(|length| rest.take(length)) else { break };
            if let Some(number) = self.encode_packet(packet, expected, out) {
                expected = number + 1;
            }
        }
        true
    }

    /// The number it has, if it is remembered.
    fn encode_packet(&mut self, packet: &[u8], expected: usize, out: &mut Vec<u8>) -> Option<usize> {
        let Some(token) = remembered(packet).then(|| Bytes(packet).word()).flatten() else {
            return self.encode_whole(STRANGE, packet, out);
        };
        let as_expected = |last: &&Vec<u8>| last.len() == packet.len() && last.get(..4) == packet.get(..4);
        let known = match self.last.get(expected).filter(as_expected) {
            Some(_) => Some(expected),
            None => self.numbers.get(&(token, packet.len())).copied(),
        };
        let Some((number, last)) = known.and_then(|number| Some((number, self.last.get_mut(number)?))) else {
            if self.last.len() >= MOST {
                return self.encode_whole(STRANGE, packet, out);
            }
            return self.encode_whole(NEW, packet, out);
        };
        put_varint(KNOWN + zigzag(number as i64 - expected as i64), out);
        encode_change(last, packet, out);
        last.copy_from_slice(packet);
        Some(number)
    }

    fn encode_whole(&mut self, what: u64, packet: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        put_varint(what, out);
        put_varint(packet.len() as u64, out);
        out.extend_from_slice(packet);
        if what == NEW { self.remember(packet) } else { None }
    }

    fn remember(&mut self, packet: &[u8]) -> Option<usize> {
        let number = self.last.len();
        self.numbers.insert((Bytes(packet).word()?, packet.len()), number);
        self.last.push(packet.to_vec());
        Some(number)
    }

    /// Reads what [`encode`](Self::encode) wrote and gives back the frame. `None`: these are no packets.
    pub(super) fn decode(&mut self, from: &mut Bytes<'_>) -> Option<Vec<u8>> {
        let count = u16::try_from(from.varint()?).ok()?;
        let (mut frame, mut expected) = (Vec::with_capacity(256), 0);
        frame.extend_from_slice(&count.to_be_bytes());
        for _ in 0..count {
            match from.varint()? {
                STRANGE => put_packet(from.counted()?, &mut frame)?,
                NEW => {
                    let packet = from.counted()?;
                    if !remembered(packet) || self.last.len() >= MOST {
                        return None;
                    }
                    put_packet(packet, &mut frame)?;
                    expected = self.remember(packet)? + 1;
                }
                known => {
                    let away = unzigzag(known - KNOWN);
                    let number = usize::try_from(i64::try_from(expected).ok()?.checked_add(away)?).ok()?;
                    let last = self.last.get_mut(number)?;
                    decode_change(last, from)?;
                    put_packet(last, &mut frame)?;
                    expected = number + 1;
                }
            }
        }
        Some(frame)
    }
}

/// How many packets there are, if the frame is that and nothing else.
fn count_packets(frame: &[u8]) -> Option<u16> {
    let mut rest = Bytes(frame);
    let count = u16::try_from(length(&mut rest)?).ok()?;
    for _ in 0..count {
        let length = length(&mut rest)?;
        rest.take(length)?;
    }
    rest.0.is_empty().then_some(count)
}

fn length(from: &mut Bytes<'_>) -> Option<usize> {
    from.take(2)?.try_into().ok().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
}

fn put_packet(packet: &[u8], frame: &mut Vec<u8>) -> Option<()> {
    frame.extend_from_slice(&u16::try_from(packet.len()).ok()?.to_be_bytes());
    frame.extend_from_slice(packet);
    Some(())
}

const fn remembered(packet: &[u8]) -> bool {
    4 <= packet.len() && packet.len() <= LONGEST
}

/// Both are of one length.
fn encode_change(last: &[u8], packet: &[u8], out: &mut Vec<u8>) {
    let (last, packet) = (last.get(4..).unwrap_or_default(), packet.get(4..).unwrap_or_default());
    let (words, tail) = packet.as_chunks::<4>();
    let bits_at = out.len();
    out.resize(bits_at + words.len().div_ceil(8), 0);
    for (index, (last, word)) in last.as_chunks::<4>().0.iter().zip(words).enumerate() {
        if last != word {
            if let Some(bits) = out.get_mut(bits_at + index / 8) {
                *bits |= 1 << (index % 8);
            }
            let (last, word) = (u32::from_be_bytes(*last), u32::from_be_bytes(*word));
            let turn = turn(last);
            let change = word.rotate_right(turn).wrapping_sub(last.rotate_right(turn)).cast_signed();
            put_varint(zigzag(i64::from(change)), out);
        }
    }
    out.extend_from_slice(tail);
}

/// Makes the packet before into the next. `None`, and what it holds then is of no use, at bytes that end too early.
fn decode_change(last: &mut [u8], from: &mut Bytes<'_>) -> Option<()> {
    let (words, tail) = last.get_mut(4..)?.as_chunks_mut::<4>();
    let bits = from.take(words.len().div_ceil(8))?;
    for (index, word) in words.iter_mut().enumerate() {
        if bits.get(index / 8)? >> (index % 8) & 1 == 1 {
            let change = i32::try_from(unzigzag(from.varint()?)).ok()?;
            let last = u32::from_be_bytes(*word);
            let turn = turn(last);
            *word = last.rotate_right(turn).wrapping_add_signed(change).rotate_left(turn).to_be_bytes();
        }
    }
    let rest = from.take(tail.len())?;
    tail.copy_from_slice(rest);
    Some(())
}

/// A level of the book has its number of orders in the upper half of a word with nothing in the lower: turned, its
/// changes are small as well. Decided by the word before alone, which the decoder knows.
const fn turn(last: u32) -> u32 {
    if last != 0 && last & 0xffff == 0 { 16 } else { 0 }
}
