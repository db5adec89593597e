//! Whether a batch Job may get a pod that nobody has seen yet, and which suspension excludes that. Pure.

use k8s_openapi::api::batch::v1 as batch;

use super::objects::{AttemptObjects, ObservedBatchJob, ObservedPod};

impl AttemptObjects {
    /// Whether the Job controller may make a pod of its batch Job that nobody here has seen, also when that is deleted: its
    /// cache may be old. A pod that this controller makes is no such pod.
    pub(crate) fn may_get_late_pod(&self) -> bool {
        let may_get = |batch_job: &ObservedBatchJob| {
            batch_job.is_open()
                && !batch_job.stopping
                && !batch_job.is_managed()
                && !batch_job.is_standby
        };
        // One that is suspended had its pod, and gets another when somebody resumes it.
        let is_next_unseen =
            |batch_job: &ObservedBatchJob| self.last_pod.is_none() || batch_job.is_paused();
        !self.is_podless
            && !self.pods.values().any(ObservedPod::is_live)
            && self.batch_job.as_ref().is_some_and(|one| may_get(one) && is_next_unseen(one))
    }
}

/// Whether a batch Job is suspended because it is to be deleted. It has no parallelism either: whoever has it go on by
/// `suspend` alone starts nothing.
pub(super) fn is_told_to_suspend(object: &batch::Job) -> bool {
    let spec = object.spec.as_ref();
    spec.is_some_and(|spec| spec.suspend == Some(true) && spec.parallelism == Some(0))
}

/// Whether nobody can have had a batch Job go on before it was suspended: its specification has changed once. When one goes
/// on, the Job controller makes its pod first and says afterwards that it is not suspended any more.
pub(super) fn was_never_resumed(object: &batch::Job) -> bool {
    object.metadata.generation.is_none_or(|generation| generation <= 2)
}
