//! What surrounds each reconcile: whether it is due at all, what a panic or an error means, and how it is counted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::runtime::controller::Action as Requeue;
use tokio::time::Instant;
use tracing::{debug, error, warn};
use windlass_core::{Error, JobKey};

use super::context::Context;
use super::quarantine::QUARANTINE;
use super::reconcile::reconcile;
use crate::cache::job::WatchedJob;

/// When a job is reconciled again that somebody else has written. The watch has it reconciled before, unless the watch is
/// dead.
const OVERTAKEN: Duration = Duration::from_secs(2);

/// When a job is reconciled again that was not found, or something that it needs.
const NOT_FOUND: Duration = Duration::from_secs(5);

/// Reconciles a job while this process leads. A panic is a defect of ours in one job; the others go on.
pub(crate) async fn reconcile_guarded(
    object: Arc<WatchedJob>,
    ctx: Arc<Context>,
) -> Result<Requeue, Error> {
    if !ctx.is_leading() {
        return Ok(Requeue::await_change());
    }
    let job = object.to_core();
    let began = Instant::now();
    if let Some(remaining) = ctx.quarantine.remaining(&job.metadata.uid, began) {
        return Ok(Requeue::requeue(remaining));
    }
    let reconciled = AssertUnwindSafe(reconcile(&job, &ctx)).catch_unwind().await;
    if reconciled.is_err() {
        ctx.quarantine.add(&job.metadata.uid, began);
    }
    let (outcome, next) = judge_outcome(&job.key(), reconciled);
    if let Some(outcome) = outcome {
        ctx.metrics.reconciled(outcome, began.elapsed().as_secs_f64());
    }
    next
}

/// What comes after a reconcile, and the word by which it is counted.
fn judge_outcome(
    job: &JobKey,
    reconciled: std::thread::Result<Result<Requeue, Error>>,
) -> (Option<&'static str>, Result<Requeue, Error>) {
    match reconciled {
        Ok(Ok(requeue)) => (Some("ok"), Ok(requeue)),
        // Somebody else wrote first; the watch brings what they wrote.
        Ok(Err(Error::Conflict(why))) => {
            debug!(%job, why, "overtaken");
            (Some("conflict"), Ok(Requeue::requeue(OVERTAKEN)))
        }
        // The job itself, most likely: then it is not reconciled again.
        Ok(Err(Error::NotFound { .. })) => (None, Ok(Requeue::requeue(NOT_FOUND))),
        Ok(Err(error)) => {
            let unavailable = matches!(error, Error::Unavailable { .. });
            warn!(%job, %error, "reconcile failed");
            (Some(if unavailable { "unavailable" } else { "error" }), Err(error))
        }
        Err(_) => {
            error!(%job, "reconcile panicked; the job is left alone for {QUARANTINE:?}");
            (Some("panic"), Ok(Requeue::requeue(QUARANTINE)))
        }
    }
}

/// When a job whose reconcile has failed is reconciled again.
pub(crate) fn on_error(_: Arc<WatchedJob>, error: &Error, _: Arc<Context>) -> Requeue {
    Requeue::requeue(match error {
        Error::Unavailable { retry_after, .. } | Error::Busy { retry_after, .. } => *retry_after,
        _ => Duration::from_secs(15),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_quarantines_one_job() {
        let reconcile = async { panic!("a defect") };
        let reconciled = AssertUnwindSafe(reconcile).catch_unwind().await;
        let job = JobKey { namespace: "default".into(), name: "a".into() };
        let (outcome, next) = judge_outcome(&job, reconciled);
        assert_eq!((outcome, next.unwrap()), (Some("panic"), Requeue::requeue(QUARANTINE)));
    }
}
