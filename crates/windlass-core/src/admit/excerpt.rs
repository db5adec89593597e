//! What an estimate needs of an [`Admission`]: who holds CPUs, and the front of each line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Admission, Capacity, JobState, Share, Waiting};
use crate::Cpus;

/// Who holds CPUs and who waits for some, at one moment.
#[derive(Clone, Debug)]
pub struct Excerpt<Id> {
    pub(crate) capacity: Capacity,
    pub(crate) is_open: fn(&str) -> bool,
    /// The shares of queues that have one.
    pub(crate) shares: BTreeMap<Arc<str>, Share>,
    /// Jobs that hold CPUs, with their queue.
    pub holding: Vec<(Id, Arc<str>, Cpus)>,
    /// Those of them that are to end for a job that waits.
    pub ending: BTreeSet<Id>,
    /// Jobs that wait, with their positions in the lines of their queues, the first of each queue in front.
    pub waiting: Vec<(Id, Waiting, u32)>,
    /// Whether these are all that wait.
    pub is_whole: bool,
    /// Whether attempts end for a job that waits, or may: who starts when is not known then.
    pub preempts: bool,
    /// Whether nobody starts, whatever is free: a server that is drained.
    pub(crate) starts_nothing: bool,
}

impl<Id> Excerpt<Id> {
    /// The same where nobody starts.
    #[must_use]
    pub fn without_starts(self) -> Self {
        Self { starts_nothing: true, ..self }
    }
}

impl<Id: Clone + Ord> Admission<Id> {
    /// Those of `holding` that hold CPUs, and of those that wait at most `most`: the first of each queue, then the second
    /// of each, and so on. A job for which CPUs are kept comes before the others of its queue. It costs `O(n log n)` in
    /// those, in the number of queues and in that of their sizes.
    pub fn excerpt(&self, holding: impl IntoIterator<Item = Id>, most: usize) -> Excerpt<Id> {
        let holding = holding.into_iter().filter_map(|id| {
            let job = self.jobs.get(&id)?;
            let JobState::Granted(cpus, _) = job.state else { return None };
            Some((id, Arc::clone(&job.queue), cpus))
        });
        let holding: Vec<_> = holding.collect();
        let victims = &self.reservations.victims;
        let ending = holding.iter().map(|(id, ..)| id).filter(|id| victims.contains_key(*id));
        let waiting = self.front(most).into_iter().filter_map(|(index, id)| {
            let position = u32::try_from(index + 1).unwrap_or(u32::MAX);
            Some((id.clone(), self.waiting_of(id)?, position))
        });
        let waiting: Vec<_> = waiting.collect();
        let shares = self.queues.iter().filter_map(|(name, q)| Some((Arc::clone(name), q.share?)));
        Excerpt {
            capacity: self.capacity,
            is_open: self.is_open,
            shares: shares.collect(),
            ending: ending.cloned().collect(),
            holding,
            is_whole: waiting.len() == self.waiting(),
            waiting,
            preempts: self.preempts(),
            starts_nothing: false,
        }
    }

    /// The jobs that wait with their places in the lines of their queues, 0 for the first, at most so many.
    fn front(&self, most: usize) -> Vec<(usize, &Id)> {
        let mut reserved: BTreeMap<&str, Vec<&Id>> = BTreeMap::new();
        for id in self.reservations.by_job.keys() {
            if let Some(job) = self.jobs.get(id) {
                reserved.entry(&job.queue).or_default().push(id);
            }
        }
        let mut front: Vec<(usize, &Id)> = Vec::new();
        for (name, queue) in self.queues.iter().filter(|(_, q)| q.waiting + q.reserved > 0) {
            let line = reserved.remove(&**name).into_iter().flatten().chain(queue.first(most));
            front.extend(line.take(most).enumerate());
            // Only those whose position is low enough can be among them.
            if front.len() > 2 * most {
                front.sort_by_key(|(index, _)| *index);
                front.truncate(most);
            }
        }
        front.sort_by_key(|(index, _)| *index);
        front.truncate(most);
        front
    }

    /// Whether attempts are ending for a job, or a job waits in a queue that has some ended.
    fn preempts(&self) -> bool {
        let has_jobs =
            |name: &str| self.queues.get(name).is_some_and(|q| q.waiting + q.reserved > 0);
        !self.reservations.by_job.is_empty()
            || !self.reservations.victims.is_empty()
            || self.preemption.any(has_jobs)
    }

    fn waiting_of(&self, id: &Id) -> Option<Waiting> {
        let job = self.jobs.get(id)?;
        let (JobState::Waiting(place) | JobState::Reserved(place)) = job.state else { return None };
        Some(Waiting {
            queue: job.queue.to_string(),
            priority: place.priority,
            since: place.age.0,
            sequence: place.age.1,
            min: place.min,
            max: place.max,
        })
    }
}
