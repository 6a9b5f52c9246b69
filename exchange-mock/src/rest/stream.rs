//! A TCP stream that can be told to end in a reset.
//!
//! hyper owns the stream while it serves a connection and closes it politely. A fault wants the other way: whoever holds
//! the [`Reset`] asks, and when the stream is dropped the kernel sends RST and throws away what was not sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Asks for the reset of one stream. Clones are the same handle.
#[derive(Clone, Debug)]
pub(super) struct Reset(Arc<AtomicBool>);

impl Reset {
    /// From now on the stream ends in a reset.
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct Resettable {
    stream: TcpStream,
    reset: Reset,
}

impl Resettable {
    pub(super) fn new(stream: TcpStream) -> (Self, Reset) {
        let reset = Reset(Arc::new(AtomicBool::new(false)));
        (Self { stream, reset: reset.clone() }, reset)
    }

    fn is_asked(&self) -> bool {
        self.reset.0.load(Ordering::Relaxed)
    }
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.is_asked() {
            // A connection that is gone already cannot be reset: the client has lost its answer all the same.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A polite end (FIN) would come before the reset.
        if self.is_asked() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
