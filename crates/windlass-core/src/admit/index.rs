//! Which job of all queues comes first, without a pass over the queues.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::line::{Age, QueueLine, between};
use super::{RESERVE_AFTER_SECONDS, Room};
use crate::Cpus;

/// A time in nanoseconds: the sum of any two is one, too.
type Nanoseconds = i128;

/// The jobs of all queues that decide, by size. They are those of the time of the last [`update`](Self::update): a
/// queue is looked at again once it has changed, or once other jobs of it are old.
#[derive(Clone, Debug)]
pub(super) struct Index<Id> {
    /// Those that may start if so many CPUs are free.
    ready: BySize<Id>,
    /// The old ones that hold back the jobs behind them while fewer CPUs are free.
    old: BySize<Id>,
    /// Queues that have changed since.
    changed: BTreeSet<Arc<str>>,
    /// When what is known of a queue begins to be so.
    begins: BTreeSet<(Nanoseconds, Arc<str>)>,
    /// When it is so no more.
    ends: BTreeSet<(Nanoseconds, Arc<str>)>,
}

/// The first jobs of queues, by the fewest CPUs that they need.
type BySize<Id> = BTreeMap<Cpus, BTreeSet<Head<Id>>>;

/// A job in the order of all jobs.
#[derive(Clone, Debug)]
pub(super) struct Head<Id> {
    pub(super) is_owed: bool,
    pub(super) priority: i32,
    pub(super) granted: u64,
    pub(super) weight: u32,
    pub(super) age: Age,
    pub(super) id: Id,
}

/// The jobs of one queue that decide, with their sizes.
#[derive(Clone, Debug)]
pub(super) struct Heads<Id> {
    pub(super) ready: Vec<(Cpus, Head<Id>)>,
    pub(super) old: Vec<(Cpus, Head<Id>)>,
    pub(super) period: Period,
}

/// From when until when the same jobs are old, as far as somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Period {
    begin: Option<Nanoseconds>,
    end: Option<Nanoseconds>,
}

impl<Id: Clone + Ord> Index<Id> {
    pub(super) fn new() -> Self {
        Self {
            ready: BTreeMap::new(),
            old: BTreeMap::new(),
            changed: BTreeSet::new(),
            begins: BTreeSet::new(),
            ends: BTreeSet::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::new()
    }

    /// A queue is to be looked at again.
    pub(super) fn mark_changed(&mut self, name: &Arc<str>) {
        if !self.changed.contains(name) {
            self.changed.insert(Arc::clone(name));
        }
    }

    /// A queue is gone, of which this is known.
    pub(super) fn forget(&mut self, name: &Arc<str>, heads: &Heads<Id>) {
        self.changed.remove(name);
        self.remove(name, heads);
    }

    /// From now on this is what all queues are at this time, with so many CPUs in all.
    pub(super) fn update(
        &mut self,
        queues: &mut BTreeMap<Arc<str>, QueueLine<Id>>,
        in_all: Cpus,
        now: Timestamp,
    ) {
        let time = now.as_nanosecond();
        while let Some((_, name)) = self.ends.first().filter(|(end, _)| *end <= time) {
            self.update_queue(&Arc::clone(name), queues, in_all, now);
        }
        // The clock was set back.
        while let Some((_, name)) = self.begins.last().filter(|(begin, _)| *begin > time) {
            self.update_queue(&Arc::clone(name), queues, in_all, now);
        }
        while let Some(name) = self.changed.first() {
            self.update_queue(&Arc::clone(name), queues, in_all, now);
        }
    }

    /// The first of the jobs that fit, unless an old one that does not holds it back.
    pub(super) fn first(&self, room: Room) -> Option<&Id> {
        let fitting = self.ready.range(..=room.free);
        let first = fitting.filter_map(|(_, heads)| heads.first()).min()?;
        let is_held = between(room.free, room.in_all).is_some_and(|sizes| {
            let mut old = self.old.range(sizes).filter_map(|(_, heads)| heads.first());
            old.any(|head| head < first)
        });
        (!is_held).then_some(&first.id)
    }

    fn update_queue(
        &mut self,
        name: &Arc<str>,
        queues: &mut BTreeMap<Arc<str>, QueueLine<Id>>,
        in_all: Cpus,
        now: Timestamp,
    ) {
        self.changed.remove(name);
        let Some(queue) = queues.get_mut(name) else { return };
        let heads = queue.heads(in_all, now);
        if heads != queue.indexed {
            self.remove(name, &queue.indexed);
            self.insert(name, &heads);
            queue.indexed = heads;
        }
    }

    fn insert(&mut self, name: &Arc<str>, heads: &Heads<Id>) {
        for (by_size, heads) in [(&mut self.ready, &heads.ready), (&mut self.old, &heads.old)] {
            for (size, head) in heads {
                by_size.entry(*size).or_default().insert(head.clone());
            }
        }
        self.begins.extend(heads.period.begin.map(|begin| (begin, Arc::clone(name))));
        self.ends.extend(heads.period.end.map(|end| (end, Arc::clone(name))));
    }

    fn remove(&mut self, name: &Arc<str>, heads: &Heads<Id>) {
        for (by_size, heads) in [(&mut self.ready, &heads.ready), (&mut self.old, &heads.old)] {
            for (size, head) in heads {
                let Some(others) = by_size.get_mut(size) else { continue };
                others.remove(head);
                if others.is_empty() {
                    by_size.remove(size);
                }
            }
        }
        if let Some(begin) = heads.period.begin {
            self.begins.remove(&(begin, Arc::clone(name)));
        }
        if let Some(end) = heads.period.end {
            self.ends.remove(&(end, Arc::clone(name)));
        }
    }
}

impl Period {
    /// Whether a job of this time is old now.
    pub(super) fn is_old(&mut self, since: Timestamp, now: Timestamp) -> bool {
        let from = since.as_nanosecond() + i128::from(RESERVE_AFTER_SECONDS) * 1_000_000_000;
        let is_old = from <= now.as_nanosecond();
        if is_old {
            self.begin = self.begin.max(Some(from));
        } else {
            self.end = Some(self.end.map_or(from, |end| end.min(from)));
        }
        is_old
    }
}

impl<Id> Default for Heads<Id> {
    fn default() -> Self {
        Self { ready: Vec::new(), old: Vec::new(), period: Period::default() }
    }
}

#[cfg(test)]
impl<Id: Ord> PartialEq for Index<Id> {
    fn eq(&self, other: &Self) -> bool {
        (&self.ready, &self.old, &self.changed) == (&other.ready, &other.old, &other.changed)
            && (&self.begins, &self.ends) == (&other.begins, &other.ends)
    }
}

impl<Id: Ord> PartialEq for Heads<Id> {
    fn eq(&self, other: &Self) -> bool {
        (&self.ready, &self.old, self.period) == (&other.ready, &other.old, other.period)
    }
}

impl<Id: Ord> Ord for Head<Id> {
    fn cmp(&self, other: &Self) -> Ordering {
        let share = || {
            // Granted CPUs by weight, without rounding.
            let mine = u128::from(self.granted) * u128::from(other.weight);
            mine.cmp(&(u128::from(other.granted) * u128::from(self.weight)))
        };
        (other.is_owed.cmp(&self.is_owed))
            .then_with(|| other.priority.cmp(&self.priority))
            .then_with(share)
            .then_with(|| (self.age, &self.id).cmp(&(other.age, &other.id)))
    }
}

impl<Id: Ord> PartialOrd for Head<Id> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Id: Ord> PartialEq for Head<Id> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<Id: Ord> Eq for Head<Id> {}
