//! `DELETE /v1/namespaces/{namespace}/jobs/{name}`: ends and forgets a job.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use windlass_core::JobKey;

use crate::Shared;
use crate::refusal::Refusal;

pub(crate) async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<StatusCode, Refusal> {
    shared.gateway.jobs.delete(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}
