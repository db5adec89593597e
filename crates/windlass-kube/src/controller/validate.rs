//! Whether a job can run, and within which bounds. Pure: everything was fetched before.

use jiff::Timestamp;
use windlass_core::plan::next_parallelism;
use windlass_core::status::reasons;
use windlass_core::validate::validate_without_input;
use windlass_core::{
    Error, Function, FunctionSpec, Job, JobLimits, JobSpec, QueueSpec, validate as core_validate,
};

use super::fetch::Fetched;
use super::job_before_function::{is_new, refused, why_it_waits};
use crate::attempt::pod_template::pod_template;

/// What a job is found to be.
pub(crate) struct Validated {
    /// Its bounds, or why it cannot run.
    pub(crate) limits: Result<JobLimits, Error>,
    /// The whole job, where it was fetched.
    pub(crate) whole: Option<Job>,
    /// What a job that needs CPUs now lacks, and waits for: a reason and a sentence.
    pub(crate) missing: Option<(&'static str, String)>,
}

/// Validates the whole job where it was fetched, otherwise the job as the cache has it, without its input.
pub(crate) fn validate(job: &Job, fetched: &mut Fetched, now: Timestamp) -> Validated {
    let whole = fetched.whole.take();
    let (function, queue) = (fetched.function.as_ref(), fetched.queue.as_ref());
    let (whole, limits) = match whole {
        Some(Err(malformed)) => (None, Err(malformed)),
        Some(Ok(whole)) => {
            let limits = limits(&whole, function, queue, core_validate);
            (Some(whole), limits)
        }
        None => (None, limits(job, function, queue, validate_without_input)),
    };
    let missing = match &limits {
        Err(_) if fetched.needs_cpus && is_new(job) => {
            let is_refused = fetched.is_function_refused;
            function.is_none().then(|| why_it_waits(job, is_refused, now)).flatten()
        }
        // The right may be revoked between two attempts.
        Err(_) if fetched.needs_cpus && function.is_none() && fetched.is_function_refused => {
            Some(refused(job))
        }
        Err(why) if fetched.needs_cpus => missing_requirement(job, function, why),
        _ => None,
    };
    Validated { limits, whole, missing }
}

/// The bounds of a job, as core finds them with or without the input. No more CPUs than those for which a node may have
/// room.
pub(crate) fn limits(
    job: &Job,
    function: Option<&Function>,
    queue: Option<&QueueSpec>,
    core: fn(&JobSpec, &FunctionSpec, Option<&QueueSpec>) -> Result<JobLimits, Error>,
) -> Result<JobLimits, Error> {
    let Some(function) = function else {
        return Err(Error::NotFound { kind: Function::KIND, name: job.spec.function.clone() });
    };
    if function.spec.image.is_none() {
        return Err(Error::Conflict(format!(
            "function {:?} has no image and cannot run on a cluster",
            job.spec.function
        )));
    }
    if let Err(why) = pod_template(&function.spec) {
        return Err(Error::Conflict(format!("function {:?}: {why}", job.spec.function)));
    }
    let limits = core(&job.spec, &function.spec, queue)?;
    Ok(JobLimits { parallelism: next_parallelism(job, &limits), ..limits })
}

/// What a job that was accepted before lacks now, if that is why it cannot run: a reason and a sentence. `None` when the
/// job itself has become invalid.
fn missing_requirement(
    job: &Job,
    function: Option<&Function>,
    why: &Error,
) -> Option<(&'static str, String)> {
    let Some(function) = function else {
        let why = format!("function {:?} was there and is gone", job.spec.function);
        return Some((reasons::FUNCTION_DELETED, why));
    };
    // If its numbers are invalid without the queue as well, the job itself is to blame. A function that lost its image
    // is told as QueueTooSmall, too.
    validate_without_input(&job.spec, &function.spec, None).ok()?;
    Some((reasons::QUEUE_TOO_SMALL, why.to_string()))
}
