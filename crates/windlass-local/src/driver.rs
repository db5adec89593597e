//! The one task that owns the attempts: events in, observe -> plan -> apply -> tell.
//!
//! Events that arrived together are one turn. In a turn each job that has news is looked at, and
//! those that need CPUs wait for the end of the turn, when admission decides about all at once.

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
    AttemptNumber, Cpus, Error, Job, JobStatus, Limits, Outcome, Plan, plan, validate,
};

use crate::attempt::Handle;
use crate::line::Line;
use crate::observe::{self, Trace};
use crate::store::Store;
use crate::{Config, apply};

/// Most events of one turn: a flood of them does not keep jobs from starting.
const MAX_TURN: usize = 256;

/// What may happen.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few wait at a time, and each is moved once")]
pub(crate) enum Event {
    /// A job is new or was cancelled.
    Changed { name: String },
    /// A job was deleted.
    Deleted { uid: String },
    /// A worker reports.
    Told(Report),
    /// Nothing runs of an attempt any more.
    Gone { uid: String, attempt: AttemptNumber, why: String },
    /// Everything is to end.
    Shutdown,
}

/// A job that was looked at. It is kept until the job is deleted and nothing of it runs.
struct Known {
    name: String,
    /// Functions, queues and specs do not change, so that this is judged once.
    limits: Result<Limits, Error>,
    traces: Vec<Trace>,
}

/// The task's state.
pub(crate) struct Driver {
    config: Arc<Config>,
    store: Arc<Store>,
    host: String,
    /// By UID.
    known: HashMap<String, Known>,
    /// The live attempts; used CPUs are counted from them each time. An attempt is here until its
    /// last process is gone, whatever becomes of its job.
    live: HashMap<(String, AttemptNumber), Handle>,
    /// Jobs that need CPUs.
    line: Line,
    /// Jobs to look at again, by time; each once.
    timers: BTreeSet<(Instant, String)>,
    /// When each of them is due, by UID.
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
            known: HashMap::new(),
            live: HashMap::new(),
            line: Line::default(),
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
        while !(self.ending && self.live.is_empty()) {
            let next = self.timers.first().map(|(at, _)| *at);
            let timer = async {
                match next {
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
        }
        // What was sent while the last attempt ended.
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            self.on(event);
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Changed { name } => self.on_changed(&name),
            Event::Deleted { uid } => {
                self.stop_all(&uid);
                self.forget(&uid);
            }
            Event::Told(report) => self.on_report(&report),
            Event::Gone { uid, attempt, why } => self.on_gone(&uid, attempt, why),
            Event::Shutdown => {
                self.ending = true;
                for name in self.store.unfinished() {
                    self.on_changed(&name);
                }
                // Attempts of jobs that have ended or were deleted may still be exiting.
                self.live.values_mut().for_each(Handle::stop);
            }
        }
    }

    fn on_changed(&mut self, name: &str) {
        let job = if self.ending { self.store.cancel(name) } else { self.store.get(name) };
        let Some(job) = job else { return };
        let uid = job.metadata.uid.clone();
        self.known.entry(uid.clone()).or_insert_with(|| Known {
            name: name.to_owned(),
            limits: limits(&self.config, &job.spec),
            traces: Vec::new(),
        });
        self.look(&uid, None);
    }

    fn on_time(&mut self) {
        while self.timers.first().is_some_and(|(at, _)| *at <= Instant::now())
            && let Some((_, uid)) = self.timers.pop_first()
        {
            self.due.remove(&uid);
            self.look(&uid, None);
        }
    }

    fn on_report(&mut self, report: &Report) {
        let Report { job_uid: uid, attempt, event } = report;
        let job = self.job(uid);
        let current = job.as_ref().map(|job| report::check(job, uid, *attempt));
        let (Some(job), Some(Ok(())), Some(known)) = (&job, &current, self.known.get_mut(uid))
        else {
            debug!(uid, attempt, ?current, "a report changes nothing");
            return;
        };
        let Some(trace) = known.traces.iter_mut().find(|t| t.number == *attempt) else { return };
        match event {
            ReportEvent::Running { running, .. } => {
                trace.running = Some(*running);
                self.look(uid, None);
            }
            ReportEvent::Progress { done, total, message, elapsed_seconds } => {
                // A status in memory costs nothing: every progress is told.
                let new = Progress::new(*done, *total, message, *elapsed_seconds);
                let status = JobStatus { progress: Some(new), ..job.status.clone() };
                self.store.tell(&known.name, uid, status);
            }
            ReportEvent::Finished(ending) => {
                trace.told = Some(ending.clone());
                let limits = known.limits.clone();
                let limits = limits.unwrap_or_else(|_| Limits::without_function(&job.spec));
                match report::finish(job, &limits, *attempt, ending) {
                    Ok(status) => self.store.tell(&known.name, uid, status),
                    Err(refused) => warn!(uid, attempt, %refused, "an outcome is refused"),
                }
            }
        }
    }

    fn on_gone(&mut self, uid: &str, attempt: AttemptNumber, why: String) {
        self.live.remove(&(uid.to_owned(), attempt));
        let job = self.job(uid);
        if let Some(known) = self.known.get_mut(uid)
            && let Some(trace) = known.traces.iter_mut().find(|t| t.number == attempt)
        {
            trace.gone = Some((now(), why));
            // A result that was stored but does not count, such as that of a cancelled job.
            let stored =
                matches!(trace.told.as_ref().map(|e| &e.outcome), Some(Outcome::Succeeded(_)));
            if !(stored && job.as_ref().is_some_and(|job| job.status.result.is_some())) {
                apply::forget_attempt(&self.config, uid, attempt);
            }
        }
        match job {
            Some(_) => self.look(uid, None),
            None => self.forget(uid),
        }
    }

    /// Looks at one job: observe, plan, apply, tell. Again, as long as there is something new. A job
    /// that needs CPUs goes into the line, unless admission has just decided about it.
    fn look(&mut self, uid: &str, mut admission: Option<Admission>) {
        while let Some(job) = self.job(uid)
            && let Some(known) = self.known.get(uid)
        {
            let now = now();
            let attempts = observe::attempts(&known.traces, &self.host);
            let plan = match &known.limits {
                Ok(limits) if needs_cpus(&job, &attempts, now) => match admission.take() {
                    Some(admission) => plan(&job, limits, &Seen { admission, attempts }, now),
                    None => return self.line.join(&job, limits, now),
                },
                Ok(limits) => {
                    self.line.leave(uid);
                    plan(&job, limits, &Seen { attempts, ..Seen::default() }, now)
                }
                Err(why) => plan_invalid(&job, why, &Seen { attempts, ..Seen::default() }, now),
            };
            if plan.actions.is_empty() && plan.status == job.status {
                return self.look_again(uid, plan.look_again);
            }
            self.apply(&job, &plan);
            self.store.tell(&job.metadata.name, uid, plan.status);
        }
        self.forget(uid);
    }

    /// Decides about the line, until there is nobody in it who may start.
    fn admit(&mut self) {
        loop {
            let granted = if self.ending {
                Vec::new()
            } else {
                self.line.admit(&self.config, self.live.values(), now())
            };
            if granted.is_empty() {
                break;
            }
            for (uid, cpus) in granted {
                self.look(&uid, Some(Admission::Granted(cpus)));
            }
        }
        for (uid, why) in self.line.take_news(self.config.cpus) {
            self.look(&uid, Some(Admission::Waiting(why)));
        }
    }

    /// Sets the timer of a job, in place of the one that it had.
    fn look_again(&mut self, uid: &str, delay: Option<Duration>) {
        if let Some(old) = self.due.remove(uid) {
            self.timers.remove(&(old, uid.to_owned()));
        }
        if let Some(delay) = delay {
            let at = Instant::now() + delay;
            self.due.insert(uid.to_owned(), at);
            self.timers.insert((at, uid.to_owned()));
        }
    }

    /// Does the actions.
    fn apply(&mut self, job: &Job, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Start { attempt, cpus } => self.start(job, *attempt, *cpus),
                Action::Remove { attempt } => self.stop(&job.metadata.uid, *attempt),
                Action::Expire => apply::expire(&self.config, &self.store, job),
            }
        }
    }

    fn start(&mut self, job: &Job, attempt: AttemptNumber, cpus: Cpus) {
        let uid = job.metadata.uid.clone();
        let (Some(known), Some(function)) =
            (self.known.get_mut(&uid), self.config.functions.get(&job.spec.function))
        else {
            return;
        };
        let Ok(limits) = &known.limits else { return };
        // Before the worker can say when it started.
        let created = now();
        let started =
            apply::start(&self.config, job, limits, &function.spec, attempt, cpus, &self.sender);
        let gone = match started {
            Ok(handle) => {
                self.live.insert((uid, attempt), handle);
                None
            }
            Err(error) => Some((created, format!("its worker cannot be started: {error}"))),
        };
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

    fn stop(&mut self, uid: &str, attempt: AttemptNumber) {
        if let Some(known) = self.known.get_mut(uid)
            && let Some(trace) = known.traces.iter_mut().find(|t| t.number == attempt)
        {
            apply::remove(trace, self.live.get_mut(&(uid.to_owned(), attempt)));
        }
    }

    fn stop_all(&mut self, uid: &str) {
        let numbers = |known: &Known| known.traces.iter().map(|t| t.number).collect::<Vec<_>>();
        for attempt in self.known.get(uid).map(numbers).unwrap_or_default() {
            self.stop(uid, attempt);
        }
    }

    /// Forgets a job that was deleted, once nothing of it runs.
    fn forget(&mut self, uid: &str) {
        self.line.leave(uid);
        self.look_again(uid, None);
        let runs = |known: &Known| known.traces.iter().any(|trace| trace.gone.is_none());
        if self.known.get(uid).is_some_and(|known| !runs(known)) {
            self.known.remove(uid);
        }
    }

    fn job(&self, uid: &str) -> Option<Arc<Job>> {
        let known = self.known.get(uid)?;
        self.store.get(&known.name).filter(|job| job.metadata.uid == uid)
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
