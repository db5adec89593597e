//! Attends the worker of one attempt until nothing of the attempt is left: reports, a stop, its end.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};
use uuid::Uuid;
use windlass_core::AttemptNumber;
use windlass_core::assignment::Idle;
use windlass_core::report::{Event as ReportEvent, Report};
use windlass_core::status::FailureReason;
use windlass_worker::{oom_kills, remove_tree};

use super::observe::Unreported;
use super::record::AttemptRecord;
use super::warm_pool::{WarmAge, WarmKey, WarmWorker};
use crate::confine::Slot;
use crate::event::{Event, EventSender};
use crate::process::{leftovers, signal};

/// Longest line of a worker, in bytes: 32 KiB of result, escaped, and the rest of the report.
const MAX_LINE_BYTES: u64 = 512 * 1024;

/// How much longer than its function's grace a worker may take to stop.
pub(super) const WORKER_GRACE: Duration = Duration::from_secs(5);

/// How long until it is looked again whether a lock is free that no process of the attempt holds.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// How long processes that were killed may take to be gone, before that is an error in the log.
const PATIENCE: Duration = Duration::from_secs(30);

/// Attends one attempt.
pub(super) struct Supervisor {
    pub(super) job_uid: Uuid,
    pub(super) attempt: AttemptNumber,
    /// The worker's directory.
    pub(super) home: PathBuf,
    /// How long the worker may take to stop before it is killed.
    pub(super) grace: Duration,
    /// How long the function may take, and then its worker to keep what it has written.
    pub(super) limit: Duration,
    /// What holds the attempt. It is handed back with the attempt's end.
    pub(super) slot: Option<Slot>,
    /// The function, if it serves and may have another job afterwards.
    pub(super) warm: Option<(Arc<WarmKey>, WarmAge)>,
    pub(super) events: EventSender,
}

/// What is to become of an attempt's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopKind {
    /// Its attempt alone is to end, if its function serves.
    Cancel,
    /// It is to end as well.
    End,
}

/// How the talk with a worker is over.
enum Closed {
    /// It has closed its end.
    Gone {
        /// It was killed because it had not told an end in time: a function may have stopped it.
        is_overdue: bool,
        /// It has not said anything of the attempt.
        is_silent: bool,
    },
    /// Its function waits for another job.
    Idle { socket: UnixStream, memory_bytes: u64 },
}

impl Supervisor {
    /// Returns when nothing of the attempt is left; `stopped` asks for its end.
    pub(super) async fn run(
        mut self,
        mut child: Child,
        socket: UnixStream,
        stopped: oneshot::Receiver<StopKind>,
    ) {
        // Where the kernel counts what it killed for want of memory.
        let memory_events = self.slot.as_ref().and_then(|slot| slot.confinement().memory_events);
        let kills_before = oom_kills(memory_events.as_deref());
        let (is_overdue, is_silent) = match self.forward_reports(&child, socket, stopped).await {
            Closed::Gone { is_overdue, is_silent } => (is_overdue, is_silent),
            Closed::Idle { socket, memory_bytes } => {
                return self.hand_back(child, socket, memory_bytes);
            }
        };
        let status = tokio::time::timeout(self.grace, child.wait()).await;
        let (orderly, why) = match status {
            Ok(Ok(status)) => {
                (is_orderly(status), format!("its worker ended without a word: {status}"))
            }
            Ok(Err(error)) => (false, format!("its worker cannot be waited for: {error}")),
            Err(_) => {
                self.kill(&child);
                (false, format!("its worker hung and was killed: {:?}", child.wait().await))
            }
        };
        self.empty_slot().await;
        self.end_leftovers(orderly).await;
        let reason = match oom_kills(memory_events.as_deref()) > kills_before {
            _ if is_overdue => FailureReason::Timeout,
            true if !orderly => FailureReason::OutOfMemory,
            // It had no job yet when it went.
            _ if is_silent && orderly && self.warm.is_some() => FailureReason::Lost,
            // On this machine a worker does not vanish by itself: it counts as a try.
            _ => FailureReason::Killed,
        };
        let end = Unreported { reason, why };
        let Self { job_uid: uid, attempt, home, events, slot, .. } = self;
        let warm = None;
        events.send(Event::AttemptEnded { uid, attempt, end, slot, warm });
        remove_home(home).await;
    }

    /// Hands a worker back whose function waits for another job. Nothing of the attempt is left: the worker has looked.
    fn hand_back(self, child: Child, socket: UnixStream, memory_bytes: u64) {
        let Self { job_uid: uid, attempt, home, events, slot, warm, .. } = self;
        if let Err(error) = AttemptRecord::remove(&home) {
            warn!(%error, "the record of an attempt cannot be removed");
        }
        let warm = warm.map(|(key, age)| {
            let age = WarmAge { jobs: age.jobs + 1, idle_since: Instant::now(), ..age };
            Box::new(WarmWorker { key, child, socket, home, slot, memory_bytes, age })
        });
        let end = Unreported::lost("its worker has not said how it ended");
        events.send(Event::AttemptEnded { uid, attempt, end, slot: None, warm });
    }

    /// Ends a worker that has no attempt, and all that it has started.
    pub(super) async fn retire(mut self, mut child: Child, socket: UnixStream) -> Option<Slot> {
        // It ends when its server is gone.
        drop(socket);
        let orderly = match tokio::time::timeout(WORKER_GRACE, child.wait()).await {
            Ok(status) => status.is_ok_and(is_orderly),
            Err(_) => {
                self.kill(&child);
                child.wait().await.is_ok_and(is_orderly)
            }
        };
        self.empty_slot().await;
        self.end_leftovers(orderly).await;
        remove_home(self.home).await;
        self.slot
    }

    /// Passes reports on until the worker closes its end, or its function waits for another job.
    async fn forward_reports(
        &self,
        child: &Child,
        socket: UnixStream,
        mut stopped: oneshot::Receiver<StopKind>,
    ) -> Closed {
        let mut lines = BufReader::new(socket);
        // Outside of the loop: a read that a signal interrupts goes on where it was.
        let mut line = Vec::new();
        let (mut stopping, mut finished, mut is_overdue) = (false, false, false);
        let (mut is_silent, mut may_stay) = (true, self.warm.is_some());
        // When the worker is killed.
        let mut deadline = Some(Instant::now() + self.limit + self.grace);
        let (mut armed, kill) = (false, sleep(Duration::MAX));
        tokio::pin!(kill);
        loop {
            if let Some(at) = deadline.take() {
                armed = true;
                kill.as_mut().reset(at);
            }
            let mut bounded = (&mut lines).take(MAX_LINE_BYTES.saturating_sub(line.len() as u64));
            tokio::select! {
                read = bounded.read_until(b'\n', &mut line) => match read {
                    Ok(1..) => {
                        // One that was told to end ends, whatever it said before it heard that.
                        if may_stay
                            && let Ok(Idle { idle_memory_bytes }) = serde_json::from_slice(&line)
                        {
                            let socket = lines.into_inner();
                            return Closed::Idle { socket, memory_bytes: idle_memory_bytes };
                        }
                        if let Some(report) = self.parse(&line) {
                            is_silent = false;
                            // It has nothing more to say and exits.
                            if matches!(report.event, ReportEvent::Finished(_)) {
                                finished = true;
                                if !stopping {
                                    deadline = Some(Instant::now() + WORKER_GRACE);
                                }
                            }
                            self.events.send(Event::Reported(report));
                        }
                        line.clear();
                    }
                    // The worker has closed its end: it exits.
                    Ok(0) | Err(_) => return Closed::Gone { is_overdue, is_silent },
                },
                kind = &mut stopped, if !stopping => {
                    stopping = true;
                    may_stay = self.ask_to_stop(kind.unwrap_or(StopKind::End), child, lines.get_ref());
                    deadline = Some(Instant::now() + self.grace);
                }
                () = &mut kill, if armed => {
                    armed = false;
                    is_overdue = !stopping && !finished;
                    self.kill(child);
                }
            }
        }
    }

    /// Asks for the end of the attempt. Whether its function may have another job then.
    fn ask_to_stop(&self, kind: StopKind, child: &Child, socket: &UnixStream) -> bool {
        let cancel = b"\"cancel\"\n";
        let may_stay = kind == StopKind::Cancel && self.warm.is_some();
        if may_stay && socket.try_write(cancel).is_ok_and(|written| written == cancel.len()) {
            return true;
        }
        signal(child, Signal::TERM);
        false
    }

    /// Kills the worker. One that is frozen does not die.
    fn kill(&self, child: &Child) {
        signal(child, Signal::KILL);
        self.slot.iter().for_each(Slot::thaw);
    }

    /// A report of this attempt. What a worker says of another counts for nothing.
    fn parse(&self, line: &[u8]) -> Option<Report> {
        match serde_json::from_slice::<Report>(line) {
            Ok(report)
                if report.job_uid == self.job_uid.to_string() && report.attempt == self.attempt =>
            {
                Some(report)
            }
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "a worker's line cannot be read");
                None
            }
        }
    }

    /// Kills what is left in the attempt's control groups, until they are empty.
    async fn empty_slot(&mut self) {
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
                        Err(error) => error!(job = %self.job_uid, %error, "an attempt is not over"),
                    }
                }
                Err(error) => error!(%error, "emptying a control group has failed"),
            }
        }
    }

    /// Returns when nobody holds the attempt's lock. A worker that ended in order has ended its
    /// function. What a worker that was killed has left is searched for, because some of it may have
    /// closed the lock.
    async fn end_leftovers(&self, orderly: bool) {
        let mut must_search = !orderly;
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
                        warn!(job = %self.job_uid, %path, "somebody else holds the lock of an attempt: its CPUs stay taken");
                        sleep(LOCK_PAUSE).await;
                    }
                }
                Ok(Err(error)) => error!(job = %self.job_uid, %error, "an attempt is not over"),
                Err(error) => error!(%error, "looking for what a worker left has failed"),
            }
        }
    }
}

async fn remove_home(home: PathBuf) {
    let removed = spawn_blocking(move || (remove_tree(&home), home)).await;
    if let Ok((Err(error), home)) = removed {
        warn!(path = %home.display(), %error, "an attempt's files cannot be removed");
    }
}

/// Whether a worker has ended by itself, so that it has ended its function.
fn is_orderly(status: ExitStatus) -> bool {
    status.code().is_some()
}
