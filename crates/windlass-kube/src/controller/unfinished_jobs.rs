//! Counts each end of a job once: for jobs that were seen before they had ended.

use super::by_job::ByJob;
use crate::cache::job::WatchedJob;

/// UIDs of the jobs that were seen and have not ended.
#[derive(Default)]
pub(crate) struct UnfinishedJobs(ByJob<()>);

impl UnfinishedJobs {
    /// Whether this change of a job is its end, of which nobody here knew.
    pub(crate) fn is_end(&self, job: &WatchedJob) -> bool {
        let Some(uid) = job.uid() else { return false };
        let mut open = self.0.lock();
        if job.is_finished() {
            return open.remove(uid).is_some();
        }
        open.insert(uid.to_owned(), ());
        false
    }

    /// The job of this UID is gone.
    pub(crate) fn forget(&self, job_uid: &str) {
        self.0.forget(job_uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(uid: &str, phase: &str) -> WatchedJob {
        let object = json!({ "metadata": { "uid": uid }, "spec": { "function": "f" },
            "status": { "phase": phase } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_end_counts_once_and_only_of_a_job_that_was_seen_before() {
        let jobs = UnfinishedJobs::default();
        assert!(!jobs.is_end(&job("old", "Succeeded")));
        assert!(!jobs.is_end(&job("new", "Running")));
        assert!(jobs.is_end(&job("new", "Failed")));
        assert!(!jobs.is_end(&job("new", "Failed")));
    }
}
