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
    let heard = state.gateway.live.usage.heard_of(&job);
    Ok(Json(match heard {
        Some(heard) if !job.status.is_finished() => heard,
        // What is stored is all; what was heard may lack the last of it.
        heard => match (state.gateway.jobs.usage(&job).await, heard) {
            (Ok(stored), _) if !stored.samples.is_empty() => stored,
            (_, Some(heard)) => heard,
            (stored, None) => stored?,
        },
    }))
}
