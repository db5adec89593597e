//! How long the batch Job of an attempt that has ended for another job keeps its name. Pure.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::status::{Failure, FailureReason};
use windlass_core::{AttemptNumber, Job};

/// An attempt has ended for another job. A request to create its batch Job that was sent before may still arrive for so long.
const KEPT: Duration = Duration::from_secs(5);

/// The failure of an attempt that has ended for another job.
pub(super) fn preempted(job: &Job, attempt: AttemptNumber) -> Option<&Failure> {
    let failure = job.status.failure.as_ref()?;
    let is_its = failure.reason == FailureReason::Preempted && failure.attempt == attempt;
    is_its.then_some(failure)
}

/// How long its batch Job still keeps its name, unless its job is over.
pub(super) fn name_is_kept_for(
    job: &Job,
    attempt: AttemptNumber,
    now: Timestamp,
) -> Option<Duration> {
    let failure =
        preempted(job, attempt).filter(|_| !job.spec.cancel && !job.status.is_finished())?;
    // Another controller has told it, by its own clock.
    let since = now.duration_since(failure.time).unsigned_abs();
    KEPT.checked_sub(since).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_core::{JobSpec, Metadata};

    use super::*;
    use crate::test_times::at;

    fn ended(reason: &str, phase: &str) -> Job {
        let mut job = Job::new(Metadata::default(), JobSpec::default());
        let failure = json!({ "reason": reason, "message": "", "attempt": 2, "time": at(10) });
        job.status = serde_json::from_value(json!({ "phase": phase, "failure": failure })).unwrap();
        job
    }

    #[test]
    fn the_name_of_an_attempt_that_has_made_room_is_kept_for_five_seconds() {
        let left = |job: &Job, attempt: AttemptNumber, seconds: i64| {
            name_is_kept_for(job, attempt, at(seconds)).map(|left| left.as_secs())
        };
        let job = ended("Preempted", "Queued");
        assert_eq!([10, 14, 15].map(|now| left(&job, 2, now)), [Some(5), Some(1), None]);
        assert_eq!(left(&job, 2, -60), None, "by a clock that is a minute behind");
        assert_eq!((left(&job, 1, 10), left(&job, 3, 10)), (None, None), "other attempts");
        assert_eq!(left(&ended("Crashed", "Queued"), 2, 10), None);
        assert_eq!(left(&ended("Preempted", "Failed"), 2, 10), None, "its job is over");
        let mut cancelled = ended("Preempted", "Queued");
        cancelled.spec.cancel = true;
        assert_eq!(left(&cancelled, 2, 10), None);
    }
}
