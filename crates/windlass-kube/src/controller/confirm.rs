//! Asks the API server itself before a job starts, is refused, or passes by a queue: the caches may be old.

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use windlass_core::plan::AdmissionDecision;
use windlass_core::status::{ConditionType, reasons};
use windlass_core::{Error, Function, Job, JobLimits, Problem, Queue, name, validate};

use super::admitted::Admitted;
use super::context::Context;
use super::limits::limits;
use crate::crd::{ComputeJob, ComputeQueue};
use crate::error::{from_kube, within_deadline};

/// The job with its input, if it is still as the watch has shown it. A cache may be old: the job may
/// have ended and its attempts been removed, so that their names are free again. The inner error is `Invalid`: the watch
/// does not look at the input, so that a job which it could read may be malformed there.
pub(super) async fn fetch_whole(job: &Job, ctx: &Context) -> Result<Result<Job, Error>, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
    let found = match within_deadline(jobs.get_opt(&job.metadata.name)).await? {
        Ok(found) => found.ok_or_else(|| Error::no_job(&job.metadata.name))?.to_core(),
        Err(kube::Error::SerdeError(why)) => {
            return Ok(Err(Error::Invalid(vec![Problem::at("", why.to_string())])));
        }
        Err(error) => {
            return match from_kube(error) {
                malformed @ Error::Invalid(_) => Ok(Err(malformed)),
                error => Err(error),
            };
        }
    };
    if found.metadata.uid == job.metadata.uid
        && found.metadata.resource_version == job.metadata.resource_version
    {
        Ok(Ok(found))
    } else {
        Err(Error::Conflict("the job has changed since it was read".into()))
    }
}

/// Asks the API server whether what was granted is right: the whole job is fetched, and a queue that no cache has, but
/// that exists, lets nobody pass.
pub(super) async fn confirm_grant(
    job: &Job,
    function: Option<&Function>,
    admitted: &mut Admitted<'_>,
    queue_was_cached: bool,
    ctx: &Context,
) -> Result<(), Error> {
    if admitted.whole.is_none() {
        match fetch_whole(job, ctx).await? {
            Ok(whole) => {
                let queue = ctx.stores.queue_of(job);
                admitted.limits = limits(&whole, function, queue.as_ref(), validate);
                admitted.whole = Some(whole);
            }
            Err(malformed) => admitted.limits = Err(malformed),
        }
    }
    if !queue_was_cached && let Some(why) = fetch_uncached_queue(job, ctx).await? {
        admitted.decision = AdmissionDecision::Waiting { why, place: None };
    }
    Ok(())
}

/// Asks the API server whether the queue is missing that no cache has. Others hear of a queue that comes from its watch.
/// A new job that is not held by a deleted queue waits for as long as for a start.
pub(super) async fn confirm_missing_queue(
    job: &Job,
    admitted: &mut Admitted<'_>,
    is_held: bool,
    ctx: &Context,
    now: Timestamp,
) -> Result<(), Error> {
    let is_told = job.status.condition(ConditionType::Admitted);
    let is_told = is_told.is_some_and(|admitted| admitted.reason == reasons::QUEUE_NOT_FOUND);
    let created = job.metadata.creation_timestamp.unwrap_or(now);
    let longest = admitted.limits.as_ref().map_or(SignedDuration::ZERO, JobLimits::start_deadline);
    let is_over = !is_held && now.duration_since(created) >= longest;
    if is_told && !is_over {
        return Ok(());
    }
    if let Some(why) = fetch_uncached_queue(job, ctx).await? {
        admitted.decision = AdmissionDecision::Waiting { why, place: None };
    } else if is_over {
        let name = job.spec.queue().to_owned();
        admitted.limits = Err(Error::NotFound { kind: Queue::KIND, name });
        admitted.decision = AdmissionDecision::NotAsked;
    }
    Ok(())
}

/// Why a job must not pass by a queue that the watch has not brought: the queue is new, or it cannot be
/// read. `None` when there is no such queue.
async fn fetch_uncached_queue(job: &Job, ctx: &Context) -> Result<Option<String>, Error> {
    let queue = job.spec.queue();
    if name::problem(queue).is_some() {
        return Ok(None);
    }
    let queues: Api<ComputeQueue> = Api::namespaced(ctx.client.clone(), &job.metadata.namespace);
    match within_deadline(queues.get_opt(queue)).await? {
        Ok(None) => Ok(None),
        Ok(Some(_)) => Ok(Some(format!("queue {queue:?} was created a moment ago"))),
        Err(kube::Error::SerdeError(why)) => {
            Ok(Some(format!("queue {queue:?} cannot be read: {why}")))
        }
        Err(error) => Err(from_kube(error)),
    }
}
