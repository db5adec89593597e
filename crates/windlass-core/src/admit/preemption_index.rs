//! For which queues it may help to end attempts, without a pass over the queues or over what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::line::QueueLine;
use super::request::{Preemption, Share};
use super::running::QueuePreemption;
use crate::Cpus;

/// What decides whether attempts are ended for a job, by queue. It is that of the time of the last
/// [`update`](Self::update): a queue is looked at again once it has changed. While no queue preempts nothing is done.
#[derive(Clone, Debug, Default)]
pub(super) struct PreemptionIndex {
    /// Queues that may end attempts.
    preempting: BTreeSet<Arc<str>>,
    /// Queues that have changed since.
    changed: BTreeSet<Arc<str>>,
    /// Queues that may end attempts of their own once so many CPUs are free.
    own: BTreeSet<(Cpus, Arc<str>)>,
    /// Queues that may end attempts of others once so many CPUs are free or reclaimable.
    reclaim: BTreeSet<(Cpus, Arc<str>)>,
    /// CPUs of attempts that may be ended for the guarantees of others.
    reclaimable: u64,
    /// What is guaranteed to all queues.
    guaranteed: u64,
}

impl PreemptionIndex {
    /// Whether no queue may end attempts.
    pub(super) fn is_off(&self) -> bool {
        self.preempting.is_empty()
    }

    /// Whether this is so of any queue that may end attempts.
    pub(super) fn any(&self, mut is_so: impl FnMut(&str) -> bool) -> bool {
        self.preempting.iter().any(|name| is_so(name))
    }

    /// Whether no more is guaranteed than there is. Otherwise nobody can tell whose it is, and nobody is ended for it.
    pub(super) fn may_reclaim(&self, in_all: Cpus) -> bool {
        self.guaranteed <= u64::from(in_all)
    }

    /// CPUs of all attempts that may be ended for guarantees.
    pub(super) fn reclaimable(&self) -> u64 {
        self.reclaimable
    }

    /// A queue is to be looked at again.
    pub(super) fn mark_changed(&mut self, name: &Arc<str>) {
        if !self.is_off() && !self.changed.contains(name) {
            self.changed.insert(Arc::clone(name));
        }
    }

    /// The share of a queue has changed, which is one of all these.
    pub(super) fn set_share<'a>(
        &mut self,
        name: &Arc<str>,
        (before, share): (Share, Share),
        all: impl Iterator<Item = &'a Arc<str>>,
    ) {
        self.guaranteed -= u64::from(before.guaranteed);
        self.guaranteed += u64::from(share.guaranteed);
        let was_off = self.is_off();
        if share.preemption == Preemption::None {
            self.preempting.remove(name);
        } else {
            self.preempting.insert(Arc::clone(name));
        }
        // While it is off nobody tells what changes.
        if self.is_off() {
            self.changed.clear();
        } else if was_off {
            self.changed = all.cloned().collect();
        }
    }

    /// A queue is gone, of which this is known.
    pub(super) fn forget(&mut self, name: &Arc<str>, known: QueuePreemption) {
        self.changed.remove(name);
        self.remove(name, known);
    }

    /// From now on this is what all queues are.
    pub(super) fn update<Id: Clone + Ord>(
        &mut self,
        queues: &mut BTreeMap<Arc<str>, QueueLine<Id>>,
    ) {
        for name in std::mem::take(&mut self.changed) {
            let Some(queue) = queues.get_mut(&name) else { continue };
            let now = queue.look_at_preemption();
            let before = std::mem::replace(&mut queue.preemption, now);
            if before != now {
                self.remove(&name, before);
                self.own.extend(now.own.map(|cpus| (cpus, Arc::clone(&name))));
                self.reclaim.extend(now.reclaim.map(|cpus| (cpus, Arc::clone(&name))));
                self.reclaimable += now.reclaimable;
            }
        }
    }

    /// The queues with a job for which ending attempts may help while so many CPUs are free.
    pub(super) fn queues(&self, free: Cpus, may_reclaim: bool) -> BTreeSet<&Arc<str>> {
        let with_others = u64::from(free).saturating_add(self.reclaimable);
        let with_others = Cpus::try_from(with_others).unwrap_or(Cpus::MAX);
        let reclaim = may_reclaim && self.reclaimable > 0;
        let reclaim = self.reclaim.iter().filter(move |_| reclaim);
        let own = self.own.iter().take_while(|(cpus, _)| *cpus <= free);
        own.chain(reclaim.take_while(|(cpus, _)| *cpus <= with_others))
            .map(|(_, name)| name)
            .collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let sets = [&self.preempting, &self.changed];
        let by_cpus = [&self.own, &self.reclaim];
        sets.iter().all(|set| set.is_empty())
            && by_cpus.iter().all(|set| set.is_empty())
            && (self.reclaimable, self.guaranteed) == (0, 0)
    }

    fn remove(&mut self, name: &Arc<str>, known: QueuePreemption) {
        for (by_cpus, cpus) in [(&mut self.own, known.own), (&mut self.reclaim, known.reclaim)] {
            if let Some(cpus) = cpus {
                by_cpus.remove(&(cpus, Arc::clone(name)));
            }
        }
        self.reclaimable -= known.reclaimable;
    }
}
