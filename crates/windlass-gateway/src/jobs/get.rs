//! `GET /v1/namespaces/{namespace}/jobs/{name}`: one job, whole.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use windlass_core::{Job, JobKey};

use crate::Shared;
use crate::refusal::Refusal;

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<Json<Job>, Refusal> {
    Ok(Json(shared.gateway.jobs.get(&key).await?))
}
