//! `GET /v1/namespaces/{namespace}/jobs/{name}/explain`: where a job's time went, and what it waits for.

use axum::Json;
use jiff::Timestamp;
use windlass_core::JobKey;
use windlass_core::explain::{Explanation, explain};

use crate::middleware::path_target::Target;
use crate::protocol::error::ApiError;

pub(crate) async fn explain_job(
    Target { state, of: key, .. }: Target<JobKey>,
) -> Result<Json<Explanation>, ApiError> {
    let job = state.gateway.jobs.get(&key).await?;
    Ok(Json(explain(&job, Timestamp::now())))
}
