//! What a worker tells, and what becomes of it.
//!
//! A worker's report reaches the status at once, without waiting for anybody to notice that its
//! process has exited. [`finish`] is the only function that turns an outcome into a status, whether
//! the outcome arrives as a report, in a pod's termination message or over a local socket.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

pub use crate::outcome::{Ending, Outcome, ReportRefusal};
use crate::status::Progress;
pub use crate::transition::{finish, finish_unshown};
use crate::usage_over_time::UsageOverTime;
use crate::{AttemptNumber, Job, JobStatus, Phase};

/// One message from the worker of an attempt, which may be of a later release: fields that are not known are ignored.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// UID of the job.
    pub job_uid: String,
    /// The attempt that speaks.
    pub attempt: AttemptNumber,
    /// What happened.
    pub event: Event,
    /// When this was sent, by the clock of a worker on the server's machine; what it tells may have been long before.
    pub sent: Option<Timestamp>,
}

/// What happened in an attempt.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is moved once")]
pub enum Event {
    /// The function's process started.
    Running {
        /// When the worker started.
        started: Timestamp,
        /// When the function's process started.
        running: Timestamp,
        /// Its process group, by which a server on the same machine ends what a dead worker left.
        process_group: Option<u32>,
    },
    /// The function told its progress.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// What it does.
        message: String,
        /// Seconds since the function's process started, on the monotonic clock.
        elapsed_seconds: f64,
    },
    /// What the function has used so far, over its time.
    Usage {
        /// All samples.
        over_time: UsageOverTime,
        /// Whether no more follow: where there is an object store, it keeps them.
        #[serde(default)]
        is_last: bool,
        /// Namespace of the job. A gateway writes it, whatever the worker says, for its other replicas.
        namespace: Option<String>,
    },
    /// The attempt ended.
    Finished(Ending),
}

/// Whether the attempt may still speak for the job.
pub fn check(job: &Job, uid: &str, attempt: AttemptNumber) -> Result<(), ReportRefusal> {
    let status = &job.status;
    if job.metadata.uid != uid {
        Err(ReportRefusal::OtherJob)
    } else if status.is_finished() {
        Err(if status.phase == Some(Phase::Cancelled) {
            ReportRefusal::Cancelled
        } else {
            ReportRefusal::Finished
        })
    } else if job.spec.cancel {
        Err(ReportRefusal::Cancelled)
    } else if attempt < status.attempt.unwrap_or(1) || is_settled(status, attempt) {
        Err(ReportRefusal::NotCurrent)
    } else {
        Ok(())
    }
}

/// Whether this attempt's failure is already in the status.
pub fn is_settled(status: &JobStatus, attempt: AttemptNumber) -> bool {
    status.failure.as_ref().is_some_and(|failure| failure.attempt >= attempt)
}

/// Whether the status tells the end of this attempt: its failure, or that of a later one, or the end of the job.
pub fn has_ended(status: &JobStatus, attempt: AttemptNumber) -> bool {
    let is_reported = status.attempt.is_some_and(|number| number >= attempt);
    is_settled(status, attempt) || (is_reported && status.is_finished())
}

/// Least time between two writes of progress to the status, and before the first: a status is stored in
/// etcd, a stream is not.
pub const PROGRESS_WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The status with a newer progress, or `None` when the difference is not worth a write: less than
/// 1 % further. The caller keeps the interval between writes.
pub fn progress(status: &JobStatus, attempt: AttemptNumber, new: Progress) -> Option<JobStatus> {
    let old = status.progress.as_ref().filter(|_| status.attempt == Some(attempt));
    let worth = old.is_none_or(|old| new.fraction >= old.fraction + 0.01);
    worth.then(|| {
        let mut status = status.clone();
        status.begin_attempt(attempt.max(status.attempt.unwrap_or(attempt)));
        status.progress = Some(new);
        status
    })
}
