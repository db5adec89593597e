//! Whether a job can run, and within which bounds. Pure: everything was fetched before.

use windlass_core::status::reasons;
use windlass_core::{Error, Function, Job, JobLimits, QueueSpec};

use super::fetch::Fetched;

/// What a job is found to be.
pub(crate) struct Validated {
    /// Its bounds, or why it cannot run.
    pub(crate) limits: Result<JobLimits, Error>,
    /// The whole job, where it was fetched.
    pub(crate) whole: Option<Job>,
    /// What a job that was accepted before, and needs CPUs now, lacks: a reason and a sentence.
    pub(crate) missing: Option<(&'static str, String)>,
}

/// Validates the whole job where it was fetched, otherwise the job as the cache has it.
pub(crate) fn validate(job: &Job, fetched: &mut Fetched) -> Validated {
    let (function, queue) = (fetched.function.as_ref(), fetched.queue.as_ref());
    let was_accepted = job.status.phase.is_some();
    let missing = (fetched.needs_cpus && was_accepted)
        .then(|| missing_requirement(job, function, queue))
        .flatten();
    let (limits, whole) = match fetched.whole.take() {
        Some(Ok(whole)) => (validate_whole(&whole, function, queue), Some(whole)),
        Some(Err(malformed)) => (Err(malformed), None),
        None => (validate_without_input(job, function, queue), None),
    };
    Validated { limits, whole, missing }
}

/// The bounds of a whole job, input and all.
pub(crate) fn validate_whole(
    job: &Job,
    function: Option<&Function>,
    queue: Option<&QueueSpec>,
) -> Result<JobLimits, Error> {
    let function = runnable(job, function)?;
    windlass_core::validate(&job.spec, &function.spec, queue)
}

/// The bounds of a job as the cache has it, without its input.
pub(crate) fn validate_without_input(
    job: &Job,
    function: Option<&Function>,
    queue: Option<&QueueSpec>,
) -> Result<JobLimits, Error> {
    let function = runnable(job, function)?;
    windlass_core::validate::validate_without_input(&job.spec, &function.spec, queue)
}

/// What a job that was accepted before lacks now: a reason and a sentence. `None` when it lacks nothing, or when the job
/// itself has become invalid.
fn missing_requirement(
    job: &Job,
    function: Option<&Function>,
    queue: Option<&QueueSpec>,
) -> Option<(&'static str, String)> {
    let Some(function) = function else {
        let why = format!("function {:?} was there and is gone", job.spec.function);
        return Some((reasons::FUNCTION_NOT_FOUND, why));
    };
    let why = validate_without_input(job, Some(function), queue).err()?;
    // If it is invalid without the queue as well, the queue is not to blame.
    windlass_core::validate::validate_without_input(&job.spec, &function.spec, None).ok()?;
    Some((reasons::QUEUE_TOO_SMALL, why.to_string()))
}

/// The function, if it can run on a cluster.
fn runnable<'a>(job: &Job, function: Option<&'a Function>) -> Result<&'a Function, Error> {
    let Some(function) = function else {
        return Err(Error::NotFound { kind: Function::KIND, name: job.spec.function.clone() });
    };
    if function.spec.image.is_none() {
        return Err(Error::Conflict(format!(
            "function {:?} has no image and cannot run on a cluster",
            job.spec.function
        )));
    }
    Ok(function)
}
