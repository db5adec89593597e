//! What is told of jobs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

/// What is estimated of the jobs of a namespace.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimates {
    /// Since when ended jobs are counted. Absent where all count: on one machine.
    pub since: Option<Timestamp>,
    /// Whether all jobs that hold CPUs or wait are here. Of a long line only the first 1,000 are, and on a cluster of those
    /// that hold CPUs 1,000, and all only once the gateway has seen all jobs.
    pub complete: bool,
    /// The jobs that hold CPUs, then those that wait.
    pub items: Vec<Estimate>,
}

/// What is estimated of one job, that waits for CPUs or holds some.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Name of the job.
    pub name: String,
    /// The queue in whose line it is, while it waits.
    pub queue: Option<String>,
    /// Its position in the line of its queue, 1 for the first, while it waits. On a cluster it is what the controller has
    /// told last in the job's status.
    #[schemars(range(min = 1))]
    pub position: Option<u32>,
    /// When it is likely to start: as likely before as after.
    pub estimated_start_time: Option<Timestamp>,
    /// It is likely to start after this.
    pub earliest_start_time: Option<Timestamp>,
    /// It is likely to start before this.
    pub latest_start_time: Option<Timestamp>,
    /// When it is likely to end: as likely before as after.
    pub estimated_completion_time: Option<Timestamp>,
    /// It is likely to end after this.
    pub earliest_completion_time: Option<Timestamp>,
    /// It is likely to end before this.
    pub latest_completion_time: Option<Timestamp>,
    /// Why something of that is not told, in a sentence.
    pub not_told: Option<String>,
}

impl Estimate {
    pub(super) fn set_completion(&mut self, [earliest, middle, latest]: [Option<Timestamp>; 3]) {
        self.earliest_completion_time = earliest;
        self.estimated_completion_time = middle;
        self.latest_completion_time = latest;
    }
}
