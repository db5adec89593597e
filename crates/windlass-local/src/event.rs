//! What may happen: everything that wakes the controller.
//!
//! One channel takes all of it, because its order matters: the controller hears of a job before
//! anybody can cancel it, and of an attempt's last report before its end.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::debug;
use uuid::Uuid;
use windlass_core::estimate::Situation;
use windlass_core::jobs::Draining;
use windlass_core::queue::QueueStatus;
use windlass_core::report::Report;
use windlass_core::{AttemptNumber, Error, Job, JobLimits};

use crate::attempt::observe::Unreported;
use crate::attempt::warm_pool::{WarmKey, WarmWorker};
use crate::confine::Slot;
use crate::process::IdleWorker;

/// One event.
#[derive(Debug)]
pub(crate) enum Event {
    /// A new job may begin. One that is not stored yet will be, or else [`Event::NotStored`] follows.
    Submitted { job: Arc<Job>, limits: JobLimits, is_stored: bool },
    /// A job that was to be stored could not be: nothing of it stays. `attempt` is the last one that its
    /// status has told.
    NotStored { uid: Uuid, attempt: AttemptNumber, refusal: Refusal },
    /// The store has this version of a job.
    Stored { uid: Uuid, version: String },
    /// Somebody cancels a job. The answer comes after the commit.
    CancelRequested { uid: Uuid, reply: oneshot::Sender<Result<(), Error>> },
    /// Somebody deletes a job. The answer comes after the commit.
    DeleteRequested { uid: Uuid, reply: oneshot::Sender<Result<(), Error>> },
    /// A worker reports.
    Reported(Box<Report>),
    /// No process of an attempt is left; the slot that held it is empty. Where its function serves, its worker waits
    /// for another job and keeps its slot.
    AttemptEnded {
        uid: Uuid,
        attempt: AttemptNumber,
        end: Unreported,
        slot: Option<Slot>,
        warm: Option<Box<WarmWorker>>,
    },
    /// A function that was started ahead waits for its first job.
    WarmStarted(Box<WarmWorker>),
    /// A worker whose function has waited for a job, or was to, has ended; the slot that held it is empty. With why the
    /// function never was ready, if so.
    WarmEnded { key: Arc<WarmKey>, slot: Option<Slot>, failure: Option<String> },
    /// A process of a function that serves is replaced, and why.
    WarmReplaced { key: Arc<WarmKey>, why: String },
    /// A worker that waits for an order is there, or could not be started.
    WorkerStarted(io::Result<IdleWorker>),
    /// Functions or queues have changed.
    ManifestsReloaded,
    /// A queue was put on hold or resumed.
    QueuesChanged,
    /// Somebody asks how many CPUs of these queues are in use, and how many jobs wait.
    QueueStatusRequested { queues: Vec<String>, reply: oneshot::Sender<Vec<QueueStatus>> },
    /// Somebody asks which attempts run.
    LiveAttemptsRequested { reply: oneshot::Sender<Vec<(Uuid, AttemptNumber)>> },
    /// Somebody asks for estimates.
    EstimatesRequested { reply: oneshot::Sender<Situation<Uuid>> },
    /// A round of deleting expired jobs is over.
    ExpiryDone,
    /// Nothing is to start any more.
    DrainRequested { reply: oneshot::Sender<Draining> },
    /// Everything is to end.
    Shutdown,
}

/// The answer to the caller of a job that has begun and could not be stored. It is given once nothing
/// runs of it any more, so that the same call again does not run beside it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reply: oneshot::Sender<Result<Arc<Job>, Error>>,
    pub(crate) error: Error,
}

impl Refusal {
    /// Tells the caller.
    pub(crate) fn answer_caller(self) {
        // They may have given up.
        self.reply.send(Err(self.error)).unwrap_or_default();
    }
}

/// Where events go.
#[derive(Clone, Debug)]
pub(crate) struct EventSender(mpsc::UnboundedSender<Event>);

/// The channel of events. It has no bound, because each sender is slow by itself: the store's thread
/// waits for the disk, a worker reports at most every 100 ms, and a caller waits for the answer.
pub(crate) fn channel() -> (EventSender, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (EventSender(sender), receiver)
}

impl EventSender {
    /// Sends an event. Once the controller has ended, nobody needs it any more.
    pub(crate) fn send(&self, event: Event) {
        if self.0.send(event).is_err() {
            debug!("the controller has ended");
        }
    }

    /// Whether the controller has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
