//! Taking a new job in: checked against what is there, and one job for each `Idempotency-Key`.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;
use windlass_core::idempotency::{self, Key};
use windlass_core::job::MAX_INPUT_BYTES;
use windlass_core::jobs::{Submission, Verb};
use windlass_core::parse::{self, Unread};
use windlass_core::validate::{validate, validate_name};
use windlass_core::{Error, Function, Job, JobKey, JobSpec, JobStatus, Problem, Queue, name};

use crate::guard::{self, Token};
use crate::problem::Kind;
use crate::refusal::Refusal;
use crate::{Shared, functions};

/// When to try a queue again that is full, where nobody can say better.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// Looks at the job of a key, each followed by a try to create it. A second is needed when another
/// request under the key was first, a third when that job was deleted since.
const LOOKS: u32 = 3;

/// A job that somebody wants.
pub(crate) struct Wanted {
    name: Option<String>,
    spec: JobSpec,
    /// Of a request under a key.
    request_sha256: Option<String>,
}

/// A job that was taken in.
pub(crate) struct Accepted {
    pub(crate) job: Job,
    /// An earlier request under the same key has created it.
    pub(crate) is_replay: bool,
}

/// The key of a request, where it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<Key>, Refusal> {
    let wrong = |why: &str| Refusal::new(Kind::Key, format!("Idempotency-Key {why}"));
    let mut lines = headers.get_all("idempotency-key").iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => Key::parse(line.as_bytes()).map(Some).map_err(wrong),
        _ => Err(wrong("is given twice")),
    }
}

impl Wanted {
    /// Reads the fields of a spec, and beside them the job's name.
    pub(crate) fn read(mut body: Value, key: Option<&Key>) -> Result<Self, Refusal> {
        let wrong = |pointer: &str, message: &str| {
            Refusal::from(Unread::Misshapen(vec![Problem::at(pointer, message)]))
        };
        let Some(fields) = body.as_object_mut() else {
            return Err(wrong("", "must be an object: the fields of a job's spec"));
        };
        let name = match fields.remove("name") {
            None | Some(Value::Null) => None,
            Some(Value::String(_)) if key.is_some() => {
                return Err(wrong("/name", "is computed from the Idempotency-Key; leave out one"));
            }
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(wrong("/name", "must be a string")),
        };
        let request_sha256 = key.map(|_| idempotency::digest(&body));
        let mut spec: JobSpec = parse::value_of(body)?;
        if spec.input_bytes().len() > MAX_INPUT_BYTES {
            return Err(Refusal::new(
                Kind::TooLarge,
                format!("an input has at most {MAX_INPUT_BYTES} bytes of compact JSON"),
            ));
        }
        if key.is_some() {
            idempotency::keep(&mut spec);
        }
        Ok(Self { name: key.map(Key::job_name).or(name), spec, request_sha256 })
    }

    /// Takes the job in, or finds the one that was taken in under the same key. Nothing of a
    /// repetition is checked but that it is one: queues may be full and functions gone by now.
    pub(crate) async fn accept(
        self,
        shared: &Shared,
        token: &Token,
        namespace: &str,
    ) -> Result<Accepted, Refusal> {
        let Self { name, spec, request_sha256 } = self;
        let namespace = namespace.to_owned();
        let submission = Submission { namespace, name, spec, request_sha256 };
        let (Some(name), Some(request)) = (&submission.name, &submission.request_sha256) else {
            let job = create(shared, submission).await?;
            return Ok(Accepted { job, is_replay: false });
        };
        let place = JobKey::new(&submission.namespace, name);
        for _ in 0..LOOKS {
            match shared.gateway.jobs.get(&place).await {
                Ok(job) if idempotency::is_of_request(&job, request) => {
                    return again(shared, token, job).await;
                }
                Ok(_) => {
                    let why = "another request had this Idempotency-Key; take another key";
                    return Err(Refusal::new(Kind::KeyReused, why));
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            match create(shared, submission.clone()).await {
                // Another request under the key was first.
                Err(Error::Conflict(_)) => {}
                created => return Ok(Accepted { job: created?, is_replay: false }),
            }
        }
        let why = "the job of this Idempotency-Key comes and goes";
        Err(Error::unavailable(why).into())
    }
}

/// The job of an earlier request, as far as the caller may see it: one who may submit but not read is
/// told no more than at first.
async fn again(shared: &Shared, token: &Token, mut job: Job) -> Result<Accepted, Refusal> {
    if !guard::may_also(shared, token, Verb::Get, &job.metadata.namespace).await? {
        job.status = JobStatus::default();
    }
    Ok(Accepted { job, is_replay: true })
}

/// Checks a job against what is there, all problems at once, and hands it to the world.
async fn create(shared: &Shared, submission: Submission) -> Result<Job, Error> {
    let Submission { namespace, name, spec, .. } = &submission;
    let mut problems = Vec::new();
    let mut full = false;
    if let Some(Err(Error::Invalid(found))) = name.as_deref().map(validate_name) {
        problems.extend(found);
    }
    match function_of(shared, namespace, spec).await? {
        Err(problem) => problems.push(problem),
        Ok(function) => {
            let queue = match name::problem(spec.queue()) {
                None => shared.gateway.jobs.queue(namespace, spec.queue()).await?,
                Some(_) => None, // validate says so
            };
            full = queue.as_ref().is_some_and(is_full);
            let queue = queue.as_ref().map(|queue| &queue.spec);
            match validate(spec, &function.spec, queue) {
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
