//! Ends an attempt: deletes its pod and its batch Job, be it cancelled, over or in the way.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PropagationPolicy};
use windlass_core::report::is_settled;
use windlass_core::{AttemptNumber, Error};

use super::apply::Actor;
use super::delete::{deleted, only_of};
use super::keep_standbys::may_go;
use super::kept_names::{name_is_kept_for, preempted};
use crate::attempt::objects::{ObservedBatchJob, ObservedPod};
use crate::error::within_deadline;

impl Actor<'_> {
    /// Deletes what is left of an attempt.
    pub(super) async fn remove(&self, attempt: AttemptNumber) -> Result<(), Error> {
        let Some(objects) = self.attempts.objects(&self.job.metadata.uid, attempt) else {
            return Ok(());
        };
        // Deleting the batch Job would end its pod, too, but later: when the garbage collector comes to it. And the Job
        // controller changes a pod whose Job is deleted; a kubelet that has seen that change looks at the
        // containers only a second later. So while somebody waits for the end, since the job was cancelled or its CPUs
        // are wanted, the pod is deleted first. The batch Job makes no other pod. A pod whose worker has reported its
        // end is not deleted by a write of its own.
        let now = self.ctx.now();
        let is_preempted = preempted(self.job, attempt).is_some();
        let is_reported = !is_preempted
            && (self.job.status.is_finished() || is_settled(&self.job.status, attempt));
        let mut stopped = Ok(());
        let must_go =
            |pod: &ObservedPod| pod.is_to_be_deleted() && (!is_reported || pod.is_orphan());
        for (uid, pod) in objects.pods.iter().filter(|(_, pod)| must_go(pod)) {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.job.metadata.namespace);
            let answer = within_deadline(pods.delete(pod.name(), &only_of(uid))).await;
            stopped = stopped.and(answer.and_then(deleted));
        }
        // A worker that ends leaves its log. A gateway believes it by the chain of controllers, which the batch Job is a
        // part of: so that stays until the container has ended.
        if !is_reported && objects.pods.values().any(|pod| pod.may_leave_log(now)) {
            return stopped;
        }
        let job_uid = &self.job.metadata.uid;
        if let Some(batch_job) = &objects.batch_job
            && !self.managed.is_deleted(job_uid, batch_job.uid())
            && !self.keeps_anothers_name(batch_job)
            && self.may_be_deleted(attempt, &objects, batch_job).await?
        {
            let params = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                ..only_of(batch_job.uid())
            };
            deleted(within_deadline(self.batch_jobs().delete(batch_job.name(), &params)).await?)?;
            self.managed.has_deleted(job_uid, batch_job.uid());
        }
        stopped
    }

    /// Whether the batch Job of an attempt that has ended for another job keeps its name. A controller that has read the job
    /// before may be about to create it, and would start the attempt once more.
    pub(super) fn keeps_name(&self, attempt: AttemptNumber, now: Timestamp) -> bool {
        name_is_kept_for(self.job, attempt, now).is_some()
    }

    /// Whether a batch Job has the name of another job's attempt, which may still be needed.
    fn keeps_anothers_name(&self, batch_job: &ObservedBatchJob) -> bool {
        let standby = self.ctx.standbys.get(batch_job.uid());
        standby.is_some_and(|standby| {
            let named_for = standby.exchange.as_ref().map(|exchange| &exchange.attempt.job_uid);
            named_for.is_some_and(|uid| **uid != *self.job.metadata.uid)
                && !may_go(self.ctx, &standby)
        })
    }
}
