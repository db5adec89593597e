//! `POST /v1/namespaces/{namespace}/jobs`: a new job.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use windlass_core::job::MAX_INPUT_BYTES;
use windlass_core::jobs::{Submission, Verb};
use windlass_core::parse::{self, Unread};
use windlass_core::validate::{validate, validate_name};
use windlass_core::{Error, Function, Job, JobSpec, Problem, Queue, name};

use super::{located, waited_for};
use crate::guard::{self, Namespace, Token, in_time};
use crate::limits::MAX_SUBMIT_BYTES;
use crate::problem::Kind;
use crate::refusal::Refusal;
use crate::{Shared, body, functions, prefer, wait};

/// When to try a queue again that is full, where nobody can say better.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// 201 with the job as it was accepted. With `Prefer: wait=N`, 200 with the finished job, or 202
/// when it has not finished by then. Waiting shows what becomes of the job, so a caller who may
/// submit but not watch is answered at once, the preference not applied.
pub(crate) async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let limits = &shared.gateway.limits;
    let bytes = body::json(&headers, body, MAX_SUBMIT_BYTES, limits.body).await?;
    let (name, spec) = read(&bytes)?;
    if spec.input_bytes().len() > MAX_INPUT_BYTES {
        return Err(Refusal::new(
            Kind::TooLarge,
            format!("an input has at most {MAX_INPUT_BYTES} bytes of compact JSON"),
        ));
    }
    let waits = match prefer::wait(&headers, limits.wait) {
        Some(limit) => {
            let may = guard::may_also(&shared, &token, Verb::Watch, &namespace);
            in_time(limits.request, may).await??.then_some(limit)
        }
        None => None,
    };
    let accepted = in_time(limits.request, accept(&shared, namespace, name, spec));
    let job = accepted.await??;
    Ok(match waits {
        Some(limit) => waited_for(&wait::until_finished(&shared, job, limit).await),
        None => located(StatusCode::CREATED, &job),
    })
}

/// The fields of a spec, and beside them the job's name.
fn read(bytes: &[u8]) -> Result<(Option<String>, JobSpec), Unread> {
    let mut body: Value = parse::json(bytes)?;
    let wrong = |pointer, message| Unread::Misshapen(vec![Problem::at(pointer, message)]);
    let Some(fields) = body.as_object_mut() else {
        return Err(wrong("", "must be an object: the fields of a job's spec"));
    };
    let name = match fields.remove("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(wrong("/name", "must be a string")),
    };
    Ok((name, parse::value_of(body)?))
}

/// Checks a job against what is there, all problems at once, and hands it to the world.
async fn accept(
    shared: &Shared,
    namespace: String,
    name: Option<String>,
    spec: JobSpec,
) -> Result<Job, Error> {
    let mut problems = Vec::new();
    let mut full = false;
    if let Some(Err(Error::Invalid(found))) = name.as_deref().map(validate_name) {
        problems.extend(found);
    }
    match function_of(shared, &namespace, &spec).await? {
        Err(problem) => problems.push(problem),
        Ok(function) => {
            let queue = match name::problem(spec.queue()) {
                None => shared.gateway.jobs.queue(&namespace, spec.queue()).await?,
                Some(_) => None, // validate says so
            };
            full = queue.as_ref().is_some_and(is_full);
            let queue = queue.as_ref().map(|queue| &queue.spec);
            match validate(&spec, &function.spec, queue) {
                Ok(_) => {}
                Err(Error::Invalid(found)) => problems.extend(found),
                Err(error) => return Err(error),
            }
        }
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    if full {
        let message = format!("queue {:?} is full", spec.queue());
        return Err(Error::Busy { message, retry_after: FULL_PAUSE });
    }
    let submission = Submission { namespace, name, spec };
    shared.gateway.jobs.submit(submission).await
}

/// Whether as many jobs wait in a queue as may. Where the world itself keeps the number, it decides.
fn is_full(queue: &Queue) -> bool {
    queue.status.is_some_and(|told| told.waiting >= queue.spec.max_queued)
}

/// The function that the job names, or what is wrong with that name.
async fn function_of(
    shared: &Shared,
    namespace: &str,
    spec: &JobSpec,
) -> Result<Result<Function, Problem>, Error> {
    let named = &spec.function;
    if let Some(why) = name::problem(named) {
        return Ok(Err(Problem::at("/function", format!("{named:?} {why}"))));
    }
    match shared.gateway.jobs.function(namespace, named).await {
        Ok(function) => Ok(Ok(function)),
        Err(Error::NotFound { .. }) => {
            let message = functions::unknown(shared, namespace, named).await?;
            Ok(Err(Problem::at("/function", message)))
        }
        Err(error) => Err(error),
    }
}
