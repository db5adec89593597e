//! Which namespaces share the CPUs of which ClusterComputeQueue.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use windlass_core::status::Truth;
use windlass_core::{ClusterQueueSpec, Job};

use super::key::{JobRef, reference};
use super::ledger::Ledger;
use crate::condition::{Condition, READY};

type Labels = BTreeMap<String, String>;

/// The ClusterComputeQueues and the namespaces of the cluster.
#[derive(Default)]
pub(super) struct ClusterQueues {
    pub(super) by_name: BTreeMap<String, ClusterQueueState>,
    pub(super) namespaces: BTreeMap<String, KnownNamespace>,
    /// Jobs that wait until their namespace is known.
    pub(super) of_unknown: BTreeSet<JobRef>,
}

/// One namespace.
pub(super) struct KnownNamespace {
    pub(super) labels: Labels,
    pub(super) version: Option<u64>,
}

/// One ClusterComputeQueue.
pub(super) struct ClusterQueueState {
    pub(super) spec: ClusterQueueSpec,
    pub(super) generation: i64,
    pub(super) ledger: Ledger,
    /// Of those that select a namespace the older one has it.
    pub(super) created: Timestamp,
    /// Namespaces that it selects and that share the CPUs of an older one.
    pub(super) taken: BTreeSet<String>,
    /// What its status says of that.
    pub(super) told_ready: Option<Condition>,
}

/// By what those that select the same namespace are ordered: the first one has it.
pub(crate) fn precedence(created: Timestamp, name: &str) -> (Timestamp, &str) {
    (created, name)
}

/// Most namespaces that a condition names.
const MAX_NAMED: usize = 10;

impl ClusterQueueState {
    /// Whether it has the namespaces that it selects, and as many CPUs as are `guaranteed` to their queues.
    pub(super) fn ready(&self, guaranteed: u64, now: Timestamp) -> Condition {
        let cpus = u64::from(self.spec.cpus);
        let mut problems = Vec::new();
        if !self.taken.is_empty() {
            let named: Vec<_> = self.taken.iter().take(MAX_NAMED).map(String::as_str).collect();
            let more = if self.taken.len() > MAX_NAMED { " and others" } else { "" };
            let named = named.join(", ");
            let message = format!("An older ClusterComputeQueue has the namespaces {named}{more}.");
            problems.push(("NamespacesTaken", message));
        }
        if guaranteed > cpus {
            let message =
                format!("{guaranteed} CPUs are guaranteed to its queues, and it has {cpus}.");
            problems.push(("GuaranteesExceedCpus", message));
        }
        let status = Truth::from(problems.is_empty());
        let (reason, message) = match problems.first() {
            None => ("Accepted", "The namespaces that it selects share its CPUs.".to_owned()),
            Some((reason, _)) => {
                let all: Vec<_> = problems.iter().map(|(_, message)| message.as_str()).collect();
                (*reason, all.join(" "))
            }
        };
        let before = self.told_ready.as_ref().filter(|ready| ready.status == status);
        Condition {
            kind: READY.into(),
            status,
            reason: reason.into(),
            message,
            observed_generation: self.generation,
            last_transition_time: before.map_or(now, |ready| ready.last_transition_time),
        }
    }
}

impl ClusterQueues {
    pub(super) fn get(&self, name: &str) -> Option<&ClusterQueueState> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut ClusterQueueState> {
        self.by_name.get_mut(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &ClusterQueueState)> {
        self.by_name.iter()
    }

    /// Whether nobody knows yet which ClusterComputeQueue the namespace of a job has: there are some, and the namespace is
    /// new. The job is reconciled as soon as it is known.
    pub(super) fn has_to_wait(&mut self, job: &Job) -> bool {
        let is_unknown =
            !self.by_name.is_empty() && !self.namespaces.contains_key(&job.metadata.namespace);
        if is_unknown {
            self.of_unknown.insert(reference(job));
        }
        is_unknown
    }

    /// Finds the ClusterComputeQueue of a namespace, which is the oldest that selects it, and notes those that select it,
    /// too, and do not have it.
    pub(super) fn assign(&mut self, namespace: &str) -> Option<String> {
        let labels = self.namespaces.get(namespace).map(|known| &known.labels);
        let mut selecting = Vec::new();
        for (name, queue) in &mut self.by_name {
            queue.taken.remove(namespace);
            if labels.is_some_and(|labels| queue.spec.namespace_selector.selects(labels)) {
                selecting.push((name, queue));
            }
        }
        selecting.sort_by_key(|(name, queue)| precedence(queue.created, name));
        let mut selecting = selecting.into_iter();
        let first = selecting.next().map(|(name, _)| name.clone());
        for (_, queue) in selecting {
            queue.taken.insert(namespace.to_owned());
        }
        first
    }
}
