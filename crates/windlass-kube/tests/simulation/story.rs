//! What a story may have: jobs, a queue, faults, and people who interfere.

use std::collections::BTreeMap;

use crate::server::{ReadFaults, WriteFault};

/// What somebody does to a batch Job that is not theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByHand {
    Delete,
    /// Deletes it and leaves its pod, and the controllers start anew.
    Orphan,
    /// Takes the label by which it is watched from its pods.
    Unlabel,
    /// Suspends it, and resumes it after so many milliseconds.
    Suspend(u64),
    /// Has the controllers start anew, and leave the pods of new batch Jobs to the Job controller.
    LeavePods,
    /// Deletes the queue, which is made again after so many milliseconds.
    DeleteQueue(u64),
    /// Deletes its pod, by force, while no controller runs: for so many milliseconds.
    LosePod(u64),
}

/// What becomes of claimed standbys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims {
    /// The gateway tells their workers at most so many milliseconds later. It may be killed meanwhile.
    pub(crate) answered_within: u64,
    /// Whether every second one does not get its CPUs.
    pub(crate) deferred: bool,
}

/// Whether a job fails that crashes so often: its function has two retries. It crashes in each attempt, and not in so many
/// alone: one that is lost, such as when the machine stood still for longer than a claim counts, is no retry.
pub(crate) fn must_fail(crashes: u64) -> bool {
    crashes > 2
}

/// One story.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// Faults by the number of the write that they meet.
    pub(crate) faults: BTreeMap<usize, WriteFault>,
    pub(crate) controllers: usize,
    /// CPUs of the queue; without it jobs pass straight through.
    pub(crate) quota: Option<u32>,
    /// Whether these are the CPUs of a ClusterComputeQueue, which two queues share.
    pub(crate) shared: bool,
    /// Queues preempt, and after so many milliseconds a job comes that is more urgent than all others.
    pub(crate) urgent_after: Option<u64>,
    /// Crashes of each job before it succeeds.
    pub(crate) jobs: Vec<u32>,
    /// The first job is cancelled after so many milliseconds.
    pub(crate) cancel: Option<u64>,
    /// What somebody does by hand to the first batch Job, so many milliseconds after it was there.
    pub(crate) by_hand: Option<(ByHand, u64)>,
    pub(crate) read_faults: Option<ReadFaults>,
    /// Longest time that an attempt runs, in milliseconds.
    pub(crate) longest: u64,
    /// Queue and jobs come when the controllers have begun already.
    pub(crate) created_late: bool,
    /// Whether no attempt is made beyond those that must fail and one that succeeds.
    pub(crate) only_needed: bool,
    /// Somebody else's batch Job has the name of the first attempt of the first job, for so many milliseconds.
    pub(crate) stranger: Option<u64>,
    /// So many standbys wait.
    pub(crate) standbys: Option<u32>,
    /// Whether every job runs on a standby.
    pub(crate) on_standby: bool,
    /// The jobs come so many milliseconds after the controllers, so that standbys wait.
    pub(crate) jobs_after: u64,
    /// What the nodes and the gateway do about those that are claimed.
    pub(crate) claims: Claims,
    /// Whether controllers make the pods of their batch Jobs themselves; the story is played both ways without a value.
    pub(crate) managed: Option<bool>,
    /// Whether the API server stores only every second batch Job with `spec.managedBy`, as one of two of different versions.
    pub(crate) drops_managed_by: bool,
    /// CPUs of the node, and after so many milliseconds it has room for all.
    pub(crate) node_cpus: Option<(u32, u64)>,
    /// Makes each story take another course.
    pub(crate) spread: u64,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            controllers: 1,
            quota: Some(3),
            shared: false,
            urgent_after: None,
            jobs: vec![0, 1],
            cancel: None,
            by_hand: None,
            read_faults: None,
            longest: 150,
            created_late: false,
            only_needed: false,
            stranger: None,
            standbys: None,
            on_standby: false,
            jobs_after: 0,
            claims: Claims { answered_within: 100, deferred: false },
            managed: None,
            drops_managed_by: false,
            node_cpus: None,
            spread: 1,
        }
    }
}

impl Story {
    /// The story of this number: one controller, two jobs, and a queue of three CPUs.
    pub(crate) fn numbered(spread: u64) -> Self {
        Self { spread, ..Self::default() }
    }

    /// Whether the number of this story is a multiple of this.
    fn is_every(&self, number: u64) -> bool {
        self.spread.is_multiple_of(number)
    }

    /// One more controller in every story whose number is a multiple of this.
    pub(crate) fn one_more_controller_every(mut self, number: u64) -> Self {
        self.controllers += usize::from(self.is_every(number));
        self
    }

    /// A queue of so many CPUs, and none in every story whose number is a multiple of this.
    pub(crate) fn quota_but_every(mut self, cpus: u32, number: u64) -> Self {
        self.quota = (!self.is_every(number)).then_some(cpus);
        self
    }
}
