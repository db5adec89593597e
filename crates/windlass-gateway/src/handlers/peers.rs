//! `POST /v1/peers/progress`: progress that another replica of the gateway has got from a worker.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use windlass_core::parse;

use crate::live::outbox::ReportBatch;
use crate::protocol::body;
use crate::protocol::error::ApiError;
use crate::protocol::limits::MAX_BATCH_BYTES;
use crate::state::GatewayState;

/// Answers 204. Progress that is older than the one that is known here changes nothing, nor does a report
/// that has no progress or cannot be read. Nothing is sent on.
pub(crate) async fn share_peer_progress(
    State(state): State<Arc<GatewayState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let limit = state.gateway.limits.body;
    let bytes = body::read_json(&headers, body, MAX_BATCH_BYTES, limit).await?;
    let batch: ReportBatch = parse::message(&bytes)?;
    for report in batch.reports() {
        state.gateway.live.hear(&report);
    }
    Ok(StatusCode::NO_CONTENT)
}
