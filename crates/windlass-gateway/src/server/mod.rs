//! The server: sockets, their bounds and their end.
//!
//! Not `axum::serve`, which installs no timer (hyper's header timeout is inert without one), has
//! no bound on connections and waits for ever for a stream of events.

mod connection;
mod crowd;
mod stall;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ending::Ending;
use crate::{Gateway, Limits};
use crowd::Crowd;

/// Serves until `shutdown` is done. Then no connection is accepted any more, streams and waits
/// end, running requests have [`Limits::drain`](crate::Limits::drain) to end, and what is left is
/// cut off.
///
/// Errors: none of a single connection; the result is there for a listener that cannot be used.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: impl Future,
) -> io::Result<()> {
    let limits = gateway.limits.clone();
    serve_router(listener, limits, shutdown, |ending| crate::router_until(gateway, ending)).await
}

/// The same for any router.
pub(crate) async fn serve_router(
    listener: TcpListener,
    limits: Limits,
    shutdown: impl Future,
    router: impl FnOnce(Ending) -> axum::Router,
) -> io::Result<()> {
    listener.local_addr()?;
    let (end, ending) = watch::channel(false);
    let ending = Ending::when(ending);
    let router = router(ending.clone());
    let crowd = Arc::new(Crowd::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let socket_and_seat = async || {
        // The seat second: nobody has to leave before there is somebody who needs the place.
        let (socket, _) = listener.accept().await?;
        Ok::<_, io::Error>((socket, crowd.seat().await))
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
            Ok((socket, seat)) => {
                let (router, limits, ending) = (router.clone(), limits.clone(), ending.clone());
                connections.spawn(connection::serve(socket, seat, router, limits, ending));
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
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
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
