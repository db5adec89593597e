//! `POST /v1/namespaces/{namespace}/jobs`: a new job.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use windlass_core::parse;

use super::job_request::{JobRequest, LARGE_INPUT, SubmittedJob, idempotency_key};
use super::response::{job_response, mark_replayed, waited_response};
use super::wait::{permitted_wait, wait_until_finished};
use crate::handlers::form::{Form, is_form};
use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::body;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::limits::MAX_SUBMIT_BYTES;
use crate::protocol::problem::ProblemKind;

/// 201 with the job as it was accepted. With `Prefer: wait=N`, 200 with the finished job, or 202
/// when it has not finished by then. Waiting shows what becomes of the job, so a caller who may
/// submit but not watch is answered at once, the preference not applied.
///
/// With an `Idempotency-Key` that a job has already, 200 with that job as it is and
/// `Idempotency-Replayed: true`; it can be waited for as well.
pub(crate) async fn submit_job(
    Target { state, of: Namespace(namespace), token, connection }: Target<Namespace>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let limits = &state.gateway.limits;
    let key = idempotency_key(&headers)?;
    let fields = if is_form(&headers) {
        Form::of_request(&state, &token, &namespace, &headers, body)?.job().await?
    } else {
        let read = body::read_json(&headers, body, MAX_SUBMIT_BYTES, limits.body).await;
        let bytes = read.map_err(|why| why.with_advice(ProblemKind::TooLarge, LARGE_INPUT))?;
        parse::submitted(&bytes)?
    };
    let request = JobRequest::read(fields, key.as_ref())?;
    let caller = Target { state: state.clone(), of: Namespace(namespace), token, connection };
    submit_and_answer(caller, &headers, request).await
}

/// Submits the job that is asked for and tells of it, after its end where that is preferred.
pub(super) async fn submit_and_answer(
    Target { state, of: Namespace(namespace), token, connection }: Target<Namespace>,
    headers: &HeaderMap,
    request: JobRequest,
) -> Result<Response, ApiError> {
    let limits = &state.gateway.limits;
    let wait = permitted_wait(&state, &token, &namespace, headers).await?;
    let request = request.waited_for(wait);
    let submitted = within(limits.request, request.submit(&state, &token, &namespace));
    let SubmittedJob { job, is_replay } = submitted.await??;
    let answer = match wait {
        Some(limit) => {
            let connection = connection.as_deref();
            let waited = wait_until_finished(&state, &token, job, limit, connection).await?;
            waited_response(&waited.job)
        }
        None if is_replay => job_response(StatusCode::OK, &job),
        None => job_response(StatusCode::CREATED, &job),
    };
    Ok(if is_replay { mark_replayed(answer) } else { answer })
}
