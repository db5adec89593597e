//! The controller: observe -> plan -> apply -> tell, once for each ComputeJob that has changed.
//!
//! Every controller watches; the one that leads acts. When it begins to lead, everything is looked at
//! once, and nothing is granted before all that is in use was counted and all that waits has joined
//! the line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::Client;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};
use windlass_core::{Error, Job, JobKey};

use crate::attempt::build::ReportPlace;
use crate::cache::job::WatchedJob;
use crate::cache::watch as watch_events;
use crate::controller::context::{Stores, World, api, prune_carrier, prune_pod};
use crate::controller::lease::Candidate;
use crate::controller::{claims, malformed, orphans, reconcile, resync};
use crate::labels::LABEL_JOB_UID;
use crate::metrics::Metrics;
use crate::queueing::admission::{Admission, JobRef};

/// Reconciles at the same time. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 32;

/// When a job is looked at again that somebody else has written: the watch wakes it before, unless it is
/// dead.
const OVERTAKEN: Duration = Duration::from_secs(2);

/// When a job is looked at again that was not found, or something that it needs.
const GONE: Duration = Duration::from_secs(5);

/// How long a job is left alone at which we panicked.
const QUARANTINE: Duration = Duration::from_secs(300);

/// How long an answer of the API server may say nothing before the controller asks again: longer than a watch
/// without news lasts. Calls have shorter deadlines of their own, but for the lists with which watches begin.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Longest time that a shutdown waits for reconciles that have begun.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// What the controller is told.
#[derive(Clone)]
pub struct Settings {
    /// Only this namespace; all when absent.
    pub namespace: Option<String>,
    /// Where workers report to.
    pub report: ReportPlace,
    /// Namespace of the Lease by which one of several controllers leads; without one this one acts at
    /// once.
    pub lease_namespace: Option<String>,
    /// Who this is among them: the pod's name, for example. Made unique here.
    pub name: String,
    /// Whether a node whose object was deleted is known to run nothing any more. Without this an
    /// attempt that was there when its node was deleted is never taken for dead.
    pub deleted_nodes_are_fenced: bool,
    /// Told each job that this process has seen to end, while it leads. Must return at once.
    pub ended: Option<Ended>,
}

/// Told a job.
pub type Ended = Arc<dyn Fn(&Job) + Send + Sync>;

/// Runs the controller until `shutdown`. Reconciles that have begun are finished, then the Lease is
/// released. `ready` is told whether the watches have brought everything.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    ready: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let identity = format!("{}_{}", settings.name, uuid::Uuid::new_v4().simple());
    let (wake, woken) = mpsc::unbounded_channel();
    let (unreadable, malformed) = mpsc::unbounded_channel();
    let (leads, led) = watch::channel(settings.lease_namespace.is_none());
    let namespace = settings.namespace.clone();

    let (jobs, job_writer) = reflector::store();
    let (functions, function_writer) = reflector::store();
    let (queues, queue_writer) = reflector::store();
    let stores = Stores { jobs: jobs.clone(), functions, queues };
    let admission = Admission::new(identity.clone(), wake);
    let world = Arc::new(World::new(
        client.clone(),
        settings,
        stores,
        admission,
        led,
        metrics,
        unreadable.clone(),
    ));

    let job_events = watch_events::events(
        api(&client, namespace.as_deref()),
        watch_events::config(None),
        unreadable.clone(),
        WatchedJob::prune,
    );
    let job_changes = world.follow_jobs(reflector::reflector(job_writer, job_events));
    let others = futures::stream::select_all([
        world.follow_functions(reflector::reflector(
            function_writer,
            watch_events::events(
                api(&client, namespace.as_deref()),
                watch_events::config(None),
                unreadable.clone(),
                |_| (),
            ),
        )),
        world.follow_queues(reflector::reflector(
            queue_writer,
            watch_events::events(
                api(&client, namespace.as_deref()),
                watch_events::config(None),
                unreadable.clone(),
                |_| (),
            ),
        )),
        world.follow_carriers(watch_events::events(
            api(&client, namespace.as_deref()),
            watch_events::config(Some(LABEL_JOB_UID)),
            unreadable.clone(),
            prune_carrier,
        )),
        world.follow_pods(watch_events::events(
            api(&client, namespace.as_deref()),
            watch_events::config(Some(LABEL_JOB_UID)),
            unreadable,
            prune_pod,
        )),
        references(woken).boxed(),
        job_changes,
    ]);

    let (stop, stopped) = watch::channel(false);
    let stopping = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    let mut stops = stopped.clone();
    let controller = Controller::for_stream(futures::stream::pending(), jobs)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(others)
        .reconcile_all_on(begins(world.leads.clone()))
        .graceful_shutdown_on(async move { drop(stops.wait_for(|stop| *stop).await) })
        .run(look, on_error, Arc::clone(&world))
        .for_each(async |outcome| match outcome {
            Ok((job, _)) => debug!(job = %job.name, "reconciled"),
            Err(controller::Error::ObjectNotFound(job)) => debug!(job = %job.name, "is gone"),
            // Logged where it was raised.
            Err(controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => warn!(%error, "a watch failed"),
        });
    let elect = async {
        match &world.settings.lease_namespace {
            Some(lease) => {
                let candidate = Candidate::new(client.clone(), lease, identity.clone());
                candidate.run(&leads).await;
            }
            None => std::future::pending().await,
        }
    };
    let mut ends = stopped.clone();
    tokio::select! {
        () = controller => {}
        () = elect => {}
        () = claims::run(&world) => {}
        () = resync::run(&world) => {}
        () = orphans::run(&world) => {}
        () = malformed::tell(malformed, world.leads.clone(), &world.recorder) => {}
        () = world.lead() => {}
        () = world.tell_ready(&ready) => {}
        () = async {
            stopping.await;
            // The controller ends by itself once its reconciles have; this is for those that hang.
            drop(ends.wait_for(|stop| *stop).await);
            tokio::time::sleep(SHUTDOWN).await;
        } => {}
    }
    leads.send_replace(false);
    if let Some(lease) = &world.settings.lease_namespace {
        Candidate::release(client, lease, &identity).await;
    }
    info!("stopped");
    Ok(())
}

/// An item each time that this process begins to lead.
fn begins(mut leads: watch::Receiver<bool>) -> impl Stream<Item = ()> + Send + 'static {
    leads.mark_changed();
    futures::stream::unfold(leads, async |mut leads| {
        loop {
            leads.changed().await.ok()?;
            if *leads.borrow_and_update() {
                return Some(((), leads));
            }
        }
    })
}

fn references(
    woken: mpsc::UnboundedReceiver<JobRef>,
) -> impl Stream<Item = ObjectRef<WatchedJob>> + Send + 'static {
    futures::stream::unfold(woken, async |mut woken| {
        let (namespace, name) = woken.recv().await?;
        Some((WatchedJob::reference(&namespace, &name), woken))
    })
}

async fn look(object: Arc<WatchedJob>, world: Arc<World>) -> Result<Requeue, Error> {
    if !*world.leads.borrow() {
        return Ok(Requeue::await_change());
    }
    let job = object.to_core();
    let began = Instant::now();
    if let Some(rest) = world.quarantined(&job.metadata.uid, began) {
        return Ok(Requeue::requeue(rest));
    }
    // A panic is a defect of ours on one object; the others go on.
    let looked = AssertUnwindSafe(reconcile::reconcile(&job, &world)).catch_unwind().await;
    if looked.is_err() {
        world.quarantine(&job.metadata.uid, began + QUARANTINE);
    }
    let (outcome, next) = after(&job.key(), looked);
    if let Some(outcome) = outcome {
        world.metrics.reconciled(outcome, began.elapsed().as_secs_f64());
    }
    next
}

/// What comes after a look at a job, and the word by which it is counted.
fn after(
    job: &JobKey,
    look: std::thread::Result<Result<Requeue, Error>>,
) -> (Option<&'static str>, Result<Requeue, Error>) {
    match look {
        Ok(Ok(requeue)) => (Some("ok"), Ok(requeue)),
        // Somebody else wrote first; the watch brings what they wrote.
        Ok(Err(Error::Conflict(why))) => {
            debug!(%job, why, "overtaken");
            (Some("conflict"), Ok(Requeue::requeue(OVERTAKEN)))
        }
        // The job itself, most likely: then there is no next look.
        Ok(Err(Error::NotFound { .. })) => (None, Ok(Requeue::requeue(GONE))),
        Ok(Err(error)) => {
            let unavailable = matches!(error, Error::Unavailable { .. });
            warn!(%job, %error, "reconcile failed");
            (Some(if unavailable { "unavailable" } else { "error" }), Err(error))
        }
        Err(_) => {
            error!(%job, "reconcile panicked; the job is left alone for {QUARANTINE:?}");
            (Some("panic"), Ok(Requeue::requeue(QUARANTINE)))
        }
    }
}

fn on_error(_: Arc<WatchedJob>, error: &Error, _: Arc<World>) -> Requeue {
    Requeue::requeue(match error {
        Error::Unavailable { retry_after, .. } | Error::Busy { retry_after, .. } => *retry_after,
        _ => Duration::from_secs(15),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_quarantines_one_job() {
        let look = async { panic!("a defect") };
        let looked = AssertUnwindSafe(look).catch_unwind().await;
        let job = JobKey { namespace: "default".into(), name: "a".into() };
        let (outcome, next) = after(&job, looked);
        assert_eq!((outcome, next.unwrap()), (Some("panic"), Requeue::requeue(QUARANTINE)));
    }
}
