//! What an attempt is built from.

use windlass_core::{AttemptNumber, Cpus, FunctionSpec, Job, JobLimits};

use super::report_endpoint::ReportEndpoint;
use super::worker_source::WorkerSource;

/// An attempt that is to be created.
#[derive(Clone, Copy)]
pub(crate) struct NewAttempt<'a> {
    /// Its job, with the input.
    pub(crate) job: &'a Job,
    /// The bounds of the job.
    pub(crate) limits: &'a JobLimits,
    /// The function of the job.
    pub(crate) function: &'a FunctionSpec,
    /// 1 for the first attempt.
    pub(crate) number: AttemptNumber,
    /// CPUs that it was granted.
    pub(crate) cpus: Cpus,
    /// Where its worker reports to.
    pub(crate) report: &'a ReportEndpoint,
    /// What brings the worker to its pod; `None` where the function's image has it.
    pub(crate) worker: Option<&'a WorkerSource>,
    /// The process that manages its batch Job, and makes its pod; `None` for the cluster's Job controller.
    pub(crate) maker: Option<&'a str>,
}
