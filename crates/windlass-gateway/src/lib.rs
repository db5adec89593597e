//! REST over [`Jobs`](windlass_core::jobs::Jobs), and the reports of workers.
//!
//! In: a listener, a back end behind [`Jobs`](windlass_core::jobs::Jobs), who may do what behind
//! [`Access`](windlass_core::jobs::Access), and on a cluster the place where workers report,
//! [`Reports`](windlass_core::jobs::Reports). Out: HTTP/1.1 with JSON resources, server-sent
//! events, and problem documents (RFC 9457) for everything that is refused.
//!
//! The folders are layers; each imports only from those before it:
//!
//! 1. `protocol`: what HTTP asks for. Bodies, ranges, queries, tokens, bounds, errors.
//! 2. `server`: sockets, TLS, the bound on connections, the shutdown. It serves any router.
//! 3. `metrics`, and `live`: progress on its way from workers to streams.
//! 4. `state`: what every handler has at hand.
//! 5. `middleware`: what every request passes before its handler, from the outside in: `response`
//!    (headers of every answer, panics, the log line), `origin`, `guard` (who may do what).
//! 6. `handlers`: one for each route. A handler reads, asks core, asks the back end and answers; it
//!    decides nothing that core can decide.
//! 7. `openapi`: what the API is, made from the table of routes and the words for each.
//! 8. [`routes`]: the one table of routes, and the router that is made from it.
//!
//! Architecture Invariants: a route that is not in [`routes::ROUTES`] does not exist, and one in
//! the table cannot be reached past its guard. Nothing is read before its size and time are
//! bounded. No token is logged, stored or shown.
//!
//! Deliberately absent: HTTP/2 (an ingress has it), cookies and sessions, CORS,
//! decompression of requests, any word about Kubernetes.

mod handlers;
mod live;
pub mod metrics;
mod middleware;
mod openapi;
pub mod operations_server;
mod protocol;
pub mod routes;
mod server;
mod state;

use std::future::Future;
use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;

pub use live::live_progress::LiveProgress;
pub use live::peers::{PeerTrust, Peers, share_progress};
pub use protocol::limits::{RequestRates, ServerLimits};
pub use protocol::secret::{SECRET_DIGITS, random_secret};
pub use server::bind::listen;
pub use server::tls::{Tls, TlsError};
pub use state::Gateway;

/// The OpenAPI document of all the routes.
pub fn openapi_document() -> &'static Value {
    &routes::API_DOCUMENT.document
}

/// Serves until `shutdown` is done. Then no connection is accepted any more, streams and waits
/// end, running requests have [`ServerLimits::drain`] to end, and what is left is cut off.
///
/// Errors: none of a single connection; the result is there for a listener that cannot be used.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: impl Future,
) -> io::Result<()> {
    let (limits, tls) = (gateway.limits.clone(), gateway.tls.clone());
    let activity = Arc::clone(&gateway.activity);
    let router = |signal| routes::router(gateway, signal);
    server::listener::serve(listener, limits, tls, shutdown, activity, router).await
}
