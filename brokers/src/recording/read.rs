//! Reading a recording, block by block.

use std::io::{self, Read};

use super::bytes::{Bytes, unzigzag};
use super::encode::check_of_front;
use super::packets::Packets;
use super::{BLOCK_HEADER, Entry, Frame, FrameKind, LONGEST_NAME, LONGEST_PAYLOAD, MAGIC, STARTS_ANEW, VERSION, tag};
use crate::BrokerToken;
use crate::time::Timestamp;

/// Why a recording cannot be read, or not further. Whoever has opened the file names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The system does not give the bytes.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is something else.
    #[error("is no recording: expected the bytes NIRREC at its beginning")]
    NoRecording,
    /// It was cut off, or changed, within its header.
    #[error("byte {offset}: the header of the recording is damaged: nothing behind it can be read")]
    Header {
        /// Where, from 0.
        offset: u64,
    },
    /// A later version wrote it.
    #[error("is a recording of version {found}: this program reads version {VERSION}; use a newer one")]
    Newer {
        /// Which.
        found: u8,
    },
    /// Something within it is not what was written.
    #[error("byte {offset}: the recording is damaged: {what}; what stands before it is whole")]
    Damaged {
        /// Where the damaged block begins, from 0.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// The end of a recording whose writer was killed: cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it begins, from 0.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its last {} bytes, from byte {}, are a block cut short, and are left out", self.bytes, self.offset)
    }
}

/// Reads a recording from its beginning, in bounded memory: one block and the last packet of every instrument.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    broker: String,
    /// Up to where everything is whole: the beginning of the block that is read now, or of the next.
    whole: u64,
    /// The end of the block that is read now.
    next: u64,
    payload: Vec<u8>,
    /// How much of `payload` is read.
    read: usize,
    torn: Option<Torn>,
    ended: bool,
    /// How many writers have begun so far.
    writers: u64,
    at: i64,
    packets: Packets,
}

impl<R: Read> Reader<R> {
    /// Reads the header. Wrap files into a `BufReader`.
    ///
    /// # Errors
    /// [`RecordingError`], except `Damaged`.
    pub fn new(mut from: R) -> Result<Self, RecordingError> {
        let mut header = Vec::with_capacity(MAGIC.len() + 2 + LONGEST_NAME + 4);
        read_up_to(&mut from, MAGIC.len() + 2, &mut header)?;
        let Some((magic, rest)) = header.split_at_checked(MAGIC.len()).filter(|(magic, _)| *magic == MAGIC) else {
            return Err(RecordingError::NoRecording);
        };
        let damaged = |offset: usize| RecordingError::Header { offset: offset as u64 };
        let [version, length] = *rest else { return Err(damaged(magic.len())) };
        if version > VERSION {
            return Err(RecordingError::Newer { found: version });
        }
        let length = usize::from(length);
        if !(1..=LONGEST_NAME).contains(&length) {
            return Err(damaged(MAGIC.len() + 1));
        }
        read_up_to(&mut from, length + 4, &mut header)?;
        let (said, check) = header.split_last_chunk::<4>().ok_or_else(|| damaged(0))?;
        let name = said.get(MAGIC.len() + 2..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.filter(|name| name.len() == length && crc32fast::hash(said) == u32::from_le_bytes(*check));
        let broker = name.ok_or_else(|| damaged(MAGIC.len()))?.to_owned();
        let whole = header.len() as u64;
        Ok(Self {
            from,
            broker,
            whole,
            next: whole,
            payload: Vec::new(),
            read: 0,
            torn: None,
            ended: false,
            writers: 0,
            at: 0,
            packets: Packets::default(),
        })
    }

    /// The name of the broker whose wire it is.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Which of the processes that wrote the file, one after the other, wrote the entry before: from 1. Each counts its
    /// connections anew.
    #[must_use]
    pub const fn writer(&self) -> u64 {
        self.writers
    }

    /// The next entry; `None` at the end. After an error there is nothing more.
    ///
    /// # Errors
    /// [`RecordingError::Damaged`] or `Unreadable`.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, RecordingError> {
        if self.read >= self.payload.len() && !self.next_block()? {
            return Ok(None);
        }
        let payload = std::mem::take(&mut self.payload);
        let mut rest = Bytes(payload.get(self.read..).unwrap_or_default());
        let entry = self.entry(&mut rest);
        self.read = payload.len() - rest.0.len();
        self.payload = payload;
        match entry {
            Some(entry) => Ok(Some(entry)),
            None => {
                self.ended = true;
                self.payload.clear();
                Err(RecordingError::Damaged { offset: self.whole, what: "an entry that makes no sense" })
            }
        }
    }

    /// Reads to the end without looking into the blocks, and says up to which byte the file is whole: what is appended
    /// goes there.
    ///
    /// # Errors
    /// As [`next_entry`](Self::next_entry): nothing may be appended then.
    pub fn find_end(mut self) -> Result<(u64, Option<Torn>), RecordingError> {
        while self.next_block()? {}
        Ok((self.whole, self.torn))
    }

    /// The torn tail, if there is one, once the end is reached.
    #[must_use]
    pub const fn torn(&self) -> Option<Torn> {
        self.torn
    }

    fn entry(&mut self, from: &mut Bytes<'_>) -> Option<Entry> {
        let tag = from.byte()?;
        if tag == tag::NAME {
            let token = BrokerToken(u32::try_from(from.varint()?).ok()?);
            let instrument = std::str::from_utf8(from.counted()?).ok()?.parse().ok()?;
            return Some(Entry::Name { token, instrument });
        }
        self.at = self.at.wrapping_add(unzigzag(from.varint()?));
        let at = Timestamp::from_nanos(self.at);
        if tag == tag::LOST {
            return Some(Entry::Lost { at, frames: from.varint()? });
        }
        let connection = from.varint()?;
        let (kind, bytes) = match tag {
            tag::PACKETS => (FrameKind::Binary, self.packets.decode(from)?),
            tag::BINARY => (FrameKind::Binary, from.counted()?.to_vec()),
            tag::TEXT => (FrameKind::Text, from.counted()?.to_vec()),
            _ => return None,
        };
        Some(Entry::Frame(Frame { at, connection, kind, bytes }))
    }

    /// Reads the next block whole. `false` at the end.
    fn next_block(&mut self) -> Result<bool, RecordingError> {
        self.whole = self.next;
        self.payload.clear();
        self.read = 0;
        if self.ended {
            return Ok(false);
        }
        // Whatever goes wrong, there is nothing behind it.
        self.ended = true;
        let mut front = Vec::with_capacity(BLOCK_HEADER);
        read_up_to(&mut self.from, BLOCK_HEADER, &mut front)?;
        if front.is_empty() {
            return Ok(false);
        }
        let Some((length, flags, check)) = block_header(&front) else {
            return match self.only_zeros_follow()? {
                Some(zeros) => Ok(self.cut(front.len() as u64 + zeros)),
                None => Err(self.damaged("a length that does not fit its checksum")),
            };
        };
        read_up_to(&mut self.from, length as usize, &mut self.payload)?;
        let block = (front.len() + self.payload.len()) as u64;
        if self.payload.len() < length as usize {
            return Ok(self.cut(block));
        }
        if crc32fast::hash(&self.payload) != check {
            // Of a block at the very end, the disk may have kept the length and lost the rest.
            return match self.only_zeros_follow()? {
                Some(zeros) => Ok(self.cut(block + zeros)),
                None => Err(self.damaged("a block that does not fit its checksum")),
            };
        }
        if flags & STARTS_ANEW != 0 {
            self.packets.forget();
            self.at = 0;
            self.writers += 1;
        } else if self.writers == 0 {
            return Err(self.damaged("a first block that refers to one before"));
        }
        self.next = self.whole + block;
        self.ended = false;
        Ok(true)
    }

    fn damaged(&mut self, what: &'static str) -> RecordingError {
        self.payload.clear();
        RecordingError::Damaged { offset: self.whole, what }
    }

    /// The tail is torn: nothing of it counts.
    fn cut(&mut self, bytes: u64) -> bool {
        self.torn = Some(Torn { offset: self.whole, bytes });
        self.payload.clear();
        false
    }

    /// How many bytes follow, if all are zero: what a file system leaves where it had no time to write.
    fn only_zeros_follow(&mut self) -> io::Result<Option<u64>> {
        let (mut zeros, mut some) = (0, [0; 4096]);
        loop {
            match self.from.read(&mut some) {
                Ok(0) => return Ok(Some(zeros)),
                Ok(count) if some.iter().take(count).all(|byte| *byte == 0) => zeros += count as u64,
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Length, flags and the payload's checksum.
fn block_header(bytes: &[u8]) -> Option<(u32, u8, u32)> {
    let (front, rest) = bytes.split_first_chunk::<5>()?;
    let (check, rest) = rest.split_first_chunk::<2>()?;
    let crc = rest.first_chunk::<4>()?;
    let [one, two, three, four, flags] = *front;
    let length = u32::from_le_bytes([one, two, three, four]);
    let fits = check_of_front(*front) == u16::from_le_bytes(*check) && (1..=LONGEST_PAYLOAD).contains(&length);
    fits.then_some((length, flags, u32::from_le_bytes(*crc)))
}

/// Appends as many bytes, or fewer at the end. Never more memory than there are bytes.
fn read_up_to(from: &mut impl Read, count: usize, into: &mut Vec<u8>) -> io::Result<()> {
    from.take(count as u64).read_to_end(into).map(|_| ())
}
