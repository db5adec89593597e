//! Core's decision who comes next, once for each pool of CPUs: the ClusterComputeQueues, and all queues that share
//! with no other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_core::admit::Preempted;
use windlass_core::{Capacity, Cpus, Grant, Share, Standing, Waiting, admit};

use super::key::QueueKey;
use crate::labels::AttemptId;

type Admission = admit::Admission<AttemptId>;

/// An admission for each pool.
pub(super) struct Schedulers {
    /// Of the queues whose namespaces share no CPUs.
    alone: Admission,
    /// By ClusterComputeQueue.
    shared: BTreeMap<String, Admission>,
    /// The ClusterComputeQueue of each namespace that has one.
    members: BTreeMap<String, String>,
    /// By ClusterComputeQueue, the CPUs that are guaranteed to each queue.
    guaranteed: BTreeMap<String, BTreeMap<QueueKey, Cpus>>,
}

impl Schedulers {
    /// Nothing waits, and nothing is held.
    pub(super) fn new() -> Self {
        Self {
            alone: unlimited(),
            shared: BTreeMap::new(),
            members: BTreeMap::new(),
            guaranteed: BTreeMap::new(),
        }
    }

    /// The ClusterComputeQueue whose CPUs a namespace shares.
    pub(super) fn pool_of(&self, namespace: &str) -> Option<&str> {
        self.members.get(namespace).map(String::as_str)
    }

    /// The CPUs of a ClusterComputeQueue are these; `None` when it is gone, and no namespace is its member any more.
    pub(super) fn set_capacity(&mut self, pool: &str, cpus: Option<Cpus>) {
        let Some(cpus) = cpus else {
            self.shared.remove(pool);
            self.guaranteed.remove(pool);
            return;
        };
        let known = self.shared.entry(pool.to_owned()).or_insert_with(unlimited);
        known.set_capacity(Capacity(Some(cpus)));
    }

    /// A namespace shares the CPUs of this ClusterComputeQueue from now on, or of none. What is known of its queues and
    /// jobs has to be told again.
    pub(super) fn set_pool_of(&mut self, namespace: &str, pool: Option<&str>) {
        match pool {
            Some(pool) => self.members.insert(namespace.to_owned(), pool.to_owned()),
            None => self.members.remove(namespace),
        };
    }

    /// A queue has another share. `None` when it is not there.
    pub(super) fn set_queue(&mut self, key: &QueueKey, share: Option<Share>) {
        let name = key.scheduler_name();
        for queues in self.guaranteed.values_mut() {
            queues.remove(key);
        }
        if let (Some(share), Some(pool)) = (share, self.members.get(&key.namespace)) {
            let cpus = share.guaranteed.min(share.quota.unwrap_or(Cpus::MAX));
            self.guaranteed.entry(pool.clone()).or_default().insert(key.clone(), cpus);
        }
        if share.is_none() {
            self.all_mut().for_each(|admission| admission.set_queue(&name, None));
        } else {
            self.of_mut(key).set_queue(&name, share);
        }
    }

    /// CPUs that are guaranteed to the queues of a ClusterComputeQueue, together.
    pub(super) fn guaranteed_of(&self, pool: &str) -> u64 {
        let queues = self.guaranteed.get(pool).into_iter().flat_map(BTreeMap::values);
        queues.map(|cpus| u64::from(*cpus)).sum()
    }

    /// A job joins the line of its queue, and waits nowhere else.
    pub(super) fn wait(&mut self, attempt: AttemptId, key: &QueueKey, waiting: Waiting) {
        self.leave(&attempt);
        self.of_mut(key).wait(attempt, waiting);
    }

    /// A job waits no more. Says whether it did.
    pub(super) fn leave(&mut self, attempt: &AttemptId) -> bool {
        self.all_mut().any(|admission| admission.leave(attempt))
    }

    /// An attempt holds these CPUs in this queue, and none elsewhere.
    pub(super) fn occupy(&mut self, attempt: AttemptId, key: &QueueKey, cpus: Cpus) {
        let pool = self.members.get(&key.namespace).filter(|pool| self.shared.contains_key(*pool));
        let pool = pool.cloned();
        if pool.is_some() {
            self.alone.leave(&attempt);
            self.alone.release(&attempt);
        }
        for (_, other) in self.shared.iter_mut().filter(|(name, _)| pool.as_ref() != Some(*name)) {
            other.leave(&attempt);
            other.release(&attempt);
        }
        self.of_mut(key).occupy(attempt, &key.scheduler_name(), cpus);
    }

    /// An attempt holds nothing any more.
    pub(super) fn release(&mut self, attempt: &AttemptId) {
        self.all_mut().find_map(|admission| admission.release(attempt));
    }

    /// The next grant from any pool.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Grant<AttemptId>> {
        self.all_mut().find_map(|admission| admission.next(now))
    }

    /// The next job for which attempts are to end, in any pool, and these.
    pub(super) fn preempt(&mut self, now: Timestamp) -> Option<Preempted<AttemptId>> {
        self.all_mut().find_map(|admission| admission.preempt(now))
    }

    /// What is known of an attempt that holds CPUs. `is_ending` says whether it was told to end for another job. Returns
    /// whether that may let other jobs start.
    pub(super) fn set_running(
        &mut self,
        attempt: &AttemptId,
        standing: Standing,
        is_ending: bool,
    ) -> bool {
        let mut is_news = false;
        for admission in self.all_mut().filter(|known| known.granted(attempt).is_some()) {
            is_news |= admission.set_standing(attempt, standing);
            if is_ending {
                admission.set_ending(attempt);
            } else {
                admission.spare(attempt);
            }
        }
        is_news
    }

    /// An attempt is on a node that is out of reach. Returns whether that may let other jobs start.
    pub(super) fn set_out_of_reach(&mut self, attempt: &AttemptId) -> bool {
        let mut is_news = false;
        for admission in self.all_mut().filter(|known| known.granted(attempt).is_some()) {
            is_news |= admission.set_out_of_reach(attempt);
        }
        is_news
    }

    /// The attempt for whose sake this one is to end.
    pub(super) fn preempted_by(&self, attempt: &AttemptId) -> Option<&AttemptId> {
        let all = std::iter::once(&self.alone).chain(self.shared.values());
        all.filter_map(|admission| admission.preempted_by(attempt)).next()
    }

    /// CPUs of a queue that are kept for jobs for which others have ended.
    pub(super) fn reserved_in(&self, key: &QueueKey) -> Cpus {
        self.of(key).reserved_in(&key.scheduler_name())
    }

    /// CPUs that the jobs of a queue hold, with those that are kept.
    pub(super) fn used_in(&self, key: &QueueKey) -> Cpus {
        self.of(key).used_in(&key.scheduler_name())
    }

    /// CPUs that attempts of a queue hold.
    pub(super) fn held_in(&self, key: &QueueKey) -> Cpus {
        self.of(key).held_in(&key.scheduler_name())
    }

    /// How many jobs wait in a queue.
    pub(super) fn waiting_in(&self, key: &QueueKey) -> usize {
        self.of(key).waiting_in(&key.scheduler_name())
    }

    /// The jobs that wait in a queue, in their order.
    pub(super) fn line(&self, key: &QueueKey) -> Vec<&AttemptId> {
        self.of(key).line(&key.scheduler_name())
    }

    /// CPUs of a ClusterComputeQueue that jobs hold, with those that are kept.
    pub(super) fn used_of(&self, pool: &str) -> Cpus {
        self.shared.get(pool).map_or(0, Admission::used)
    }

    /// CPUs of a ClusterComputeQueue that attempts hold, and how many jobs wait for some.
    pub(super) fn numbers_of(&self, pool: &str) -> (Cpus, usize) {
        self.shared.get(pool).map_or((0, 0), |admission| (admission.held(), admission.waiting()))
    }

    fn of(&self, key: &QueueKey) -> &Admission {
        let pool = self.members.get(&key.namespace);
        pool.and_then(|pool| self.shared.get(pool)).unwrap_or(&self.alone)
    }

    fn of_mut(&mut self, key: &QueueKey) -> &mut Admission {
        let pool = self.members.get(&key.namespace);
        pool.and_then(|pool| self.shared.get_mut(pool)).unwrap_or(&mut self.alone)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Admission> {
        std::iter::once(&mut self.alone).chain(self.shared.values_mut())
    }
}

/// Somebody else places the jobs. A queue that nobody has described grants nothing.
fn unlimited() -> Admission {
    Admission::with_open(Capacity(None), |_| false)
}
