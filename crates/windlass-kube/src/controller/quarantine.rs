//! Jobs whose reconcile has panicked are left alone for a while: a defect of ours in one job must not stop the others.

use std::time::Duration;
use tokio::time::Instant;

use super::by_job::ByJob;

/// How long such a job is left alone.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(300);

/// Until when jobs are left alone, by UID.
#[derive(Default)]
pub(crate) struct Quarantine(ByJob<Instant>);

impl Quarantine {
    /// For how long a job is left alone yet.
    pub(crate) fn remaining(&self, job_uid: &str, now: Instant) -> Option<Duration> {
        let mut all = self.0.lock();
        let remaining = all.get(job_uid)?.checked_duration_since(now);
        if remaining.is_none() {
            all.remove(job_uid);
        }
        remaining
    }

    /// The reconcile that began at this time has panicked.
    pub(crate) fn add(&self, job_uid: &str, began: Instant) {
        self.0.lock().insert(job_uid.to_owned(), began + QUARANTINE);
    }

    /// The job of this UID is over or gone.
    pub(crate) fn forget(&self, job_uid: &str) {
        self.0.forget(job_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_left_alone_for_five_minutes() {
        let quarantine = Quarantine::default();
        let began = Instant::now();
        assert_eq!(quarantine.remaining("u", began), None);
        quarantine.add("u", began);
        let second = Duration::from_secs(1);
        assert_eq!(quarantine.remaining("u", began + second), Some(QUARANTINE - second));
        assert_eq!(quarantine.remaining("u", began + QUARANTINE + second), None);
    }
}
