//! A timeout for clients that do not read: a socket whose peer must keep reading.
//!
//! hyper bounds the time of a request's head and nothing bounds the time of an answer: a client
//! that asks and never reads would hold its connection for ever. While bytes wait to be taken, the
//! connection is not idle: hyper is done with an answer's body long before its last byte is sent.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection_limit::{BusyGuard, ConnectionSlot};

pub(super) struct SlowClientTimeout<S> {
    socket: S,
    limit: Duration,
    /// Runs while bytes wait to be taken.
    waiting: Option<(Pin<Box<Sleep>>, BusyGuard)>,
    /// Whether the client has closed its side.
    has_ended: bool,
    slot: Arc<ConnectionSlot>,
}

impl<S> SlowClientTimeout<S> {
    pub(super) fn new(socket: S, limit: Duration, slot: Arc<ConnectionSlot>) -> Self {
        Self { socket, limit, waiting: None, has_ended: false, slot }
    }

    pub(super) fn into_socket(self) -> S {
        self.socket
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let (limit, slot) = (self.limit, &self.slot);
        let (over, _) =
            self.waiting.get_or_insert_with(|| (Box::pin(sleep(limit)), slot.keep_busy()));
        over.as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SlowClientTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_ended {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
            self.has_ended = buffer.filled().len() == before && buffer.remaining() > 0;
            if !self.has_ended {
                return Poll::Ready(Ok(()));
            }
        }
        // hyper gives up an answer when it reads the end, and the client may only have nothing more to ask.
        self.slot.close_client_side(cx).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SlowClientTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    // TLS keeps what the socket does not take, and says so here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
