//! ComputeJob.status: what is told. It never goes backwards and an end is final.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptNumber, Cpus, schema};

/// Largest result kept inside the status, in bytes: 32 KiB. A larger one goes to an object store.
pub const MAX_INLINE_RESULT_BYTES: u64 = 32 * 1024;

/// Largest message of a failure, in bytes: the last 4 KiB of the function's stderr and a sentence.
pub const MAX_FAILURE_MESSAGE_BYTES: usize = 5 * 1024;

/// What is known of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::rules(&[
    (
        "!has(oldSelf.phase) || !(oldSelf.phase in ['Succeeded', 'Failed', 'Cancelled']) || (has(self.phase) && self.phase == oldSelf.phase)",
        "a finished job stays as it finished",
    ),
    (
        "!has(oldSelf.result) || (has(self.result) && self.result.sha256 == oldSelf.result.sha256)",
        "a committed result stays",
    ),
    (
        "!has(oldSelf.attempt) || (has(self.attempt) && self.attempt >= oldSelf.attempt)",
        "attempt never goes down",
    ),
    (
        "!has(oldSelf.retries) || (has(self.retries) && self.retries >= oldSelf.retries)",
        "retries never go down",
    ),
])))]
pub struct JobStatus {
    /// The generation of the spec that this status tells about. What is changed after the end changes nothing,
    /// and is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for where the job is. Absent until it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Admitted, Running and Finished. Finished is True for every end, its reason says which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Number of the latest attempt that was seen, 1 for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub attempt: Option<AttemptNumber>,
    /// Failed attempts that counted against `spec.retries`. An evicted or preempted one does not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// CPUs granted to the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parallelism: Option<Cpus>,
    /// Name of the `batch/v1` Job of the latest attempt. Absent on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub job: Option<String>,
    /// Name of its pod. Absent on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// Node of the pod; the host's name on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// Its place in the line, while it waits for CPUs of its queue. Told coarsely: again when the
    /// place has changed by half. Absent on one machine and where there is no ComputeQueue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Place>,
    /// How far the latest attempt is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The result, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// Why the job, or its latest failed attempt, failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When the job passed from one phase to the next.
    #[serde(default)]
    pub timeline: Timeline,
    /// What the latest attempt used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl JobStatus {
    /// Whether the job has ended. Then nothing of this status changes any more.
    pub fn is_finished(&self) -> bool {
        self.phase.is_some_and(Phase::is_final)
    }

    /// Sets a condition; its time changes only when its truth does.
    pub fn set_condition(
        &mut self,
        kind: ConditionType,
        status: impl Into<Truth>,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) {
        let status = status.into();
        let since = self
            .conditions
            .iter()
            .find(|c| c.kind == kind && c.status == status)
            .map_or(now, |c| c.last_transition_time);
        let condition = Condition {
            kind,
            status,
            reason: reason.into(),
            message: crate::error::clip(message.into(), 1024),
            last_transition_time: since,
        };
        match self.conditions.iter_mut().find(|c| c.kind == kind) {
            Some(old) => *old = condition,
            None => self.conditions.push(condition),
        }
    }

    /// Makes an attempt the one that is told about: nothing that an earlier one told stays.
    pub(crate) fn begin_attempt(&mut self, attempt: AttemptNumber) {
        if self.attempt != Some(attempt) {
            self.attempt = Some(attempt);
            self.progress = None;
            self.usage = None;
            self.waiting = None;
            self.timeline.running = None;
            self.timeline.started = None;
        }
    }

    /// The condition of this type, if it was ever set.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

/// One word for where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Waits for CPUs, or for the back-off before its next attempt.
    Queued,
    /// CPUs are granted; its process does not run yet.
    Starting,
    /// Its function runs.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended without a result; `status.failure` says why.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl Phase {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// CPUs are granted.
    Admitted,
    /// The function runs.
    Running,
    /// The job has ended, well or not.
    Finished,
}

/// The words that a condition gives as its reason, beside the [`FailureReason`]s and what the world
/// says of a pod that does not start.
pub mod reasons {
    /// Admitted: CPUs are granted.
    pub const GRANTED: &str = "Granted";
    /// Not admitted: no CPUs are free in its queue.
    pub const WAITING_FOR_CPUS: &str = "WaitingForCpus";
    /// Not admitted: its function was there and is gone.
    pub const FUNCTION_NOT_FOUND: &str = "FunctionNotFound";
    /// Not admitted: its queue has fewer CPUs by now than it needs.
    pub const QUEUE_TOO_SMALL: &str = "QueueTooSmall";
    /// Not admitted: an attempt has failed, and the next one has not started.
    pub const RETRYING: &str = "Retrying";
    /// Not running: its process is being started.
    pub const STARTING: &str = "Starting";
    /// Running.
    pub const RUNNING: &str = "Running";
    /// Not running: a quota of the namespace has no room for it.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// Not running: its pod cannot be made.
    pub const FAILED_CREATE: &str = "FailedCreate";
    /// Not running: what it needs to create is forbidden.
    pub const FORBIDDEN: &str = "Forbidden";
    /// Not running: somebody else's object has the name of its batch Job.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// Not running: somebody has suspended its batch Job.
    pub const SUSPENDED: &str = "Suspended";
    /// Running or not, nobody knows: its node was deleted while it ran.
    pub const NODE_DELETED: &str = "NodeDeleted";
    /// Not running any more.
    pub const ENDED: &str = "Ended";
    /// Finished with a result.
    pub const SUCCEEDED: &str = "Succeeded";
    /// Finished because it was asked to.
    pub const CANCELLED: &str = "Cancelled";
}

/// Truth of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be said.
    Unknown,
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

/// One condition, in the shape that `kubectl wait --for=condition=...` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it is so.
    pub status: Truth,
    /// One word for why.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// A sentence for a person.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

/// The place of a job in the line of its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// 1 for the job that starts next.
    #[schemars(range(min = 1))]
    pub position: u32,
    /// When it is likely to start: the position by the rate at which jobs of this queue have started
    /// lately. Absent while there is no such rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_start: Option<Timestamp>,
}

/// How far an attempt is, as its function tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, at least `done`.
    pub total: u64,
    /// `done / total`, from 0 to 1, rounded down to whole thousandths.
    pub fraction: f64,
    /// `fraction` for a table, such as `42%`.
    #[schemars(length(max = 8))]
    pub percent: String,
    /// What the function says it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Seconds until the end, from the rate since the function started. Absent before 1 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_remaining_seconds: Option<u64>,
}

impl Progress {
    /// Progress of `done` units out of `total` after `elapsed` seconds of running.
    pub fn new(done: u64, total: u64, message: &str, elapsed_seconds: f64) -> Self {
        let done = done.min(total);
        // u128: `done * 1000` of a hostile count must not overflow.
        let thousandths =
            (u128::from(done) * 1000).checked_div(u128::from(total)).unwrap_or(0) as u32;
        let estimated_remaining_seconds = (thousandths >= 10 && elapsed_seconds.is_finite())
            .then(|| elapsed_seconds.max(0.0) * (total - done) as f64 / done as f64)
            .map(|seconds| seconds.ceil() as u64);
        Self {
            done,
            total,
            fraction: f64::from(thousandths) / 1000.0,
            percent: format!("{}%", thousandths / 10),
            message: crate::error::clip(message.into(), 1024),
            estimated_remaining_seconds,
        }
    }
}

/// The bytes that the function wrote, unchanged, or where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    /// The bytes, when they are UTF-8 and at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub text: Option<String>,
    /// The bytes in base64, when they are not UTF-8 and at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43_692))]
    pub base64: Option<String>,
    /// Where larger bytes are, in the object store that the operator set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub location: Option<String>,
    /// Media type, from the function.
    #[schemars(length(max = 128))]
    pub content_type: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in 64 lower-case hex digits.
    #[schemars(length(min = 64, max = 64))]
    pub sha256: String,
}

/// Why an attempt failed, and with the last one the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// One word.
    pub reason: FailureReason,
    /// What happened, with the end of the function's stderr.
    #[schemars(length(max = 5120))]
    pub message: String,
    /// Exit code of the function, where it exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The attempt that failed; 0 when none was made.
    pub attempt: AttemptNumber,
    /// When it ended.
    pub time: Timestamp,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// The job asks for what its function or queue does not allow; no attempt was made.
    Invalid,
    /// The function exited 65: it refuses the input. Never retried.
    BadInput,
    /// The function exited with another code than 0 and 65.
    Crashed,
    /// The function was ended by a signal that Windlass did not send.
    Killed,
    /// The function needed more memory than it has.
    OutOfMemory,
    /// The function exited 0 without a result.
    NoOutput,
    /// The result is larger than the function's `maxResultBytes` or than where it must go. Never
    /// retried.
    ResultTooLarge,
    /// A result too large for the termination message reached nobody.
    ResultLost,
    /// The attempt ran longer than its timeout.
    Timeout,
    /// The function's program is not there or not executable. Never retried.
    CannotStart,
    /// The attempt did not start within its deadline. Never retried.
    StartDeadline,
    /// The attempt is gone and left no outcome: evicted, deleted, its node or server lost, or there
    /// was no room to start it. Does not count against the retries.
    Lost,
}

impl FailureReason {
    /// Whether another attempt could end otherwise.
    pub fn is_retried(self) -> bool {
        match self {
            Self::Invalid
            | Self::BadInput
            | Self::ResultTooLarge
            | Self::CannotStart
            | Self::StartDeadline => false,
            Self::Crashed
            | Self::Killed
            | Self::OutOfMemory
            | Self::NoOutput
            | Self::ResultLost
            | Self::Timeout
            | Self::Lost => true,
        }
    }

    /// Whether the attempt counts against the retries. What the job did not cause does not.
    pub fn counts(self) -> bool {
        self != Self::Lost
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::BadInput => "BadInput",
            Self::Crashed => "Crashed",
            Self::Killed => "Killed",
            Self::OutOfMemory => "OutOfMemory",
            Self::NoOutput => "NoOutput",
            Self::ResultTooLarge => "ResultTooLarge",
            Self::ResultLost => "ResultLost",
            Self::Timeout => "Timeout",
            Self::CannotStart => "CannotStart",
            Self::StartDeadline => "StartDeadline",
            Self::Lost => "Lost",
        }
    }
}

/// When the job passed from one phase to the next, for its latest attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// CPUs granted: its carrier (`batch/v1` Job or process) was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Timestamp>,
    /// The worker of the attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The function's process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Timestamp>,
    /// Ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// The attempts before the latest, in their order. At most 8: of more, the oldest are told as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub earlier: Vec<Earlier>,
}

/// Most attempts that are told beside the latest.
const MAX_EARLIER: usize = 8;

impl Timeline {
    /// Remembers an attempt that has failed and is tried again. Telling it twice changes nothing.
    pub(crate) fn remember(&mut self, attempt: AttemptNumber, ended: Timestamp) {
        let known = self.earlier.last();
        if known.is_some_and(|known| known.attempt >= attempt) {
            return;
        }
        // What was not told, or is of the attempt before, is not before that one's end.
        let begun = self.admitted.unwrap_or(ended).min(ended);
        let admitted = known.map_or(begun, |known| begun.max(known.ended.min(ended)));
        self.earlier.push(Earlier { attempt, admitted, ended });
        if self.earlier.len() > MAX_EARLIER {
            let oldest = self.earlier.remove(0);
            self.earlier[0].admitted = oldest.admitted;
        }
    }
}

/// An attempt that failed and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Earlier {
    /// Its number, 1 for the first.
    #[schemars(range(min = 1))]
    pub attempt: AttemptNumber,
    /// When its CPUs were granted.
    pub admitted: Timestamp,
    /// When it had failed.
    pub ended: Timestamp,
}

/// What an attempt used, from the kernel's accounting of the function's process and its children.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Largest resident memory of one process, in bytes.
    pub peak_memory_bytes: u64,
    /// `cpuSeconds / (running time * parallelism)`: 1 is every granted CPU busy all the time.
    pub efficiency: f64,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
