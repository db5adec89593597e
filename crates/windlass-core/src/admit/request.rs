//! What admission is asked, and what it answers.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Cpus;

/// After this time, in seconds, a job that does not fit holds back the jobs behind it.
pub const RESERVE_AFTER_SECONDS: i64 = 60;

/// Whose running attempts a queue may end for a job of it that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Preemption {
    /// Nobody's.
    #[default]
    None,
    /// Those of its own jobs with a lower priority than the one that waits.
    LowerPriority,
    /// These, and those of other queues that hold more than what is guaranteed to them, while this one holds less.
    Reclaim,
}

impl Preemption {
    /// Whether it ends nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LowerPriority => "lowerPriority",
            Self::Reclaim => "reclaim",
        }
    }
}

/// A queue's share. The name of a queue is any text, such as `namespace/name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// CPUs that its jobs may use at the same time; `None` for no quota.
    pub quota: Option<Cpus>,
    /// Its part beside other queues; 0 counts as 1.
    pub weight: u32,
    /// While its jobs hold less, they come before those of queues that hold what is guaranteed to them.
    pub guaranteed: Cpus,
    /// Whose attempts are ended for its jobs.
    pub preemption: Preemption,
}

impl Default for Share {
    fn default() -> Self {
        Self { quota: None, weight: 1, guaranteed: 0, preemption: Preemption::None }
    }
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its queue.
    pub queue: String,
    /// Higher first.
    pub priority: i32,
    /// When it was created: older first.
    pub since: Timestamp,
    /// Which of those that were created at the same time comes first: the lower number.
    pub sequence: u64,
    /// Fewest CPUs to start with; 0 counts as 1.
    pub min: Cpus,
    /// CPUs wanted; less than `min` counts as `min`.
    pub max: Cpus,
}

/// CPUs in all; `None` where somebody else, such as the Kubernetes scheduler, places them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity(pub Option<Cpus>);

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<Id> {
    /// The job.
    pub id: Id,
    /// Its CPUs.
    pub cpus: Cpus,
}

/// What decides which of the running attempts are ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// That of its job: the lower first.
    pub priority: i32,
    /// When it started: the younger first, since it loses less.
    pub since: Timestamp,
}

/// Attempts that are to end for a job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preempted<Id> {
    /// The job that is to have their CPUs.
    pub by: Id,
    /// Those that hold them.
    pub victims: Vec<Id>,
}

/// CPUs for all queues.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) in_all: Cpus,
    pub(super) free: Cpus,
}
