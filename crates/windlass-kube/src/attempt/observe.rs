//! What the batch Job and the pods of an attempt tell, as core's [`Attempt`]. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_core::plan::{Attempt, AttemptState, End};
use windlass_core::report::{Ending, Outcome};
use windlass_core::status::{FailureReason, reasons};
use windlass_core::{AttemptNumber, Job};

use super::objects::{AttemptObjects, ObservedBatchJob, ObservedPod};

/// The attempts of one job, in the order of their numbers. An attempt whose batch Job was deleted before its pod was
/// seen may run: it counts as starting until the API server was asked.
pub(crate) fn attempts(
    objects: &BTreeMap<AttemptNumber, AttemptObjects>,
    now: Timestamp,
) -> Vec<Attempt> {
    let mut attempts = Vec::with_capacity(objects.len());
    for (number, objects) in objects {
        attempts.push(attempt(*number, objects, now));
    }
    attempts
}

/// Adds the attempt that the status names, as lost, if it is not among these. It is lost as well if its pod is gone.
/// The caller has asked the API server itself, not only a cache.
pub(crate) fn add_reported(
    job: &Job,
    number: AttemptNumber,
    attempts: &mut Vec<Attempt>,
    now: Timestamp,
) {
    let had_pod = job.status.pod.is_some();
    let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.number == number) else {
        attempts.push(lost(job, number, now));
        attempts.sort_by_key(|attempt| attempt.number);
        return;
    };
    if had_pod
        && attempt.is_present
        && attempt.pod.is_none()
        && !is_suspended(&attempt.state)
        && matches!(attempt.state, AttemptState::Starting { .. })
    {
        attempt.state = lost_pod(now);
    }
}

/// An attempt that the status names and of which no object exists.
fn lost(job: &Job, number: AttemptNumber, now: Timestamp) -> Attempt {
    Attempt {
        number,
        cpus: job.status.parallelism.unwrap_or(1),
        created: job.status.timeline.admitted.unwrap_or(now),
        startable_since: None,
        unschedulable_since: None,
        job: job.status.job.clone(),
        pod: job.status.pod.clone(),
        node: job.status.node.clone(),
        state: AttemptState::Ended(End::Unreported {
            reason: FailureReason::Lost,
            message: "its Job and pod are gone".into(),
            at: now,
        }),
        is_present: false,
        stopping: false,
        may_restart: false,
    }
}

/// The state of an attempt whose batch Job exists and whose pod is gone.
pub(crate) fn lost_pod(now: Timestamp) -> AttemptState {
    AttemptState::Ended(End::Unreported {
        reason: FailureReason::Lost,
        message: "its pod is gone".into(),
        at: now,
    })
}

/// Whether the attempt has no pod because its batch Job is suspended.
pub(crate) fn is_suspended(state: &AttemptState) -> bool {
    matches!(state, AttemptState::Starting { reason: Some(reason), .. }
        if reason == reasons::SUSPENDED)
}

fn attempt(number: AttemptNumber, objects: &AttemptObjects, now: Timestamp) -> Attempt {
    let (batch_job, pod) = (objects.batch_job.as_ref(), objects.telling_pod());
    let state = match pod {
        Some(pod) if pod.is_live() || objects.is_trusted(pod) => pod.state.clone(),
        Some(_) => AttemptState::Ended(End::Unreported {
            reason: FailureReason::Lost,
            message: "its batch Job is gone, so that nobody knows whose pod it was".into(),
            at: now,
        }),
        None if objects.last_pod.is_some() => lost_pod(now),
        None => state_without_pod(batch_job, now),
    };
    let is_past_deadline = batch_job.is_some_and(|batch_job| batch_job.past_deadline);
    let paused = batch_job.filter(|batch_job| batch_job.is_paused());
    let (state, paused_since) = match (state, paused) {
        (AttemptState::Ended(end), _) if is_past_deadline => {
            (AttemptState::Ended(end_at_deadline(end)), None)
        }
        // Whoever suspended it has ended its pod, and not the attempt.
        (AttemptState::Ended(end), Some(batch_job))
            if lost_at(&end).is_some() && !objects.has_placeholder() =>
        {
            (paused_state(batch_job), Some(batch_job.suspended_since.unwrap_or(now)))
        }
        (state @ AttemptState::Starting { .. }, Some(batch_job)) if pod.is_none() => {
            (state, Some(batch_job.suspended_since.unwrap_or(now)))
        }
        (state, _) => (state, None),
    };
    let created =
        batch_job.and_then(|batch_job| batch_job.created).or(pod.and_then(|pod| pod.created));
    Attempt {
        number,
        cpus: batch_job.map(|batch_job| batch_job.cpus).or(pod.map(|pod| pod.cpus)).unwrap_or(1),
        created: created.unwrap_or(now),
        startable_since: paused_since.or(pod.and_then(|pod| pod.created)),
        unschedulable_since: pod.and_then(ObservedPod::unschedulable_since),
        job: batch_job.map(|batch_job| batch_job.name.clone()),
        pod: pod.map(|pod| pod.name.clone()).or_else(|| objects.last_pod.clone()),
        node: pod.and_then(|pod| pod.node.clone()).or_else(|| objects.last_node.clone()),
        state,
        // A live pod whose batch Job is gone must be deleted as well: whoever deleted that may have left it.
        is_present: batch_job.is_some() || pod.is_some_and(|pod| pod.is_live() || pod.is_orphan()),
        stopping: batch_job
            .map_or_else(|| pod.is_some_and(|pod| pod.stopping), |batch_job| batch_job.stopping),
        // Behind a pod that never runs, its batch Job is of no use.
        may_restart: batch_job.is_some_and(|batch_job| {
            batch_job.may_make_another(objects) || objects.has_placeholder()
        }),
    }
}

/// The end of an attempt whose batch Job was past its deadline. The Job controller deletes its pod then, which else
/// is no failure of the job.
fn end_at_deadline(end: End) -> End {
    let Some(at) = lost_at(&end) else { return end };
    let message = "its batch Job took longer than its activeDeadlineSeconds".into();
    End::Unreported { reason: FailureReason::Timeout, message, at }
}

/// When an attempt was lost, if that is how it has ended.
fn lost_at(end: &End) -> Option<Timestamp> {
    match end {
        End::Reported(Ending {
            outcome: Outcome::Failed { reason: FailureReason::Lost, .. },
            finished,
            ..
        }) => Some(*finished),
        End::Unreported { reason: FailureReason::Lost, at, .. } => Some(*at),
        _ => None,
    }
}

fn paused_state(batch_job: &ObservedBatchJob) -> AttemptState {
    if !batch_job.suspended {
        // Why it is not there is asked for, as of any start without a reason.
        return AttemptState::Starting {
            reason: None,
            message: "no pod since it was resumed".into(),
        };
    }
    AttemptState::Starting {
        reason: Some(reasons::SUSPENDED.into()),
        message: "its Job is suspended, or has the parallelism 0".into(),
    }
}

fn state_without_pod(batch_job: Option<&ObservedBatchJob>, now: Timestamp) -> AttemptState {
    match batch_job.and_then(|batch_job| batch_job.failed.as_ref()) {
        Some((message, since)) => AttemptState::Ended(End::Unreported {
            reason: FailureReason::Lost,
            message: format!("its pod is gone: {message}"),
            at: since.unwrap_or(now),
        }),
        // Its pod was removed before this process has seen it.
        None if batch_job.is_some_and(|batch_job| batch_job.finished) => lost_pod(now),
        None if let Some(batch_job) = batch_job.filter(|it| it.suspended) => {
            paused_state(batch_job)
        }
        None if batch_job.is_some_and(ObservedBatchJob::had_pod) => lost_pod(now),
        None => AttemptState::Starting { reason: None, message: "no pod yet".into() },
    }
}
