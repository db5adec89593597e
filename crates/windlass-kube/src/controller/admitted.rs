//! What came of asking for CPUs.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use windlass_core::plan::AdmissionDecision;
use windlass_core::{Error, Job, JobLimits};

/// How often a waiting job is reconciled although nothing has happened to it.
pub(super) const WAITING_REQUEUE: Duration = Duration::from_secs(30);

/// What came of asking for CPUs.
pub(crate) struct Admitted<'a> {
    /// What admission says.
    pub(crate) decision: AdmissionDecision,
    /// The bounds of the job, or why it cannot run.
    pub(crate) limits: Result<JobLimits, Error>,
    /// The whole job as it is now, where it was fetched.
    pub(crate) whole: Option<Job>,
    /// When to ask again.
    pub(crate) requeue_after: Option<Duration>,
    /// Held while the status is written that says that the job waits.
    pub(crate) permit: Option<SemaphorePermit<'a>>,
}

impl Admitted<'_> {
    /// Nothing is asked of admission.
    pub(super) fn not_asked(limits: Result<JobLimits, Error>, whole: Option<Job>) -> Self {
        let decision = AdmissionDecision::NotAsked;
        Self { decision, limits, whole, requeue_after: None, permit: None }
    }

    /// The job waits for something that it needs and that is not there.
    pub(super) fn blocked(
        limits: Result<JobLimits, Error>,
        (reason, why): (&'static str, String),
    ) -> Self {
        let decision = AdmissionDecision::Blocked { reason, why, place: None };
        let requeue_after = Some(WAITING_REQUEUE);
        Self { decision, requeue_after, ..Self::not_asked(limits, None) }
    }

    pub(super) fn is_granted(&self) -> bool {
        matches!(self.decision, AdmissionDecision::Granted(_))
    }

    /// Whether the status is to say that the job waits for CPUs, or for its queue.
    pub(super) fn waits(&self) -> bool {
        matches!(
            self.decision,
            AdmissionDecision::Waiting { .. } | AdmissionDecision::Blocked { .. }
        )
    }
}
