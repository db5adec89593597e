//! One connection, from its accept to its close.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, header};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::connection_limit::{BusyGuard, ConnectionSlot};
use super::shutdown::Shutdown;
use super::slow_client::SlowClientTimeout;
use super::tls::{Tls, TlsConnection};
use crate::protocol::address::PeerAddress;
use crate::protocol::limits::ServerLimits;
use crate::protocol::limits::{MAX_HEAD_BYTES, MAX_HEADERS};

/// What a connection gets from its server.
#[derive(Clone)]
pub(super) struct ConnectionSettings {
    pub(super) router: Router,
    pub(super) limits: ServerLimits,
    pub(super) shutdown: Shutdown,
    pub(super) tls: Option<Tls>,
    /// The turns of those who ask again and again without a known caller: at most so many at a time.
    pub(super) turns: Arc<Semaphore>,
}

/// Most of those that are answered at a time. The others wait in line, so that they slow no newcomer.
pub(super) const TURNS: usize = 8;

/// One connection, from its accept to its close.
pub(super) async fn serve(
    socket: TcpStream,
    peer: IpAddr,
    slot: Arc<ConnectionSlot>,
    settings: ConnectionSettings,
) {
    // An event is a few packets that should be sent at once. If this fails, they are sent later.
    drop(socket.set_nodelay(true));
    match &settings.tls {
        None => serve_http(socket, peer, slot, settings).await,
        // Apart, so that a connection without it does not take the memory for it.
        Some(tls) => {
            let secured = Box::pin(tls_handshake(tls, socket, &slot, &settings)).await;
            if let Some(stream) = secured {
                Box::pin(serve_http(stream, peer, slot, settings)).await;
            }
        }
    }
}

/// The handshake. It is bounded in time like a request's head, and does not keep the
/// connection from being evicted.
async fn tls_handshake(
    tls: &Tls,
    socket: TcpStream,
    slot: &ConnectionSlot,
    settings: &ConnectionSettings,
) -> Option<TlsConnection> {
    let handshake = tokio::time::timeout(settings.limits.handshake, tls.accept(socket));
    tokio::select! {
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%error, "handshake"),
            Err(_) => tracing::debug!("a handshake took too long"),
        },
        () = slot.evicted() => {}
        () = settings.shutdown.clone().started() => {}
    }
    None
}

async fn serve_http<S>(
    socket: S,
    peer: IpAddr,
    slot: Arc<ConnectionSlot>,
    settings: ConnectionSettings,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ConnectionSettings { router, limits, shutdown, turns, .. } = settings;
    let service = service_fn({
        let slot = slot.clone();
        move |mut request: Request<Incoming>| {
            let (busy, waits) = slot.begin_request();
            let line = waits.then(|| turns.clone());
            request.extensions_mut().insert(PeerAddress(peer));
            request.extensions_mut().insert(slot.clone());
            let request = request.map(|body| RequestBody { body, slot: slot.clone() });
            Box::pin(answer(router.clone(), request, line, busy, slot.clone()))
        }
    });
    let io = TokioIo::new(SlowClientTimeout::new(socket, limits.stalled_write, slot.clone()));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    let mut shutdown = std::pin::pin!(shutdown.started());
    let mut is_ending = false;
    loop {
        tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection");
                }
                break;
            }
            () = slot.evicted() => {
                if slot.accept_eviction() {
                    return;
                }
            }
            () = &mut shutdown, if !is_ending => {
                is_ending = true;
                // hyper closes no connection that has not had its first request.
                if slot.is_idle() {
                    return;
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    tokio::select! {
        () = linger(connection.into_parts().io.into_inner().into_socket()) => {}
        () = slot.evicted() => {}
    }
}

async fn answer(
    router: Router,
    request: Request<RequestBody>,
    line: Option<Arc<Semaphore>>,
    busy: BusyGuard,
    slot: Arc<ConnectionSlot>,
) -> Result<Response<ResponseBody>, Infallible> {
    // One request at a turn: whoever sends many at once waits in line with the others.
    if let Some(line) = line
        && let Ok(turn) = line.acquire_owned().await
    {
        slot.hold_turn(turn);
    }
    tokio::task::yield_now().await;
    let response = router.oneshot(request).await?;
    slot.end_turn();
    // An answer of unknown length tells what happens, perhaps for hours. It is not for a client that may be gone.
    let has_length = response.headers().contains_key(header::CONTENT_LENGTH)
        || response.body().size_hint().exact().is_some();
    let client_closed: Option<Pin<Box<dyn Future<Output = ()> + Send>>> =
        (!has_length).then(|| Box::pin(async move { slot.client_closed().await }) as Pin<Box<_>>);
    Ok(response.map(|body| ResponseBody { body, client_closed, _busy: busy }))
}

/// The body of a request. It tells its connection when more of it is awaited than was read.
struct RequestBody {
    body: Incoming,
    slot: Arc<ConnectionSlot>,
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            self.slot.await_request(cx);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Closes so that the last answer arrives: a socket that is closed while bytes of a refused body
/// are unread sends a reset, and the reset may overtake the answer that says why.
async fn linger(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    const LIMIT: Duration = Duration::from_secs(1);
    const MOST_BYTES: usize = 1024 * 1024;
    let drain = async {
        socket.shutdown().await?;
        let mut unread = [0; 8 * 1024];
        let mut left = MOST_BYTES;
        while left > 0 {
            match socket.read(&mut unread).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whether it went well or not, this is the end.
    drop(tokio::time::timeout(LIMIT, drain).await);
}

/// The body of an answer. It keeps its connection busy until its last byte is handed over.
struct ResponseBody {
    body: Body,
    /// When it ends at its next pause.
    client_closed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _busy: BusyGuard,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match &mut self.client_closed {
            Some(closed) => closed.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
