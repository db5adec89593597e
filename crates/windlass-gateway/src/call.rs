//! `POST /v1/namespaces/{namespace}/functions/{name}/call`: a function as a function. The body is its
//! input, the answer is its result.
//!
//! It is a job like any other, with a Location. A caller who goes away does not cancel it: with an
//! `Idempotency-Key` the same call gives its result later.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde_json::{Map, Value};
use windlass_core::jobs::{Denied, Verb};
use windlass_core::{Error, Job, JobKey, Phase, Problem, name, parse};

use crate::guard::{self, Token, in_time};
use crate::jobs::accept::{self, Accepted, Wanted};
use crate::jobs::{located, path, replayed, result, waited_for};
use crate::limits::MAX_SUBMIT_BYTES;
use crate::problem::Kind;
use crate::query::{pairs, unknown, wrong};
use crate::refusal::Refusal;
use crate::wait::Waited;
use crate::{Shared, body, prefer, wait};

/// 200 with the result's bytes, described as by `GET .../result`, once the job has ended; 202 with the
/// job when it has not within `Prefer: wait=N` or the longest wait of the server. An end without a
/// result is a problem with the job's `failure`, and so is a job that is deleted meanwhile: 404.
///
/// The answer shows what becomes of the job, so a caller who may not read jobs may not call.
pub(crate) async fn call(
    State(shared): State<Arc<Shared>>,
    Extension(function): Extension<JobKey>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    let limits = &shared.gateway.limits;
    let JobKey { namespace, name } = function;
    for verb in [Verb::Get, Verb::Watch] {
        let may = guard::may_also(&shared, &token, verb, &namespace);
        if !in_time(limits.request, may).await?? {
            return Err(Denied::Forbidden(verb).into());
        }
    }
    let key = accept::key(&headers)?;
    let mut fields = parameters(&uri)?;
    let bytes = body::json(&headers, body, MAX_SUBMIT_BYTES, limits.body).await?;
    let input = parse::submitted(&bytes)?;
    if !input.is_object() {
        let problem = Problem::at("", "must be an object: the function's input");
        return Err(Refusal::invalid(vec![problem]));
    }
    fields.insert("function".into(), name.clone().into());
    fields.insert("input".into(), input);
    let wanted = Wanted::read(Value::Object(fields), key.as_ref())?;
    let accepted = in_time(limits.request, wanted.accept(&shared, &token, &namespace));
    let Accepted { job, is_replay } = match accepted.await? {
        Ok(accepted) => accepted,
        Err(refusal) => {
            let found = shared.gateway.jobs.function(&namespace, &name);
            let is_missing =
                matches!(in_time(limits.request, found).await?, Err(Error::NotFound { .. }));
            return Err(of_a_call(refusal, is_missing));
        }
    };

    let preferred = prefer::wait(&headers, limits.wait);
    let longest = preferred.unwrap_or(limits.wait);
    let Waited { job, is_deleted } = wait::until_finished(&shared, &token, job, longest).await?;
    if is_deleted {
        let why = format!("job {:?} was deleted before its end", job.metadata.name);
        return Err(Refusal::new(Kind::NotFound, why).at(path(&job.key())));
    }
    let mut answer = match (job.status.is_finished(), preferred) {
        (true, _) => outcome(&shared, &job).await?,
        (false, Some(_)) => waited_for(&job),
        (false, None) => located(StatusCode::ACCEPTED, &job),
    };
    if let Ok(path) = HeaderValue::from_str(&path(&job.key())) {
        answer.headers_mut().insert(header::LOCATION, path);
    }
    if preferred.is_some() {
        let applied = HeaderName::from_static("preference-applied");
        answer.headers_mut().insert(applied, HeaderValue::from_static("wait"));
    }
    Ok(if is_replay { replayed(answer) } else { answer })
}

/// What a job that has ended gives to its caller.
async fn outcome(shared: &Shared, job: &Job) -> Result<Response, Refusal> {
    if job.status.phase == Some(Phase::Succeeded) {
        return in_time(shared.gateway.limits.request, result::whole(shared, &job.key())).await?;
    }
    Ok(Refusal::without_result(job, path(&job.key())).into_response())
}

/// The fields of a job's spec that the query gives.
fn parameters(uri: &Uri) -> Result<Map<String, Value>, Refusal> {
    let mut fields = Map::new();
    for (key, value) in pairs(uri)? {
        let field: Value = match key.as_str() {
            "parallelism" | "minParallelism" | "timeoutSeconds" | "retries" => {
                let number = value.parse::<u32>();
                number.map_err(|_| wrong(&key, "a number that is not negative"))?.into()
            }
            "priority" => {
                value.parse::<i32>().map_err(|_| wrong(&key, "a number from -1000 to 1000"))?.into()
            }
            "queue" => match name::problem(&value) {
                None => value.into(),
                Some(why) => return Err(wrong(&key, why)),
            },
            _ => {
                let known = "parallelism, minParallelism, queue, priority, timeoutSeconds, retries";
                return Err(unknown(key, known));
            }
        };
        if fields.insert(key.clone(), field).is_some() {
            return Err(wrong(&key, "is given twice"));
        }
    }
    Ok(fields)
}

/// A refused job in the words of a call: the document that was sent is the input, the function, which
/// may be missing, is in the path and the rest in the query.
fn of_a_call(refusal: Refusal, is_missing: bool) -> Refusal {
    if let Some(missing) = refusal.problem_at("/function").filter(|_| is_missing) {
        return Refusal::new(Kind::NotFound, missing);
    }
    refusal.with_problems(|problem| match problem.pointer.strip_prefix("/input") {
        Some(inner) => Problem { pointer: inner.to_owned(), message: problem.message },
        None => {
            let named = problem.pointer.trim_start_matches('/');
            Problem::at("", format!("{named}: {}", problem.message))
        }
    })
}
