//! Which job of all queues comes first, without a pass over the queues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::head::{Head, Heads, Nanoseconds};
use super::line::{QueueLine, between};
use super::request::Room;
use crate::Cpus;

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
        let ended = self.ends.iter().take_while(|(end, _)| *end <= time);
        // The clock was set back.
        let begun_later = self.begins.iter().rev().take_while(|(begin, _)| *begin > time);
        let due = ended.chain(begun_later).map(|(_, name)| Arc::clone(name));
        self.changed.extend(due);
        let mut renewed = Vec::new();
        for name in std::mem::take(&mut self.changed) {
            let Some(queue) = queues.get_mut(&name) else { continue };
            let heads = queue.heads(in_all, now);
            if heads != queue.indexed {
                let before = std::mem::replace(&mut queue.indexed, heads);
                self.remove(&name, &before);
                renewed.push(name);
            }
        }
        // Only now: a job that has moved from one queue to another is the same head in both.
        for name in renewed {
            queues.get(&name).into_iter().for_each(|queue| self.insert(&name, &queue.indexed));
        }
    }

    /// The first of the jobs that fit, unless an old one that does not holds it back.
    pub(super) fn first(&self, room: Room) -> Option<&Id> {
        let fitting = self.ready.range(..=room.free);
        let first = fitting.filter_map(|(_, heads)| heads.first()).min()?;
        (!self.is_held_back(first, room)).then_some(&first.id)
    }

    /// Whether what is free is kept for an old job that comes before this one.
    pub(super) fn is_held_back(&self, head: &Head<Id>, room: Room) -> bool {
        between(room.free, room.in_all).is_some_and(|sizes| {
            let mut old = self.old.range(sizes).filter_map(|(_, heads)| heads.first());
            old.any(|old| old < head)
        })
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

#[cfg(test)]
impl<Id: Ord> PartialEq for Index<Id> {
    fn eq(&self, other: &Self) -> bool {
        (&self.ready, &self.old, &self.changed) == (&other.ready, &other.old, &other.changed)
            && (&self.begins, &self.ends) == (&other.begins, &other.ends)
    }
}
