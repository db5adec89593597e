//! Who starts, with how many CPUs.
//!
//! Order: queues that hold less than what is guaranteed to them, then priority, then weighted fair share
//! between queues by granted CPUs, then age. Not only the head of a queue is looked at: a large job that
//! waits blocks no smaller one that fits, until it has waited [`RESERVE_AFTER_SECONDS`]; from then on what
//! comes after it waits too, so that it is not starved: only its queue while the quota lacks, every queue
//! while the capacity lacks.
//!
//! Where a queue says so, a job that waits has running attempts ended for it: see [`Admission::preempt`].
//!
//! [`Admission`] is told what happens, one event at a time, and what it grants is what a look at
//! all jobs would. An event costs `O(log n)` in the number of jobs and in that of queues. A grant also looks at each
//! distinct size, and in a queue that has changed at each of its sizes and priorities. A change of the capacity passes
//! over all queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::Cpus;
use index::Index;
use line::{QueueEntry, QueueLine};
use preemption_index::PreemptionIndex;
use queue_preemption::Held;
use request::Room;
use reservation::Reservations;

mod excerpt;
mod head;
mod index;
mod keep_cpus;
mod line;
mod preempt;
mod preemption_index;
mod queue_preemption;
mod request;
mod reservation;
mod running;
#[cfg(test)]
mod tests;

pub use excerpt::Excerpt;
pub use request::{
    Capacity, Grant, Preempted, Preemption, RESERVE_AFTER_SECONDS, Share, Standing, Waiting,
};

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
    /// A job either waits or holds CPUs. Some that wait have CPUs kept for them.
    jobs: BTreeMap<Id, KnownJob>,
    /// Those that have a share set, a job waiting or CPUs granted: names of the past cost nothing.
    queues: BTreeMap<Arc<str>, QueueLine<Id>>,
    /// Which of them comes first.
    index: Index<Id>,
    /// For which of them it may help to end attempts.
    preemption: PreemptionIndex,
    /// The CPUs that are kept for jobs for which attempts are ended.
    reservations: Reservations<Id>,
}

#[derive(Clone, Debug)]
struct KnownJob {
    queue: Arc<str>,
    state: JobState,
}

#[derive(Clone, Copy, Debug)]
enum JobState {
    Waiting(QueueEntry),
    /// It waits, and CPUs are kept for it.
    Reserved(QueueEntry),
    Granted(Cpus, Option<Standing>),
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
            index: Index::new(),
            preemption: PreemptionIndex::default(),
            reservations: Reservations::new(),
        }
    }

    /// Changes the capacity. It may be below what is in use: then nothing is granted.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        if self.capacity != capacity {
            self.capacity = capacity;
            self.queues.keys().for_each(|name| self.index.mark_changed(name));
            self.reservations.changed = true;
        }
    }

    /// Changes the share of a queue; `None` when nobody has described it, which is the default.
    pub fn set_queue(&mut self, name: &str, share: Option<Share>) {
        let (name, queue) = self.queue(name);
        let before = std::mem::replace(&mut queue.share, share).unwrap_or_default();
        let share = share.unwrap_or_default();
        self.preemption.set_share(&name, (before, share), self.queues.keys());
        self.reservations.changed = true;
        self.mark_changed(&name);
        self.settle(&name);
    }

    /// A job joins the line. If it waits already, its place is replaced; if it holds CPUs, nothing
    /// happens. What is kept for it stays so while it is in the same queue and needs as much.
    pub fn wait(&mut self, id: Id, waiting: Waiting) {
        let Waiting { queue, priority, since, sequence, min, max } = waiting;
        let (min, age) = (min.max(1), (since, sequence));
        let place = QueueEntry { priority, age, min, max: max.max(min) };
        if self.reserves(&id, &queue, &place) {
            return;
        }
        self.leave(&id);
        if self.jobs.contains_key(&id) {
            return;
        }
        let (name, _) = self.queue(&queue);
        self.join(id, name, place);
    }

    fn join(&mut self, id: Id, name: Arc<str>, place: QueueEntry) {
        let Some(queue) = self.queues.get_mut(&name) else { return };
        let is_first = queue.insert(id.clone(), &place);
        if is_first {
            self.mark_changed(&name);
        }
        self.reservations.changed = true;
        self.waiting += 1;
        self.waited_for += u64::from(place.min);
        self.jobs.insert(id, KnownJob { queue: name, state: JobState::Waiting(place) });
    }

    /// A job waits no more. Says whether it did.
    pub fn leave(&mut self, id: &Id) -> bool {
        let name = match self.take(id) {
            Some((_, name, _)) => name,
            None => match self.give_up(id) {
                Some((name, _)) => name,
                None => return false,
            },
        };
        // It may have held back others.
        self.reservations.changed = true;
        self.settle(&name);
        true
    }

    /// A job holds these CPUs whatever is free, such as one that was found running at a restart.
    /// Whatever was known of it is replaced, but for whether it is to end for another.
    pub fn occupy(&mut self, id: Id, queue: &str, cpus: Cpus) {
        self.leave(&id);
        let standing = self.drop_granted(&id).and_then(|(_, standing)| standing);
        let (name, _) = self.queue(queue);
        self.hold(id, name, cpus, standing);
    }

    /// The best job that may start now: it waits no more and holds its CPUs.
    pub fn next(&mut self, now: Timestamp) -> Option<Grant<Id>> {
        if let Some(grant) = self.next_reserved(now) {
            return Some(grant);
        }
        let room = self.room();
        if room.free == 0 {
            return None;
        }
        self.index.update(&mut self.queues, room.in_all, now);
        let id = self.index.first(room)?.clone();
        let fit = self.queues.get(&self.jobs.get(&id)?.queue)?.left().min(room.free);
        let (owned, name, place) = self.take(&id)?;
        let cpus = place.max.min(fit);
        let standing = Standing { priority: place.priority, since: now };
        self.hold(owned, name, cpus, Some(standing));
        Some(Grant { id, cpus })
    }

    /// What a job held is free, or kept for the one for which it has ended. Says how much it was.
    pub fn release(&mut self, id: &Id) -> Option<Cpus> {
        let (cpus, _) = self.drop_granted(id)?;
        self.pass_on(id, cpus);
        Some(cpus)
    }

    fn drop_granted(&mut self, id: &Id) -> Option<(Cpus, Option<Standing>)> {
        let JobState::Granted(cpus, standing) = self.jobs.get(id)?.state else { return None };
        let job = self.jobs.remove(id)?;
        self.used -= u64::from(cpus);
        self.reservations.changed = true;
        if let Some(queue) = self.queues.get_mut(&job.queue) {
            queue.granted -= u64::from(cpus);
            let is_ending = self.reservations.victims.contains_key(id);
            queue.remove_attempt(id, Held { cpus, standing, is_ending });
            self.mark_changed(&job.queue);
        }
        self.settle(&job.queue);
        Some((cpus, standing))
    }

    /// The CPUs that a job holds.
    pub fn granted(&self, id: &Id) -> Option<Cpus> {
        match self.jobs.get(id)?.state {
            JobState::Granted(cpus, _) => Some(cpus),
            JobState::Waiting(_) | JobState::Reserved(_) => None,
        }
    }

    /// CPUs held in all, with those that are kept for jobs that wait.
    pub fn used(&self) -> Cpus {
        Cpus::try_from(self.used).unwrap_or(Cpus::MAX)
    }

    /// How many jobs wait, those included for which CPUs are kept.
    pub fn waiting(&self) -> usize {
        self.waiting + self.reservations.len()
    }

    /// CPUs that the jobs of a queue hold, with those that are kept for some that wait.
    pub fn used_in(&self, queue: &str) -> Cpus {
        let granted = self.queues.get(queue).map_or(0, |queue| queue.granted);
        Cpus::try_from(granted).unwrap_or(Cpus::MAX)
    }

    /// CPUs that attempts hold in all: without those that are kept.
    pub fn held(&self) -> Cpus {
        self.used().saturating_sub(self.reserved())
    }

    /// The same of one queue.
    pub fn held_in(&self, queue: &str) -> Cpus {
        self.used_in(queue).saturating_sub(self.reserved_in(queue))
    }

    /// CPUs in all that no attempt holds yet: they are kept for jobs for which others have ended.
    pub fn reserved(&self) -> Cpus {
        let kept = self.reservations.by_job.values().map(|known| known.kept);
        kept.fold(0, Cpus::saturating_add)
    }

    /// CPUs of a queue that no attempt holds yet: they are kept for jobs for which others have ended.
    pub fn reserved_in(&self, queue: &str) -> Cpus {
        let kept = self.queues.get(queue).map_or(0, |queue| queue.kept);
        Cpus::try_from(kept).unwrap_or(Cpus::MAX)
    }

    /// How many jobs of a queue wait, those included for which CPUs are kept.
    pub fn waiting_in(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| queue.waiting + queue.reserved)
    }

    /// The jobs that wait in a queue, the one that comes first in front. It need not be the one that
    /// starts first: a smaller one may fit before. `O(n log n)`.
    pub fn line(&self, queue: &str) -> Vec<&Id> {
        self.queues.get(queue).map_or_else(Vec::new, QueueLine::sorted)
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

    /// What decides of a queue has changed.
    fn mark_changed(&mut self, name: &Arc<str>) {
        self.index.mark_changed(name);
        self.preemption.mark_changed(name);
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
            Some(queue) => {
                let (id, was_first) = queue.remove(id, &place);
                if was_first {
                    self.mark_changed(&job.queue);
                }
                id
            }
            None => id,
        };
        Some((id, job.queue, place))
    }

    fn hold(&mut self, id: Id, name: Arc<str>, cpus: Cpus, standing: Option<Standing>) {
        self.used += u64::from(cpus);
        self.reservations.changed = true;
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.granted += u64::from(cpus);
            let is_ending = self.reservations.victims.contains_key(&id);
            queue.add_attempt(&id, Held { cpus, standing, is_ending });
            self.mark_changed(&name);
        }
        self.jobs.insert(id, KnownJob { queue: name, state: JobState::Granted(cpus, standing) });
    }

    /// Something of a queue is over: without anything else it is forgotten.
    fn settle(&mut self, name: &str) {
        let over = |queue: &QueueLine<Id>| {
            let has_jobs = queue.waiting > 0 || queue.reserved > 0 || queue.granted > 0;
            queue.share.is_none() && !has_jobs && queue.coming == 0
        };
        if self.queues.get(name).is_some_and(over)
            && let Some((name, queue)) = self.queues.remove_entry(name)
        {
            self.index.forget(&name, &queue.indexed);
            self.preemption.forget(&name, queue.preemption);
        }
    }
}
