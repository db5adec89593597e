//! Has core decide what to do for one job. It asks the API server nothing.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::plan::{Action, plan_invalid, reported_refusal};
use windlass_core::{AttemptNumber, Job, Observed, Plan, plan as core_plan};

use super::admitted::Admitted;
use super::context::Context;
use super::fetch::Fetched;
use super::keep_standbys::hold_named_standbys;
use super::kept_names::name_is_kept_for;
use super::suspended_too_long::word_to_come;
use super::unschedulable::unschedulable_timeout;
use super::untold_ends::hold_untold_ends;
use crate::attempt::objects::AttemptObjects;

/// An attempt that ends within this time of its container's start, which is given in whole seconds, costs
/// no write for having run.
const RUNNING_GRACE: Duration = Duration::from_secs(2);

/// What is planned for a job.
pub(crate) struct Planned {
    /// What it was decided from.
    pub(crate) observed: Observed,
    /// The number of the attempt that may be started.
    pub(crate) next_attempt: AttemptNumber,
    /// What to do, and the new status.
    pub(crate) plan: Plan,
    /// When to reconcile again, if something is removed later.
    pub(crate) removal_after: Option<Duration>,
}

/// Decides it.
pub(crate) fn plan(
    job: &Job,
    fetched: &mut Fetched,
    admitted: &Admitted<'_>,
    ctx: &Context,
    now: Timestamp,
) -> Planned {
    let attempts = std::mem::take(&mut fetched.attempts);
    let admission = admitted.decision.clone();
    let last = attempts.last();
    let unschedulable_timeout = last.and_then(|last| unschedulable_timeout(job, last, ctx));
    let preempted = last.and_then(|last| ctx.admission.preempted(job, last));
    let refusal =
        ctx.refusals.of_attempt(&fetched.next_attempt).or_else(|| reported_refusal(job, &attempts));
    let running_grace = RUNNING_GRACE;
    let observed =
        Observed { admission, attempts, refusal, running_grace, unschedulable_timeout, preempted };
    let mut plan = match &admitted.limits {
        Ok(limits) => core_plan(job, limits, &observed, now),
        Err(why) => plan_invalid(job, why, &observed, now),
    };
    let many = ctx.start_rate.postpone_removals(job, &observed, &mut plan.actions, now);
    let untold = hold_untold_ends(job, &mut plan.actions, ctx, now);
    let named = hold_named_standbys(&job.metadata.uid, ctx, &mut plan.actions);
    let more = more_to_remove(job, &plan.actions, ctx, now);
    let removal_after = [many, untold, named, more].into_iter().flatten().min();
    Planned { observed, next_attempt: fetched.next_attempt.number, plan, removal_after }
}

/// When to reconcile again although no watch may tell anything: something of an attempt that is to go waits for its log,
/// for the word of its Job controller, or until its name is free.
fn more_to_remove(
    job: &Job,
    actions: &[Action],
    ctx: &Context,
    now: Timestamp,
) -> Option<Duration> {
    let waits = actions.iter().filter_map(Action::removed).flat_map(|attempt| {
        let objects = ctx.attempts.objects(&job.metadata.uid, attempt);
        let objects = objects.as_ref();
        [
            objects.and_then(|objects| log_to_come(objects, now)),
            objects.and_then(|objects| word_to_come(objects, now)),
            name_is_kept_for(job, attempt, now),
        ]
    });
    waits.flatten().min()
}

/// The end of a pod that is deleted may never be told: how long its batch Job still waits for its log.
fn log_to_come(objects: &AttemptObjects, now: Timestamp) -> Option<Duration> {
    objects.pods.values().filter_map(|pod| pod.may_leave_log_for(now)).min()
}
