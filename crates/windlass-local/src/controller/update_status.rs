//! The step `update_status`: a job's new status is committed, once and last.

use std::sync::Arc;

use uuid::Uuid;
use windlass_core::history::Counted;
use windlass_core::{Job, JobStatus, Phase};

use super::ends::log_job;
use super::state::State;

/// Commits a status that is new. That an attempt runs is shown at once and committed soon: should that
/// be lost, the attempt's directory says so.
pub(super) fn update_status(state: &mut State, uid: Uuid, job: &Job, status: JobStatus) {
    if status == job.status {
        return;
    }
    let ends = status.is_finished() && !job.status.is_finished();
    let before = Counted::of_status(&job.status);
    if before != Counted::of_status(&status) {
        state.ctx.store.count_change(job, &status, state.ctx.clock.now());
    }
    let is_urgent = !matches!(status.phase, Some(Phase::Starting | Phase::Running));
    let job = next_version(state, uid, Job { status, ..job.clone() });
    if ends {
        state.ctx.metrics.finished(&job);
        log_job(&job);
    }
    if is_urgent {
        state.ctx.store.update(job, None);
    } else {
        state.ctx.store.update_soon(job);
    }
}

/// The next version of a job, which is the job from now on.
pub(super) fn next_version(state: &mut State, uid: Uuid, mut job: Job) -> Arc<Job> {
    let version = job.metadata.resource_version.parse::<u64>().unwrap_or(0) + 1;
    job.metadata.resource_version = version.to_string();
    let job = Arc::new(job);
    if let Some(active) = state.jobs.get_mut(uid) {
        active.become_version(Arc::clone(&job));
    }
    job
}
