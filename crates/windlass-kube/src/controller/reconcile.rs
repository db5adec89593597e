//! One reconcile of a ComputeJob: fetch -> validate -> admit -> plan -> apply -> update_status.

use std::time::Duration;

use kube::runtime::controller::Action as Requeue;
use windlass_core::{Error, Job, JobLimits};

use super::admit::admit;
use super::admitted::Admitted;
use super::apply::{Actor, apply};
use super::context::Context;
use super::fetch::fetch;
use super::managed::manage;
use super::plan::{Planned, plan};
use super::update_status::{publish_failure, update_status};
use super::validate::validate;

/// When a job is reconciled again whose last write the watch has not brought.
const BEHIND: Duration = Duration::from_secs(5);

/// Reconciles a job once. Says when to do so again.
pub(crate) async fn reconcile(job: &Job, ctx: &Context) -> Result<Requeue, Error> {
    // Deleting what a job owns is the garbage collector's work, by owner references.
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Requeue::await_change());
    }
    // After a restart the caches fill one after the other. What is not in them may exist all the same.
    ctx.synced.wait().await?;
    if ctx.expectations.is_behind(job) {
        // The watch has the job reconciled when it has caught up; this is for the case that it does not.
        return Ok(Requeue::requeue(BEHIND));
    }
    // Asks the API server: publishes the Event of a failure that a gateway has written.
    publish_failure(job, ctx).await;
    let now = ctx.now();

    // Asks the API server, where the caches do not suffice.
    let mut fetched = fetch(job, ctx, now).await?;
    // Pure.
    let validated = validate(job, &mut fetched, now);
    // Asks admission, in memory. A grant has the API server asked for the whole job.
    let admitted = admit(job, &fetched, validated, ctx, now).await?;
    // Pure.
    let planned = plan(job, &mut fetched, &admitted, ctx, now);
    let without_function = JobLimits::without_function(&job.spec);
    let limits = admitted.limits.as_ref().unwrap_or(&without_function);
    let actor = Actor {
        client: &ctx.client,
        manage_jobs: &ctx.manage_jobs,
        managed: &ctx.managed,
        report: &ctx.settings.report,
        job: admitted.whole.as_ref().unwrap_or(job),
        limits,
        function: fetched.function.as_ref(),
        attempts: &ctx.attempts,
        ctx,
    };
    // Asks the API server: creates and deletes objects.
    let start_again = apply(job, &planned, &actor, ctx, now).await?;
    // Asks the API server: one write, and an Event where one is due.
    if !update_status(job, &planned, limits, ctx, now).await? {
        return Ok(Requeue::await_change());
    }
    // Asks the API server, for batch Jobs that no other controller manages.
    let managed_again = manage(job, &planned, ctx, now).await?;
    let look_again = fetched.look_again.into_iter().chain(managed_again).min();
    Ok(next_reconcile(&planned, &admitted, start_again, look_again))
}

/// When to reconcile again although nothing has happened.
fn next_reconcile(
    planned: &Planned,
    admitted: &Admitted<'_>,
    start_again: Option<Duration>,
    look_again: Option<Duration>,
) -> Requeue {
    let requeue_after = start_again.or(planned.plan.requeue_after);
    let next = [requeue_after, admitted.requeue_after, planned.removal_after, look_again];
    let next = next.into_iter().flatten().min();
    next.map_or_else(Requeue::await_change, Requeue::requeue)
}
