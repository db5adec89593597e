//! Functions that serve: started ahead, kept when their attempt is over, ended when nobody needs them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use windlass_core::assignment::{Idle, NeverReady};

use super::replacements::one_line;
use super::running_attempts::LiveAttempts;
use super::start::confinement;
use super::warm_pool::{WarmAge, WarmFunction, WarmKey, WarmWorker};
use super::worker::{WORKER_GRACE, Worker, WorkerExit};
use crate::confine::Slot;
use crate::event::{Event, EventSender};

/// How long a function that is started ahead may take until it is ready.
const START_PATIENCE: Duration = Duration::from_secs(300);

impl LiveAttempts {
    /// Takes over which functions are kept warm. Processes of others are ended.
    pub(crate) fn set_warm(&mut self, functions: HashMap<Arc<WarmKey>, WarmFunction>) {
        let gone = self.warm.set_functions(functions);
        self.retire(gone);
        self.start_ahead();
    }

    /// Starts those ahead that are missing.
    pub(crate) fn start_ahead(&mut self) {
        let ended = self.warm.take_ended();
        ended
            .iter()
            .for_each(|worker| self.note_replaced(&worker.key, "it has ended while it waited"));
        self.retire(ended);
        for key in self.warm.missing() {
            if let Err(error) = self.prepare(&key) {
                warn!(function = %key.function, %error, "a function cannot be started ahead");
                self.warm.note_failure(key);
            }
        }
    }

    fn prepare(&mut self, key: &Arc<WarmKey>) -> io::Result<()> {
        let Some(function) = self.warm.function(key) else { return Ok(()) };
        let memory_bytes = function.memory_bytes;
        let slot = self.new_slot(&[], memory_bytes);
        let confinement = confinement(slot.as_ref(), &[], memory_bytes);
        let idle = self.workers.prepare(&key.program, &confinement);
        let worker = self.attend(idle, slot)?;
        let (key, age) = (Arc::clone(key), WarmAge::new());
        self.warm.add(&key);
        let waiting = WarmWorker { key, worker, memory_bytes: 0, age };
        let (events, closing) = (self.events.clone(), self.closing.subscribe());
        self.supervisors.spawn(await_ready(waiting, events, closing));
        Ok(())
    }

    /// Keeps a worker whose function waits for a job.
    pub(crate) fn keep_warm(&mut self, worker: WarmWorker) {
        if *self.closing.borrow() {
            return self.retire(vec![worker]);
        }
        if let Some(why) = self.warm.worn_out(&worker) {
            self.note_replaced(&worker.key, why);
            return self.retire(vec![worker]);
        }
        let surplus = self.warm.keep(worker);
        self.retire(surplus);
    }

    /// Says in the server's log that a function's process is replaced, and why.
    pub(crate) fn note_replaced(&mut self, key: &WarmKey, why: &str) {
        let function = &key.function;
        if let Some(others) = self.replacements.note(function, Instant::now()) {
            let why = one_line(why);
            info!(%function, %why, others, "a process of a function is replaced");
        }
    }

    /// Ends those that have waited for too long.
    pub(crate) fn retire_expired(&mut self, now: Instant) {
        let expired = self.warm.take_expired(now);
        for worker in &expired {
            if let Some(why) = self.warm.worn_out(worker) {
                self.note_replaced(&worker.key, why);
            }
        }
        self.retire(expired);
    }

    /// When the next one has waited for too long.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.warm.next_expiry()
    }

    /// A worker that had, or was to have, a function that waits has ended.
    pub(crate) fn warm_ended(
        &mut self,
        key: Arc<WarmKey>,
        slot: Option<Slot>,
        failure: Option<String>,
    ) {
        self.release_slot(slot);
        self.warm.remove(&key);
        if let Some(why) = failure {
            let function = &key.function;
            warn!(%function, %why, "a function that was started ahead has ended before it was ready");
            self.warm.note_failure(key);
        }
    }

    /// How many functions wait for a job, and their resident bytes.
    pub(crate) fn warm_idle(&self) -> (usize, u64) {
        self.warm.idle()
    }

    pub(super) fn retire(&mut self, workers: Vec<WarmWorker>) {
        for worker in workers {
            self.supervisors.spawn(end(worker, self.events.clone(), None));
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
        let mut reader = BufReader::new(&mut worker.worker.socket);
        let said = timeout(START_PATIENCE, reader.read_until(b'\n', &mut line));
        let closing = async { closing.wait_for(|closing| *closing).await.is_ok() };
        tokio::select! {
            said = said => Some(said.is_ok_and(|read| read.is_ok())),
            _ = closing => None,
        }
    };
    let Some(said) = said else { return end(worker, events, None).await };
    match serde_json::from_slice(&line) {
        Ok(Idle { idle_memory_bytes, .. }) if said => {
            worker.memory_bytes = idle_memory_bytes;
            worker.age = WarmAge::new();
            info!(function = %worker.key.function, "a function waits for its first job");
            events.send(Event::WarmStarted(Box::new(worker)));
        }
        _ => {
            let failure = failure_of(said, &line);
            end(worker, events, Some(failure)).await;
        }
    }
}

/// Why a function is not ready, by what its worker has said until then; `has_answered` is false when its time was over.
fn failure_of(has_answered: bool, line: &[u8]) -> String {
    match serde_json::from_slice(line) {
        Ok(NeverReady { why }) => why,
        Err(_) if has_answered => "its worker has ended without a word".to_owned(),
        Err(_) => format!("it was not ready within {} s", START_PATIENCE.as_secs()),
    }
}

/// Ends a worker whose function waits, or was to.
async fn end(waiting: WarmWorker, events: EventSender, failure: Option<String>) {
    let WarmWorker { key, mut worker, .. } = waiting;
    // It ends when its server is gone.
    worker.socket.shutdown().await.unwrap_or_default();
    let WorkerExit { is_orderly, .. } = worker.exited(WORKER_GRACE).await;
    worker.end_all(is_orderly, None).await;
    Worker::remove_home(worker.home).await;
    events.send(Event::WarmEnded { key, slot: worker.slot, failure });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_function_is_not_ready_is_in_its_workers_words_or_in_ours() {
        let line = br#"{"why":"it ended: exit status: 7\nno licence"}"#;
        assert_eq!(failure_of(true, line), "it ended: exit status: 7\nno licence");
        assert_eq!(failure_of(true, b""), "its worker has ended without a word");
        assert_eq!(failure_of(false, b""), "it was not ready within 300 s");
    }
}
