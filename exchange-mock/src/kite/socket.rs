//! One WebSocket's task: frames out of its queue, messages in to the core.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use nirantar_brokers::WireMessage;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::core::{CloseHow, SocketId};
use super::driver::{Driver, Outgoing, ToSocket};

/// Longest message a client may send: subscribing to 3,000 instruments takes some 30 kB.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// How long a client may take to answer a close.
const GOODBYE: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Serves the socket until either side ends it.
pub(super) async fn serve(
    driver: Arc<Driver>,
    socket: SocketId,
    port: u16,
    upgrade: OnUpgrade,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    if let Ok(upgraded) = upgrade.await {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        run(&driver, socket, port, stream, &mut queue).await;
    }
    driver.closed(socket);
}

async fn run(driver: &Driver, socket: SocketId, port: u16, mut stream: Stream, queue: &mut mpsc::Receiver<Outgoing>) {
    loop {
        tokio::select! {
            outgoing = queue.recv() => {
                // No queue: the driver dropped this socket because its client does not read.
                let Some(Outgoing { what, busy }) = outgoing else { return };
                match what {
                    ToSocket::Frame(message) => {
                        if stream.send(into_frame(message)).await.is_err() {
                            return;
                        }
                    }
                    ToSocket::Close(CloseHow::Politely) => {
                        // A failure means that the client was faster.
                        if stream.close(None).await.is_ok() {
                            drop(busy);
                            part(driver, port, &mut stream).await;
                        }
                        return;
                    }
                    ToSocket::Close(CloseHow::Abruptly) => return,
                }
                drop(busy);
            }
            incoming = stream.next() => {
                let _busy = driver.clock.busy();
                match incoming {
                    Some(Ok(Message::Text(text))) => {
                        driver.with(|exchange, now| exchange.message(socket, text.as_str(), now));
                        driver.clock.frame_received(port);
                    }
                    Some(Ok(Message::Binary(_))) => driver.clock.frame_received(port),
                    Some(Ok(Message::Close(_))) => {
                        driver.closed(socket);
                        driver.clock.frame_received(port);
                        // Sends the answer to the close.
                        let _ = stream.flush().await;
                        return;
                    }
                    // Pings: tungstenite has put the pong in the queue; it leaves with the flush.
                    Some(Ok(_)) => {
                        if stream.flush().await.is_err() {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        if !matches!(error, Error::ConnectionClosed | Error::Io(_)) {
                            tracing::debug!(port, %error, "a client broke the protocol");
                        }
                        return;
                    }
                    None => return,
                }
            }
        }
    }
}

/// Reads on until the client has answered the close: a connection that is torn down with unread bytes in it takes the
/// close frame with it.
async fn part(driver: &Driver, port: u16, stream: &mut Stream) {
    let rest = async {
        while let Some(Ok(message)) = stream.next().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                driver.clock.frame_received(port);
            }
        }
    };
    // Real time: it is the network that is waited for. A client that never answers is left.
    let _ = tokio::time::timeout(GOODBYE, rest).await;
}

fn into_frame(message: WireMessage) -> Message {
    match message {
        WireMessage::Text(text) => Message::text(text),
        WireMessage::Binary(bytes) => Message::binary(bytes),
    }
}
