//! The attempts of a job: from the cache, and from the API server where the cache may be behind.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core_v1;
use kube::Api;
use windlass_core::plan::{Attempt, AttemptState};
use windlass_core::report::is_settled;
use windlass_core::status::reasons;
use windlass_core::{AttemptNumber, Error, Job, JobStatus};

use super::context::Context;
use super::list_live::list_objects;
use super::unlabelled::end_unlabelled_pod;
use super::unschedulable::gives_back;
use crate::attempt::observe;
use crate::error::call;
use crate::labels::LABEL_JOB_UID;

/// The attempts of a job.
pub(super) struct FetchedAttempts {
    /// In the order of their numbers.
    pub(super) attempts: Vec<Attempt>,
    /// Whether the last one has a pod that no watch shows.
    pub(super) is_unlabelled: bool,
}

/// The attempts as far as they are known. A lost attempt counts as lost only if its Node object exists, or if deleted
/// nodes are fenced.
pub(super) async fn fetch_attempts(
    job: &Job,
    ctx: &Context,
    now: Timestamp,
) -> Result<FetchedAttempts, Error> {
    let mut attempts = ctx.attempts.attempts(&job.metadata.uid, now);
    let mut is_unlabelled = false;
    if job.status.is_finished() {
        return Ok(FetchedAttempts { attempts, is_unlabelled });
    }
    // A watch of pods that is behind, or down, has not shown the pod of an attempt whose batch Job or status is known.
    // One whose pod has a node by now does not give its CPUs back.
    let may_lack = |attempt| {
        lacks_its_pod(job, attempt)
            || is_settled_pause(job, attempt)
            || gives_back(job, attempt, ctx, now)
    };
    if attempts.last().is_some_and(may_lack) {
        attempts = list_attempts(job, ctx, now).await?;
    }
    // What has failed does not go on, whoever resumes its batch Job.
    for attempt in attempts.iter_mut().filter(|attempt| is_settled_pause(job, attempt)) {
        attempt.state = observe::lost_pod(now);
    }
    if let Some(number) = job.status.attempt {
        attempts = with_reported_attempt(job, number, attempts, ctx, now).await?;
    }
    if let Some(attempt) = attempts.last_mut() {
        is_unlabelled = end_unlabelled_pod(job, attempt, ctx).await?;
        check_deleted_node(job, attempt, ctx, now).await?;
    }
    Ok(FetchedAttempts { attempts, is_unlabelled })
}

/// Whether no pod of this attempt was ever seen here, though there must have been one; or a pod has ended whose batch
/// Job was not seen, so that it is not believed.
fn lacks_its_pod(job: &Job, attempt: &Attempt) -> bool {
    let is_reported = job.status.attempt == Some(attempt.number) && job.status.pod.is_some();
    !is_settled(&job.status, attempt.number)
        && match &attempt.pod {
            None => attempt.is_present && (is_reported || !attempt.is_live()),
            Some(_) => attempt.job.is_none() && !attempt.is_live(),
        }
}

/// The attempts, with the one that the status names. If no cache shows that one, the API server is asked.
async fn with_reported_attempt(
    job: &Job,
    number: AttemptNumber,
    mut attempts: Vec<Attempt>,
    ctx: &Context,
    now: Timestamp,
) -> Result<Vec<Attempt>, Error> {
    let is_reported = |attempt: &Attempt| attempt.number == number;
    if !attempts.iter().any(is_reported) {
        attempts = list_attempts(job, ctx, now).await?;
        if !attempts.iter().any(is_reported) {
            attempts.push(observe::lost(job, number, now));
            attempts.sort_by_key(|attempt| attempt.number);
        }
    }
    let had_pod = job.status.pod.is_some();
    if let Some(attempt) = attempts.iter_mut().find(|attempt| is_reported(attempt))
        && had_pod
        && attempt.is_present
        && attempt.pod.is_none()
        && !is_suspended(&attempt.state)
        && matches!(attempt.state, AttemptState::Starting { .. })
    {
        attempt.state = observe::lost_pod(now);
    }
    Ok(attempts)
}

/// Whether the attempt has no pod because its batch Job is suspended.
fn is_suspended(state: &AttemptState) -> bool {
    matches!(state, AttemptState::Starting { reason: Some(reason), .. }
        if reason == reasons::SUSPENDED)
}

/// Whether the status tells the failure of this attempt, and its batch Job is suspended.
fn is_settled_pause(job: &Job, attempt: &Attempt) -> bool {
    is_settled(&job.status, attempt.number) && is_suspended(&attempt.state)
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
    let objects = ctx.attempts.objects(&job.metadata.uid, attempt.number);
    if ctx.settings.deleted_nodes_are_fenced
        || is_told_over(&job.status, attempt.number)
        || !observe::is_lost_unreported(attempt, objects.as_ref())
    {
        return Ok(());
    }
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

/// What the API server itself has of a job's attempts.
async fn list_attempts(job: &Job, ctx: &Context, now: Timestamp) -> Result<Vec<Attempt>, Error> {
    let (namespace, uid) = (&job.metadata.namespace, &job.metadata.uid);
    let labels = format!("{LABEL_JOB_UID}={uid}");
    let found = list_objects(ctx, Some(namespace), &labels).await?;
    Ok(found.into_cache(now).attempts(uid, now))
}

async fn node_exists(ctx: &Context, node: &str) -> Result<bool, Error> {
    let nodes: Api<core_v1::Node> = Api::all(ctx.client.clone());
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
