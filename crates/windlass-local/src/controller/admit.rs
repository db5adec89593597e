//! The step `admit`: whether a job may start now. It changes the queues in memory, and nothing else.

use jiff::Timestamp;
use uuid::Uuid;
use windlass_core::Job;
use windlass_core::plan::{AdmissionDecision, Attempt, Preempted, needs_cpus, preempted_for};

use super::state::State;
use crate::queueing::admission::QueueEntry;

/// What admission says to a job. `decision` is what it has just said, and counts once. `None` when the
/// job has joined a queue: the decision comes at the end of the turn.
pub(super) fn admit(
    state: &mut State,
    uid: Uuid,
    job: &Job,
    attempts: &[Attempt],
    decision: &mut Option<AdmissionDecision>,
    now: Timestamp,
) -> Option<AdmissionDecision> {
    state.without_function.remove(&uid);
    if !needs_cpus(job, attempts, now) {
        state.admission.dequeue(&uid);
        return Some(AdmissionDecision::NotAsked);
    }
    let decision = decision.take();
    if decision.is_none() {
        enqueue(state, uid);
        state.admission.announce(uid);
    }
    decision
}

/// A job leaves its queue until manifests that were read anew have its function.
pub(super) fn wait_for_function(
    state: &mut State,
    uid: Uuid,
    blocked: AdmissionDecision,
) -> AdmissionDecision {
    state.admission.dequeue(&uid);
    state.without_function.insert(uid);
    if let Some(active) = state.jobs.get_mut(uid) {
        active.enter_backlog(&state.ctx.backlog);
    }
    blocked
}

/// A job joins its queue.
pub(super) fn enqueue(state: &mut State, uid: Uuid) {
    if let Some(active) = state.jobs.get_mut(uid) {
        active.enter_backlog(&state.ctx.backlog);
        state.admission.enqueue(uid, &active.entry, &active.limits);
    }
}

/// For whom the attempt of a job is to end, if for another job.
pub(super) fn preempted(state: &State, uid: Uuid, attempts: &[Attempt]) -> Option<Preempted> {
    let by = state.jobs.get(*state.admission.preempted_by(&uid)?)?;
    let QueueEntry { queue, priority, .. } = &by.entry;
    let attempt = attempts.last()?.number;
    Some(Preempted { attempt, message: preempted_for(Some((queue, *priority))) })
}
