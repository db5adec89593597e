//! `POST /v1/drain`: the server takes nothing new, and ends once nothing runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use windlass_core::jobs::Draining;

use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// 202 with what still runs, and what waits for the next server. Asked again it tells how far it is.
pub(crate) async fn drain_server(
    State(state): State<Arc<GatewayState>>,
) -> Result<(StatusCode, Json<Draining>), ApiError> {
    let drain = state.gateway.drain.as_ref().ok_or_else(ApiError::no_such_path)?;
    Ok((StatusCode::ACCEPTED, Json(drain.drain().await?)))
}
