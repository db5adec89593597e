//! `GET /v1/namespaces/{namespace}/jobs/{name}/explain`: where a job's time went, and what it waits for.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use windlass_core::JobKey;
use windlass_core::explain::{Explanation, explain};

use crate::protocol::error::ApiError;
use crate::state::GatewayState;

pub(crate) async fn explain_job(
    State(state): State<Arc<GatewayState>>,
    Extension(key): Extension<JobKey>,
) -> Result<Json<Explanation>, ApiError> {
    let job = state.gateway.jobs.get(&key).await?;
    Ok(Json(explain(&job, Timestamp::now())))
}
