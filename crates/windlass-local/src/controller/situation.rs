//! What estimates need of the controller: who runs, who waits, and what is known of each.

use uuid::Uuid;
use windlass_core::estimate::{KnownJob, Situation};

use super::active_jobs::ActiveJob;
use super::state::State;

/// As it is now. It costs the same however many jobs wait, but for the number of queues. Of a job that the store alone
/// has, only how long it may run is known here.
pub(super) fn situation(state: &mut State) -> Situation<Uuid> {
    let excerpt = state.admission.excerpt(state.attempts.job_uids());
    let excerpt = if state.may_start() { excerpt } else { excerpt.without_starts() };
    let holding = excerpt.holding.iter().map(|(uid, ..)| *uid);
    let uids = holding.chain(excerpt.waiting.iter().map(|(uid, ..)| *uid));
    let known = uids.filter_map(|uid| Some((uid, known(state.jobs.get(uid)?)))).collect();
    Situation { excerpt, known, arrivals: state.admission.arrivals().clone() }
}

fn known(active: &ActiveJob) -> KnownJob {
    let timeout_seconds = active.limits.timeout_seconds;
    let known = match &active.job {
        Some(job) => KnownJob::from_job(job, timeout_seconds),
        None => KnownJob { timeout_seconds, ..KnownJob::default() },
    };
    let attempt = active.attempts.last();
    let is_ending = known.is_ending || active.deleted || attempt.is_some_and(|it| it.stopping);
    let first_progress = attempt.and_then(|attempt| attempt.first_progress);
    KnownJob { first_progress, is_ending, ..known }
}
