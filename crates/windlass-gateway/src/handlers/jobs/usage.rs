//! `GET /v1/namespaces/{namespace}/jobs/{name}/usage`: what a job uses, over its time.

use axum::Json;
use windlass_core::JobKey;
use windlass_core::usage_over_time::UsageOverTime;

use crate::middleware::path_target::Target;
use crate::protocol::error::ApiError;

pub(crate) async fn read_usage(
    Target { state, of: key, .. }: Target<JobKey>,
) -> Result<Json<UsageOverTime>, ApiError> {
    let job = state.gateway.jobs.get(&key).await?;
    Ok(Json(match state.gateway.live.usage.of(&job) {
        Some(heard) => heard,
        None => state.gateway.jobs.usage(&job).await?,
    }))
}
