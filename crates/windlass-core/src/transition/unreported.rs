//! Failures that no worker has reported.

use jiff::Timestamp;

use crate::AttemptNumber;
use crate::error::clip;
use crate::status::{Failure, FailureReason, JobStatus};
use crate::validate::JobLimits;

/// Longest message of a failure that no worker has reported, in bytes.
pub(super) const MAX_UNREPORTED_BYTES: usize = 4096;

/// A node has refused to start an attempt. That is tried again, as another node may not, until the start deadline
/// since the first of several refusals in a row.
pub(super) fn refused_start(
    status: &JobStatus,
    limits: &JobLimits,
    message: &str,
    attempt: AttemptNumber,
    at: Timestamp,
) -> Failure {
    let since = status.failure.as_ref().and_then(|last| last.refused_since).unwrap_or(at);
    let failed = if is_over_start_deadline(limits, since, at) {
        not_started(limits, "its nodes refuse it:", message, attempt, at)
    } else {
        failure(FailureReason::Lost, message.to_owned(), attempt, at)
    };
    Failure { refused_since: Some(since), ..failed }
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
