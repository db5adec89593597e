//! What the controller knows and holds. One task owns it, so that no part of it needs a lock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;
use windlass_core::Job;
use windlass_core::jobs::Draining;
use windlass_worker::stop_signals::StopSignals;

use super::active_jobs::ActiveJobs;
use super::check::Checks;
use super::context::Context;
use super::delay_queue::DelayQueue;
use super::expiry::Expiry;
use crate::attempt::running_attempts::LiveAttempts;
use crate::queueing::admission::MachineAdmission;

/// The controller's state.
pub(super) struct State {
    /// The signals that ask for a shutdown, where they do.
    pub(super) signals: Option<StopSignals>,
    pub(super) ctx: Arc<Context>,
    pub(super) jobs: ActiveJobs,
    /// What runs, and what holds it.
    pub(super) attempts: LiveAttempts,
    /// Who waits for CPUs, and what is granted.
    pub(super) admission: MachineAdmission,
    /// Those that wait for their function to be there again.
    pub(super) without_function: BTreeSet<Uuid>,
    /// Whose turn comes later.
    pub(super) requeued: DelayQueue,
    pub(super) expiry: Expiry,
    pub(super) checks: Checks,
}

impl State {
    /// Whether a shutdown has begun. It begins here when a signal has asked for it: then no end of a
    /// function counts as its own any more.
    pub(super) fn is_stopping(&mut self) -> bool {
        if self.signals.as_ref().is_some_and(StopSignals::have_come) {
            self.begin_shutdown();
        }
        self.ctx.is_stopping.load(Ordering::SeqCst)
    }

    /// Asks for the end of all that runs. Nothing starts any more.
    pub(super) fn begin_shutdown(&mut self) {
        self.signals = None;
        self.ctx.is_stopping.store(true, Ordering::SeqCst);
        self.attempts.stop_all();
    }

    /// Whether a drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.ctx.is_draining.load(Ordering::SeqCst)
    }

    /// Whether jobs start.
    pub(super) fn may_start(&mut self) -> bool {
        !self.is_draining() && !self.is_stopping()
    }

    /// How far a drain is.
    pub(super) fn draining(&self) -> Draining {
        let waiting = self.admission.waiting() + self.without_function.len();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Draining { running: number(self.attempts.len()), waiting: number(waiting) }
    }

    /// There is nothing new about a job: its turn comes later, or it has ended.
    pub(super) fn settle(&mut self, uid: Uuid, job: &Job, requeue_after: Option<Duration>) {
        if !job.status.is_finished() {
            self.leave_to_store(uid);
            return self.requeued.set(uid, requeue_after);
        }
        if let Some(at) = job.expires() {
            self.expiry.expect(at, self.ctx.clock.now());
        }
        self.forget(uid);
    }

    /// A job that only waits is left to the store, at once or when that tells that it has its version.
    pub(super) fn leave_to_store(&mut self, uid: Uuid) {
        let Some(active) = self.jobs.get_mut(uid).filter(|active| active.may_leave()) else {
            return;
        };
        if !active.leave_to_store()
            && !std::mem::replace(&mut active.is_leaving, true)
            && let Some(job) = &active.job
        {
            self.ctx.store.leave(uid, &job.metadata.resource_version);
        }
    }

    /// Forgets a job that has ended or was deleted, once nothing of it runs: then the store alone has
    /// it.
    pub(super) fn forget(&mut self, uid: Uuid) {
        self.admission.dequeue(&uid);
        if let Some(active) = self.jobs.get_mut(uid) {
            active.leave_backlog(&self.ctx.backlog);
        }
        self.requeued.set(uid, None);
        self.without_function.remove(&uid);
        self.jobs.remove(uid);
    }
}
