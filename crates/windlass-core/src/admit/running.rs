//! The attempts of one queue that may be ended for other jobs, and which of them first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::line::QueueLine;
use super::preemption_index::QueuePreemption;
use super::request::{Preemption, Standing};
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

    /// CPUs of those with a lower priority.
    pub(super) fn cpus_below(&self, priority: i32) -> u64 {
        self.levels.range(..priority).map(|(_, level)| level.cpus).sum()
    }
}

impl<Id: Clone + Ord> QueueLine<Id> {
    /// An attempt holds CPUs.
    pub(super) fn add_attempt(
        &mut self,
        id: &Id,
        attempt: (Option<Standing>, Cpus),
        is_ending: bool,
    ) {
        let (standing, cpus) = attempt;
        if is_ending {
            self.ending += u64::from(cpus);
        } else if let Some(standing) = standing {
            self.running.insert(id.clone(), standing, cpus);
        }
    }

    /// It holds them no more.
    pub(super) fn remove_attempt(
        &mut self,
        id: &Id,
        attempt: (Option<Standing>, Cpus),
        is_ending: bool,
    ) {
        let (standing, cpus) = attempt;
        if is_ending {
            self.ending -= u64::from(cpus);
        } else if let Some(standing) = standing {
            self.running.remove(id, standing);
        }
    }

    /// What it holds above what is guaranteed to it, and what is not ending.
    fn above_guarantee(&self) -> u64 {
        let guaranteed = u64::from(self.share.unwrap_or_default().guaranteed);
        self.granted.saturating_sub(guaranteed).saturating_sub(self.ending)
    }

    /// Its attempts that may be ended for the guarantees of other queues: it keeps what is guaranteed to it.
    pub(super) fn reclaimable(&self) -> impl Iterator<Item = Attempt<'_, Id>> {
        let mut above = self.above_guarantee();
        let attempts = self.running.iter().map_while(move |attempt| {
            let cpus = u64::from(attempt.3);
            let may_end = cpus <= above;
            let is_over = above == 0;
            above -= if may_end { cpus } else { 0 };
            (!is_over).then_some(may_end.then_some(attempt))
        });
        attempts.flatten()
    }

    /// Whether a job may have attempts of other queues ended: with it the queue holds no more than its guarantee.
    pub(super) fn reclaims(&self, min: Cpus) -> bool {
        let share = self.share.unwrap_or_default();
        let after = self.granted + self.coming + u64::from(min);
        share.preemption == Preemption::Reclaim
            && min <= self.left()
            && after <= u64::from(share.guaranteed)
    }

    /// When ending attempts helps its jobs, and which of its own may be ended.
    pub(super) fn look_at_preemption(&self) -> QueuePreemption {
        let reclaimable = self.reclaimable().map(|(.., cpus)| u64::from(cpus)).sum();
        let mut known = QueuePreemption { own: None, reclaim: None, reclaimable };
        if self.share.unwrap_or_default().preemption.is_none() {
            return known;
        }
        let least = |known: Option<Cpus>, cpus| Some(known.map_or(cpus, |known| known.min(cpus)));
        for (&min, levels) in &self.line {
            let Some((Reverse(priority), _)) = levels.first_key_value() else { continue };
            let own = Cpus::try_from(self.running.cpus_below(*priority)).unwrap_or(Cpus::MAX);
            let lacks = min.saturating_sub(own);
            if own > 0 && lacks <= self.left() {
                known.own = least(known.own, lacks);
            }
            if self.reclaims(min) {
                known.reclaim = least(known.reclaim, lacks);
            }
        }
        known
    }
}
