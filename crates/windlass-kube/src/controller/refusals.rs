//! Starts that the API server refuses. A refusal is kept until the start succeeds or the job is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windlass_core::plan::Refusal;

use crate::labels::AttemptId;

/// By UID of the job.
#[derive(Default)]
pub(crate) struct StartRefusals(Mutex<HashMap<String, Refusal>>);

impl StartRefusals {
    /// Why this attempt of a job could not be created, when it was last tried. What was said of another attempt means
    /// nothing.
    pub(crate) fn of_attempt(&self, attempt: &AttemptId) -> Option<Refusal> {
        let all = self.lock();
        let refusal = all.get(&*attempt.job_uid);
        refusal.filter(|refusal| refusal.attempt == attempt.number).cloned()
    }

    /// A start was tried, and refused or not.
    pub(crate) fn set(&self, job_uid: &str, refusal: Option<&Refusal>) {
        let mut all = self.lock();
        match refusal {
            Some(refusal) => drop(all.insert(job_uid.to_owned(), refusal.clone())),
            None => drop(all.remove(job_uid)),
        }
    }

    /// The job of this UID is over or gone.
    pub(crate) fn forget(&self, job_uid: &str) {
        self.lock().remove(job_uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn attempt(number: u32) -> AttemptId {
        AttemptId { job_uid: "u".into(), number }
    }

    #[test]
    fn a_refusal_belongs_to_one_attempt() {
        let refusals = StartRefusals::default();
        let refusal = Refusal {
            attempt: 2,
            since: Timestamp::UNIX_EPOCH,
            reason: "Forbidden".into(),
            message: "no".into(),
            is_final: false,
        };
        refusals.set("u", Some(&refusal));
        assert_eq!(refusals.of_attempt(&attempt(2)), Some(refusal));
        assert_eq!(refusals.of_attempt(&attempt(3)), None);
        refusals.set("u", None);
        assert_eq!(refusals.of_attempt(&attempt(2)), None);
    }
}
