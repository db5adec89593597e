//! How long the batch Job of an attempt that has ended for another job keeps its name. Pure.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::plan::Action;
use windlass_core::status::{Failure, FailureReason};
use windlass_core::{AttemptNumber, Job};

/// How long a request to create a batch Job may be on its way whose attempt has ended for another job meanwhile.
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
    let since = Duration::try_from(now.duration_since(failure.time)).unwrap_or_default();
    KEPT.checked_sub(since).filter(|left| !left.is_zero())
}

/// When to reconcile again although no watch may tell anything: the node of a pod that is deleted may never say its end.
pub(super) fn names_kept_for(job: &Job, actions: &[Action], now: Timestamp) -> Option<Duration> {
    let kept = actions.iter().filter_map(|action| match action {
        Action::Remove { attempt } => name_is_kept_for(job, *attempt, now),
        Action::Start { .. } | Action::Expire => None,
    });
    kept.min()
}
