//! ComputeJob.status. It never goes backwards and an end is final.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_with_macros::skip_serializing_none;

mod failure;
mod progress;
mod timeline;

pub use failure::{Failure, FailureReason};
pub use progress::{Progress, Usage};
pub use timeline::{Earlier, Timeline};

use crate::{AttemptNumber, Cpus, schema};

/// Largest result kept inside the status, in bytes: 32 KiB. A larger one goes to an object store.
pub const MAX_INLINE_RESULT_BYTES: u64 = 32 * 1024;

/// Largest message of a failure, in bytes: the last 4 KiB of the function's stderr and a sentence.
pub const MAX_FAILURE_MESSAGE_BYTES: usize = 5 * 1024;

/// What is known of a job.
#[skip_serializing_none]
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
    /// The generation of the spec that this status tells about. Until a cluster's controller has seen the job, -1 in
    /// its object.
    pub observed_generation: Option<i64>,
    /// One word for where the job is. Absent until it was first seen.
    pub phase: Option<Phase>,
    /// Admitted, Running and Finished. Finished is True for every end, its reason says which. Reconciling is there until
    /// the end, and Stalled after a failure: kstatus, and so Helm and Flux, read these two.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known_conditions")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Number of the latest attempt that was seen, 1 for the first.
    #[schemars(range(min = 1))]
    pub attempt: Option<AttemptNumber>,
    /// Failed attempts that counted against `spec.retries`. An evicted or preempted one does not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// CPUs granted to the latest attempt.
    #[schemars(range(min = 1))]
    pub parallelism: Option<Cpus>,
    /// Name of the `batch/v1` Job of the latest attempt. Absent on one machine.
    #[schemars(length(max = 253))]
    pub job: Option<String>,
    /// Name of its pod. Absent on one machine.
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// Node of the pod; the host's name on one machine.
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// Its place in the line, while it waits for CPUs of its queue. Told coarsely: again when the
    /// place has changed by half. Absent on one machine and where there is no ComputeQueue.
    pub waiting: Option<Place>,
    /// How far the latest attempt is.
    pub progress: Option<Progress>,
    /// The result, once there is one. Of a job that has failed what it had computed before, where its function has
    /// left that.
    pub result: Option<JobResult>,
    /// Why the job, or its latest failed attempt, failed.
    pub failure: Option<Failure>,
    /// When the job passed from one phase to the next.
    #[serde(default)]
    pub timeline: Timeline,
    /// What the latest attempt used.
    pub usage: Option<Usage>,
}

impl JobStatus {
    /// Whether the job has ended. Then nothing of this status changes any more.
    pub fn is_finished(&self) -> bool {
        self.phase.is_some_and(Phase::is_final)
    }

    /// How the job has ended, in few words; `None` until it has.
    pub fn summary(&self) -> Option<EndSummary> {
        let phase = self.phase.filter(|phase| phase.is_final())?;
        let failure = self.failure.as_ref().filter(|_| phase == Phase::Failed);
        let Timeline { created, finished, .. } = self.timeline;
        let seconds = created.zip(finished).map(|(from, to)| to.duration_since(from).as_secs_f64());
        Some(EndSummary {
            phase: phase.as_str(),
            reason: failure.map(|failure| failure.reason.as_str()),
            exit_code: failure.and_then(|failure| failure.exit_code),
            seconds,
        })
    }

    /// Why the job waits for what somebody has to make or change first, such as a queue, if it does.
    pub fn missing_requirement(&self) -> Option<&Condition> {
        use reasons::{FUNCTION_DELETED, FUNCTION_NOT_FOUND, QUEUE_NOT_FOUND, QUEUE_TOO_SMALL};
        let missing = [FUNCTION_NOT_FOUND, FUNCTION_DELETED, QUEUE_NOT_FOUND, QUEUE_TOO_SMALL];
        let admitted = self.condition(ConditionType::Admitted);
        admitted.filter(|admitted| {
            admitted.status == Truth::False && missing.contains(&&*admitted.reason)
        })
    }

    /// The condition of this type, if it was ever set.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

/// How a job has ended, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndSummary {
    /// Its phase.
    pub phase: &'static str,
    /// One word for why it failed, if it did.
    pub reason: Option<&'static str>,
    /// The exit code of its function, where it failed so.
    pub exit_code: Option<i32>,
    /// From its acceptance to its end.
    pub seconds: Option<f64>,
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

/// Those of the types that this version knows: a newer one may have more.
fn known_conditions<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Condition>, D::Error> {
    let all = Vec::<Value>::deserialize(deserializer)?;
    let is_known = |condition: &Value| {
        condition.get("type").is_none_or(|kind| ConditionType::deserialize(kind).is_ok())
    };
    let known = all.into_iter().filter(is_known).map(serde_json::from_value);
    known.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
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
    /// It has not ended yet. Absent afterwards.
    Reconciling,
    /// It has failed. Absent otherwise.
    Stalled,
}

/// The words that a condition gives as its reason, beside the [`FailureReason`]s and what the world
/// says of a pod that does not start.
pub mod reasons {
    /// Admitted: CPUs are granted.
    pub const GRANTED: &str = "Granted";
    /// Not admitted: no CPUs are free in its queue.
    pub const WAITING_FOR_CPUS: &str = "WaitingForCpus";
    /// Not admitted: its function is not there yet.
    pub const FUNCTION_NOT_FOUND: &str = "FunctionNotFound";
    /// Not admitted: its function was there and is gone.
    pub const FUNCTION_DELETED: &str = "FunctionDeleted";
    /// Not admitted: its queue is not there, or was deleted while it waited.
    pub const QUEUE_NOT_FOUND: &str = "QueueNotFound";
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
    /// Not running: the node of its pod does not answer, or is not ready.
    pub const NODE_NOT_READY: &str = "NodeNotReady";
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
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// 1 for the job that starts next.
    #[schemars(range(min = 1))]
    pub position: u32,
    /// When it is likely to start: the position by the rate at which jobs of this queue have started
    /// lately. Absent while there is no such rate.
    pub estimated_start: Option<Timestamp>,
}

/// The bytes that the function wrote, unchanged, or where they are.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    /// The bytes, when they are UTF-8 and at most 32 KiB.
    #[schemars(length(max = 32_768))]
    pub text: Option<String>,
    /// The bytes in base64, when they are not UTF-8 and at most 32 KiB.
    #[schemars(length(max = 43_692))]
    pub base64: Option<String>,
    /// Where larger bytes are, in the object store that the operator set up.
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

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_of_a_newer_version_are_passed_over_and_bad_ones_are_not() {
        let condition = |kind: &str| {
            json!({ "type": kind, "status": "True", "reason": "R",
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
        };
        let read =
            |conditions| serde_json::from_value::<JobStatus>(json!({ "conditions": conditions }));
        let status =
            read(json!([condition("Running"), condition("Dreaming"), condition("Finished")]));
        let kinds: Vec<_> =
            status.unwrap().conditions.into_iter().map(|known| known.kind).collect();
        assert_eq!(kinds, [ConditionType::Running, ConditionType::Finished]);
        for bad in [json!([{ "type": "Running" }]), json!([{}]), json!([condition("Running"), 3])] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
