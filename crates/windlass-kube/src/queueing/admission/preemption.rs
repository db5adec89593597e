//! Attempts that are to end for a job that fits no other way. Their CPUs are kept for it, in the memory of the controller
//! that leads, until it has claimed them.

use jiff::Timestamp;
use tracing::info;
use windlass_core::admit::Preempted;
use windlass_core::plan::{Attempt, Preempted as ToEnd, preempted_for};
use windlass_core::status::FailureReason;
use windlass_core::{Job, Standing};

use super::ClusterAdmission;
use crate::labels::AttemptId;
use crate::queueing::key::{QueueKey, reference};
use crate::queueing::state::State;

impl ClusterAdmission {
    /// The last attempt of a job holds CPUs: from now on it may be ended for another job.
    pub(crate) fn observe_running(&self, job: &Job, attempt: &Attempt, now: Timestamp) {
        let id = id_of(job, attempt);
        let mut state = self.lock();
        if !state.held.contains_key(&id) {
            return;
        }
        if !attempt.is_within_reach() {
            if state.scheduler.set_out_of_reach(&id) {
                self.grant_available(&mut state, now);
            }
            return;
        }
        let failure = job.status.failure.as_ref();
        let is_ending = failure.is_some_and(|failure| {
            failure.reason == FailureReason::Preempted && failure.attempt == attempt.number
        });
        let standing = Standing { priority: job.spec.priority, since: attempt.created };
        let is_news = state.scheduler.set_running(&id, standing, is_ending);
        state.running.entry(id).or_insert_with(|| reference(job));
        if is_news {
            self.grant_available(&mut state, now);
        }
    }

    /// For whom the last attempt of a job is to end, if for another job.
    pub(crate) fn preempted(&self, job: &Job, attempt: &Attempt) -> Option<ToEnd> {
        let QueueKey { namespace, name } = self.preempting_queue(job, attempt)?;
        let state = self.lock();
        let by = state.scheduler.preempted_by(&id_of(job, attempt))?;
        let priority = state.requests.get(&by.job_uid)?.waiting.priority;
        // Of other namespaces nobody learns a name, nor what is urgent there.
        let own = (namespace == job.metadata.namespace).then_some((name.as_str(), priority));
        Some(ToEnd { attempt: attempt.number, message: preempted_for(own) })
    }

    /// The queue of the job for which it is to end.
    pub(crate) fn preempting_queue(&self, job: &Job, attempt: &Attempt) -> Option<QueueKey> {
        let state = self.lock();
        let by = state.scheduler.preempted_by(&id_of(job, attempt))?;
        Some(state.requests.get(&by.job_uid)?.queue.clone())
    }

    /// Has the jobs reconciled whose attempts are to end.
    pub(super) fn preempt(&self, state: &mut State, now: Timestamp) {
        while let Some(Preempted { by, victims }) = state.scheduler.preempt(now) {
            info!(job = %by.job_uid, attempts = victims.len(), "attempts are ended for a job");
            let jobs = victims.iter().filter_map(|victim| state.running.get(victim));
            jobs.for_each(|job| self.requeue(job.clone()));
        }
    }
}

fn id_of(job: &Job, attempt: &Attempt) -> AttemptId {
    AttemptId { job_uid: job.metadata.uid.as_str().into(), number: attempt.number }
}
