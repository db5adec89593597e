//! Effects, no decisions: what an attempt is told, and its end.

use windlass_core::assignment::{Assignment, Confinement, Order, ReportTo};
use windlass_core::{AttemptNumber, Cpus, FunctionSpec, Job, JobLimits};

use crate::attempt::Handle;
use crate::observe::Trace;

/// What an attempt's worker is told. Where its input and its files are, is the worker's own.
pub(crate) fn order(
    job: &Job,
    limits: &JobLimits,
    function: &FunctionSpec,
    directory: Option<String>,
    attempt: AttemptNumber,
    cpus: Cpus,
    places: Places,
) -> Order {
    let Places { results, log, confinement } = places;
    let assignment = Assignment {
        job: job.metadata.name.clone(),
        job_uid: job.metadata.uid.clone(),
        attempt,
        parallelism: cpus,
        timeout_seconds: limits.timeout_seconds,
        max_result_bytes: limits.max_result_bytes,
        content_type: function.content_type.clone(),
        input: String::new(),
        work: String::new(),
        report: ReportTo::Socket,
        results: Some(results),
        log,
        confinement,
        termination_message: None,
    };
    let command = function.command.iter().chain(&function.args).cloned().collect();
    Order { assignment, command, env: function.env.clone(), directory }
}

/// Where an attempt leaves things, and what holds it.
pub(crate) struct Places {
    pub(crate) results: String,
    pub(crate) log: Option<String>,
    pub(crate) confinement: Option<Confinement>,
}

/// Ends what runs of an attempt. When it is gone, nothing happens.
pub(crate) fn remove(trace: &mut Trace, handle: Option<&mut Handle>) {
    trace.stopping = true;
    if let Some(handle) = handle {
        handle.stop();
    }
}
