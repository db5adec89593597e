//! The server: sockets, their bounds and their end.
//!
//! Not `axum::serve`, which installs no timer (hyper's header timeout is inert without one), has
//! no bound on connections and waits for ever for a stream of events.

mod connection;
mod crowd;
mod stall;
mod tls;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ending::Ending;
use crate::{Gateway, ServerLimits};
use connection::Door;
use crowd::Crowd;

pub use tls::{Tls, TlsError};

/// Serves until `shutdown` is done. Then no connection is accepted any more, streams and waits
/// end, running requests have [`ServerLimits::drain`](crate::ServerLimits::drain) to end, and what is left is
/// cut off.
///
/// Errors: none of a single connection; the result is there for a listener that cannot be used.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: impl Future,
) -> io::Result<()> {
    let (limits, tls) = (gateway.limits.clone(), gateway.tls.clone());
    let router = |ending| crate::router_until(gateway, ending);
    serve_router(listener, limits, tls, shutdown, router).await
}

/// The same for any router.
pub(crate) async fn serve_router(
    listener: TcpListener,
    limits: ServerLimits,
    tls: Option<Tls>,
    shutdown: impl Future,
    router: impl FnOnce(Ending) -> axum::Router,
) -> io::Result<()> {
    listener.local_addr()?;
    let (end, ending) = watch::channel(false);
    let ending = Ending::when(ending);
    let crowd = Arc::new(Crowd::new(limits.connections));
    let drain = limits.drain;
    // Dropped with this call, and so ended.
    let mut following = JoinSet::new();
    if let Some(tls) = tls.clone() {
        following.spawn(tls.follow());
    }
    let door = Door { router: router(ending.clone()), limits, ending, tls };
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let socket_and_seat = async || {
        // The seat second: nobody has to leave before there is somebody who needs the place.
        let (socket, peer) = listener.accept().await?;
        Ok::<_, io::Error>((socket, peer.ip(), crowd.seat().await))
    };
    'accept: loop {
        let mut arrival = std::pin::pin!(socket_and_seat());
        let arrived = loop {
            tokio::select! {
                _ = &mut shutdown => break 'accept,
                Some(ended) = connections.join_next() => log_panic(ended),
                arrived = &mut arrival => break arrived,
            }
        };
        match arrived {
            Ok((socket, peer, seat)) => {
                connections.spawn(connection::serve(socket, peer, seat, door.clone()));
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    end.send_replace(true);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "cutting off requests that did not end");
    }
    connections.shutdown().await;
    Ok(())
}

/// A connection that broke before it was accepted is nothing; no more descriptors is a reason to
/// let some be closed.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    ) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A request's panic is answered; this is one of a stream, after its answer began.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection panicked");
    }
}
