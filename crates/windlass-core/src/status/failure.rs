//! Why an attempt failed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::AttemptNumber;

/// Why an attempt failed, and with the last one the job.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// One word.
    pub reason: FailureReason,
    /// What happened, with the end of the function's stderr.
    #[schemars(length(max = 5120))]
    pub message: String,
    /// Exit code of the function, where it exited by itself.
    pub exit_code: Option<i32>,
    /// The attempt that failed; 0 when none was made.
    pub attempt: AttemptNumber,
    /// When it ended.
    pub time: Timestamp,
    /// Since when its attempts, one after the other, have found no node, or only nodes that refused to start them. The time
    /// in which it waited for CPUs meanwhile is left out.
    pub refused_since: Option<Timestamp>,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// The job asks for what its function or queue does not allow; no attempt was made.
    Invalid,
    /// The function exited 65: it refuses the input. Never retried.
    BadInput,
    /// The function exited 70: it has raised an error of its own, and would do so again. Retried only if the job
    /// itself says `retries`.
    FunctionError,
    /// The function exited with another code than 0, 65 and 70, or a container that must run before it failed.
    Crashed,
    /// The function, or its worker, was ended by a signal that Windlass did not send; or its pod was evicted because
    /// it used more than its own limit.
    Killed,
    /// The function needed more memory than it has. Never retried: the next attempt would have as much.
    OutOfMemory,
    /// The function's own directory took more of the disk than the server allows. Never retried: the next attempt would
    /// write as much.
    DiskExceeded,
    /// The function exited 0 without a result, or with one that is called JSON and is not.
    NoOutput,
    /// The result is larger than the function's `maxResultBytes` or than where it must go. Never
    /// retried.
    ResultTooLarge,
    /// A result too large for the termination message reached nobody.
    ResultLost,
    /// The attempt ran longer than its timeout, or than a deadline that somebody else has set for its pod.
    Timeout,
    /// The function's program is not there or not executable. Never retried.
    CannotStart,
    /// The attempt did not start within its deadline. Never retried.
    StartDeadline,
    /// No node had room for the attempt: its CPUs were given back to the queue. The job is tried again until the start
    /// deadline, with fewer CPUs if it may take fewer. Does not count against the retries.
    Unschedulable,
    /// The attempt was ended for a job that comes before it, as the `preemption` of that job's queue says. The job waits
    /// for CPUs again, at its old place. Does not count against the retries.
    Preempted,
    /// The attempt is gone and left no outcome: preempted by the Kubernetes scheduler, deleted, evicted for the sake of its node, its node
    /// or server lost, or its node could not start it. Does not count against the retries.
    Lost,
}

impl Failure {
    /// Whether the attempt is told to have failed while it may run: it is ended then.
    pub fn is_told_early(&self) -> bool {
        match self.reason {
            FailureReason::StartDeadline
            | FailureReason::Unschedulable
            | FailureReason::Preempted => true,
            FailureReason::Lost => self.refused_since.is_some(),
            _ => false,
        }
    }
}

impl FailureReason {
    /// Whether another attempt could end otherwise.
    pub fn is_retried(self) -> bool {
        match self {
            Self::Invalid
            | Self::BadInput
            | Self::FunctionError
            | Self::OutOfMemory
            | Self::DiskExceeded
            | Self::ResultTooLarge
            | Self::CannotStart
            | Self::StartDeadline => false,
            Self::Crashed
            | Self::Killed
            | Self::NoOutput
            | Self::ResultLost
            | Self::Timeout
            | Self::Unschedulable
            | Self::Preempted
            | Self::Lost => true,
        }
    }

    /// Whether the attempt counts against the retries. What the job did not cause does not.
    pub fn counts(self) -> bool {
        !matches!(self, Self::Lost | Self::Unschedulable | Self::Preempted)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::BadInput => "BadInput",
            Self::FunctionError => "FunctionError",
            Self::Crashed => "Crashed",
            Self::Killed => "Killed",
            Self::OutOfMemory => "OutOfMemory",
            Self::DiskExceeded => "DiskExceeded",
            Self::NoOutput => "NoOutput",
            Self::ResultTooLarge => "ResultTooLarge",
            Self::ResultLost => "ResultLost",
            Self::Timeout => "Timeout",
            Self::CannotStart => "CannotStart",
            Self::StartDeadline => "StartDeadline",
            Self::Unschedulable => "Unschedulable",
            Self::Preempted => "Preempted",
            Self::Lost => "Lost",
        }
    }
}
