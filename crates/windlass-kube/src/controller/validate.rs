//! Whether a job can run, and within which bounds. Pure: everything was fetched before.

use jiff::Timestamp;
use windlass_core::validate::validate_without_input;
use windlass_core::{Error, Job, JobLimits, validate as core_validate};

use super::fetch::Fetched;
use super::limits::limits;
use super::missing::find_missing;

/// What a job is found to be.
pub(crate) struct Validated {
    /// Its bounds, or why it cannot run. While it waits for what is missing, those of a job without its function.
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
    match limits.as_ref().err().and_then(|why| find_missing(job, fetched, why, now)) {
        Some(missing) => {
            let limits = Ok(JobLimits::without_function(&job.spec));
            Validated { limits, whole: None, missing: Some(missing) }
        }
        None => Validated { limits, whole, missing: None },
    }
}
