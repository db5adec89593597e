//! The one task that owns the jobs that have not ended: events in, observe -> plan -> apply -> tell.
//!
//! Events that arrived together are one turn. In a turn each job that has news is looked at, and
//! those that need CPUs wait for the end of the turn, when admission decides about all at once. A job
//! that waits is kept by the store alone; here is only what admission needs of it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};
use uuid::Uuid;
use windlass_core::assignment::Confinement;
use windlass_core::live::{self, Shown};
use windlass_core::plan::{Action, AdmissionDecision, Observed, needs_cpus, plan_invalid};
use windlass_core::queue::QueueStatus;
use windlass_core::report::{self, Ending, Event as ReportEvent, Report};
use windlass_core::status::MAX_INLINE_RESULT_BYTES;
use windlass_core::{
    AttemptNumber, Cpus, Error, Job, JobLimits, JobStatus, Outcome, Phase, Plan, plan,
};

use crate::admission::{Line, Place, Places};
use crate::attempt::{Handle, Idle, Workers};
use crate::clock::Clock;
use crate::confine::{Cores, Ladder, Slot};
use crate::files::Files;
use crate::functions::Library;
use crate::observe::{self, Gone, Trace};
use crate::store::{Store, Unfinished};
use crate::{Config, Logs, apply};

/// Most events of one turn: a flood of them does not keep jobs from starting.
const MAX_TURN: usize = 256;

/// When the store is asked again that could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A worker's clock that is further away than this was read before or after somebody set it.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// What may happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A job is committed.
    Submitted { job: Arc<Job>, limits: JobLimits },
    /// Somebody wants a job's end.
    Cancel { uid: Uuid, reply: oneshot::Sender<Result<(), Error>> },
    /// Somebody wants a job forgotten.
    Delete { uid: Uuid, reply: oneshot::Sender<Result<(), Error>> },
    /// A worker reports.
    Told(Report),
    /// Nothing runs of an attempt any more; what held it is empty.
    Gone { uid: Uuid, attempt: AttemptNumber, why: String, slot: Option<Slot> },
    /// A worker that waits for an order is there, or could not be started.
    Idle(io::Result<Idle>),
    /// Functions or queues have changed.
    Reloaded,
    /// Somebody wants to know what is in use of these queues.
    Uses { queues: Vec<String>, reply: oneshot::Sender<Vec<QueueStatus>> },
    /// Jobs whose time was over were deleted.
    Expired,
    /// Everything is to end.
    Shutdown,
}

/// A job that has not ended, or of which something runs.
struct Known {
    place: Place,
    /// Queues and specs do not change, so that this is judged once, when a job is accepted.
    limits: JobLimits,
    /// It counts as waiting.
    waits: bool,
    /// The job as it is told to be. Read from the store when it is needed.
    job: Option<Arc<Job>>,
    /// It was deleted: only its processes are of interest any more.
    deleted: bool,
    traces: Vec<Trace>,
}

/// A live attempt, and its CPUs by the kernel's numbers.
struct Live {
    handle: Handle,
    cpus: Vec<u32>,
}

/// The task's state.
pub(crate) struct Driver {
    config: Arc<Config>,
    store: Arc<Store>,
    files: Arc<Files>,
    library: Arc<Library>,
    clock: Arc<Clock>,
    host: String,
    known: HashMap<Uuid, Known>,
    /// The live attempts. An attempt is here, and has its CPUs, until its last process is gone,
    /// whatever becomes of its job.
    live: HashMap<(Uuid, AttemptNumber), Live>,
    /// What holds them.
    cores: Cores,
    ladder: Ladder,
    workers: Workers,
    /// The tasks that attend them.
    attending: JoinSet<()>,
    /// Jobs that need CPUs, and CPUs that are granted.
    line: Line,
    places: Arc<Places>,
    /// Jobs to look at again, by time; each once.
    timers: BTreeSet<(Instant, Uuid)>,
    /// When each of them is due.
    due: HashMap<Uuid, Instant>,
    /// When the next finished job is to be deleted.
    expiry: Option<Instant>,
    expiring: bool,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
    ending: bool,
}

/// What a driver works with.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) files: Arc<Files>,
    pub(crate) library: Arc<Library>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) places: Arc<Places>,
    pub(crate) cores: Cores,
    pub(crate) ladder: Ladder,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) sender: mpsc::UnboundedSender<Event>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, store, files, library, clock, places, cores, ladder, events, sender } =
            parts;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut line = Line::new(config.cpus, Arc::clone(&places));
        line.set_queues(&library.current());
        let workers = Workers::new(Arc::clone(&config), Arc::clone(&files), sender.clone());
        Self {
            config,
            store,
            files,
            library,
            clock,
            host,
            known: HashMap::new(),
            live: HashMap::new(),
            cores,
            ladder,
            workers,
            attending: JoinSet::new(),
            line,
            places,
            timers: BTreeSet::new(),
            due: HashMap::new(),
            expiry: None,
            expiring: false,
            events,
            sender,
            ending: false,
        }
    }

    /// Takes over what an earlier server has left: jobs that wait, and `lost` attempts, of which
    /// nothing runs any more.
    pub(crate) fn recover(
        &mut self,
        unfinished: Vec<Unfinished>,
        lost: &HashMap<Uuid, AttemptNumber>,
    ) {
        let mut queues: BTreeSet<Arc<str>> = BTreeSet::new();
        for row in unfinished {
            let Unfinished { uid, queue, priority, created, limits, attempt } = row;
            let queue = match queues.get(queue.as_str()) {
                Some(queue) => Arc::clone(queue),
                None => {
                    let queue: Arc<str> = queue.into();
                    queues.insert(Arc::clone(&queue));
                    queue
                }
            };
            let place = Place { queue, priority, since: created };
            let last = lost.get(&uid).copied().unwrap_or(0).max(attempt);
            let known = Known {
                place,
                limits,
                waits: false,
                job: None,
                deleted: false,
                traces: Vec::new(),
            };
            self.known.insert(uid, known);
            if last == 0 {
                self.wait(uid, false);
            } else {
                self.recover_attempt(uid, last);
            }
        }
        self.expect_expiry();
    }

    /// A job that was started before: its latest attempt is over, whatever it was told to be.
    fn recover_attempt(&mut self, uid: Uuid, attempt: AttemptNumber) {
        let Some(mut job) = self.job(uid) else { return };
        // Readers may have seen changes that were not committed: their versions are not used again.
        let version = job.metadata.resource_version.parse::<u64>().unwrap_or(0) + 1000;
        Arc::make_mut(&mut job).metadata.resource_version = version.to_string();
        let now = self.clock.now();
        let Some(known) = self.known.get_mut(&uid) else { return };
        known.traces.push(Trace {
            number: attempt,
            cpus: job.status.parallelism.unwrap_or(known.limits.parallelism),
            created: job.status.timeline.admitted.unwrap_or(now),
            running: None,
            told: None,
            gone: Some(Gone { at: now, why: "the server ended while it ran".into(), lost: true }),
            stopping: false,
        });
        known.job = Some(job);
        // What it may have stored counts for nothing: nobody has told its end.
        self.files.settle(uid, attempt, false);
        self.look(uid, None);
    }

    /// Runs until a shutdown has left no process.
    pub(crate) async fn run(mut self) {
        self.admit();
        self.workers.refill();
        while !(self.ending && self.live.is_empty()) {
            let next = [self.timers.first().map(|(at, _)| *at), self.expiry];
            let timer = async {
                match next.into_iter().flatten().min() {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = self.events.recv() => {
                    self.on(event);
                    for _ in 1..MAX_TURN {
                        let Ok(event) = self.events.try_recv() else { break };
                        self.on(event);
                    }
                }
                () = timer => self.on_time(),
            }
            self.admit();
            while self.attending.try_join_next().is_some() {}
        }
        // What was sent while the last attempt ended.
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            self.on(event);
        }
        while self.attending.join_next().await.is_some() {}
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Submitted { job, limits } => self.on_submitted(job, limits),
            Event::Cancel { uid, reply } => self.on_cancel(uid, reply),
            Event::Delete { uid, reply } => self.on_delete(uid, reply),
            Event::Told(report) => self.on_report(&report),
            Event::Gone { uid, attempt, why, slot } => {
                if let Some(slot) = slot {
                    self.ladder.give_back(slot);
                }
                self.on_gone(uid, attempt, why);
                if !self.ending {
                    self.workers.refill();
                }
            }
            Event::Idle(worker) => self.workers.add(worker),
            Event::Reloaded => self.line.set_queues(&self.library.current()),
            Event::Uses { queues, reply } => {
                let uses = queues.iter().map(|queue| self.line.uses(queue)).collect();
                // Who asked may have gone away.
                drop(reply.send(uses));
            }
            Event::Expired => {
                self.expiring = false;
                self.expect_expiry();
            }
            Event::Shutdown => {
                self.ending = true;
                self.live.values_mut().for_each(|live| live.handle.stop());
            }
        }
    }

    fn on_submitted(&mut self, job: Arc<Job>, limits: JobLimits) {
        let Ok(uid) = Uuid::parse_str(&job.metadata.uid) else { return };
        let place = Place {
            queue: job.spec.queue().into(),
            priority: job.spec.priority,
            since: job.metadata.creation_timestamp.unwrap_or_else(|| self.clock.now()),
        };
        // Its place in the queue was taken before it was committed.
        let (waits, deleted) = (true, false);
        let known = Known { place, limits, waits, job: Some(job), deleted, traces: Vec::new() };
        self.known.insert(uid, known);
        self.look(uid, None);
    }

    fn on_cancel(&mut self, uid: Uuid, reply: oneshot::Sender<Result<(), Error>>) {
        // A job that is not known here has ended.
        let open = self.job(uid).filter(|job| !job.spec.cancel && !job.status.is_finished());
        let Some(mut job) = open else {
            reply.send(Ok(())).unwrap_or_default();
            return;
        };
        let new = Arc::make_mut(&mut job);
        new.spec.cancel = true;
        new.metadata.generation = new.metadata.generation.map(|number| number + 1);
        let job = self.next(uid, job);
        self.store.update(job, Some(reply));
        self.look(uid, None);
    }

    fn on_delete(&mut self, uid: Uuid, reply: oneshot::Sender<Result<(), Error>>) {
        if let Some(known) = self.known.get_mut(&uid) {
            known.deleted = true;
            known.job = None;
        }
        self.stop_all(uid);
        self.forget(uid);
        self.store.remove(uid, reply);
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        while self.timers.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, uid)) = self.timers.pop_first()
        {
            self.due.remove(&uid);
            self.look(uid, None);
        }
        if self.expiry.is_some_and(|at| at <= now) {
            self.expiry = None;
            self.expire();
        }
    }

    fn on_report(&mut self, report: &Report) {
        let Report { job_uid, attempt, event } = report;
        let Ok(uid) = Uuid::parse_str(job_uid) else { return };
        let job = self.job(uid);
        let current = job.as_ref().map(|job| report::check(job, job_uid, *attempt));
        let (Some(job), Some(Ok(())), Some(known)) = (job, &current, self.known.get_mut(&uid))
        else {
            debug!(%uid, attempt, ?current, "a report changes nothing");
            return;
        };
        let Some(trace) = known.traces.iter_mut().find(|t| t.number == *attempt) else { return };
        match event {
            ReportEvent::Running { running, .. } => {
                trace.running = Some(aligned(*running, self.clock.now()));
                self.look(uid, None);
            }
            ReportEvent::Progress { .. } => {
                let Some(live) = live::Live::of(report) else { return };
                let progress = Some(live.progress.clone());
                let status = JobStatus { progress, ..job.status.clone() };
                let job = Arc::new(Job { status, ..Job::clone(&job) });
                known.job = Some(Arc::clone(&job));
                self.store.show(Shown::new(job, Some(live)));
            }
            ReportEvent::Finished(ending) => {
                let ending = shifted(ending, self.clock.now());
                trace.told = Some(ending.clone());
                match report::finish(&job, &known.limits, *attempt, &ending) {
                    Ok(status) => self.tell(uid, &job, status),
                    Err(refused) => warn!(%uid, attempt, %refused, "an outcome is refused"),
                }
            }
        }
    }

    fn on_gone(&mut self, uid: Uuid, attempt: AttemptNumber, why: String) {
        if let Some(Live { cpus, .. }) = self.live.remove(&(uid, attempt)) {
            self.cores.give_back(&cpus);
        }
        self.line.release(&uid);
        let counts = self.job(uid).is_some_and(|job| job.status.result.is_some());
        if let Some(known) = self.known.get_mut(&uid)
            && let Some(trace) = known.traces.iter_mut().find(|t| t.number == attempt)
        {
            let told = trace.told.as_ref().map(|ending| &ending.outcome);
            let stored = matches!(told, Some(Outcome::Succeeded(_)));
            trace.gone = Some(Gone { at: self.clock.now(), why, lost: self.ending });
            self.files.settle(uid, attempt, stored && counts);
            if known.deleted {
                self.files.forget(uid, attempt);
            }
        }
        self.look(uid, None);
    }

    /// Looks at one job: observe, plan, apply, tell. Again, as long as there is something new. A job
    /// that needs CPUs goes into the line, unless admission has just decided about it.
    fn look(&mut self, uid: Uuid, mut admission: Option<AdmissionDecision>) {
        loop {
            let job = match self.load(uid) {
                Ok(Some(job)) => job,
                Ok(None) => return self.forget(uid),
                Err(error) => {
                    error!(%uid, %error, "a job cannot be read");
                    return self.requeue_after(uid, Some(STORE_PAUSE));
                }
            };
            let Some(known) = self.known.get(&uid) else { return };
            let now = self.clock.now();
            let attempts = observe::attempts(&known.traces, &self.host);
            let mut plan = if self.library.current().get(&job.spec.function).is_none() {
                let why = Error::NotFound {
                    kind: windlass_core::Function::KIND,
                    name: job.spec.function.clone(),
                };
                plan_invalid(&job, &why, &Observed { attempts, ..Observed::default() }, now)
            } else if needs_cpus(&job, &attempts, now) {
                match admission.take() {
                    Some(admission) => plan(
                        &job,
                        &known.limits,
                        &Observed { admission, attempts, ..Observed::default() },
                        now,
                    ),
                    None => return self.wait(uid, true),
                }
            } else {
                self.line.leave(&uid);
                plan(&job, &known.limits, &Observed { attempts, ..Observed::default() }, now)
            };
            // Whose time is over, the store knows.
            plan.actions.retain(|action| *action != Action::Expire);
            if plan.actions.is_empty() && plan.status == job.status {
                if job.status.is_finished() {
                    self.finish(uid, &job);
                } else {
                    self.requeue_after(uid, plan.requeue_after);
                }
                return;
            }
            self.apply(uid, &job, &plan);
            self.tell(uid, &job, plan.status);
        }
    }

    /// A job joins the line. Its place in the queue counts from now, unless it did already.
    fn wait(&mut self, uid: Uuid, news: bool) {
        if let Some(known) = self.known.get_mut(&uid) {
            if !known.waits {
                known.waits = true;
                self.places.enter(&known.place.queue);
            }
            self.line.join(uid, &known.place, &known.limits, news);
        }
    }

    /// A job does not wait any more: it starts, or has ended.
    fn stop_waiting(&mut self, uid: Uuid) {
        if let Some(known) = self.known.get_mut(&uid)
            && std::mem::take(&mut known.waits)
        {
            self.places.leave(&known.place.queue);
        }
    }

    /// Decides about the line, until there is nobody in it who may start.
    fn admit(&mut self) {
        while !self.ending
            && let Some((uid, cpus)) = self.line.next(self.clock.now())
        {
            self.look(uid, Some(AdmissionDecision::Granted(cpus)));
            // A grant that came to nothing, because the job cannot run any more.
            if !self.live.keys().any(|(live, _)| *live == uid) {
                self.line.release(&uid);
            }
        }
        for uid in self.line.take_news() {
            let Some(known) = self.known.get(&uid).filter(|known| known.waits) else { continue };
            let why = waits_for(&known.limits, self.config.cpus);
            self.look(uid, Some(AdmissionDecision::Waiting { why, place: None }));
            // The store has it; a deep queue costs little memory.
            if let Some(known) = self.known.get_mut(&uid)
                && known.waits
                && known.traces.is_empty()
            {
                known.job = None;
            }
        }
    }

    /// Sets the timer of a job, in place of the one that it had.
    fn requeue_after(&mut self, uid: Uuid, delay: Option<Duration>) {
        if let Some(old) = self.due.remove(&uid) {
            self.timers.remove(&(old, uid));
        }
        if let Some(delay) = delay {
            let at = Instant::now() + delay;
            self.due.insert(uid, at);
            self.timers.insert((at, uid));
        }
    }

    /// Does the actions.
    fn apply(&mut self, uid: Uuid, job: &Job, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Start { attempt, cpus } => self.start(uid, job, *attempt, *cpus),
                Action::Remove { attempt } => self.stop(uid, *attempt),
                Action::Expire => {}
            }
        }
    }

    fn start(&mut self, uid: Uuid, job: &Job, attempt: AttemptNumber, cpus: Cpus) {
        self.stop_waiting(uid);
        // Before the worker can say when it started.
        let created = self.clock.now();
        let gone = match self.try_start(uid, job, attempt, cpus) {
            Ok(live) => {
                info!(job = %job.metadata.name, attempt, cpus, "attempt started");
                self.live.insert((uid, attempt), live);
                None
            }
            Err(error) => {
                warn!(job = %job.metadata.name, attempt, %error, "an attempt cannot be started");
                let why = format!("its worker cannot be started: {error}");
                Some(Gone { at: created, why, lost: true })
            }
        };
        if let Some(known) = self.known.get_mut(&uid) {
            known.traces.push(Trace {
                number: attempt,
                cpus,
                created,
                running: None,
                told: None,
                gone,
                stopping: false,
            });
        }
    }

    fn try_start(
        &mut self,
        uid: Uuid,
        job: &Job,
        attempt: AttemptNumber,
        cpus: Cpus,
    ) -> io::Result<Live> {
        let functions = self.library.current();
        let function = functions
            .get(&job.spec.function)
            .ok_or_else(|| io::Error::other("its function is gone"))?;
        let known = self.known.get(&uid).ok_or_else(|| io::Error::other("the job is gone"))?;
        let log = match self.config.logs {
            Logs::Files => Some(self.files.log(uid, attempt).to_string_lossy().into_owned()),
            Logs::Stderr | Logs::Pipe(_) => None,
        };
        let memory_bytes = function.spec.memory.bytes(cpus).unwrap_or(u64::MAX);
        // None are free only while somebody else's are not pinned.
        let pinned = self.cores.take(cpus).unwrap_or_default();
        let slot = self.ladder.take(&pinned, memory_bytes);
        let mut slot =
            slot.inspect_err(|error| warn!(%error, "an attempt runs without a control group")).ok();
        let confinement = slot.as_ref().map(Slot::confinement).unwrap_or_else(|| Confinement {
            join: Vec::new(),
            memory_events: None,
            cpus: pinned.clone(),
            memory_bytes,
        });
        let places = apply::Places {
            results: self.workers.results().to_string_lossy().into_owned(),
            log,
            confinement: Some(confinement),
        };
        let directory = functions.directory(&job.spec.function);
        let directory = directory.map(|path| path.to_string_lossy().into_owned());
        let mut limits = known.limits.clone();
        // What does not fit on the disk is refused as any result that is too large.
        let stored = self.store.bytes() + self.files.bytes();
        let room = self.config.max_stored_bytes.saturating_sub(stored);
        limits.max_result_bytes = limits.max_result_bytes.min(room.max(MAX_INLINE_RESULT_BYTES));
        let order = apply::order(job, &limits, &function.spec, directory, attempt, cpus, places);
        let input = job.spec.input_bytes();
        let started = self.workers.start(uid, order, &input, &mut slot, &mut self.attending);
        match started {
            Ok(handle) => Ok(Live { handle, cpus: pinned }),
            Err(error) => {
                self.cores.give_back(&pinned);
                slot.into_iter().for_each(|slot| self.ladder.give_back(slot));
                Err(error)
            }
        }
    }

    fn stop(&mut self, uid: Uuid, attempt: AttemptNumber) {
        if let Some(known) = self.known.get_mut(&uid)
            && let Some(trace) = known.traces.iter_mut().find(|t| t.number == attempt)
        {
            let live = self.live.get_mut(&(uid, attempt));
            apply::remove(trace, live.map(|live| &mut live.handle));
        }
    }

    fn stop_all(&mut self, uid: Uuid) {
        let numbers = |known: &Known| known.traces.iter().map(|t| t.number).collect::<Vec<_>>();
        for attempt in self.known.get(&uid).map(numbers).unwrap_or_default() {
            self.stop(uid, attempt);
        }
    }

    /// Commits a status. That an attempt runs is told at once and committed soon: should that be
    /// lost, its directory says so.
    fn tell(&mut self, uid: Uuid, job: &Job, status: JobStatus) {
        if status == job.status {
            return;
        }
        let soon = matches!(status.phase, Some(Phase::Starting | Phase::Running));
        let job = self.next(uid, Arc::new(Job { status, ..job.clone() }));
        match soon {
            true => self.store.update_soon(job),
            false => self.store.update(job, None),
        }
    }

    /// The next version of a job.
    fn next(&mut self, uid: Uuid, mut job: Arc<Job>) -> Arc<Job> {
        let metadata = &mut Arc::make_mut(&mut job).metadata;
        let version = metadata.resource_version.parse::<u64>().unwrap_or(0) + 1;
        metadata.resource_version = version.to_string();
        if let Some(known) = self.known.get_mut(&uid) {
            known.job = Some(Arc::clone(&job));
        }
        job
    }

    /// A job has ended. Once nothing of it runs, the store alone knows it.
    fn finish(&mut self, uid: Uuid, job: &Job) {
        if let Some(at) = job.expires() {
            let at = Instant::now() + until(at, self.clock.now());
            self.expiry = Some(self.expiry.map_or(at, |expiry| expiry.min(at)));
        }
        self.forget(uid);
    }

    /// Forgets a job that has ended or was deleted, once nothing of it runs.
    fn forget(&mut self, uid: Uuid) {
        self.line.leave(&uid);
        self.stop_waiting(uid);
        self.requeue_after(uid, None);
        let runs = |known: &Known| known.traces.iter().any(|trace| trace.gone.is_none());
        if self.known.get(&uid).is_some_and(|known| !runs(known)) {
            self.known.remove(&uid);
        }
    }

    /// Deletes the jobs whose time is over, in a task of its own.
    fn expire(&mut self) {
        if std::mem::replace(&mut self.expiring, true) {
            return;
        }
        let (store, files) = (Arc::clone(&self.store), Arc::clone(&self.files));
        let (now, events) = (self.clock.now(), self.sender.clone());
        tokio::spawn(async move {
            match store.expire(now).await {
                Ok(expired) => {
                    let gone = tokio::task::spawn_blocking(move || {
                        for job in expired {
                            files.forget(job.uid, job.attempt);
                        }
                    });
                    if let Err(error) = gone.await {
                        error!(%error, "what expired jobs left cannot be deleted");
                    }
                }
                Err(error) => warn!(%error, "jobs cannot expire"),
            }
            // The driver may have ended.
            events.send(Event::Expired).unwrap_or_default();
        });
    }

    /// Sets the timer for the next job whose time is over.
    fn expect_expiry(&mut self) {
        self.expiry = match self.store.next_expiry() {
            Ok(Some(at)) => Some(Instant::now() + until(at, self.clock.now())),
            Ok(None) => None,
            Err(error) => {
                warn!(%error, "the store cannot be asked whose time is over");
                Some(Instant::now() + STORE_PAUSE)
            }
        };
    }

    /// A job that has not ended, or of which something runs; `None` when it was deleted.
    fn load(&mut self, uid: Uuid) -> Result<Option<Arc<Job>>, Error> {
        let Some(known) = self.known.get_mut(&uid).filter(|known| !known.deleted) else {
            return Ok(None);
        };
        if known.job.is_none() {
            known.job = self.store.load(uid)?.map(Arc::new);
        }
        Ok(known.job.clone())
    }

    /// The same, where a job that cannot be read is as good as none.
    fn job(&mut self, uid: Uuid) -> Option<Arc<Job>> {
        self.load(uid).unwrap_or_else(|error| {
            error!(%uid, %error, "a job cannot be read");
            None
        })
    }
}

/// What a job that waits is told.
pub(crate) fn waits_for(limits: &JobLimits, cpus: Cpus) -> String {
    let min = limits.min_parallelism;
    format!("waits for {min} of the {cpus} CPUs of this machine")
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// A worker's time in this server's: what differs by much was read from a clock that was set.
fn aligned(told: Timestamp, now: Timestamp) -> Timestamp {
    if told.duration_since(now).abs() > SKEW { now } else { told }
}

/// The end of an attempt, whose last moment is about now.
fn shifted(ending: &Ending, now: Timestamp) -> Ending {
    let shift = now.duration_since(ending.finished);
    if shift.abs() <= SKEW {
        return ending.clone();
    }
    let moved = |at: Timestamp| at.checked_add(shift).unwrap_or(now);
    Ending {
        started: moved(ending.started),
        running: ending.running.map(moved),
        finished: now,
        ..ending.clone()
    }
}
