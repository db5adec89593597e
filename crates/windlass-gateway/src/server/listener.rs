//! The accept loop: a listener, its connections and their drain at the end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::{self, ConnectionSettings, TURNS};
use super::connection_limit::ConnectionLimiter;
use super::shutdown::Shutdown;
use super::tls::Tls;
use crate::protocol::limits::ServerLimits;

/// Serves the router until `stop` is done. Then no connection is accepted any more, streams and
/// waits end, running requests have [`ServerLimits::drain`] to end, and what is left is cut off.
///
/// `activity` is told of each answer that was handed over, and of each connection that was closed.
///
/// Errors: none of a single connection; the result is there for a listener that cannot be used.
pub(crate) async fn serve(
    listener: TcpListener,
    limits: ServerLimits,
    tls: Option<Tls>,
    stop: impl Future,
    activity: Arc<Notify>,
    router: impl FnOnce(Shutdown) -> axum::Router,
) -> io::Result<()> {
    listener.local_addr()?;
    let (end, shutdown) = watch::channel(false);
    let shutdown = Shutdown::signalled_by(shutdown);
    let limiter = Arc::new(ConnectionLimiter::new(limits.connections, activity));
    let drain = limits.drain;
    // Dropped, and so ended, with this call.
    let mut reloading = JoinSet::new();
    if let Some(tls) = tls.clone() {
        reloading.spawn(tls.reload_on_change());
    }
    let turns = Arc::new(Semaphore::new(TURNS));
    let router = router(shutdown.clone());
    let settings = ConnectionSettings { router, limits, shutdown, tls, turns };
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let accept_with_slot = async || {
        // The slot second: no connection is evicted before another one needs its slot.
        let (socket, peer) = listener.accept().await?;
        let peer = peer.ip();
        Ok::<_, io::Error>((socket, peer, limiter.acquire(peer).await))
    };
    'accept: loop {
        let mut arrival = std::pin::pin!(accept_with_slot());
        let arrived = loop {
            tokio::select! {
                _ = &mut stop => break 'accept,
                Some(ended) = connections.join_next() => log_panic(ended),
                arrived = &mut arrival => break arrived,
            }
        };
        match arrived {
            // Its address has all the connections that it may have, and they are being answered.
            Ok((_, peer, None)) => tracing::debug!(%peer, "too many connections of one address"),
            Ok((socket, peer, Some(slot))) => {
                connections.spawn(connection::serve(socket, peer, slot, settings.clone()));
            }
            Err(error) => pause_after_accept_error(&error).await,
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
async fn pause_after_accept_error(error: &io::Error) {
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
