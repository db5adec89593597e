//! A job and what it was granted -> the order for the attempt's worker. Pure.

use windlass_core::assignment::{Assignment, Confinement, Order, Program, ReportTo, RunAs};
use windlass_core::{AttemptNumber, Cpus, FunctionSpec, Job, JobLimits};

/// Where an attempt is on this machine, and what holds it.
pub(crate) struct Placement {
    /// The directory of large results.
    pub(crate) results: String,
    pub(crate) log: Option<String>,
    pub(crate) confinement: Confinement,
}

/// How a function is started on this machine.
pub(crate) fn program(
    function: &FunctionSpec,
    directory: Option<String>,
    hidden: Option<String>,
    run_as: Option<RunAs>,
) -> Program {
    let command = function.command.iter().chain(&function.args).cloned().collect();
    Program { command, env: function.env.clone(), directory, hidden, run_as }
}

/// The order for one attempt. Where its input and its own files are is up to the worker that gets it.
pub(crate) fn order(
    job: &Job,
    limits: &JobLimits,
    (function, program): (&FunctionSpec, Program),
    attempt: AttemptNumber,
    cpus: Cpus,
    placement: Placement,
) -> Order {
    let Placement { results, log, confinement } = placement;
    let mut assignment = Assignment::new(job, limits, function, attempt, cpus, ReportTo::Socket);
    assignment.results = Some(results);
    assignment.log = log;
    assignment.confinement = Some(confinement);
    Order { assignment, program, serves: false }
}
