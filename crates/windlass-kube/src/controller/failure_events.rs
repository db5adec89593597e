//! Which failures of attempts have an Event already. Each failed attempt has one, whoever wrote its failure into the
//! status: this process, or a gateway that had the worker's report.

use windlass_core::status::Failure;
use windlass_core::{AttemptNumber, Job};

use super::by_job::ByJob;
use crate::cache::job::WatchedJob;

/// The latest failed attempt of each job that has an Event, by UID; 0 for none. A job that had failed before it was
/// first seen has one.
#[derive(Default)]
pub(crate) struct FailureEvents(ByJob<AttemptNumber>);

impl FailureEvents {
    /// The watch has shown a job. While another process leads, that one publishes the Events.
    pub(crate) fn job_changed(&self, job: &WatchedJob, leads: bool) {
        let Some(uid) = job.uid() else { return };
        let failed = job.failure().map_or(0, failed_attempt);
        let mut all = self.0.lock();
        let published = all.entry(uid.to_owned()).or_insert(failed);
        if !leads {
            *published = failed;
        }
    }

    /// This failure gets its Event now. False when it has one already.
    pub(crate) fn mark_published(&self, job: &Job, failure: &Failure) -> bool {
        let mut all = self.0.lock();
        let published = all.entry(job.metadata.uid.clone()).or_default();
        let failed = failed_attempt(failure);
        let is_new = *published < failed;
        *published = failed.max(*published);
        is_new
    }

    /// The job of this UID is over or gone.
    pub(crate) fn forget(&self, job_uid: &str) {
        self.0.forget(job_uid);
    }
}

/// The attempt that failed. An `Invalid` job has none; its failure counts as that of the first.
fn failed_attempt(failure: &Failure) -> AttemptNumber {
    failure.attempt.max(1)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use windlass_core::status::FailureReason;
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn failure(attempt: AttemptNumber) -> Failure {
        let reason = FailureReason::Crashed;
        let time = Timestamp::UNIX_EPOCH;
        Failure { reason, message: "".into(), exit_code: None, attempt, time, refused_since: None }
    }

    fn watched(failed: Option<AttemptNumber>) -> WatchedJob {
        let object = json!({ "metadata": { "uid": "u" }, "spec": { "function": "f" },
            "status": { "failure": failed.map(failure) } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn each_failed_attempt_has_one_event() {
        let job = Job::new(Metadata { uid: "u".into(), ..Metadata::default() }, JobSpec::default());
        let events = FailureEvents::default();
        events.job_changed(&watched(None), true);
        assert!(events.mark_published(&job, &failure(1)));
        assert!(!events.mark_published(&job, &failure(1)));
        assert!(events.mark_published(&job, &failure(2)));
        // Another process leads and publishes the third.
        events.job_changed(&watched(Some(3)), false);
        assert!(!events.mark_published(&job, &failure(3)));
    }

    #[test]
    fn a_failure_from_before_the_job_was_first_seen_has_its_event() {
        let job = Job::new(Metadata { uid: "u".into(), ..Metadata::default() }, JobSpec::default());
        let events = FailureEvents::default();
        events.job_changed(&watched(Some(1)), true);
        assert!(!events.mark_published(&job, &failure(1)));
        assert!(events.mark_published(&job, &failure(2)));
    }
}
