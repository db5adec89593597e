//! Failures that no worker has reported.

use jiff::{SignedDuration, Timestamp};

use crate::error::clip;
use crate::plan::next_try::retry_at;
use crate::plan::observed::Attempt;
use crate::status::{Failure, FailureReason, reasons};
use crate::validate::JobLimits;
use crate::{AttemptNumber, Job};

/// Longest message of a failure that no worker has reported, in bytes.
pub(super) const MAX_UNREPORTED_BYTES: usize = 4096;

/// What a kubelet says in turn of an image that it cannot pull.
pub(super) const PULLS_NO_IMAGE: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];

/// A node has refused to start an attempt. That is tried again, as another node may not, until the start deadline
/// since the first of several refusals in a row.
pub(super) fn refused_start(
    job: &Job,
    limits: &JobLimits,
    attempt: &Attempt,
    message: &str,
    at: Timestamp,
) -> Failure {
    let since = refused_since(job, attempt).unwrap_or(at);
    let failed = if is_over_start_deadline(limits, since, at) {
        not_started(limits, "its nodes refuse it:", message, attempt.number, at)
    } else {
        failure(FailureReason::Lost, message.to_owned(), attempt.number, at)
    };
    Failure { refused_since: Some(since), ..failed }
}

/// No node has room for an attempt, as its scheduler says. That is tried again, as there may be room later, until the
/// start deadline.
pub(crate) fn found_no_node(
    job: &Job,
    limits: &JobLimits,
    attempt: &Attempt,
    message: &str,
    now: Timestamp,
) -> Failure {
    let since = refused_since(job, attempt).or(attempt.startable_since).unwrap_or(attempt.created);
    let reason = FailureReason::Unschedulable;
    let failed = if is_over_start_deadline(limits, since, now) {
        not_started(limits, reason.as_str(), message, attempt.number, now)
    } else {
        failure(reason, message.to_owned(), attempt.number, now)
    };
    Failure { refused_since: Some(since), ..failed }
}

/// Reasons that every node would have: another one is of no use.
const OF_EVERY_NODE: [&str; 3] =
    ["InvalidImageName", "CreateContainerConfigError", reasons::SUSPENDED];

/// How registries say that there is no such image.
const NO_SUCH_IMAGE: [&str; 3] = ["not found", "manifest unknown", "does not exist"];

/// An attempt has a node, and has not started there within the start deadline. That is tried again once, as another node
/// may start it; so it is told as lost.
pub(crate) fn did_not_start(
    job: &Job,
    limits: &JobLimits,
    attempt: &Attempt,
    (reason, message): (Option<&str>, &str),
    now: Timestamp,
) -> Failure {
    let why = reason.unwrap_or(if message.is_empty() { "nothing said why" } else { "" });
    let failed = not_started(limits, why, message, attempt.number, now);
    let before = job.status.failure.as_ref().filter(|before| before.refused_since.is_some());
    let is_second = before.is_some_and(|before| before.reason == FailureReason::Lost);
    if is_second || attempt.node.is_none() || is_of_every_node(reason, message) {
        return failed;
    }
    let since = refused_since(job, attempt).unwrap_or(now);
    Failure { reason: FailureReason::Lost, refused_since: Some(since), ..failed }
}

fn is_of_every_node(reason: Option<&str>, message: &str) -> bool {
    let is_pull = reason.is_some_and(|reason| PULLS_NO_IMAGE.contains(&reason));
    reason.is_some_and(|reason| OF_EVERY_NODE.contains(&reason))
        || is_pull && NO_SUCH_IMAGE.iter().any(|words| message.contains(words))
}

/// The failure of a job whose attempt its node has neither started nor, for as long again, ended.
pub(crate) fn not_ended(limits: &JobLimits, failed: &Failure, now: Timestamp) -> Failure {
    let seconds = limits.start_deadline_seconds;
    let said = clip(failed.message.clone(), MAX_UNREPORTED_BYTES - 128);
    let message = format!("{said} Its node has not ended it in another {seconds} s.");
    failure(FailureReason::StartDeadline, message, failed.attempt, now)
}

/// Since when no node takes the attempts of a job, if that was so of the one before this. Since then it may have waited
/// for CPUs, which is no fault of the nodes.
fn refused_since(job: &Job, attempt: &Attempt) -> Option<Timestamp> {
    let since = job.status.failure.as_ref()?.refused_since?;
    let waited = attempt.created.duration_since(retry_at(job)?).max(SignedDuration::ZERO);
    Some(since.checked_add(waited).unwrap_or(attempt.created))
}

/// Whether the time in which a job must start is over.
pub(crate) fn is_over_start_deadline(limits: &JobLimits, since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) >= limits.start_deadline()
}

/// An attempt that did not start in time.
pub(crate) fn not_started(
    limits: &JobLimits,
    why: &str,
    message: &str,
    attempt: AttemptNumber,
    now: Timestamp,
) -> Failure {
    let seconds = limits.start_deadline_seconds;
    let said = [why, message].join(" ");
    let message = format!("did not start within {seconds} s: {}", said.trim());
    failure(FailureReason::StartDeadline, message, attempt, now)
}

/// A failure that no worker has reported.
pub(crate) fn failure(
    reason: FailureReason,
    message: String,
    attempt: AttemptNumber,
    time: Timestamp,
) -> Failure {
    let message = clip(message, MAX_UNREPORTED_BYTES);
    Failure { reason, message, exit_code: None, attempt, time, refused_since: None }
}
