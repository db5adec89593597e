//! What the log says of ends, once each: of an attempt, and of a job.

use tracing::info;
use windlass_core::status::{EndSummary, FailureReason};
use windlass_core::{Job, Outcome};

use crate::attempt::observe::TrackedAttempt;

/// An attempt has ended: its worker has reported so, or nothing of it runs any more. `job` is its name, or the UID of one
/// that was deleted.
pub(super) fn log_attempt(job: &str, attempt: &TrackedAttempt) {
    let TrackedAttempt { number, created, reported, exit, stopping, .. } = attempt;
    let ended = match (reported, exit) {
        (Some(ending), _) => ending.finished,
        (None, Some(exit)) => exit.at,
        (None, None) => return,
    };
    let seconds = ended.duration_since(*created).as_secs_f64();
    match (reported.as_ref().map(|ending| &ending.outcome), exit) {
        (Some(Outcome::Succeeded(_)), _) => {
            info!(job, attempt = number, seconds, "attempt succeeded");
        }
        _ if *stopping => info!(job, attempt = number, seconds, "attempt stopped"),
        (Some(Outcome::Failed { reason, exit_code, .. }), _) => {
            let reason = reason.as_str();
            info!(job, attempt = number, reason, exit_code, seconds, "attempt failed");
        }
        (None, exit) => {
            let end = exit.as_ref().map(|exit| &exit.end);
            let why = end.map_or("", |end| end.why.as_str());
            let reason = end.map_or(FailureReason::Killed, |end| end.reason).as_str();
            info!(job, attempt = number, reason, why, seconds, "attempt failed");
        }
    }
}

/// A job has ended.
pub(super) fn log_job(job: &Job) {
    if let Some(EndSummary { phase, reason, exit_code, seconds }) = job.status.summary() {
        info!(job = job.metadata.name, phase, reason, exit_code, seconds, "job ended");
    }
}
