//! How long a pod may wait for a node that has room. Pure but for what admission knows.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::Job;
use windlass_core::plan::{Attempt, AttemptState, gives_back_at, may_take_fewer};
use windlass_core::report::is_settled;

use super::context::Context;

/// How long the pod of this attempt may wait. Where the job has no ComputeQueue, nobody waits for its CPUs: then its pod
/// waits until the start deadline, unless the job may be tried with fewer.
pub(super) fn unschedulable_timeout(
    job: &Job,
    attempt: &Attempt,
    ctx: &Context,
) -> Option<Duration> {
    attempt.unschedulable_since?;
    let AttemptState::Starting { message, .. } = &attempt.state else { return None };
    let is_of_use = may_take_fewer(job, attempt.cpus, message) || ctx.admission.has_queue(job);
    ctx.settings.unschedulable_timeout.filter(|_| is_of_use)
}

/// Whether this attempt gives its CPUs back now, as far as the cache knows.
pub(super) fn gives_back(job: &Job, attempt: &Attempt, ctx: &Context, now: Timestamp) -> bool {
    let timeout = unschedulable_timeout(job, attempt, ctx);
    let at = gives_back_at(attempt, timeout);
    !is_settled(&job.status, attempt.number) && at.is_some_and(|at| at <= now)
}
