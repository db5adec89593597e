//! Attends the worker of one attempt until nothing of the attempt is left: reports, a stop, its end.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::warn;
use uuid::Uuid;
use windlass_core::assignment::{Idle, Replaced};
use windlass_core::report::{Event as ReportEvent, Report};
use windlass_core::status::FailureReason;
use windlass_core::{AttemptNumber, Outcome};
use windlass_worker::oom_kills;

use super::observe::Unreported;
use super::record::AttemptRecord;
use super::warm_pool::{WarmAge, WarmKey, WarmWorker};
use super::worker::{WORKER_GRACE, Worker, WorkerExit, cancel, kill};
use crate::event::{Event, EventSender};
use crate::process::signal;

/// Longest line of a worker, in bytes: 32 KiB of result, escaped, and the rest of the report.
const MAX_LINE_BYTES: u64 = 512 * 1024;

/// Why a function gets no further job that has not said why.
const ENDED: &str = "it has ended in its job";

/// What a worker has said of its attempt.
struct Said {
    /// Nothing.
    is_silent: bool,
    /// Its end.
    is_finished: bool,
    /// Why its function gets no further job, if it gets none.
    replaced: Option<String>,
}

impl Default for Said {
    fn default() -> Self {
        Self { is_silent: true, is_finished: false, replaced: None }
    }
}

/// Attends one attempt.
pub(super) struct Supervisor {
    pub(super) job_uid: Uuid,
    pub(super) attempt: AttemptNumber,
    /// How long the worker may take to stop before it is killed.
    pub(super) grace: Duration,
    /// How long the function may take, and then its worker to keep what it has written.
    pub(super) limit: Duration,
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
        /// Why its function gets no further job, where it could have had one.
        replaced: Option<String>,
    },
    /// Its function waits for another job.
    Idle(Idle),
}

impl Supervisor {
    /// Returns when nothing of the attempt is left; `stopped` asks for its end. What holds the worker is handed back with
    /// the attempt's end.
    pub(super) async fn run(self, worker: Worker, stopped: oneshot::Receiver<StopKind>) {
        // Where the kernel counts what it killed for want of memory.
        let memory_events = worker.slot.as_ref().and_then(|slot| slot.confinement().memory_events);
        let kills_before = oom_kills(memory_events.as_deref());
        let (mut worker, closed) = self.forward_reports(worker, stopped).await;
        let (is_overdue, is_silent, replaced) = match closed {
            Closed::Gone { is_overdue, is_silent, replaced } => (is_overdue, is_silent, replaced),
            Closed::Idle(idle) => return self.hand_back(worker, idle),
        };
        self.note_replaced(replaced);
        let WorkerExit { is_orderly, why } = worker.exited(self.grace).await;
        worker.end_all(is_orderly, Some(self.job_uid)).await;
        let reason = match oom_kills(memory_events.as_deref()) > kills_before {
            _ if is_overdue => FailureReason::Timeout,
            true if !is_orderly => FailureReason::OutOfMemory,
            // It had no job yet when it went.
            _ if is_silent && is_orderly && self.warm.is_some() => FailureReason::Lost,
            // On this machine a worker does not vanish by itself: it counts as a try.
            _ => FailureReason::Killed,
        };
        let (end, Worker { slot, home, .. }) = (Unreported { reason, why }, worker);
        let Self { job_uid: uid, attempt, events, .. } = self;
        events.send(Event::AttemptEnded { uid, attempt, end, slot, warm: None });
        Worker::remove_home(home).await;
    }

    /// Hands a worker back whose function waits for another job. Nothing of the attempt is left: the worker has looked.
    fn hand_back(self, worker: Worker, Idle { idle_memory_bytes, replaced }: Idle) {
        self.note_replaced(replaced);
        let memory_bytes = idle_memory_bytes;
        let Self { job_uid: uid, attempt, events, warm, .. } = self;
        if let Err(error) = AttemptRecord::clear(&worker.home) {
            warn!(%error, "the record of an attempt cannot be emptied");
        }
        let warm = warm.map(|(key, age)| {
            let age = WarmAge { jobs: age.jobs + 1, idle_since: Instant::now(), ..age };
            Box::new(WarmWorker { key, worker, memory_bytes, age })
        });
        let end = Unreported::lost("its worker has not said how it ended");
        events.send(Event::AttemptEnded { uid, attempt, end, slot: None, warm });
    }

    /// Passes on that a process of its function is replaced.
    fn note_replaced(&self, why: Option<String>) {
        if let (Some((key, _)), Some(why)) = (&self.warm, why) {
            self.events.send(Event::WarmReplaced { key: Arc::clone(key), why });
        }
    }

    /// Passes reports on until the worker closes its end, or its function waits for another job.
    async fn forward_reports(
        &self,
        worker: Worker,
        mut stopped: oneshot::Receiver<StopKind>,
    ) -> (Worker, Closed) {
        let Worker { child, socket, home, slot } = worker;
        let mut lines = BufReader::new(socket);
        // Outside of the loop: a read that a signal interrupts goes on where it was.
        let mut line = Vec::new();
        let (mut stopping, mut is_overdue) = (false, false);
        let (mut said, mut may_stay) = (Said::default(), self.warm.is_some());
        // When the worker is killed.
        let mut deadline = Some(Instant::now() + self.limit + self.grace);
        let (mut armed, overdue) = (false, sleep(Duration::MAX));
        tokio::pin!(overdue);
        let closed = loop {
            if let Some(at) = deadline.take() {
                armed = true;
                overdue.as_mut().reset(at);
            }
            let mut bounded = (&mut lines).take(MAX_LINE_BYTES.saturating_sub(line.len() as u64));
            tokio::select! {
                read = bounded.read_until(b'\n', &mut line) => match read {
                    Ok(1..) => {
                        // One that was told to end ends, whatever it said before it heard that.
                        if may_stay && let Ok(idle) = serde_json::from_slice(&line) {
                            break Closed::Idle(idle);
                        }
                        // After an end it has nothing more to say and exits.
                        if self.take(&line, &mut said) && !stopping {
                            deadline = Some(Instant::now() + WORKER_GRACE);
                        }
                        line.clear();
                    }
                    // The worker has closed its end: it exits.
                    Ok(0) | Err(_) => {
                        let Said { is_silent, replaced, .. } = said;
                        let replaced = (!stopping).then(|| replaced.unwrap_or_else(|| ENDED.into()));
                        break Closed::Gone { is_overdue, is_silent, replaced };
                    }
                },
                kind = &mut stopped, if !stopping => {
                    stopping = true;
                    let kind = kind.unwrap_or(StopKind::End);
                    may_stay = self.ask_to_stop(kind, &child, lines.get_ref());
                    deadline = Some(Instant::now() + self.grace);
                }
                () = &mut overdue, if armed => {
                    armed = false;
                    is_overdue = !stopping && !said.is_finished;
                    kill(&child, slot.as_ref());
                }
            }
        };
        (Worker { child, socket: lines.into_inner(), home, slot }, closed)
    }

    /// Takes in a line. Whether it tells the end of the attempt.
    fn take(&self, line: &[u8], said: &mut Said) -> bool {
        if let Ok(told) = serde_json::from_slice::<Replaced>(line) {
            said.replaced = Some(told.replaced);
            return false;
        }
        let Some(report) = self.parse(line) else { return false };
        said.is_silent = false;
        let is_end = matches!(report.event, ReportEvent::Finished(_));
        said.is_finished |= is_end;
        if let ReportEvent::Finished(ending) = &report.event
            && let Outcome::Failed { reason, .. } = &ending.outcome
        {
            said.replaced = Some(format!("{ENDED}, which failed: {}", reason.as_str()));
        }
        self.events.send(Event::Reported(Box::new(report)));
        is_end
    }

    /// Asks for the end of the attempt. Whether its function may have another job then.
    fn ask_to_stop(&self, kind: StopKind, child: &Child, socket: &UnixStream) -> bool {
        let may_stay = kind == StopKind::Cancel && self.warm.is_some();
        if may_stay && cancel(socket).is_ok() {
            return true;
        }
        signal(child, Signal::TERM);
        false
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
}
