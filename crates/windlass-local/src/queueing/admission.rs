//! Who may start: the jobs that wait for CPUs and the CPUs that are granted, in core's [`Admission`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;
use windlass_core::admit::{Admission, Share};
use windlass_core::queue::{DEFAULT_QUEUE, QueueStatus};
use windlass_core::{Capacity, Cpus, JobLimits, Waiting};
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
    queues: Vec<String>,
    last_start: Option<Timestamp>,
}

/// What decides when a job's turn comes.
#[derive(Clone, Debug)]
pub(crate) struct QueueEntry {
    pub(crate) queue: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) since: Timestamp,
}

impl MachineAdmission {
    /// For a machine with so many CPUs.
    pub(crate) fn new(cpus: Cpus, backlog: Arc<Backlog>) -> Self {
        let admission = Admission::new(Capacity(Some(cpus)));
        let (newly_waiting, queues) = (Vec::new(), Vec::new());
        Self { admission, newly_waiting, backlog, queues, last_start: None }
    }

    /// Takes over the queues' objects.
    pub(crate) fn set_queues(&mut self, functions: &Functions) {
        for name in std::mem::take(&mut self.queues) {
            self.admission.set_queue(&name, None);
        }
        for queue in functions.queues() {
            let name = queue.metadata.name.clone();
            let share = Share { quota: Some(queue.spec.cpus), weight: queue.spec.weight };
            self.admission.set_queue(&name, Some(share));
            self.queues.push(name);
        }
    }

    /// A job needs CPUs.
    pub(crate) fn enqueue(&mut self, uid: Uuid, entry: &QueueEntry, limits: &JobLimits) {
        let waiting = Waiting {
            queue: entry.queue.to_string(),
            priority: entry.priority,
            since: entry.since,
            min: limits.min_parallelism,
            max: limits.parallelism,
        };
        self.admission.wait(uid, waiting);
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

    /// What is granted and who waits, for whoever reads the metrics. The default queue is there without an object, too.
    pub(crate) fn measure(&self, metrics: &JobMetrics) {
        let is_default = |name: &String| name == DEFAULT_QUEUE;
        let default = (!self.queues.iter().any(is_default)).then_some(DEFAULT_QUEUE);
        let names = self.queues.iter().map(String::as_str).chain(default);
        let numbers = names.map(|name| QueueNumbers {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            waiting: self.admission.waiting_in(name),
            granted: self.admission.used_in(name),
        });
        let (waiting, cpus_in_use) = (self.admission.waiting(), self.admission.used().into());
        metrics.set_queues(numbers, Totals { waiting, cpus_in_use });
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.admission.waiting()
    }

    /// CPUs in use of a queue, and how many jobs wait in it.
    pub(crate) fn queue_status(&self, queue: &str) -> QueueStatus {
        let waiting = u32::try_from(self.admission.waiting_in(queue)).unwrap_or(u32::MAX);
        QueueStatus { granted: self.admission.used_in(queue), waiting }
    }
}

/// Why a job waits, for its status.
pub(crate) fn waiting_message(limits: &JobLimits, cpus: Cpus) -> String {
    let min = limits.min_parallelism;
    format!("waits for {min} of the {cpus} CPUs of this machine")
}
