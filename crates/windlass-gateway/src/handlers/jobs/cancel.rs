//! `POST /v1/namespaces/{namespace}/jobs/{name}/cancel`: asks for a job's end.

use axum::response::Response;
use http::{HeaderMap, Uri};

use super::response::{finished_or_accepted, job_response, waited_response};
use super::wait::{permitted_wait, wait_until_finished};
use windlass_core::JobKey;

use crate::middleware::path_target::Target;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::query::only_uid;

/// `?uid=`: 409 when another job has the name.
///
/// 202 with the job that is asked to end, 200 when it has ended. With `Prefer: wait=N` the answer
/// waits for the end.
pub(crate) async fn cancel_job(
    Target { state, of: key, token, connection }: Target<JobKey>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let uid = only_uid(&uri)?;
    let wait = permitted_wait(&state, &token, &key.namespace, &headers).await?;
    let cancelled = state.gateway.jobs.cancel(&key, uid.as_deref());
    let job = within(state.gateway.limits.request, cancelled).await??;
    Ok(match wait {
        Some(limit) => {
            let connection = connection.as_deref();
            let waited = wait_until_finished(&state, &token, job, limit, connection).await?;
            waited_response(&waited.job)
        }
        None => job_response(finished_or_accepted(&job), &job),
    })
}
