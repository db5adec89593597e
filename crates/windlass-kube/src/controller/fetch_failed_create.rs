//! Why an attempt has no pod: as the API server has told this controller, or as Events tell.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use tokio::time::Instant;
use tracing::warn;
use windlass_core::plan::{Attempt, AttemptState};
use windlass_core::status::reasons;
use windlass_core::{Error, Job};

use super::context::Context;
use crate::error::{call, exceeds_quota};

/// How long a batch Job may have no pod before Events are read: most have one by then.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause between two looks. The first are as long as has been waited so far.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Puts the reason for which a batch Job has no pod into its attempt. When the caller asks again, if there is such
/// an attempt. Events say why, and decide nothing: without them a job can be cancelled all the
/// same.
pub(super) async fn explain_missing_pod(
    job: &Job,
    attempts: &mut [Attempt],
    ctx: &Context,
    now: Timestamp,
) -> Option<Duration> {
    find_failed_create(job, attempts, ctx, now).await.unwrap_or_else(|error| {
        warn!(job = %job.key(), %error, "why it has no pod cannot be asked");
        Some(LONGEST_PAUSE.unsigned_abs())
    })
}

async fn find_failed_create(
    job: &Job,
    attempts: &mut [Attempt],
    ctx: &Context,
    now: Timestamp,
) -> Result<Option<Duration>, Error> {
    let Some(attempt) = attempts.last_mut() else { return Ok(None) };
    let AttemptState::Starting { reason: reason @ None, message } = &mut attempt.state else {
        return Ok(None);
    };
    let waited = now.duration_since(attempt.created);
    if attempt.pod.is_some() || job.status.is_finished() {
        return Ok(None);
    }
    let uid = &job.metadata.uid;
    let objects = ctx.attempts.objects(uid, attempt.number);
    let Some(batch_job) = objects.and_then(|objects| objects.batch_job) else {
        return Ok((waited < FIRST_LOOK).then(|| (FIRST_LOOK - waited).unsigned_abs()));
    };
    let namespace = &job.metadata.namespace;
    // Who makes the pod has the answer; of the Job controller's, only Events tell.
    let failed = if batch_job.is_managed() {
        ctx.managed.refusal(uid, batch_job.uid())
    } else if waited < FIRST_LOOK {
        return Ok(Some((FIRST_LOOK - waited).unsigned_abs()));
    } else {
        if ctx.failed_creates.is_list_due(namespace) {
            list_failed_creates(ctx, namespace).await?;
        }
        ctx.failed_creates.get(namespace, batch_job.uid())
    };
    if let Some(failed) = failed {
        let quota = exceeds_quota(&failed.message);
        let word = if quota { reasons::QUOTA_EXCEEDED } else { reasons::FAILED_CREATE };
        *reason = Some(word.into());
        *message = failed.message;
        // Before that nobody had tried.
        attempt.startable_since = Some(failed.since);
    }
    let pause = waited.clamp(FIRST_LOOK, LONGEST_PAUSE);
    Ok((!batch_job.is_managed()).then(|| pause.unsigned_abs()))
}

async fn list_failed_creates(ctx: &Context, namespace: &str) -> Result<(), Error> {
    let began = Instant::now();
    let events: Api<Event> = Api::namespaced(ctx.client.clone(), namespace);
    let params = ListParams::default().fields("involvedObject.kind=Job,reason=FailedCreate");
    let found = call(events.list(&params)).await?;
    ctx.failed_creates.keep(namespace, found.items, began.elapsed());
    Ok(())
}
