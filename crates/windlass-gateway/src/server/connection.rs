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
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::crowd::{Busy, Seat};
use super::stall::Stall;
use super::tls::{Secured, Tls};
use crate::ServerLimits;
use crate::ending::Ending;
use crate::limits::{MAX_HEAD_BYTES, MAX_HEADERS};
use crate::rates::Peer;

/// What a connection needs of its server.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) router: Router,
    pub(super) limits: ServerLimits,
    pub(super) ending: Ending,
    pub(super) tls: Option<Tls>,
}

/// One connection, from its accept to its close.
pub(super) async fn serve(socket: TcpStream, peer: IpAddr, seat: Arc<Seat>, door: Door) {
    // An event is a few packets that should leave at once. Without it they leave later.
    drop(socket.set_nodelay(true));
    match &door.tls {
        None => speak(socket, peer, seat, door).await,
        // Apart, so that a connection without it does not take the memory for it.
        Some(tls) => {
            let secured = Box::pin(secure(tls, socket, &seat, &door)).await;
            if let Some(stream) = secured {
                Box::pin(speak(stream, peer, seat, door)).await;
            }
        }
    }
}

/// The handshake. It is bounded as a request's head is, and is no reason not to make room.
async fn secure(tls: &Tls, socket: TcpStream, seat: &Seat, door: &Door) -> Option<Secured> {
    let handshake = tokio::time::timeout(door.limits.handshake, tls.accept(socket));
    tokio::select! {
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%error, "handshake"),
            Err(_) => tracing::debug!("a handshake took too long"),
        },
        () = seat.asked_to_leave() => {}
        () = door.ending.clone().begun() => {}
    }
    None
}

async fn speak<S>(socket: S, peer: IpAddr, seat: Arc<Seat>, door: Door)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Door { router, limits, ending, .. } = door;
    let service = service_fn({
        let seat = seat.clone();
        move |mut request: Request<Incoming>| {
            let busy = seat.busy();
            request.extensions_mut().insert(Peer(peer));
            Box::pin(answer(router.clone(), request, busy))
        }
    });
    let io = TokioIo::new(Stall::new(socket, limits.stalled_write, seat.clone()));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    let mut ending = std::pin::pin!(ending.begun());
    let mut is_ending = false;
    loop {
        tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection");
                }
                break;
            }
            () = seat.asked_to_leave() => {
                if seat.leaves() {
                    return;
                }
            }
            () = &mut ending, if !is_ending => {
                is_ending = true;
                // hyper closes no connection that has not had its first request.
                if seat.is_idle() {
                    return;
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    tokio::select! {
        () = linger(connection.into_parts().io.into_inner().into_socket()) => {}
        () = seat.asked_to_leave() => {}
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    busy: Busy,
) -> Result<Response<Answer>, Infallible> {
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Answer { body, _busy: busy }))
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

/// An answer that keeps its connection busy until its last byte is handed over.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
