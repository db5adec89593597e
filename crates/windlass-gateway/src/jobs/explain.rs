//! `GET /v1/namespaces/{namespace}/jobs/{name}/explain`: where a job's time went, and what it waits for.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use windlass_core::JobKey;
use windlass_core::explain::{Explanation, explain};

use crate::Shared;
use crate::refusal::Refusal;

pub(crate) async fn explained(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<Json<Explanation>, Refusal> {
    let job = shared.gateway.jobs.get(&key).await?;
    Ok(Json(explain(&job, Timestamp::now())))
}
