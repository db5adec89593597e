//! A server for a process that answers no callers, such as the controller: whether it lives, whether
//! it is ready, and its metrics.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use windlass_core::jobs::Access;

use crate::handlers::health;
use crate::metrics::Meters;
use crate::middleware::permissions;
use crate::protocol::error::ApiError;
use crate::protocol::limits::ServerLimits;
use crate::server::listener;
use crate::server::tls::Tls;

/// What is served.
#[derive(Clone)]
pub struct OperationsServer {
    /// What is measured.
    pub meters: Arc<Meters>,
    /// Who may read the metrics.
    pub access: Arc<dyn Access>,
    /// Whether the process is ready.
    pub ready: watch::Receiver<bool>,
    /// With it only TLS is spoken.
    pub tls: Option<Tls>,
}

impl OperationsServer {
    /// For these, without TLS.
    pub fn new(registry: Registry, access: Arc<dyn Access>, ready: watch::Receiver<bool>) -> Self {
        Self { meters: Arc::new(Meters::beside(registry)), access, ready, tls: None }
    }
}

/// Connections of an operations server: some probes and scrapers.
const CONNECTIONS: usize = 32;

/// Serves `/healthz`, `/readyz` and `/metrics` until `shutdown` is done.
pub async fn serve(
    listener: TcpListener,
    operations: OperationsServer,
    shutdown: impl Future,
) -> io::Result<()> {
    let limits = ServerLimits { connections: CONNECTIONS, ..ServerLimits::default() };
    let (tls, activity) = (operations.tls.clone(), Arc::default());
    listener::serve(listener, limits, tls, shutdown, activity, |_| router(operations)).await
}

fn router(operations: OperationsServer) -> Router {
    Router::new()
        .route("/healthz", get(health::is_alive))
        .route("/readyz", get(is_ready))
        .route("/metrics", get(read_metrics))
        .fallback(|| async { ApiError::no_such_path() })
        .with_state(operations)
}

async fn is_ready(State(operations): State<OperationsServer>) -> Result<&'static str, ApiError> {
    if *operations.ready.borrow() {
        Ok("ready\n")
    } else {
        Err(ApiError::unavailable("not ready", Duration::from_secs(1)))
    }
}

async fn read_metrics(State(operations): State<OperationsServer>, request: Request) -> Response {
    match permissions::require_metrics_reader(operations.access.as_ref(), request.headers()).await {
        Ok(()) => operations.meters.exposition(),
        Err(error) => error.into_response(),
    }
}
