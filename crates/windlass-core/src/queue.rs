//! ComputeQueue: who may use how much. Written by admins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::admit::{Preemption, Share};
use crate::{Cpus, Metadata};

/// Name of the queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "default";

/// A quota of CPUs that jobs share. A job that names a queue which is not there waits for it.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// CPUs that may be granted at the same time to the jobs of this queue. With 0 its jobs wait.
    #[schemars(range(max = 1_000_000))]
    pub cpus: Cpus,
    /// Share of free CPUs beside other queues: a queue of weight 2 gets twice what one of weight 1
    /// gets while both have jobs waiting. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub weight: u32,
    /// CPUs that others may use while this queue leaves them idle. While its jobs hold less, they start before those of
    /// queues that hold what is guaranteed to them, whatever their priority. Default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 1_000_000))]
    pub guaranteed_cpus: Cpus,
    /// Whose running attempts are ended for a job of this queue that waits: `none`; `lowerPriority`, those of this queue with a
    /// lower priority; `reclaim`, these and, while this queue holds less than what is guaranteed to it, those of other
    /// queues that hold more than what is guaranteed to them. Default `none`.
    #[serde(default, skip_serializing_if = "Preemption::is_none")]
    pub preemption: Preemption,
    /// Jobs that may wait. Beyond it a submission is refused (429) until some have started.
    /// Default 10000.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_queued: u32,
    /// Most CPUs for one job of this queue. Default: no other limit than the function's.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_parallelism_per_job: Option<Cpus>,
    /// Whether its jobs wait: nothing new starts, and what runs goes on. Default false.
    #[serde(default)]
    pub hold: bool,
}

impl QueueSpec {
    /// CPUs that its jobs may hold before another one starts.
    pub fn quota(&self) -> Cpus {
        if self.hold { 0 } else { self.cpus }
    }

    /// What admission is told of it.
    pub fn share(&self) -> Share {
        Share {
            quota: Some(self.quota()),
            weight: self.weight,
            guaranteed: self.guaranteed_cpus,
            preemption: self.preemption,
        }
    }

    /// Why a job of this queue, which has this name, waits although CPUs may be free elsewhere.
    pub fn why_jobs_wait(&self, name: &str) -> String {
        match self.cpus {
            _ if self.hold => format!("queue {name:?} is on hold: nothing new starts in it"),
            0 => format!("queue {name:?} has 0 CPUs: nothing starts in it"),
            cpus => format!("queue {name:?} has {cpus} CPUs and none to spare for this job now"),
        }
    }

    /// Why a job that needs at least so many CPUs can never start in this queue, which has this name, as it is now.
    pub fn why_too_small(&self, name: &str, min: Cpus) -> String {
        match self.max_parallelism() {
            most if most < self.cpus => {
                format!("needs {min} CPUs, and queue {name:?} gives one job {most}")
            }
            _ => format!("needs {min} CPUs, and queue {name:?} has {} in all", self.cpus),
        }
    }

    /// The most CPUs that one job may want here. A queue that has none for now refuses no job.
    pub fn max_parallelism(&self) -> Cpus {
        let cpus = if self.cpus == 0 { Cpus::MAX } else { self.cpus };
        self.max_parallelism_per_job.unwrap_or(cpus).min(cpus)
    }
}

/// A ComputeQueue object.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Always `windlass.dev/v1alpha1`.
    pub api_version: String,
    /// Always `ComputeQueue`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// The quota.
    pub spec: QueueSpec,
    /// What is in use of it: as it was told last on a cluster, as it is now on one machine.
    pub status: Option<QueueStatus>,
}

/// How much of a queue is in use, told coarsely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// CPUs that its jobs hold.
    #[serde(default)]
    pub granted: Cpus,
    /// Jobs that wait in it.
    #[serde(default)]
    pub waiting: u32,
}

impl Queue {
    /// Kind of the resource.
    pub const KIND: &'static str = "ComputeQueue";
}

fn is_zero(cpus: &Cpus) -> bool {
    *cpus == 0
}

fn one() -> u32 {
    1
}

fn ten_thousand() -> u32 {
    10_000
}
