//! `GET /metrics`: everything that is measured, for whoever may read metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::state::GatewayState;

pub(crate) async fn read_metrics(State(state): State<Arc<GatewayState>>) -> Response {
    state.gateway.meters.exposition()
}
