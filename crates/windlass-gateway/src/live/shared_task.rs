//! Tasks that several streams share, by a key. Each goes on as long as somebody keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::AbortHandle;

/// The tasks that somebody keeps: as many as there are open streams, at most.
pub(crate) struct SharedTasks<T>(Mutex<HashMap<String, Weak<SharedTask<T>>>>);

/// One task, which is aborted when this is dropped.
pub(crate) struct SharedTask<T> {
    tasks: Weak<SharedTasks<T>>,
    key: String,
    /// How it is heard.
    pub(super) heard: T,
    task: AbortHandle,
}

impl<T> Default for SharedTasks<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> SharedTasks<T> {
    /// The task of this key, which another stream may have started already. `start` gives how a new one is heard, and what
    /// it does.
    pub(super) fn find_or_start<F>(
        self: &Arc<Self>,
        key: &str,
        start: impl FnOnce() -> (T, F),
    ) -> Arc<SharedTask<T>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has met an end or an error is over, even while streams still read what it has told.
        let is_open = |shared: &Arc<SharedTask<T>>| !shared.task.is_finished();
        if let Some(shared) = tasks.get(key).and_then(Weak::upgrade).filter(is_open) {
            return shared;
        }
        let (heard, task) = start();
        let shared = Arc::new(SharedTask {
            tasks: Arc::downgrade(self),
            key: key.to_owned(),
            heard,
            task: tokio::spawn(task).abort_handle(),
        });
        tasks.insert(key.to_owned(), Arc::downgrade(&shared));
        shared
    }
}

impl<T> Drop for SharedTask<T> {
    fn drop(&mut self) {
        self.task.abort();
        let Some(tasks) = self.tasks.upgrade() else { return };
        let mut tasks = tasks.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another task of the same key may have been started.
        if tasks.get(&self.key).is_some_and(|shared| shared.strong_count() == 0) {
            tasks.remove(&self.key);
        }
    }
}
