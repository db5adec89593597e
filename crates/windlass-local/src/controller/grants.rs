//! The end of a turn: admission chooses who starts, from all jobs that wait.

use windlass_core::plan::AdmissionDecision;

use super::reconcile::reconcile;
use super::state::State;
use crate::config::NAMESPACE;
use crate::queueing::admission::why_it_waits;

/// Starts jobs until nobody who waits may start.
pub(super) fn start_granted(state: &mut State) {
    while state.may_start()
        && let Some((uid, cpus)) = state.admission.next_grant(state.ctx.clock.now())
    {
        reconcile(state, uid, Some(AdmissionDecision::Granted(cpus)));
        // A grant that came to nothing, because the job cannot run any more.
        if !state.attempts.any_of(uid) {
            state.admission.release(&uid);
        }
    }
}

/// Ends attempts for jobs that fit no other way, where their queues say so.
pub(super) fn preempt(state: &mut State) {
    while state.may_start()
        && let Some(preempted) = state.admission.next_preemption(state.ctx.clock.now())
    {
        if let Some(by) = state.jobs.get(preempted.by) {
            let ended = preempted.victims.len();
            state.ctx.metrics.preempted(NAMESPACE, &by.entry.queue, ended);
        }
        preempted.victims.into_iter().for_each(|victim| reconcile(state, victim, None));
    }
}

/// Has the status of those that have come to wait say so.
pub(super) fn announce_waiting(state: &mut State) {
    let functions = state.ctx.config.functions.current();
    for uid in state.admission.take_newly_waiting() {
        let Some(active) = state.jobs.get(uid).filter(|active| active.is_waiting) else { continue };
        let (queue, cpus) = (&active.entry.queue, state.ctx.config.cpus);
        let decision = why_it_waits(&functions, queue, &active.limits, cpus);
        reconcile(state, uid, Some(decision));
        state.leave_to_store(uid);
    }
}
