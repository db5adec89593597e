//! The jobs that somebody looks at, as they were committed last: where watchers hear of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windlass_core::{Error, Job};

/// Jobs that are watched, or that run and are asked for often.
#[derive(Default)]
pub(crate) struct Board {
    /// By name. `None` while the first watcher reads the job from the database. A sender that is
    /// dropped tells its watchers that the job is gone.
    jobs: Mutex<HashMap<String, watch::Sender<Option<Arc<Job>>>>>,
}

impl Board {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Job>> {
        self.lock().get(name)?.borrow().clone()
    }

    /// A change, after its commit.
    pub(crate) fn publish(&self, job: &Arc<Job>) {
        let mut jobs = self.lock();
        let finished = job.status.is_finished();
        match jobs.get(&job.metadata.name) {
            Some(entry) => {
                entry.send_replace(Some(Arc::clone(job)));
                if finished && entry.is_closed() {
                    jobs.remove(&job.metadata.name);
                }
            }
            // Who asks for a job that runs finds it here, with its progress.
            None if !finished => {
                let entry = watch::Sender::new(Some(Arc::clone(job)));
                jobs.insert(job.metadata.name.clone(), entry);
            }
            None => {}
        }
    }

    /// What the first watcher has read. A change that came meanwhile is newer.
    pub(crate) fn fill(&self, job: Arc<Job>) {
        if let Some(entry) = self.lock().get(&job.metadata.name) {
            entry.send_if_modified(|value| {
                let empty = value.is_none();
                if empty {
                    *value = Some(job);
                }
                empty
            });
        }
    }

    /// A job was deleted.
    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    pub(crate) fn watch(board: &Arc<Self>, name: &str) -> Watcher {
        let mut jobs = board.lock();
        let entry = jobs.entry(name.to_owned()).or_insert_with(|| watch::Sender::new(None));
        let mut changes = entry.subscribe();
        changes.mark_changed();
        drop(jobs);
        Watcher { board: Arc::clone(board), name: name.to_owned(), changes: Some(changes) }
    }

    /// Forgets a job that nobody watches and that is not running: the database has it.
    fn release(&self, name: &str) {
        let mut jobs = self.lock();
        let idle = |entry: &watch::Sender<Option<Arc<Job>>>| {
            let waits_or_has_ended = entry
                .borrow()
                .as_ref()
                .is_none_or(|job| job.status.is_finished() || job.status.attempt.is_none());
            entry.is_closed() && waits_or_has_ended
        };
        if jobs.get(name).is_some_and(idle) {
            jobs.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<Arc<Job>>>>> {
        // A map of jobs is one after a panic, too.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes of one job.
pub(crate) struct Watcher {
    board: Arc<Board>,
    name: String,
    /// Always there until the end: taken by `drop`, so that it does not count any more.
    changes: Option<watch::Receiver<Option<Arc<Job>>>>,
}

impl Watcher {
    pub(crate) fn has_value(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.borrow().is_some())
    }

    /// The job after its next change.
    pub(crate) async fn next(&mut self) -> Result<Arc<Job>, Error> {
        let gone = || Error::no_job(&self.name);
        let changes = self.changes.as_mut().ok_or_else(gone)?;
        loop {
            changes.changed().await.map_err(|_| gone())?;
            if let Some(job) = changes.borrow_and_update().clone() {
                return Ok(job);
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.changes = None;
        self.board.release(&self.name);
    }
}
