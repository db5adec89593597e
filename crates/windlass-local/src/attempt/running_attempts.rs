//! The attempts that run, and the CPUs, control groups and workers that they hold.
//!
//! An attempt is here, and has its CPUs, until its last process is gone, whatever becomes of its
//! job. So CPUs in use are what live attempts hold, and no counter can drift.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_core::AttemptNumber;

use super::replacements::Replacements;
use super::warm_pool::{WarmKey, WarmPool};
use super::watch_worker::StopKind;
use super::worker::WORKER_GRACE;
use super::worker_pool::WorkerPool;
use crate::config::Config;
use crate::confine::{Cgroups, Cores, Slot};
use crate::data_dir::DataDir;
use crate::event::EventSender;
use crate::process::{IdleWorker, WorkerCommand, image_of};

/// The attempts that run.
pub(crate) struct LiveAttempts {
    pub(super) live: HashMap<(Uuid, AttemptNumber), LiveAttempt>,
    pub(super) cores: Cores,
    pub(super) cgroups: Cgroups,
    pub(super) workers: WorkerPool,
    /// Functions that wait for a job.
    pub(super) warm: WarmPool,
    pub(super) replacements: Replacements,
    pub(super) supervisors: JoinSet<()>,
    /// How long a worker may take to stop.
    pub(super) grace: Duration,
    pub(super) events: EventSender,
    /// Everything is to end.
    pub(super) closing: watch::Sender<bool>,
}

/// One of them.
pub(super) struct LiveAttempt {
    /// Asks its supervisor to end it. `None` once that was done.
    pub(super) stop: Option<oneshot::Sender<StopKind>>,
    /// Its CPUs by the kernel's numbers.
    pub(super) cpus: Vec<u32>,
    /// Its function, if that serves.
    pub(super) warm: Option<Arc<WarmKey>>,
}

impl LiveAttempts {
    pub(crate) fn new(
        config: &Config,
        files: &DataDir,
        cores: Cores,
        cgroups: Cgroups,
        events: EventSender,
    ) -> Self {
        let options = config.worker.clone();
        let (image, grace) = (image_of(&options.program), options.grace);
        let command = WorkerCommand { options, hidden: config.hidden(), image };
        let workers = WorkerPool::new(command, files.attempts(), config.cpus, events.clone());
        Self {
            live: HashMap::new(),
            cores,
            cgroups,
            workers,
            warm: WarmPool::new(config.bounds.warm_memory_bytes),
            replacements: Replacements::default(),
            supervisors: JoinSet::new(),
            grace: grace + WORKER_GRACE,
            events,
            closing: watch::Sender::new(false),
        }
    }

    /// Asks for the end of an attempt. Once it has ended, or was asked to, nothing happens.
    pub(crate) fn stop(&mut self, uid: Uuid, attempt: AttemptNumber) {
        if let Some(live) = self.live.get_mut(&(uid, attempt)) {
            live.stop(StopKind::Cancel);
        }
    }

    /// Asks for the end of all.
    pub(crate) fn stop_all(&mut self) {
        self.live.values_mut().for_each(|live| live.stop(StopKind::End));
        self.closing.send_replace(true);
        let waiting = self.warm.close();
        self.retire(waiting);
    }

    /// Nothing of an attempt runs any more: its CPUs are free. Whether its function `waits` for another job.
    pub(crate) fn release_cpus(&mut self, uid: Uuid, attempt: AttemptNumber, waits: bool) {
        if let Some(LiveAttempt { cpus, warm, .. }) = self.live.remove(&(uid, attempt)) {
            self.cores.release(&cpus);
            warm.iter().filter(|_| !waits).for_each(|key| self.warm.remove(key));
        }
    }

    /// The control group of an attempt is empty and may serve another.
    pub(crate) fn release_slot(&mut self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            self.cgroups.release(slot);
        }
    }

    /// Whether an attempt of this job runs.
    pub(crate) fn any_of(&self, uid: Uuid) -> bool {
        self.live.keys().any(|(live, _)| *live == uid)
    }

    /// The attempts that run, with their jobs.
    pub(crate) fn ids(&self) -> Vec<(Uuid, AttemptNumber)> {
        self.live.keys().copied().collect()
    }

    /// The jobs of which attempts run.
    pub(crate) fn job_uids(&self) -> impl Iterator<Item = Uuid> {
        self.live.keys().map(|(uid, _)| *uid)
    }

    /// How many attempts run.
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no attempt runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Starts workers in advance, as many as may be needed at once.
    pub(crate) fn refill_workers(&mut self) {
        self.workers.refill();
    }

    /// A worker that was started in advance is there, or could not be started.
    pub(crate) fn add_worker(&mut self, worker: io::Result<IdleWorker>) {
        self.workers.add(worker);
    }

    /// Whether a worker is being started in advance.
    pub(crate) fn is_starting_worker(&self) -> bool {
        self.workers.is_starting()
    }

    /// Ends the workers that were started in advance. Returns when they are gone.
    pub(crate) async fn end_idle_workers(&mut self) {
        self.workers.end().await;
    }

    /// Forgets supervisors that have returned.
    pub(crate) fn reap_supervisors(&mut self) {
        while self.supervisors.try_join_next().is_some() {}
    }

    /// Waits until all supervisors have returned.
    pub(crate) async fn join_supervisors(&mut self) {
        while self.supervisors.join_next().await.is_some() {}
    }
}

impl LiveAttempt {
    fn stop(&mut self, kind: StopKind) {
        // Its supervisor may have returned by itself.
        self.stop.take().map(|stop| stop.send(kind));
    }
}
