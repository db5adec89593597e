//! Who may start: the jobs that wait for CPUs and the CPUs that are granted, in core's [`Admission`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;
use windlass_core::admit::{Admission, Excerpt, Preempted};
use windlass_core::estimate::{Arrivals, MAX_WAITING};
use windlass_core::plan::AdmissionDecision;
use windlass_core::queue::{DEFAULT_QUEUE, QueueSpec, QueueStatus};
use windlass_core::status::reasons;
use windlass_core::{Capacity, Cpus, JobLimits, Queue, Waiting};
use windlass_metrics::{JobMetrics, QueueNumbers, Totals};

use super::backlog::Backlog;
use crate::config::NAMESPACE;
use crate::functions::Functions;

/// The scheduler of this machine.
pub(crate) struct MachineAdmission {
    admission: Admission<Uuid>,
    /// Those whose status does not say yet that they wait, in the order in which they came.
    newly_waiting: Vec<Uuid>,
    backlog: Arc<Backlog>,
    /// Queues that have an object.
    queues: BTreeMap<String, QueueSpec>,
    last_start: Option<Timestamp>,
    arrivals: Arrivals,
}

/// What decides when a job's turn comes.
#[derive(Clone, Debug)]
pub(crate) struct QueueEntry {
    pub(crate) queue: Arc<str>,
    /// While it is not there, the job waits for that alone.
    pub(crate) function: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) since: Timestamp,
}

impl MachineAdmission {
    /// For a machine with so many CPUs.
    pub(crate) fn new(cpus: Cpus, backlog: Arc<Backlog>, now: Timestamp) -> Self {
        let admission = Admission::with_open(Capacity(Some(cpus)), needs_no_object);
        let (newly_waiting, queues) = (Vec::new(), BTreeMap::new());
        let (last_start, arrivals) = (None, Arrivals::since(now));
        Self { admission, newly_waiting, backlog, queues, last_start, arrivals }
    }

    /// Takes over the queues' objects. Those that are others than before, that have come or that are gone: their jobs
    /// wait, or start.
    pub(crate) fn set_queues(&mut self, functions: &Functions) -> BTreeSet<String> {
        let named = |queue: &Queue| (queue.metadata.name.clone(), queue.spec.clone());
        let new: BTreeMap<_, _> = functions.queues().map(named).collect();
        let old = std::mem::replace(&mut self.queues, new);
        let names = old.keys().chain(self.queues.keys());
        let changed = names.filter(|name| old.get(*name) != self.queues.get(*name));
        let changed: BTreeSet<_> = changed.cloned().collect();
        for name in &changed {
            self.admission.set_queue(name, self.queues.get(name).map(QueueSpec::share));
        }
        changed
    }

    /// A job needs CPUs.
    pub(crate) fn enqueue(&mut self, uid: Uuid, entry: &QueueEntry, limits: &JobLimits) {
        self.admission.wait(uid, self.waiting_entry(entry, limits));
    }

    /// A new job has come: others like it are to come again.
    pub(crate) fn record_arrival(
        &mut self,
        function: &str,
        entry: &QueueEntry,
        limits: &JobLimits,
    ) {
        self.arrivals.add(function, self.waiting_entry(entry, limits));
    }

    /// The jobs that have come lately.
    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    fn waiting_entry(&self, entry: &QueueEntry, limits: &JobLimits) -> Waiting {
        let queue = self.queues.get(&*entry.queue);
        // The queue may have come, or have become smaller, after the job.
        let most = queue.map_or(Cpus::MAX, QueueSpec::max_parallelism);
        let is_too_large = limits.min_parallelism > most;
        // One that its queue does not let start counts as larger than the whole queue, which holds back nobody.
        let never = queue.filter(|_| is_too_large).map(|queue| queue.cpus.saturating_add(1));
        Waiting {
            queue: entry.queue.to_string(),
            priority: entry.priority,
            since: entry.since,
            // They are created at different times, and their UIDs go up.
            sequence: 0,
            min: never.unwrap_or(limits.min_parallelism),
            max: limits.parallelism.min(most),
        }
    }

    /// The status of a job that was enqueued does not say yet that it waits.
    pub(crate) fn announce(&mut self, uid: Uuid) {
        self.newly_waiting.push(uid);
    }

    /// Those that were announced since the last call.
    pub(crate) fn take_newly_waiting(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.newly_waiting)
    }

    /// A job needs no CPUs any more.
    pub(crate) fn dequeue(&mut self, uid: &Uuid) {
        self.admission.leave(uid);
    }

    /// Nothing runs of a job any more: what it was granted is free.
    pub(crate) fn release(&mut self, uid: &Uuid) {
        self.admission.release(uid);
    }

    /// Who starts next, with how many CPUs.
    pub(crate) fn next_grant(&mut self, now: Timestamp) -> Option<(Uuid, Cpus)> {
        let grant = self.admission.next(now)?;
        if let Some(last) = self.last_start.replace(now) {
            let interval = Duration::try_from(now.duration_since(last)).unwrap_or_default();
            self.backlog.record_start(interval);
        }
        Some((grant.id, grant.cpus))
    }

    /// For which job attempts are to end, of all that wait and fit no other way, and which.
    pub(crate) fn next_preemption(&mut self, now: Timestamp) -> Option<Preempted<Uuid>> {
        self.admission.preempt(now)
    }

    /// The job for which the attempt of this one is to end, if for any.
    pub(crate) fn preempted_by(&self, uid: &Uuid) -> Option<&Uuid> {
        self.admission.preempted_by(uid)
    }

    /// What is granted and who waits, for whoever reads the metrics. The default queue is there without an object, too.
    pub(crate) fn measure(&self, metrics: &JobMetrics) {
        let is_default = |name: &String| name == DEFAULT_QUEUE;
        let default = (!self.queues.keys().any(is_default)).then_some(DEFAULT_QUEUE);
        let names = self.queues.keys().map(String::as_str).chain(default);
        let numbers = names.map(|name| QueueNumbers {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            waiting: self.admission.waiting_in(name),
            granted: self.admission.held_in(name),
            reserved: self.admission.reserved_in(name),
        });
        let cpus_in_use = self.admission.held().into();
        let waiting = self.admission.waiting();
        metrics.set_queues(numbers, Totals { waiting, cpus_in_use });
    }

    /// Who holds CPUs, of these, and the front of the lines.
    pub(crate) fn excerpt(&self, holding: impl Iterator<Item = Uuid>) -> Excerpt<Uuid> {
        self.admission.excerpt(holding, MAX_WAITING)
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.admission.waiting()
    }

    /// CPUs that attempts of a queue hold, and how many jobs wait in it.
    pub(crate) fn queue_status(&self, queue: &str) -> QueueStatus {
        let waiting = u32::try_from(self.admission.waiting_in(queue)).unwrap_or(u32::MAX);
        QueueStatus { granted: self.admission.held_in(queue), waiting }
    }
}

/// Whether a queue grants CPUs of this machine without an object.
fn needs_no_object(queue: &str) -> bool {
    queue == DEFAULT_QUEUE
}

/// Whether the jobs of this queue wait because it has no object.
pub(crate) fn lacks_queue(functions: &Functions, queue: &str) -> bool {
    functions.queue(queue).is_none() && !needs_no_object(queue)
}

/// Why a job of this queue waits, for its status.
pub(crate) fn why_it_waits(
    functions: &Functions,
    queue: &str,
    limits: &JobLimits,
    cpus: Cpus,
) -> AdmissionDecision {
    if lacks_queue(functions, queue) {
        let (reason, why) = (reasons::QUEUE_NOT_FOUND, format!("queue {queue:?} is not there"));
        return AdmissionDecision::Blocked { reason, why, place: None };
    }
    let min = limits.min_parallelism;
    let why = match functions.queue(queue).map(|queue| &queue.spec) {
        Some(spec) if spec.quota() == 0 => spec.why_jobs_wait(queue),
        Some(spec) if spec.max_parallelism() < min => {
            let why = spec.why_too_small(queue, min);
            return AdmissionDecision::Blocked {
                reason: reasons::QUEUE_TOO_SMALL,
                why,
                place: None,
            };
        }
        // Which of the two it is changes from moment to moment, and the status is written once.
        Some(spec) if spec.cpus < cpus => format!(
            "waits for {min} free CPUs: queue {queue:?} has {} in all, this machine {cpus}",
            spec.cpus
        ),
        _ => format!("waits for {min} of the {cpus} CPUs of this machine"),
    };
    AdmissionDecision::Waiting { why, place: None }
}
