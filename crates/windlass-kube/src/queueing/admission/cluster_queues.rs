//! ClusterComputeQueues and namespaces come, change and go.

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::ClusterAdmission;
use crate::crd::{Claim, ClusterComputeQueue};
use crate::labels::AttemptId;
use crate::queueing::ledger::LedgerKey;

impl ClusterAdmission {
    /// A ClusterComputeQueue is there, or has changed. `was_over` as for [`queue_changed`](Self::queue_changed).
    pub(crate) fn cluster_queue_changed(
        &self,
        queue: &ClusterComputeQueue,
        was_over: impl Fn(&AttemptId) -> bool,
        now: Timestamp,
    ) {
        let mut state = self.lock();
        let name = queue.metadata.name.clone().unwrap_or_default();
        let known = state.cluster_queues.get(&name);
        if known.is_some_and(|known| known.ledger.is_newer_than(&queue.metadata)) {
            return;
        }
        let concerned = state.set_cluster_queue(&name, queue);
        let status = queue.status.clone().unwrap_or_default().usage;
        let key = LedgerKey::ClusterQueue(name);
        self.adopt_claims(&mut state, &key, &status.claims, was_over, now);
        if let Some(ledger) = state.ledger_mut(&key) {
            ledger.observe(&queue.metadata, status, &self.identity, now);
        }
        concerned.into_iter().for_each(|job| self.requeue(job));
        self.grant_available(&mut state, now);
    }

    /// A ClusterComputeQueue of this UID is gone. Each queue of its namespaces has its own quota alone.
    pub(crate) fn cluster_queue_deleted(&self, name: &str, uid: &str, now: Timestamp) {
        let mut state = self.lock();
        let concerned = state.remove_cluster_queue(name, uid);
        concerned.into_iter().for_each(|job| self.requeue(job));
        self.grant_available(&mut state, now);
    }

    /// A namespace is like this; `None` when it is gone. `was_over` as for [`queue_changed`](Self::queue_changed).
    pub(crate) fn namespace_changed(
        &self,
        name: &str,
        shown: Option<&ObjectMeta>,
        was_over: impl Fn(&AttemptId) -> bool,
        now: Timestamp,
    ) {
        let mut state = self.lock();
        let before = state.scheduler.pool_of(name).map(str::to_owned);
        let concerned = state.namespace_changed(name, shown);
        concerned.into_iter().for_each(|job| self.requeue(job));
        let pool = state.scheduler.pool_of(name).map(str::to_owned);
        // Claims that were written for its queues, and meant nothing while it was elsewhere.
        if let Some(pool) = pool.filter(|pool| before.as_ref() != Some(pool)) {
            let key = LedgerKey::ClusterQueue(pool);
            let is_its = |claim: &&Claim| claim.namespace.as_deref() == Some(name);
            let ledger = state.ledger(&key);
            let claims: Vec<_> = ledger
                .map(|ledger| ledger.status.claims.iter().filter(is_its).cloned().collect())
                .unwrap_or_default();
            self.adopt_claims(&mut state, &key, &claims, was_over, now);
        }
        self.grant_available(&mut state, now);
    }
}
