//! `POST /v1/namespaces/{namespace}/jobs/{name}/retry`: the same job again.

use axum::response::Response;
use http::{HeaderMap, Uri};
use windlass_core::JobKey;
use windlass_core::jobs::{Denied, Permission, Verb};

use super::job_request::{JobRequest, idempotency_key};
use super::submit::submit_and_answer;
use crate::middleware::path_target::{Namespace, Target};
use crate::middleware::permissions::is_also_permitted;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::query::only_uid;

/// As a submission of the same spec and labels is answered; 409 while the job has not ended. A body is not read.
/// `?uid=`: 409 when another job has the name.
///
/// The new job shows what the old one was, so a caller who may not read jobs may not retry one.
pub(crate) async fn retry_job(
    Target { state, of: key, token, connection }: Target<JobKey>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let uid = only_uid(&uri)?;
    let permitted = is_also_permitted(&state, &token, Verb::Get, &key.namespace);
    if !within(state.gateway.limits.request, permitted).await?? {
        return Err(Denied::Forbidden(Permission::jobs(Verb::Get)).into());
    }
    let request = JobRequest::retry_of(&key.name, uid, idempotency_key(&headers)?.as_ref());
    let caller = Target { state, of: Namespace(key.namespace), token, connection };
    submit_and_answer(caller, &headers, request).await
}
