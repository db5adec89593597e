//! A port that callers of the API do not reach, however many they are: whether the process lives, whether it is ready, and
//! its metrics. The controller has no other port.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use windlass_core::jobs::{Access, Jobs};

use crate::handlers::health;
use crate::metrics::Meters;
use crate::middleware::permissions;
use crate::protocol::error::ApiError;
use crate::protocol::limits::ServerLimits;
use crate::server::listener;
use crate::server::tls::Tls;
use crate::state::Gateway;

/// What is served.
#[derive(Clone)]
pub struct OperationsServer {
    /// What is measured.
    pub meters: Arc<Meters>,
    /// Who may read the metrics.
    pub access: Arc<dyn Access>,
    /// Who knows whether the process is ready.
    pub ready: Readiness,
    /// With it only TLS is spoken.
    pub tls: Option<Tls>,
}

impl OperationsServer {
    /// For a controller, without TLS.
    pub fn new(registry: Registry, access: Arc<dyn Access>, ready: watch::Receiver<bool>) -> Self {
        let ready = Readiness::Told(ready);
        Self { meters: Arc::new(Meters::beside(registry)), access, ready, tls: None }
    }

    /// Beside a gateway, of which it says what the gateway says itself.
    pub fn beside(gateway: &Gateway) -> Self {
        Self {
            meters: Arc::clone(&gateway.meters),
            access: Arc::clone(&gateway.access),
            ready: Readiness::Asked(Arc::clone(&gateway.jobs)),
            tls: gateway.tls.clone(),
        }
    }
}

/// How it is known whether a process is ready.
#[derive(Clone)]
pub enum Readiness {
    /// It says so itself.
    Told(watch::Receiver<bool>),
    /// The back end behind it answers.
    Asked(Arc<dyn Jobs>),
}

impl Readiness {
    async fn is_ready(&self) -> bool {
        match self {
            Self::Told(ready) => *ready.borrow(),
            Self::Asked(jobs) => health::back_end_answers(jobs.as_ref()).await,
        }
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
    if operations.ready.is_ready().await { Ok("ready\n") } else { Err(health::not_ready()) }
}

async fn read_metrics(State(operations): State<OperationsServer>, request: Request) -> Response {
    match permissions::require_metrics_reader(operations.access.as_ref(), request.headers()).await {
        Ok(()) => operations.meters.exposition(),
        Err(error) => error.into_response(),
    }
}
