//! The client's half of an open WebSocket (RFC 6455, sections 5 to 7).
//!
//! tungstenite's own stream clears its buffer before every read and reads less at once; of what a frame costs up to here
//! that was a third (`bench/wire`, `ingest`). So bytes are taken from the stream into a buffer, and a message is a piece of
//! it: nothing is cleared, and nothing copied but what a message that spans two buffers has in the first. tungstenite reads
//! the heads of frames, and writes what is sent.

use std::collections::VecDeque;
use std::io::Cursor;
use std::mem;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The largest message taken from a server, in bytes: 3,000 instruments in full mode are 558 kB.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// The longest payload of a control frame, in bytes.
const MAX_CONTROL: usize = 125;
/// How large a buffer is, in bytes, and the least room in it that is read into.
const BUFFER: usize = 64 * 1024;
const LEAST_ROOM: usize = 16 * 1024;
/// How many buffers are kept, to be used again once nobody has a message of them: as many as may wait to be read.
const KEPT: usize = 4;

/// A WebSocket after the handshake.
pub(super) struct WebSocket<S> {
    stream: S,
    incoming: Incoming,
    /// Frames and masks what is sent, into memory.
    outgoing: WebSocketContext,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// On a stream that `first` was read from already.
    pub(super) fn new(stream: S, first: &[u8]) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(0);
        let outgoing = WebSocketContext::new(Role::Client, Some(config));
        Self { stream, incoming: Incoming::new(first), outgoing }
    }

    /// The next message; `None` once the stream has ended. May be dropped while waiting without losing a byte. Nothing is
    /// answered: a ping is the caller's to answer.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            if let Some(message) = self.incoming.next()? {
                return Ok(Some(message));
            }
            if self.stream.read_buf(self.incoming.room()).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends a message. To be dropped only together with the socket: half a frame may be sent.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut bytes = Cursor::new(Vec::new());
        self.outgoing.write(&mut bytes, message)?;
        self.outgoing.flush(&mut bytes)?;
        self.stream.write_all(bytes.get_ref()).await?;
        Ok(self.stream.flush().await?)
    }
}

/// Bytes into messages. Total, and without I/O.
struct Incoming {
    buffer: BytesMut,
    /// Buffers before it, the oldest first.
    used: VecDeque<BytesMut>,
    /// The head of the frame whose payload is still coming, and how long that is.
    head: Option<(FrameHeader, usize)>,
    /// The fragments so far of a message that has more than one.
    begun: Option<(Data, BytesMut)>,
}

impl Incoming {
    fn new(first: &[u8]) -> Self {
        Self { buffer: BytesMut::from(first), used: VecDeque::new(), head: None, begun: None }
    }

    /// Where the next bytes go.
    fn room(&mut self) -> &mut BytesMut {
        let missing = self.head.as_ref().map_or(0, |(_, length)| length.saturating_sub(self.buffer.len()));
        let room = missing.max(LEAST_ROOM);
        if !self.buffer.try_reclaim(room) {
            let size = BUFFER.max(self.buffer.len() + room);
            let oldest = if self.used.len() < KEPT { None } else { self.used.pop_front() };
            let again = oldest.and_then(|mut oldest| oldest.try_reclaim(size).then_some(oldest));
            let mut next = again.unwrap_or_else(|| BytesMut::with_capacity(size));
            next.extend_from_slice(&self.buffer);
            let mut full = mem::replace(&mut self.buffer, next);
            full.clear();
            self.used.push_back(full);
        }
        &mut self.buffer
    }

    /// The next whole message, if it is there.
    fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            if self.head.is_none() {
                self.head = self.take_head()?;
            }
            let Some((head, length)) = self.head.take_if(|(_, length)| *length <= self.buffer.len()) else {
                return Ok(None);
            };
            let payload = self.buffer.split_to(length).freeze();
            let message = match head.opcode {
                OpCode::Control(kind) => Some(control(kind, payload)?),
                OpCode::Data(kind) => self.data(kind, head.is_final, payload)?,
            };
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<(FrameHeader, usize)>, Error> {
        let mut cursor = Cursor::new(&*self.buffer);
        let Some((head, length)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
        let read = usize::try_from(cursor.position()).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.advance(read);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if head.rsv1 || head.rsv2 || head.rsv3 {
            return Err(ProtocolError::NonZeroReservedBits.into());
        }
        if head.mask.is_some() {
            return Err(ProtocolError::MaskedFrameFromServer.into());
        }
        if matches!(head.opcode, OpCode::Control(_)) {
            if !head.is_final {
                return Err(ProtocolError::FragmentedControlFrame.into());
            }
            if size > MAX_CONTROL {
                return Err(ProtocolError::ControlFrameTooBig.into());
            }
        }
        within_bounds(size)?;
        Ok(Some((head, size)))
    }

    fn data(&mut self, kind: Data, is_final: bool, payload: Bytes) -> Result<Option<Message>, Error> {
        match (kind, self.begun.take()) {
            (Data::Continue, None) => Err(ProtocolError::UnexpectedContinueFrame.into()),
            (Data::Continue, Some((kind, mut whole))) => {
                within_bounds(whole.len().saturating_add(payload.len()))?;
                whole.extend_from_slice(&payload);
                if is_final {
                    return message(kind, whole.freeze()).map(Some);
                }
                self.begun = Some((kind, whole));
                Ok(None)
            }
            (kind, Some(_)) => Err(ProtocolError::ExpectedFragment(kind).into()),
            (kind, None) if is_final => message(kind, payload).map(Some),
            (kind, None) => {
                self.begun = Some((kind, BytesMut::from(&*payload)));
                Ok(None)
            }
        }
    }
}

fn within_bounds(size: usize) -> Result<(), Error> {
    if size > MAX_MESSAGE {
        return Err(CapacityError::MessageTooLong { size, max_size: MAX_MESSAGE }.into());
    }
    Ok(())
}

fn message(kind: Data, payload: Bytes) -> Result<Message, Error> {
    match kind {
        Data::Text => Ok(Message::Text(Utf8Bytes::try_from(payload)?)),
        Data::Binary => Ok(Message::Binary(payload)),
        Data::Continue => Err(ProtocolError::UnexpectedContinueFrame.into()),
        Data::Reserved(kind) => Err(ProtocolError::UnknownDataFrameType(kind).into()),
    }
}

fn control(kind: Control, payload: Bytes) -> Result<Message, Error> {
    match kind {
        Control::Ping => Ok(Message::Ping(payload)),
        Control::Pong => Ok(Message::Pong(payload)),
        Control::Close => match payload.split_first_chunk() {
            Some((code, _)) => {
                let reason = Utf8Bytes::try_from(payload.slice(code.len()..))?;
                Ok(Message::Close(Some(CloseFrame { code: u16::from_be_bytes(*code).into(), reason })))
            }
            None if payload.is_empty() => Ok(Message::Close(None)),
            None => Err(ProtocolError::InvalidCloseSequence.into()),
        },
        Control::Reserved(kind) => Err(ProtocolError::UnknownControlFrameType(kind).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::WebSocket as Peer;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;

    use super::*;

    /// What comes of these bytes, handed over in pieces of that size; and whether they make sense up to their end.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Message>, bool) {
        read_on(&mut Incoming::new(&[]), bytes, piece)
    }

    fn read_on(incoming: &mut Incoming, bytes: &[u8], piece: usize) -> (Vec<Message>, bool) {
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            incoming.room().extend_from_slice(piece);
            loop {
                match incoming.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return (messages, false),
                }
            }
        }
        (messages, true)
    }

    /// What tungstenite makes of them.
    fn read_by_tungstenite(bytes: &[u8]) -> (Vec<Message>, bool) {
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let mut peer = Peer::from_raw_socket(Cursor::new(bytes.to_vec()), Role::Client, Some(config));
        let mut messages = Vec::new();
        loop {
            match peer.read() {
                Ok(message) => messages.push(message),
                Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (messages, true),
                Err(_) => return (messages, false),
            }
        }
    }

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.clone().format(&mut bytes).unwrap());
        bytes
    }

    fn binary(payload: &[u8], is_final: bool) -> Frame {
        Frame::message(payload.to_vec(), OpCode::Data(Data::Binary), is_final)
    }

    fn more(payload: &[u8], is_final: bool) -> Frame {
        Frame::message(payload.to_vec(), OpCode::Data(Data::Continue), is_final)
    }

    #[test]
    fn messages_come_whole_however_the_bytes_are_cut() {
        let long = vec![7; 3 * BUFFER];
        let text = Frame::message("words", OpCode::Data(Data::Text), true);
        let close = Frame::close(Some(CloseFrame { code: 1001.into(), reason: "bye".into() }));
        let frames = [
            binary(&[1, 2], false),
            Frame::ping(vec![9]),
            more(&[3], true),
            binary(&long, true),
            text,
            Frame::pong(vec![]),
            binary(&[], true),
            close,
            Frame::close(None),
        ];
        let expected = [
            Message::Ping(vec![9].into()),
            Message::binary(vec![1, 2, 3]),
            Message::binary(long.clone()),
            Message::text("words"),
            Message::Pong(Bytes::new()),
            Message::binary(vec![]),
            Message::Close(Some(CloseFrame { code: 1001.into(), reason: "bye".into() })),
            Message::Close(None),
        ];
        for piece in [1, 2, 1_000, BUFFER, usize::MAX] {
            assert_eq!(read(&written(&frames), piece), (expected.to_vec(), true), "pieces of {piece}");
        }
    }

    #[test]
    fn buffers_are_used_again_and_a_message_that_is_kept_stays_as_it_is() {
        let message = |number: u8| written(&[binary(&vec![number; 20_000], true)]);
        let (mut incoming, mut buffers, mut kept) = (Incoming::new(&[]), BTreeSet::new(), Vec::new());
        for number in 0..200 {
            incoming.room().extend_from_slice(&message(number));
            let Some(Message::Binary(bytes)) = incoming.next().unwrap() else { panic!("no message") };
            if number % 100 == 0 {
                kept.push(bytes);
            } else {
                buffers.insert(bytes.as_ptr().addr() / BUFFER);
            }
        }
        assert!(kept.iter().zip([0, 100]).all(|(kept, number)| kept.iter().all(|byte| *byte == number)));
        // An address' place in memory is told to a buffer's length, so that one counts twice at most.
        assert!(buffers.len() <= 2 * (KEPT + 3), "{buffers:?}");
    }

    #[test]
    fn what_no_server_may_send_ends_the_socket() {
        let mut masked = binary(&[1], true);
        masked.header_mut().mask = Some([1, 2, 3, 4]);
        let mut reserved = binary(&[1], true);
        reserved.header_mut().rsv1 = true;
        let mut half_a_ping = Frame::ping(vec![]);
        half_a_ping.header_mut().is_final = false;
        let cases: [(&str, Vec<u8>); 10] = [
            ("masked", written(&[masked])),
            ("reserved bits", written(&[reserved])),
            ("half a ping", written(&[half_a_ping])),
            ("a long ping", [&[0x89, 126, 0, 126][..], &[0; 126]].concat()),
            ("nothing to continue", written(&[more(&[1], true)])),
            ("a message inside another", written(&[binary(&[1], false), binary(&[2], true)])),
            ("no text", vec![0x81, 1, 0xff]),
            ("an unknown kind", vec![0x83, 0]),
            ("half a close code", vec![0x88, 1, 3]),
            ("longer than any message", [&[0x82, 127][..], &(MAX_MESSAGE as u64 + 1).to_be_bytes()].concat()),
        ];
        for (what, bytes) in cases {
            assert_eq!(read(&bytes, usize::MAX), (vec![], false), "{what}");
            assert!(!read_by_tungstenite(&bytes).1, "{what}, for tungstenite as well");
        }
        let half = vec![0; MAX_MESSAGE / 2 + 1];
        assert!(!read(&written(&[binary(&half, false), more(&half, true)]), usize::MAX).1, "too long in all");
    }

    #[tokio::test]
    async fn what_is_sent_is_masked_and_understood() {
        let (client, mut server) = tokio::io::duplex(1_024);
        let mut socket = WebSocket::new(client, &written(&[binary(&[5], true)]));
        assert_eq!(socket.next().await.unwrap(), Some(Message::binary(vec![5])), "what came with the handshake");
        for message in [Message::text("hello"), Message::Pong(vec![1].into()), Message::Close(None)] {
            socket.send(message).await.unwrap();
        }
        drop(socket);
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).await.unwrap();
        let mut peer = Peer::from_raw_socket(Cursor::new(bytes), Role::Server, None);
        assert_eq!(peer.read().unwrap(), Message::text("hello"));
        assert_eq!(peer.read().unwrap(), Message::Pong(vec![1].into()));
        assert_eq!(peer.read().unwrap(), Message::Close(None));
    }

    proptest! {
        /// But for what comes after a close; what is wrong is said by the frame's head here, and by tungstenite when the
        /// frame is whole; and of text it is the other way round.
        #[test]
        fn any_bytes_are_read_as_tungstenite_reads_them(
            frames in prop::collection::vec(
                (prop::sample::select(vec![0x81u8, 0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x01]), prop::collection::vec(0u8..0x80, 0..200)),
                0..8,
            ),
            noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            piece in 1usize..300,
        ) {
            let mut bytes = Vec::new();
            for (head, payload) in frames {
                bytes.push(head);
                match u8::try_from(payload.len()) {
                    Ok(length) if length < 126 => bytes.push(length),
                    _ => bytes.extend([126, 0, payload.len() as u8]),
                }
                bytes.extend(payload);
            }
            if let Some((at, byte)) = noise.filter(|_| !bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut incoming = Incoming::new(&[]);
            let ours = read_on(&mut incoming, &bytes, piece);
            prop_assume!(!ours.0.iter().any(Message::is_close));
            prop_assume!(!matches!(incoming.begun, Some((Data::Text, _))));
            let theirs = read_by_tungstenite(&bytes);
            // Where the bytes go wrong one may notice a little earlier than the other.
            let both = if ours.1 && theirs.1 { usize::MAX } else { ours.0.len().min(theirs.0.len()) };
            let first = |messages: Vec<Message>| messages.into_iter().take(both).collect::<Vec<_>>();
            prop_assert_eq!(first(ours.0), first(theirs.0));
            prop_assert!(theirs.1 || !ours.1);
        }
    }
}
