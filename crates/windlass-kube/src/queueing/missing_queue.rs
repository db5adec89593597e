//! Jobs whose queue is not there. One that was in a queue keeps its place in the line until the queue is there again; what
//! runs goes on, and counts. Any other waits, too: no job leaves a quota by naming a queue that nobody has made.

use jiff::Timestamp;
use windlass_core::plan::AdmissionDecision;
use windlass_core::queue::DEFAULT_QUEUE;
use windlass_core::status::{ConditionType, Place, reasons};
use windlass_core::{Job, QueueSpec};

use super::key::QueueKey;
use super::state::{Candidate, QueueState, Stage, State};
use crate::labels::AttemptId;

/// Whether its status says that a job has waited in a queue: that queue was there.
pub(super) fn was_in_queue(job: &Job) -> bool {
    let waits = [reasons::WAITING_FOR_CPUS, reasons::QUEUE_TOO_SMALL];
    let holds_place = job.status.waiting.is_some();
    job.status.condition(ConditionType::Admitted).is_some_and(|admitted| {
        let reason = admitted.reason.as_str();
        waits.contains(&reason) || reason == reasons::QUEUE_NOT_FOUND && holds_place
    })
}

impl State {
    /// Whether the ComputeQueue is there.
    pub(super) fn has_queue(&self, key: &QueueKey) -> bool {
        self.queues.get(key).is_some_and(|queue| !queue.is_gone)
    }

    /// Whether a job may start without a queue: it names none, and its namespace has none, nor one that was deleted
    /// while jobs waited in it, nor shares the CPUs of a ClusterComputeQueue.
    pub(super) fn passes_without_queue(&self, job: &Job, key: &QueueKey) -> bool {
        let first = QueueKey { namespace: key.namespace.clone(), name: String::new() };
        let mut from = self.queues.range(first..);
        let has_queues = from.next().is_some_and(|(other, _)| other.namespace == key.namespace);
        let shares = self.scheduler.pool_of(&key.namespace).is_some();
        key.name == DEFAULT_QUEUE && !has_queues && !shares && !was_in_queue(job)
    }

    /// A ComputeQueue is gone. The jobs that waited in it, or were granted CPUs that nobody has claimed, wait.
    pub(super) fn mark_gone(&mut self, key: &QueueKey) {
        self.revert_grants_in(key);
        self.scheduler.set_queue(key, None);
        if let Some(queue) = self.queues.get_mut(key) {
            *queue = QueueState { pace: queue.pace, ..QueueState::gone() };
        }
        self.forget_gone();
    }

    /// A deleted queue in which nobody waits any more is forgotten.
    pub(super) fn forget_gone(&mut self) {
        let Self { queues, scheduler, .. } = self;
        let is_waited_for = |key: &QueueKey| scheduler.waiting_in(key) > 0;
        queues.retain(|key, queue| !queue.is_gone || is_waited_for(key));
    }

    /// A job whose queue is not there keeps its place in the line, if it was in that queue. Whether it does.
    pub(super) fn keep_place(&mut self, candidate: &Candidate<'_>, now: Timestamp) -> bool {
        let &Candidate { job, key, .. } = candidate;
        let has_place = self.queues.contains_key(key) || was_in_queue(job);
        if has_place {
            self.queues.entry(key.clone()).or_insert_with(QueueState::gone);
            self.enqueue(candidate, now);
        }
        has_place
    }

    /// What is said to a job whose queue is not there, and which may not pass.
    pub(super) fn without_queue(
        &mut self,
        candidate: &Candidate<'_>,
        now: Timestamp,
    ) -> AdmissionDecision {
        let Candidate { attempt, key, .. } = candidate;
        let name = &key.name;
        let (why, place) = if self.keep_place(candidate, now) {
            let last = self.scheduler.waiting_in(key);
            let position = self.requests.get_mut(&attempt.job_uid).and_then(|request| {
                request.reported_place = request.place;
                request.place
            });
            let position = position.unwrap_or(u32::try_from(last).unwrap_or(u32::MAX));
            let why = format!(
                "queue {name:?} was deleted or is not there; the job keeps its place until it is"
            );
            (why, Some(Place { position, estimated_start: None }))
        } else {
            (format!("queue {name:?} is not there"), None)
        };
        AdmissionDecision::Blocked { reason: reasons::QUEUE_NOT_FOUND, why, place }
    }

    /// A job is in this queue now, and leaves any other that it was in before. Whether a claim in that other one
    /// still stands: until it is given up, an attempt may be made of it.
    pub(super) fn leave_other_queues(&mut self, attempt: &AttemptId, key: &QueueKey) -> bool {
        if self.requests.get(&attempt.job_uid).is_some_and(|request| request.queue != *key)
            && let Some(request) = self.requests.remove(&attempt.job_uid)
        {
            self.scheduler.leave(&request.attempt);
            if let Some(queue) = self.queues.get_mut(&request.queue) {
                queue.places_changed = true;
            }
        }
        match self.held.get(attempt).filter(|held| held.queue != *key).map(|held| held.stage) {
            Some(Stage::Granted) => {
                self.release(attempt);
                false
            }
            Some(Stage::Claimed { .. }) => true,
            Some(Stage::Live) | None => false,
        }
    }
}

impl QueueState {
    /// A queue that was deleted, and in which jobs wait.
    fn gone() -> Self {
        Self { is_gone: true, ..Self::new(QueueSpec::default()) }
    }
}
