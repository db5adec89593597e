//! `GET /v1/namespaces/{namespace}/jobs/{name}/explain`: where a job's time went, and what it waits for.

use std::time::Duration;

use axum::Json;
use jiff::Timestamp;
use tracing::debug;
use windlass_core::estimate::Estimate;
use windlass_core::explain::{Explanation, explain};
use windlass_core::{JobKey, Jobs};

use crate::middleware::path_target::Target;
use crate::protocol::error::ApiError;

/// Where the rest is known, nobody waits longer for an estimate.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn explain_job(
    Target { state, of: key, .. }: Target<JobKey>,
) -> Result<Json<Explanation>, ApiError> {
    let job = state.gateway.jobs.get(&key).await?;
    let mut explanation = explain(&job, Timestamp::now());
    if !job.status.is_finished() {
        explanation.estimate = estimated(&*state.gateway.jobs, &key).await;
    }
    Ok(Json(explanation))
}

/// What is estimated of a job. Nobody knows when it cannot be told in time.
async fn estimated(jobs: &dyn Jobs, key: &JobKey) -> Option<Estimate> {
    match tokio::time::timeout(PATIENCE, jobs.estimate(key)).await {
        Ok(Ok(estimate)) => estimate,
        Ok(Err(error)) => {
            debug!(%error, "nothing is estimated");
            None
        }
        Err(_) => {
            debug!("no estimate in time");
            None
        }
    }
}
