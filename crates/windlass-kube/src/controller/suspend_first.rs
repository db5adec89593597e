//! Has a batch Job suspended before it is deleted, where it may still get a pod.
//!
//! The Job controller's cache may be old: it makes pods of batch Jobs that were deleted a moment ago. Such a pod would run
//! beside the next attempt of its job, or on CPUs that others have by then; and a controller that starts meanwhile knows
//! nothing of it. A batch Job that is suspended is still there, so that its CPUs count, and its status tells when the Job
//! controller has taken that in.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use tracing::warn;
use windlass_core::{AttemptNumber, Error};

use super::apply::Actor;
use super::list_live::list_pods_of;
use super::on_watch::{attempt_changed, pod_found};
use super::suspended_too_long::left;
use crate::attempt::objects::{AttemptObjects, ObservedBatchJob};
use crate::error::{from_kube, is_status, within_deadline};

impl Actor<'_> {
    /// Whether a batch Job may be deleted now. Else it is suspended by now, its pod was found meanwhile, or it keeps its name.
    ///
    /// One that cannot be suspended, or whose Job controller does not answer, may be deleted after a while all the same.
    pub(super) async fn may_be_deleted(
        &self,
        attempt: AttemptNumber,
        objects: &AttemptObjects,
        batch_job: &ObservedBatchJob,
    ) -> Result<bool, Error> {
        let status = &self.job.status;
        // A pod that no watch has shown yet. One that is suspended had it, and may get another.
        let is_told =
            status.attempt == Some(attempt) && status.pod.is_some() && !batch_job.is_paused();
        let (job_uid, now) = (&self.job.metadata.uid, self.ctx.now());
        if is_told || !objects.may_get_late_pod() {
            return Ok(!self.keeps_name(attempt, now));
        }
        let asked = self.attempts.ask_removal(job_uid, attempt, now);
        if left(asked, now).is_none() {
            return Ok(true);
        }
        if !batch_job.is_told_to_suspend {
            return match self.suspend(batch_job).await {
                Ok(()) => Ok(false),
                Err(error @ Error::Unavailable { .. }) => Err(error),
                Err(error) => {
                    warn!(job = %self.job.key(), %error, "a batch Job cannot be suspended");
                    Ok(false)
                }
            };
        }
        if !batch_job.has_suspended {
            return Ok(false);
        }
        // A pod that it had made before is at the API server by now.
        let namespace = &self.job.metadata.namespace;
        let pods = list_pods_of(self.ctx, namespace, batch_job.uid()).await?;
        if pods.is_empty() {
            let changed = self.attempts.has_no_pod(job_uid, attempt, batch_job.uid());
            // Unless somebody has it go on since.
            let Some(changed) = changed.filter(|changed| !changed.is_live) else {
                return Ok(false);
            };
            drop(attempt_changed(self.ctx, &changed));
            return Ok(!self.keeps_name(attempt, now));
        }
        pods.into_iter().for_each(|pod| pod_found(self.ctx, pod));
        Ok(false)
    }

    async fn suspend(&self, batch_job: &ObservedBatchJob) -> Result<(), Error> {
        // Not another one that has its name by now.
        let patch = Patch::Merge(json!({
            "metadata": { "uid": batch_job.uid() },
            "spec": { "suspend": true, "parallelism": 0 },
        }));
        let (jobs, params) = (self.batch_jobs(), PatchParams::default());
        match within_deadline(jobs.patch(batch_job.name(), &params, &patch)).await? {
            Ok(_) => Ok(()),
            // Somebody has deleted it; the next reconcile shows what has its name.
            Err(error) if is_status(&error, 404) || is_status(&error, 409) => Ok(()),
            Err(error) => Err(from_kube(error)),
        }
    }
}
