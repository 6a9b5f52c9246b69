//! One socket: a task that dials, reads, hands on what is to be decoded, and nothing else.
//!
//! It decides nothing: it never reconnects, and what it meets it says as [`SocketEvent`]s, the last of which is
//! [`SocketNews::Refused`], [`SocketNews::Lost`] or, after the handle was dropped, [`SocketNews::Closed`].
//!
//! A full event channel stops the reading, and TCP hands the pressure on to the server. Timeouts are wall time. The token
//! is in the URL, so no URL is ever printed, and whatever a server or a library says passes the [`Redactor`].
//!
//! **Stepped clock.** The dialling holds a [`Busy`]. Each text, binary or close frame received (and the loss of the
//! connection, as a close) is counted by [`Clock::frame_received`] once its event is in the channel with a `Busy` of its
//! own; pings and pongs count in neither direction. Each frame sent is counted before it is sent. Closing holds a `Busy`
//! until the server has answered or a second has passed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::recording::FrameKind;
use nirantar_brokers::time::{Busy, Clock, Now};
use nirantar_brokers::{Failure, Feed, Redactor, SocketRequest, WireMessage};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use self::dial::{NoSocket, Stream};
use self::events::{Reader, redact};
use self::websocket::WebSocket;
use super::event::SocketId;
use super::record::Tap;

mod address;
mod dial;
mod events;
mod handshake;
#[cfg(test)]
mod loopback;
mod websocket;

pub use address::{BadFeedAddress, FeedAddress};
pub use events::Events;

/// How many batches of frames may wait to be sent.
const COMMANDS: usize = 64;
/// How long a server may take to answer a close.
const CLOSING: Duration = Duration::from_secs(1);

/// What a socket needs to know. `Debug` shows no secret.
pub struct SocketPlan {
    /// Its number.
    pub socket: SocketId,
    /// Where to.
    pub address: FeedAddress,
    /// The broker's own part of the handshake: [`Feed::connect`].
    pub request: SocketRequest,
    /// The broker's codec.
    pub codec: Arc<dyn Feed + Send + Sync>,
    /// Takes the token out of what others say.
    pub redactor: Redactor,
    /// The driver's clock.
    pub clock: Arc<dyn Clock>,
    /// How long each of TCP connection, handshake and sending may take. Wall time.
    pub io_timeout: Duration,
    /// Where every frame is handed to as it came, if it is recorded. Never waits.
    pub tap: Option<Tap>,
}

impl SocketPlan {
    /// The timeout that Kite's own clients use for the handshake.
    pub const IO_TIMEOUT: Duration = Duration::from_secs(7);
}

impl fmt::Debug for SocketPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketPlan({} to {})", self.socket, self.address)
    }
}

/// What a socket has met.
#[derive(Debug)]
pub struct SocketEvent {
    /// Whose word this is.
    pub socket: SocketId,
    /// Our side's TCP port; 0 before there is a connection.
    pub port: u16,
    /// When.
    pub received: Now,
    /// What.
    pub what: SocketNews,
    /// Holds a stepped clock until this is dealt with.
    pub busy: Busy,
}

/// What a socket can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketNews {
    /// The handshake succeeded.
    Connected,
    /// A frame came.
    Events {
        /// Its number on this socket, from 1.
        frame: u64,
        /// What it says, in order.
        events: Events,
    },
    /// The server refused the handshake. The end.
    Refused(Failure),
    /// No connection, or no more. The end. Free of secrets.
    Lost(String),
    /// The handle was dropped and the socket is closed: the server has said goodbye, or had its time for it. The end.
    Closed,
}

/// Why frames were not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// The socket has ended; its last event is in the channel.
    #[error("the socket has ended")]
    Ended,
    /// The server takes nothing: drop the handle and treat the socket as lost.
    #[error("the server takes nothing: {COMMANDS} batches of frames are waiting")]
    Full,
}

/// A socket's task. Dropping it closes the socket.
#[derive(Debug)]
pub struct SocketHandle {
    socket: SocketId,
    clock: Arc<dyn Clock>,
    commands: mpsc::Sender<Command>,
    close: Option<oneshot::Sender<Busy>>,
}

impl SocketHandle {
    /// Its number.
    #[must_use]
    pub const fn socket(&self) -> SocketId {
        self.socket
    }

    /// Sends frames, in order, after those before. Never waits.
    ///
    /// # Errors
    /// If the socket has ended or the server takes nothing.
    pub fn send(&self, frames: Vec<WireMessage>) -> Result<(), NotQueued> {
        let command = Command { frames, _busy: self.clock.busy() };
        self.commands.try_send(command).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotQueued::Full,
            mpsc::error::TrySendError::Closed(_) => NotQueued::Ended,
        })
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        if let Some(close) = self.close.take() {
            // If the task has ended there is nobody to tell.
            let _ = close.send(self.clock.busy());
        }
    }
}

#[derive(Debug)]
struct Command {
    frames: Vec<WireMessage>,
    _busy: Busy,
}

/// Starts the task of a socket. Must be called inside a tokio runtime.
pub fn open_socket(plan: SocketPlan, events: mpsc::Sender<SocketEvent>) -> SocketHandle {
    let (commands, waiting) = mpsc::channel(COMMANDS);
    let (close, mut closing) = oneshot::channel();
    let handle = SocketHandle { socket: plan.socket, clock: Arc::clone(&plan.clock), commands, close: Some(close) };
    let busy = plan.clock.busy();
    tokio::spawn(async move {
        let mut task = Task { plan, events, port: None };
        if let Err(end) = task.run(busy, waiting, &mut closing).await {
            task.finish(end, &mut closing).await;
        }
    });
    handle
}

struct Task {
    plan: SocketPlan,
    events: mpsc::Sender<SocketEvent>,
    port: Option<Port>,
}

/// Why a task ends.
enum End {
    /// The handle was dropped. The clock is held until the task is gone.
    Closed { _held: Busy },
    /// Nobody listens to the events.
    Unheard,
    /// The last event, still to be said. The clock is held until it is.
    News(SocketNews, Busy),
}

impl Task {
    async fn run(
        &mut self,
        busy: Busy,
        mut commands: mpsc::Receiver<Command>,
        closing: &mut oneshot::Receiver<Busy>,
    ) -> Result<(), End> {
        let mut stream = tokio::select! {
            biased;
            closed = &mut *closing => return Err(End::Closed { _held: closed.unwrap_or_default() }),
            stream = dial_up(&self.plan, &mut self.port) => stream.map_err(|none| self.no_socket(none))?,
        };
        let handshake =
            timeout(self.plan.io_timeout, dial::upgrade(&self.plan.address, &self.plan.request, &mut stream));
        let upgraded = tokio::select! {
            biased;
            closed = &mut *closing => return Err(End::Closed { _held: closed.unwrap_or_default() }),
            upgraded = handshake => upgraded,
        };
        let mut socket = match upgraded {
            Ok(Ok(socket)) => socket,
            Ok(Err(tungstenite::Error::Http(response))) => {
                let refused = NoSocket::Refused(dial::refusal(*response, &mut stream).await);
                return Err(self.no_socket(refused));
            }
            Ok(Err(error)) => return Err(self.no_socket(NoSocket::Lost(format!("handshake: {error}")))),
            Err(_) => return Err(self.no_socket(NoSocket::Lost("the server does not answer the handshake".into()))),
        };
        self.say(SocketNews::Connected, closing).await?;
        drop(busy);
        let end = self.serve(&mut socket, &mut commands, closing).await;
        if let Err(End::Closed { .. }) = &end {
            self.farewell(&mut socket).await;
        }
        end
    }

    /// Reads and writes until the socket ends.
    async fn serve(
        &self,
        socket: &mut WebSocket<&mut Stream>,
        commands: &mut mpsc::Receiver<Command>,
        closing: &mut oneshot::Receiver<Busy>,
    ) -> Result<(), End> {
        let (codec, redactor) = (Arc::clone(&self.plan.codec), self.plan.redactor.clone());
        let reader = Arc::new(Reader { codec, redactor });
        let mut frame = 0_u64;
        loop {
            let message = tokio::select! {
                biased;
                closed = &mut *closing => return Err(End::Closed { _held: closed.unwrap_or_default() }),
                Some(command) = commands.recv() => {
                    self.send(socket, command).await?;
                    continue;
                }
                message = socket.next() => message,
            };
            let events = match message {
                Ok(Some(Message::Text(text))) => {
                    self.record(FrameKind::Text, text.as_bytes());
                    self.read_text(text.as_str())
                }
                Ok(Some(Message::Binary(bytes))) => {
                    self.record(FrameKind::Binary, &bytes);
                    Events::of_frame(bytes, &reader)
                }
                // Counted by nobody.
                Ok(Some(Message::Ping(words))) => {
                    self.transmit(socket, Message::Pong(words)).await?;
                    continue;
                }
                Ok(Some(Message::Pong(_) | Message::Frame(_))) => continue,
                Ok(Some(Message::Close(why))) => {
                    let words = why.map_or_else(String::new, |why| format!(": {} {}", why.code, why.reason));
                    return Err(self.lost(&format!("the server closed the connection{words}")));
                }
                Err(error) => return Err(self.lost(&format!("the connection broke: {error}"))),
                Ok(None) => return Err(self.lost("the server ended the connection")),
            };
            frame += 1;
            self.say(SocketNews::Events { frame, events }, closing).await?;
            self.count_received();
        }
    }

    /// What came goes into the recording, if there is one.
    fn record(&self, kind: FrameKind, bytes: &[u8]) {
        if let Some(tap) = &self.plan.tap {
            tap.frame(self.plan.clock.now().wall, self.plan.socket, kind, bytes);
        }
    }

    async fn send(&self, socket: &mut WebSocket<&mut Stream>, command: Command) -> Result<(), End> {
        for frame in command.frames {
            if let Some(port) = &self.port {
                port.clock.frame_sent(port.number);
            }
            let message = match frame {
                WireMessage::Text(text) => Message::Text(text.into()),
                WireMessage::Binary(bytes) => Message::Binary(bytes.into()),
            };
            self.transmit(socket, message).await?;
        }
        Ok(())
    }

    async fn transmit(&self, socket: &mut WebSocket<&mut Stream>, message: Message) -> Result<(), End> {
        match timeout(self.plan.io_timeout, socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&format!("could not send: {error}"))),
            Err(_) => Err(self.lost("could not send: the server takes nothing")),
        }
    }

    /// Closes the socket and lets the server know, while the clock stands still.
    async fn farewell(&self, socket: &mut WebSocket<&mut Stream>) {
        if let Some(port) = &self.port {
            port.clock.frame_sent(port.number);
        }
        let goodbye = async {
            if socket.send(Message::Close(None)).await.is_ok() {
                while let Ok(Some(_)) = socket.next().await {}
            }
        };
        // A server that does not answer has been told all the same.
        let _ = timeout(CLOSING, goodbye).await;
    }

    /// Puts an event into the channel, unless the handle is dropped first.
    async fn say(&self, what: SocketNews, closing: &mut oneshot::Receiver<Busy>) -> Result<(), End> {
        let event = self.event(what);
        tokio::select! {
            biased;
            closed = closing => Err(End::Closed { _held: closed.unwrap_or_default() }),
            sent = self.events.send(event) => sent.map_err(|_| End::Unheard),
        }
    }

    fn event(&self, what: SocketNews) -> SocketEvent {
        SocketEvent {
            socket: self.plan.socket,
            port: self.port.as_ref().map_or(0, |port| port.number),
            received: self.plan.clock.now(),
            what,
            busy: self.plan.clock.busy(),
        }
    }

    async fn finish(mut self, end: End, closing: &mut oneshot::Receiver<Busy>) {
        let held = match end {
            End::News(news, _busy) => self.say(news, closing).await.err(),
            End::Closed { _held } => {
                // An engine that has ended waits for nothing.
                let _ = self.events.send(self.event(SocketNews::Closed)).await;
                Some(End::Closed { _held })
            }
            other @ End::Unheard => Some(other),
        };
        self.count_received();
        // The port is given back before the clock may move on.
        self.port = None;
        drop(held);
    }

    fn count_received(&self) {
        if let Some(port) = &self.port {
            port.clock.frame_received(port.number);
        }
    }

    fn no_socket(&self, none: NoSocket) -> End {
        match none {
            NoSocket::Refused(response) => {
                let mut failure = self.plan.codec.refused(&response);
                failure.message = self.plan.redactor.clean(&failure.message);
                End::News(SocketNews::Refused(failure), self.plan.clock.busy())
            }
            NoSocket::Lost(why) => self.lost(&why),
        }
    }

    fn lost(&self, why: &str) -> End {
        End::News(SocketNews::Lost(self.plan.redactor.clean(why)), self.plan.clock.busy())
    }

    fn read_text(&self, text: &str) -> Events {
        let mut events = Vec::new();
        self.plan.codec.decode(&WireMessage::Text(text.to_owned()), &mut events);
        events.iter_mut().for_each(|event| redact(&self.plan.redactor, event));
        Events::from(events)
    }
}

/// TCP and TLS. The port is known to the clock before the handshake, so before the server can send anything.
async fn dial_up(plan: &SocketPlan, port: &mut Option<Port>) -> Result<Stream, NoSocket> {
    let stream = dial::connect(&plan.address, plan.io_timeout).await?;
    let number = stream.local_addr().map_err(|error| NoSocket::Lost(format!("could not connect: {error}")))?.port();
    plan.clock.socket_opened(number);
    *port = Some(Port { number, clock: Arc::clone(&plan.clock) });
    match timeout(plan.io_timeout, dial::encrypt(&plan.address, stream)).await {
        Ok(encrypted) => encrypted,
        Err(_) => Err(NoSocket::Lost("the server does not answer the TLS handshake".into())),
    }
}

/// A port the clock counts frames on, for as long as this lives.
struct Port {
    number: u16,
    clock: Arc<dyn Clock>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.clock.socket_closed(self.number);
    }
}
