//! Runs the controller: the watches, the reconciles, and what runs beside them.
//!
//! Every controller watches; the one that leads acts. When it begins to lead, every job is reconciled
//! once, and nothing is granted before all CPUs in use were counted and all waiting jobs were enqueued.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, SelectAll};
use futures::{Stream, StreamExt as _};
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use windlass_core::Error;

use super::context::{Channels, Context};
use super::guard::{on_error, reconcile_guarded};
use super::lease::Candidate;
use super::on_watch::{self, JobRefs};
use super::settings::Settings;
use super::{
    claims, function_readiness, keep_standbys, leadership, orphans, resync, unreadable_events,
};
use crate::cache::job::WatchedJob;
use crate::cache::prune::{prune_batch_job, prune_pod};
use crate::cache::stores::Stores;
use crate::cache::synced::Watched;
use crate::cache::unreadable::Unreadable;
use crate::cache::watch::{watch_config, watch_events};
use crate::crd::{ClusterComputeFunction, ComputeFunction, ComputeQueue};
use crate::labels::LABEL_JOB_UID;
use crate::metrics::Metrics;
use crate::queueing::admission::ClusterAdmission;
use crate::queueing::key::JobRef;
use crate::served::apis;

/// Reconciles at the same time. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 32;

/// How long an answer of the API server may say nothing before the controller asks again: longer than a watch
/// without news lasts. Calls have shorter deadlines of their own, but for the lists with which watches begin.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Longest time that a shutdown waits for reconciles that have begun.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// Runs the controller until `shutdown`. Reconciles that have begun are finished, then the Lease is
/// released. `ready` is told whether the watches have brought everything and the API server knows this process.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    ready: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let identity = format!("{}_{}", settings.name, uuid::Uuid::new_v4().simple());
    let (requeue, requeued) = mpsc::unbounded_channel();
    let (unreadable, found_unreadable) = mpsc::unbounded_channel();
    let (leads, led) = watch::channel(settings.lease_namespace.is_none());
    let is_known = watch::Sender::new(true);
    let (stores, writers) = stores();
    let jobs = stores.jobs.clone();
    let admission = ClusterAdmission::new(identity.clone(), settings.require_queue, requeue);
    let channels = Channels { leads: led, unreadable: unreadable.clone() };
    let ctx = Context::new(client.clone(), settings, stores, admission, metrics, channels);
    let mut changes = watches(&ctx, writers, &unreadable);
    changes.push(references(requeued).boxed());

    let (stop, mut stopped) = watch::channel(false);
    let controller = Controller::for_stream(stream::pending(), jobs)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(changes)
        .reconcile_all_on(each_beginning(ctx.leads.clone()))
        .graceful_shutdown_on(async move { drop(stopped.wait_for(|stop| *stop).await) })
        .run(reconcile_guarded, on_error, Arc::clone(&ctx))
        .for_each(async |outcome| match outcome {
            Ok((job, _)) => debug!(job = %job.name, "reconciled"),
            Err(controller::Error::ObjectNotFound(job)) => debug!(job = %job.name, "is gone"),
            // Logged where it was raised.
            Err(controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => warn!(%error, "a watch failed"),
        });
    tokio::select! {
        () = controller => {}
        () = elect(&ctx, &identity, &leads, &is_known) => {}
        () = claims::run(&ctx) => {}
        () = resync::run(&ctx) => {}
        () = orphans::run(&ctx) => {}
        () = keep_standbys::run(&ctx) => {}
        () = function_readiness::run(&ctx) => {}
        () = unreadable_events::run(found_unreadable, ctx.leads.clone(), &ctx.recorder) => {}
        () = leadership::run(&ctx) => {}
        () = leadership::tell_ready(&ctx, is_known.subscribe(), &ready) => {}
        () = async {
            shutdown.await;
            stop.send_replace(true);
            // The controller ends by itself once its reconciles have; this is for those that hang.
            tokio::time::sleep(SHUTDOWN).await;
        } => {}
    }
    leads.send_replace(false);
    if let Some(lease) = &ctx.settings.lease_namespace {
        Candidate::release(client, lease, &identity).await;
    }
    info!("stopped");
    Ok(())
}

/// Those who fill the stores.
struct Writers {
    jobs: Writer<WatchedJob>,
    functions: Writer<ComputeFunction>,
    cluster_functions: Writer<ClusterComputeFunction>,
    queues: Writer<ComputeQueue>,
}

fn stores() -> (Stores, Writers) {
    let (jobs, job_writer): (Store<WatchedJob>, _) = reflector::store();
    let (functions, function_writer) = reflector::store();
    let (cluster_functions, cluster_function_writer) = reflector::store();
    let (queues, queue_writer) = reflector::store();
    let writers = Writers {
        jobs: job_writer,
        functions: function_writer,
        cluster_functions: cluster_function_writer,
        queues: queue_writer,
    };
    (Stores { jobs, functions, cluster_functions, queues }, writers)
}

/// The watches: each fills its cache, and says which jobs are to be reconciled.
fn watches(
    ctx: &Arc<Context>,
    writers: Writers,
    unreadable: &mpsc::UnboundedSender<Unreadable>,
) -> SelectAll<JobRefs> {
    let namespaces = &ctx.settings.namespaces;
    let (all, ours) = (watch_config(None), watch_config(Some(LABEL_JOB_UID)));
    let unreadable = || unreadable.clone();
    let client = &ctx.client;
    let jobs = watch_events(apis(client, namespaces), all.clone(), unreadable(), WatchedJob::prune);
    let functions = watch_events(apis(client, namespaces), all.clone(), unreadable(), |_| ());
    let cluster_functions =
        watch_events(vec![Api::all(client.clone())], all.clone(), unreadable(), |_| ());
    let queues = watch_events(apis(client, namespaces), all, unreadable(), |_| ());
    let batch_jobs =
        watch_events(apis(client, namespaces), ours.clone(), unreadable(), prune_batch_job);
    let pods = watch_events(apis(client, namespaces), ours, unreadable(), prune_pod);
    let mut all = stream::select_all([
        on_watch::functions(ctx, reflector::reflector(writers.functions, functions)),
        on_watch::cluster_functions(
            ctx,
            reflector::reflector(writers.cluster_functions, cluster_functions),
        ),
        on_watch::queues(ctx, reflector::reflector(writers.queues, queues)),
        on_watch::batch_jobs(ctx, batch_jobs),
        on_watch::pods(ctx, pods),
        on_watch::jobs(ctx, reflector::reflector(writers.jobs, jobs)),
    ]);
    all.extend(shared_queues(ctx, unreadable()));
    all
}

/// The watches of what says which queues share CPUs. A controller of some namespaces sees no other's attempts, which
/// it would have to count: it leaves ClusterComputeQueues alone.
fn shared_queues(
    ctx: &Arc<Context>,
    unreadable: mpsc::UnboundedSender<Unreadable>,
) -> Vec<JobRefs> {
    if !ctx.settings.namespaces.is_empty() {
        ctx.synced.mark(Watched::ClusterQueues);
        ctx.synced.mark(Watched::Namespaces);
        return Vec::new();
    }
    let client = &ctx.client;
    let all = || watch_config(None);
    let queues = watch_events(vec![Api::all(client.clone())], all(), unreadable.clone(), |_| ());
    let namespaces = watch_events(vec![Api::all(client.clone())], all(), unreadable, |_| ());
    vec![on_watch::cluster_queues(ctx, queues), on_watch::namespaces(ctx, namespaces)]
}

/// Stands for election, as long as it runs. Without a Lease this process leads from the start.
async fn elect(
    ctx: &Context,
    identity: &str,
    leads: &watch::Sender<bool>,
    is_known: &watch::Sender<bool>,
) {
    match &ctx.settings.lease_namespace {
        Some(lease) => {
            let candidate = Candidate::new(ctx.client.clone(), lease, identity.to_owned());
            candidate.run(leads, is_known).await;
        }
        None => std::future::pending().await,
    }
}

/// An item each time that this process begins to lead.
fn each_beginning(mut leads: watch::Receiver<bool>) -> impl Stream<Item = ()> + Send + 'static {
    leads.mark_changed();
    stream::unfold(leads, async |mut leads| {
        loop {
            leads.changed().await.ok()?;
            if *leads.borrow_and_update() {
                return Some(((), leads));
            }
        }
    })
}

fn references(
    requeued: mpsc::UnboundedReceiver<JobRef>,
) -> impl Stream<Item = ObjectRef<WatchedJob>> + Send + 'static {
    stream::unfold(requeued, async |mut requeued| {
        let (namespace, name) = requeued.recv().await?;
        Some((WatchedJob::reference(&namespace, &name), requeued))
    })
}
