//! A pod whose labels somebody has removed. No watch and no list by labels shows it any more, but it runs.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use tracing::info;
use windlass_core::plan::{Attempt, AttemptState};
use windlass_core::report::is_settled;
use windlass_core::{Error, Job, name};

use super::context::Context;
use super::delete::{deleted, only_of};
use crate::attempt::observe::is_lost_unreported;
use crate::attempt::owner::batch_job_of;
use crate::error::{call, within_deadline};

/// Looks for the pod of an attempt that seems to be lost, by its name. One that lives is ended; until it is gone, the
/// attempt runs. Whether there is such a pod: the caller looks again, as nothing tells that it is gone.
pub(super) async fn end_unlabelled_pod(
    job: &Job,
    attempt: &mut Attempt,
    ctx: &Context,
) -> Result<bool, Error> {
    let objects = ctx.attempts.objects(&job.metadata.uid, attempt.number);
    if is_settled(&job.status, attempt.number) || !is_lost_unreported(attempt, objects.as_ref()) {
        return Ok(false);
    }
    let is_reported = job.status.attempt == Some(attempt.number);
    let reported = job.status.pod.as_ref().filter(|_| is_reported);
    let Some(pod_name) = attempt.pod.as_ref().or(reported).cloned() else { return Ok(false) };
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
    let Some(pod) = call(pods.get_opt(&pod_name)).await? else { return Ok(false) };
    let named = name::attempt(&job.metadata.name, &job.metadata.uid, attempt.number);
    let known = objects.as_ref().and_then(|objects| objects.batch_job.as_ref());
    let told = job.status.job.as_ref().filter(|_| is_reported);
    let is_its = |owner: &OwnerReference| match known {
        Some(known) => known.uid() == owner.uid,
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
