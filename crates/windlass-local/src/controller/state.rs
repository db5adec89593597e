//! What the controller knows and holds. One task owns it, so that no part of it needs a lock.

use std::sync::Arc;

use tracing::error;
use uuid::Uuid;
use windlass_core::Job;

use super::active_jobs::ActiveJobs;
use super::context::Context;
use super::delay_queue::DelayQueue;
use super::expiry::Expiry;
use crate::attempt::live::LiveAttempts;
use crate::queueing::admission::MachineAdmission;

/// The controller's state.
pub(super) struct State {
    /// A shutdown has begun.
    pub(super) is_stopping: bool,
    pub(super) ctx: Arc<Context>,
    pub(super) jobs: ActiveJobs,
    /// What runs, and what holds it.
    pub(super) attempts: LiveAttempts,
    /// Who waits for CPUs, and what is granted.
    pub(super) admission: MachineAdmission,
    /// Whose turn comes later.
    pub(super) requeued: DelayQueue,
    pub(super) expiry: Expiry,
}

impl State {
    /// An active job. One that cannot be read is as good as none.
    pub(super) fn load_job(&mut self, uid: Uuid) -> Option<Arc<Job>> {
        self.jobs.fetch(uid, &self.ctx.store).unwrap_or_else(|error| {
            error!(%uid, %error, "a job cannot be read");
            None
        })
    }

    /// A job does not wait any more: it starts, or has ended.
    pub(super) fn leave_backlog(&mut self, uid: Uuid) {
        if let Some(active) = self.jobs.get_mut(uid)
            && std::mem::take(&mut active.is_waiting)
        {
            self.ctx.backlog.remove(&active.entry.queue);
        }
    }

    /// Forgets a job that has ended or was deleted, once nothing of it runs.
    pub(super) fn forget(&mut self, uid: Uuid) {
        self.admission.dequeue(&uid);
        self.leave_backlog(uid);
        self.requeued.set(uid, None);
        self.jobs.remove(uid);
    }
}
