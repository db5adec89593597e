//! The attempts that run, and the CPUs, control groups and workers that they hold.
//!
//! An attempt is here, and has its CPUs, until its last process is gone, whatever becomes of its
//! job. So CPUs in use are what live attempts hold, and no counter can drift.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::warn;
use uuid::Uuid;
use windlass_core::assignment::{Assignment, Confinement, Order};
use windlass_core::{AttemptNumber, Cpus};

use super::supervise::{StopKind, Supervisor, WORKER_GRACE};
use super::warm::WarmFunctions;
use super::warm_pool::{WarmAge, WarmKey, WarmPool, WarmWorker};
use super::worker_pool::{self, WorkerPool};
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
    pub(super) cgroups: Cgroups,
    pub(super) workers: WorkerPool,
    /// Functions that wait for a job.
    pub(super) warm: WarmPool,
    pub(super) warm_functions: WarmFunctions,
    pub(super) supervisors: JoinSet<()>,
    /// How long a worker may take to stop.
    grace: Duration,
    pub(super) events: EventSender,
    /// Everything is to end.
    pub(super) closing: watch::Sender<bool>,
}

/// One of them.
struct LiveAttempt {
    /// Asks its supervisor to end it. `None` once that was done.
    stop: Option<oneshot::Sender<StopKind>>,
    /// Its CPUs by the kernel's numbers.
    cpus: Vec<u32>,
    /// Its function, if that serves.
    warm: Option<Arc<WarmKey>>,
}

/// What will hold an attempt that does not run yet.
pub(crate) struct Allocation {
    pub(super) cpus: Vec<u32>,
    pub(super) memory_bytes: u64,
    /// None where no control group can be had.
    pub(super) slot: Option<Slot>,
    /// A worker whose function waits for a job; its slot is the one above.
    pub(super) worker: Option<WarmWorker>,
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
        Self {
            live: HashMap::new(),
            cores,
            cgroups,
            workers,
            warm: WarmPool::new(config.warm_memory_bytes),
            warm_functions: WarmFunctions::new(),
            supervisors: JoinSet::new(),
            grace: grace + WORKER_GRACE,
            events,
            closing: watch::Sender::new(false),
        }
    }

    /// Takes CPUs and a control group for an attempt; of a function that serves, a worker that waits with its own, if
    /// there is one.
    pub(crate) fn allocate(
        &mut self,
        cpus: Cpus,
        memory_bytes: u64,
        warm: Option<&WarmKey>,
    ) -> Allocation {
        // None are free only while somebody else's are not pinned.
        let cpus = self.cores.acquire(cpus).unwrap_or_default();
        while let Some(mut worker) = warm.and_then(|key| self.warm.take(key)) {
            if worker.memory_bytes > memory_bytes {
                // The kernel would end some of it.
                self.retire(vec![worker]);
                continue;
            }
            let mut slot = worker.slot.take();
            match slot.as_mut().map_or(Ok(()), |slot| slot.limit(&cpus, memory_bytes)) {
                Ok(()) => return Allocation { cpus, memory_bytes, slot, worker: Some(worker) },
                Err(error) => {
                    warn!(%error, "a function that waits cannot be given other limits");
                    worker.slot = slot;
                    self.retire(vec![worker]);
                }
            }
        }
        let slot = self.cgroups.acquire(&cpus, memory_bytes);
        let slot =
            slot.inspect_err(|error| warn!(%error, "an attempt runs without a control group")).ok();
        Allocation { cpus, memory_bytes, slot, worker: None }
    }

    /// Gives an order to a worker. What it reports and its end are events. When no worker can be had,
    /// the allocation is given back. `warm` is the function, if it serves.
    pub(crate) fn start(
        &mut self,
        job_uid: Uuid,
        mut order: Order,
        input: &[u8],
        mut allocation: Allocation,
        warm: Option<Arc<WarmKey>>,
    ) -> io::Result<()> {
        let attempt = order.assignment.attempt;
        let limit = time_limit(&order.assignment);
        let mut age = WarmAge::new();
        let mut assigned = None;
        if let Some(worker) = allocation.worker.take() {
            age = worker.age;
            match assign_waiting(job_uid, &order, input, &worker) {
                Ok(()) => assigned = Some((worker.child, worker.socket, worker.home)),
                Err(error) => {
                    warn!(%error, "a function has gone while it waited");
                    let own = allocation.slot.take();
                    self.retire(vec![WarmWorker { slot: own, ..worker }]);
                    allocation.slot =
                        self.cgroups.acquire(&allocation.cpus, allocation.memory_bytes).ok();
                    order.assignment.confinement = Some(allocation.confinement());
                    age = WarmAge::new();
                }
            }
        }
        let assigned = match assigned {
            Some(assigned) => Ok(assigned),
            None => {
                warm.iter().for_each(|key| self.warm.add(key));
                self.assign(job_uid, &order, input)
            }
        };
        let Allocation { cpus, slot, .. } = allocation;
        let (child, socket, home) = match assigned {
            Ok(worker) => worker,
            Err(error) => {
                warm.iter().for_each(|key| self.warm.remove(key));
                self.cores.release(&cpus);
                self.release_slot(slot);
                return Err(error);
            }
        };
        let (stop, stopped) = oneshot::channel();
        let (grace, events) = (self.grace, self.events.clone());
        let kept = warm.clone().map(|key| (key, age));
        let supervisor =
            Supervisor { job_uid, attempt, home, grace, limit, slot, warm: kept, events };
        self.supervisors.spawn(supervisor.run(child, socket, stopped));
        self.live.insert((job_uid, attempt), LiveAttempt { stop: Some(stop), cpus, warm });
        Ok(())
    }

    fn assign(
        &mut self,
        job_uid: Uuid,
        order: &Order,
        input: &[u8],
    ) -> io::Result<(Child, UnixStream, PathBuf)> {
        let IdleWorker { child, socket, home } = self.workers.assign(job_uid, order, input)?;
        socket.set_nonblocking(true)?;
        Ok((child, UnixStream::from_std(socket)?, home))
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

/// Gives an order to a worker whose function waits.
fn assign_waiting(
    job_uid: Uuid,
    order: &Order,
    input: &[u8],
    worker: &WarmWorker,
) -> io::Result<()> {
    let socket = SocketWriter(&worker.socket);
    worker_pool::give(socket, &worker.home, job_uid, order.clone(), input)?
}

/// Writes to a socket that is not to be waited for. An order is smaller than its room.
struct SocketWriter<'a>(&'a UnixStream);

impl io::Write for SocketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LiveAttempt {
    fn stop(&mut self, kind: StopKind) {
        // Its supervisor may have returned by itself.
        self.stop.take().map(|stop| stop.send(kind));
    }
}
