//! The one task that owns the attempts: events in, observe -> plan -> apply -> tell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};
use windlass_core::plan::{Action, Admission, Seen, needs_cpus, plan_invalid};
use windlass_core::report::{self, Event as ReportEvent, Report};
use windlass_core::status::Progress;
use windlass_core::{
    AttemptNumber, Capacity, Cpus, Error, Job, Limits, Plan, QueueState, Waiting, admit, plan,
    validate,
};

use crate::attempt::Handle;
use crate::observe::{self, Trace};
use crate::store::Store;
use crate::{Config, apply};

/// What may happen.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few wait at a time, and each is moved once")]
pub(crate) enum Event {
    /// A job is new, was cancelled or deleted.
    Changed { name: String },
    /// A worker reports.
    Told(Report),
    /// Nothing runs of an attempt any more.
    Gone { uid: String, attempt: AttemptNumber, why: String },
    /// Everything is to end.
    Shutdown,
}

/// The attempts of one job, which outlive it when it is deleted while it runs.
struct Attempts {
    name: String,
    queue: String,
    traces: Vec<Trace>,
    handles: HashMap<AttemptNumber, Handle>,
}

/// The task's state.
pub(crate) struct Driver {
    config: Arc<Config>,
    store: Arc<Store>,
    host: String,
    /// By UID of the job.
    attempts: HashMap<String, Attempts>,
    /// Jobs to look at again, by time; each once.
    timers: BTreeSet<(Instant, String)>,
    /// When each of them is due.
    due: HashMap<String, Instant>,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
    ending: bool,
}

impl Driver {
    pub(crate) fn new(
        config: Arc<Config>,
        store: Arc<Store>,
    ) -> (mpsc::UnboundedSender<Event>, Self) {
        let (sender, events) = mpsc::unbounded_channel();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let driver = Self {
            config,
            store,
            host,
            attempts: HashMap::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            events,
            sender: sender.clone(),
            ending: false,
        };
        (sender, driver)
    }

    /// Runs until a shutdown has left no process.
    pub(crate) async fn run(mut self) {
        while !(self.ending && self.is_idle()) {
            let next = self.timers.first().map(|(at, _)| *at);
            let timer = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = self.events.recv() => self.on(event),
                () = timer => self.on_time(),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.attempts.values().all(|attempts| attempts.traces.iter().all(|t| t.gone.is_some()))
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Changed { name } => self.look(&name),
            Event::Told(report) => self.on_report(report),
            Event::Gone { uid, attempt, why } => self.on_gone(&uid, attempt, why),
            Event::Shutdown => {
                self.ending = true;
                for job in self.store.unfinished() {
                    self.store.cancel(&job.metadata.name);
                    self.look(&job.metadata.name);
                }
                // Attempts of jobs that have ended or were deleted may still be exiting.
                for attempts in self.attempts.values_mut() {
                    for trace in &mut attempts.traces {
                        apply::remove(trace, attempts.handles.get_mut(&trace.number));
                    }
                }
            }
        }
    }

    fn on_time(&mut self) {
        while self.timers.first().is_some_and(|(at, _)| *at <= Instant::now())
            && let Some((_, name)) = self.timers.pop_first()
        {
            self.due.remove(&name);
            self.look(&name);
        }
    }

    fn on_report(&mut self, report: Report) {
        let Report { job_uid: uid, attempt, event } = &report;
        let Some(attempts) = self.attempts.get_mut(uid) else { return };
        let name = attempts.name.clone();
        let Some(trace) = attempts.traces.iter_mut().find(|t| t.number == *attempt) else { return };
        let job = self.store.get(&name);
        let current = job.as_ref().map(|job| report::check(job, uid, *attempt));
        let (Some(job), Some(Ok(()))) = (&job, &current) else {
            debug!(job = name, attempt, ?current, "a report changes nothing");
            return;
        };
        match event {
            ReportEvent::Running { running, .. } => {
                trace.running = Some(*running);
                self.look(&name);
            }
            ReportEvent::Progress { done, total, message, elapsed_seconds } => {
                // A status in memory costs nothing: every progress is told.
                let new = Progress::new(*done, *total, message, *elapsed_seconds);
                let status = windlass_core::JobStatus { progress: Some(new), ..job.status.clone() };
                self.store.tell(&name, uid, status);
            }
            ReportEvent::Finished(ending) => {
                trace.told = Some(ending.clone());
                let limits = self.judge(job);
                let limits = limits.unwrap_or_else(|_| Limits::without_function(&job.spec));
                match report::finish(job, &limits, *attempt, ending) {
                    Ok(status) => self.store.tell(&name, uid, status),
                    Err(refused) => warn!(job = name, attempt, %refused, "an outcome is refused"),
                }
            }
        }
    }

    fn on_gone(&mut self, uid: &str, attempt: AttemptNumber, why: String) {
        let Some(attempts) = self.attempts.get_mut(uid) else { return };
        let name = attempts.name.clone();
        attempts.handles.remove(&attempt);
        if let Some(trace) = attempts.traces.iter_mut().find(|t| t.number == attempt) {
            trace.gone = Some((now(), why));
        }
        match self.store.get(&name).filter(|job| job.metadata.uid == uid) {
            Some(_) => self.look(&name),
            // Deleted while it ran: nobody asks for its attempts any more.
            None => drop(self.attempts.remove(uid)),
        }
        // CPUs have become free.
        for job in self.store.unfinished() {
            if job.status.phase.is_none_or(|phase| phase == windlass_core::Phase::Queued) {
                self.look(&job.metadata.name);
            }
        }
    }

    /// Looks at one job: observe, plan, apply, tell. Again, as long as there is something new.
    fn look(&mut self, name: &str) {
        while let Some(job) = self.store.get(name) {
            let plan = self.plan(&job);
            if plan.actions.is_empty() && plan.status == job.status {
                self.look_again(name, plan.look_again);
                break;
            }
            if !self.apply(&job, &plan) {
                break;
            }
            self.store.tell(name, &job.metadata.uid, plan.status);
        }
        self.stop_deleted(name);
    }

    /// Sets the timer of a job, in place of the one that it had.
    fn look_again(&mut self, name: &str, delay: Option<Duration>) {
        if let Some(old) = self.due.remove(name) {
            self.timers.remove(&(old, name.to_owned()));
        }
        if let Some(delay) = delay {
            let at = Instant::now() + delay;
            self.due.insert(name.to_owned(), at);
            self.timers.insert((at, name.to_owned()));
        }
    }

    fn plan(&self, job: &Job) -> Plan {
        let now = now();
        let traces = self.attempts.get(&job.metadata.uid).map_or(&[][..], |a| &a.traces);
        let attempts = observe::attempts(traces, &self.host);
        match self.judge(job) {
            Ok(limits) => {
                let admission = if needs_cpus(job, &attempts, now) {
                    self.ask(job, now)
                } else {
                    Admission::NotAsked
                };
                plan(job, &limits, &Seen { admission, attempts }, now)
            }
            Err(why) => plan_invalid(job, &why, &Seen { attempts, ..Seen::default() }, now),
        }
    }

    /// Does the actions. False when the job is gone or cannot be worked on now.
    fn apply(&mut self, job: &Job, plan: &Plan) -> bool {
        let uid = &job.metadata.uid;
        for action in &plan.actions {
            match action {
                Action::Start { attempt, cpus } => self.start(job, *attempt, *cpus),
                Action::Remove { attempt } => {
                    if let Some(attempts) = self.attempts.get_mut(uid)
                        && let Some(trace) =
                            attempts.traces.iter_mut().find(|t| t.number == *attempt)
                    {
                        apply::remove(trace, attempts.handles.get_mut(attempt));
                    }
                }
                Action::Expire => {
                    apply::expire(&self.config, &self.store, job);
                    self.attempts.remove(uid);
                    return false;
                }
            }
        }
        true
    }

    fn start(&mut self, job: &Job, attempt: AttemptNumber, cpus: Cpus) {
        let uid = job.metadata.uid.clone();
        let (Ok(limits), Some(function)) =
            (self.judge(job), self.config.functions.get(&job.spec.function))
        else {
            return;
        };
        let started =
            apply::start(&self.config, job, &limits, &function.spec, attempt, cpus, &self.sender);
        let attempts = self.attempts.entry(uid).or_insert_with(|| Attempts {
            name: job.metadata.name.clone(),
            queue: job.spec.queue().to_owned(),
            traces: Vec::new(),
            handles: HashMap::new(),
        });
        let created = now();
        let gone = match started {
            Ok(handle) => {
                attempts.handles.insert(attempt, handle);
                None
            }
            Err(error) => Some((created, format!("its worker cannot be started: {error}"))),
        };
        attempts.traces.push(Trace {
            number: attempt,
            cpus,
            created,
            running: None,
            told: None,
            gone,
            stopping: false,
        });
    }

    /// Asks admission for one job, among all that wait.
    fn ask(&self, job: &Job, now: Timestamp) -> Admission {
        if self.ending {
            return Admission::Waiting("the server stops".into());
        }
        let used: Cpus = self.live(None);
        let free = self.config.cpus.saturating_sub(used);
        let mut names: Vec<String> = Vec::new();
        let mut queues: Vec<QueueState> = Vec::new();
        let mut waiting = Vec::new();
        let mut index = None;
        for other in self.store.unfinished() {
            let traces = self.attempts.get(&other.metadata.uid).map_or(&[][..], |a| &a.traces);
            let Ok(limits) = self.judge(&other) else { continue };
            if !needs_cpus(&other, &observe::attempts(traces, &self.host), now) {
                continue;
            }
            let queue = other.spec.queue();
            let position = names.iter().position(|name| name == queue).unwrap_or_else(|| {
                let object = self.config.functions.queue(queue);
                names.push(queue.to_owned());
                queues.push(QueueState {
                    quota: object.map(|queue| queue.spec.cpus),
                    granted: self.live(Some(queue)),
                    weight: object.map_or(1, |queue| queue.spec.weight),
                });
                names.len() - 1
            });
            if other.metadata.uid == job.metadata.uid {
                index = Some(waiting.len());
            }
            waiting.push(Waiting {
                queue: position,
                priority: other.spec.priority,
                since: other.metadata.creation_timestamp.unwrap_or(now),
                min: limits.min_parallelism,
                max: limits.parallelism,
            });
        }
        let grants = admit(&queues, &waiting, Capacity(Some(free)), now);
        match grants.iter().find(|grant| Some(grant.waiting) == index) {
            Some(grant) => Admission::Granted(grant.cpus),
            None => Admission::Waiting(format!("{used} of {} CPUs are granted", self.config.cpus)),
        }
    }

    /// CPUs of the attempts that may run, of one queue or of all.
    fn live(&self, queue: Option<&str>) -> Cpus {
        self.attempts
            .values()
            .filter(|attempts| queue.is_none_or(|queue| attempts.queue == queue))
            .flat_map(|attempts| &attempts.traces)
            .filter(|trace| trace.gone.is_none())
            .map(|trace| trace.cpus)
            .sum()
    }

    fn judge(&self, job: &Job) -> Result<Limits, Error> {
        limits(&self.config, &job.spec)
    }

    /// A job that was deleted while it ran: its attempts are stopped.
    fn stop_deleted(&mut self, name: &str) {
        let alive = self.store.get(name).map(|job| job.metadata.uid);
        for (uid, attempts) in &mut self.attempts {
            if attempts.name == name && alive.as_ref() != Some(uid) {
                for trace in &mut attempts.traces {
                    apply::remove(trace, attempts.handles.get_mut(&trace.number));
                }
            }
        }
        self.attempts.retain(|uid, attempts| {
            attempts.name != name
                || alive.as_ref() == Some(uid)
                || attempts.traces.iter().any(|trace| trace.gone.is_none())
        });
    }
}

/// The bounds of a job on this machine.
pub(crate) fn limits(config: &Config, spec: &windlass_core::JobSpec) -> Result<Limits, Error> {
    let Some(function) = config.functions.get(&spec.function) else {
        return Err(Error::NotFound {
            kind: windlass_core::Function::KIND,
            name: spec.function.clone(),
        });
    };
    let queue = config.functions.queue(spec.queue()).map(|queue| &queue.spec);
    let mut limits = validate(spec, &function.spec, queue)?;
    if spec.parallelism.is_none() {
        // The function's default is for machines of any size.
        limits.parallelism = limits.parallelism.min(config.cpus);
        limits.min_parallelism = limits.min_parallelism.min(limits.parallelism);
    }
    if limits.min_parallelism > config.cpus {
        let (asked, cpus) = (limits.min_parallelism, config.cpus);
        let pointer =
            if spec.min_parallelism.is_some() { "/minParallelism" } else { "/parallelism" };
        let message = format!("{asked} is not allowed; this server has {cpus} CPUs");
        return Err(Error::Invalid(vec![windlass_core::Problem::at(pointer, message)]));
    }
    limits.parallelism = limits.parallelism.min(config.cpus);
    Ok(limits)
}

/// The time, in whole milliseconds: what is told is read by people.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

