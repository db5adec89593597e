//! Starts an attempt: CPUs and a control group for it, and a worker that gets its order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;
use uuid::Uuid;
use windlass_core::Cpus;
use windlass_core::assignment::{Assignment, Confinement, Inputs, Order};

use super::running_attempts::{LiveAttempt, LiveAttempts};
use super::warm_pool::{WarmAge, WarmKey, WarmWorker};
use super::watch_worker::Supervisor;
use super::worker::Worker;
use crate::confine::Slot;
use crate::process::IdleWorker;

/// What a slow disk takes in a second.
const SLOW_DISK_BYTES_PER_SECOND: u64 = 64 << 20;

/// What will hold an attempt that does not run yet.
pub(crate) struct Allocation {
    cpus: Vec<u32>,
    memory_bytes: u64,
    place: Place,
}

/// Where an attempt will be.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Place {
    /// In this control group, where one can be had.
    New(Option<Slot>),
    /// With a function that waits for a job, in the group that it has.
    Waiting(WarmWorker),
}

impl Allocation {
    /// What its worker needs to know of it.
    pub(crate) fn confinement(&self) -> Confinement {
        let slot = match &self.place {
            Place::New(slot) => slot,
            Place::Waiting(waiting) => &waiting.worker.slot,
        };
        confinement(slot.as_ref(), &self.cpus, self.memory_bytes)
    }
}

/// What a worker needs to know of what holds it.
pub(super) fn confinement(slot: Option<&Slot>, cpus: &[u32], memory_bytes: u64) -> Confinement {
    match slot {
        Some(slot) => slot.confinement(),
        None => {
            Confinement { join: Vec::new(), memory_events: None, cpus: cpus.to_vec(), memory_bytes }
        }
    }
}

impl LiveAttempts {
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
        while let Some(mut waiting) = warm.and_then(|key| self.warm.take(key)) {
            // Of one that holds more memory the kernel would end some.
            if waiting.memory_bytes <= memory_bytes {
                let slot = waiting.worker.slot.as_mut();
                match slot.map_or(Ok(()), |slot| slot.limit(&cpus, memory_bytes)) {
                    Ok(()) => {
                        return Allocation { cpus, memory_bytes, place: Place::Waiting(waiting) };
                    }
                    Err(error) => {
                        warn!(%error, "a function that waits cannot be given other limits");
                    }
                }
            }
            self.retire(vec![waiting]);
        }
        let place = Place::New(self.new_slot(&cpus, memory_bytes));
        Allocation { cpus, memory_bytes, place }
    }

    /// A control group, where one can be had.
    pub(super) fn new_slot(&self, cpus: &[u32], memory_bytes: u64) -> Option<Slot> {
        let slot = self.cgroups.acquire(cpus, memory_bytes);
        slot.inspect_err(|error| warn!(%error, "an attempt runs without a control group")).ok()
    }

    /// Gives an order to a worker. What it reports and its end are events. When no worker can be had,
    /// the allocation is given back. `warm` is the function, if it serves.
    pub(crate) fn start(
        &mut self,
        job_uid: Uuid,
        order: Order,
        input: &[u8],
        allocation: Allocation,
        warm: Option<Arc<WarmKey>>,
    ) -> io::Result<()> {
        let (attempt, limit) = (order.assignment.attempt, time_limit(&order.assignment));
        let cpus = allocation.cpus.clone();
        let (worker, age) = match self.assign(job_uid, order, input, allocation, warm.as_ref()) {
            Ok(assigned) => assigned,
            Err(error) => {
                self.cores.release(&cpus);
                return Err(error);
            }
        };
        let (stop, stopped) = oneshot::channel();
        let (grace, events) = (self.grace, self.events.clone());
        let kept = warm.clone().map(|key| (key, age));
        let supervisor = Supervisor { job_uid, attempt, grace, limit, warm: kept, events };
        self.supervisors.spawn(supervisor.run(worker, stopped));
        self.live.insert((job_uid, attempt), LiveAttempt { stop: Some(stop), cpus, warm });
        Ok(())
    }

    /// Gives an order to the function that waits, or else to a worker of its own.
    fn assign(
        &mut self,
        job_uid: Uuid,
        mut order: Order,
        input: &[u8],
        allocation: Allocation,
        warm: Option<&Arc<WarmKey>>,
    ) -> io::Result<(Worker, WarmAge)> {
        let Allocation { cpus, memory_bytes, place } = allocation;
        let slot = match place {
            Place::New(slot) => slot,
            Place::Waiting(waiting) => match waiting.worker.give(job_uid, &order, input) {
                Ok(()) => return Ok((waiting.worker, waiting.age)),
                Err(error) => {
                    warn!(%error, "a function has gone while it waited");
                    self.retire(vec![waiting]);
                    let slot = self.new_slot(&cpus, memory_bytes);
                    let confinement = confinement(slot.as_ref(), &cpus, memory_bytes);
                    order.assignment.confinement = Some(confinement);
                    slot
                }
            },
        };
        let idle = self.workers.assign(job_uid, &order, input);
        let worker = self.attend(idle, slot)?;
        warm.into_iter().for_each(|key| self.warm.add(key));
        Ok((worker, WarmAge::new()))
    }

    /// A worker that was told something, with what holds it. When there is none, that is given back.
    pub(super) fn attend(
        &mut self,
        idle: io::Result<IdleWorker>,
        mut slot: Option<Slot>,
    ) -> io::Result<Worker> {
        let worker = idle.and_then(|idle| Worker::attend(idle, &mut slot));
        self.release_slot(slot);
        worker
    }
}

/// How long an attempt takes at most: its function until its timeout, and a slow disk for copies of inputs and for the
/// result.
fn time_limit(assignment: &Assignment) -> Duration {
    let copied = assignment.inputs.iter().flat_map(Inputs::blobs).map(|blob| blob.bytes);
    let bytes = copied.fold(assignment.max_result_bytes, u64::saturating_add);
    let storing = bytes / SLOW_DISK_BYTES_PER_SECOND;
    Duration::from_secs(u64::from(assignment.timeout_seconds) + storing)
}
