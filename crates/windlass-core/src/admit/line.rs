//! The jobs of one queue that wait, and which of them count for all queues.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};

use jiff::Timestamp;

use super::head::{Age, Head, Heads, Period};
use super::request::Share;
use super::running::{QueuePreemption, Running};
use crate::Cpus;

/// What decides where a job is in the line of its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueEntry {
    pub(super) priority: i32,
    pub(super) age: Age,
    pub(super) min: Cpus,
    pub(super) max: Cpus,
}

/// Jobs of the same size and priority, the older first.
type Level<Id> = BTreeSet<(Age, Id)>;

/// The jobs of the same size, the higher priority first.
type Levels<Id> = BTreeMap<Reverse<i32>, Level<Id>>;

/// A job's place in the line of its queue.
type Rank<'a, Id> = (Reverse<i32>, Age, &'a Id);

#[derive(Clone, Debug)]
pub(super) struct QueueLine<Id> {
    pub(super) share: Option<Share>,
    /// Whether it has no quota while nobody has described it.
    is_open: bool,
    pub(super) granted: u64,
    /// CPUs of its quota that are kept for jobs of it, and that attempts of other queues still hold.
    pub(super) coming: u64,
    /// CPUs that are granted and held by nobody yet: they are kept for jobs of it.
    pub(super) kept: u64,
    /// CPUs of its attempts that are ending for other jobs.
    pub(super) ending: u64,
    /// Its other attempts of which it is known in which order they are ended.
    pub(super) running: Running<Id>,
    pub(super) waiting: usize,
    /// Jobs that wait and for which CPUs are kept: they are not in the line.
    pub(super) reserved: usize,
    /// By size, which is the fewest CPUs, so that what fits is a range; then the higher priority
    /// first. An old job of a priority is at the head of its level, so that finding it needs no
    /// order of its own and nothing moves when a job becomes old.
    pub(super) line: BTreeMap<Cpus, Levels<Id>>,
    /// What the index of all queues has of this one.
    pub(super) indexed: Heads<Id>,
    /// What the index of preemption has of this one.
    pub(super) preemption: QueuePreemption,
}

impl<Id: Clone + Ord> QueueLine<Id> {
    pub(super) fn new(is_open: bool) -> Self {
        Self {
            share: None,
            is_open,
            granted: 0,
            coming: 0,
            kept: 0,
            ending: 0,
            running: Running::new(),
            waiting: 0,
            reserved: 0,
            line: BTreeMap::new(),
            indexed: Heads::default(),
            preemption: QueuePreemption::default(),
        }
    }

    pub(super) fn quota(&self) -> Option<Cpus> {
        let undescribed = if self.is_open { None } else { Some(0) };
        self.share.map_or(undescribed, |share| share.quota)
    }

    /// What its quota leaves.
    pub(super) fn left(&self) -> Cpus {
        let granted = Cpus::try_from(self.granted + self.coming).unwrap_or(Cpus::MAX);
        self.quota().map_or(Cpus::MAX, |quota| quota.saturating_sub(granted))
    }

    /// Whether its jobs hold less than what is guaranteed to them.
    fn is_owed(&self) -> bool {
        self.granted + self.coming < u64::from(self.share.unwrap_or_default().guaranteed)
    }

    /// Puts a job into the line. Says whether it is the first of its size and priority.
    pub(super) fn insert(&mut self, id: Id, place: &QueueEntry) -> bool {
        let levels = self.line.entry(place.min).or_default();
        let level = levels.entry(Reverse(place.priority)).or_default();
        let is_first = level.first().is_none_or(|(age, first)| (place.age, &id) < (*age, first));
        level.insert((place.age, id));
        self.waiting += 1;
        is_first
    }

    /// Takes a job out of the line, and gives back its key. Says whether it was the first of its size and priority.
    pub(super) fn remove(&mut self, id: Id, place: &QueueEntry) -> (Id, bool) {
        let key = (place.age, id);
        let priority = Reverse(place.priority);
        let mut was_first = false;
        if let Some(levels) = self.line.get_mut(&place.min)
            && let Some(level) = levels.get_mut(&priority)
        {
            was_first = level.first() == Some(&key);
            if level.remove(&key) {
                self.waiting -= 1;
            }
            if level.is_empty() {
                levels.remove(&priority);
            }
            if levels.is_empty() {
                self.line.remove(&place.min);
            }
        }
        (key.1, was_first)
    }

    /// Its jobs, the one that comes first in front.
    pub(super) fn sorted(&self) -> Vec<&Id> {
        self.first(usize::MAX)
    }

    /// The first of its jobs, at most so many, the one that comes first in front.
    pub(super) fn first(&self, most: usize) -> Vec<&Id> {
        let levels = self.line.values().flatten();
        let mut line: Vec<Rank<'_, Id>> = levels
            .flat_map(|(priority, level)| {
                level.iter().take(most).map(|(age, id)| (*priority, *age, id))
            })
            .collect();
        line.sort_unstable();
        line.truncate(most);
        line.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The first job of each size, the one that comes first in front.
    pub(super) fn firsts(&self) -> Vec<(Cpus, Head<Id>)> {
        let first = |(size, levels): (&Cpus, _)| Some((first_that(levels, |_| true)?, *size));
        let mut firsts: Vec<_> = self.line.iter().filter_map(first).collect();
        firsts.sort_unstable();
        firsts.into_iter().map(|(rank, size)| (size, self.head(rank))).collect()
    }

    /// Which of its jobs count for all queues at this time, with so many CPUs in all.
    pub(super) fn heads(&self, in_all: Cpus, now: Timestamp) -> Heads<Id> {
        let mut period = Period::default();
        let left = self.left();
        // An old job that the quota has no room for now holds back those behind it. One that is larger than the whole
        // quota, or than all CPUs, holds back nobody.
        let most = self.quota().unwrap_or(Cpus::MAX).min(in_all);
        let lacking = between(left, most)
            .and_then(|sizes| self.old_heads(sizes, now, &mut period).map(|(_, rank)| rank).min());
        let first = |(size, levels): (&Cpus, _)| Some((*size, first_that(levels, |_| true)?));
        let ready = self.line.range(..=left).filter_map(first);
        let ready = self.counted(lacking, ready);
        let old = self.old_heads(..=left.min(in_all), now, &mut period);
        let old = self.counted(lacking, old);
        Heads { ready, old, period }
    }

    /// The first old job of each of these sizes, the larger size first.
    fn old_heads<'a>(
        &'a self,
        sizes: impl RangeBounds<Cpus>,
        now: Timestamp,
        period: &mut Period,
    ) -> impl Iterator<Item = (Cpus, Rank<'a, Id>)> {
        let levels = self.line.range(sizes).rev();
        levels.filter_map(move |(size, levels)| {
            Some((*size, first_that(levels, |since| period.is_old(since, now))?))
        })
    }

    /// Those that come before all in front of them, and before `lacking`: the others never decide.
    fn counted<'a>(
        &self,
        lacking: Option<Rank<'a, Id>>,
        heads: impl Iterator<Item = (Cpus, Rank<'a, Id>)>,
    ) -> Vec<(Cpus, Head<Id>)>
    where
        Id: 'a,
    {
        let mut best = lacking;
        let before = heads.filter(|(_, rank)| {
            let is_before = best.is_none_or(|best| *rank < best);
            if is_before {
                best = Some(*rank);
            }
            is_before
        });
        before.map(|(size, rank)| (size, self.head(rank))).collect()
    }

    fn head(&self, (Reverse(priority), age, id): Rank<'_, Id>) -> Head<Id> {
        let weight = self.share.unwrap_or_default().weight.max(1);
        Head {
            is_owed: self.is_owed(),
            priority,
            granted: self.granted,
            weight,
            age,
            id: id.clone(),
        }
    }
}

/// The first job of the highest priority whose first job is wanted.
fn first_that<Id: Ord>(
    levels: &Levels<Id>,
    mut is_wanted: impl FnMut(Timestamp) -> bool,
) -> Option<Rank<'_, Id>> {
    levels.iter().find_map(|(&priority, level)| {
        let (age, id) = level.first()?;
        is_wanted(age.0).then_some((priority, *age, id))
    })
}

/// The sizes above the first and up to the second. A range from above its end would be a panic.
pub(super) fn between(above: Cpus, most: Cpus) -> Option<(Bound<Cpus>, Bound<Cpus>)> {
    (above < most).then_some((Bound::Excluded(above), Bound::Included(most)))
}
