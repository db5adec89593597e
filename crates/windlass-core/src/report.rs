//! What a worker tells, and what becomes of it.
//!
//! A worker's report reaches the status at once, without waiting for anybody to notice that its
//! process has exited. [`finish`] is the only place that turns an outcome into a status, whether
//! the outcome arrives as a report, in a pod's termination message or over a local socket.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::clip;
use crate::result::inline_bytes;
use crate::status::{
    ConditionType, Failure, FailureReason, JobResult, MAX_FAILURE_MESSAGE_BYTES, Progress, Usage,
    reasons,
};
use crate::validate::JobLimits;
use crate::{AttemptNumber, Cpus, Job, JobStatus, Phase};

/// One message from the worker of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// UID of the job.
    pub job_uid: String,
    /// The attempt that speaks.
    pub attempt: AttemptNumber,
    /// What happened.
    pub event: Event,
}

/// What happened in an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is moved once")]
pub enum Event {
    /// The function's process started.
    Running {
        /// When the worker started.
        started: Timestamp,
        /// When the function's process started.
        running: Timestamp,
        /// Its process group, by which a server on the same machine ends what a dead worker left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// The attempt ended.
    Finished(Ending),
}

/// The end of an attempt, as its worker saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// When the worker started.
    pub started: Timestamp,
    /// When the function's process started; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// CPUs that it had.
    pub parallelism: Cpus,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The last progress that the function told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Ending {
    /// The same with its times between these two, in their order: the clock of the machine on which
    /// the worker ran may be anything.
    pub fn between(mut self, from: Timestamp, to: Timestamp) -> Self {
        let to = to.max(from);
        self.started = self.started.clamp(from, to);
        self.finished = self.finished.clamp(self.started, to);
        self.running = self.running.map(|at| at.clamp(self.started, self.finished));
        self
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Outcome {
    /// With a result.
    Succeeded(JobResult),
    /// Without one.
    #[serde(rename_all = "camelCase")]
    Failed {
        /// One word for why.
        reason: FailureReason,
        /// What happened, with the end of stderr.
        message: String,
        /// Exit code, where the function exited by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
    },
}

impl Outcome {
    /// A failure without an exit code.
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), exit_code: None }
    }
}

/// Why a report changed nothing.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema,
)]
pub enum Refused {
    /// Somebody cancelled the job first.
    #[error("the job was cancelled")]
    Cancelled,
    /// The job has ended already.
    #[error("the job has ended already")]
    Finished,
    /// A later attempt is the current one, or this one was settled.
    #[error("the attempt is not the current one")]
    NotCurrent,
    /// The report is about another job of the same name.
    #[error("the report is about another job")]
    OtherJob,
    /// The result's bytes do not have the length or digest that the report gives.
    #[error("the result does not match its digest")]
    Damaged,
}

/// Whether the attempt may still speak for the job.
pub fn check(job: &Job, uid: &str, attempt: AttemptNumber) -> Result<(), Refused> {
    let status = &job.status;
    if job.metadata.uid != uid {
        Err(Refused::OtherJob)
    } else if status.is_finished() {
        Err(if status.phase == Some(Phase::Cancelled) {
            Refused::Cancelled
        } else {
            Refused::Finished
        })
    } else if job.spec.cancel {
        Err(Refused::Cancelled)
    } else if attempt < status.attempt.unwrap_or(1) || is_settled(status, attempt) {
        Err(Refused::NotCurrent)
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

/// The status after an attempt has ended: finished, or waiting for its next attempt.
///
/// The caller has [`check`]ed that the attempt may speak.
pub fn finish(
    job: &Job,
    limits: &JobLimits,
    attempt: AttemptNumber,
    ending: &Ending,
) -> Result<JobStatus, Refused> {
    let Ending { outcome, started, running, finished, parallelism, usage, progress } = ending;
    let mut status = job.status.clone();
    status.observed_generation = job.metadata.generation;
    status.begin_attempt(attempt);
    status.parallelism = Some(*parallelism);
    status.usage = usage.clone();
    if progress.is_some() {
        status.progress = progress.clone();
    }
    status.timeline.created = job.metadata.creation_timestamp;
    status.timeline.admitted = status.timeline.admitted.or(Some(*started));
    status.timeline.started = Some(*started);
    status.timeline.running = *running;
    match outcome {
        Outcome::Succeeded(result) if is_sound(result) => {
            status.result = Some(result.clone());
            status.failure = None;
            end(&mut status, Phase::Succeeded, reasons::SUCCEEDED, "", *finished);
        }
        Outcome::Succeeded(_) => return Err(Refused::Damaged),
        Outcome::Failed { reason, message, exit_code } => {
            let failure = Failure {
                reason: *reason,
                message: clip(message.clone(), MAX_FAILURE_MESSAGE_BYTES),
                exit_code: *exit_code,
                attempt,
                time: *finished,
            };
            fail(&mut status, limits, failure);
        }
    }
    Ok(status)
}

/// A result that is inline is what its digest says; one elsewhere was checked where it was stored.
fn is_sound(result: &JobResult) -> bool {
    match &result.location {
        Some(_) => result.text.is_none() && result.base64.is_none(),
        None => inline_bytes(result).is_some(),
    }
}

/// Settles a failed attempt: the job ends, or waits for its next attempt.
pub(crate) fn fail(status: &mut JobStatus, limits: &JobLimits, failure: Failure) {
    let reason = failure.reason;
    if reason.counts() && failure.attempt > 0 {
        status.retries += 1;
    }
    let (attempt, time) = (failure.attempt, failure.time);
    let message = failure.message.clone();
    status.failure = Some(failure);
    status.waiting = None;
    // `retries` counts failures; the first attempt is no retry.
    if reason.is_retried() && status.retries <= limits.retries {
        status.timeline.remember(attempt, time);
        status.phase = Some(Phase::Queued);
        status.set_condition(ConditionType::Running, false, reason.as_str(), &message, time);
        status.set_condition(
            ConditionType::Admitted,
            false,
            reasons::RETRYING,
            "waits for its next attempt",
            time,
        );
    } else {
        end(status, Phase::Failed, reason.as_str(), &message, time);
    }
}

/// Writes an end into the status.
pub(crate) fn end(
    status: &mut JobStatus,
    phase: Phase,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    status.phase = Some(phase);
    if let Some(progress) = &mut status.progress {
        progress.estimated_remaining_seconds = None;
    }
    status.waiting = None;
    status.timeline.finished = Some(now);
    if phase == Phase::Succeeded {
        status.set_condition(ConditionType::Admitted, true, reasons::GRANTED, "", now);
    }
    status.set_condition(ConditionType::Running, false, reasons::ENDED, "", now);
    status.set_condition(ConditionType::Finished, true, reason, message, now);
}
