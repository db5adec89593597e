//! `DELETE /v1/namespaces/{namespace}/jobs/{name}`: ends and forgets a job.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use windlass_core::JobKey;

use crate::protocol::error::ApiError;
use crate::state::GatewayState;

pub(crate) async fn delete_job(
    State(state): State<Arc<GatewayState>>,
    Extension(key): Extension<JobKey>,
) -> Result<StatusCode, ApiError> {
    state.gateway.jobs.delete(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}
