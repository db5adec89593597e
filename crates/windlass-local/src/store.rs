//! Where changes of jobs are committed, and their watchers told.
//!
//! In memory, so far: a store that survives the process has the same few functions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windlass_core::jobs::{Filter, Page};
use windlass_core::{Error, Job, JobStatus};

/// Jobs on a page, when the caller does not say, and at most.
const PAGE: usize = 500;

/// All jobs by name. A job is shared and never changed in place: an input may be large.
#[derive(Default)]
pub(crate) struct Store {
    /// Each with its watchers; a sender that is dropped tells them that the job is gone.
    jobs: Mutex<BTreeMap<String, watch::Sender<Arc<Job>>>>,
}

impl Store {
    /// A new job. `Conflict` when its name is taken.
    pub(crate) fn insert(&self, job: Job) -> Result<Arc<Job>, Error> {
        let mut jobs = self.lock();
        let name = job.metadata.name.clone();
        if jobs.contains_key(&name) {
            return Err(Error::Conflict(format!("a job {name:?} exists already")));
        }
        let job = Arc::new(job);
        jobs.insert(name, watch::Sender::new(Arc::clone(&job)));
        Ok(job)
    }

    /// One job.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Job>> {
        self.lock().get(name).map(|entry| Arc::clone(&entry.borrow()))
    }

    /// Jobs in the order of their names.
    pub(crate) fn list(&self, filter: &Filter) -> Page {
        let limit = match filter.limit as usize {
            0 => PAGE,
            limit => limit.min(PAGE),
        };
        let after = filter.continue_from.as_deref().unwrap_or_default();
        let jobs = self.lock();
        let mut matching = jobs
            .range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
            .map(|(_, entry)| Arc::clone(&entry.borrow()))
            .filter(|job| {
                filter.function.as_ref().is_none_or(|function| *function == job.spec.function)
                    && filter.phase.is_none_or(|phase| job.status.phase == Some(phase))
            });
        let items: Vec<_> = matching.by_ref().take(limit).collect();
        let more = matching.next().is_some();
        drop(matching);
        drop(jobs);
        let items: Vec<Job> = items.into_iter().map(Arc::unwrap_or_clone).collect();
        let last = items.last().map(|job| job.metadata.name.clone());
        Page { continue_from: last.filter(|_| more), items }
    }

    /// Names of the jobs that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let jobs = self.lock();
        let names = jobs.iter().filter(|(_, entry)| !entry.borrow().status.is_finished());
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Tells a status. When the job was deleted meanwhile, nothing happens.
    pub(crate) fn tell(&self, name: &str, uid: &str, status: JobStatus) {
        let jobs = self.lock();
        let Some(entry) = jobs.get(name) else { return };
        let job = Arc::clone(&entry.borrow());
        if job.metadata.uid == uid && job.status != status {
            commit(entry, Job { status, ..Job::clone(&job) });
        }
    }

    /// Sets the latch.
    pub(crate) fn cancel(&self, name: &str) -> Option<Arc<Job>> {
        let jobs = self.lock();
        let entry = jobs.get(name)?;
        let job = Arc::clone(&entry.borrow());
        if job.spec.cancel || job.status.is_finished() {
            return Some(job);
        }
        let mut job = Job::clone(&job);
        job.spec.cancel = true;
        job.metadata.generation = job.metadata.generation.map(|number| number + 1);
        Some(commit(entry, job))
    }

    /// Forgets a job.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Job>> {
        self.lock().remove(name).map(|entry| Arc::clone(&entry.borrow()))
    }

    /// The changes of one job; the first item is the job as it is.
    pub(crate) fn watch(&self, name: &str) -> Option<watch::Receiver<Arc<Job>>> {
        self.lock().get(name).map(|entry| {
            let mut changes = entry.subscribe();
            changes.mark_changed();
            changes
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Arc<Job>>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next version of a job.
fn commit(entry: &watch::Sender<Arc<Job>>, mut job: Job) -> Arc<Job> {
    let version = job.metadata.resource_version.parse::<u64>().unwrap_or(0) + 1;
    job.metadata.resource_version = version.to_string();
    let job = Arc::new(job);
    entry.send_replace(Arc::clone(&job));
    job
}
