//! A value for each job, by its UID, behind a lock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The values.
pub(super) struct ByJob<T>(Mutex<HashMap<String, T>>);

impl<T> Default for ByJob<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByJob<T> {
    /// All of them. A panic while they were held has left a map like any other.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job of this UID is gone.
    pub(super) fn forget(&self, job_uid: &str) {
        self.lock().remove(job_uid);
    }
}
