//! Deletes pods that nobody needs and nothing else ends.
//!
//! Of some, somebody has deleted the batch Jobs without them: the garbage collector does not know such pods, and nothing
//! that they report is believed. In others the function has ended, and a container beside it goes on.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tracing::{info, warn};
use windlass_core::report::has_ended;

use super::context::Context;
use super::delete::{deleted, only_of};
use crate::cache::attempts::NamedPod;
use crate::error::within_deadline;

/// How often they are looked for.
const TICK: Duration = Duration::from_secs(5);

/// Deletes them, as long as it runs and this process leads.
pub(crate) async fn run(ctx: &Context) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !ctx.is_leading() || !ctx.synced.has_synced() {
            continue;
        }
        for pod in ctx.attempts.orphaned_pods() {
            delete(&pod, "its batch Job is gone", ctx).await;
        }
        for pod in ctx.attempts.held_pods(ctx.now()) {
            if is_written(&pod, ctx) {
                delete(&pod, "its function has ended, and a container beside it has not", ctx)
                    .await;
            }
        }
    }
}

/// Whether its job says how the attempt of this pod has ended: then the pod is not asked any more.
fn is_written(pod: &NamedPod, ctx: &Context) -> bool {
    let attempt = &pod.labels.attempt;
    let job = ctx.stores.job_of(attempt);
    job.is_some_and(|job| has_ended(&job.to_core().status, attempt.number))
}

async fn delete(pod: &NamedPod, why: &str, ctx: &Context) {
    let NamedPod { labels, uid, name } = pod;
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &labels.namespace);
    let answer = within_deadline(pods.delete(name, &only_of(uid))).await;
    match answer.and_then(deleted) {
        Ok(()) => info!(pod = name, job = labels.job, "deleted: {why}"),
        Err(error) => warn!(pod = name, %error, "a pod that nobody needs cannot be deleted"),
    }
}
