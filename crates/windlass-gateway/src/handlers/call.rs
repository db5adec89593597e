//! `POST /v1/namespaces/{namespace}/functions/{name}/call`: a function as a function. The body is its
//! input, the answer is its result.
//!
//! It is a job like any other, with a Location. A caller who goes away does not cancel it: with an
//! `Idempotency-Key` the same call gives its result later.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde_json::{Map, Value, json};
use windlass_core::jobs::{Denied, Permission, Verb};
use windlass_core::{Error, Job, JobKey, Phase, Problem, labels, name};

use super::form::{Form, is_form};
use super::functions::usable_function;
use super::input::read_input;
use super::jobs::job_request::{JobRequest, SubmittedJob, idempotency_key};
use super::jobs::response::{job_path, job_response, mark_replayed, waited_response};
use super::jobs::result::whole_result;
use super::jobs::wait::{WaitedJob, wait_until_finished};
use crate::middleware::path_target::Target;
use crate::middleware::permissions::is_also_permitted;
use crate::protocol::bearer::BearerToken;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::prefer;
use crate::protocol::problem::ProblemKind;
use crate::protocol::query::{invalid_parameter, parameters, unknown_parameter};
use crate::state::GatewayState;

/// 200 with the result's bytes, described as by `GET .../result`, once the job has ended; 202 with the
/// job when it has not within `Prefer: wait=N` or the longest wait of the server. An end without a
/// result is a problem with the job's `failure`, and so is a job that is deleted meanwhile: 404.
///
/// The answer shows what becomes of the job, so a caller who may not read jobs may not call.
pub(crate) async fn call_function(
    Target { state, of: function, token, connection }: Target<JobKey>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, ApiError> {
    let limits = &state.gateway.limits;
    for verb in [Verb::Get, Verb::Watch] {
        let permitted = is_also_permitted(&state, &token, verb, &function.namespace);
        if !within(limits.request, permitted).await?? {
            return Err(Denied::Forbidden(Permission::jobs(verb)).into());
        }
    }
    let request = read_request(&state, &token, &function, &headers, &uri, body).await?;
    let preferred = prefer::wait_of(&headers, limits.wait);
    let longest = preferred.unwrap_or(limits.wait);
    let request = request.waited_for(Some(longest));
    let SubmittedJob { job, is_replay } = submit(&state, &token, &function, request).await?;

    let connection = connection.as_deref();
    let waited = wait_until_finished(&state, &token, job, longest, connection).await?;
    let WaitedJob { job, is_deleted } = waited;
    if is_deleted {
        let why = format!("job {:?} was deleted before its end", job.metadata.name);
        return Err(ApiError::new(ProblemKind::NotFound, why).with_instance(job_path(&job.key())));
    }
    let mut answer = match (job.status.is_finished(), preferred) {
        (true, _) => outcome(&state, &token, &job).await?,
        (false, Some(_)) => waited_response(&job),
        (false, None) => job_response(StatusCode::ACCEPTED, &job),
    };
    if let Ok(path) = HeaderValue::from_str(&job_path(&job.key())) {
        answer.headers_mut().insert(header::LOCATION, path);
    }
    if preferred.is_some() {
        let applied = HeaderName::from_static("preference-applied");
        answer.headers_mut().insert(applied, HeaderValue::from_static("wait"));
    }
    Ok(if is_replay { mark_replayed(answer) } else { answer })
}

/// The job that a call is: the body is its input, the query has other fields of its spec.
async fn read_request(
    state: &GatewayState,
    token: &BearerToken,
    function: &JobKey,
    headers: &HeaderMap,
    uri: &Uri,
    body: Body,
) -> Result<JobRequest, ApiError> {
    let key = idempotency_key(headers)?;
    let mut fields = spec_fields(uri)?;
    fields.insert("function".into(), function.name.as_str().into());
    if is_form(headers) {
        let form = Form::of_request(state, token, &function.namespace, headers, body)?;
        fields.extend(form.inputs(&function.name).await?);
    } else {
        let (field, value) = read_input(state, token, function, headers, body).await?.into_field();
        fields.insert(field.into(), value);
    }
    JobRequest::read(Value::Object(fields), key.as_ref())
}

/// Submits the job. An error is in the words of a call.
async fn submit(
    state: &GatewayState,
    token: &BearerToken,
    function: &JobKey,
    request: JobRequest,
) -> Result<SubmittedJob, ApiError> {
    let limit = state.gateway.limits.request;
    match within(limit, request.submit(state, token, &function.namespace)).await? {
        Ok(submitted) => Ok(submitted),
        Err(error) => {
            let found = usable_function(state, token, &function.namespace, &function.name);
            let is_missing = matches!(within(limit, found).await?, Err(Error::NotFound { .. }));
            Err(in_words_of_a_call(error, is_missing))
        }
    }
}

/// What a job that has ended gives to its caller.
async fn outcome(
    state: &GatewayState,
    token: &BearerToken,
    job: &Job,
) -> Result<Response, ApiError> {
    if job.status.phase == Some(Phase::Succeeded) {
        return within(state.gateway.limits.request, whole_result(state, token, &job.key()))
            .await?;
    }
    Ok(ApiError::without_result(job, job_path(&job.key())).into_response())
}

/// The fields of a job that the query gives.
fn spec_fields(uri: &Uri) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::new();
    for (key, value) in parameters(uri)? {
        let field: Value = match key.as_str() {
            "parallelism" | "minParallelism" | "timeoutSeconds" | "retries" => {
                let number = value.parse::<u32>();
                number.map_err(|_| invalid_parameter(&key, "a number that is not negative"))?.into()
            }
            "priority" => value
                .parse::<i32>()
                .map_err(|_| invalid_parameter(&key, "a number from -1000 to 1000"))?
                .into(),
            "queue" => match name::problem(&value) {
                None => value.into(),
                Some(why) => return Err(invalid_parameter(&key, why)),
            },
            "labels" => match labels::parse(&value) {
                Ok(labels) => json!(labels),
                Err(why) => return Err(invalid_parameter(&key, &why)),
            },
            _ => {
                let known =
                    "parallelism, minParallelism, queue, priority, timeoutSeconds, retries, labels";
                return Err(unknown_parameter(key, known));
            }
        };
        fields.insert(key, field);
    }
    Ok(fields)
}

/// The error of a job in the words of a call: the document that was sent is the input; the function,
/// which may be missing, is in the path, and the rest in the query.
fn in_words_of_a_call(error: ApiError, is_missing: bool) -> ApiError {
    if let Some(missing) = error.problem_at("/function").filter(|_| is_missing) {
        return ApiError::new(ProblemKind::NotFound, missing);
    }
    error.with_problems(|problem| match problem.pointer.strip_prefix("/input") {
        Some(inner) if inner.is_empty() || inner.starts_with('/') => {
            Problem { pointer: inner.to_owned(), message: problem.message }
        }
        _ => {
            let named = problem.pointer.trim_start_matches('/');
            Problem::at("", format!("{named}: {}", problem.message))
        }
    })
}
