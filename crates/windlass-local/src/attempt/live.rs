//! The attempts that run, and the CPUs, control groups and workers that they hold.
//!
//! An attempt is here, and has its CPUs, until its last process is gone, whatever becomes of its
//! job. So CPUs in use are what live attempts hold, and no counter can drift.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::warn;
use uuid::Uuid;
use windlass_core::assignment::{Assignment, Confinement, Order};
use windlass_core::{AttemptNumber, Cpus};

use super::supervise::{Supervisor, WORKER_GRACE};
use super::worker_pool::WorkerPool;
use crate::config::Config;
use crate::confine::{Cgroups, Cores, Slot};
use crate::data_dir::DataDir;
use crate::event::EventSender;
use crate::process::{IdleWorker, WorkerCommand, image_of};

/// What a slow disk takes in a second.
const SLOW_DISK_BYTES_PER_SECOND: u64 = 64 << 20;

/// The attempts that run.
pub(crate) struct LiveAttempts {
    live: HashMap<(Uuid, AttemptNumber), LiveAttempt>,
    cores: Cores,
    cgroups: Cgroups,
    workers: WorkerPool,
    supervisors: JoinSet<()>,
    /// How long a worker may take to stop.
    grace: Duration,
    events: EventSender,
}

/// One of them.
struct LiveAttempt {
    /// Asks its supervisor to end it. `None` once that was done.
    stop: Option<oneshot::Sender<()>>,
    /// Its CPUs by the kernel's numbers.
    cpus: Vec<u32>,
}

/// What will hold an attempt that does not run yet.
pub(crate) struct Allocation {
    cpus: Vec<u32>,
    memory_bytes: u64,
    /// None where no control group can be had.
    slot: Option<Slot>,
}

impl Allocation {
    /// What its worker needs to know of it.
    pub(crate) fn confinement(&self) -> Confinement {
        self.slot.as_ref().map_or_else(
            || Confinement {
                join: Vec::new(),
                memory_events: None,
                cpus: self.cpus.clone(),
                memory_bytes: self.memory_bytes,
            },
            Slot::confinement,
        )
    }
}

impl LiveAttempts {
    pub(crate) fn new(
        config: &Config,
        files: &DataDir,
        cores: Cores,
        cgroups: Cgroups,
        events: EventSender,
    ) -> Self {
        let Config { program, logs, descriptors, grace, cpus, run_as, .. } = config.clone();
        let other_user = run_as.is_some();
        let image = image_of(&program);
        let command = WorkerCommand { program, logs, descriptors, grace, other_user, image };
        let workers = WorkerPool::new(command, files.attempts(), cpus, events.clone());
        let (live, supervisors) = (HashMap::new(), JoinSet::new());
        Self { live, cores, cgroups, workers, supervisors, grace: grace + WORKER_GRACE, events }
    }

    /// Takes CPUs and a control group for an attempt.
    pub(crate) fn allocate(&mut self, cpus: Cpus, memory_bytes: u64) -> Allocation {
        // None are free only while somebody else's are not pinned.
        let cpus = self.cores.acquire(cpus).unwrap_or_default();
        let slot = self.cgroups.acquire(&cpus, memory_bytes);
        let slot =
            slot.inspect_err(|error| warn!(%error, "an attempt runs without a control group")).ok();
        Allocation { cpus, memory_bytes, slot }
    }

    /// Gives an order to a worker. What it reports and its end are events. When no worker can be had,
    /// the allocation is given back.
    pub(crate) fn start(
        &mut self,
        job_uid: Uuid,
        order: Order,
        input: &[u8],
        allocation: Allocation,
    ) -> io::Result<()> {
        let attempt = order.assignment.attempt;
        let Allocation { cpus, slot, .. } = allocation;
        let limit = time_limit(&order.assignment);
        let (child, socket, home) = match self.assign(job_uid, order, input) {
            Ok(worker) => worker,
            Err(error) => {
                self.cores.release(&cpus);
                self.release_slot(slot);
                return Err(error);
            }
        };
        let (stop, stopped) = oneshot::channel();
        let (grace, events) = (self.grace, self.events.clone());
        let supervisor = Supervisor { job_uid, attempt, home, grace, limit, slot, events };
        self.supervisors.spawn(supervisor.run(child, socket, stopped));
        self.live.insert((job_uid, attempt), LiveAttempt { stop: Some(stop), cpus });
        Ok(())
    }

    fn assign(
        &mut self,
        job_uid: Uuid,
        order: Order,
        input: &[u8],
    ) -> io::Result<(Child, UnixStream, PathBuf)> {
        let IdleWorker { child, socket, home } = self.workers.assign(job_uid, order, input)?;
        socket.set_nonblocking(true)?;
        Ok((child, UnixStream::from_std(socket)?, home))
    }

    /// Asks for the end of an attempt. Once it has ended, or was asked to, nothing happens.
    pub(crate) fn stop(&mut self, uid: Uuid, attempt: AttemptNumber) {
        if let Some(live) = self.live.get_mut(&(uid, attempt)) {
            live.stop();
        }
    }

    /// Asks for the end of all.
    pub(crate) fn stop_all(&mut self) {
        self.live.values_mut().for_each(LiveAttempt::stop);
    }

    /// Nothing of an attempt runs any more: its CPUs are free.
    pub(crate) fn release_cpus(&mut self, uid: Uuid, attempt: AttemptNumber) {
        if let Some(LiveAttempt { cpus, .. }) = self.live.remove(&(uid, attempt)) {
            self.cores.release(&cpus);
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

    /// Forgets supervisors that have returned.
    pub(crate) fn reap_supervisors(&mut self) {
        while self.supervisors.try_join_next().is_some() {}
    }

    /// Waits until all supervisors have returned.
    pub(crate) async fn join_supervisors(&mut self) {
        while self.supervisors.join_next().await.is_some() {}
    }
}

/// How long an attempt takes at most: its function until its timeout, and a slow disk for the result.
fn time_limit(assignment: &Assignment) -> Duration {
    let storing = assignment.max_result_bytes / SLOW_DISK_BYTES_PER_SECOND;
    Duration::from_secs(u64::from(assignment.timeout_seconds) + storing)
}

impl LiveAttempt {
    fn stop(&mut self) {
        // Its supervisor may have returned by itself.
        self.stop.take().map(|stop| stop.send(()));
    }
}
