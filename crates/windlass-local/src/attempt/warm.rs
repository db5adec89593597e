//! Functions that serve: started ahead, kept when their attempt is over, ended when nobody needs them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use uuid::Uuid;
use windlass_core::assignment::{Idle, Preparation};
use windlass_core::warm::Warm;

use super::live::{Allocation, LiveAttempts};
use super::supervise::{Supervisor, WORKER_GRACE};
use super::warm_pool::{WarmAge, WarmKey, WarmWorker};
use crate::confine::Slot;
use crate::event::{Event, EventSender};

/// How long a function that is started ahead may take until it is ready.
const START_PATIENCE: Duration = Duration::from_secs(300);

/// A function that is to be kept warm, and how.
pub(crate) struct WarmFunction {
    pub(crate) key: Arc<WarmKey>,
    pub(crate) policy: Warm,
    /// Memory of an attempt with one CPU.
    pub(crate) memory_bytes: u64,
    /// Whether what it says goes into the logs of its jobs.
    pub(crate) has_logs: bool,
}

impl LiveAttempts {
    /// Takes over which functions are kept warm. Processes of others are ended.
    pub(crate) fn set_warm(&mut self, functions: Vec<WarmFunction>) {
        let policies =
            functions.iter().map(|function| (Arc::clone(&function.key), function.policy.clone()));
        let gone = self.warm.set_policies(policies.collect());
        self.warm_functions =
            functions.into_iter().map(|function| (Arc::clone(&function.key), function)).collect();
        self.retire(gone);
        self.start_ahead();
    }

    /// Starts those ahead that are missing.
    pub(crate) fn start_ahead(&mut self) {
        let ended = self.warm.take_ended();
        self.retire(ended);
        for key in self.warm.missing() {
            if let Err(error) = self.prepare(&key) {
                warn!(function = %key.function, %error, "a function cannot be started ahead");
                self.warm.note_failure(key);
            }
        }
    }

    fn prepare(&mut self, key: &Arc<WarmKey>) -> io::Result<()> {
        let Some(function) = self.warm_functions.get(key) else { return Ok(()) };
        let (memory_bytes, has_logs) = (function.memory_bytes, function.has_logs);
        let (cpus, slot) = (Vec::new(), self.cgroups.acquire(&[], memory_bytes).ok());
        let allocation = Allocation { cpus, memory_bytes, slot, worker: None };
        let preparation = Preparation {
            program: key.program.clone(),
            confinement: Some(allocation.confinement()),
            input: String::new(),
            work: String::new(),
            has_logs,
        };
        let prepared = self.workers.prepare(&preparation).and_then(|worker| {
            worker.socket.set_nonblocking(true)?;
            Ok((UnixStream::from_std(worker.socket)?, worker.child, worker.home))
        });
        let (socket, child, home) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.release_slot(allocation.slot);
                return Err(error);
            }
        };
        let (key, slot, age) = (Arc::clone(key), allocation.slot, WarmAge::new());
        self.warm.add(&key);
        let worker = WarmWorker { key, child, socket, home, slot, memory_bytes: 0, age };
        self.supervisors.spawn(await_ready(worker, self.events.clone(), self.closing.subscribe()));
        Ok(())
    }

    /// Keeps a worker whose function waits for a job.
    pub(crate) fn keep_warm(&mut self, worker: WarmWorker) {
        let surplus = match *self.closing.borrow() {
            true => vec![worker],
            false => self.warm.keep(worker),
        };
        self.retire(surplus);
    }

    /// Ends those that have waited for too long.
    pub(crate) fn retire_expired(&mut self, now: Instant) {
        let expired = self.warm.take_expired(now);
        self.retire(expired);
    }

    /// When the next one has waited for too long.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.warm.next_expiry()
    }

    /// A worker that had, or was to have, a function that waits has ended.
    pub(crate) fn warm_ended(&mut self, key: Arc<WarmKey>, slot: Option<Slot>, has_failed: bool) {
        self.release_slot(slot);
        self.warm.remove(&key);
        if has_failed {
            warn!(function = %key.function, "a function that was started ahead has ended before it was ready");
            self.warm.note_failure(key);
        }
    }

    /// How many functions wait for a job, and their resident bytes.
    pub(crate) fn warm_idle(&self) -> (usize, u64) {
        self.warm.idle()
    }

    pub(super) fn retire(&mut self, workers: Vec<WarmWorker>) {
        for worker in workers {
            self.supervisors.spawn(end(worker, self.events.clone(), false));
        }
    }
}

/// Waits until a function that is started ahead is ready.
async fn await_ready(
    mut worker: WarmWorker,
    events: EventSender,
    mut closing: watch::Receiver<bool>,
) {
    let mut line = Vec::new();
    let said = {
        let mut reader = BufReader::new(&mut worker.socket);
        let said = timeout(START_PATIENCE, reader.read_until(b'\n', &mut line));
        let closing = async { closing.wait_for(|closing| *closing).await.is_ok() };
        tokio::select! {
            said = said => Some(said.is_ok_and(|read| read.is_ok())),
            _ = closing => None,
        }
    };
    let Some(said) = said else { return end(worker, events, false).await };
    match serde_json::from_slice(&line) {
        Ok(Idle { idle_memory_bytes }) if said => {
            worker.memory_bytes = idle_memory_bytes;
            worker.age = WarmAge::new();
            info!(function = %worker.key.function, "a function waits for its first job");
            events.send(Event::WarmStarted(Box::new(worker)));
        }
        _ => end(worker, events, true).await,
    }
}

/// Ends a worker whose function waits, or was to.
async fn end(worker: WarmWorker, events: EventSender, has_failed: bool) {
    let WarmWorker { key, child, socket, home, slot, .. } = worker;
    let supervisor = Supervisor {
        job_uid: Uuid::nil(),
        attempt: 0,
        home,
        grace: WORKER_GRACE,
        limit: Duration::ZERO,
        slot,
        warm: None,
        events: events.clone(),
    };
    let slot = supervisor.retire(child, socket).await;
    events.send(Event::WarmEnded { key, slot, has_failed });
}

/// Functions that are kept warm, by what their processes are told from others by.
pub(super) type WarmFunctions = HashMap<Arc<WarmKey>, WarmFunction>;
