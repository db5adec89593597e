//! A worker process that is attended: its directory, what holds it, and its end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};
use uuid::Uuid;
use windlass_core::assignment::{Instruction, Order};
use windlass_worker::remove_tree;

use super::give_order::{give, say};
use crate::confine::Slot;
use crate::process::{IdleWorker, leftovers, signal};

/// How much longer than its function's grace a worker may take to stop.
pub(super) const WORKER_GRACE: Duration = Duration::from_secs(5);

/// How long until it is looked again whether a lock is free that no process of the attempt holds.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// How long processes that were killed may take to be gone, before that is an error in the log.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
    /// Its own directory.
    pub(super) home: PathBuf,
    /// What holds it, with all that it has started.
    pub(super) slot: Option<Slot>,
}

/// How a worker's process has ended.
pub(super) struct WorkerExit {
    /// By itself, so that it has ended its function.
    pub(super) is_orderly: bool,
    /// A sentence about the attempt.
    pub(super) why: String,
}

impl Worker {
    /// One that has waited for its order.
    pub(super) fn attend(idle: IdleWorker, slot: &mut Option<Slot>) -> io::Result<Self> {
        let IdleWorker { child, socket, home } = idle;
        socket.set_nonblocking(true)?;
        Ok(Self { child, socket: UnixStream::from_std(socket)?, home, slot: slot.take() })
    }

    /// Gives it an order, with its input.
    pub(super) fn give(&self, job_uid: Uuid, order: &Order, input: &[u8]) -> io::Result<()> {
        give(SocketWriter(&self.socket), &self.home, job_uid, order.clone(), input)?
    }

    /// Waits for its end, and kills it when it takes longer than this.
    pub(super) async fn exited(&mut self, grace: Duration) -> WorkerExit {
        let (is_orderly, why) = match timeout(grace, self.child.wait()).await {
            Ok(Ok(status)) => {
                (is_orderly(status), format!("its worker ended without a word: {status}"))
            }
            Ok(Err(error)) => (false, format!("its worker cannot be waited for: {error}")),
            Err(_) => {
                kill(&self.child, self.slot.as_ref());
                (false, format!("its worker hung and was killed: {:?}", self.child.wait().await))
            }
        };
        WorkerExit { is_orderly, why }
    }

    /// Returns when nothing is left of what it has started, for a job or for none.
    pub(super) async fn end_all(&mut self, is_orderly: bool, job: Option<Uuid>) {
        self.empty_slot(job).await;
        self.end_leftovers(is_orderly, job).await;
    }

    /// Removes its directory.
    pub(super) async fn remove_home(home: PathBuf) {
        let removed = spawn_blocking(move || (remove_tree(&home), home)).await;
        if let Ok((Err(error), home)) = removed {
            warn!(path = %home.display(), %error, "an attempt's files cannot be removed");
        }
    }

    /// Kills what is left in its control groups, until they are empty.
    async fn empty_slot(&mut self, job: Option<Uuid>) {
        while let Some(slot) = self.slot.take() {
            // Where there are no groups, nothing is in one.
            if !slot.processes().is_ok_and(|processes| !processes.is_empty()) {
                self.slot = Some(slot);
                return;
            }
            match spawn_blocking(move || (slot.kill(), slot)).await {
                Ok((killed, slot)) => {
                    self.slot = Some(slot);
                    match killed {
                        Ok(()) => return,
                        Err(error) => {
                            error!(job = job.map(display), %error, "an attempt is not over");
                        }
                    }
                }
                Err(error) => error!(%error, "emptying a control group has failed"),
            }
        }
    }

    /// Returns when nobody holds its lock. A worker that ended in order has ended its function. What a
    /// worker that was killed has left is searched for, because some of it may have closed the lock.
    async fn end_leftovers(&self, is_orderly: bool, job: Option<Uuid>) {
        let mut must_search = !is_orderly;
        loop {
            match leftovers::is_lock_held(&self.home) {
                Ok(false) if !must_search => return,
                Ok(_) => {}
                Err(error) => error!(%error, "an attempt's lock cannot be looked at"),
            }
            let home = self.home.clone();
            match spawn_blocking(move || leftovers::end(&home, PATIENCE)).await {
                Ok(Ok(ended)) => {
                    must_search = false;
                    if ended == 0 && leftovers::is_lock_held(&self.home).unwrap_or(true) {
                        // It was given to a process that no attempt has started.
                        let path = self.home.display();
                        warn!(job = job.map(display), %path, "somebody else holds the lock of an attempt: its CPUs stay taken");
                        sleep(LOCK_PAUSE).await;
                    }
                }
                Ok(Err(error)) => error!(job = job.map(display), %error, "an attempt is not over"),
                Err(error) => error!(%error, "looking for what a worker left has failed"),
            }
        }
    }
}

/// Cancels the attempt of a worker.
pub(super) fn cancel(socket: &UnixStream) -> io::Result<()> {
    say(SocketWriter(socket), &Instruction::Cancel)
}

/// Kills a worker. One that is frozen does not die.
pub(super) fn kill(worker: &Child, slot: Option<&Slot>) {
    signal(worker, Signal::KILL);
    slot.into_iter().for_each(Slot::thaw);
}

/// Whether a worker has ended by itself.
fn is_orderly(status: ExitStatus) -> bool {
    status.code().is_some()
}

/// Writes to a socket that is not to be waited for. An order is smaller than its room.
struct SocketWriter<'a>(&'a UnixStream);

impl Write for SocketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
