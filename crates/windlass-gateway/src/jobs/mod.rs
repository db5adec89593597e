//! `/v1/namespaces/{namespace}/jobs`: one file for each thing that can be done with jobs.

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
use windlass_core::Job;

/// The whole job, with its Location.
fn located(status: StatusCode, job: &Job) -> Response {
    let key = job.key();
    let path = format!("/v1/namespaces/{}/jobs/{}", key.namespace, key.name);
    let mut response = (status, Json(job)).into_response();
    if let Ok(path) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// The same for a job that was waited for: 200 when it has ended, 202 when it has not.
fn waited_for(job: &Job) -> Response {
    let mut response = located(ended_or_accepted(job), job);
    response
        .headers_mut()
        .insert(HeaderName::from_static("preference-applied"), HeaderValue::from_static("wait"));
    response
}

fn ended_or_accepted(job: &Job) -> StatusCode {
    if job.status.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED }
}
