//! `/v1/namespaces/{namespace}/jobs`: one file for each thing that can be done with jobs.

pub(crate) mod accept;
pub(crate) mod cancel;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod result;
pub(crate) mod submit;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use windlass_core::{Job, JobKey};

/// Where a job is.
pub(crate) fn path(key: &JobKey) -> String {
    format!("/v1/namespaces/{}/jobs/{}", key.namespace, key.name)
}

/// The whole job, with its Location.
pub(crate) fn located(status: StatusCode, job: &Job) -> Response {
    let mut response = (status, Json(job)).into_response();
    if let Ok(path) = HeaderValue::from_str(&path(&job.key())) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// An answer about a job that an earlier request under the same `Idempotency-Key` has created.
pub(crate) fn replayed(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    response
}

/// The same for a job that was waited for: 200 when it has ended, 202 when it has not.
pub(crate) fn waited_for(job: &Job) -> Response {
    let mut response = located(ended_or_accepted(job), job);
    response
        .headers_mut()
        .insert(HeaderName::from_static("preference-applied"), HeaderValue::from_static("wait"));
    response
}

fn ended_or_accepted(job: &Job) -> StatusCode {
    if job.status.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED }
}
