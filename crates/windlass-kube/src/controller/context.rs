//! What this process knows: what the watches have brought, who waits, what it wrote last.
//!
//! In: the events of five watches. Out: references to the jobs that are to be looked at.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use tokio::sync::{Semaphore, mpsc, watch};
use windlass_core::plan::{Attempt, Refusal, needs_cpus, next_attempt_number};
use windlass_core::report::is_settled;
use windlass_core::status::{Failure, reasons};
use windlass_core::validate::validate_without_input;
use windlass_core::{AttemptNumber, Error, Function, Job, JobLimits, validate};

use crate::attempt::observe::AttemptId;
use crate::cache::attempts::{Touched, Traces};
use crate::cache::job::WatchedJob;
use crate::cache::watch::{self as watch_events, Change};
use crate::clock::Clock;
use crate::controller::failed_creates::Hindrances;
use crate::controller::malformed::Unreadable;
use crate::controller::run::Settings;
use crate::crd::{ComputeFunction, ComputeQueue};
use crate::metrics::{Metrics, QueueNumbers};
use crate::queueing::admission::{Admission, QueueKey};

/// A job that waits for CPUs for less than this is not told so: it would be a write that nobody sees.
pub(crate) const WAITING_GRACE: SignedDuration = SignedDuration::from_secs(2);

/// How long an attempt that was claimed may stay unseen before it is asked for at the API server.
const UNSEEN: SignedDuration = SignedDuration::from_secs(10);

/// Of the reconciles at the same time, how many may tell jobs that they wait: thousands of them must not
/// keep others from starting.
const TELLING_WAITERS: usize = 4;

/// While many jobs are being started, what an ended one leaves is removed only now: its CPUs are free
/// already, and the API server's time belongs to those that somebody waits for.
const REMOVAL_WAITS: SignedDuration = SignedDuration::from_secs(30);

/// So many starts within [`MANY_STARTS_WITHIN`] are many. A Job controller at its default limit, 20 requests
/// a second of which a pod takes two, never comes to it: there jobs wait for that limit, and a removed
/// batch Job is one that takes nothing of it any more.
const MANY_STARTS: usize = 32;

/// See [`MANY_STARTS`].
pub(crate) const MANY_STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// What this process knows, and what it reaches the API server with.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    clock: Clock,
    jobs: Store<WatchedJob>,
    functions: Store<ComputeFunction>,
    queues: Store<ComputeQueue>,
    pub(crate) traces: Traces,
    pub(crate) admission: Admission,
    pub(crate) leads: watch::Receiver<bool>,
    /// Starts that the API server refuses, by UID of the job.
    refusals: Mutex<HashMap<String, Refusal>>,
    /// The version of a job that a write of ours has replaced, by UID, until the watch has caught up.
    replaced: Mutex<HashMap<String, String>>,
    pub(crate) telling_waiters: Semaphore,
    pub(crate) hindrances: Hindrances,
    /// When the last [`MANY_STARTS`] attempts, or pods of attempts, were created.
    last_starts: Mutex<VecDeque<Timestamp>>,
    pub(crate) metrics: Metrics,
    /// UIDs of the jobs that were seen and have not ended.
    open_jobs: Mutex<HashSet<String>>,
    /// The latest failed attempt of each job that an Event has told, or that had failed when the job was first
    /// seen, by UID; 0 for none.
    announced: Mutex<HashMap<String, AttemptNumber>>,
    /// Jobs at which this process has panicked, by UID, and until when they are left alone.
    quarantined: Mutex<HashMap<String, Instant>>,
    pub(crate) recorder: Recorder,
    /// Told of what cannot be read, or be told anything.
    malformed: mpsc::UnboundedSender<Unreadable>,
    /// Which watches have listed everything.
    pub(crate) listed: watch::Sender<Listed>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listed {
    jobs: bool,
    functions: bool,
    queues: bool,
    carriers: bool,
    pods: bool,
}

impl Listed {
    pub(crate) fn all(self) -> bool {
        self.jobs && self.functions && self.queues && self.carriers && self.pods
    }
}

pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What is read of a batch Job is its metadata, its status and whether it is suspended.
pub(crate) fn prune_carrier(carrier: &mut batch::Job) {
    let suspend = carrier.spec.take().and_then(|spec| spec.suspend);
    carrier.spec = suspend
        .map(|suspend| batch::JobSpec { suspend: Some(suspend), ..batch::JobSpec::default() });
    carrier.metadata.annotations = None;
}

/// What is read of a pod is its metadata, its node and its status.
pub(crate) fn prune_pod(pod: &mut core_v1::Pod) {
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let node_name = spec.node_name.take();
        *spec = core_v1::PodSpec { node_name, ..Default::default() };
    }
}

pub(crate) type Woken = BoxStream<'static, ObjectRef<WatchedJob>>;
type Events<K> = Result<kube::runtime::watcher::Event<K>, kube::runtime::watcher::Error>;

/// What the watches keep.
pub(crate) struct Stores {
    pub(crate) jobs: Store<WatchedJob>,
    pub(crate) functions: Store<ComputeFunction>,
    pub(crate) queues: Store<ComputeQueue>,
}

impl World {
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        stores: Stores,
        admission: Admission,
        leads: watch::Receiver<bool>,
        metrics: Metrics,
        malformed: mpsc::UnboundedSender<Unreadable>,
    ) -> Self {
        let reporter = Reporter {
            controller: "windlass.dev/controller".into(),
            instance: Some(settings.name.clone()),
        };
        let Stores { jobs, functions, queues } = stores;
        Self {
            clock: Clock::start(),
            jobs,
            functions,
            queues,
            traces: Traces::default(),
            admission,
            leads,
            refusals: Mutex::default(),
            replaced: Mutex::default(),
            telling_waiters: Semaphore::new(TELLING_WAITERS),
            hindrances: Hindrances::default(),
            last_starts: Mutex::default(),
            metrics,
            open_jobs: Mutex::default(),
            announced: Mutex::default(),
            quarantined: Mutex::default(),
            recorder: Recorder::new(client.clone(), reporter),
            malformed,
            listed: watch::Sender::default(),
            client,
            settings,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Has an object told by an Event that it is malformed.
    pub(crate) fn malformed(&self, object: Unreadable) {
        // Nobody listens any more only when the controller ends.
        drop(self.malformed.send(object));
    }

    pub(crate) fn follow_jobs(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<WatchedJob>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = watch_events::guarded(events, move |change| {
            match change {
                Change::Applied(job) => {
                    world.measure_end(&job);
                    world.note_failure(&job);
                    let meta = job.meta();
                    let over = job.is_finished() || meta.deletion_timestamp.is_some();
                    if over && let Some(uid) = &meta.uid {
                        world.admission.leave(uid, world.now());
                        world.refusals().remove(uid);
                    }
                    vec![ObjectRef::from_obj(&job)]
                }
                Change::Deleted(gone) => {
                    world.admission.leave(&gone.uid, world.now());
                    world.refusals().remove(&gone.uid);
                    world.replaced().remove(&gone.uid);
                    world.announced().remove(&gone.uid);
                    world.quarantines().remove(&gone.uid);
                    let mut open = world.open_jobs.lock().unwrap_or_else(PoisonError::into_inner);
                    open.remove(&gone.uid);
                    Vec::new()
                }
                Change::Listed => {
                    world.listed.send_modify(|listed| listed.jobs = true);
                    // Who was woken while the pages of a list came was looked at as it was before the list.
                    world.jobs.state().iter().map(|job| ObjectRef::from_obj(job.as_ref())).collect()
                }
                Change::Failed => {
                    world.metrics.watch_failed("computejobs");
                    Vec::new()
                }
            }
        });
        changed.boxed()
    }

    /// A function wakes no job: one that names it is judged when it comes, and each start reads it.
    pub(crate) fn follow_functions(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<ComputeFunction>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = watch_events::guarded(events, move |change| {
            match change {
                Change::Listed => world.listed.send_modify(|listed| listed.functions = true),
                Change::Failed => world.metrics.watch_failed("computefunctions"),
                Change::Applied(_) | Change::Deleted(_) => {}
            }
            None
        });
        changed.boxed()
    }

    pub(crate) fn follow_queues(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<ComputeQueue>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = watch_events::guarded(events, move |change| match change {
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
    pub(crate) fn jobs_of(&self, queue: &ComputeQueue) -> Vec<ObjectRef<WatchedJob>> {
        let namespace = queue.metadata.namespace.as_deref();
        let name = queue.metadata.name.as_deref();
        let all = self.jobs.state().into_iter().filter(|job| {
            job.meta().namespace.as_deref() == namespace
                && Some(job.queue()) == name
                && !job.is_finished()
        });
        all.map(|job| ObjectRef::from_obj(job.as_ref())).collect()
    }

    pub(crate) fn follow_carriers(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<batch::Job>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = watch_events::guarded(events, move |change| {
            match &change {
                Change::Listed => world.listed.send_modify(|listed| listed.carriers = true),
                Change::Failed => world.metrics.watch_failed("jobs"),
                Change::Applied(carrier) => world.confirm(carrier),
                Change::Deleted(_) => {}
            }
            world.carrier_changed(&change)
        });
        changed.boxed()
    }

    pub(crate) fn follow_pods(
        self: &Arc<Self>,
        events: impl Stream<Item = Events<core_v1::Pod>> + Send + 'static,
    ) -> Woken {
        let world = Arc::clone(self);
        let changed = watch_events::guarded(events, move |change| {
            match &change {
                Change::Listed => world.listed.send_modify(|listed| listed.pods = true),
                Change::Failed => world.metrics.watch_failed("pods"),
                Change::Applied(pod) => world.confirm(pod),
                Change::Deleted(_) => {}
            }
            world.body_changed(&change)
        });
        changed.boxed()
    }

    fn confirm<K: Resource>(&self, object: &K) {
        object.meta().uid.iter().for_each(|uid| self.traces.confirm(uid));
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

    pub(crate) fn touched(&self, touched: &Touched) -> ObjectRef<WatchedJob> {
        self.admission.attempt_changed(touched, self.now());
        WatchedJob::reference(&touched.origin.namespace, &touched.origin.job)
    }

    /// Claims of attempts that nobody has seen and nobody is going to make.
    pub(crate) fn unseen_claims(&self) -> Vec<AttemptId> {
        let mut claims = self.admission.unseen_claims();
        claims.retain(|(id, _)| self.traces.trace(&id.job_uid, id.number).is_none());
        if claims.is_empty() || !self.listed.borrow().all() {
            return Vec::new();
        }
        let uids: HashSet<&str> = claims.iter().map(|(attempt, _)| &*attempt.job_uid).collect();
        let is_asked =
            |job: &WatchedJob| job.meta().uid.as_deref().is_some_and(|uid| uids.contains(uid));
        let jobs =
            self.jobs.state().into_iter().filter(|job| is_asked(job)).map(|job| job.to_core());
        let jobs: HashMap<_, _> = jobs.map(|job| (job.metadata.uid.clone(), job)).collect();
        let now = self.now();
        let is_over = |(attempt, since): &(AttemptId, Timestamp)| {
            let job = jobs.get(&*attempt.job_uid);
            // One that has ended was made and removed. Of others whoever claimed may be about to make one.
            job.is_some_and(|job| has_ended(job, attempt))
                || now.duration_since(*since) >= UNSEEN
                    && !job.is_some_and(|job| self.wants(job, attempt))
        };
        claims.into_iter().filter(is_over).map(|(attempt, _)| attempt).collect()
    }

    /// Whether the next look at the job decides about this attempt.
    fn wants(&self, job: &Job, attempt: &AttemptId) -> bool {
        let attempts = self.traces.attempts(&job.metadata.uid, self.now());
        !job.status.is_finished()
            && !job.spec.cancel
            && next_attempt_number(job, &attempts) == attempt.number
    }

    /// The job of an attempt.
    pub(crate) fn job_of(&self, attempt: &AttemptId) -> Option<Arc<WatchedJob>> {
        self.jobs.find(|job| job.meta().uid.as_deref() == Some(&attempt.job_uid))
    }

    /// The API server was asked about an attempt, and this was found of its job.
    pub(crate) fn was_asked(&self, attempt: &AttemptId, found: &Traces) {
        for gone in self.traces.forget_unconfirmed(attempt, found) {
            let job = self.touched(&gone);
            self.admission.wake((job.namespace.unwrap_or_default(), job.name));
        }
        if found.trace(&attempt.job_uid, attempt.number).is_none() {
            self.is_over(attempt);
        }
    }

    /// Nothing of an attempt is there, says the API server.
    fn is_over(&self, attempt: &AttemptId) {
        if !self.traces.is_over(attempt) {
            return;
        }
        self.admission.is_over(attempt, self.now());
        if let Some(job) = self.job_of(attempt) {
            let meta = job.meta();
            let name = |name: &Option<String>| name.clone().unwrap_or_default();
            self.admission.wake((name(&meta.namespace), name(&meta.name)));
        }
    }

    /// What is granted and who waits, for whoever reads the metrics: of the one that acts.
    pub(crate) fn measure_queues(&self) {
        if *self.leads.borrow() {
            let queues = self.admission.queues().into_iter();
            let queues = queues.map(|(key, waiting, granted)| QueueNumbers {
                namespace: key.namespace,
                name: key.name,
                waiting,
                granted,
            });
            self.metrics.set_queues(queues, self.admission.cpus_in_use());
        } else {
            self.metrics.set_queues([], 0);
        }
    }

    /// An attempt has been created, or its pod has come: until then the cluster has work to do for it.
    pub(crate) fn an_attempt_starts(&self, now: Timestamp) {
        let mut starts = self.last_starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() == MANY_STARTS {
            starts.pop_front();
        }
        starts.push_back(now);
    }

    /// Whether what an ended job leaves may be there for a while yet, as many others are being started.
    pub(crate) fn removal_waits(&self, job: &Job, now: Timestamp) -> bool {
        let starts = self.last_starts.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = starts.front().filter(|_| starts.len() == MANY_STARTS);
        let within = |since: Option<&Timestamp>, limit| {
            since.is_some_and(|since| now.duration_since(*since) < limit)
        };
        job.status.is_finished()
            && within(oldest, MANY_STARTS_WITHIN)
            && within(job.status.timeline.finished.as_ref(), REMOVAL_WAITS)
    }

    /// What a job's change means for the numbers: its end counts once, for a job that was seen before
    /// it had ended.
    pub(crate) fn measure_end(&self, job: &WatchedJob) {
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

    fn announced(&self) -> MutexGuard<'_, HashMap<String, AttemptNumber>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_failure(&self, job: &WatchedJob) {
        let Some(uid) = job.meta().uid.clone() else { return };
        let failed = job.failure().map_or(0, failed_attempt);
        let mut announced = self.announced();
        let told = announced.entry(uid).or_insert(failed);
        // Somebody else leads and tells it.
        if !*self.leads.borrow() {
            *told = failed;
        }
    }

    /// Whether this failure is one that no Event has told yet. It counts as told from now on.
    pub(crate) fn announces(&self, job: &Job, failure: &Failure) -> bool {
        let mut announced = self.announced();
        let told = announced.entry(job.metadata.uid.clone()).or_default();
        let failed = failed_attempt(failure);
        let is_new = *told < failed;
        *told = failed.max(*told);
        is_new
    }

    fn quarantines(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long a job is left alone yet.
    pub(crate) fn quarantined(&self, uid: &str, now: Instant) -> Option<Duration> {
        let mut all = self.quarantines();
        let rest = all.get(uid)?.checked_duration_since(now);
        if rest.is_none() {
            all.remove(uid);
        }
        rest
    }

    /// Leaves a job alone.
    pub(crate) fn quarantine(&self, uid: &str, until: Instant) {
        self.quarantines().insert(uid.to_owned(), until);
    }

    pub(crate) async fn tell_ready(&self, ready: &watch::Sender<bool>) {
        drop(self.listed.subscribe().wait_for(|listed| listed.all()).await);
        ready.send_replace(true);
        std::future::pending().await
    }

    /// Opens the line each time that this process begins to lead, and closes it when it ends.
    pub(crate) async fn lead(&self) {
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
    pub(crate) fn join_all(&self) {
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

    pub(crate) fn function_in_cache(&self, job: &Job) -> Option<Function> {
        let key = ObjectRef::new(&job.spec.function).within(&job.metadata.namespace);
        self.functions.get(&key).map(|function| function.to_core())
    }

    pub(crate) fn judge(
        &self,
        job: &Job,
        function: Option<&Function>,
        with_input: bool,
    ) -> Result<JobLimits, Error> {
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

    /// What a job that was accepted before lacks now: a reason and a sentence.
    pub(crate) fn lacks(
        &self,
        job: &Job,
        function: Option<&Function>,
    ) -> Option<(&'static str, String)> {
        let Some(function) = function else {
            let why = format!("function {:?} was there and is gone", job.spec.function);
            return Some((reasons::FUNCTION_NOT_FOUND, why));
        };
        let why = self.judge(job, Some(function), false).err()?;
        // What was not the queue's doing before is not now.
        validate_without_input(&job.spec, &function.spec, None).ok()?;
        Some((reasons::QUEUE_TOO_SMALL, why.to_string()))
    }

    fn replaced(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job was written, or is to be left alone as if it had been.
    pub(crate) fn was_replaced(&self, job: &Job) {
        let version = job.metadata.resource_version.clone();
        self.replaced().insert(job.metadata.uid.clone(), version);
    }

    /// Whether the watch shows the job as it was before our own last write: what is decided from that
    /// could not be told.
    pub(crate) fn is_behind(&self, job: &Job) -> bool {
        let mut replaced = self.replaced();
        let behind = replaced.get(&job.metadata.uid) == Some(&job.metadata.resource_version);
        if !behind {
            replaced.remove(&job.metadata.uid);
        }
        behind
    }

    pub(crate) fn refusals(&self) -> MutexGuard<'_, HashMap<String, Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempt that failed. An `Invalid` job has none; its failure counts as that of the first.
fn failed_attempt(failure: &Failure) -> AttemptNumber {
    failure.attempt.max(1)
}

/// Whether the status tells the end of this attempt.
fn has_ended(job: &Job, attempt: &AttemptId) -> bool {
    let is_told = job.status.attempt.is_some_and(|number| number >= attempt.number);
    is_settled(&job.status, attempt.number) || (is_told && job.status.is_finished())
}

pub(crate) fn attempt_id(job: &Job, attempts: &[Attempt]) -> AttemptId {
    AttemptId {
        job_uid: job.metadata.uid.as_str().into(),
        number: next_attempt_number(job, attempts),
    }
}
