//! What this process has written and the watch has not brought yet.
//!
//! A decision from the job as it was before our own last write could not be written: the API server would refuse it.

use windlass_core::Job;

use super::by_job::ByJob;

/// The version of each job that a write of ours has replaced, by UID, until the watch has caught up.
#[derive(Default)]
pub(crate) struct Expectations(ByJob<String>);

impl Expectations {
    /// The job was written, or is to be left alone as if it had been.
    pub(crate) fn expect_newer(&self, job: &Job) {
        let version = job.metadata.resource_version.clone();
        self.0.lock().insert(job.metadata.uid.clone(), version);
    }

    /// Whether the watch shows the job as it was before our own last write.
    pub(crate) fn is_behind(&self, job: &Job) -> bool {
        let mut replaced = self.0.lock();
        let is_behind = replaced.get(&job.metadata.uid) == Some(&job.metadata.resource_version);
        if !is_behind {
            replaced.remove(&job.metadata.uid);
        }
        is_behind
    }

    /// The job of this UID is over or gone.
    pub(crate) fn forget(&self, job_uid: &str) {
        self.0.forget(job_uid);
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn job(resource_version: &str) -> Job {
        let metadata = Metadata {
            uid: "u".into(),
            resource_version: resource_version.into(),
            ..Metadata::default()
        };
        Job::new(metadata, JobSpec::default())
    }

    #[test]
    fn the_watch_is_behind_until_it_shows_another_version() {
        let expectations = Expectations::default();
        assert!(!expectations.is_behind(&job("1")));
        expectations.expect_newer(&job("1"));
        assert!(expectations.is_behind(&job("1")));
        assert!(!expectations.is_behind(&job("2")));
        assert!(!expectations.is_behind(&job("1")), "it has caught up once");
    }
}
