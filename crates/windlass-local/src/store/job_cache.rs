//! The jobs that run or are watched, as they were committed last, and their latest progress: where
//! watchers hear of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};
use windlass_core::changes::Change;
use windlass_core::live::Shown;
use windlass_core::{Error, Job};

use super::rows::DeletedJob;

/// Changes that are kept for whoever is behind.
const CHANGES: usize = 4096;

/// Jobs that are watched, and jobs that run, which are read often.
pub(crate) struct JobCache {
    /// By name. `None` while the first watcher reads the job from the database. A sender that is
    /// dropped tells its watchers that the job is gone.
    jobs: Mutex<HashMap<String, watch::Sender<Option<Shown>>>>,
    /// What happens to any job.
    changes: broadcast::Sender<Change>,
}

impl Default for JobCache {
    fn default() -> Self {
        Self { jobs: Mutex::default(), changes: broadcast::Sender::new(CHANGES) }
    }
}

impl JobCache {
    /// What happens to any job from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// A new job that waits: nobody can watch it yet, and the database has it.
    pub(crate) fn announce(&self, job: &Arc<Job>) {
        self.send_change(|| Change::Stored(Shown::new(Arc::clone(job), None)));
    }

    /// Tells whoever follows all jobs.
    fn send_change(&self, change: impl FnOnce() -> Change) {
        // The error is that the last of them has just left.
        if self.changes.receiver_count() > 0 {
            drop(self.changes.send(change()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<Shown>>>> {
        // A map of jobs is one after a panic, too.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Job>> {
        self.lock().get(name)?.borrow().as_ref().map(|shown| Arc::clone(&shown.job))
    }

    /// A change, after its commit.
    pub(crate) fn publish(&self, job: &Arc<Job>) {
        self.show(Shown { job: Arc::clone(job), live: None });
    }

    /// The same, with the progress that is not worth a commit.
    pub(crate) fn show(&self, shown: Shown) {
        let Shown { job, live } = shown;
        let mut jobs = self.lock();
        let stays = is_under_way(&job);
        let name = job.metadata.name.clone();
        let mut now = Shown::new(Arc::clone(&job), live.clone());
        match jobs.get(&name) {
            Some(entry) => {
                entry.send_modify(|shown| {
                    // A commit has the progress that was shown before it.
                    let live = live.or_else(|| shown.take()?.live);
                    now = Shown::new(Arc::clone(&job), live);
                    *shown = Some(now.clone());
                });
                if !stays && entry.is_closed() {
                    jobs.remove(&name);
                }
            }
            // Who asks for a job that runs finds it here, with its progress.
            None if stays => {
                jobs.insert(name, watch::Sender::new(Some(now.clone())));
            }
            None => {}
        }
        self.send_change(|| Change::Stored(now));
    }

    /// A new job whose caller waits for its end and is about to watch it: then nobody reads it from the database.
    pub(crate) fn keep(&self, job: &Arc<Job>) {
        let waits = || watch::Sender::new(Some(Shown::new(Arc::clone(job), None)));
        if !job.status.is_finished() {
            self.lock().entry(job.metadata.name.clone()).or_insert_with(waits);
        }
    }

    /// What the first watcher has read. A change that came meanwhile is newer.
    pub(crate) fn fill(&self, job: Arc<Job>) {
        if let Some(entry) = self.lock().get(&job.metadata.name) {
            entry.send_if_modified(|value| {
                let empty = value.is_none();
                if empty {
                    *value = Some(Shown::new(job, None));
                }
                empty
            });
        }
    }

    /// A job was deleted.
    pub(crate) fn remove(&self, job: &DeletedJob) {
        let mut jobs = self.lock();
        jobs.remove(&job.name);
        self.send_change(|| Change::Deleted { name: job.name.clone(), uid: job.uid.to_string() });
    }

    pub(crate) fn watch(cache: &Arc<Self>, name: &str) -> JobWatcher {
        let mut jobs = cache.lock();
        let entry = jobs.entry(name.to_owned()).or_insert_with(|| watch::Sender::new(None));
        let mut changes = entry.subscribe();
        changes.mark_changed();
        drop(jobs);
        JobWatcher { cache: Arc::clone(cache), name: name.to_owned(), changes: Some(changes) }
    }

    /// Forgets a job that nobody watches and that is not running: the database has it.
    fn release(&self, name: &str) {
        let mut jobs = self.lock();
        let idle = |entry: &watch::Sender<Option<Shown>>| {
            entry.is_closed() && !entry.borrow().as_ref().is_some_and(|it| is_under_way(&it.job))
        };
        if jobs.get(name).is_some_and(idle) {
            jobs.remove(name);
        }
    }
}

/// Whether a job has an attempt and has not ended. There are few of them, and many that wait.
fn is_under_way(job: &Job) -> bool {
    !job.status.is_finished() && job.status.attempt.is_some()
}

/// The changes of one job.
pub(crate) struct JobWatcher {
    cache: Arc<JobCache>,
    name: String,
    /// Always there until the end: taken by `drop`, so that it does not count any more.
    changes: Option<watch::Receiver<Option<Shown>>>,
}

impl JobWatcher {
    pub(crate) fn has_value(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.borrow().is_some())
    }

    /// The job after its next change.
    pub(crate) async fn changed(&mut self) -> Result<Shown, Error> {
        let gone = || Error::no_job(&self.name);
        let changes = self.changes.as_mut().ok_or_else(gone)?;
        loop {
            changes.changed().await.map_err(|_| gone())?;
            if let Some(shown) = changes.borrow_and_update().clone() {
                return Ok(shown);
            }
        }
    }
}

impl Drop for JobWatcher {
    fn drop(&mut self) {
        self.changes = None;
        self.cache.release(&self.name);
    }
}
