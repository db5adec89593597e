//! The step `validate`: what a job asks for, against what this machine has. Pure.

use windlass_core::plan::AdmissionDecision;
use windlass_core::status::reasons;
use windlass_core::{Cpus, Error, Function, Job, JobLimits, JobSpec, Problem, validate};

use crate::functions::Functions;

/// The limits of a new job. What no grant can ever meet is refused now, and does not wait for ever.
pub(crate) fn job_limits(
    functions: &Functions,
    cpus: Cpus,
    spec: &JobSpec,
) -> Result<JobLimits, Error> {
    let Some(function) = functions.get(&spec.function) else {
        return Err(no_function(spec));
    };
    let queue = functions.queue(spec.queue()).map(|queue| &queue.spec);
    let mut limits = validate(spec, &function.spec, queue)?;
    if spec.parallelism.is_none() {
        // The function's default is for machines of any size.
        limits.parallelism = limits.parallelism.min(cpus);
        limits.min_parallelism = limits.min_parallelism.min(limits.parallelism);
    }
    if limits.min_parallelism > cpus {
        let requested = limits.min_parallelism;
        let pointer =
            if spec.min_parallelism.is_some() { "/minParallelism" } else { "/parallelism" };
        let message = format!("{requested} is not allowed; this server has {cpus} CPUs");
        return Err(Error::Invalid(vec![Problem::at(pointer, message)]));
    }
    limits.parallelism = limits.parallelism.min(cpus);
    Ok(limits)
}

/// Why an accepted job waits whose function is not there any more. It may be so for a moment, as while manifests are
/// copied, or until the next start of the server.
pub(super) fn missing_function(job: &Job, functions: &Functions) -> Option<AdmissionDecision> {
    let name = &job.spec.function;
    functions.get(name).is_none().then(|| AdmissionDecision::Blocked {
        reason: reasons::FUNCTION_DELETED,
        why: format!("function {name:?} was there and is gone"),
        place: None,
    })
}

fn no_function(spec: &JobSpec) -> Error {
    Error::NotFound { kind: Function::KIND, name: spec.function.clone() }
}
