//! A frame, cut into its packets and read without an allocation.
//!
//! There is one reader, compiled twice: for any processor, turning two words at a time in a 64-bit register, and for one
//! with AVX2, where the compiler turns eight at a time. [`dispatch`] is the only place that knows of both.

use super::layout::Kind;
use super::read::Packet;

/// A piece of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part<P> {
    /// A packet.
    Packet(P),
    /// The whole message is too short for a frame: the broker lives, and has nothing to say.
    Heartbeat,
    /// Bytes that make no sense, in words. What is whole is delivered all the same.
    Garbage(&'static str),
}

/// Reads a binary message and hands over what is in it, in order. Total, and without an allocation.
///
/// A packet is good until the closure returns: it is a register's worth of work to read a number from it, and none to
/// leave it. What must outlive the frame is copied ([`Packet`] is `Copy`) or made a [`Tick`](crate::Tick).
#[inline]
pub fn visit(frame: &[u8], each: impl FnMut(Part<&Packet>)) {
    dispatch(frame, each);
}

/// As [`visit`], with the same result, and without asking what the processor can do: for tests and measurements.
#[inline]
pub fn visit_portable(frame: &[u8], each: impl FnMut(Part<&Packet>)) {
    read::<ByPairs>(frame, each);
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "calling what is compiled for a processor that was just asked for")]
#[inline]
fn dispatch(frame: &[u8], each: impl FnMut(Part<&Packet>)) {
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the function is safe on every processor with AVX2, and this one has it.
        unsafe { visit_avx2(frame, each) }
    } else {
        visit_portable(frame, each);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn dispatch(frame: &[u8], each: impl FnMut(Part<&Packet>)) {
    visit_portable(frame, each);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn visit_avx2(frame: &[u8], each: impl FnMut(Part<&Packet>)) {
    read::<ByWords>(frame, each);
}

#[inline(always)]
fn read<T: Turn>(frame: &[u8], mut each: impl FnMut(Part<&Packet>)) {
    let mut packet = Packet::EMPTY;
    for part in Parts::of(frame) {
        match part {
            Part::Packet((kind, bytes)) => {
                packet.fill::<T>(kind, bytes);
                each(Part::Packet(&packet));
            }
            Part::Heartbeat => each(Part::Heartbeat),
            Part::Garbage(what) => each(Part::Garbage(what)),
        }
    }
}

/// How big-endian words are turned.
pub(super) trait Turn {
    /// Of `from` into `to`, as far as both go. Called with arrays' lengths that the compiler knows.
    fn turn(from: &[u8], to: &mut [u32]);
}

/// Two at a time, which any 64-bit processor does in a register.
pub(super) struct ByPairs;

impl Turn for ByPairs {
    #[inline(always)]
    fn turn(from: &[u8], to: &mut [u32]) {
        let (pairs, last) = from.as_chunks::<8>();
        let (twos, rest) = to.as_chunks_mut::<2>();
        for (two, pair) in twos.iter_mut().zip(pairs) {
            let both = u64::from_be_bytes(*pair);
            #[expect(clippy::cast_possible_truncation, reason = "each half of it")]
            {
                *two = [(both >> 32) as u32, both as u32];
            }
        }
        ByWords::turn(last, rest);
    }
}

/// One at a time: the form that a compiler makes vectors of.
pub(super) struct ByWords;

impl Turn for ByWords {
    #[inline(always)]
    fn turn(from: &[u8], to: &mut [u32]) {
        for (word, bytes) in to.iter_mut().zip(from.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
    }
}

/// The pieces of a frame, in order: of one that is cut short, every whole packet.
struct Parts<'a> {
    rest: &'a [u8],
    left: Left,
}

/// What is still to come.
enum Left {
    Heartbeat,
    Packets(u16),
    Nothing,
}

impl<'a> Parts<'a> {
    #[inline(always)]
    fn of(frame: &'a [u8]) -> Self {
        match frame.split_first_chunk() {
            Some((count, rest)) => Self { rest, left: Left::Packets(u16::from_be_bytes(*count)) },
            None => Self { rest: &[], left: Left::Heartbeat },
        }
    }

    /// The next packet's bytes.
    #[inline(always)]
    fn cut(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let (packet, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.rest = rest;
        Some(packet)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<(Kind, &'a [u8])>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        match self.left {
            Left::Packets(0) => {
                self.left = Left::Nothing;
                (!self.rest.is_empty()).then_some(Part::Garbage("bytes behind the last packet of a frame"))
            }
            Left::Packets(count) => {
                self.left = Left::Packets(count - 1);
                let Some(packet) = self.cut() else {
                    self.left = Left::Nothing;
                    return Some(Part::Garbage("a frame that ends inside a packet"));
                };
                Some(match Kind::of_length(packet.len()) {
                    Some(kind) => Part::Packet((kind, packet)),
                    None => Part::Garbage("a packet of unknown length, skipped"),
                })
            }
            Left::Heartbeat => {
                self.left = Left::Nothing;
                Some(Part::Heartbeat)
            }
            Left::Nothing => None,
        }
    }
}
