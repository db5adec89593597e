//! Whether a failed attempt is tried again. Which reasons are at all is in [`FailureReason`](crate::status::FailureReason).

use super::unreported::MAX_UNREPORTED_BYTES;
use crate::error::clip;
use crate::status::{ConditionType, Failure, FailureReason, reasons};
use crate::validate::JobLimits;
use crate::{AttemptNumber, JobSpec, JobStatus, Phase};

/// Most attempts of a job, whatever each has failed of. What is lost so often is lost again. With the back-off
/// between them they take more than three hours.
pub(crate) const MAX_ATTEMPTS: AttemptNumber = 200;

impl JobStatus {
    /// Settles a failed attempt: the job ends, or waits for its next attempt.
    pub(super) fn fail(&mut self, spec: &JobSpec, limits: &JobLimits, mut failure: Failure) {
        let reason = failure.reason;
        if reason.counts() && failure.attempt > 0 {
            self.retries += 1;
        }
        // `retries` counts failures; the first attempt is no retry.
        let mut is_tried_again = is_retried(reason, spec) && self.retries <= limits.retries;
        if is_tried_again && failure.attempt >= MAX_ATTEMPTS {
            is_tried_again = false;
            let said = clip(failure.message, MAX_UNREPORTED_BYTES);
            failure.message = format!("no more than {MAX_ATTEMPTS} attempts are made: {said}");
        }
        let time = failure.time;
        let message = failure.message.clone();
        let failure = self.failure.insert(failure);
        self.waiting = None;
        if is_tried_again {
            self.timeline.remember(failure);
            self.phase = Some(Phase::Queued);
            self.set_condition(ConditionType::Running, false, reason.as_str(), &message, time);
            let why = match reason {
                FailureReason::Unschedulable => {
                    "no node had room for it: its CPUs were given back, and it waits for its next attempt"
                }
                FailureReason::Preempted => {
                    "was ended for another job, and waits for its next attempt"
                }
                _ => "waits for its next attempt",
            };
            for (kind, status) in
                [(ConditionType::Admitted, false), (ConditionType::Reconciling, true)]
            {
                self.set_condition(kind, status, reasons::RETRYING, why, time);
            }
        } else {
            self.end(Phase::Failed, reason.as_str(), &message, time);
        }
    }
}

/// Whether another attempt is wanted. An error of the function would come again, unless the job itself says that it may
/// not: the default of retries, and a function's, are for ends that another attempt can change.
fn is_retried(reason: FailureReason, spec: &JobSpec) -> bool {
    reason.is_retried() || reason == FailureReason::FunctionError && spec.retries.is_some()
}
