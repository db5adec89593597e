//! What admission is asked, and what it answers.

use jiff::Timestamp;

use crate::Cpus;

/// After this time, in seconds, a job that does not fit holds back the jobs behind it.
pub const RESERVE_AFTER_SECONDS: i64 = 60;

/// A queue's share. The name of a queue is any text, such as `namespace/name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// CPUs that its jobs may use at the same time; `None` for no quota.
    pub quota: Option<Cpus>,
    /// Its part beside other queues; 0 counts as 1.
    pub weight: u32,
    /// While its jobs hold less, they come before those of queues that hold what is guaranteed to them.
    pub guaranteed: Cpus,
}

impl Default for Share {
    fn default() -> Self {
        Self { quota: None, weight: 1, guaranteed: 0 }
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

/// CPUs for all queues.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) in_all: Cpus,
    pub(super) free: Cpus,
}
