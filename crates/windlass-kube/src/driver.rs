//! The controller: observe -> plan -> apply -> tell, once for each ComputeJob that has changed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::{Timestamp, Unit};
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::api::ListParams;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};
use windlass_core::plan::{Admission as Answer, Attempt, needs_cpus, plan_invalid};
use windlass_core::{Error, Function, Job, Limits, Plan, Seen, plan, validate};

use crate::admission::Admission;
use crate::apply::{Effects, tell};
use crate::attempt::{LABEL_JOB, LABEL_JOB_UID, LABEL_QUEUE};
use crate::cache::{self, Cache};
use crate::crd::{ComputeFunction, ComputeJob};
use crate::error::{from_kube, within_deadline};
use crate::observe;

/// Reconciles at the same time. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 16;

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only this namespace; all when absent.
    pub namespace: Option<String>,
    /// Where workers report to, as their pods reach it.
    pub report_url: String,
}

struct Context {
    client: Client,
    settings: Settings,
    cache: Cache,
    admission: Arc<Admission>,
}

/// Runs the controller until `shutdown`. Reconciles that have begun are finished.
pub async fn run(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), Error> {
    let (cache, streams) = cache::open(&client, settings.namespace.as_deref());
    let (wake, woken) = mpsc::unbounded_channel();
    let admission = Arc::new(Admission::new(cache.clone(), wake));
    let context = Arc::new(Context {
        client,
        settings,
        cache: cache.clone(),
        admission: Arc::clone(&admission),
    });

    let ended = Arc::clone(&admission);
    let pods = streams.pods.inspect(move |pod| {
        if let Ok(pod) = pod {
            freed(&ended, pod);
        }
    });
    let ended = Arc::clone(&admission);
    let carriers = streams.carriers.inspect(move |carrier| {
        if let Ok(carrier) = carrier {
            freed(&ended, carrier);
        }
    });
    let changed = admission;
    let queues = streams.queues.inspect(move |queue| {
        if let Ok(queue) = queue {
            let (namespace, name) = (&queue.metadata.namespace, &queue.metadata.name);
            let namespace = namespace.as_deref().unwrap_or_default();
            changed.refresh(namespace, name.as_deref().unwrap_or_default(), now());
        }
    });

    let config = controller::Config::default().concurrency(CONCURRENCY);
    Controller::for_stream(streams.jobs, cache.jobs.clone())
        .with_config(config)
        .owns_stream(carriers)
        .watches_stream(pods, |pod: core_v1::Pod| job_of(&pod))
        // A function or queue drives no reconcile; the streams are polled so that the stores fill.
        .watches_stream(streams.functions, |_: ComputeFunction| None)
        .watches_stream(queues, |_| None)
        .reconcile_on(tokio_stream(woken))
        .graceful_shutdown_on(shutdown)
        .run(reconcile, on_error, context)
        .for_each(async |outcome| match outcome {
            Ok((job, _)) => debug!(job = %job.name, "reconciled"),
            Err(controller::Error::ObjectNotFound(job)) => debug!(job = %job.name, "is gone"),
            // Logged where it was raised.
            Err(controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => warn!(%error, "a watch failed"),
        })
        .await;
    info!("stopped");
    Ok(())
}

async fn reconcile(object: Arc<ComputeJob>, context: Arc<Context>) -> Result<Requeue, Error> {
    let job = object.to_core();
    // A panic is a defect of ours on one object; the others go on.
    match AssertUnwindSafe(one(&job, &context)).catch_unwind().await {
        Ok(Ok(requeue)) => Ok(requeue),
        // Somebody else wrote first; the watch brings what they wrote.
        Ok(Err(Error::Conflict(why))) => {
            debug!(job = %job.key(), why, "overtaken");
            Ok(Requeue::requeue(Duration::from_millis(200)))
        }
        Ok(Err(Error::NotFound { .. })) => Ok(Requeue::await_change()),
        Ok(Err(error)) => {
            warn!(job = %job.key(), %error, "reconcile failed");
            Err(error)
        }
        Err(_) => {
            error!(job = %job.key(), "reconcile panicked; the job is left alone for 5 minutes");
            Ok(Requeue::requeue(Duration::from_secs(300)))
        }
    }
}

fn on_error(_: Arc<ComputeJob>, error: &Error, _: Arc<Context>) -> Requeue {
    Requeue::requeue(match error {
        Error::Unavailable { retry_after, .. } | Error::Busy { retry_after, .. } => *retry_after,
        _ => Duration::from_secs(15),
    })
}

/// One ComputeJob, once.
async fn one(job: &Job, context: &Context) -> Result<Requeue, Error> {
    // Deletion is the garbage collector's work, by owner references.
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Requeue::await_change());
    }
    // After a restart the caches fill one after the other; CPUs in use are counted from all of them.
    context.cache.ready().await.map_err(|_| Error::unavailable("the watches have ended"))?;
    let now = now();
    let attempts = observe_attempts(job, context, now).await?;
    let function = find_function(job, context).await?;
    let verdict = judge(job, function.as_ref(), context);
    let Plan { actions, status, look_again } = match &verdict {
        Ok(limits) => {
            let admission = if needs_cpus(job, &attempts, now) {
                context.admission.ask(job, limits, now)
            } else {
                Answer::NotAsked
            };
            plan(job, limits, &Seen { admission, attempts }, now)
        }
        Err(why) => plan_invalid(job, why, &Seen { attempts, ..Seen::default() }, now),
    };
    let orphaned = Limits::without_function(&job.spec);
    let effects = Effects {
        client: &context.client,
        report_url: &context.settings.report_url,
        job,
        limits: verdict.as_ref().unwrap_or(&orphaned),
        function: function.as_ref().map(|function| &function.spec),
    };
    for action in &actions {
        effects.perform(action).await?;
    }
    tell(&context.client, job, &status).await?;
    Ok(look_again.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// The attempts in the caches. One that the status names and no cache shows is looked for at the API
/// server: caches of different kinds are of different ages.
async fn observe_attempts(
    job: &Job,
    context: &Context,
    now: Timestamp,
) -> Result<Vec<Attempt>, Error> {
    let cache = &context.cache;
    let mut attempts = observe::attempts(job, &cache.carriers_of(job), &cache.pods_of(job), now);
    let Some(number) = job.status.attempt.filter(|_| !job.status.is_finished()) else {
        return Ok(attempts);
    };
    if attempts.iter().any(|attempt| attempt.number == number) {
        return Ok(attempts);
    }
    let params = ListParams::default().labels(&format!("{LABEL_JOB_UID}={}", job.metadata.uid));
    let namespace = &job.metadata.namespace;
    let carriers: Api<batch::Job> = Api::namespaced(context.client.clone(), namespace);
    let pods: Api<core_v1::Pod> = Api::namespaced(context.client.clone(), namespace);
    let carriers = within_deadline(carriers.list(&params)).await?.map_err(from_kube)?;
    let pods = within_deadline(pods.list(&params)).await?.map_err(from_kube)?;
    let carriers: Vec<_> = carriers.items.into_iter().map(Arc::new).collect();
    let pods: Vec<_> = pods.items.into_iter().map(Arc::new).collect();
    attempts = observe::attempts(job, &carriers, &pods, now);
    if attempts.iter().all(|attempt| attempt.number != number) {
        attempts.push(observe::vanished(job, number, now));
        attempts.sort_by_key(|attempt| attempt.number);
    }
    Ok(attempts)
}

/// The function of a job. A cache may lag behind a function that was created a moment ago.
async fn find_function(job: &Job, context: &Context) -> Result<Option<Function>, Error> {
    if let Some(function) = context.cache.function(job) {
        return Ok(Some(function));
    }
    if job.status.is_finished() {
        return Ok(None);
    }
    let functions: Api<ComputeFunction> =
        Api::namespaced(context.client.clone(), &job.metadata.namespace);
    let found = within_deadline(functions.get_opt(&job.spec.function)).await?.map_err(from_kube)?;
    Ok(found.map(|function| function.to_core()))
}

fn judge(job: &Job, function: Option<&Function>, context: &Context) -> Result<Limits, Error> {
    let Some(function) = function else {
        return Err(Error::NotFound { kind: Function::KIND, name: job.spec.function.clone() });
    };
    if function.spec.image.is_none() {
        return Err(Error::Conflict(format!(
            "function {:?} has no image and cannot run on a cluster",
            job.spec.function
        )));
    }
    let queue = context.cache.queue(&job.metadata.namespace, job.spec.queue());
    validate(&job.spec, &function.spec, queue.as_ref().map(|queue| &queue.spec))
}

/// A batch Job or pod has changed: CPUs of its queue may have become free.
fn freed<K: Resource>(admission: &Admission, object: &K) {
    let meta = object.meta();
    let queue = meta.labels.as_ref().and_then(|labels| labels.get(LABEL_QUEUE));
    if let (Some(namespace), Some(queue)) = (&meta.namespace, queue) {
        admission.refresh(namespace, queue, now());
    }
}

/// The ComputeJob that a pod works for.
fn job_of(pod: &core_v1::Pod) -> Option<ObjectRef<ComputeJob>> {
    let name = pod.metadata.labels.as_ref()?.get(LABEL_JOB)?;
    Some(ObjectRef::new(name).within(pod.metadata.namespace.as_deref()?))
}

fn tokio_stream<T: Send + 'static>(
    receiver: mpsc::UnboundedReceiver<T>,
) -> impl futures::Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

/// The time, in whole milliseconds: what is told is read by people.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}
