//! The state of the jobs, and the one place where it changes. In memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windlass_core::jobs::{Filter, Page};
use windlass_core::{Error, Job, JobStatus};

/// Jobs on a page, when the caller does not say, and at most.
const PAGE: usize = 500;

/// All jobs by name.
#[derive(Default)]
pub(crate) struct Store {
    jobs: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    job: Job,
    /// Dropped with the entry, which tells the watchers that the job is gone.
    changes: watch::Sender<Job>,
}

impl Store {
    /// A new job. `Conflict` when its name is taken.
    pub(crate) fn insert(&self, job: Job) -> Result<Job, Error> {
        let mut jobs = self.lock();
        let name = job.metadata.name.clone();
        if jobs.contains_key(&name) {
            return Err(Error::Conflict(format!("a job {name:?} exists already")));
        }
        let (changes, _) = watch::channel(job.clone());
        jobs.insert(name, Entry { job: job.clone(), changes });
        Ok(job)
    }

    /// One job.
    pub(crate) fn get(&self, name: &str) -> Option<Job> {
        self.lock().get(name).map(|entry| entry.job.clone())
    }

    /// Jobs in the order of their names.
    pub(crate) fn list(&self, filter: &Filter) -> Page {
        let jobs = self.lock();
        let limit = match filter.limit as usize {
            0 => PAGE,
            limit => limit.min(PAGE),
        };
        let after = filter.continue_from.clone().unwrap_or_default();
        let mut matching = jobs
            .range::<String, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
            .map(|(_, entry)| &entry.job)
            .filter(|job| {
                filter.function.as_ref().is_none_or(|function| *function == job.spec.function)
                    && filter.phase.is_none_or(|phase| job.status.phase == Some(phase))
            });
        let items: Vec<_> = matching.by_ref().take(limit).cloned().collect();
        let last = items.last().map(|job| job.metadata.name.clone());
        Page { continue_from: matching.next().and(last), items }
    }

    /// Jobs that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<Job> {
        let jobs = self.lock();
        jobs.values().map(|e| &e.job).filter(|job| !job.status.is_finished()).cloned().collect()
    }

    /// Tells a status.
    pub(crate) fn tell(&self, name: &str, uid: &str, status: JobStatus) {
        self.change(name, uid, |job| job.status = status);
    }

    /// Sets the latch.
    pub(crate) fn cancel(&self, name: &str) -> Option<Job> {
        let uid = self.get(name)?.metadata.uid;
        self.change(name, &uid, |job| {
            if !job.spec.cancel {
                job.spec.cancel = true;
                job.metadata.generation = job.metadata.generation.map(|number| number + 1);
            }
        });
        self.get(name)
    }

    /// Forgets a job.
    pub(crate) fn remove(&self, name: &str) -> Option<Job> {
        self.lock().remove(name).map(|entry| entry.job)
    }

    /// The changes of one job; the first item is the job as it is.
    pub(crate) fn watch(&self, name: &str) -> Option<watch::Receiver<Job>> {
        self.lock().get(name).map(|entry| {
            let mut changes = entry.changes.subscribe();
            changes.mark_changed();
            changes
        })
    }

    fn change(&self, name: &str, uid: &str, change: impl FnOnce(&mut Job)) {
        let mut jobs = self.lock();
        let Some(entry) = jobs.get_mut(name).filter(|e| e.job.metadata.uid == uid) else { return };
        let before = entry.job.clone();
        change(&mut entry.job);
        if entry.job != before {
            let version = entry.job.metadata.resource_version.parse::<u64>().unwrap_or(0) + 1;
            entry.job.metadata.resource_version = version.to_string();
            entry.changes.send_replace(entry.job.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
