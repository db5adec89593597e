//! The step `validate`: what a job asks for, against what this machine has. Pure.

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

/// What an accepted job lacks since its function was removed.
pub(super) fn missing_requirement(job: &Job, functions: &Functions) -> Option<Error> {
    functions.get(&job.spec.function).is_none().then(|| no_function(&job.spec))
}

fn no_function(spec: &JobSpec) -> Error {
    Error::NotFound { kind: Function::KIND, name: spec.function.clone() }
}
