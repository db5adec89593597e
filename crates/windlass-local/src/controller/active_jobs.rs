//! The jobs that have not ended, and those of which something still runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;
use windlass_core::{AttemptNumber, Error, Job, JobLimits};

use crate::attempt::observe::TrackedAttempt;
use crate::event::Refusal;
use crate::functions::Functions;
use crate::queueing::admission::QueueEntry;
use crate::queueing::backlog::Backlog;
use crate::store::Store;

/// A table of so many jobs is not worth a smaller one.
const MIN_CAPACITY: usize = 1_000;

/// One of them.
pub(super) struct ActiveJob {
    pub(super) entry: QueueEntry,
    /// Queues and specs do not change, so that this is validated once, when a job is accepted.
    pub(super) limits: JobLimits,
    /// It counts in the backlog.
    pub(super) is_waiting: bool,
    /// The job as it was last reported. `None` while the store alone has it.
    pub(super) job: Option<Arc<Job>>,
    /// The store has it as it is here, for sure. One that was begun before it was committed is not yet.
    pub(super) is_stored: bool,
    /// The store was asked to tell when it has it so.
    pub(super) is_leaving: bool,
    /// It could not be stored: what to tell its caller once nothing of it runs.
    pub(super) refusal: Option<Refusal>,
    /// It was deleted: only its processes are of interest any more.
    pub(super) deleted: bool,
    pub(super) attempts: Vec<TrackedAttempt>,
}

/// All of them.
#[derive(Default)]
pub(super) struct ActiveJobs(HashMap<Uuid, ActiveJob>);

impl ActiveJob {
    /// One that has no attempt yet.
    pub(super) fn new(entry: QueueEntry, limits: JobLimits, job: Option<Arc<Job>>) -> Self {
        let (is_waiting, is_stored, is_leaving, deleted) = (false, true, false, false);
        let (refusal, attempts) = (None, Vec::new());
        Self { entry, limits, is_waiting, job, is_stored, is_leaving, refusal, deleted, attempts }
    }

    /// One of its attempts.
    pub(super) fn attempt_mut(&mut self, number: AttemptNumber) -> Option<&mut TrackedAttempt> {
        self.attempts.iter_mut().find(|attempt| attempt.number == number)
    }

    /// It counts in the backlog from now, unless it did already.
    pub(super) fn enter_backlog(&mut self, backlog: &Backlog) {
        if !std::mem::replace(&mut self.is_waiting, true) {
            backlog.add(&self.entry.queue);
        }
    }

    /// It does not wait any more: it starts, or has ended.
    pub(super) fn leave_backlog(&mut self, backlog: &Backlog) {
        if std::mem::take(&mut self.is_waiting) {
            backlog.remove(&self.entry.queue);
        }
    }

    /// The job from now on, which the store does not have yet.
    pub(super) fn become_version(&mut self, job: Arc<Job>) {
        self.job = Some(job);
        self.is_stored = false;
        self.is_leaving = false;
    }

    /// Whether it only waits, and need not be in memory: a deep queue costs little.
    pub(super) fn may_leave(&self) -> bool {
        self.is_waiting && self.attempts.is_empty()
    }

    /// Has the store alone have a job that waits. False when the store does not have it as it is yet.
    pub(super) fn leave_to_store(&mut self) -> bool {
        if self.is_stored {
            self.job = None;
        }
        self.is_stored
    }

    /// The store has this version. Where that is the latest, a job that waits is left to it.
    pub(super) fn on_stored(&mut self, version: &str) {
        let is_latest = |job: &Arc<Job>| job.metadata.resource_version == version;
        if self.job.as_ref().is_some_and(is_latest) {
            self.is_stored = true;
            if self.may_leave() {
                self.leave_to_store();
            }
        }
    }

    fn is_running(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.exit.is_none())
    }
}

/// Gives memory back that a crowd of the past has taken.
fn shrink(jobs: &mut HashMap<Uuid, ActiveJob>) {
    if jobs.capacity() > MIN_CAPACITY.max(4 * jobs.len()) {
        jobs.shrink_to(2 * jobs.len());
    }
}

impl ActiveJobs {
    pub(super) fn insert(&mut self, uid: Uuid, job: ActiveJob) {
        self.0.insert(uid, job);
    }

    pub(super) fn get(&self, uid: Uuid) -> Option<&ActiveJob> {
        self.0.get(&uid)
    }

    /// Those that wait in one of these queues.
    pub(super) fn waiting_in(&self, queues: &BTreeSet<String>) -> Vec<Uuid> {
        let is_in = |active: &ActiveJob| active.is_waiting && queues.contains(&*active.entry.queue);
        let waiting = self.0.iter().filter(|(_, active)| is_in(active));
        waiting.map(|(uid, _)| *uid).collect()
    }

    /// Those that wait, and whose function is not there.
    pub(super) fn waiting_without_function(&self, functions: &Functions) -> BTreeSet<Uuid> {
        let is_without = |active: &ActiveJob| {
            active.is_waiting && !active.deleted && functions.get(&active.entry.function).is_none()
        };
        self.0.iter().filter(|(_, active)| is_without(active)).map(|(uid, _)| *uid).collect()
    }

    pub(super) fn get_mut(&mut self, uid: Uuid) -> Option<&mut ActiveJob> {
        self.0.get_mut(&uid)
    }

    /// The job itself, read from the store when it is not in memory; `None` when it was deleted, or is
    /// not active.
    pub(super) fn load(&mut self, uid: Uuid, store: &Store) -> Result<Option<Arc<Job>>, Error> {
        let Some(active) = self.0.get_mut(&uid).filter(|active| !active.deleted) else {
            return Ok(None);
        };
        if active.job.is_none() {
            active.job = store.load(uid)?.map(Arc::new);
        }
        Ok(active.job.clone())
    }

    /// Removes a job, once nothing of it runs.
    pub(super) fn remove(&mut self, uid: Uuid) {
        if self.0.get(&uid).is_some_and(|active| !active.is_running()) {
            let refusal = self.0.remove(&uid).and_then(|active| active.refusal);
            refusal.into_iter().for_each(Refusal::answer_caller);
            shrink(&mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn version(number: u32) -> Arc<Job> {
        let spec: JobSpec = serde_json::from_str(r#"{"function":"f"}"#).unwrap();
        let resource_version = number.to_string();
        Arc::new(Job::new(Metadata { resource_version, ..Metadata::default() }, spec))
    }

    fn waiting(job: Arc<Job>) -> ActiveJob {
        let (queue, function) = ("default".into(), "f".into());
        let entry = QueueEntry { queue, function, priority: 0, since: Timestamp::now() };
        let limits = JobLimits::without_function(&job.spec);
        let mut active = ActiveJob::new(entry, limits, Some(job));
        active.is_waiting = true;
        active
    }

    #[test]
    fn a_waiting_job_leaves_memory_once_the_store_has_it_as_it_is() {
        let mut active = waiting(version(1));
        active.become_version(version(2));
        assert!(!active.leave_to_store() && active.job.is_some(), "the store has the first");
        active.on_stored("1");
        assert!(active.job.is_some(), "the store has told of the first");
        active.on_stored("2");
        assert!(active.job.is_none());
        // As it was read, the store has it.
        active.job = Some(version(2));
        assert!(active.leave_to_store() && active.job.is_none());
    }

    #[test]
    fn a_job_that_does_not_only_wait_stays_in_memory() {
        let mut active = waiting(version(1));
        active.is_waiting = false;
        active.become_version(version(2));
        active.on_stored("2");
        assert!(active.job.is_some() && !active.may_leave());
    }
}
