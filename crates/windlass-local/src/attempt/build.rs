//! A job and what it was granted -> the order for the attempt's worker. Pure.

use windlass_core::assignment::{Assignment, Confinement, Order, ReportTo, RunAs};
use windlass_core::{AttemptNumber, Cpus, FunctionSpec, Job, JobLimits};

/// Where an attempt is on this machine, and what holds it.
pub(crate) struct Placement {
    /// The function's working directory, if its manifest has one.
    pub(crate) directory: Option<String>,
    /// The directory of large results.
    pub(crate) results: String,
    pub(crate) log: Option<String>,
    pub(crate) confinement: Confinement,
    /// The data directory, where functions are kept out of it.
    pub(crate) hidden: Option<String>,
    /// The user that functions run as, if that is another.
    pub(crate) run_as: Option<RunAs>,
}

/// The order for one attempt. Where its input and its own files are is up to the worker that gets it.
pub(crate) fn order(
    job: &Job,
    limits: &JobLimits,
    function: &FunctionSpec,
    attempt: AttemptNumber,
    cpus: Cpus,
    placement: Placement,
) -> Order {
    let Placement { directory, results, log, confinement, hidden, run_as } = placement;
    let mut assignment = Assignment::new(job, limits, function, attempt, cpus, ReportTo::Socket);
    assignment.results = Some(results);
    assignment.log = log;
    assignment.confinement = Some(confinement);
    let command = function.command.iter().chain(&function.args).cloned().collect();
    Order { assignment, command, env: function.env.clone(), directory, hidden, run_as }
}
