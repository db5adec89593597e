//! The bounds of a job on a cluster. Pure.

use windlass_core::plan::next_parallelism;
use windlass_core::{Error, Function, FunctionSpec, Job, JobLimits, JobSpec, QueueSpec};

use crate::attempt::pod_template::pod_template;

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
