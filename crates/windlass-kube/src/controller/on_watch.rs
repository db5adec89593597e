//! What follows from each change that a watch brings: the caches take it in, and the job that it concerns is reconciled.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt as _};
use tracing::info;
use windlass_core::Job;
use windlass_core::status::EndSummary;

use super::context::Context;
use crate::attempt::owner::is_standby;
use crate::cache::attempts::ChangedAttempt;
use crate::cache::job::WatchedJob;
use crate::cache::synced::Watched;
use crate::cache::watch::{Change, DeletedObject, handle_changes};
use crate::crd::{ClusterComputeFunction, ClusterComputeQueue, ComputeFunction, ComputeQueue};
use crate::labels::AttemptId;
use crate::queueing::key::QueueKey;

/// Jobs that are to be reconciled.
pub(crate) type JobRefs = BoxStream<'static, ObjectRef<WatchedJob>>;

type Event<K> = watcher::Result<watcher::Event<K>>;

/// Handles one watch. That it has listed its objects, or has failed, is noted for every kind alike; what else follows is up
/// to `step`.
fn handle<K, I>(
    ctx: &Arc<Context>,
    watched: Watched,
    events: impl Stream<Item = Event<K>> + Send + 'static,
    step: fn(&Context, Change<K>) -> I,
) -> JobRefs
where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
    I: IntoIterator<Item = ObjectRef<WatchedJob>> + Default + 'static,
    I::IntoIter: Send,
{
    let ctx = Arc::clone(ctx);
    handle_changes(events, move |change| {
        match &change {
            Change::Listed => ctx.synced.mark(watched),
            Change::Failed => ctx.metrics.watch_failed(watched.resource()),
            Change::Applied(_) | Change::Deleted(_) => {}
        }
        step(&ctx, change)
    })
    .boxed()
}

/// Handles the watch of ComputeJobs.
pub(crate) fn jobs(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<WatchedJob>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::Jobs, events, |ctx, change| match change {
        Change::Applied(job) => {
            job_changed(ctx, &job);
            vec![ObjectRef::from_obj(&job)]
        }
        Change::Deleted(job) => {
            job_deleted(ctx, &job);
            Vec::new()
        }
        // A job that was reconciled while the pages of the list came was seen as it was before the list.
        Change::Listed => ctx.stores.all_jobs(),
        Change::Failed => Vec::new(),
    })
}

/// Handles the watch of ComputeFunctions. Only jobs that lack their function depend on it: a job is
/// validated when it comes, and each start reads the function.
pub(crate) fn functions(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<ComputeFunction>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::Functions, events, |ctx, change| match change {
        Change::Applied(function) => {
            let namespace = function.namespace().unwrap_or_default();
            ctx.stores.jobs_without(Some(&namespace), &function.name_any())
        }
        Change::Deleted(_) | Change::Listed | Change::Failed => Vec::new(),
    })
}

/// The same of ClusterComputeFunctions.
pub(crate) fn cluster_functions(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<ClusterComputeFunction>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::ClusterFunctions, events, |ctx, change| match change {
        Change::Applied(function) => ctx.stores.jobs_without(None, &function.name_any()),
        Change::Deleted(_) | Change::Listed | Change::Failed => Vec::new(),
    })
}

/// Handles the watch of ComputeQueues.
pub(crate) fn queues(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<ComputeQueue>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::Queues, events, |ctx, change| match change {
        Change::Applied(queue) if queue_changed(ctx, &queue) => {
            ctx.stores.unfinished_jobs_in(&queue)
        }
        Change::Deleted(queue) => {
            let key = QueueKey { namespace: queue.namespace, name: queue.name };
            ctx.admission.queue_deleted(&key, &queue.uid, ctx.now());
            Vec::new()
        }
        Change::Applied(_) | Change::Listed | Change::Failed => Vec::new(),
    })
}

/// Handles the watch of ClusterComputeQueues. Admission itself has jobs reconciled: a queue may be in another pool now.
pub(crate) fn cluster_queues(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<ClusterComputeQueue>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::ClusterQueues, events, |ctx, change| {
        match change {
            Change::Applied(queue) => cluster_queue_changed(ctx, &queue),
            Change::Deleted(queue) => {
                ctx.admission.cluster_queue_deleted(&queue.name, &queue.uid, ctx.now());
            }
            Change::Listed | Change::Failed => {}
        }
        Vec::new()
    })
}

/// Handles the watch of namespaces, whose labels say which CPUs their queues share.
pub(crate) fn namespaces(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<core_v1::Namespace>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::Namespaces, events, |ctx, change| {
        match change {
            Change::Applied(namespace) => namespace_changed(ctx, &namespace),
            Change::Deleted(namespace) => {
                let was_over = |attempt: &AttemptId| was_over(ctx, attempt);
                ctx.admission.namespace_changed(&namespace.name, None, was_over, ctx.now());
            }
            Change::Listed | Change::Failed => {}
        }
        Vec::new()
    })
}

/// Handles the watch of batch Jobs.
pub(crate) fn batch_jobs(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<batch::Job>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::BatchJobs, events, |ctx, change| shown(ctx, &change, batch_job_changed))
}

/// Handles the watch of pods.
pub(crate) fn pods(
    ctx: &Arc<Context>,
    events: impl Stream<Item = Event<core_v1::Pod>> + Send + 'static,
) -> JobRefs {
    handle(ctx, Watched::Pods, events, |ctx, change| shown(ctx, &change, pod_changed))
}

/// Says once how a job has ended.
fn log_end(job: &Job) {
    if let Some(EndSummary { phase, reason, exit_code, seconds }) = job.status.summary() {
        let attempt = job.status.attempt;
        info!(job = %job.key(), phase, reason, exit_code, attempt, seconds, "job ended");
    }
}

fn job_changed(ctx: &Context, job: &WatchedJob) {
    let leads = ctx.is_leading();
    // Each of several controllers sees the end; the one that leads counts it.
    if ctx.unfinished_jobs.is_end(job) && leads {
        let job = job.to_core();
        ctx.metrics.jobs().finished(&job);
        log_end(&job);
        if let Some(ended) = &ctx.settings.ended {
            ended(&job);
        }
    }
    ctx.failure_events.job_changed(job, leads);
    let is_over = job.is_finished() || job.meta().deletion_timestamp.is_some();
    if is_over && let Some(uid) = job.uid() {
        ctx.admission.withdraw(uid, ctx.now());
        ctx.refusals.forget(uid);
        ctx.managed.is_over(uid);
    }
}

fn job_deleted(ctx: &Context, job: &DeletedObject) {
    ctx.admission.withdraw(&job.uid, ctx.now());
    ctx.refusals.forget(&job.uid);
    ctx.managed.forget(&job.uid);
    ctx.expectations.forget(&job.uid);
    ctx.failure_events.forget(&job.uid);
    ctx.quarantine.forget(&job.uid);
    ctx.unfinished_jobs.forget(&job.uid);
}

/// A ComputeQueue is there, or has changed. Whether its jobs are to be reconciled.
pub(crate) fn queue_changed(ctx: &Context, queue: &ComputeQueue) -> bool {
    ctx.admission.queue_changed(queue, |attempt| was_over(ctx, attempt), ctx.now())
}

/// A ClusterComputeQueue is there, or has changed.
pub(crate) fn cluster_queue_changed(ctx: &Context, queue: &ClusterComputeQueue) {
    ctx.admission.cluster_queue_changed(queue, |attempt| was_over(ctx, attempt), ctx.now());
}

/// A namespace is there, or its labels have changed.
pub(crate) fn namespace_changed(ctx: &Context, namespace: &core_v1::Namespace) {
    let was_over = |attempt: &AttemptId| was_over(ctx, attempt);
    let (name, shown) = (namespace.name_any(), Some(&namespace.metadata));
    ctx.admission.namespace_changed(&name, shown, was_over, ctx.now());
}

fn was_over(ctx: &Context, attempt: &AttemptId) -> bool {
    let objects = ctx.attempts.objects(&attempt.job_uid, attempt.number);
    objects.is_some_and(|objects| !objects.is_live())
}

/// A batch Job has changed. The job that is to be reconciled.
pub(crate) fn batch_job_changed(
    ctx: &Context,
    change: &Change<batch::Job>,
) -> Option<ObjectRef<WatchedJob>> {
    ctx.standbys.batch_job_changed(change);
    let changed = ctx.attempts.batch_job_changed(change, ctx.now())?;
    Some(attempt_changed(ctx, &changed))
}

/// A batch Job was found, or made, beside the watch. It counts at once, and is in doubt until the watch shows it, too.
pub(crate) fn batch_job_found(ctx: &Context, batch_job: batch::Job) {
    if ctx.attempts.is_unknown(&batch_job) {
        batch_job.uid().into_iter().for_each(|uid| ctx.attempts.mark_unconfirmed(uid));
        batch_job_changed(ctx, &Change::Applied(batch_job));
    }
}

/// A list beside the watches has found this pod.
pub(crate) fn pod_found(ctx: &Context, pod: core_v1::Pod) {
    if ctx.attempts.is_unknown(&pod) {
        pod.uid().into_iter().for_each(|uid| ctx.attempts.mark_unconfirmed(uid));
        pod_changed(ctx, &Change::Applied(pod));
    }
}

/// A pod has changed. The job that is to be reconciled.
pub(crate) fn pod_changed(
    ctx: &Context,
    change: &Change<core_v1::Pod>,
) -> Option<ObjectRef<WatchedJob>> {
    let now = ctx.now();
    ctx.standbys.pod_changed(change);
    if let Change::Applied(pod) = change
        && !is_standby(&pod.metadata)
        && ctx.attempts.is_unknown(pod)
    {
        ctx.start_rate.record(now);
    }
    let changed = ctx.attempts.pod_changed(change, now)?;
    Some(attempt_changed(ctx, &changed))
}

/// An attempt has changed: its CPUs are in use, or free. The job that is to be reconciled.
pub(crate) fn attempt_changed(ctx: &Context, changed: &ChangedAttempt) -> ObjectRef<WatchedJob> {
    ctx.admission.attempt_changed(changed, ctx.now());
    WatchedJob::reference(&changed.labels.namespace, &changed.labels.job)
}

/// The watch shows a change of an object, which may have been found beside it and is in doubt no longer.
fn shown<K: Resource, T>(
    ctx: &Context,
    change: &Change<K>,
    follow: fn(&Context, &Change<K>) -> T,
) -> T {
    if let Change::Applied(object) = change {
        object.meta().uid.iter().for_each(|uid| ctx.attempts.confirm(uid));
    }
    follow(ctx, change)
}
