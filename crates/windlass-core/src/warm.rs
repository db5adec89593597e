//! Warm functions: processes that stay between jobs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many processes of a function stay between jobs, and for how long. The function must follow version 2 of the
/// worker contract: it is started once and serves one job after another. Each process has one job at a time and is of
/// one namespace for life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Warm {
    /// Processes that wait for a job when there is none. Default 1.
    #[schemars(range(max = 1024))]
    pub min: u32,
    /// Most processes that wait for a job; those that have ended theirs beyond it are ended. At least `min`. Default 8.
    #[schemars(range(min = 1, max = 1024))]
    pub max: u32,
    /// A process beyond `min` that has waited so long, in seconds, is ended. Default 300.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub idle_seconds: u32,
    /// Jobs after which a process is replaced. Default 1000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_jobs: u32,
    /// Age in seconds at which a process gets no further job. Default 3600.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_age_seconds: u32,
}

impl Default for Warm {
    fn default() -> Self {
        Self { min: 1, max: 8, idle_seconds: 300, max_jobs: 1_000, max_age_seconds: 3_600 }
    }
}

impl Warm {
    /// What is wrong between its fields.
    pub fn problem(&self) -> Option<&'static str> {
        (self.min > self.max).then_some("min must not be above max")
    }
}
