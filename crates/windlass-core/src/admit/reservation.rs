//! CPUs that are kept for the jobs for which attempts are ended. They come from nobody else: what a victim held goes to
//! the job for which it has ended, before anybody else sees it.

use std::collections::{BTreeMap, BTreeSet};

use crate::Cpus;

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Reservations<Id> {
    /// Whether anything has changed since it was last looked for attempts to end.
    pub(super) changed: bool,
    pub(super) by_job: BTreeMap<Id, Reservation<Id>>,
    /// Attempts that are ending, and for whom: for nobody, if that job waits no more.
    pub(super) victims: BTreeMap<Id, Option<Id>>,
}

/// What is kept for one job.
#[derive(Clone, Debug)]
pub(super) struct Reservation<Id> {
    /// The fewest CPUs with which it starts.
    pub(super) need: Cpus,
    /// The most that it takes of what its victims held.
    pub(super) most: Cpus,
    /// What is there. It counts as used.
    pub(super) kept: Cpus,
    /// What attempts of other queues still hold of it. It counts in the quota.
    pub(super) coming: Cpus,
    pub(super) victims: BTreeSet<Id>,
}

impl<Id: Ord> Reservations<Id> {
    pub(super) fn new() -> Self {
        Self { changed: false, by_job: BTreeMap::new(), victims: BTreeMap::new() }
    }

    /// Jobs for which CPUs are kept.
    pub(super) fn len(&self) -> usize {
        self.by_job.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_job.is_empty() && self.victims.is_empty()
    }
}
