//! The attempts of a job: from the cache, and from the API server where the cache may be behind.

use jiff::Timestamp;
use windlass_core::plan::Attempt;
use windlass_core::report::is_settled;
use windlass_core::{Error, Job};

use super::context::Context;
use super::list_live::list_attempts_of;
use super::lost_attempt::check_lost_attempt;
use super::unschedulable::gives_back;
use crate::attempt::observe;

/// The attempts of a job.
pub(super) struct FetchedAttempts {
    /// In the order of their numbers.
    pub(super) attempts: Vec<Attempt>,
    /// Whether the last one has a pod that no watch shows.
    pub(super) is_unlabelled: bool,
}

/// The attempts as far as they are known. A lost attempt counts as lost only if its Node object exists, or if deleted
/// nodes are fenced.
pub(super) async fn fetch_attempts(
    job: &Job,
    ctx: &Context,
    now: Timestamp,
) -> Result<FetchedAttempts, Error> {
    let mut attempts = ctx.attempts.attempts(&job.metadata.uid, now);
    let mut is_unlabelled = false;
    if job.status.is_finished() {
        return Ok(FetchedAttempts { attempts, is_unlabelled });
    }
    // A watch of pods that is behind, or down, has not shown the pod of an attempt whose batch Job or status is known.
    // One whose pod has a node by now does not give its CPUs back.
    let may_lack = |attempt| {
        lacks_its_pod(job, attempt)
            || is_settled_pause(job, attempt)
            || gives_back(job, attempt, ctx, now)
    };
    let reported = job.status.attempt;
    let is_missing = |number| attempts.iter().all(|attempt| attempt.number != number);
    if attempts.last().is_some_and(may_lack) || reported.is_some_and(is_missing) {
        attempts = list_attempts_of(job, ctx, now).await?;
    }
    // What has failed does not go on, whoever resumes its batch Job.
    for attempt in attempts.iter_mut().filter(|attempt| is_settled_pause(job, attempt)) {
        attempt.state = observe::lost_pod(now);
    }
    if let Some(number) = reported {
        observe::add_reported(job, number, &mut attempts, now);
    }
    if let Some(attempt) = attempts.last_mut() {
        is_unlabelled = check_lost_attempt(job, attempt, ctx, now).await?;
    }
    Ok(FetchedAttempts { attempts, is_unlabelled })
}

/// Whether no pod of this attempt was ever seen here, though there must have been one; or a pod has ended whose batch
/// Job was not seen, so that it is not believed.
fn lacks_its_pod(job: &Job, attempt: &Attempt) -> bool {
    let is_reported = job.status.attempt == Some(attempt.number) && job.status.pod.is_some();
    !is_settled(&job.status, attempt.number)
        && match &attempt.pod {
            None => attempt.is_present && (is_reported || !attempt.is_live()),
            Some(_) => attempt.job.is_none() && !attempt.is_live(),
        }
}

/// Whether the status tells the failure of this attempt, and its batch Job is suspended.
fn is_settled_pause(job: &Job, attempt: &Attempt) -> bool {
    is_settled(&job.status, attempt.number) && observe::is_suspended(&attempt.state)
}
