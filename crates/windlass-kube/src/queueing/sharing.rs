//! A namespace gets, changes or loses the ClusterComputeQueue whose CPUs its queues share.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::cluster_queues::{ClusterQueueState, KnownNamespace};
use super::key::{JobRef, QueueKey};
use super::ledger::Ledger;
use super::state::State;
use crate::condition::ready;
use crate::crd::ClusterComputeQueue;
use crate::version::{is_older, version_of};

impl State {
    /// A namespace is like this; `None` when it is gone. The jobs that are to hear of it.
    pub(super) fn namespace_changed(
        &mut self,
        name: &str,
        shown: Option<&ObjectMeta>,
    ) -> Vec<JobRef> {
        let namespaces = &mut self.cluster_queues.namespaces;
        if let Some(shown) = shown {
            let version = version_of(shown);
            // A watch that is late shows what a list beside it has shown newer.
            if namespaces.get(name).is_some_and(|known| is_older(version, known.version)) {
                return Vec::new();
            }
            let labels = shown.labels.clone().unwrap_or_default();
            namespaces.insert(name.to_owned(), KnownNamespace { labels, version });
        } else {
            namespaces.remove(name);
        }
        let woken = self.cluster_queues.of_unknown.extract_if(.., |(here, _)| here == name);
        let mut concerned: Vec<_> = woken.collect();
        if self.assign_namespace(name) {
            concerned.extend(self.jobs_in_namespace(name));
        }
        concerned
    }

    /// A ClusterComputeQueue is there, or has changed. The jobs that are to hear of it.
    pub(super) fn set_cluster_queue(
        &mut self,
        name: &str,
        shown: &ClusterComputeQueue,
    ) -> Vec<JobRef> {
        let spec = &shown.spec.0;
        let created = shown.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let created = created.unwrap_or(Timestamp::MAX);
        self.scheduler.set_capacity(name, Some(spec.capacity()));
        let generation = shown.metadata.generation.unwrap_or_default();
        let known = self.cluster_queues.by_name.get(name);
        let same = |known: &ClusterQueueState| {
            known.created == created && known.spec.namespace_selector == spec.namespace_selector
        };
        let selects_the_same = known.is_some_and(same);
        let starts_the_same =
            known.is_some_and(|known| (known.spec.capacity() == 0) == (spec.capacity() == 0));
        let queue = ClusterQueueState {
            spec: spec.clone(),
            generation,
            created,
            ledger: Ledger::default(),
            taken: BTreeSet::new(),
            told_ready: None,
        };
        let known = self.cluster_queues.by_name.entry(name.to_owned()).or_insert(queue);
        (known.spec, known.generation, known.created) = (spec.clone(), generation, created);
        let conditions = shown.status.as_ref().map(|status| status.conditions.as_slice());
        known.told_ready = ready(conditions.unwrap_or_default()).cloned();
        let mut concerned = BTreeSet::new();
        if !selects_the_same {
            concerned.extend(self.assign_namespaces());
        }
        if !starts_the_same {
            let all = self.cluster_queues.namespaces.keys();
            let members = all.filter(|ns| self.scheduler.pool_of(ns) == Some(name));
            concerned.extend(members.cloned());
        }
        concerned.iter().flat_map(|namespace| self.jobs_in_namespace(namespace)).collect()
    }

    /// A ClusterComputeQueue is gone: its namespaces have another one, or none. The jobs that are to hear of it.
    pub(super) fn remove_cluster_queue(&mut self, name: &str, uid: &str) -> Vec<JobRef> {
        if self.cluster_queues.get(name).is_none_or(|known| known.ledger.uid != uid) {
            return Vec::new();
        }
        // What is not claimed is given up before the claims' object is forgotten.
        let members =
            self.queues.keys().filter(|key| self.scheduler.pool_of(&key.namespace) == Some(name));
        members.cloned().collect::<Vec<_>>().iter().for_each(|key| self.revert_grants_in(key));
        self.cluster_queues.by_name.remove(name);
        let moved = self.assign_namespaces();
        self.scheduler.set_capacity(name, None);
        moved.iter().flat_map(|namespace| self.jobs_in_namespace(namespace)).collect()
    }

    /// Assigns all namespaces anew. Those that have another ClusterComputeQueue now, or none any more.
    fn assign_namespaces(&mut self) -> Vec<String> {
        let all: Vec<_> = self.cluster_queues.namespaces.keys().cloned().collect();
        all.into_iter().filter(|namespace| self.assign_namespace(namespace)).collect()
    }

    /// Assigns one namespace. Whether that has changed anything. Its jobs then ask, and hold CPUs, in another pool: what
    /// is granted and not claimed is given up.
    fn assign_namespace(&mut self, namespace: &str) -> bool {
        let pool = self.cluster_queues.assign(namespace);
        if self.scheduler.pool_of(namespace) == pool.as_deref() {
            return false;
        }
        let is_here = |key: &QueueKey| key.namespace == namespace;
        let queues: Vec<_> = self.queues.keys().filter(|key| is_here(key)).cloned().collect();
        for key in &queues {
            self.revert_grants_in(key);
            self.scheduler.set_queue(key, None);
        }
        self.scheduler.set_pool_of(namespace, pool.as_deref());
        let Self { scheduler, queues: states, held, requests, .. } = self;
        for (attempt, held) in held.iter().filter(|(_, held)| is_here(&held.queue)) {
            scheduler.occupy(attempt.clone(), &held.queue, held.cpus);
        }
        for request in requests.values().filter(|request| is_here(&request.queue)) {
            if !held.contains_key(&request.attempt) {
                scheduler.wait(request.attempt.clone(), &request.queue, request.waiting.clone());
            }
        }
        for key in &queues {
            if let Some(queue) = states.get_mut(key).filter(|queue| !queue.is_gone) {
                scheduler.set_queue(key, Some(queue.spec.share()));
                queue.places_changed = true;
            }
        }
        true
    }

    fn jobs_in_namespace(&self, namespace: &str) -> Vec<JobRef> {
        let waiting = self.requests.values().map(|request| &request.job);
        waiting.filter(|(here, _)| here == namespace).cloned().collect()
    }
}
