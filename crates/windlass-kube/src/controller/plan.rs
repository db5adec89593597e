//! Has core decide what to do for one job. It asks the API server nothing.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::plan::reported_refusal;
use windlass_core::plan::{next_attempt_number, plan_invalid};
use windlass_core::{Action, Job, Observed, Plan, plan as core_plan};

use super::admit::Admitted;
use super::context::Context;
use super::fetch::Fetched;
use super::start_rate::MANY_STARTS_WITHIN;

/// An attempt that ends within this time of its container's start, which is given in whole seconds, costs
/// no write for having run.
const RUNNING_GRACE: Duration = Duration::from_secs(2);

/// What is planned for a job.
pub(crate) struct Planned {
    /// What it was decided from.
    pub(crate) observed: Observed,
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
    let refusal = ctx
        .refusals
        .of_attempt(&job.metadata.uid, next_attempt_number(job, &attempts))
        .or_else(|| reported_refusal(job, &attempts));
    let admission = admitted.decision.clone();
    let observed = Observed { admission, attempts, refusal, running_grace: RUNNING_GRACE };
    let mut plan = match &admitted.limits {
        Ok(limits) => core_plan(job, limits, &observed, now),
        Err(why) => plan_invalid(job, why, &observed, now),
    };
    let removal_after = postpone_removals(job, &observed, &mut plan.actions, ctx, now);
    Planned { observed, plan, removal_after }
}

/// While many jobs are being started, what ended jobs leave is removed a little later. When to reconcile
/// again, if something was left for then.
fn postpone_removals(
    job: &Job,
    observed: &Observed,
    actions: &mut Vec<Action>,
    ctx: &Context,
    now: Timestamp,
) -> Option<Duration> {
    if !ctx.start_rate.postpones_removal(job, now) {
        return None;
    }
    let before = actions.len();
    let is_live = |number| observed.attempts.iter().any(|a| a.number == number && a.is_live());
    // What still runs holds CPUs.
    actions.retain(|action| match action {
        Action::Remove { attempt } => is_live(*attempt),
        Action::Start { .. } | Action::Expire => true,
    });
    (actions.len() < before).then_some(MANY_STARTS_WITHIN.unsigned_abs())
}
