//! `POST /v1/namespaces/{namespace}/jobs/{name}/cancel`: asks for a job's end.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use windlass_core::JobKey;

use super::response::{finished_or_accepted, job_response, waited_response};
use super::wait::{permitted_wait, wait_until_finished};
use crate::protocol::bearer::BearerToken;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// 202 with the job that is asked to end, 200 when it has ended. With `Prefer: wait=N` the answer
/// waits for the end.
pub(crate) async fn cancel_job(
    State(state): State<Arc<GatewayState>>,
    Extension(key): Extension<JobKey>,
    Extension(token): Extension<BearerToken>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wait = permitted_wait(&state, &token, &key.namespace, &headers).await?;
    let cancelled = state.gateway.jobs.cancel(&key);
    let job = within(state.gateway.limits.request, cancelled).await??;
    Ok(match wait {
        Some(limit) => waited_response(&wait_until_finished(&state, &token, job, limit).await?.job),
        None => job_response(finished_or_accepted(&job), &job),
    })
}
