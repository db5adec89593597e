//! Batch Jobs of ended jobs stay until they say how they have ended.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_core::plan::Action;
use windlass_core::{AttemptNumber, Job, JobStatus};

use super::context::Context;

/// A batch Job of an ended job is removed at the latest after this time, be its end told or not.
const UNTOLD: SignedDuration = SignedDuration::from_secs(10);

/// What an ended job leaves is removed once its batch Job says how it has ended. Its pod ends by itself, and is gone then
/// with one write. When to reconcile again, if something was left for then.
pub(super) fn hold_untold_ends(
    job: &Job,
    actions: &mut Vec<Action>,
    ctx: &Context,
    now: Timestamp,
) -> Option<Duration> {
    let finished = job.status.timeline.finished.filter(|_| job.status.is_finished())?;
    let left = UNTOLD - now.duration_since(finished);
    if job.spec.cancel || !left.is_positive() {
        return None;
    }
    let before = actions.len();
    let is_untold = |attempt| {
        let objects = ctx.attempts.objects(&job.metadata.uid, attempt);
        ends_by_itself(&job.status, attempt) && objects.is_some_and(|objects| objects.is_untold())
    };
    actions.retain(|action| !action.removed().is_some_and(is_untold));
    (actions.len() < before).then_some(left.unsigned_abs())
}

/// Whether the status tells the end of this attempt as its worker or its pod did. One that did not start in time, or
/// gives its CPUs back, may run yet.
fn ends_by_itself(status: &JobStatus, attempt: AttemptNumber) -> bool {
    let failure = status.failure.as_ref();
    let is_told_early =
        failure.is_some_and(|failure| failure.attempt == attempt && failure.is_told_early());
    status.attempt == Some(attempt) && !is_told_early
}
