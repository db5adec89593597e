//! Whether a batch Job may get a pod that nobody has seen yet. Pure.

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
