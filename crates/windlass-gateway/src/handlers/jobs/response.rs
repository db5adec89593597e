//! Answers that show a job.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use windlass_core::{Job, JobKey};

/// Where a job is.
pub(crate) fn job_path(key: &JobKey) -> String {
    format!("/v1/namespaces/{}/jobs/{}", key.namespace, key.name)
}

/// The whole job, with its Location.
pub(crate) fn job_response(status: StatusCode, job: &Job) -> Response {
    let mut response = (status, Json(job)).into_response();
    if let Ok(path) = HeaderValue::from_str(&job_path(&job.key())) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// An answer about a job that an earlier request under the same `Idempotency-Key` has created.
pub(crate) fn mark_replayed(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    response
}

/// The whole job, after a wait: 200 when it has ended, 202 when it has not.
pub(crate) fn waited_response(job: &Job) -> Response {
    let mut response = job_response(finished_or_accepted(job), job);
    response
        .headers_mut()
        .insert(HeaderName::from_static("preference-applied"), HeaderValue::from_static("wait"));
    response
}

/// 200 for a job that has ended, else 202.
pub(crate) fn finished_or_accepted(job: &Job) -> StatusCode {
    if job.status.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED }
}
