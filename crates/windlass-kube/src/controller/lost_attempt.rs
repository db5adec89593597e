//! An attempt that is lost without a report. Something of it may run that no watch shows: a pod whose labels somebody has
//! removed, or a pod on a node whose object was deleted.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use tracing::info;
use windlass_core::plan::{Attempt, AttemptState, End};
use windlass_core::report::is_settled;
use windlass_core::status::FailureReason;
use windlass_core::{AttemptNumber, Error, Job, JobStatus, name};

use super::context::Context;
use super::delete::{deleted, only_of};
use crate::attempt::objects::{AttemptObjects, ObservedBatchJob};
use crate::attempt::owner::batch_job_of;
use crate::error::{call, within_deadline};

/// Puts into an attempt that seems to be lost what the API server tells of its pod or its node. Whether it has a pod that no
/// watch shows: the caller looks again, as nothing tells that it is gone.
pub(super) async fn check_lost_attempt(
    job: &Job,
    attempt: &mut Attempt,
    ctx: &Context,
    now: Timestamp,
) -> Result<bool, Error> {
    let objects = ctx.attempts.objects(&job.metadata.uid, attempt.number);
    if !is_lost_unreported(attempt, objects.as_ref()) {
        return Ok(false);
    }
    let batch_job = objects.as_ref().and_then(|objects| objects.batch_job.as_ref());
    if !is_settled(&job.status, attempt.number)
        && end_unlabelled_pod(job, attempt, batch_job, ctx).await?
    {
        return Ok(true);
    }
    if !ctx.settings.deleted_nodes_are_fenced && !is_told_over(&job.status, attempt.number) {
        check_deleted_node(job, attempt, ctx, now).await?;
    }
    Ok(false)
}

/// Whether an attempt is lost without a report and without a pod. Whether its Node object exists decides then whether it may still run.
fn is_lost_unreported(attempt: &Attempt, objects: Option<&AttemptObjects>) -> bool {
    let silent = matches!(
        attempt.state,
        AttemptState::Ended(End::Unreported { reason: FailureReason::Lost, .. })
    );
    silent && objects.is_none_or(|objects| objects.pods.is_empty())
}

/// Looks for the pod of an attempt by its name: no watch and no list by labels shows it when its labels are gone. One that
/// lives is ended; until it is gone, the attempt runs. Whether there is such a pod.
async fn end_unlabelled_pod(
    job: &Job,
    attempt: &mut Attempt,
    batch_job: Option<&ObservedBatchJob>,
    ctx: &Context,
) -> Result<bool, Error> {
    let is_reported = job.status.attempt == Some(attempt.number);
    let reported = job.status.pod.as_ref().filter(|_| is_reported);
    let Some(pod_name) = attempt.pod.as_ref().or(reported).cloned() else { return Ok(false) };
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
    let Some(pod) = call(pods.get_opt(&pod_name)).await? else { return Ok(false) };
    let named = name::attempt(&job.metadata.name, &job.metadata.uid, attempt.number);
    let told = job.status.job.as_ref().filter(|_| is_reported);
    let is_its = |owner: &OwnerReference| match batch_job {
        Some(batch_job) => batch_job.uid() == owner.uid,
        // A standby has a name of its own.
        None => owner.name == named || told.is_some_and(|told| *told == owner.name),
    };
    if !batch_job_of(&pod).is_some_and(is_its) || has_ended(&pod) {
        return Ok(false);
    }
    if pod.metadata.deletion_timestamp.is_none()
        && let Some(uid) = &pod.metadata.uid
    {
        deleted(within_deadline(pods.delete(&pod_name, &only_of(uid))).await?)?;
        info!(job = %job.key(), pod = pod_name, "a pod without its labels is ended");
    }
    let since = job.status.timeline.running.filter(|_| is_reported).unwrap_or(attempt.created);
    attempt.state = AttemptState::Running { since };
    Ok(true)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the status tells the failure of this attempt, and that nothing of it runs. Of one that was given up while it may
/// have run, its failure does not say so.
fn is_told_over(status: &JobStatus, attempt: AttemptNumber) -> bool {
    let given_up = status.failure.as_ref().filter(|failure| failure.is_told_early());
    is_settled(status, attempt) && given_up.is_none_or(|failure| failure.attempt != attempt)
}

/// An attempt that ended without a report is not known to be over while the object of its node is deleted.
async fn check_deleted_node(
    job: &Job,
    attempt: &mut Attempt,
    ctx: &Context,
    now: Timestamp,
) -> Result<(), Error> {
    // The attempt may have been seen before this process began to look.
    if job.status.attempt == Some(attempt.number) {
        attempt.pod = attempt.pod.take().or_else(|| job.status.pod.clone());
        attempt.node = attempt.node.take().or_else(|| job.status.node.clone());
    }
    if let Some(node) = attempt.node.as_deref()
        && !node_exists(ctx, node).await?
    {
        let message = format!(
            "node {node:?} was deleted while the attempt ran there: it starts again when the node \
             is back, or when the job is cancelled and submitted again"
        );
        attempt.state = AttemptState::Unreachable { message, since: now };
    }
    Ok(())
}

async fn node_exists(ctx: &Context, node: &str) -> Result<bool, Error> {
    let nodes: Api<Node> = Api::all(ctx.client.clone());
    Ok(call(nodes.get_metadata_opt(node)).await?.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_given_up_on_a_node_may_run_there_when_the_node_is_deleted() {
        let status = |reason: &str, refused_since: Option<&str>| -> JobStatus {
            let time = "2026-01-02T03:04:05Z";
            let failure = json!({ "reason": reason, "message": "", "attempt": 2, "time": time,
                "refusedSince": refused_since });
            serde_json::from_value(json!({ "attempt": 2, "failure": failure })).unwrap()
        };
        let since = Some("2026-01-02T03:04:05Z");
        for (status, is_over) in [
            (status("Crashed", None), true),
            (status("Lost", None), true),
            (status("Lost", since), false),
            (status("Preempted", None), false),
        ] {
            assert_eq!(is_told_over(&status, 2), is_over, "{status:?}");
            assert!(is_told_over(&status, 1) && !is_told_over(&status, 3));
        }
    }
}
