//! The objects of all attempts, by job, as the watches of batch Jobs and pods have brought them, or lists beside them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::AttemptNumber;
use windlass_core::plan::Attempt;

use super::watch::Change;
use crate::attempt::objects::{AttemptObjects, ObservedPod, read_batch_job, read_pod};
use crate::attempt::observe;
use crate::labels::{AttemptId, AttemptLabels};

/// So many deleted objects are remembered, so that an older list does not bring them back.
const REMEMBERED: usize = 4096;

/// All attempts that have objects. A question about one job costs what that job has, not what there is.
#[derive(Default)]
pub(crate) struct AttemptCache(Mutex<State>);

#[derive(Default)]
struct State {
    /// By UID of the job.
    jobs: HashMap<Arc<str>, BTreeMap<AttemptNumber, AttemptObjects>>,
    /// By UID of a batch Job or pod, the attempt that it belongs to.
    owners: HashMap<String, AttemptLabels>,
    /// UIDs of deleted objects, the latest last.
    gone: VecDeque<String>,
    is_gone: HashSet<String>,
    /// UIDs of objects that a list beside the watches has found and no watch has shown. If such an object is deleted
    /// before its watch begins again, no watch ever tells so.
    unconfirmed: HashSet<String>,
}

/// What a change means for one attempt.
#[derive(Clone, Debug)]
pub(crate) struct ChangedAttempt {
    /// Which attempt it is.
    pub labels: AttemptLabels,
    /// Whether processes of it may run.
    pub is_live: bool,
}

/// A pod of an attempt, by its name.
#[derive(Clone, Debug)]
pub(crate) struct NamedPod {
    /// Whose it is.
    pub labels: AttemptLabels,
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
}

impl AttemptCache {
    /// Takes in a change of a batch Job. `None` when it changes no attempt.
    pub(crate) fn batch_job_changed(
        &self,
        change: &Change<batch::Job>,
        now: Timestamp,
    ) -> Option<ChangedAttempt> {
        match change {
            Change::Applied(object) => {
                let (labels, batch_job) = read_batch_job(object)?;
                self.lock()
                    .change(object.uid()?, labels, |objects| objects.batch_job_seen(batch_job, now))
            }
            Change::Deleted(gone) => self.lock().object_deleted(&gone.uid),
            Change::Listed | Change::Failed => None,
        }
    }

    /// Takes in a change of a pod. `None` when it changes no attempt.
    pub(crate) fn pod_changed(
        &self,
        change: &Change<core_v1::Pod>,
        now: Timestamp,
    ) -> Option<ChangedAttempt> {
        match change {
            Change::Applied(pod) => {
                let uid = pod.uid()?;
                let (labels, observed) = read_pod(pod, now)?;
                self.lock().change(uid.clone(), labels, |objects| {
                    objects.last_pod = Some(observed.name().to_owned());
                    objects.last_node =
                        observed.node().map(str::to_owned).or(objects.last_node.take());
                    objects.pods.insert(uid, observed);
                })
            }
            Change::Deleted(gone) => self.lock().object_deleted(&gone.uid),
            Change::Listed | Change::Failed => None,
        }
    }

    /// Whether neither this object nor its deletion is known. Then a list that was made beside the watches tells
    /// something new; otherwise the watch knows better, or will.
    pub(crate) fn is_unknown<K: kube::Resource>(&self, object: &K) -> bool {
        let state = self.lock();
        let known = |uid: &String| state.owners.contains_key(uid) || state.is_gone.contains(uid);
        object.meta().uid.as_ref().is_some_and(|uid| !known(uid))
    }

    /// Whether an object of an attempt that has this UID was deleted, as far as is remembered.
    pub(crate) fn was_deleted(&self, uid: &str) -> bool {
        self.lock().is_gone.contains(uid)
    }

    /// This object was found by a list beside the watches. It is in doubt until a watch shows it, too.
    pub(crate) fn mark_unconfirmed(&self, uid: String) {
        self.lock().unconfirmed.insert(uid);
    }

    /// A watch has shown this object.
    pub(crate) fn confirm(&self, uid: &str) {
        let mut state = self.lock();
        if !state.unconfirmed.is_empty() {
            state.unconfirmed.remove(uid);
        }
    }

    /// Whether this object is here.
    fn contains(&self, uid: &str) -> bool {
        self.lock().owners.contains_key(uid)
    }

    /// Forgets the objects of an attempt that no watch has shown and that the API server, in what was `found` just
    /// now, does not have.
    pub(crate) fn forget_unconfirmed(
        &self,
        attempt: &AttemptId,
        found: &Self,
    ) -> Vec<ChangedAttempt> {
        let mut state = self.lock();
        let is_of_attempt =
            |uid: &&String| state.owners.get(*uid).is_some_and(|o| o.attempt == *attempt);
        let gone =
            state.unconfirmed.iter().filter(is_of_attempt).filter(|uid| !found.contains(uid));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().filter_map(|uid| state.object_deleted(uid)).collect()
    }

    /// Pods whose batch Jobs were deleted without them.
    pub(crate) fn orphaned_pods(&self) -> Vec<NamedPod> {
        self.pods_that(|pod| pod.is_orphan() && pod.is_to_be_deleted())
    }

    /// Pods that only containers beside the function hold up.
    pub(crate) fn held_pods(&self, now: Timestamp) -> Vec<NamedPod> {
        self.pods_that(|pod| pod.is_held(now))
    }

    fn pods_that(&self, are_wanted: impl Fn(&ObservedPod) -> bool) -> Vec<NamedPod> {
        let state = self.lock();
        let all = state.jobs.values().flat_map(BTreeMap::values);
        let pods = all.flat_map(|objects| &objects.pods).filter(|(_, pod)| are_wanted(pod));
        let named = pods.filter_map(|(uid, pod)| {
            let labels = state.owners.get(uid)?.clone();
            Some(NamedPod { labels, uid: uid.clone(), name: pod.name().to_owned() })
        });
        named.collect()
    }

    /// The attempts of a job, in the order of their numbers.
    pub(crate) fn attempts(&self, job_uid: &str, now: Timestamp) -> Vec<Attempt> {
        let state = self.lock();
        state.jobs.get(job_uid).map_or_else(Vec::new, |objects| observe::attempts(objects, now))
    }

    /// The objects of an attempt, if there are any.
    pub(crate) fn objects(&self, job_uid: &str, number: AttemptNumber) -> Option<AttemptObjects> {
        self.lock().jobs.get(job_uid)?.get(&number).cloned()
    }

    /// An attempt is to go whose batch Job is there and whose pod was never seen. Since when, by the first who has said so.
    pub(crate) fn ask_removal(
        &self,
        job_uid: &str,
        number: AttemptNumber,
        now: Timestamp,
    ) -> Timestamp {
        let mut state = self.lock();
        let objects = state.jobs.get_mut(job_uid).and_then(|objects| objects.get_mut(&number));
        objects.map_or(now, |objects| *objects.removal_asked.get_or_insert(now))
    }

    /// The batch Job of this UID was suspended, and had no pod then: it needs no CPUs.
    pub(crate) fn has_no_pod(
        &self,
        job_uid: &str,
        number: AttemptNumber,
        batch_job_uid: &str,
    ) -> Option<ChangedAttempt> {
        let mut state = self.lock();
        let labels = state.owners.get(batch_job_uid)?.clone();
        let objects = state.jobs.get_mut(job_uid)?.get_mut(&number)?;
        let batch_job = objects.batch_job.as_ref()?;
        objects.is_podless = batch_job.uid() == batch_job_uid && batch_job.has_suspended;
        Some(ChangedAttempt { labels, is_live: objects.is_live() })
    }

    /// Attempts whose end only the API server can tell: their batch Jobs are gone and their pods were never seen, or
    /// no watch has shown their objects.
    pub(crate) fn in_doubt(&self) -> Vec<AttemptId> {
        let state = self.lock();
        let all = state.jobs.iter().flat_map(|(job_uid, objects)| {
            objects
                .iter()
                .filter(|(_, objects)| objects.is_empty())
                .map(|(number, _)| AttemptId { job_uid: Arc::clone(job_uid), number: *number })
        });
        let listed = state.unconfirmed.iter().filter_map(|uid| state.owners.get(uid));
        all.chain(listed.map(|labels| labels.attempt.clone())).collect()
    }

    /// Forgets an attempt of which the API server has nothing. False when a watch has shown something of it since.
    pub(crate) fn forget_if_gone(&self, attempt: &AttemptId) -> bool {
        let mut state = self.lock();
        let objects =
            state.jobs.get(&attempt.job_uid).and_then(|objects| objects.get(&attempt.number));
        let is_gone = objects.is_none_or(AttemptObjects::is_empty);
        if is_gone {
            state.forget(attempt);
        }
        is_gone
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has left a map like any other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(
        &mut self,
        uid: String,
        labels: AttemptLabels,
        change: impl FnOnce(&mut AttemptObjects),
    ) -> Option<ChangedAttempt> {
        let AttemptId { job_uid, number } = &labels.attempt;
        let objects = self.jobs.entry(Arc::clone(job_uid)).or_default().entry(*number).or_default();
        change(objects);
        let is_live = objects.is_live();
        let mut changed = ChangedAttempt { labels: labels.clone(), is_live };
        // Whoever may create pods may give them any labels.
        if let Some(batch_job) = &objects.batch_job {
            changed.labels.cpus = batch_job.cpus;
            changed.labels.queue.clone_from(&batch_job.queue);
        }
        if objects.is_empty() {
            self.owners.remove(&uid);
            if !is_live {
                self.forget(&labels.attempt);
            }
        } else {
            self.owners.insert(uid, labels);
        }
        Some(changed)
    }

    fn object_deleted(&mut self, uid: &str) -> Option<ChangedAttempt> {
        if self.is_gone.insert(uid.to_owned()) {
            self.gone.push_back(uid.to_owned());
        }
        if self.gone.len() > REMEMBERED
            && let Some(oldest) = self.gone.pop_front()
        {
            self.is_gone.remove(&oldest);
        }
        self.unconfirmed.remove(uid);
        let labels = self.owners.remove(uid)?;
        let changed = self.change(uid.to_owned(), labels, |objects| {
            objects.batch_job.take_if(|batch_job| batch_job.uid() == uid);
            objects.pods.remove(uid);
        });
        self.owners.remove(uid);
        changed
    }

    fn forget(&mut self, attempt: &AttemptId) {
        if let Some(objects) = self.jobs.get_mut(&attempt.job_uid) {
            objects.remove(&attempt.number);
            if objects.is_empty() {
                self.jobs.remove(&attempt.job_uid);
            }
        }
    }
}

#[cfg(test)]
mod tests;
