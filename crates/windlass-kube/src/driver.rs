//! The controller: observe -> plan -> apply -> tell, once for each ComputeJob that has changed.
//!
//! Every controller watches; the one that leads acts. When it begins to lead, everything is looked at
//! once, and nothing is granted before all that is in use was counted and all that waits has joined
//! the line.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::api::ListParams;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::{Api, Client, Resource};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, error, info, warn};
use windlass_core::plan::{
    Admission as Answer, Attempt, AttemptState, Refusal, needs_cpus, next_attempt_number,
    plan_invalid,
};
use windlass_core::validate::validate_without_input;
use windlass_core::{Action, Error, Function, Job, Limits, Plan, Problem, Seen, plan, validate};

use crate::admission::{Admission, JobRef, QueueKey};
use crate::apply::{Done, Effects, tell};
use crate::attempt::LABEL_JOB_UID;
use crate::changes::{self, Change};
use crate::clock::Clock;
use crate::crd::{ComputeFunction, ComputeJob, ComputeQueue};
use crate::error::{from_kube, within_deadline};
use crate::lease::Candidate;
use crate::metrics::Metrics;
use crate::observe::{self, AttemptId};
use crate::traces::{Touched, Traces};
use crate::watched::WatchedJob;
use crate::{claims, malformed, notices};

/// Reconciles at the same time. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 32;

/// Of these, how many may tell jobs that they wait: thousands of them must not keep others from
/// starting.
const TELLING_WAITERS: usize = 4;

/// A job that waits for CPUs for less than this is not told so: it would be a write that nobody sees.
const WAITING_GRACE: SignedDuration = SignedDuration::from_secs(2);

/// Least time between two lists of Events.
const BETWEEN_LISTS_OF_EVENTS: Duration = Duration::from_secs(1);

/// While many jobs are being started, what an ended one leaves is removed only now: its CPUs are free
/// already, and the API server's time belongs to those that somebody waits for.
const REMOVAL_WAITS: SignedDuration = SignedDuration::from_secs(30);

/// So many starts within [`MANY_STARTS_WITHIN`] are many. A Job controller at its default limit, 20 requests
/// a second of which a pod takes two, never comes to it: there jobs wait for that limit, and a removed
/// batch Job is one that takes nothing of it any more.
const MANY_STARTS: usize = 32;

/// See [`MANY_STARTS`].
const MANY_STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// An attempt that ends within this time of its container's start, which is told in whole seconds, costs
/// no write for having run.
const RUNNING_GRACE: Duration = Duration::from_secs(2);

/// How often a job that waits is looked at although nothing has happened to it.
const WAITING_LOOK: Duration = Duration::from_secs(30);

/// How often the reason is looked for why a batch Job has no pod.
const HINDRANCE_LOOK: Duration = Duration::from_secs(10);

/// When a job is looked at again whose last write the watch has not brought.
const BEHIND: Duration = Duration::from_secs(5);

/// Longest time that a shutdown waits for reconciles that have begun.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// What the controller is told.
#[derive(Clone)]
pub struct Settings {
    /// Only this namespace; all when absent.
    pub namespace: Option<String>,
    /// Where workers report to, as their pods reach it.
    pub report_url: String,
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

/// What this process knows, and what it reaches the API server with.
pub(crate) struct World {
    pub(crate) client: Client,
    settings: Settings,
    clock: Clock,
    jobs: Store<WatchedJob>,
    functions: Store<ComputeFunction>,
    queues: Store<ComputeQueue>,
    pub(crate) traces: Traces,
    pub(crate) admission: Admission,
    leads: watch::Receiver<bool>,
    /// Starts that the API server refuses, by UID of the job.
    refusals: Mutex<HashMap<String, Refusal>>,
    /// The version of a job that a write of ours has replaced, by UID, until the watch has caught up.
    replaced: Mutex<HashMap<String, String>>,
    telling_waiters: Semaphore,
    events_listed: Mutex<Option<Instant>>,
    /// When the last [`MANY_STARTS`] attempts, or pods of attempts, were created.
    last_starts: Mutex<VecDeque<Timestamp>>,
    pub(crate) metrics: Metrics,
    /// UIDs of the jobs that were seen and have not ended.
    open_jobs: Mutex<HashSet<String>>,
    recorder: Recorder,
    /// Which watches have listed everything.
    listed: watch::Sender<Listed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    jobs: bool,
    functions: bool,
    queues: bool,
    carriers: bool,
    pods: bool,
}

impl Listed {
    fn all(self) -> bool {
        self.jobs && self.functions && self.queues && self.carriers && self.pods
    }
}

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
    let reporter = Reporter {
        controller: "windlass.dev/controller".into(),
        instance: Some(settings.name.clone()),
    };
    let world = Arc::new(World {
        clock: Clock::start(),
        jobs: jobs.clone(),
        functions,
        queues,
        traces: Traces::default(),
        admission: Admission::new(identity.clone(), wake),
        leads: led,
        refusals: Mutex::default(),
        replaced: Mutex::default(),
        telling_waiters: Semaphore::new(TELLING_WAITERS),
        events_listed: Mutex::default(),
        last_starts: Mutex::default(),
        metrics,
        open_jobs: Mutex::default(),
        recorder: Recorder::new(client.clone(), reporter),
        listed: watch::Sender::default(),
        client: client.clone(),
        settings,
    });

    let job_events = changes::events(
        api(&client, namespace.as_deref()),
        changes::config(None),
        unreadable.clone(),
        WatchedJob::prune,
    );
    let job_changes = world.follow_jobs(reflector::reflector(job_writer, job_events));
    let others = futures::stream::select_all([
        world.follow_functions(reflector::reflector(
            function_writer,
            changes::events(
                api(&client, namespace.as_deref()),
                changes::config(None),
                unreadable.clone(),
                |_| (),
            ),
        )),
        world.follow_queues(reflector::reflector(
            queue_writer,
            changes::events(
                api(&client, namespace.as_deref()),
                changes::config(None),
                unreadable.clone(),
                |_| (),
            ),
        )),
        world.follow_carriers(changes::events(
            api(&client, namespace.as_deref()),
            changes::config(Some(LABEL_JOB_UID)),
            unreadable.clone(),
            prune_carrier,
        )),
        world.follow_pods(changes::events(
            api(&client, namespace.as_deref()),
            changes::config(Some(LABEL_JOB_UID)),
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
        .run(reconcile, on_error, Arc::clone(&world))
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

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What is read of a batch Job is its metadata and its status.
fn prune_carrier(carrier: &mut batch::Job) {
    carrier.spec = None;
    carrier.metadata.annotations = None;
}

/// What is read of a pod is its metadata, its node and its status.
fn prune_pod(pod: &mut core_v1::Pod) {
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let node_name = spec.node_name.take();
        *spec = core_v1::PodSpec { node_name, ..Default::default() };
    }
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

type Woken = BoxStream<'static, ObjectRef<WatchedJob>>;
type Events<K> = Result<kube::runtime::watcher::Event<K>, kube::runtime::watcher::Error>;

impl World {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// All objects of a kind that this process may see.
    pub(crate) fn api_of_all<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        api(&self.client, self.settings.namespace.as_deref())
    }

    fn follow_jobs(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<WatchedJob>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = changes::changes(events).filter_map(move |change| {
            let woken = match change {
                Change::Applied(job) => {
                    world.measure_end(&job);
                    let meta = job.meta();
                    let over = job.is_finished() || meta.deletion_timestamp.is_some();
                    if over && let Some(uid) = &meta.uid {
                        world.admission.leave(uid, world.now());
                        world.refusals().remove(uid);
                    }
                    Some(ObjectRef::from_obj(&job))
                }
                Change::Deleted(gone) => {
                    world.admission.leave(&gone.uid, world.now());
                    world.refusals().remove(&gone.uid);
                    world.replaced().remove(&gone.uid);
                    let mut open = world.open_jobs.lock().unwrap_or_else(PoisonError::into_inner);
                    open.remove(&gone.uid);
                    None
                }
                Change::Listed => {
                    world.listed.send_modify(|listed| listed.jobs = true);
                    None
                }
                Change::Failed => {
                    world.metrics.watch_failed("computejobs");
                    None
                }
            };
            std::future::ready(woken)
        });
        changed.boxed()
    }

    /// A function wakes no job: one that names it is judged when it comes, and each start reads it.
    fn follow_functions(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<ComputeFunction>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = changes::changes(events).filter_map(move |change| {
            match change {
                Change::Listed => world.listed.send_modify(|listed| listed.functions = true),
                Change::Failed => world.metrics.watch_failed("computefunctions"),
                Change::Applied(_) | Change::Deleted(_) => {}
            }
            std::future::ready(None)
        });
        changed.boxed()
    }

    fn follow_queues(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<ComputeQueue>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = changes::changes(events).flat_map(move |change| {
            let woken = match change {
                Change::Applied(queue) => {
                    let is_new = world.queue_changed(&queue);
                    if is_new { world.jobs_of(&queue) } else { Vec::new() }
                }
                Change::Deleted(gone) => {
                    let key = QueueKey { namespace: gone.namespace, name: gone.name };
                    world.admission.queue_deleted(&key, &gone.uid);
                    Vec::new()
                }
                Change::Listed => {
                    world.listed.send_modify(|listed| listed.queues = true);
                    Vec::new()
                }
                Change::Failed => {
                    world.metrics.watch_failed("computequeues");
                    Vec::new()
                }
            };
            futures::stream::iter(woken)
        });
        changed.boxed()
    }

    /// A ComputeQueue is there, or has changed. Whether it was not known before.
    pub(crate) fn queue_changed(&self, queue: &ComputeQueue) -> bool {
        let was_over = |attempt: &AttemptId| {
            let trace = self.traces.trace(&attempt.job_uid, attempt.number);
            trace.is_some_and(|trace| !trace.is_live())
        };
        self.admission.queue_changed(queue, was_over, self.now())
    }

    /// Jobs that are told to wait and those that have not been looked at, of a queue that is new.
    fn jobs_of(&self, queue: &ComputeQueue) -> Vec<ObjectRef<WatchedJob>> {
        let namespace = queue.metadata.namespace.as_deref();
        let name = queue.metadata.name.as_deref();
        let all = self.jobs.state().into_iter().filter(|job| {
            job.meta().namespace.as_deref() == namespace
                && Some(job.queue()) == name
                && !job.is_finished()
        });
        all.map(|job| ObjectRef::from_obj(job.as_ref())).collect()
    }

    fn follow_carriers(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<batch::Job>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = changes::changes(events).filter_map(move |change| {
            match change {
                Change::Listed => world.listed.send_modify(|listed| listed.carriers = true),
                Change::Failed => world.metrics.watch_failed("jobs"),
                Change::Applied(_) | Change::Deleted(_) => {}
            }
            std::future::ready(world.carrier_changed(&change))
        });
        changed.boxed()
    }

    fn follow_pods(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<core_v1::Pod>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = changes::changes(events).filter_map(move |change| {
            match change {
                Change::Listed => world.listed.send_modify(|listed| listed.pods = true),
                Change::Failed => world.metrics.watch_failed("pods"),
                Change::Applied(_) | Change::Deleted(_) => {}
            }
            std::future::ready(world.body_changed(&change))
        });
        changed.boxed()
    }

    /// A batch Job has changed. The job to be looked at.
    pub(crate) fn carrier_changed(
        &self,
        change: &Change<batch::Job>,
    ) -> Option<ObjectRef<WatchedJob>> {
        let touched = self.traces.carrier_changed(change)?;
        Some(self.touched(&touched))
    }

    /// A pod has changed. The job to be looked at.
    pub(crate) fn body_changed(
        &self,
        change: &Change<core_v1::Pod>,
    ) -> Option<ObjectRef<WatchedJob>> {
        let now = self.now();
        if let Change::Applied(pod) = change
            && self.traces.is_news(pod)
        {
            self.an_attempt_starts(now);
        }
        let touched = self.traces.body_changed(change, now)?;
        Some(self.touched(&touched))
    }

    fn touched(&self, touched: &Touched) -> ObjectRef<WatchedJob> {
        self.admission.attempt_changed(touched, self.now());
        WatchedJob::reference(&touched.origin.namespace, &touched.origin.job)
    }

    /// Whether the job of this attempt is there and has not ended, so that its next look decides.
    pub(crate) fn wants(&self, attempt: &AttemptId) -> bool {
        let job = self.jobs.find(|job| job.meta().uid.as_deref() == Some(&attempt.job_uid));
        job.is_some_and(|job| {
            let job = job.to_core();
            let attempts = self.traces.attempts(&job.metadata.uid, self.now());
            !job.status.is_finished()
                && !job.spec.cancel
                && next_attempt_number(&job, &attempts) == attempt.number
        })
    }

    /// The numbers of each queue, for whoever reads the metrics.
    pub(crate) fn measure_queues(&self) {
        self.metrics.queues(&self.admission.queues());
    }

    /// An attempt has been created, or its pod has come: until then the cluster has work to do for it.
    fn an_attempt_starts(&self, now: Timestamp) {
        let mut starts = self.last_starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() == MANY_STARTS {
            starts.pop_front();
        }
        starts.push_back(now);
    }

    /// Whether what an ended job leaves may be there for a while yet, as many others are being started.
    fn removal_waits(&self, job: &Job, now: Timestamp) -> bool {
        let starts = self.last_starts.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = starts.front().filter(|_| starts.len() == MANY_STARTS);
        let within = |since: Option<&Timestamp>, limit| {
            since.is_some_and(|since| now.duration_since(*since) < limit)
        };
        job.status.is_finished()
            && within(oldest, MANY_STARTS_WITHIN)
            && within(job.status.timeline.finished.as_ref(), REMOVAL_WAITS)
    }

    /// Whether it is time for another list of Events. An API server keeps no index of them: each list reads
    /// all of the namespace, and a thousand batch Jobs that wait for their pods would ask a thousand times.
    fn may_list_events(&self) -> bool {
        let mut last = self.events_listed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = last.is_none_or(|last| now.duration_since(last) >= BETWEEN_LISTS_OF_EVENTS);
        if may {
            *last = Some(now);
        }
        may
    }

    /// What a job's change means for the numbers: its end counts once, for a job that was seen before
    /// it had ended.
    fn measure_end(&self, job: &WatchedJob) {
        let Some(uid) = job.meta().uid.clone() else { return };
        let mut open = self.open_jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if !job.is_finished() {
            open.insert(uid);
        } else if open.remove(&uid) {
            drop(open);
            // Or each of several controllers would count it.
            if *self.leads.borrow() {
                let job = job.to_core();
                self.metrics.finished(&job);
                if let Some(ended) = &self.settings.ended {
                    ended(&job);
                }
            }
        }
    }

    async fn tell_ready(&self, ready: &watch::Sender<bool>) {
        drop(self.listed.subscribe().wait_for(|listed| listed.all()).await);
        ready.send_replace(true);
        std::future::pending().await
    }

    /// Opens the line each time that this process begins to lead, and closes it when it ends.
    async fn lead(&self) {
        let mut leads = self.leads.clone();
        loop {
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            if self.listed.subscribe().wait_for(|listed| listed.all()).await.is_err() {
                return;
            }
            self.join_all();
            self.admission.open(self.now());
            self.metrics.leads(true);
            if leads.wait_for(|leads| !*leads).await.is_err() {
                return;
            }
            self.admission.close();
            self.metrics.leads(false);
        }
    }

    /// Every job that wants CPUs now joins the line, before any is granted some.
    fn join_all(&self) {
        let now = self.now();
        for watched in self.jobs.state() {
            if watched.is_finished() {
                continue;
            }
            let job = watched.to_core();
            let attempts = self.traces.attempts(&job.metadata.uid, now);
            if !needs_cpus(&job, &attempts, now) {
                continue;
            }
            // One that cannot be judged yet is when it is looked at.
            let Some(function) = self.function_in_cache(&job) else { continue };
            let Ok(limits) = self.judge(&job, Some(&function), false) else { continue };
            self.admission.join(&job, attempt_id(&job, &attempts), &limits, now);
        }
    }

    fn function_in_cache(&self, job: &Job) -> Option<Function> {
        let key = ObjectRef::new(&job.spec.function).within(&job.metadata.namespace);
        self.functions.get(&key).map(|function| function.to_core())
    }

    fn judge(
        &self,
        job: &Job,
        function: Option<&Function>,
        with_input: bool,
    ) -> Result<Limits, Error> {
        let Some(function) = function else {
            return Err(Error::NotFound { kind: Function::KIND, name: job.spec.function.clone() });
        };
        if function.spec.image.is_none() {
            return Err(Error::Conflict(format!(
                "function {:?} has no image and cannot run on a cluster",
                job.spec.function
            )));
        }
        let key = ObjectRef::new(job.spec.queue()).within(&job.metadata.namespace);
        let queue = self.queues.get(&key).map(|queue| queue.spec.0.clone());
        let judge = if with_input { validate } else { validate_without_input };
        judge(&job.spec, &function.spec, queue.as_ref())
    }

    fn replaced(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the watch shows the job as it was before our own last write: what is decided from that
    /// could not be told.
    fn is_behind(&self, job: &Job) -> bool {
        let mut replaced = self.replaced();
        let behind = replaced.get(&job.metadata.uid) == Some(&job.metadata.resource_version);
        if !behind {
            replaced.remove(&job.metadata.uid);
        }
        behind
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, HashMap<String, Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attempt_id(job: &Job, attempts: &[Attempt]) -> AttemptId {
    AttemptId {
        job_uid: job.metadata.uid.as_str().into(),
        number: next_attempt_number(job, attempts),
    }
}

async fn reconcile(object: Arc<WatchedJob>, world: Arc<World>) -> Result<Requeue, Error> {
    if !*world.leads.borrow() {
        return Ok(Requeue::await_change());
    }
    let job = object.to_core();
    let began = Instant::now();
    let looked = |outcome| world.metrics.reconciled(outcome, began.elapsed().as_secs_f64());
    // A panic is a defect of ours on one object; the others go on.
    match AssertUnwindSafe(one(&job, &world)).catch_unwind().await {
        Ok(Ok(requeue)) => {
            looked("ok");
            Ok(requeue)
        }
        // Somebody else wrote first; the watch brings what they wrote.
        Ok(Err(Error::Conflict(why))) => {
            debug!(job = %job.key(), why, "overtaken");
            looked("conflict");
            Ok(Requeue::requeue(Duration::from_millis(200)))
        }
        // The job itself, most likely: then there is no next look.
        Ok(Err(Error::NotFound { .. })) => Ok(Requeue::requeue(Duration::from_secs(5))),
        Ok(Err(error)) => {
            looked(if matches!(error, Error::Unavailable { .. }) {
                "unavailable"
            } else {
                "error"
            });
            warn!(job = %job.key(), %error, "reconcile failed");
            Err(error)
        }
        Err(_) => {
            looked("panic");
            error!(job = %job.key(), "reconcile panicked; the job is left alone for 5 minutes");
            Ok(Requeue::requeue(Duration::from_secs(300)))
        }
    }
}

fn on_error(_: Arc<WatchedJob>, error: &Error, _: Arc<World>) -> Requeue {
    Requeue::requeue(match error {
        Error::Unavailable { retry_after, .. } | Error::Busy { retry_after, .. } => *retry_after,
        _ => Duration::from_secs(15),
    })
}

/// One ComputeJob, once.
async fn one(job: &Job, world: &World) -> Result<Requeue, Error> {
    // Deletion is the garbage collector's work, by owner references.
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Requeue::await_change());
    }
    // After a restart the caches fill one after the other; what is not listed yet is there all the same.
    let mut listed = world.listed.subscribe();
    let all = listed.wait_for(|listed| listed.all()).await;
    drop(all.map_err(|_| Error::unavailable("the watches have ended"))?);
    if world.is_behind(job) {
        // The watch brings it; this is for the case that it does not.
        return Ok(Requeue::requeue(BEHIND));
    }
    let now = world.now();
    let mut attempts = observe_attempts(job, world, now).await?;
    let hindered = tell_hindrance(job, &mut attempts, world, now).await?;
    let function = find_function(job, world).await?;

    let needs = needs_cpus(job, &attempts, now);
    let id = attempt_id(job, &attempts);
    // The whole job, as it is now: before it joins a line for the first time, and before a start.
    let (mut whole, mut verdict) = if needs && job.status.phase.is_none() {
        judge_whole(job, function.as_ref(), world).await?
    } else {
        (None, world.judge(job, function.as_ref(), false))
    };
    let mut admission = Answer::NotAsked;
    if let (Ok(limits), true) = (&verdict, needs) {
        admission = world.admission.ask(job, id, limits, now);
        if matches!(admission, Answer::Granted(_)) && whole.is_none() {
            (whole, verdict) = judge_whole(job, function.as_ref(), world).await?;
        }
    } else if !needs && attempts.iter().all(|attempt| !attempt.is_live()) {
        world.admission.leave(&job.metadata.uid, now);
    }

    // A deep queue is told in peace: meanwhile others may start.
    let mut permit = None;
    // A grant wakes the job; this is for the case that the news is lost.
    let mut soon = (needs && verdict.is_ok()).then_some(WAITING_LOOK);
    if matches!(admission, Answer::Waiting { .. }) {
        let age = job.metadata.creation_timestamp.map(|created| now.duration_since(created));
        if job.status.phase.is_none() && age.is_some_and(|age| age < WAITING_GRACE) {
            admission = Answer::NotAsked;
            soon = Some(Duration::from_secs(2));
        } else {
            match world.telling_waiters.try_acquire() {
                Ok(free) => permit = Some(free),
                Err(_) => {
                    admission = Answer::NotAsked;
                    soon = Some(Duration::from_secs(1));
                }
            }
        }
    }

    let refusal = world.refusals().get(&job.metadata.uid).cloned();
    let seen = Seen { admission, attempts, refusal, running_grace: RUNNING_GRACE };
    let Plan { mut actions, status, look_again } = match &verdict {
        Ok(limits) => plan(job, limits, &seen, now),
        Err(why) => plan_invalid(job, why, &seen, now),
    };
    let mut removal = None;
    if world.removal_waits(job, now) {
        let before = actions.len();
        actions.retain(|action| !matches!(action, Action::Remove { .. }));
        removal = (actions.len() < before).then_some(MANY_STARTS_WITHIN.unsigned_abs());
    }
    let starts = actions.iter().any(|action| matches!(action, Action::Start { .. }));
    if starts {
        world.an_attempt_starts(now);
    }
    if needs && !starts && matches!(seen.admission, Answer::Granted(_)) {
        world.admission.leave(&job.metadata.uid, now);
    }
    let orphaned = Limits::without_function(&job.spec);
    let effects = Effects {
        client: &world.client,
        report_url: &world.settings.report_url,
        job: whole.as_ref().unwrap_or(job),
        limits: verdict.as_ref().unwrap_or(&orphaned),
        function: function.as_ref().map(|function| &function.spec),
        traces: &world.traces,
    };
    let mut refused = None;
    for action in &actions {
        match effects.perform(action).await? {
            Done::Done => {}
            Done::Refused { reason, message, is_final } => {
                let known = world.refusals().get(&job.metadata.uid).map(|known| known.since);
                let since = known.unwrap_or(now);
                refused = Some(Refusal { since, reason, message, is_final });
            }
        }
    }
    if starts {
        match &refused {
            Some(refusal) => {
                drop(world.refusals().insert(job.metadata.uid.clone(), refusal.clone()))
            }
            None => drop(world.refusals().remove(&job.metadata.uid)),
        }
    }
    if tell(&world.client, job, &status).await? {
        let version = job.metadata.resource_version.clone();
        world.replaced().insert(job.metadata.uid.clone(), version);
        if let Some(event) = notices::notice(job, &status) {
            notices::publish(&world.recorder, &notices::reference(job), &event).await;
        }
    }
    drop(permit);
    let pause = match &refused {
        // Told by the next look, then tried again at leisure.
        Some(_) if seen.refusal.is_none() => Some(Duration::ZERO),
        Some(_) => Some(HINDRANCE_LOOK),
        None => look_again,
    };
    let next =
        [pause, soon, removal, hindered.then_some(HINDRANCE_LOOK)].into_iter().flatten().min();
    Ok(next.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// The whole job and what it is found to be. One that the watch could read may still be malformed where
/// the watch does not look, in its input.
async fn judge_whole(
    job: &Job,
    function: Option<&Function>,
    world: &World,
) -> Result<(Option<Job>, Result<Limits, Error>), Error> {
    match fetch(job, world).await {
        Ok(whole) => {
            let verdict = world.judge(&whole, function, true);
            Ok((Some(whole), verdict))
        }
        Err(malformed @ Error::Invalid(_)) => Ok((None, Err(malformed))),
        Err(error) => Err(error),
    }
}

/// The job with its input, if it is still as the watch has shown it. A cache may be old: the job may
/// have ended and its attempts been removed, so that their names are free again. `Invalid` when it cannot be
/// read.
async fn fetch(job: &Job, world: &World) -> Result<Job, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(world.client.clone(), &job.metadata.namespace);
    let found = within_deadline(jobs.get_opt(&job.metadata.name)).await?;
    let found = found.map_err(|error| match error {
        kube::Error::SerdeError(why) => Error::Invalid(vec![Problem::at("", why.to_string())]),
        error => from_kube(error),
    })?;
    let found = found.ok_or_else(|| Error::no_job(&job.metadata.name))?.to_core();
    if found.metadata.uid == job.metadata.uid
        && found.metadata.resource_version == job.metadata.resource_version
    {
        Ok(found)
    } else {
        Err(Error::Conflict("the job has changed since it was read".into()))
    }
}

/// The attempts in the caches. One that the status names and no cache shows is looked for at the API
/// server: caches of different kinds are of different ages.
async fn observe_attempts(job: &Job, world: &World, now: Timestamp) -> Result<Vec<Attempt>, Error> {
    let uid = &job.metadata.uid;
    let mut attempts = world.traces.attempts(uid, now);
    let Some(number) = job.status.attempt.filter(|_| !job.status.is_finished()) else {
        return Ok(attempts);
    };
    let is_named = |attempt: &Attempt| attempt.number == number;
    if !attempts.iter().any(is_named) {
        attempts = list_attempts(job, world, now).await?;
        if !attempts.iter().any(is_named) {
            attempts.push(observe::vanished(job, number, now));
            attempts.sort_by_key(|attempt| attempt.number);
        }
    }
    let settled = windlass_core::report::is_settled(&job.status, number);
    let had_pod = job.status.pod.is_some();
    if let Some(attempt) = attempts.iter_mut().find(|attempt| is_named(attempt))
        && had_pod
        && attempt.pod.is_none()
        && matches!(attempt.state, AttemptState::Starting { .. })
    {
        attempt.state = observe::gone(now);
    }
    if let Some(attempt) = attempts.iter_mut().find(|attempt| is_named(attempt))
        && !settled
        && !world.settings.deleted_nodes_are_fenced
        && observe::is_gone_without_a_word(attempt, world.traces.trace(uid, number).as_ref())
        && let Some(node) = attempt.node.clone().or_else(|| job.status.node.clone())
        && !node_is_there(world, &node).await?
    {
        let message = format!(
            "node {node:?} was deleted while the attempt ran there: it starts again when the node \
             is back, or when the job is cancelled and submitted again"
        );
        attempt.state = AttemptState::Unreachable { message, since: now };
    }
    Ok(attempts)
}

async fn list_attempts(job: &Job, world: &World, now: Timestamp) -> Result<Vec<Attempt>, Error> {
    let params = ListParams::default().labels(&format!("{LABEL_JOB_UID}={}", job.metadata.uid));
    let namespace = &job.metadata.namespace;
    let carriers: Api<batch::Job> = Api::namespaced(world.client.clone(), namespace);
    let pods: Api<core_v1::Pod> = Api::namespaced(world.client.clone(), namespace);
    let carriers = within_deadline(carriers.list(&params)).await?.map_err(from_kube)?;
    let pods = within_deadline(pods.list(&params)).await?.map_err(from_kube)?;
    let found = Traces::default();
    for carrier in carriers {
        found.carrier_changed(&Change::Applied(carrier));
    }
    for pod in pods {
        found.body_changed(&Change::Applied(pod), now);
    }
    Ok(found.attempts(&job.metadata.uid, now))
}

async fn node_is_there(world: &World, node: &str) -> Result<bool, Error> {
    let nodes: Api<core_v1::Node> = Api::all(world.client.clone());
    let found = within_deadline(nodes.get_metadata_opt(node)).await?.map_err(from_kube)?;
    Ok(found.is_some())
}

/// A batch Job that has no pod for some time is refused one, by a quota of the namespace for example:
/// only an event of it says so. Whether there is such an attempt.
async fn tell_hindrance(
    job: &Job,
    attempts: &mut [Attempt],
    world: &World,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(attempt) = attempts.last_mut() else { return Ok(false) };
    let AttemptState::Starting { reason: reason @ None, message } = &mut attempt.state else {
        return Ok(false);
    };
    let waited = now.duration_since(attempt.created);
    if attempt.pod.is_some() || waited < WAITING_GRACE || job.status.is_finished() {
        return Ok(false);
    }
    let Some(trace) = world.traces.trace(&job.metadata.uid, attempt.number) else {
        return Ok(false);
    };
    let Some(carrier) = trace.carrier else { return Ok(false) };
    if !world.may_list_events() {
        return Ok(true);
    }
    let events: Api<core_v1::Event> =
        Api::namespaced(world.client.clone(), &job.metadata.namespace);
    let fields = format!("involvedObject.uid={},reason=FailedCreate", carrier.uid());
    let params = ListParams::default().fields(&fields).limit(10);
    let found = within_deadline(events.list(&params)).await?.map_err(from_kube)?;
    if let Some(event) = found.items.into_iter().last() {
        let said = event.message.unwrap_or_default();
        let quota = said.contains("exceeded quota");
        *reason = Some(if quota { "QuotaExceeded" } else { "FailedCreate" }.into());
        *message = said;
    }
    Ok(true)
}

/// The function of a job. A cache may lag behind a function that was created a moment ago.
async fn find_function(job: &Job, world: &World) -> Result<Option<Function>, Error> {
    if let Some(function) = world.function_in_cache(job) {
        return Ok(Some(function));
    }
    if job.status.is_finished() {
        return Ok(None);
    }
    let functions: Api<ComputeFunction> =
        Api::namespaced(world.client.clone(), &job.metadata.namespace);
    let found = within_deadline(functions.get_opt(&job.spec.function)).await?.map_err(from_kube)?;
    Ok(found.map(|function| function.to_core()))
}
