//! The attempts of one queue that may be ended for other jobs, and which of them first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::request::Standing;
use crate::Cpus;

/// The lower priority first. An attempt that is ending for another job is none of them.
#[derive(Clone, Debug)]
pub(super) struct Running<Id> {
    levels: BTreeMap<i32, Level<Id>>,
}

/// Those of one priority, the younger first.
#[derive(Clone, Debug)]
struct Level<Id> {
    cpus: u64,
    attempts: BTreeMap<(Reverse<Timestamp>, Id), Cpus>,
}

/// What the index of preemption has of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueuePreemption {
    /// So many CPUs must be free so that ending its own attempts helps one of its jobs.
    pub(super) own: Option<Cpus>,
    /// So many must be free or reclaimable so that ending attempts of others helps.
    pub(super) reclaim: Option<Cpus>,
    /// CPUs of its attempts that may be ended for the guarantees of others.
    pub(super) reclaimable: u64,
}

/// An attempt by priority, and the younger first, with its CPUs.
pub(super) type Attempt<'a, Id> = (i32, Reverse<Timestamp>, &'a Id, Cpus);

impl<Id: Clone + Ord> Running<Id> {
    pub(super) fn new() -> Self {
        Self { levels: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, id: Id, standing: Standing, cpus: Cpus) {
        let new = || Level { cpus: 0, attempts: BTreeMap::new() };
        let level = self.levels.entry(standing.priority).or_insert_with(new);
        let before = level.attempts.insert((Reverse(standing.since), id), cpus);
        level.cpus += u64::from(cpus);
        level.cpus -= u64::from(before.unwrap_or(0));
    }

    pub(super) fn remove(&mut self, id: &Id, standing: Standing) {
        let Some(level) = self.levels.get_mut(&standing.priority) else { return };
        if let Some(cpus) = level.attempts.remove(&(Reverse(standing.since), id.clone())) {
            level.cpus -= u64::from(cpus);
        }
        if level.attempts.is_empty() {
            self.levels.remove(&standing.priority);
        }
    }

    /// All, the first to be ended in front.
    pub(super) fn iter(&self) -> impl Iterator<Item = Attempt<'_, Id>> {
        self.levels.iter().flat_map(|(priority, level)| {
            let attempts = level.attempts.iter();
            attempts.map(|((since, id), cpus)| (*priority, *since, id, *cpus))
        })
    }

    /// CPUs of those that fit into so many, taken in this order. Where all of one priority fit, nobody looks at each.
    pub(super) fn cpus_within(&self, most: u64) -> u64 {
        let within = |level: &Level<Id>, left| match level.cpus {
            all if all <= left => all,
            _ => level.cpus_within(left),
        };
        let levels = self.levels.values();
        levels.fold(0, |sum, level| sum + within(level, most - sum))
    }

    /// CPUs of those with a lower priority.
    pub(super) fn cpus_below(&self, priority: i32) -> u64 {
        self.levels.range(..priority).map(|(_, level)| level.cpus).sum()
    }
}

impl<Id> Level<Id> {
    fn cpus_within(&self, most: u64) -> u64 {
        let mut left = most;
        for cpus in self.attempts.values().copied().map(u64::from) {
            if left == 0 {
                break;
            }
            left -= if cpus <= left { cpus } else { 0 };
        }
        most - left
    }
}
