//! Who starts, with how many CPUs.
//!
//! Order: queues that hold less than what is guaranteed to them, then priority, then weighted fair share
//! between queues by granted CPUs, then age. Not only the head of a queue is looked at: a large job that
//! waits blocks no smaller one that fits, until it has waited [`RESERVE_AFTER_SECONDS`]; from then on what
//! comes after it waits too, so that it is not starved: only its queue while the quota lacks, every queue
//! while the capacity lacks.
//!
//! [`Admission`] is told what happens, one event at a time, and what it grants is what a look at
//! all jobs would. An event costs `O(log n)` in the number of jobs. `next` also passes over the
//! queues, and where jobs wait and quota is left it looks at each distinct size and, for sizes that
//! do not fit, at each priority not below that of the job that starts.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use jiff::Timestamp;

use crate::Cpus;

mod request;
#[cfg(test)]
mod tests;

pub use request::{Capacity, Grant, Share, Waiting};

/// After this time, in seconds, a job that does not fit holds back the jobs behind it.
pub const RESERVE_AFTER_SECONDS: i64 = 60;

/// The jobs that wait for CPUs and those that hold some. Total and deterministic: any call may
/// follow any other, and a grant exceeds neither the capacity nor a queue's quota.
#[derive(Clone, Debug)]
pub struct Admission<Id> {
    capacity: Capacity,
    /// Whether a queue that nobody has described has no quota. Otherwise it grants nothing.
    is_open: fn(&str) -> bool,
    used: u64,
    waiting: usize,
    waited_for: u64,
    /// A job either waits or holds CPUs.
    jobs: BTreeMap<Id, KnownJob>,
    /// Those that have a share set, a job waiting or CPUs granted: names of the past cost nothing.
    queues: BTreeMap<Arc<str>, QueueLine<Id>>,
}

#[derive(Clone, Debug)]
struct KnownJob {
    queue: Arc<str>,
    state: JobState,
}

#[derive(Clone, Copy, Debug)]
enum JobState {
    Waiting(QueueEntry),
    Granted(Cpus),
}

/// What decides where a job is in the line of its queue.
#[derive(Clone, Copy, Debug)]
struct QueueEntry {
    priority: i32,
    age: Age,
    min: Cpus,
    max: Cpus,
}

/// When a job was created, and its number among those of that time.
type Age = (Timestamp, u64);

/// Jobs of the same size and priority, the older first.
type Level<Id> = BTreeSet<(Age, Id)>;

#[derive(Clone, Debug)]
struct QueueLine<Id> {
    share: Option<Share>,
    /// Whether it has no quota while nobody has described it.
    is_open: bool,
    granted: u64,
    waiting: usize,
    /// By size, which is the fewest CPUs, so that what fits is a range; then the higher priority
    /// first. An old job of a priority is at the head of its level, so that finding it needs no
    /// order of its own and nothing moves when a job becomes old.
    line: BTreeMap<Cpus, BTreeMap<Reverse<i32>, Level<Id>>>,
}

/// CPUs for all queues.
#[derive(Clone, Copy)]
struct Room {
    in_all: Cpus,
    free: Cpus,
}

/// A job in the order of all jobs.
struct Head<'a, Id> {
    queue: &'a QueueLine<Id>,
    priority: i32,
    age: Age,
    id: &'a Id,
}

impl<Id: Clone + Ord> Admission<Id> {
    /// Nobody waits and nothing is granted. Queues that nobody has described have no quota.
    pub fn new(capacity: Capacity) -> Self {
        Self::with_open(capacity, |_| true)
    }

    /// The same, and of the queues that nobody has described only those that are open grant CPUs.
    pub fn with_open(capacity: Capacity, is_open: fn(&str) -> bool) -> Self {
        Self {
            capacity,
            is_open,
            used: 0,
            waiting: 0,
            waited_for: 0,
            jobs: BTreeMap::new(),
            queues: BTreeMap::new(),
        }
    }

    /// Changes the capacity. It may be below what is in use: then nothing is granted.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    /// Changes the share of a queue; `None` when nobody has described it, which is the default.
    pub fn set_queue(&mut self, name: &str, share: Option<Share>) {
        let (name, queue) = self.queue(name);
        queue.share = share;
        self.settle(&name);
    }

    /// A job joins the line. If it waits already, its place is replaced; if it holds CPUs, nothing
    /// happens.
    pub fn wait(&mut self, id: Id, waiting: Waiting) {
        self.leave(&id);
        if self.jobs.contains_key(&id) {
            return;
        }
        let Waiting { queue, priority, since, sequence, min, max } = waiting;
        let (min, age) = (min.max(1), (since, sequence));
        let place = QueueEntry { priority, age, min, max: max.max(min) };
        let (name, queue) = self.queue(&queue);
        let level = queue.line.entry(min).or_default().entry(Reverse(priority)).or_default();
        level.insert((age, id.clone()));
        queue.waiting += 1;
        self.waiting += 1;
        self.waited_for += u64::from(min);
        self.jobs.insert(id, KnownJob { queue: name, state: JobState::Waiting(place) });
    }

    /// A job waits no more. Says whether it did.
    pub fn leave(&mut self, id: &Id) -> bool {
        let Some((_, name, _)) = self.take(id) else { return false };
        self.settle(&name);
        true
    }

    /// A job holds these CPUs whatever is free, such as one that was found running at a restart.
    /// Whatever was known of it is replaced.
    pub fn occupy(&mut self, id: Id, queue: &str, cpus: Cpus) {
        self.leave(&id);
        self.release(&id);
        let (name, _) = self.queue(queue);
        self.hold(id, name, cpus);
    }

    /// The best job that may start now: it waits no more and holds its CPUs.
    pub fn next(&mut self, now: Timestamp) -> Option<Grant<Id>> {
        let room = self.room();
        let best = self.best(room, now)?;
        let fit = best.queue.left().min(room.free);
        let id = best.id.clone();
        let (owned, name, place) = self.take(&id)?;
        let cpus = place.max.min(fit);
        self.hold(owned, name, cpus);
        Some(Grant { id, cpus })
    }

    /// What a job held is free. Says how much it was.
    pub fn release(&mut self, id: &Id) -> Option<Cpus> {
        let cpus = self.granted(id)?;
        let job = self.jobs.remove(id)?;
        self.used -= u64::from(cpus);
        if let Some(queue) = self.queues.get_mut(&job.queue) {
            queue.granted -= u64::from(cpus);
        }
        self.settle(&job.queue);
        Some(cpus)
    }

    /// The CPUs that a job holds.
    pub fn granted(&self, id: &Id) -> Option<Cpus> {
        match self.jobs.get(id)?.state {
            JobState::Granted(cpus) => Some(cpus),
            JobState::Waiting(_) => None,
        }
    }

    /// CPUs held in all.
    pub fn used(&self) -> Cpus {
        Cpus::try_from(self.used).unwrap_or(Cpus::MAX)
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// CPUs that the jobs of a queue hold.
    pub fn used_in(&self, queue: &str) -> Cpus {
        let granted = self.queues.get(queue).map_or(0, |queue| queue.granted);
        Cpus::try_from(granted).unwrap_or(Cpus::MAX)
    }

    /// How many jobs of a queue wait.
    pub fn waiting_in(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| queue.waiting)
    }

    /// The jobs that wait in a queue, the one that comes first in front. It need not be the one that
    /// starts first: a smaller one may fit before. `O(n log n)`.
    pub fn line(&self, queue: &str) -> Vec<&Id> {
        let Some(queue) = self.queues.get(queue) else { return Vec::new() };
        let mut line: Vec<_> = queue
            .line
            .values()
            .flat_map(|levels| {
                levels.iter().flat_map(|(priority, level)| {
                    level.iter().map(move |(age, id)| (*priority, *age, id))
                })
            })
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The fewest CPUs of all jobs that wait, summed: for an estimate of the delay.
    pub fn cpus_waited_for(&self) -> u64 {
        self.waited_for
    }

    fn room(&self) -> Room {
        let in_all = self.capacity.0.unwrap_or(Cpus::MAX);
        let free = self.capacity.0.map_or(Cpus::MAX, |all| all.saturating_sub(self.used()));
        Room { in_all, free }
    }

    /// The first job in the order of all that fits and that no old one holds back.
    fn best(&self, room: Room, now: Timestamp) -> Option<Head<'_, Id>> {
        if room.free == 0 {
            return None;
        }
        // A full queue holds back only itself.
        let open = || self.queues.values().filter(|queue| queue.waiting > 0 && queue.left() > 0);
        let best = open().filter_map(|queue| queue.first(room, now)).min_by(Head::order)?;
        let held = open().any(|queue| queue.reserves(room, &best, now));
        (!held).then_some(best)
    }

    /// The queue of a name, and the one copy of that name.
    fn queue(&mut self, name: &str) -> (Arc<str>, &mut QueueLine<Id>) {
        let known = self.queues.get_key_value(name);
        let name = known.map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let is_open = self.is_open;
        let line = || QueueLine::new(is_open(&name));
        let queue = self.queues.entry(Arc::clone(&name)).or_insert_with(line);
        (name, queue)
    }

    /// Takes a job out of the line. Its queue is kept: the caller may need it.
    fn take(&mut self, id: &Id) -> Option<(Id, Arc<str>, QueueEntry)> {
        let JobState::Waiting(place) = self.jobs.get(id)?.state else { return None };
        let (id, job) = self.jobs.remove_entry(id)?;
        self.waiting -= 1;
        self.waited_for -= u64::from(place.min);
        let id = match self.queues.get_mut(&job.queue) {
            Some(queue) => queue.remove(id, &place),
            None => id,
        };
        Some((id, job.queue, place))
    }

    fn hold(&mut self, id: Id, name: Arc<str>, cpus: Cpus) {
        self.used += u64::from(cpus);
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.granted += u64::from(cpus);
        }
        self.jobs.insert(id, KnownJob { queue: name, state: JobState::Granted(cpus) });
    }

    /// Something of a queue is over: without anything else it is forgotten.
    fn settle(&mut self, name: &str) {
        let over = |queue: &QueueLine<Id>| {
            queue.share.is_none() && queue.waiting == 0 && queue.granted == 0
        };
        if self.queues.get(name).is_some_and(over) {
            self.queues.remove(name);
        }
    }
}

impl<Id: Ord> QueueLine<Id> {
    fn new(is_open: bool) -> Self {
        Self { share: None, is_open, granted: 0, waiting: 0, line: BTreeMap::new() }
    }

    fn quota(&self) -> Option<Cpus> {
        let undescribed = if self.is_open { None } else { Some(0) };
        self.share.map_or(undescribed, |share| share.quota)
    }

    /// What its quota leaves.
    fn left(&self) -> Cpus {
        let granted = Cpus::try_from(self.granted).unwrap_or(Cpus::MAX);
        self.quota().map_or(Cpus::MAX, |quota| quota.saturating_sub(granted))
    }

    fn weight(&self) -> u32 {
        self.share.unwrap_or_default().weight.max(1)
    }

    /// Whether its jobs hold less than what is guaranteed to them.
    fn is_owed(&self) -> bool {
        self.granted < u64::from(self.share.unwrap_or_default().guaranteed)
    }

    /// Takes a job out of the line, and gives back its key.
    fn remove(&mut self, id: Id, place: &QueueEntry) -> Id {
        let key = (place.age, id);
        let priority = Reverse(place.priority);
        if let Some(levels) = self.line.get_mut(&place.min)
            && let Some(level) = levels.get_mut(&priority)
            && level.remove(&key)
        {
            self.waiting -= 1;
            if level.is_empty() {
                levels.remove(&priority);
            }
            if levels.is_empty() {
                self.line.remove(&place.min);
            }
        }
        key.1
    }

    /// Its first job that fits, unless an old one that the quota has no room for comes before it.
    fn first(&self, room: Room, now: Timestamp) -> Option<Head<'_, Id>> {
        let first = self.head(..=self.left().min(room.free), i32::MIN, |_| true)?;
        (!self.waits_for_quota(room, &first, now)).then_some(first)
    }

    /// Whether an old job of this queue for which CPUs lack now, and will be there, comes before `other`. Not
    /// when it is held back itself.
    fn reserves(&self, room: Room, other: &Head<'_, Id>, now: Timestamp) -> bool {
        let (free, most) = (room.free, self.left().min(room.in_all));
        // A range from above its end would be a panic.
        let sizes = (free < most).then_some((Bound::Excluded(free), Bound::Included(most)));
        let is_before = self.is_owed() && !other.queue.is_owed();
        let priority = if is_before { i32::MIN } else { other.priority };
        sizes
            .and_then(|sizes| self.head(sizes, priority, |age| is_old(age, now)))
            .is_some_and(|head| head.precedes(other) && !self.waits_for_quota(room, &head, now))
    }

    /// Whether an old job that the quota has no room for now comes before this one of the same queue. One that is larger
    /// than the whole quota, or than all CPUs, holds back nobody.
    fn waits_for_quota(&self, room: Room, other: &Head<'_, Id>, now: Timestamp) -> bool {
        let (left, most) = (self.left(), self.quota().unwrap_or(Cpus::MAX).min(room.in_all));
        let sizes = (left < most).then_some((Bound::Excluded(left), Bound::Included(most)));
        sizes
            .and_then(|sizes| self.head(sizes, other.priority, |age| is_old(age, now)))
            .is_some_and(|head| head.precedes(other))
    }

    /// The first of the jobs of these sizes and of at least this priority that are of such an age.
    fn head(
        &self,
        sizes: impl RangeBounds<Cpus>,
        priority: i32,
        is_wanted: impl Fn(Age) -> bool,
    ) -> Option<Head<'_, Id>> {
        self.line
            .range(sizes)
            .filter_map(|(_, levels)| {
                levels.range(..=Reverse(priority)).find_map(|(&Reverse(priority), level)| {
                    let (age, id) = level.first()?;
                    is_wanted(*age).then_some(Head { queue: self, priority, age: *age, id })
                })
            })
            .min_by(Head::order)
    }
}

impl<Id: Ord> Head<'_, Id> {
    fn order(&self, other: &Self) -> Ordering {
        let share = || {
            // Granted CPUs by weight, without rounding.
            let mine = u128::from(self.queue.granted) * u128::from(other.queue.weight());
            mine.cmp(&(u128::from(other.queue.granted) * u128::from(self.queue.weight())))
        };
        (other.queue.is_owed().cmp(&self.queue.is_owed()))
            .then_with(|| other.priority.cmp(&self.priority))
            .then_with(share)
            .then_with(|| (self.age, self.id).cmp(&(other.age, other.id)))
    }

    fn precedes(&self, other: &Self) -> bool {
        self.order(other).is_lt()
    }
}

fn is_old((since, _): Age, now: Timestamp) -> bool {
    now.duration_since(since).as_secs() >= RESERVE_AFTER_SECONDS
}
