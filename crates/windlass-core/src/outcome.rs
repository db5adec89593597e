//! How an attempt ended, as its worker saw it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::Cpus;
use crate::status::{FailureReason, JobResult, Progress, Usage};

/// The end of an attempt, as its worker saw it.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// When the worker started.
    pub started: Timestamp,
    /// When the function's process started; absent when it did not.
    pub running: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// CPUs that it had.
    pub parallelism: Cpus,
    /// What it used.
    pub usage: Option<Usage>,
    /// The last progress that the function told.
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
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// With a result.
    Succeeded(JobResult),
    /// Without one, or with what was computed before.
    #[serde(rename_all = "camelCase")]
    Failed {
        /// One word for why.
        reason: FailureReason,
        /// What happened, with the end of stderr.
        message: String,
        /// Exit code, where the function exited by itself.
        exit_code: Option<i32>,
        /// What it had computed before, where the function has left that.
        partial: Option<JobResult>,
    },
}

impl Outcome {
    /// A failure without an exit code.
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), exit_code: None, partial: None }
    }

    /// The result, or what was computed before it failed.
    pub fn result(&self) -> Option<&JobResult> {
        match self {
            Self::Succeeded(result) => Some(result),
            Self::Failed { partial, .. } => partial.as_ref(),
        }
    }
}

/// Why a report changed nothing.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema,
)]
pub enum ReportRefusal {
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
    /// The job names no blob of this digest.
    #[error("the job names no such blob")]
    OtherBlob,
    /// The blob that the job names is not there any more.
    #[error("the blob is lost")]
    BlobLost,
}
