//! Does what the Job controller does for other batch Jobs: creates the pods of those that this controller manages, ends
//! them, and writes what became of them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::time::Instant;
use tracing::info;
use windlass_core::plan::{Action, Attempt};
use windlass_core::report::is_settled;
use windlass_core::{Error, Job, name};

use super::context::Context;
use super::delete::{deleted, only_of};
use super::managed_memory::ManagedMemory;
use super::plan::Planned;
use super::refused_status::{NO_ANSWER, is_refusal};
use crate::attempt::managed::maker_of;
use crate::attempt::managed_pod::{is_pod_of, placeholder_of, pod_of};
use crate::attempt::managed_step::{Step, next_step};
use crate::attempt::objects::ObservedBatchJob;
use crate::error::{call, from_kube, is_status, within_deadline};

/// Does the next step for each batch Job of a job that this controller manages, also where one of them fails. When to
/// look again.
pub(super) async fn manage(
    job: &Job,
    planned: &Planned,
    ctx: &Context,
    now: Timestamp,
) -> Result<Option<Duration>, Error> {
    let mut taken = Ok(());
    let mut look_again: Option<Duration> = None;
    for attempt in &planned.observed.attempts {
        match manage_attempt(job, attempt, planned, ctx, now).await {
            Ok(again) => look_again = look_again.into_iter().chain(again).min(),
            Err(error) => taken = taken.and(Err(error)),
        }
    }
    taken.map(|()| look_again)
}

/// The next step for the batch Job of one attempt.
async fn manage_attempt(
    job: &Job,
    attempt: &Attempt,
    planned: &Planned,
    ctx: &Context,
    now: Timestamp,
) -> Result<Option<Duration>, Error> {
    let (uid, number) = (&job.metadata.uid, attempt.number);
    let objects = ctx.attempts.objects(uid, number);
    let is_removed = planned.plan.actions.contains(&Action::Remove { attempt: number });
    let Some(objects) = objects.filter(|_| !is_removed) else { return Ok(None) };
    let Some(batch_job) = &objects.batch_job else { return Ok(None) };
    let status = &planned.plan.status;
    let is_last = planned.observed.attempts.last().is_some_and(|last| last.number == number);
    let may_start =
        is_last && !job.spec.cancel && !status.is_finished() && !is_settled(status, number);
    let name = name::attempt(&job.metadata.name, uid, number);
    let maker = batch_job.maker().unwrap_or_default();
    let is_new = ctx.managed.never_made(uid, batch_job.uid(), maker, now);
    match next_step(attempt, &objects, may_start, is_new, status.is_finished(), now) {
        Some(step) => take_step(job, &name, batch_job, step, ctx).await,
        None => Ok(None),
    }
}

async fn take_step(
    job: &Job,
    name: &str,
    batch_job: &ObservedBatchJob,
    step: Step,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    match step {
        Step::Wait(left) => return Ok(Some(left)),
        Step::MakePod => return make_pod(job, name, batch_job, pod_of, ctx).await,
        Step::TakeName => return make_pod(job, name, batch_job, placeholder_of, ctx).await,
        Step::WriteStatus(patch) => write_status(job, name, batch_job, &patch, ctx).await?,
        Step::EndPods(running) => {
            let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
            let mut ended = Ok(());
            for (uid, name) in running {
                let answer = within_deadline(pods.delete(&name, &only_of(&uid))).await;
                info!(job = %job.key(), pod = name, "to be ended: its batch Job is suspended");
                ended = ended.and(answer.and_then(deleted));
            }
            return ended.map(|()| None);
        }
    }
    Ok(None)
}

/// Creates the pod of a batch Job, unless that was tried a moment ago. When to look again.
async fn make_pod(
    job: &Job,
    name: &str,
    batch_job: &ObservedBatchJob,
    pod: fn(&batch::Job) -> Option<Pod>,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    let (job_uid, uid) = (&job.metadata.uid, batch_job.uid());
    if let Some(left) = ctx.managed.pause(job_uid, uid, ctx.now()) {
        return Ok(Some(left));
    }
    // A cache may be old, and it has no template.
    let batch_jobs: Api<batch::Job> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
    let found = call(batch_jobs.get_opt(name)).await?;
    let Some(found) = found.filter(|found| found.metadata.uid.as_deref() == Some(uid)) else {
        return Ok(None);
    };
    let creation = match ctx.slow_starts.begin(job, Instant::now()) {
        Ok(creation) => creation,
        Err(later) => {
            let said = later.said();
            let is_news =
                said.is_some_and(|said| ctx.managed.held_up(job_uid, uid, &said, ctx.now()));
            return Ok(Some(if is_news { Duration::ZERO } else { later.pause }));
        }
    };
    let failure =
        create_pod(&ctx.client, &ctx.managed, job, &found, pod(&found), ctx.now()).await?;
    creation.ended(failure.as_deref(), Instant::now());
    // The next reconcile tells of it.
    let is_told = failure.is_some();
    Ok(if is_told { Some(Duration::ZERO) } else { ctx.managed.pause(job_uid, uid, ctx.now()) })
}

/// Writes the status of a batch Job over the version that was read.
async fn write_status(
    job: &Job,
    name: &str,
    batch_job: &ObservedBatchJob,
    patch: &Value,
    ctx: &Context,
) -> Result<(), Error> {
    let job_uid = &job.metadata.uid;
    let version = batch_job.managed_version().unwrap_or_default();
    if ctx.managed.is_replaced(job_uid, version) {
        return Ok(());
    }
    let batch_jobs: Api<batch::Job> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    match within_deadline(batch_jobs.patch_status(name, &params, &patch)).await? {
        Ok(_) => ctx.managed.has_replaced(job_uid, version),
        // Somebody has deleted it.
        Err(error) if is_status(&error, 404) => {}
        Err(error) => return Err(from_kube(error)),
    }
    if batch_job.is_to_suspend() {
        ctx.managed.suspended(job_uid);
    }
    Ok(())
}

/// Whether the pod of a batch Job was never there.
pub(super) fn never_made(
    memory: &ManagedMemory,
    job: &Job,
    batch_job: &batch::Job,
    now: Timestamp,
) -> bool {
    let maker = maker_of(batch_job).unwrap_or_default();
    memory.never_made(&job.metadata.uid, &batch_job.uid().unwrap_or_default(), maker, now)
}

/// Creates the pod of a batch Job that was just read, if it may have one. Why it could not be made, which is remembered.
pub(super) async fn create_pod(
    client: &Client,
    memory: &ManagedMemory,
    job: &Job,
    batch_job: &batch::Job,
    pod: Option<Pod>,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let Some(pod) = pod else { return Ok(None) };
    let (job_uid, uid) = (&job.metadata.uid, batch_job.uid().unwrap_or_default());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let Ok(created) = within_deadline(pods.create(&PostParams::default(), &pod)).await else {
        memory.unanswered(job_uid, &uid, Some(NO_ANSWER), now);
        return Ok(Some(NO_ANSWER.to_owned()));
    };
    match created {
        Ok(_) => memory.made(job_uid, &uid, now),
        // It is ours, from before a crash or a stale cache; or ours and about to go; or somebody else's.
        Err(error) if is_status(&error, 409) => {
            let name = pod.name_any();
            let found = call(pods.get_opt(&name)).await?;
            let Some(found) = found else {
                return Err(Error::Conflict(format!("the pod {name:?} is gone again")));
            };
            if !is_pod_of(&found, batch_job) {
                let message = format!("a pod {name:?} is there that is not of this batch Job");
                memory.refused(job_uid, &uid, &message, now);
                return Ok(Some(message));
            } else if found.metadata.deletion_timestamp.is_none() {
                memory.made(job_uid, &uid, now);
            }
        }
        Err(kube::Error::Api(status)) if is_refusal(&status) => {
            memory.refused(job_uid, &uid, &status.message, now);
            return Ok(Some(status.message));
        }
        Err(error) => {
            memory.unanswered(job_uid, &uid, None, now);
            return Err(from_kube(error));
        }
    }
    Ok(None)
}
