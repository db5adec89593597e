//! What happens when this process begins to lead, and when it ceases to: grants are made in between only.

use tokio::sync::watch;
use windlass_core::plan::needs_cpus;
use windlass_core::validate::validate_without_input;

use super::context::Context;
use super::fetch::next_attempt;
use super::limits::limits;

/// Starts granting each time that this process begins to lead, and stops when it ceases to.
pub(crate) async fn run(ctx: &Context) {
    let mut leads = ctx.leads.clone();
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() || ctx.synced.wait().await.is_err() {
            return;
        }
        enqueue_all(ctx);
        ctx.admission.start_granting(ctx.now());
        ctx.metrics.leads(true);
        if leads.wait_for(|leads| !*leads).await.is_err() {
            return;
        }
        ctx.admission.stop_granting();
        ctx.metrics.leads(false);
    }
}

/// Tells `ready`, once the caches are complete, whether the API server knows this process.
pub(crate) async fn tell_ready(
    ctx: &Context,
    mut is_known: watch::Receiver<bool>,
    ready: &watch::Sender<bool>,
) {
    drop(ctx.synced.wait().await);
    loop {
        ready.send_replace(*is_known.borrow_and_update());
        if is_known.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Every job that wants CPUs now is enqueued before any job is granted some.
fn enqueue_all(ctx: &Context) {
    let now = ctx.now();
    for watched in ctx.stores.jobs.state() {
        if watched.is_finished() {
            continue;
        }
        let job = watched.to_core();
        let attempts = ctx.attempts.attempts(&job.metadata.uid, now);
        if !needs_cpus(&job, &attempts, now) {
            continue;
        }
        // A job that cannot be validated yet is validated when it is reconciled.
        let function = ctx.stores.function_of(&job);
        let function = function.or_else(|| ctx.stores.cluster_function_of(&job));
        let Some(function) = function else { continue };
        let queue = ctx.stores.queue_of(&job);
        let limits = limits(&job, Some(&function), queue.as_ref(), validate_without_input);
        let Ok(limits) = limits else { continue };
        ctx.admission.enqueue(&job, next_attempt(&job, &attempts), &limits, now);
    }
}
