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

use crate::metrics::Meters;
use crate::refusal::Refusal;
use crate::{ServerLimits, Tls, guard, health, server};

/// What is served.
#[derive(Clone)]
pub struct Operations {
    /// What is measured.
    pub meters: Arc<Meters>,
    /// Who may read the metrics.
    pub access: Arc<dyn Access>,
    /// Whether the process is ready.
    pub ready: watch::Receiver<bool>,
    /// With it only TLS is spoken.
    pub tls: Option<Tls>,
}

impl Operations {
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
    operations: Operations,
    shutdown: impl Future,
) -> io::Result<()> {
    let limits = ServerLimits { connections: CONNECTIONS, ..ServerLimits::default() };
    server::serve_router(listener, limits, operations.tls.clone(), shutdown, |_| router(operations))
        .await
}

fn router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { Refusal::no_such_path() })
        .with_state(operations)
}

async fn ready(State(operations): State<Operations>) -> Result<&'static str, Refusal> {
    if *operations.ready.borrow() {
        Ok("ready\n")
    } else {
        Err(Refusal::unavailable("not ready", Duration::from_secs(1)))
    }
}

async fn metrics(State(operations): State<Operations>, request: Request) -> Response {
    match guard::may_read_metrics(operations.access.as_ref(), request.headers()).await {
        Ok(()) => operations.meters.exposition(),
        Err(refusal) => refusal.into_response(),
    }
}
